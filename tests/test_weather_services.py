"""The web services: what is asked, what counts as an answer, and what is tried again."""

import json
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, date, datetime
from decimal import Decimal as D
from threading import Thread
from typing import Any
from urllib.parse import quote, quote_plus

import httpx
import pytest

from kibray_ops.weather import census, open_meteo
from kibray_ops.weather.place import ABSENT, AMBIGUOUS, Area, Match, Miss, Point, area, fingerprint, is_american, point
from kibray_ops.weather.service import (
    MINUTE,
    Denied,
    KeyDenied,
    LimitReached,
    MinuteLimit,
    Misunderstood,
    Refused,
    Service,
    ServiceError,
    Unavailable,
)
from kibray_ops.weather.wmo import CODES, conditions
from kibray_ops.web import web_client
from tests import sky as skies
from tests.sky import (
    BAD_GATEWAY,
    DAILY,
    HOURLY,
    INVALID_KEY,
    MINUTELY,
    NO_KEY,
    Reply,
    Sky,
    answer,
    centre,
    error,
    match,
    measured,
)

TODAY, TOMORROW = date(2025, 11, 24), date(2025, 11, 25)
DENVER, BOSTON = Point(D("39.73920"), D("-104.99030")), Point(D("42.36010"), D("-71.05890"))


@pytest.fixture
def client() -> Iterator[httpx.Client]:
    with web_client() as client:
        yield client


def forecaster(sky: Sky, client: httpx.Client, **columns: Any) -> Service:
    return Service("the forecast service", client, sky.url, **{"sleep": lambda _: None, "timeout": 5.0} | columns)


def ask(service: Service, *points: Point) -> list[Any]:
    """Return the answers in the order of the points; raise what there is instead of the first one."""
    told = open_meteo.forecasts(service, points or (DENVER,), TODAY, TOMORROW)
    answers = [told[point] for point in points or (DENVER,)]
    if isinstance(answers[0], ServiceError):
        raise answers[0]
    return answers


# ---- tries and time-outs

FINE = None
PAGE = Reply(b"<!doctype html><title>Down for maintenance</title>", 200, "text/html")
CUT_BODY = Reply(b'{"latitude": 39.7, "daily"', missing=500)
CUT_JSON = Reply(b'{"latitude": 39.7, "daily": {"time": ["2025-')
STREAM_ERROR = Reply(b'[{"latitude": 39.7}Unexpected error while streaming data: timeout')
BUSY = error("Too many concurrent requests", 429)
BAD = error("Data corrupted at path ''. Cannot initialize ForecastVariableDaily from invalid String value uv.")


