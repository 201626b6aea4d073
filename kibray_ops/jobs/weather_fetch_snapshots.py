"""kibray-ops weather fetch-snapshots: the forecast of the day for every job site."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import BigInteger, Date, Select, and_, select
from sqlalchemy.exc import IntegrityError

from kibray_ops import forecasts, places, projects
from kibray_ops.bulk import given, update_all, upsert
from kibray_ops.catalog import table_of
from kibray_ops.forecasts import Fetched
from kibray_ops.job import Outcome, Run, warnings
from kibray_ops.models.kibray.projects import WeatherSnapshot
from kibray_ops.places import NoWeather, Site
from kibray_ops.projects import PROJECTS
from kibray_ops.weather.open_meteo import HOST, SOURCE, Day
from kibray_ops.weather.place import Match

SNAPSHOTS = table_of(WeatherSnapshot)
KEY = ("project_id", "date", "source")
PROVIDER_URL = f"https://{HOST}/"
CREATED, UPDATED, SKIPPED = "created", "updated", "skipped"
GONE = NoWeather("it was deleted meanwhile")
Row = dict[str, Any]


def fetch_snapshots(run: Run) -> Outcome:
    """Fetch the weather forecast of every active project's place.

    A project's place comes from its address, once; `weather locate` sets it by hand. A project without a place is
    named and gets no weather. The date is the one at the site, and what the forecast does not tell stays empty.
    """
    sites = [Site.of(row.id, row.name, row.address) for row in run.session.execute(_active(run))]
    where: dict[int, Match | NoWeather] = {}
    lacking: dict[int, NoWeather] = {}
    days: dict[int, Day] = {}
    actions: dict[int, str] = {}
    for located in places.locate(run, sites):
        where |= located
        for batch in forecasts.fetch(run, located):
            new: dict[int, tuple[Day, Fetched]] = {}
            for project_id, fetched in batch.items():
                if isinstance(fetched, NoWeather):
                    lacking[project_id] = fetched
                elif isinstance(day := fetched.today(run.now), NoWeather):
                    lacking[project_id] = day
                else:
                    new[project_id] = day, fetched
            written = _write(run, new) if new else {}
            actions |= written
            days |= {project_id: day for project_id, (day, _) in new.items() if project_id in written}
            lacking |= {project_id: GONE for project_id in new if project_id not in written}
    lacking |= {key: found for key, found in where.items() if isinstance(found, NoWeather)}
    failures = [(site, why) for site in sites if (why := lacking.get(site.project_id)) and why.is_failure]
    empty = [site.name for site in sites if site.project_id in days and days[site.project_id].is_empty]
    return Outcome(
        result={
            "date": run.business_date,
            "created": list(actions.values()).count(CREATED),
            "updated": list(actions.values()).count(UPDATED),
            "total_projects": len(sites),
            "without_place": len(lacking) - len(failures),
            "errors": [f"{site.name}: {why.reason}" for site, why in failures],
        },
        rows=[_row(site, where, days, actions, lacking) for site in sites],
        problems=[
            *places.problems(sites, lacking),
            *warnings(
                "empty_forecast", [(name, "the forecast tells nothing of the day") for name in empty], "projects"
            ),
        ],
    )


def _active(run: Run) -> Select[Any]:
    return (
        select(PROJECTS.c.id, PROJECTS.c.name, PROJECTS.c.address)
        .where(projects.is_active(run.catalog, run.business_date))
        .order_by(PROJECTS.c.name, PROJECTS.c.id)
    )


def _write(run: Run, new: Mapping[int, tuple[Day, Fetched]]) -> dict[int, str]:
    """Write and commit the snapshots of projects; return what became of each, but for projects that are gone by now."""
    rows = [_snapshot(project_id, day, fetched) for project_id, (day, fetched) in new.items()]
    try:
        there = _upsert(run, rows)
        run.commit_item()
    except IntegrityError:
        # A project was being deleted while we wrote, which the database finds out at the COMMIT. Now it is gone.
        run.session.rollback()
        there = _upsert(run, rows)
        run.commit_item()
    return there


def _snapshot(project_id: int, day: Day, fetched: Fetched) -> Row:
    told = forecasts.reported(day)
    return {
        "project_id": project_id,
        "date": day.date,
        "source": SOURCE,
        "temperature_max": told["temperature_max"],
        "temperature_min": told["temperature_min"],
        "conditions_text": told["conditions"],
        "precipitation_mm": told["precipitation_mm"],
        "wind_kph": told["wind_kph"],
        "humidity_percent": told["humidity_percent"],
        "raw_json": fetched.answer,
        "fetched_at": fetched.at,
        "provider_url": PROVIDER_URL,
        "latitude": fetched.point.latitude,
        "longitude": fetched.point.longitude,
    }


def _upsert(run: Run, rows: Sequence[Row]) -> dict[int, str]:
    there = _there(run, rows)
    new, old = ([row for row in rows if there.get(row["project_id"]) == action] for action in (CREATED, UPDATED))
    if new and not run.dry_run:
        run.session.execute(upsert(run.session, SNAPSHOTS, new, key=KEY))
    if old and not run.dry_run:
        # No upsert: that would use up an id for each.
        run.session.execute(update_all(run.session, SNAPSHOTS, old, key=KEY))
    return there


def _there(run: Run, rows: Sequence[Row]) -> dict[int, str]:
    """Return those projects that exist, and what becomes of the snapshot of each."""
    keys = [{"project_id": row["project_id"], "date": row["date"]} for row in rows]
    wanted = given(run.session, {"project_id": BigInteger(), "date": Date()}, keys)
    same = and_(
        SNAPSHOTS.c.project_id == wanted.c.project_id,
        SNAPSHOTS.c.date == wanted.c.date,
        SNAPSHOTS.c.source == SOURCE,
    )
    statement = (
        select(PROJECTS.c.id, SNAPSHOTS.c.id.label("snapshot_id"))
        .join(wanted, wanted.c.project_id == PROJECTS.c.id)
        .outerjoin(SNAPSHOTS, same)
    )
    return {row.id: CREATED if row.snapshot_id is None else UPDATED for row in run.session.execute(statement)}


def _row(
    site: Site,
    where: Mapping[int, Match | NoWeather],
    days: Mapping[int, Day],
    actions: Mapping[int, str],
    lacking: Mapping[int, NoWeather],
) -> dict[str, Any]:
    key = site.project_id
    day = days.get(key)
    return {
        "project_id": key,
        "project": site.name,
        **places.reported(where[key]),
        "date": day and day.date,
        **forecasts.reported(day),
        "action": actions.get(key, SKIPPED),
        "reason": lacking[key].reason if key in lacking else None,
    }
