"""weather fetch-snapshots: each site gets its own, real forecast, or an honest blank."""

import json
import os
import signal
import sqlite3
import time
from collections.abc import Callable, Iterable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal as D
from threading import Event, Timer
from typing import Any
from zoneinfo import ZoneInfo

import psycopg
import pytest

from kibray_ops.clock import real_now
from kibray_ops.database import Database, Lock
from kibray_ops.places import Site
from kibray_ops.report import Report
from kibray_ops.weather import service
from kibray_ops.weather.place import fingerprint
from tests.here import here, in_terminal
from tests.sky import (
    BAD_GATEWAY,
    CODES,
    DAILY,
    HOURLY,
    INVALID_KEY,
    MINUTELY,
    NO_KEY,
    Question,
    Reply,
    Sky,
    error,
    measured,
)
from tests.test_cli import plain
from tests.world import AWKWARD, ZONE, World, done

SNAPSHOTS, PLANS = "fetch-weather-snapshots", "update-daily-plans-weather"
FIVE = "2025-11-24T05:00"
TODAY = date(2025, 11, 24)
DENVER, BOSTON = ("39.73920", "-104.99030"), ("42.36010", "-71.05890")
LOS_ANGELES, HONOLULU = ("34.05220", "-118.24370"), ("21.30690", "-157.85830")


def located(world: World, project: int, place: tuple[str, str] = DENVER, address: str = "") -> int:
    """Note where a project is, as if it had been asked for."""
    world.sql("UPDATE core_project SET address = ? WHERE id = ?", address, project)
    world.sql(
        "INSERT INTO kibray_ops_place VALUES (?, ?, ?, ?, 'census', '', ?)",
        project, fingerprint(address), *map(D, place), datetime(2025, 1, 1, tzinfo=UTC),
    )  # fmt: skip
    return project


def many(world: World, count: int) -> None:
    """Open so many projects, each at a place of its own, in two statements."""
    world.project("model")
    numbers = (
        f"(WITH RECURSIVE n(i) AS (SELECT 2 UNION ALL SELECT i + 1 FROM n WHERE i < {count}) SELECT i FROM n) AS n"
    )
    model = world.rows("core_project")[0]
    new = {name: value for name, value in {"name": "'Site ' || n.i", "project_code": "n.i"}.items() if name in model}
    kept = [name for name in model if name not in ("id", *new)]
    world.sql(
        f"INSERT INTO core_project ({', '.join((*kept, *new))}) "
        f"SELECT {', '.join((*(f'm.{name}' for name in kept), *new.values()))} FROM core_project m, {numbers}"
    )
    world.sql(
        "INSERT INTO kibray_ops_place "
        "SELECT id, ?, 30 + id * 0.01, -100 + id * 0.01, 'census', '', ? FROM core_project",
        fingerprint(""), datetime(2025, 1, 1, tzinfo=UTC),
    )  # fmt: skip


def sent(place: Iterable[Any], on: date = TODAY) -> dict[str, Any]:
    """Return the columns of the snapshot that the server's numbers come to."""
    told = measured(*(D(str(degrees)) for degrees in place), on)
    return {
        "temperature_max": D(str(told["temperature_2m_max"])),
        "temperature_min": D(str(told["temperature_2m_min"])),
        "precipitation_mm": D(str(told["precipitation_sum"])),
        "wind_kph": D(str(told["wind_speed_10m_max"])),
        "humidity_percent": told["relative_humidity_2m_mean"],
    }


def failures(report: Report) -> list[tuple[str, str]]:
    return [(problem.subject, problem.message) for problem in report.problems if problem.severity == "failure"]


def warned(report: Report) -> list[str]:
    return [problem.subject for problem in report.problems if problem.severity == "warning"]


# ---- what is written