@pytest.mark.parametrize(
    ("faults", "ended", "asked", "minutes"),
    [
        ([FINE], None, 1, 0),
        ([BAD_GATEWAY, FINE], None, 2, 0),
        ([BAD_GATEWAY, error("The service is overloaded", 503), FINE], None, 3, 0),
        ([BAD_GATEWAY] * 3, Unavailable, 3, 0),
        ([Reply(b"", 500)] * 3, Unavailable, 3, 0),
        ([Reply(b"", 408), FINE], None, 2, 0),
        ([PAGE, FINE], None, 2, 0),
        ([PAGE] * 3, Unavailable, 3, 0),
        ([CUT_BODY, CUT_JSON, FINE], None, 3, 0),
        ([CUT_BODY] * 3, Unavailable, 3, 0),
        ([CUT_JSON] * 3, Unavailable, 3, 0),
        ([STREAM_ERROR, Reply(b""), FINE], None, 3, 0),
        ([Reply(b'{"latitude": NaN}')] * 3, Unavailable, 3, 0),
        ([Reply(b'{"latitude": 1e999}')] * 3, Unavailable, 3, 0),
        ([Reply(b'{"timezone": "\\ud800"}')] * 3, Unavailable, 3, 0),
        ([Reply(b"[" * 200_000)] * 3, Unavailable, 3, 0),
        ([Reply(b'{"timezone": "\\u0000"}')], Misunderstood, 1, 0),
        ([BAD], Denied, 1, 0),
        ([answer({"error": True, "reason": "No data is available for this location"})], Refused, 1, 0),
        ([answer({"error": True, "reason": "Something else"})], Denied, 1, 0),
        ([NO_KEY], KeyDenied, 1, 0),
        ([INVALID_KEY], KeyDenied, 1, 0),
        ([error("Not in your plan", 403)], KeyDenied, 1, 0),
        ([error("Not from this location", 403)], KeyDenied, 1, 0),
        ([error("Location not found", 404)], Denied, 1, 0),
        ([Reply(b"<html>Not Found</html>", 404, "text/html")], Denied, 1, 0),
        ([Reply(b"", 302)], Denied, 1, 0),
        ([MINUTELY, FINE], None, 2, 1),
        ([Reply(b"Too Many Requests", 429, "text/plain"), FINE], None, 2, 1),
        ([MINUTELY, MINUTELY], MinuteLimit, 2, 1),
        ([MINUTELY, BAD_GATEWAY, FINE], None, 3, 1),
        ([HOURLY], LimitReached, 1, 0),
        ([DAILY], LimitReached, 1, 0),
        ([BUSY, BUSY, FINE], None, 3, 0),
        ([BUSY] * 3, Unavailable, 3, 0),
    ],
)
def test_what_is_tried_again(
    sky: Sky,
    client: httpx.Client,
    faults: list[Reply | None],
    ended: type[ServiceError] | None,
    asked: int,
    minutes: int,
) -> None:
    sky.faults = faults
    pauses: list[float] = []
    service = forecaster(sky, client, sleep=pauses.append)
    if ended is None:
        assert open_meteo.read(ask(service)[0], DENVER).days.keys() == {TODAY, TOMORROW}
    else:
        with pytest.raises(ServiceError) as raised:
            ask(service)
        assert type(raised.value) is ended
        assert "html" not in str(raised.value)
    assert len(sky.forecasts) == asked
    assert pauses.count(MINUTE) == minutes
    assert len(pauses) == asked - 1
    assert all(0 <= pause <= 2 for pause in pauses if pause != MINUTE)


@pytest.mark.parametrize("slow", [Reply(b"{}", delay=3), Reply(b"{" + b" " * 1000, trickle=0.1)])
def test_an_answer_that_takes_too_long(sky: Sky, client: httpx.Client, slow: Reply) -> None:
    sky.faults = [slow, slow, slow]
    with pytest.raises(Unavailable, match=r"did not answer within 0.4 s"):
        ask(forecaster(sky, client, timeout=0.4))
    assert len(sky.forecasts) == 3


