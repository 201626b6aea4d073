"""Open-Meteo: forecasts of many places at once, and the centres of ZIP codes and cities.

Its free hosts are for non-commercial use; with a key the customer hosts are asked, and nobody else gets the key.
Its data are CC BY 4.0.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from itertools import chain, pairwise
from typing import Any, NamedTuple
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

import httpx

from kibray_ops.weather.place import ABSENT, AMBIGUOUS, CITY, STATES, ZIP, Area, Match, Miss, Point, is_american, point
from kibray_ops.weather.service import Closed, Denied, Misunderstood, Refused, Service, ServiceError, Unavailable

HOST = "open-meteo.com"
SOURCE = "open-meteo"
"""The source of a snapshot in Kibray's table."""


class Variable(NamedTuple):
    """What is asked for each day: the unit in which it has to come, and the values that have been seen on earth."""

    unit: str
    least: int
    most: int


DAILY = {
    "weather_code": Variable("wmo code", 0, 999),
    "temperature_2m_max": Variable("°C", -90, 60),
    "temperature_2m_min": Variable("°C", -90, 60),
    "precipitation_sum": Variable("mm", 0, 2000),
    "wind_speed_10m_max": Variable("km/h", 0, 500),
    "relative_humidity_2m_mean": Variable("%", 0, 100),
}
LONGEST_URL = 100
"""Places in one GET; more are POSTed, as URLs have their limits."""
CELL = 0.5
"""Degrees: an answer is for the grid cell around the place, never farther away."""
MOST_QUESTIONS = 100
"""Requests for one batch of places, when there are some among them that the service refuses."""
SAME_CITY = 0.25
"""Degrees within which places of one name are one."""


@dataclass(frozen=True)
class Day:
    """A day's forecast; None is what was not told."""

    date: date
    temperature_max: Decimal | None
    """°C, as the minimum."""
    temperature_min: Decimal | None
    precipitation_mm: Decimal | None
    wind_kph: Decimal | None
    humidity_percent: Decimal | None
    code: int | None
    """WMO 4677, the highest of the day."""

    @property
    def is_empty(self) -> bool:
        """Tell whether nothing is known but the date."""
        return self == Day(self.date, None, None, None, None, None, None)


@dataclass(frozen=True)
class Forecast:
    """The days to come at a place, by the calendar of the place."""

    days: Mapping[date, Day]
    zone: ZoneInfo | timezone

    def local_date(self, moment: datetime) -> date:
        """Return the date at the place at a moment."""
        return moment.astimezone(self.zone).date()


def forecaster(client: httpx.Client, base_url: str, key: str) -> Service:
    """Return the forecasts as a service; with a key, the free host stands for the customers' one."""
    return _service("the forecast service", client, base_url, key)


def gazetteer(client: httpx.Client, base_url: str, key: str) -> Service:
    """Return the search for ZIP codes and cities as a service; the key as with the forecasts."""
    return _service("the place search", client, base_url, key)


def _service(name: str, client: httpx.Client, base_url: str, key: str) -> Service:
    host = urlsplit(base_url).hostname or ""
    if key and host in (f"api.{HOST}", f"geocoding-api.{HOST}"):
        base_url, host = f"https://customer-{host}", f"customer-{host}"
    is_theirs = urlsplit(base_url).scheme == "https" and host.startswith("customer-") and host.endswith(f".{HOST}")
    return Service(name, client, base_url, secrets={"apikey": key} if key and is_theirs else {})


# ---- forecasts


def forecasts(
    forecaster: Service, points: Sequence[Point], first: date, last: date
) -> dict[Point, dict[str, Any] | ServiceError]:
    """Return the answer for each point, or why there is none: the days `first` to `last` of each place's own calendar.

    Where the service refuses a place, and with it all that were asked together, the halves are asked on their own, so
    that the others have their forecasts; after so many questions the rest is refused.
    """
    told: dict[Point, dict[str, Any] | ServiceError] = {}
    waiting = [points]
    asked = 0
    while waiting:
        some = waiting.pop()
        asked += 1
        try:
            told |= zip(some, _answers(forecaster, some, first, last), strict=True)
        except (Closed, Unavailable) as error:
            # What was told is kept; the others would fare no better now.
            return told | dict.fromkeys((*some, *chain.from_iterable(waiting)), error)
        except ServiceError as error:
            half = len(some) // 2
            if isinstance(error, Refused) and half and asked < MOST_QUESTIONS:
                waiting += [some[half:], some[:half]]
            else:
                told |= dict.fromkeys(some, error)
    return told


def _answers(forecaster: Service, points: Sequence[Point], first: date, last: date) -> Sequence[dict[str, Any]]:
    fields = {
        "latitude": ",".join(f"{point.latitude:f}" for point in points),
        "longitude": ",".join(f"{point.longitude:f}" for point in points),
        "daily": ",".join(DAILY),
        "timezone": "auto",
        "start_date": first.isoformat(),
        "end_date": last.isoformat(),
    }
    # With POST, a key stands in no URL.
    post = len(points) > LONGEST_URL or bool(forecaster.secrets)
    try:
        answer = forecaster.ask("/v1/forecast", fields, post=post)
    except Refused as refused:
        if any(word in str(refused).lower() for word in ("location", "latitude", "longitude", "coordinate")):
            raise
        raise Denied(str(refused)) from refused  # nothing to do with a place
    # One place comes as an object, several as a list.
    answers = answer if isinstance(answer, list) else [answer]
    if len(answers) != len(points) or not all(isinstance(one, dict) for one in answers):
        raise Misunderstood(f"{forecaster.name} answered for {len(answers)} places when asked for {len(points)}")
    # The first has no number, or 0.
    if any(one.get("location_id", number) != number for number, one in enumerate(answers)):
        raise Misunderstood(f"{forecaster.name} answered in another order than it was asked")
    return answers