def test_a_snapshot_read_back_has_the_numbers_that_the_server_sent(world: World, sky: Sky) -> None:
    places = {
        located(world, world.project(f"Site {n}"), (f"{39 + n / 7:.5f}", f"{-105 + n / 9:.5f}")): n for n in range(30)
    }
    report = done(world.execute(SNAPSHOTS, at=FIVE))
    assert (report.result["created"], report.result["updated"], report.result["total_projects"]) == (30, 0, 30)
    assert report.result["date"] == TODAY
    snapshots = world.snapshots()
    assert snapshots.keys() == places.keys()
    for project, n in places.items():
        row, place = snapshots[project], (f"{39 + n / 7:.5f}", f"{-105 + n / 9:.5f}")
        assert {name: row[name] for name in sent(place)} == sent(place)
        assert (row["latitude"], row["longitude"]) == tuple(map(D, place))
        assert (row["date"], row["source"], row["fetched_at"]) == (
            TODAY,
            "open-meteo",
            datetime(2025, 11, 24, 12, tzinfo=UTC),
        )
        assert row["provider_url"] == "https://open-meteo.com/"
        at = row["raw_json"]["daily"]["time"].index("2025-11-24")
        assert D(str(row["raw_json"]["daily"]["temperature_2m_max"][at])) == row["temperature_max"]
        assert row["conditions_text"]
    assert len({row["conditions_text"] for row in snapshots.values()}) > 5
    if world.engine == "sqlite":  # as Django writes it
        written = world.sql(
            "SELECT fetched_at FROM core_weathersnapshot UNION SELECT fetched_at FROM kibray_ops_forecast"
        )
        assert written == [{"fetched_at": "2025-11-24 12:00:00"}]


def test_the_raw_answer_is_kept_as_it_came(newest: World, sky: Sky) -> None:
    kept: list[Any] = []
    sky.change = lambda place: kept.append(place) or place  # type: ignore[func-returns-value]
    project = located(newest, newest.project())
    done(newest.execute(SNAPSHOTS, at=FIVE))
    assert newest.snapshots()[project]["raw_json"] == kept[0]


def test_each_code_has_its_words(newest: World, sky: Sky) -> None:
    codes = iter((*CODES, None, 58))
    places = {located(newest, newest.project(f"{n}"), (f"{30 + n}.00000", "-100.00000")): n for n in range(30)}

    def change(place: dict[str, Any]) -> dict[str, Any]:
        place["daily"]["weather_code"] = [next(codes)] * 4
        return place

    sky.change = change
    done(newest.execute(SNAPSHOTS, at=FIVE))
    texts = [newest.snapshots()[project]["conditions_text"] for project in places]
    assert len(set(texts[:28])) == 28
    assert texts[28:] == ["", "WMO code 58"]


def test_what_is_not_told_stays_empty(world: World, sky: Sky) -> None:
    project = located(world, world.project())

    def forget(place: dict[str, Any]) -> dict[str, Any]:
        place["daily"] |= {name: [None] * 4 for name in place["daily"] if name != "time"}
        return place

    sky.change = forget
    report = done(world.execute(SNAPSHOTS, at=FIVE))
    row = world.snapshots()[project]
    assert {row[name] for name in sent(DENVER)} == {None}
    assert row["conditions_text"] == ""
    assert [problem.message for problem in report.problems] == ["the forecast tells nothing of the day"]


@pytest.mark.parametrize(("mean", "stored"), [(54.5, 55), (54.4, 54), (0, 0), (100, 100)])
def test_humidity_is_a_whole_number(sqlite_world: World, sky: Sky, mean: float, stored: int) -> None:
    project = located(sqlite_world, sqlite_world.project())
    sky.change = lambda place: {**place, "daily": {**place["daily"], "relative_humidity_2m_mean": [mean] * 4}}
    done(sqlite_world.execute(SNAPSHOTS, at=FIVE))
    assert sqlite_world.snapshots()[project]["humidity_percent"] == stored


def test_which_projects(world: World, sky: Sky) -> None:
    yesterday = date(2025, 11, 23)
    wanted = {
        located(world, world.project("No end")),
        located(world, world.project("Ends today", end_date=TODAY)),
    }
    located(world, world.project("Ended", end_date=yesterday))
    archived = located(world, world.project("Archived", is_archived=True))
    wanted |= {archived} if world.version == "2025-11" else set()
    report = done(world.execute(SNAPSHOTS, at=FIVE))
    assert world.snapshots().keys() == wanted
    assert report.result["total_projects"] == len(wanted)


