"""The forecast of each place, asked for once an hour by whichever job needs it first, and kept in a table.

The days are those around the business date, by the calendar of each place: from the day before it (places to the west
are behind) to two days after it (a run around midnight still finds the day after its own).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from sqlalchemy import and_, select

from kibray_ops.bulk import given, upsert
from kibray_ops.catalog import table_of
from kibray_ops.job import Run
from kibray_ops.models.operations import ForecastRecord
from kibray_ops.places import NoWeather
from kibray_ops.settings import PREFIX
from kibray_ops.weather import open_meteo
from kibray_ops.weather.open_meteo import Day, Forecast
from kibray_ops.weather.place import Match, Point
from kibray_ops.weather.service import Closed, KeyDenied, Misunderstood, ServiceError
from kibray_ops.weather.wmo import conditions

FORECASTS = table_of(ForecastRecord)
BATCH = 500
"""Places in one request; the service takes a thousand."""
FRESH = timedelta(hours=1)
BEFORE, AFTER = timedelta(days=1), timedelta(days=2)


@dataclass(frozen=True)
class Fetched:
    """The forecast for a point, as it came, and when it was asked for."""

    point: Point
    forecast: Forecast
    answer: dict[str, Any]
    at: datetime

    def day(self, on: date) -> Day | NoWeather:
        """Return the forecast for a date at the place."""
        return self.forecast.days.get(on) or NoWeather(f"the forecast does not tell of {on}", is_failure=True)

    def today(self, moment: datetime) -> Day | NoWeather:
        """Return the forecast for the day that it is at the place."""
        return self.day(self.forecast.local_date(moment))


Result = Fetched | NoWeather


def fetch(run: Run, places: Mapping[int, Match | NoWeather]) -> Iterator[dict[int, Result]]:
    """Yield the forecasts of projects that have a place, batch by batch; what was asked for is committed before.

    Runs that need the same places take turns: the second finds what the first was told. Once the service says that we
    ask too often, or refuses what has nothing to do with a place, it is not asked any more.
    """
    at: dict[Point, list[int]] = {}
    for project_id, place in places.items():
        if isinstance(place, Match):
            at.setdefault(place.point, []).append(project_id)
    wanted = sorted(at)
    stopped = ""
    for start in range(0, len(wanted), BATCH):
        run.progress("Fetching forecasts", start, len(wanted))
        batch = wanted[start : start + BATCH]
        with run.turn("forecasts"):
            results: dict[Point, Result] = dict(_fresh(run, batch))
            run.commit_item()
            left = [point for point in batch if point not in results]
            if left and not stopped:
                told, stopped = _ask(run, left)
                results |= told
                _keep(run, {point: result for point, result in told.items() if isinstance(result, Fetched)})
                run.commit_item()
        not_asked = NoWeather(f"not asked for, because {stopped}", is_failure=True)
        yield {project_id: results.get(point, not_asked) for point in batch for project_id in at[point]}
    run.progress("Fetching forecasts", len(wanted), len(wanted))


def reported(day: Day | None) -> dict[str, Any]:
    """Return what a report tells of a day's forecast, and Kibray's columns hold: °C, mm, km/h, %."""
    return {
        "temperature_max": day and hundredths(day.temperature_max),
        "temperature_min": day and hundredths(day.temperature_min),
        "precipitation_mm": day and hundredths(day.precipitation_mm),
        "wind_kph": day and hundredths(day.wind_kph),
        "humidity_percent": day and whole(day.humidity_percent),
        "conditions": day and conditions(day.code).text,
    }


def hundredths(value: Decimal | None) -> Decimal | None:
    """Return a value with two places, half up."""
    return None if value is None else value.quantize(Decimal("0.01"), ROUND_HALF_UP)


def whole(value: Decimal | None) -> int | None:
    """Return a value as a whole number, half up."""
    return None if value is None else int(value.quantize(Decimal(1), ROUND_HALF_UP))


def fahrenheit(celsius: Decimal | None) -> int | None:
    """Return a temperature in °C in whole °F."""
    return None if celsius is None else whole(celsius * 9 / 5 + 32)


def _fresh(run: Run, points: Sequence[Point]) -> Iterator[tuple[Point, Fetched]]:
    """Return the forecasts of places that are not older than an hour."""
    if not run.catalog.has(FORECASTS.name):
        return  # a dry run before `db init`
    kinds = {name: FORECASTS.c[name].type for name in Point._fields}
    wanted = given(run.session, kinds, [point._asdict() for point in points])
    here = and_(*(wanted.c[name] == FORECASTS.c[name] for name in kinds))
    # Not later either: with --as-of, this may be the past of what is there.
    is_fresh = FORECASTS.c.fetched_at.between(run.now - FRESH, run.now + FRESH)
    for row in run.session.execute(select(FORECASTS).join(wanted, here).where(is_fresh)):
        point = Point(row.latitude, row.longitude)
        try:
            yield point, Fetched(point, open_meteo.read(row.answer, point), row.answer, row.fetched_at)
        except Misunderstood:
            continue  # kept by another version: asked for anew


def _ask(run: Run, points: Sequence[Point]) -> tuple[dict[Point, Result], str]:
    """Return what the service says of places, and why it must not be asked any more, if so."""
    settings = run.settings
    service = open_meteo.forecaster(run.web(), settings["WEATHER_BASE_URL"], settings["WEATHER_API_KEY"])
    first, last = run.business_date - BEFORE, run.business_date + AFTER
    at = run.now
    answers = open_meteo.forecasts(service, points, first, last)
    closed = next((_said(run, error) for error in answers.values() if isinstance(error, Closed)), "")
    return {point: _result(run, point, answer, at) for point, answer in answers.items()}, closed


def _result(run: Run, point: Point, answer: dict[str, Any] | ServiceError, at: datetime) -> Result:
    try:
        if isinstance(answer, ServiceError):
            raise answer
        return Fetched(point, open_meteo.read(answer, point), answer, at)
    except ServiceError as error:
        return NoWeather(_said(run, error), is_failure=True)


def _said(run: Run, error: ServiceError) -> str:
    way_on = f"; see {PREFIX}WEATHER_API_KEY" if isinstance(error, KeyDenied) else ""
    return run.settings.redact(str(error)) + way_on


def _keep(run: Run, told: dict[Point, Fetched]) -> None:
    if run.dry_run or not told:
        return
    rows = [{**point._asdict(), "answer": fetched.answer, "fetched_at": fetched.at} for point, fetched in told.items()]
    run.session.execute(upsert(run.session, FORECASTS, rows, key=Point._fields))
