"""A web server on loopback that speaks Open-Meteo's, the US Census Bureau's and the place search's language.

It says what the documentations say, numbers that depend on the place and the day, and on demand whatever goes wrong.
"""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock, Thread
from typing import Any
from urllib.parse import parse_qs, urlsplit

UNITS = {
    "time": "iso8601", "weather_code": "wmo code", "temperature_2m_max": "°C", "temperature_2m_min": "°C",
    "precipitation_sum": "mm", "wind_speed_10m_max": "km/h", "relative_humidity_2m_mean": "%",
}  # fmt: skip
CODES = (0, 1, 2, 3, 45, 48, 51, 53, 55, 56, 57, 61, 63, 65, 66, 67, 71, 73, 75, 77, 80, 81, 82, 85, 86, 95, 96, 99)
MOST = 1000
"""Places in one request, on the free host."""


def measured(latitude: Decimal, longitude: Decimal, on: date) -> dict[str, Any]:
    """Return the day's weather at a place: the same whenever one asks, and another a few metres away."""
    seed = int(latitude * 100_000) * 7 + int(longitude * 100_000) * 3 + on.toordinal() * 103
    low = (seed % 400 - 150) / 10
    return {
        "weather_code": CODES[seed % len(CODES)],
        "temperature_2m_max": round(low + seed % 97 / 10, 1),
        "temperature_2m_min": low,
        "precipitation_sum": seed % 83 / 10 if seed % 3 else 0.0,
        "wind_speed_10m_max": seed % 613 / 10,
        "relative_humidity_2m_mean": seed % 101,
    }


def zone(longitude: Decimal) -> tuple[str, int]:
    """Return the zone of an American place and its distance from UTC in November, in seconds."""
    for west, name, hours in (
        (Decimal(-85), "America/New_York", -5), (Decimal(-100), "America/Chicago", -6),
        (Decimal(-115), "America/Denver", -7), (Decimal(-130), "America/Los_Angeles", -8),
    ):  # fmt: skip
        if longitude >= west:
            return name, hours * 3600
    return "Pacific/Honolulu", -10 * 3600


@dataclass
class Reply:
    """An answer, as it goes over the wire."""

    body: bytes
    status: int = 200
    kind: str = "application/json; charset=utf-8"
    delay: float = 0
    missing: int = 0
    """Bytes that are announced and never come: a body that is cut."""
    trickle: float = 0
    """Seconds before each tenth of the body."""


def answer(value: Any, status: int = 200) -> Reply:
    return Reply(json.dumps(value).encode(), status)


def error(reason: str, status: int = 400) -> Reply:
    """Return an error as Open-Meteo puts it."""
    return answer({"error": True, "reason": reason}, status)


BAD_GATEWAY = Reply(b"<html><body><h1>502 Bad Gateway</h1></body></html>", 502, "text/html")
MINUTELY = error("Minutely API request limit exceeded. Please try again in one minute.", 429)
HOURLY = error("Hourly API request limit exceeded. Please try again in the next hour.", 429)
NO_KEY = error("API key required. Please add &apikey= to the URL.", 401)
INVALID_KEY = error("The supplied API key is invalid.")
DAILY = error("Daily API request limit exceeded. Please try again tomorrow.", 429)


@dataclass
class Question:
    """What was asked."""

    method: str
    path: str
    fields: dict[str, str]
    headers: dict[str, str]
    url: str

    @property
    def points(self) -> list[tuple[Decimal, Decimal]]:
        """Return the places that a forecast was asked for."""
        columns = (self.fields[name].split(",") for name in ("latitude", "longitude"))
        return [(Decimal(north), Decimal(east)) for north, east in zip(*columns, strict=True)]