@pytest.mark.parametrize(
    ("at", "dates"),
    [
        ("2025-11-24T05:00", ("2025-11-24", "2025-11-24", "2025-11-24", "2025-11-24")),
        ("2025-11-24T23:30", ("2025-11-25", "2025-11-24", "2025-11-24", "2025-11-24")),
        ("2025-11-24T00:30", ("2025-11-24", "2025-11-24", "2025-11-23", "2025-11-23")),
    ],
)
def test_the_date_is_the_one_at_the_site(newest: World, sky: Sky, at: str, dates: tuple[str, ...]) -> None:
    places = (BOSTON, DENVER, LOS_ANGELES, HONOLULU)
    projects = [located(newest, newest.project(f"{n}"), place) for n, place in enumerate(places)]
    done(newest.execute(SNAPSHOTS, at=at))
    for project, place, on in zip(projects, places, dates, strict=True):
        row = newest.snapshots()[project]
        assert row["date"].isoformat() == on
        assert {name: row[name] for name in sent(place)} == sent(place, date.fromisoformat(on))


def test_a_later_forecast_replaces_the_one_of_the_day(world: World, sky: Sky) -> None:
    first, second = (located(world, world.project(name), place) for name, place in (("A", DENVER), ("B", BOSTON)))
    other = world.add("core_weathersnapshot", project_id=first, date=TODAY, source="mock", conditions_text="Sunny")
    before = world.add(
        "core_weathersnapshot", project_id=first, date=TODAY, source="open-meteo", conditions_text="Sunny",
        temperature_max=D("22.50"), humidity_percent=50, provider_url="https://x", raw_json={"a": 1},
    )  # fmt: skip
    report = done(world.execute(SNAPSHOTS, at=FIVE))
    assert (report.result["created"], report.result["updated"]) == (1, 1)
    assert [row["action"] for row in report.rows] == ["updated", "created"]
    rows = {row["id"]: row for row in world.rows("core_weathersnapshot")}
    assert rows[other]["conditions_text"] == "Sunny"
    assert {name: rows[before][name] for name in sent(DENVER)} == sent(DENVER)
    assert rows[before]["raw_json"]["timezone"] == "America/Denver"
    assert len(rows) == 3
    done(world.execute(SNAPSHOTS, at="2025-11-25T05:00"))
    assert len(world.rows("core_weathersnapshot", "project_id = ?", second)) == 2


def test_no_place_is_asked_for_twice_within_an_hour(world: World, sky: Sky) -> None:
    same = [located(world, world.project(f"{n}"), DENVER) for n in range(3)]
    located(world, world.project("Other"), BOSTON)
    world.plan(same[0], "2025-11-24", status="PUBLISHED")
    done(world.execute(SNAPSHOTS, at=FIVE))
    assert [sorted(question.points) for question in sky.forecasts] == [
        sorted([tuple(map(D, DENVER)), tuple(map(D, BOSTON))])
    ]
    once = world.dump(own=False)
    done(world.execute(SNAPSHOTS, at="2025-11-24T05:59"))
    assert (len(sky.forecasts), world.dump(own=False)) == (1, once)
    assert done(world.execute(PLANS, at="2025-11-24T05:59")).result["updated"] == 1
    assert len(sky.forecasts) == 1
    done(world.execute(SNAPSHOTS, at="2025-11-24T06:01"))
    assert len(sky.forecasts) == 2
    assert world.snapshots()[same[0]]["fetched_at"] == datetime(2025, 11, 24, 13, 1, tzinfo=UTC)
    assert world.rows("core_dailyplan")[0]["weather_fetched_at"] == datetime(2025, 11, 24, 12, tzinfo=UTC)
    done(world.execute(SNAPSHOTS, at="2025-11-23T05:00"))  # what is known now was not known then
    assert len(sky.forecasts) == 3


def test_by_the_real_clock_the_second_run_changes_nothing(newest: World, sky: Sky) -> None:
    sky.today = real_now().date()
    project = newest.project(address="1 Elm St, Denver, CO")
    tomorrow = real_now().astimezone(ZoneInfo(ZONE)).date() + timedelta(days=1)  # or today, should midnight pass
    newest.plan(project, tomorrow.isoformat())
    for command in ("weather fetch-snapshots", "plans update-weather"):
        assert here(newest, *command.split()).returncode == 0
    once = newest.dump(own=False)
    assert here(newest, "weather", "fetch-snapshots").returncode == 0
    assert (newest.dump(own=False), len(sky.forecasts), len(sky.geocoded)) == (once, 1, 1)
    assert newest.snapshots()[project]["fetched_at"] == newest.rows("core_dailyplan")[0]["weather_fetched_at"]


