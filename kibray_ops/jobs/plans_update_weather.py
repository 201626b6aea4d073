"""kibray-ops plans update-weather: the forecast in the daily plans of today and tomorrow."""

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
UPDATED, SKIPPED_RECENT, SKIPPED_NO_ADDRESS, FAILED = "updated", "skipped_recent", "skipped_no_address", "failed"


@dataclass(frozen=True)
class Plan:
    """A plan that wants to know the weather of its day."""

    id: int
    on: date
    site: Site
    is_recent: bool


def update_weather(run: Run) -> Outcome:
    """Put the forecast into the daily plans of today and tomorrow.

    Each plan gets the forecast of its own day at its project's place; completed and skipped plans are left alone, and
    so is a plan whose weather is less than two hours old. A plan whose project has no place is named.
    """
    plans = [_plan(run, row) for row in run.session.execute(_open(run))]
    wanted = [plan for plan in plans if not plan.is_recent]
    sites = list({plan.site.project_id: plan.site for plan in wanted}.values())
    where = places.locate(run, sites)
    lacking = {key: found for key, found in where.items() if isinstance(found, NoWeather)}
    days: dict[int, Day] = {}
    for batch in forecasts.fetch(run, where):
        rows = []
        for plan in wanted:
            if (fetched := batch.get(plan.site.project_id)) is None:
                continue
            if isinstance(fetched, NoWeather):
                lacking[plan.site.project_id] = fetched
            elif isinstance(day := fetched.day(plan.on), NoWeather):
                lacking[plan.site.project_id] = day
            else:
                days[plan.id] = day
                data = _weather_data(day, fetched)
                rows.append({"id": plan.id, "weather_data": data, "weather_fetched_at": fetched.at})
        if rows and not run.dry_run:
            still_open = _is_open(run.business_date)
            run.session.execute(update_all(run.session, PLANS, rows, key=["id"], where=still_open))
        run.commit_item()
    told = [
        _row(plan, days.get(plan.id), lacking.get(plan.site.project_id), where.get(plan.site.project_id))
        for plan in plans
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
    return Plan(row.id, row.plan_date, Site.of(row.project_id, row.name, row.address), is_recent)


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


def _row(plan: Plan, day: Day | None, lacking: NoWeather | None, place: Match | NoWeather | None) -> dict[str, Any]:
    if day is not None:
        action = UPDATED
    elif plan.is_recent:
        action = SKIPPED_RECENT
    else:
        action = FAILED if lacking is not None and lacking.is_failure else SKIPPED_NO_ADDRESS
    return {
        "plan_id": plan.id,
        "plan_date": plan.on,
        "project_id": plan.site.project_id,
        "project": plan.site.name,
        **places.reported(place),
        **forecasts.reported(day),
        "action": action,
        "reason": None if day is not None or lacking is None else lacking.reason,
    }