def read(answer: Mapping[str, Any], asked: Point) -> Forecast:
    """Return what an answer says of a point; raises Misunderstood where it is not what was asked for.

    The units have to be those of DAILY, and the values such as occur on earth: nothing is converted or guessed.
    """
    try:
        where = point(answer["latitude"], answer["longitude"])
        daily, units = answer["daily"], answer["daily_units"]
        dates = [date.fromisoformat(day) for day in daily["time"]]
        columns = {name: daily[name] for name in DAILY}
        zone = _zone(answer)
        if not isinstance(units, dict):
            raise TypeError
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise Misunderstood("the forecast has not the form in which Open-Meteo answers") from error
    if not where.is_near(asked, CELL):
        raise Misunderstood(f"the forecast is for another place ({where})")
    if any(after - before != timedelta(days=1) for before, after in pairwise(dates)):
        raise Misunderstood("the forecast has not one day after the other")
    for name, variable in DAILY.items():
        if units.get(name) != variable.unit:
            raise Misunderstood(f"the forecast has {name} in {str(units.get(name))[:20]!r} instead of {variable.unit}")
        if not isinstance(columns[name], list) or len(columns[name]) != len(dates):
            raise Misunderstood(f"the forecast has not one {name} for each day")
    days = (
        {name: _value(name, column[number]) for name, column in columns.items()} | {"date": on}
        for number, on in enumerate(dates)
    )
    return Forecast({day.date: day for day in map(_day, days)}, zone)


def _day(values: Mapping[str, Any]) -> Day:
    code = values["weather_code"]
    return Day(
        date=values["date"],
        temperature_max=values["temperature_2m_max"],
        temperature_min=values["temperature_2m_min"],
        precipitation_mm=values["precipitation_sum"],
        wind_kph=values["wind_speed_10m_max"],
        humidity_percent=values["relative_humidity_2m_mean"],
        code=None if code is None else int(code),
    )


def _value(name: str, told: Any) -> Decimal | None:
    if told is None:
        return None
    _, least, most = DAILY[name]
    is_number = isinstance(told, int | float) and not isinstance(told, bool)
    if not is_number or not least <= told <= most or (name == "weather_code" and told != int(told)):
        raise Misunderstood(f"the forecast has an impossible {name}")
    return Decimal(str(told))


def _zone(answer: Mapping[str, Any]) -> ZoneInfo | timezone:
    """Return the zone of the place; its present distance from UTC where we do not know its name."""
    try:
        return ZoneInfo(answer["timezone"])
    except (KeyError, ValueError, OSError, TypeError):
        return timezone(timedelta(seconds=answer["utc_offset_seconds"]))


# ---- ZIP codes and cities


def search(gazetteer: Service, area: Area) -> Match | Miss:
    """Return the centre of a ZIP code, else of a city in its state. Raises ServiceError.

    Open-Meteo finds no street addresses, and not every ZIP code.
    """
    if area.zip:
        listed = [one for one in _results(gazetteer, area.zip, area.state) if area.zip in _zips(one)]
        if found := _matches(listed[:1], ZIP, f" {area.zip}"):
            return found[0]
    if not area.city or not area.state:
        return Miss(ABSENT)
    named = [
        one
        for one in _results(gazetteer, area.city, area.state)
        if str(one.get("name", "")).casefold() == area.city.casefold()
    ]
    found = _matches(named, CITY, "")
    if not found:
        return Miss(ABSENT)
    if all(match.point.is_near(found[0].point, SAME_CITY) for match in found):
        return found[0]
    return Miss(AMBIGUOUS)


def _results(gazetteer: Service, name: str, state: str) -> list[dict[str, Any]]:
    """Return what goes by a name in the United States, and in a state where one is given; the best first."""
    fields = {"name": name, "count": "100", "language": "en", "countryCode": "US", "format": "json"}
    answer = gazetteer.ask("/v1/search", fields)
    results = answer.get("results", []) if isinstance(answer, dict) else None  # nothing found: no results at all
    if not isinstance(results, list) or not all(isinstance(one, dict) for one in results):
        raise Misunderstood(f"{gazetteer.name} answered in a form that is not its own")
    return [
        one for one in results if one.get("country_code") == "US" and (not state or one.get("admin1") == STATES[state])
    ]


def _zips(result: Mapping[str, Any]) -> list[str]:
    zips = result.get("postcodes")
    return list(map(str, zips)) if isinstance(zips, list) else []


def _matches(results: Sequence[Mapping[str, Any]], source: str, after: str) -> list[Match]:
    found = []
    for one in results:
        try:
            where = point(one["latitude"], one["longitude"])
        except (KeyError, ValueError) as error:
            raise Misunderstood("the place search answered in a form that is not its own") from error
        if is_american(where):
            found.append(Match(where, source, f"{one.get('name')}, {one.get('admin1')}{after}"))
    return found