def test_what_is_kept_and_cannot_be_read_is_asked_for_again(newest: World, sky: Sky) -> None:
    project = located(newest, newest.project())
    done(newest.execute(SNAPSHOTS, at=FIVE))
    newest.sql("UPDATE kibray_ops_forecast SET answer = ?", {"of": "another version"})
    done(newest.execute(SNAPSHOTS, at=FIVE))
    assert len(sky.forecasts) == 2
    assert newest.snapshots()[project]["raw_json"]["timezone"] == "America/Denver"


def test_another_sources_snapshot_is_another_snapshot(world: World, sky: Sky) -> None:
    project = located(world, world.project())
    world.add("core_weathersnapshot", project_id=project, date=TODAY, source="mock", conditions_text="Sunny")
    assert done(world.execute(SNAPSHOTS, at=FIVE)).result["created"] == 1
    assert [row["source"] for row in world.rows("core_weathersnapshot")] == ["mock", "open-meteo"]


# ---- what goes wrong


def test_one_place_failing_does_not_stop_the_others(world: World, sky: Sky) -> None:
    good, odd, refused = (
        located(world, world.project(name), place)
        for name, place in (("Good", DENVER), ("Odd", BOSTON), ("Refused", LOS_ANGELES))
    )
    nowhere = world.project("Nowhere")
    sky.refused = {tuple(map(D, LOS_ANGELES))}  # type: ignore[arg-type]

    def in_fahrenheit(place: dict[str, Any]) -> dict[str, Any]:
        if place["timezone"] == "America/New_York":
            place["daily_units"]["temperature_2m_max"] = "°F"
        return place

    sky.change = in_fahrenheit
    report = done(world.execute(SNAPSHOTS, at=FIVE), 3)
    assert world.snapshots().keys() == {good}
    assert failures(report) == [
        ("Odd", "the forecast has temperature_2m_max in '°F' instead of °C"),
        ("Refused", "the forecast service answered 400: No data is available for this location"),
    ]
    assert warned(report) == ["Nowhere"]
    assert report.result["errors"] == [f"{name}: {reason}" for name, reason in failures(report)]
    assert (report.status, report.result["without_place"]) == ("partial", 1)
    assert [row["action"] for row in report.rows] == ["created", "skipped", "skipped", "skipped"]
    assert [row["reason"] for row in report.rows[2:]] == [reason for _, reason in failures(report)]
    sky.change, sky.refused = (lambda place: place), set()
    done(world.execute(SNAPSHOTS, at=FIVE))
    assert world.snapshots().keys() == {good, odd, refused}
    assert nowhere not in world.snapshots()


def test_a_day_that_the_forecast_does_not_tell_of(newest: World, sky: Sky) -> None:
    located(newest, newest.project("Elm St"))

    def earlier(place: dict[str, Any]) -> dict[str, Any]:
        place["daily"] = {name: values[:1] for name, values in place["daily"].items()}
        return place

    sky.change = earlier
    report = done(newest.execute(SNAPSHOTS, at=FIVE), 3)
    assert failures(report) == [("Elm St", "the forecast does not tell of 2025-11-24")]
    assert newest.snapshots() == {}


def test_a_service_that_is_down_is_named_once_for_each_project(newest: World, sky: Sky) -> None:
    many(newest, 30)
    sky.faults = [BAD_GATEWAY] * 3
    report = done(newest.execute(SNAPSHOTS, at=FIVE), 3)
    assert len(sky.forecasts) == 3
    assert newest.snapshots() == {}
    assert len(report.result["errors"]) == 30
    assert report.result["errors"][0].endswith(": the forecast service answered 502")
    assert len(failures(report)) == 21
    assert failures(report)[-1][0] == "10 more projects without a forecast"
    done(newest.execute(SNAPSHOTS, at=FIVE))
    assert len(newest.snapshots()) == 30


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (HOURLY, "Hourly API request limit exceeded"),
        (DAILY, "Daily API request limit exceeded"),
        (NO_KEY, "see KIBRAY_OPS_WEATHER_API_KEY"),
        (INVALID_KEY, "see KIBRAY_OPS_WEATHER_API_KEY"),
        (error("Parameter 'start_date' is out of allowed range"), "out of allowed range"),
    ],
)
def test_what_stops_the_run_keeps_what_was_fetched(newest: World, sky: Sky, fault: Reply, said: str) -> None:
    many(newest, 1100)
    sky.faults = [None, fault]
    report = done(newest.execute(SNAPSHOTS, at=FIVE), 3)
    assert len(sky.forecasts) == 2  # the third batch is not even asked for
    assert len(newest.snapshots()) == 500
    assert (report.result["created"], len(report.result["errors"])) == (500, 600)
    assert all(said in reason for _, reason in failures(report)[:-1])
    sky.questions.clear()
    done(newest.execute(SNAPSHOTS, at="2025-11-24T05:30"))
    assert [len(question.points) for question in sky.forecasts] == [500, 100]
    assert len(newest.snapshots()) == 1100