@dataclass
class Sky:
    """The server: what it was asked, and how it is to answer."""

    url: str = ""
    today: date = date(2025, 11, 24)
    questions: list[Question] = field(default_factory=list)
    faults: list[Reply | None] = field(default_factory=list)
    """Answers to the next questions for forecasts, whatever they are; None is the proper one."""
    addresses: dict[str, list[dict[str, Any]] | Reply] = field(default_factory=dict)
    """What the geocoder finds for an address; for others it finds one place."""
    centres: dict[str, list[dict[str, Any]] | Reply] = field(default_factory=dict)
    """What the place search finds for a name; for others nothing."""
    geocoder_faults: list[Reply | None] = field(default_factory=list)
    refused: set[tuple[Decimal, Decimal]] = field(default_factory=set)
    """Places of which Open-Meteo has no data."""
    change: Callable[[dict[str, Any]], Any] = lambda place: place
    """What is done to the forecast of each place before it goes out."""
    meanwhile: Callable[[Question], None] = lambda question: None
    """What happens in the office while somebody waits for an answer."""
    key: str = ""
    """Where set, forecasts are only for those who have it."""
    lock: Any = field(default_factory=Lock)

    @property
    def environment(self) -> dict[str, str]:
        names = ("WEATHER", "GEOCODER", "PLACES")
        return {f"KIBRAY_OPS_{name}_BASE_URL": self.url for name in names}

    def asked(self, path: str) -> list[Question]:
        """Return the questions to one of the services."""
        return [question for question in self.questions if question.path == path]

    @property
    def forecasts(self) -> list[Question]:
        return self.asked("/v1/forecast")

    @property
    def geocoded(self) -> list[str]:
        """Return the addresses that were asked for."""
        return [question.fields["address"] for question in self.asked("/geocoder/locations/onelineaddress")]

    def forget(self) -> None:
        """Be as new."""
        fresh = Sky(self.url)
        for name in ("today", "questions", "faults", "addresses", "centres", "geocoder_faults", "refused", "key"):
            setattr(self, name, getattr(fresh, name))
        self.change = lambda place: place
        self.meanwhile = lambda question: None

    def reply(self, question: Question) -> Reply:
        """Return the answer to a question."""
        with self.lock:
            self.questions.append(question)
            faults = {"/v1/forecast": self.faults, "/geocoder/locations/onelineaddress": self.geocoder_faults}
            waiting = faults.get(question.path, [])
            fault = waiting.pop(0) if waiting else None
        self.meanwhile(question)
        if fault is not None:
            return fault
        if question.path == "/v1/forecast":
            return self._forecast(question)
        if question.path == "/geocoder/locations/onelineaddress":
            return self._geocode(question.fields)
        if question.path == "/v1/search":
            found = self.centres.get(question.fields["name"], [])
            return (
                found
                if isinstance(found, Reply)
                else answer({"results": found} if found else {"generationtime_ms": 0.5})
            )
        return Reply(b"<html>Not Found</html>", 404, "text/html")

    # ---- Open-Meteo

    def _forecast(self, question: Question) -> Reply:
        fields, points = question.fields, question.points
        if self.key and fields.get("apikey") != self.key:
            return INVALID_KEY if "apikey" in fields else NO_KEY
        if len(points) > MOST:
            return error(f"Only up to {MOST} locations can be requested at once")
        daily = fields["daily"].split(",")
        if strange := [name for name in daily if name not in UNITS]:
            said = "Cannot initialize ForecastVariableDaily from invalid String value"
            return error(f"Data corrupted at path ''. {said} {strange[0]}.")
        if "forecast_days" in fields and "start_date" in fields:
            return error("Parameter 'forecast_days' is mutually exclusive with 'start_date' and 'end_date'")
        first, last = (date.fromisoformat(fields[name]) for name in ("start_date", "end_date"))
        if first < self.today - timedelta(93) or last > self.today + timedelta(15):
            return error("Parameter 'start_date' is out of allowed range from 2025-08-23 to 2025-12-09")
        if any(point in self.refused for point in points):
            return error("No data is available for this location")
        days = [first + timedelta(number) for number in range((last - first).days + 1)]
        places = [self._place(number, *point, daily, days, fields) for number, point in enumerate(points)]
        return answer(places[0] if len(places) == 1 else places)

    def _place(
        self,
        number: int,
        latitude: Decimal,
        longitude: Decimal,
        daily: list[str],
        days: list[date],
        fields: dict[str, str],
    ) -> dict[str, Any]:
        name, offset = zone(longitude) if fields.get("timezone") == "auto" else ("GMT", 0)
        values = [measured(latitude, longitude, day) for day in days]
        place = {
            "latitude": round(float(latitude), 2) + 0.01,  # the centre of the grid cell, not what was asked
            "longitude": round(float(longitude), 2) - 0.01,
            "generationtime_ms": 0.123,
            "utc_offset_seconds": offset,
            "timezone": name,
            "timezone_abbreviation": "GMT" + str(offset // 3600),
            "elevation": 1608.0,
            **({"location_id": number} if number else {}),
            "daily_units": {unit: UNITS[unit] for unit in ("time", *daily)},
            "daily": {
                "time": [day.isoformat() for day in days],
                **{column: [value[column] for value in values] for column in daily},
            },
        }
        return self.change(place)

    # ---- the geocoder

    def _geocode(self, fields: dict[str, str]) -> Reply:
        if fields.get("benchmark") != "Public_AR_Current" or fields.get("format") != "json":
            return answer({"errors": ["Benchmark not found"], "status": "400"}, 400)
        address = fields["address"]
        found = self.addresses.get(address, [match(address)])
        if isinstance(found, Reply):
            return found
        return answer({"result": {"input": {"address": {"address": address}}, "addressMatches": found}})


def match(
    address: str, latitude: float | None = None, longitude: float | None = None, state: str = "CO"
) -> dict[str, Any]:
    """Return one match of the geocoder; without coordinates, one that depends on the address."""
    number = sum(address.encode()) + len(address) * 1009
    return {
        "tigerLine": {"side": "L", "tigerLineId": "176067361"},
        "coordinates": {
            "x": -105 - number % 997 / 1000 - 0.000001234 if longitude is None else longitude,
            "y": 39 + number % 499 / 500 + 0.000004321 if latitude is None else latitude,
        },
        "addressComponents": {"zip": "80211", "city": "DENVER", "state": state, "streetName": "32ND"},
        "matchedAddress": address.upper(),
    }


def centre(name: str, latitude: float, longitude: float, state: str = "Colorado", *zips: str) -> dict[str, Any]:
    """Return one result of the place search."""
    return {
        "id": 5419384, "name": name, "latitude": latitude, "longitude": longitude, "elevation": 1636.0,
        "feature_code": "PPL", "country_code": "US", "timezone": "America/Denver", "country": "United States",
        "admin1": state, **({"postcodes": list(zips)} if zips else {}),
    }  # fmt: skip


@contextmanager
def serving() -> Iterator[Sky]:
    """Serve on loopback as long as the block lasts."""
    sky = Sky()
    with answering(sky):
        yield sky


@contextmanager
def answering(service: Any) -> Iterator[None]:
    """Let a service, which has a `url` and the method `reply`, be asked on loopback as long as the block lasts."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = 30

        def do_GET(self) -> None:
            self._answer(urlsplit(self.path).query)

        def do_POST(self) -> None:
            self._answer(self.rfile.read(int(self.headers["Content-Length"])).decode())

        def _answer(self, query: str) -> None:
            parts = urlsplit(self.path)
            fields = {name: values[0] for name, values in parse_qs(query, keep_blank_values=True).items()}
            question = Question(self.command, parts.path, fields, dict(self.headers), self.path)
            reply = service.reply(question)
            if reply.delay:
                time.sleep(reply.delay)
            try:
                self.send_response(reply.status)
                self.send_header("Content-Type", reply.kind)
                self.send_header("Content-Length", str(len(reply.body) + reply.missing))
                self.end_headers()
                for start in range(
                    0, len(reply.body), tenth := max(1, len(reply.body) // 10 if reply.trickle else 10**9)
                ):
                    time.sleep(reply.trickle)
                    self.wfile.write(reply.body[start : start + tenth])
                if reply.missing:
                    self.close_connection = True
            except OSError:
                self.close_connection = True  # who asked has gone

        def log_message(self, *_: Any) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 64

        def handle_error(self, *_: Any) -> None:
            pass

    server = Server(("127.0.0.1", 0), Handler)
    service.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