class Trickling(Thread):
    """Send a line of headers every tenth of a second, for ever."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.socket.getsockname()[1]}"
        self.start()

    def run(self) -> None:
        while True:
            try:
                connection, _ = self.socket.accept()
            except OSError:
                return
            Thread(target=self.trickle, args=(connection,), daemon=True).start()

    def trickle(self, connection: socket.socket) -> None:
        with connection, suppress(OSError):
            connection.sendall(b"HTTP/1.1 200 OK\r\n")
            while True:
                connection.sendall(b"X-More: to come\r\n")
                time.sleep(0.1)


def test_headers_that_never_end(client: httpx.Client) -> None:
    """No single step takes long: httpx would wait for ever."""
    server = Trickling()
    begin = time.monotonic()
    with pytest.raises(Unavailable, match=r"did not answer within 0.4 s"):
        ask(Service("the forecast service", client, server.url, timeout=0.4, sleep=lambda _: None))
    assert 1.2 <= time.monotonic() - begin < 3
    server.socket.close()


@pytest.mark.parametrize("url", ["http://a..b", "http://" + "a" * 70, "http://xn--", "ftp://x"])
def test_an_address_that_is_none(client: httpx.Client, url: str) -> None:
    with pytest.raises(Denied, match="an address that cannot be used"):
        ask(Service("the forecast service", client, url, sleep=lambda _: None))


def test_the_words_of_an_error_are_one_short_line(sky: Sky, client: httpx.Client) -> None:
    sky.faults = [error("\x1b[31mred\nalert\u202e. " + "x" * 500)]
    with pytest.raises(Denied) as raised:
        ask(forecaster(sky, client))
    assert str(raised.value).startswith("the forecast service answered 400: [31mred alert . xxx")
    assert len(str(raised.value)) < 250
    assert str(raised.value).isprintable()


def test_what_was_asked_with_is_not_repeated() -> None:
    """The service may say it at the very end of what is shown of its words, or as it stands in a URL."""
    secret = "hunter22+/=&"
    forms = (secret, quote(secret, safe=""), quote_plus(secret))

    def repeat(_: httpx.Request) -> httpx.Response:
        return httpx.Response(401, json={"reason": " ".join((*forms, "x" * 141, forms[0]))})

    with web_client(transport=httpx.MockTransport(repeat)) as client, pytest.raises(Denied) as raised:
        ask(open_meteo.forecaster(client, "https://api.open-meteo.com", secret))
    assert "hunter" not in str(raised.value)
    assert str(raised.value).startswith("the forecast service answered 401: ******** ******** ******** xxx")


def test_a_server_that_is_not_there(client: httpx.Client) -> None:
    service = Service("the forecast service", client, "http://127.0.0.1:9", sleep=lambda _: None)
    with pytest.raises(Unavailable, match=r"cannot be reached \(ConnectError\)"):
        ask(service)


def test_an_answer_that_never_ends(client: httpx.Client) -> None:
    def endless(_: httpx.Request) -> httpx.Response:
        return httpx.Response(200, content=(b" " * 1_000_000 for _ in range(60)))

    with web_client(transport=httpx.MockTransport(endless)) as endless_client, pytest.raises(Misunderstood):
        ask(Service("the forecast service", endless_client, "http://x"))


# ---- forecasts


def test_what_is_asked_and_what_comes(sky: Sky, client: httpx.Client) -> None:
    (told,) = ask(forecaster(sky, client))
    (question,) = sky.forecasts
    assert question.method == "GET"
    assert question.fields == {
        "latitude": "39.73920",
        "longitude": "-104.99030",
        "daily": "weather_code,temperature_2m_max,temperature_2m_min,precipitation_sum,wind_speed_10m_max,"
        "relative_humidity_2m_mean",
        "timezone": "auto",
        "start_date": "2025-11-24",
        "end_date": "2025-11-25",
    }
    day = open_meteo.read(told, DENVER).days[TOMORROW]
    sent = measured(*DENVER, TOMORROW)
    assert (day.temperature_max, day.temperature_min) == (
        D(str(sent["temperature_2m_max"])),
        D(str(sent["temperature_2m_min"])),
    )
    assert (day.precipitation_mm, day.wind_kph) == (
        D(str(sent["precipitation_sum"])),
        D(str(sent["wind_speed_10m_max"])),
    )
    assert (day.humidity_percent, day.code) == (D(sent["relative_humidity_2m_mean"]), sent["weather_code"])


@pytest.mark.parametrize(("count", "method"), [(2, "GET"), (100, "GET"), (101, "POST"), (500, "POST")])
def test_many_places_come_in_the_order_of_the_question(sky: Sky, client: httpx.Client, count: int, method: str) -> None:
    points = [Point(D(30) + number % 15, D(-120) + D(number) / 10) for number in range(count)]
    told = ask(forecaster(sky, client), *points)
    assert [question.method for question in sky.forecasts] == [method]
    for place, one in zip(points, told, strict=True):
        sent = D(str(measured(*place, TODAY)["wind_speed_10m_max"]))
        assert open_meteo.read(one, place).days[TODAY].wind_kph == sent


def test_a_place_without_data_does_not_stop_the_others(sky: Sky, client: httpx.Client) -> None:
    points = [Point(D(30), D(-120) + number) for number in range(40)]
    sky.refused = {points[7], points[23]}
    told = ask(forecaster(sky, client), *points)
    assert [number for number, one in enumerate(told) if isinstance(one, Refused)] == [7, 23]
    assert all(open_meteo.read(one, place) for place, one in zip(points, told, strict=True) if isinstance(one, dict))
    assert len(sky.forecasts) < 30


@pytest.mark.parametrize(("fault", "ended"), [(HOURLY, LimitReached), (BAD_GATEWAY, Unavailable)])
def test_what_was_told_before_the_service_closed_is_kept(
    sky: Sky, client: httpx.Client, fault: Reply, ended: type[ServiceError]
) -> None:
    points = [Point(D(30), D(-120) + number) for number in range(40)]
    sky.refused = {points[30]}
    sky.faults = [None, None, *[fault] * 3]
    told = open_meteo.forecasts(forecaster(sky, client), points, TODAY, TOMORROW)
    assert all(isinstance(told[point], dict) for point in points[:20])
    assert all(type(told[point]) is ended for point in points[20:])
    assert len(sky.forecasts) == (3 if ended is LimitReached else 5)


def test_the_other_half_is_not_asked_of_a_service_that_is_down(sky: Sky, client: httpx.Client) -> None:
    points = [Point(D(30), D(-120) + number) for number in range(40)]
    sky.refused = {points[30]}
    sky.faults = [None, *[BAD_GATEWAY] * 3]
    told = open_meteo.forecasts(forecaster(sky, client), points, TODAY, TOMORROW)
    assert {type(answer) for answer in told.values()} == {Unavailable}
    assert len(sky.forecasts) == 4


def test_when_every_place_is_refused_it_is_not_asked_for_ever(sky: Sky, client: httpx.Client) -> None:
    points = [Point(D(30), D(-120) + D(number) / 10) for number in range(400)]
    sky.refused = set(points)
    told = open_meteo.forecasts(forecaster(sky, client), points, TODAY, TOMORROW)
    assert {type(answer) for answer in told.values()} == {Refused}
    assert told.keys() == set(points)
    assert len(sky.forecasts) <= 120


def test_too_many_places_for_the_service(sky: Sky, client: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(skies, "MOST", 3)
    points = [Point(D(30), D(-120) + number) for number in range(8)]
    assert all(isinstance(one, dict) for one in ask(forecaster(sky, client), *points))


def test_what_is_not_about_a_place_is_not_asked_in_halves(sky: Sky, client: httpx.Client) -> None:
    sky.today = date(2027, 1, 1)
    with pytest.raises(Denied, match="out of allowed range"):
        ask(forecaster(sky, client), DENVER, BOSTON)
    assert len(sky.forecasts) == 1


def test_too_few_answers_and_another_order(sky: Sky, client: httpx.Client) -> None:
    one = json.loads(sky._forecast(skies.Question("GET", "", _fields(DENVER), {}, "")).body)
    for reply in (one, [one], [one, one, one], [one, 5], "text", None, []):
        sky.faults = [answer(reply)]
        with pytest.raises(Misunderstood):
            ask(forecaster(sky, client), DENVER, BOSTON)
    sky.faults = [answer([{**one, "location_id": 1}, one])]
    with pytest.raises(Misunderstood, match="order"):
        ask(forecaster(sky, client), DENVER, BOSTON)


def _fields(where: Point) -> dict[str, str]:
    return {
        "latitude": str(where.latitude), "longitude": str(where.longitude), "timezone": "auto",
        "daily": ",".join(open_meteo.DAILY), "start_date": str(TODAY), "end_date": str(TOMORROW),
    }  # fmt: skip


def changed(**columns: Any) -> Callable[[dict[str, Any]], Any]:
    return lambda place: {**place, **columns}


def daily(**columns: Any) -> Callable[[dict[str, Any]], Any]:
    return lambda place: {**place, "daily": {**place["daily"], **columns}}


def units(**columns: Any) -> Callable[[dict[str, Any]], Any]:
    return lambda place: {**place, "daily_units": {**place["daily_units"], **columns}}


@pytest.mark.parametrize(
    "change",
    [
        lambda _: {},
        changed(latitude=40.3),
        changed(longitude=-104.4),
        changed(latitude="39.7"),
        changed(latitude=None),
        changed(latitude=True),
        changed(daily=None),
        changed(daily=[]),
        changed(daily_units=[]),
        changed(daily_units={}),
        changed(timezone="Nowhere/Land", utc_offset_seconds=None),
        changed(timezone="Nowhere/Land", utc_offset_seconds=10**9),
        units(temperature_2m_max="°F"),
        units(temperature_2m_min=None),
        units(wind_speed_10m_max="mp/h"),
        units(precipitation_sum="inch"),
        units(relative_humidity_2m_mean="fraction"),
        units(weather_code=""),
        daily(time=["2025-11-24"]),
        daily(time=["2025-11-24", "2025-11-24"]),
        daily(time=["2025-11-25", "2025-11-24"]),
        daily(time=["9999-12-31", "9999-12-31"]),
        daily(time=[]),
        daily(time=["2025-11-24", "tomorrow"]),
        daily(time=[20251124, 20251125]),
        daily(temperature_2m_max=[1.0]),
        daily(temperature_2m_max=1.0),
        daily(temperature_2m_max=["1.0", "2.0"]),
        daily(temperature_2m_max=[True, 2.0]),
        daily(temperature_2m_max=[61, 2.0]),
        daily(temperature_2m_min=[-91, 2.0]),
        daily(precipitation_sum=[-0.1, 2.0]),
        daily(precipitation_sum=[2001, 2.0]),
        daily(wind_speed_10m_max=[10**400, 2.0]),
        daily(wind_speed_10m_max=[-1, 2.0]),
        daily(relative_humidity_2m_mean=[101, 2.0]),
        daily(weather_code=[1.5, 2]),
        daily(weather_code=[-1, 2]),
        daily(weather_code=[[1], 2]),
    ],
)
def test_what_is_not_what_was_asked_for_is_not_understood(
    sky: Sky, client: httpx.Client, change: Callable[[dict[str, Any]], Any]
) -> None:
    (proper,) = ask(forecaster(sky, client))
    assert open_meteo.read(proper, DENVER)
    with pytest.raises(Misunderstood):
        open_meteo.read(change(proper), DENVER)


def test_what_is_not_told_is_none(sky: Sky, client: httpx.Client) -> None:
    (proper,) = ask(forecaster(sky, client))
    nothing = daily(**{name: [None, None] for name in open_meteo.DAILY})(proper)
    day = open_meteo.read(nothing, DENVER).days[TODAY]
    assert [getattr(day, name) for name in day.__dataclass_fields__] == [TODAY] + [None] * 6


@pytest.mark.parametrize(
    ("zone", "offset", "moment", "on"),
    [
        ("America/Denver", -25200, "2025-11-25T06:59Z", "2025-11-24"),
        ("America/Denver", -25200, "2025-11-25T07:00Z", "2025-11-25"),
        ("America/Denver", -25200, "2025-07-02T06:00Z", "2025-07-02"),  # the zone's summer, whatever the offset now
        ("Nowhere/Land", -18000, "2025-11-25T05:00Z", "2025-11-25"),
        ("Nowhere/Land", -18000, "2025-11-25T04:59Z", "2025-11-24"),
        ("../../etc/passwd", 0, "2025-11-25T00:00Z", "2025-11-25"),
        (5, 3600, "2025-11-24T23:00Z", "2025-11-25"),
    ],
)
def test_the_date_at_the_place(sky: Sky, client: httpx.Client, zone: Any, offset: int, moment: str, on: str) -> None:
    (proper,) = ask(forecaster(sky, client))
    forecast = open_meteo.read({**proper, "timezone": zone, "utc_offset_seconds": offset}, DENVER)
    assert forecast.local_date(datetime.fromisoformat(moment).astimezone(UTC)).isoformat() == on


@pytest.mark.parametrize(
    ("base_url", "key", "host", "told"),
    [
        ("https://api.open-meteo.com", "", "https://api.open-meteo.com", False),
        ("https://api.open-meteo.com", "hunter22", "https://customer-api.open-meteo.com", True),
        ("https://customer-api.open-meteo.com", "hunter22", "https://customer-api.open-meteo.com", True),
        ("http://api.open-meteo.com", "hunter22", "https://customer-api.open-meteo.com", True),
        ("https://customer-api.open-meteo.com", "", "https://customer-api.open-meteo.com", False),
        ("http://customer-api.open-meteo.com", "hunter22", "http://customer-api.open-meteo.com", False),
        ("https://customer-api.open-meteo.com.a.io", "hunter22", "https://customer-api.open-meteo.com.a.io", False),
        ("https://customer-weather.example.com", "hunter22", "https://customer-weather.example.com", False),
        ("https://customer-xopen-meteo.com", "hunter22", "https://customer-xopen-meteo.com", False),
        ("HTTPS://Customer-api.Open-Meteo.com", "hunter22", "https://customer-api.open-meteo.com", True),
        ("https://weather.example.com", "hunter22", "https://weather.example.com", False),
    ],
)  # fmt: skip
def test_only_the_customers_host_gets_the_key(base_url: str, key: str, host: str, told: bool) -> None:
    asked: list[httpx.Request] = []

    def note(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return httpx.Response(200, json={})

    with web_client(transport=httpx.MockTransport(note)) as client:
        ask(open_meteo.forecaster(client, base_url, key))
        open_meteo.search(
            open_meteo.gazetteer(client, base_url.replace("api", "geocoding-api"), key), Area(zip="80211")
        )
    forecast, search = asked
    assert f"{forecast.url.scheme}://{forecast.url.host}" == host
    assert f"{search.url.scheme}://{search.url.host}" == host.replace("api", "geocoding-api")
    assert ("hunter22" in forecast.content.decode()) == told
    assert "hunter22" not in str(forecast.url)
    assert "hunter22" not in str(forecast.headers)
    assert ("apikey=hunter22" in str(search.url)) == told


# ---- weather codes


def test_every_code_has_its_words() -> None:
    assert tuple(CODES) == skies.CODES
    texts = [conditions(code).text for code in CODES]
    assert len(set(texts)) == 28
    assert max(map(len, texts)) <= 120
    assert conditions(66).text == "Light freezing rain"
    assert all(found.word and found.icon for found in CODES.values())
    assert conditions(None) == ("", "", "")
    assert conditions(58).text == "WMO code 58"
    assert conditions(100).text == "WMO code 100"


# ---- addresses


@pytest.mark.parametrize(
    ("address", "city", "state", "zip_code"),
    [
        ("3120 W 32nd Ave, Denver, CO 80211", "Denver", "CO", "80211"),
        ("3120 W 32nd Ave, Denver, co. 80211-1234, USA", "Denver", "CO", "80211"),
        ("3120 W 32nd Ave, Denver, Colorado, United States of America", "Denver", "CO", ""),
        ("12 Main Street, Charleston, West Virginia 25301", "Charleston", "WV", "25301"),
        ("100 Virginia Ave, Washington, DC 20001", "Washington", "DC", "20001"),
        ("Fort Collins CO", "Fort Collins", "CO", ""),
        ("1 Main St Denver CO", "", "CO", ""),  # where the street ends and the city begins, nobody knows
        ("80211", "", "", "80211"),
        ("5 Elm St, 80211", "", "", "80211"),
        ("Gate 3, County Road 12345", "", "", ""),  # a road, not the ZIP code of Schenectady
        ("12345 Elm St", "", "", ""),
        ("1600 Pennsylvania Ave NW, Washington", "", "", ""),  # the city or the state?
        ("5 Elm St, Seattle, WA 98101", "Seattle", "WA", "98101"),
        ("5 Elm St, Denver, CO \uff18\uff10\uff12\uff11\uff11", "", "", ""),  # digits of another script
        ("Calle 5, Ciudad de México", "", "", ""),
        ("", "", "", ""),
    ],
)
def test_the_end_of_an_address(address: str, city: str, state: str, zip_code: str) -> None:
    assert area(address) == Area(city, state, zip_code)


def test_what_changes_an_address() -> None:
    same = fingerprint("3120 W 32nd Ave, Denver, CO 80211")
    assert fingerprint("  3120 w. 32nd ave  DENVER CO, 80211\n") == same
    assert fingerprint("3121 W 32nd Ave, Denver, CO 80211") != same
    assert fingerprint("") != fingerprint("1")
    assert len(fingerprint("\ud800")) == 64


@pytest.mark.parametrize(
    "pair", [(91, 0), (-90.1, 0), (0, 181), (float("nan"), 0), (0, float("inf")), ("1", 2), (True, 1)]
)
def test_what_is_no_point_on_the_earth(pair: tuple[Any, Any]) -> None:
    with pytest.raises(ValueError, match=r"lies between|no number"):
        point(*pair)


def test_points_are_told_to_a_metre() -> None:
    assert point(39.739235, -104.990251) == Point(D("39.73924"), D("-104.99025"))
    assert point(39.000005, -39.000005) == Point(D("39.00001"), D("-39.00001"))
    assert all(is_american(point(*place)) for place in ((21.3, -157.9), (18.5, -66.1), (64.8, -147.7)))
    assert str(point(-0.000001, 10**400 / 10**398)) == "0.00000, 100.00000"
    assert is_american(DENVER)
    assert not is_american(Point(DENVER.longitude, DENVER.latitude))
    assert not is_american(Point(DENVER.latitude, -DENVER.longitude))


# ---- the geocoder

ADDRESS = "3120 W 32nd Ave, Denver, CO 80211"
ONE = match(ADDRESS, 39.76212, -105.02873)
FOUND = Match(Point(D("39.76212"), D("-105.02873")), "census", ADDRESS.upper())
AURORAS = [
    centre("aurora", 39.73, -104.83), centre("Aurora", 39.7, -104.8), centre("Aurora Hills", 37.0, -108.0),
]  # fmt: skip


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ([ONE], FOUND),
        ([ONE, ONE], FOUND),
        ([], Miss(ABSENT)),
        ([ONE, match(ADDRESS, 39.9, -105.1)], Miss(AMBIGUOUS)),
        ([match(ADDRESS, 39.76212, -105.02873, state="KS")], Miss(ABSENT)),
        ([match(ADDRESS, 39.76212, -105.02873, state="co")], FOUND),
        ([{**ONE, "addressComponents": {}}], FOUND),
        (answer({"errors": ["Address cannot be empty and cannot exceed 100 characters"]}, 400), Miss(ABSENT)),
        ([ONE, match(ADDRESS, 38.1, -98.2, state="KS")], FOUND),
        ([match(ADDRESS, -105.02873 + 20, 39.76212)], Miss(ABSENT)),  # swapped
        (answer({"errors": ["Specify House number and Street name"], "status": "400"}, 400), Miss(ABSENT)),
    ],
)  # fmt: skip
def test_where_an_address_is(sky: Sky, client: httpx.Client, found: Any, expected: Match | Miss) -> None:
    sky.addresses[ADDRESS] = found
    assert census.locate(census.geocoder(client, sky.url), ADDRESS) == expected
    (question,) = sky.questions
    assert question.fields == {"address": ADDRESS, "benchmark": "Public_AR_Current", "format": "json"}


@pytest.mark.parametrize(
    "reply",
    [{}, {"result": None}, {"result": {"addressMatches": None}}, {"result": {"addressMatches": [{}]}}, [], "text",
     {"result": {"addressMatches": [{**ONE, "coordinates": {"x": "east", "y": 39}}]}},
     {"result": {"addressMatches": [{**ONE, "coordinates": {"x": -105, "y": 139}}]}}],
)  # fmt: skip
def test_a_geocoder_that_speaks_another_language(sky: Sky, client: httpx.Client, reply: Any) -> None:
    sky.addresses[ADDRESS] = answer(reply)
    with pytest.raises(Misunderstood):
        census.locate(census.geocoder(client, sky.url), ADDRESS)


@pytest.mark.parametrize("reason", ["Benchmark not found", ""])
def test_a_400_that_is_not_about_the_address_says_nothing_of_it(sky: Sky, client: httpx.Client, reason: str) -> None:
    sky.addresses[ADDRESS] = answer({"errors": [reason], "status": "400"}, 400)
    with pytest.raises(Refused):
        census.locate(census.geocoder(client, sky.url), ADDRESS)


# ---- the place search


@pytest.mark.parametrize(
    ("centres", "where", "expected"),
    [
        (
            {"80211": [centre("Denver", 39.74, -104.98, "Colorado", "80202", "80211")]},
            Area("Denver", "CO", "80211"),
            Match(point(39.74, -104.98), "zip", "Denver, Colorado 80211"),
        ),
        (  # the code of another country's town, and one that only begins alike
            {
                "80211": [
                    {**centre("Adana", 37.0, 35.3, "Adana", "80211"), "country_code": "TR"},
                    centre("Elsewhere", 39.0, -105.0, "Colorado", "80212"),
                ],
                "Denver": [centre("Denver", 39.74, -104.98)],
            },
            Area("Denver", "CO", "80211"),
            Match(point(39.74, -104.98), "city", "Denver, Colorado"),
        ),
        (
            {"80211": [centre("Denver", 39.74, -104.98, "Kansas", "80211")]},
            Area("", "CO", "80211"),
            Miss(ABSENT),
        ),
        (
            {"Aurora": [centre("Aurora", 41.7, -88.3, "Illinois"), centre("Aurora", 39.73, -104.83)]},
            Area("Aurora", "CO", ""),
            Match(point(39.73, -104.83), "city", "Aurora, Colorado"),
        ),
        (
            {"Aurora": [centre("Aurora", 39.73, -104.83), centre("Aurora", 37.2, -108.5)]},
            Area("Aurora", "CO", ""),
            Miss(AMBIGUOUS),
        ),
        ({"Aurora": AURORAS}, Area("Aurora", "CO", ""), Match(point(39.73, -104.83), "city", "aurora, Colorado")),
        ({}, Area("Denver", "CO", "80211"), Miss(ABSENT)),
        (
            {"80211": [{**centre("Adana", 37.0, -100.3, "Adana", "80211"), "country_code": "TR"}]},
            Area("", "", "80211"),
            Miss(ABSENT),
        ),
        ({"80211": [centre("Denver", 39.74, 104.98, "Colorado", "80211")]}, Area("", "CO", "80211"), Miss(ABSENT)),
        ({"80211": [{**centre("Denver", 39.74, -104.98), "postcodes": 80211}]}, Area("", "CO", "80211"), Miss(ABSENT)),
        ({"Denver": [centre("Denver", 39.74, -104.98)]}, Area("Denver", "", ""), Miss(ABSENT)),
        ({}, Area(), Miss(ABSENT)),
    ],
)  # fmt: skip
def test_the_centre_of_a_zip_code_or_city(
    sky: Sky, client: httpx.Client, centres: Any, where: Area, expected: Any
) -> None:
    sky.centres = centres
    assert open_meteo.search(open_meteo.gazetteer(client, sky.url, ""), where) == expected
    assert all((asked.fields["countryCode"], asked.fields["count"]) == ("US", "100") for asked in sky.questions)


@pytest.mark.parametrize(
    "reply", [[], {"results": {}}, {"results": [5]}, {"results": [{"country_code": "US", "postcodes": ["80211"]}]}]
)
def test_a_place_search_that_speaks_another_language(sky: Sky, client: httpx.Client, reply: Any) -> None:
    sky.centres["80211"] = answer(reply)
    with pytest.raises(Misunderstood):
        open_meteo.search(open_meteo.gazetteer(client, sky.url, ""), Area("", "", "80211"))