def test_a_batch_that_fails_does_not_stop_the_next(newest: World, sky: Sky) -> None:
    many(newest, 510)
    sky.faults = [BAD_GATEWAY] * 3
    report = done(newest.execute(SNAPSHOTS, at=FIVE), 3)
    assert (len(newest.snapshots()), len(report.result["errors"])) == (10, 500)


def test_a_limit_per_minute_is_waited_for(newest: World, sky: Sky, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "MINUTE", 0.3)
    many(newest, 501)
    sky.faults = [MINUTELY, None, MINUTELY, None]
    begin = time.monotonic()
    done(newest.execute(SNAPSHOTS, at=FIVE))
    assert time.monotonic() - begin >= 0.6
    assert len(newest.snapshots()) == 501


def test_the_statements_do_not_grow_with_the_places(newest: World, sky: Sky) -> None:
    from tests.test_contract import counted

    counts = {}
    for count in (100, 400):
        for table in ("core_weathersnapshot", "kibray_ops_place", "kibray_ops_forecast", "core_project"):
            newest.sql(f"DELETE FROM {table}")
        many(newest, count)
        with counted() as statements:
            done(newest.execute(SNAPSHOTS, at=FIVE))
        counts[count] = len(statements)
    assert counts[100] == counts[400]
    assert [len(question.points) for question in sky.forecasts] == [100, 400]


def test_a_project_that_goes_while_its_weather_comes(world: World, sky: Sky) -> None:
    stays, goes = (located(world, world.project(name), place) for name, place in (("Stays", DENVER), ("Goes", BOSTON)))
    sky.meanwhile = lambda _: world.sql("DELETE FROM core_project WHERE id = ?", goes)
    report = done(world.execute(SNAPSHOTS, at=FIVE))
    assert world.snapshots().keys() == {stays}
    assert (report.result["created"], [row["action"] for row in report.rows]) == (1, ["skipped", "created"])
    assert [(problem.subject, problem.message) for problem in report.problems] == [("Goes", "it was deleted meanwhile")]
    assert report.rows[0]["temperature_max"] is None


def test_a_project_that_is_being_deleted_while_its_weather_is_written(pg_world: World, sky: Sky) -> None:
    """Its row is still there when we look, and gone at our COMMIT, where the foreign key is checked."""
    stays, goes = (
        located(pg_world, pg_world.project(name), place) for name, place in (("Stays", DENVER), ("Goes", BOSTON))
    )
    deleting = psycopg.connect(pg_world.url)

    def delete(_: Question) -> None:
        deleting.execute("DELETE FROM core_project WHERE id = %s", [goes])
        Timer(1, deleting.commit).start()

    sky.meanwhile = delete
    report = done(pg_world.execute(SNAPSHOTS, at=FIVE))
    deleting.close()
    assert pg_world.snapshots().keys() == {stays}
    assert (report.result["created"], warned(report)) == (1, ["Goes"])


# ---- what the database sees


def writing(world: World, seen: list[str]) -> Callable[[Question], None]:
    """Return what writes as the application does, without patience, while a service is asked."""

    def write(question: Question) -> None:
        try:
            if world.engine == "sqlite":
                with sqlite3.connect(world.path, timeout=0) as connection:
                    connection.execute("UPDATE core_project SET client = 'new'")
                connection.close()
            else:
                with psycopg.connect(world.url, options="-c lock_timeout=100") as connection:
                    connection.execute("LOCK TABLE core_project, core_weathersnapshot, core_dailyplan NOWAIT")
                    connection.execute("UPDATE core_project SET client = 'new'")
            seen.append(question.path)
        except (sqlite3.Error, psycopg.Error) as error:
            seen.append(str(error))

    return write


