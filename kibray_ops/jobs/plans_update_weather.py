"""kibray-ops plans update-weather: the forecast in the daily plans of today and tomorrow."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, select

from kibray_ops import forecasts, places
from kibray_ops.bulk import update_all
from kibray_ops.catalog import table_of
from kibray_ops.forecasts import Fetched
from kibray_ops.job import Outcome, Run
from kibray_ops.models.kibray.work import DailyPlan
from kibray_ops.places import NoWeather, Site
from kibray_ops.projects import PROJECTS
from kibray_ops.weather.open_meteo import SOURCE, Day
from kibray_ops.weather.place import Match
from kibray_ops.weather.wmo import conditions

PLANS = table_of(DailyPlan)
OPEN = ("DRAFT", "PUBLISHED", "IN_PROGRESS")
RECENT = timedelta(hours=2)
"""How long the weather of a plan is not asked for again."""
UPDATED, FAILED = "updated", "failed"
SKIPPED_RECENT, SKIPPED_NO_ADDRESS, SKIPPED_CHANGED = "skipped_recent", "skipped_no_address", "skipped_changed"
ORPHAN = NoWeather("the project of its plan is gone")


@dataclass(frozen=True)
class Plan:
    """A plan that wants to know the weather of its day."""

    id: int
    on: date
    site: Site
    is_recent: bool
    """Its weather is not old enough to be asked for again."""
    is_orphan: bool
    """Its project is gone, which SQLite allows."""


def update_weather(run: Run) -> Outcome:
    """Put the forecast into the daily plans of today and tomorrow.

    Each plan gets the forecast of its own day at its project's place; completed and skipped plans are left alone, and
    so is a plan whose weather is less than two hours old. A plan whose project has no place is named.
    """
    plans = [_plan(run, row) for row in run.session.execute(_open(run))]
    wanted = [plan for plan in plans if not plan.is_recent]
    sites = list({plan.site.project_id: plan.site for plan in wanted}.values())
    gone = {plan.site.project_id for plan in wanted if plan.is_orphan}
    where: dict[int, Match | NoWeather] = {}
    lacking: dict[int, NoWeather] = dict.fromkeys(gone, ORPHAN)
    days: dict[int, Day] = {}
    overtaken: set[int] = set()
    for located in places.locate(run, [site for site in sites if site.project_id not in gone]):
        where |= located
        for batch in forecasts.fetch(run, located):
            new: list[tuple[Plan, Day, Fetched]] = []
            for plan in wanted:
                if (fetched := batch.get(plan.site.project_id)) is None:
                    continue
                if isinstance(fetched, NoWeather):
                    lacking[plan.site.project_id] = fetched
                elif isinstance(day := fetched.day(plan.on), NoWeather):
                    lacking[plan.site.project_id] = day
                else:
                    new.append((plan, day, fetched))
            written = _write(run, new) if new else set()
            run.commit_item()
            days |= {plan.id: day for plan, day, _ in new if plan.id in written}
            overtaken |= {plan.id for plan, _, _ in new} - written
    lacking |= {key: found for key, found in where.items() if isinstance(found, NoWeather)}
    told = [
        _row(plan, days.get(plan.id), plan.id in overtaken, lacking.get(plan.site.project_id), where) for plan in plans
    ]
    actions = [row["action"] for row in told]
    return Outcome(
        result={
            "updated": actions.count(UPDATED),
            "skipped_no_address": actions.count(SKIPPED_NO_ADDRESS),
            "skipped_recent": actions.count(SKIPPED_RECENT),
            "errors": actions.count(FAILED),
            "date": run.business_date,
        },
        rows=told,
        problems=places.problems(sites, lacking),
    )


def _is_open(on: date) -> ColumnElement[bool]:
    """Return the condition for a plan of a day or the next one that is not done."""
    return and_(PLANS.c.plan_date.in_((on, on + timedelta(days=1))), PLANS.c.status.in_(OPEN))


def _open(run: Run) -> Select[Any]:
    return (
        select(
            PLANS.c.id,
            PLANS.c.plan_date,
            PLANS.c.weather_fetched_at,
            PLANS.c.project_id,
            PROJECTS.c.id.label("its_project"),
            PROJECTS.c.name,
            PROJECTS.c.address,
        )
        .outerjoin(PROJECTS, PROJECTS.c.id == PLANS.c.project_id)
        .where(_is_open(run.business_date))
        .order_by(PLANS.c.plan_date, PROJECTS.c.name, PLANS.c.id)
    )


def _plan(run: Run, row: Any) -> Plan:
    fetched: datetime | None = row.weather_fetched_at
    is_recent = fetched is not None and run.now - RECENT < fetched
    site = Site.of(row.project_id, row.name, row.address)
    return Plan(row.id, row.plan_date, site, is_recent, is_orphan=row.its_project is None)


def _weather_data(day: Day, fetched: Fetched) -> dict[str, Any]:
    """Return what the application reads (FACTS.md): numbers as JSON has them, and °F for `temp` alone."""
    sky = conditions(day.code)
    high = day.temperature_max
    return {
        "description": sky.text,
        "temp": forecasts.fahrenheit(high),
        "temperature": _number(high),
        "condition": sky.word,
        "humidity": forecasts.whole(day.humidity_percent),
        "wind_speed": _number(day.wind_kph),
        "icon": sky.icon,
        "provider": SOURCE,
        "fetched_at": fetched.at.isoformat(),
        "date": day.date.isoformat(),
        "temp_min": _number(day.temperature_min),
        "temp_max": _number(high),
        "precipitation_mm": _number(day.precipitation_mm),
    }


def _number(value: Decimal | None) -> float | None:
    return None if value is None else float(value)


def _write(run: Run, new: Sequence[tuple[Plan, Day, Fetched]]) -> set[int]:
    """Put the weather into plans and return those that still wanted it: open, of that day, of that project."""
    if run.dry_run:
        return {plan.id for plan, _, _ in new}
    rows = [
        {
            "id": plan.id,
            "project_id": plan.site.project_id,
            "plan_date": plan.on,
            "weather_data": _weather_data(day, fetched),
            "weather_fetched_at": fetched.at,
        }
        for plan, day, fetched in new
    ]
    key = ("id", "project_id", "plan_date")
    statement = update_all(run.session, PLANS, rows, key=key, where=_is_open(run.business_date))
    return set(run.session.execute(statement.returning(PLANS.c.id)).scalars())


def _row(
    plan: Plan, day: Day | None, is_overtaken: bool, lacking: NoWeather | None, where: Mapping[int, Match | NoWeather]
) -> dict[str, Any]:
    reason = None
    if day is not None:
        action = UPDATED
    elif plan.is_recent:
        action = SKIPPED_RECENT
    elif is_overtaken:
        action, reason = SKIPPED_CHANGED, "it was completed, moved or deleted meanwhile"
    else:
        action = FAILED if lacking is not None and lacking.is_failure else SKIPPED_NO_ADDRESS
        reason = lacking.reason if lacking is not None else None
    return {
        "plan_id": plan.id,
        "plan_date": plan.on,
        "project_id": plan.site.project_id,
        "project": plan.site.name,
        **places.reported(where.get(plan.site.project_id)),
        **forecasts.reported(day),
        "action": action,
        "reason": reason,
    }