@pytest.mark.parametrize("job", [SNAPSHOTS, PLANS])
@pytest.mark.parametrize("dry_run", [False, True])
def test_nobody_waits_for_us_while_we_wait_for_a_service(newest: World, sky: Sky, job: str, dry_run: bool) -> None:
    newest.plan(located(newest, newest.project("Known")), "2025-11-24")
    newest.plan(newest.project("New", address="3120 W 32nd Ave, Denver, CO 80211"), "2025-11-24")
    seen: list[str] = []
    sky.meanwhile = writing(newest, seen)
    done(newest.execute(job, at=FIVE, dry_run=dry_run))
    assert seen == ["/v1/forecast", "/geocoder/locations/onelineaddress", "/v1/forecast"]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_what_is_done_stays_done_when_the_run_is_killed(newest: World, sky: Sky, number: signal.Signals) -> None:
    many(newest, 501)
    sky.faults = [None, Reply(b"{}", delay=5)]
    words = ("weather", "fetch-snapshots", "--as-of", "2025-11-24")
    with newest.fork(*words) as process:
        while len(sky.forecasts) < 2:
            time.sleep(0.02)
        begin = time.monotonic()
        os.kill(newest.runs()[-1]["pid"], number)
        process.communicate(timeout=30)
    assert time.monotonic() - begin < 4  # it did not wait for the answer
    assert process.returncode == {signal.SIGKILL: -9, signal.SIGTERM: 143, signal.SIGINT: 130}[number]
    assert len(newest.snapshots()) == 500
    done(newest.execute(SNAPSHOTS, at=FIVE))
    assert [len(question.points) for question in sky.forecasts] == [500, 1, 1]
    assert len(newest.snapshots()) == 501


def test_the_soft_time_limit_keeps_what_is_done(newest: World, sky: Sky) -> None:
    many(newest, 1001)
    newest.environment |= {"KIBRAY_OPS_SOFT_TIME_LIMIT": "1"}
    sky.meanwhile = lambda _: time.sleep(1.2)
    report = done(newest.execute(SNAPSHOTS, at=FIVE), 124)
    assert report.status == "timed_out"
    assert len(sky.forecasts) == 1
    newest.environment["KIBRAY_OPS_SOFT_TIME_LIMIT"] = "100"
    sky.meanwhile = lambda _: None
    done(newest.execute(SNAPSHOTS, at=FIVE))
    assert [len(question.points) for question in sky.forecasts] == [500, 500, 1]
    assert len(newest.snapshots()) == 1001


def test_known_sites_have_their_weather_before_new_addresses_are_asked_for(newest: World, sky: Sky) -> None:
    known = located(newest, newest.project("Known"))
    for number in range(20):
        newest.project(f"New {number}", address=f"{number} Elm St, Denver, CO")
    newest.environment |= {"KIBRAY_OPS_SOFT_TIME_LIMIT": "1"}
    sky.meanwhile = lambda question: time.sleep(0.6 if "address" in question.fields else 0)
    done(newest.execute(SNAPSHOTS, at=FIVE), 124)
    assert newest.snapshots().keys() == {known}
    found = newest.sql("SELECT count(*) AS n FROM kibray_ops_place WHERE source = 'census'")[0]["n"]
    assert found == 9  # a group of eight was done, and is kept
    newest.environment["KIBRAY_OPS_SOFT_TIME_LIMIT"] = "100"
    sky.meanwhile = lambda _: None
    done(newest.execute(SNAPSHOTS, at=FIVE))
    assert len(newest.snapshots()) == 21
    assert len(sky.geocoded) == 20


def test_both_jobs_at_once_ask_for_nothing_twice(newest: World, sky: Sky) -> None:
    """The first has begun to ask when the second starts; its answers come when the second has had time to meet it."""
    for number in range(12):
        newest.plan(newest.project(f"Site {number}", address=f"{number} Elm St, Denver, CO"), "2025-11-24")
    asked, go_on = Event(), Event()

    def meanwhile(_: Question) -> None:
        asked.set()
        go_on.wait(30)

    sky.meanwhile = meanwhile
    first = newest.fork("weather", "fetch-snapshots", "--as-of", "2025-11-24")
    assert asked.wait(30)
    second = newest.fork("plans", "update-weather", "--as-of", "2025-11-24")
    while len(newest.runs()) < 2:
        time.sleep(0.05)
    time.sleep(0.5)
    go_on.set()
    for process in (first, second):
        _, err = process.communicate(timeout=60)
        assert (process.returncode, err) == (0, "")
    assert len(sky.geocoded) == len(set(sky.geocoded)) == 12
    assert sum(len(question.points) for question in sky.forecasts) == 12
    assert len(newest.snapshots()) == 12
    assert all(plan["weather_data"] for plan in newest.rows("core_dailyplan"))


@pytest.mark.parametrize(("name", "job"), [("places", SNAPSHOTS), ("forecasts", PLANS)])
def test_the_turn_of_another_run_is_waited_for(newest: World, sky: Sky, name: str, job: str) -> None:
    """Nobody waits for those who wait, a dry run does not wait, and the time limit ends the waiting."""
    newest.plan(newest.project(address="1 Elm St, Denver, CO"), "2025-11-24")
    newest.environment |= {"KIBRAY_OPS_SOFT_TIME_LIMIT": "2"}
    lock = Lock(Database(newest.settings), name)
    seen: list[str] = []
    write = Timer(1, writing(newest, seen), [Question("", "written", {}, {}, "")])
    with lock.database.connect() as connection:
        assert lock.acquire(connection)
        write.start()
        begin = time.monotonic()
        done(newest.execute(job, at=FIVE), 124)
        assert time.monotonic() - begin >= 2
        write.join()
        assert seen == ["written"]
        done(newest.execute(job, at=FIVE, dry_run=True))
        asked = len(sky.forecasts)
        lock.release()
    done(newest.execute(job, at=FIVE))
    assert len(sky.forecasts) == asked + 1


def test_a_turn_may_be_idle_for_long(pg_world: World, sky: Sky) -> None:
    """A server that ends idle transactions does not end those that hold our locks."""
    located(pg_world, pg_world.project())
    name = pg_world.sql("SELECT current_database() AS name")[0]["name"]
    pg_world.sql(f"ALTER DATABASE {name} SET idle_in_transaction_session_timeout = '100ms'")
    sky.meanwhile = lambda _: time.sleep(0.5)
    done(pg_world.execute(SNAPSHOTS, at=FIVE))
    assert len(pg_world.snapshots()) == 1


@pytest.mark.parametrize("on", ["0001-01-02", "9999-12-31", "1899-12-31"])
@pytest.mark.parametrize("command", ["weather fetch-snapshots", "plans update-weather", "payroll generate"])
def test_days_that_have_no_day_before_or_after(sqlite_world: World, command: str, on: str) -> None:
    told = here(sqlite_world, *command.split(), "-n", "--as-of", on)
    assert (told.returncode, len(told.stderr.splitlines())) == (2, 2)
    assert "too far away" in told.stderr


def test_a_dry_run_before_the_first_init(bare: World, sky: Sky) -> None:
    bare.project("Elm St", address="3120 W 32nd Ave, Denver, CO 80211")
    before = bare.dump()
    report = done(bare.execute(SNAPSHOTS, at=FIVE, dry_run=True))
    assert (report.result["created"], len(sky.geocoded), bare.dump()) == (1, 1, before)


# ---- the key


def test_the_key_is_nowhere(newest: World, sky: Sky) -> None:
    """The services repeat it: what they say is searched for secrets before it is told or stored."""
    located(newest, newest.project("Known"))
    for number in range(12):
        newest.project(f"New {number}", address=f"{number} Elm St, Denver, CO")
    newest.environment |= {"KIBRAY_OPS_WEATHER_API_KEY": "hunter22", "KIBRAY_OPS_LOG_LEVEL": "debug"}
    sky.geocoder_faults = [error("hunter22 is blocked", 403)] * 8

    def repeat(place: dict[str, Any]) -> dict[str, Any]:
        return {**place, "daily_units": {**place["daily_units"], "temperature_2m_max": "hunter22"}}

    words = ("weather", "fetch-snapshots", "--as-of", "2025-11-24")
    shown = []
    for fault in ([error("Key hunter22 is unknown", 401)], [error("hunter22 is too much", 503)] * 3, []):
        sky.faults, sky.change = list(fault), repeat
        told = here(newest, *words, "--json" if fault else "--verbose")
        assert told.returncode == 3
        shown += [told.stdout, told.stderr]
    assert all(
        said in "".join(shown) for said in ("is unknown", "is too much", "is blocked", "not asked for", "'********'")
    )
    for text in (*shown, here(newest, "runs", "show", "1").stdout, str(newest.dump())):
        assert "hunter22" not in text
    assert all("apikey" not in question.fields for question in sky.questions)
    assert all(question.headers["User-Agent"].startswith("kibray-ops/") for question in sky.questions)


# ---- the report


def test_the_report_for_people(newest: World, sky: Sky) -> None:
    newest.project("Castro Residence", address="1110 Washington Ave, Golden, CO 80401")
    located(newest, newest.project("Oak Street Townhomes, the second phase of three"))
    newest.project("Meridian Warranty Work")
    for number, name in enumerate(AWKWARD):
        located(newest, newest.project(name, client=f"{number}"), (f"{30 + number}.00000", "-90.00000"))
    sky.change = lambda place: place
    for columns in (60, 100, 140):
        shown = plain(in_terminal(newest, columns, "weather", "fetch-snapshots", "--as-of", "2025-11-24"))
        lines = shown.split("Fetching forecasts")[-1].splitlines()
        table = next(number for number, line in enumerate(lines) if line.startswith("Project"))
        assert max(len(line) for line in lines[table : table + 5]) <= columns
        assert "Castro" in shown
        assert "Meridian Warranty Work: it has no address; `kibray-ops weather locate 3" in " ".join(shown.split())
        assert "Open-Meteo.com" in shown
    assert "1110 WASHINGTON AVE" in shown
    assert "Weather of 2025-11-24 at the job sites" in shown
    piped = here(newest, "weather", "fetch-snapshots", "--as-of", "2025-11-24")
    assert (piped.stderr, "Fetching" in piped.stdout) == ("", False)


def test_progress_is_for_those_who_watch(newest: World, sky: Sky) -> None:
    newest.project("Elm St", address="1110 Washington Ave, Golden, CO 80401")
    sky.meanwhile = lambda _: time.sleep(0.3)
    words = ("weather", "fetch-snapshots", "--as-of", "2025-11-24")
    shown = in_terminal(newest, 100, *words, "-n")
    assert "Locating addresses" in shown
    assert "Fetching forecasts" in shown
    assert "Locating" not in in_terminal(newest, 100, *words, "-n", "--quiet")
    assert "Locating" not in in_terminal(newest, 100, "--cron", *words)


def test_the_csv_and_the_json(newest: World, sky: Sky) -> None:
    located(newest, newest.project("Elm St"))
    words = ("weather", "fetch-snapshots", "--as-of", "2025-11-24")
    lines = here(newest, *words, "--csv", "-").stdout.splitlines()
    high, low = (sent(DENVER)[name] for name in ("temperature_max", "temperature_min"))
    assert lines[0].startswith("Project ID,Project,Place,Source,Latitude,Longitude,Date,")
    assert lines[1].startswith(f"1,Elm St,,census,39.73920,-104.99030,2025-11-24,{high:.2f},{low:.2f},")
    told = json.loads(here(newest, *words, "--json").stdout)
    assert told["result"] == {
        "date": "2025-11-24", "created": 0, "updated": 1, "total_projects": 1, "without_place": 0, "errors": [],
    }  # fmt: skip
    assert told["rows"][0]["temperature_max"] == f"{high:.2f}"


def test_cron_is_silent_and_tells_what_failed(newest: World, sky: Sky) -> None:
    located(newest, newest.project("Elm St"))
    words = ("--cron", "weather", "fetch-snapshots", "--as-of", "2025-11-24")
    told = here(newest, *words)
    assert (told.returncode, told.stdout, told.stderr) == (0, "", "")
    sky.faults = [BAD_GATEWAY] * 3
    newest.sql("DELETE FROM kibray_ops_forecast")
    told = here(newest, "--cron", "weather", "fetch-snapshots", "--as-of", "2025-11-25")
    assert told.returncode == 3
    assert "Elm St: the forecast service answered 502" in told.stdout


def test_sites_are_named(newest: World) -> None:
    assert Site.of(7, "", None) == Site(7, "#7", "")
    assert Site.of(7, " A\nb ", "1 Elm\r\nSt ") == Site(7, "A b", "1 Elm St")


def test_days_to_come_are_enough_around_midnight(newest: World, sky: Sky) -> None:
    project = located(newest, newest.project())
    newest.plan(project, "2025-11-26")
    done(newest.execute(SNAPSHOTS, at="2025-11-24T23:40"))
    assert done(newest.execute(PLANS, at="2025-11-25T00:20")).result["updated"] == 1
    assert len(sky.forecasts) == 1
