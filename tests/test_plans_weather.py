"""plans update-weather: each plan gets the forecast of its own day, as the application reads it."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal as D
from typing import Any

import pytest

from kibray_ops.weather.wmo import conditions
from tests.here import here, in_terminal
from tests.sky import BAD_GATEWAY, Sky, measured
from tests.test_cli import plain
from tests.test_weather import BOSTON, DENVER, FIVE, HONOLULU, LOS_ANGELES, PLANS, SNAPSHOTS, failures, located, warned
from tests.world import World, done

TODAY, TOMORROW = "2025-11-24", "2025-11-25"
NOON = datetime(2025, 11, 24, 12, tzinfo=UTC)


def weather(world: World) -> dict[int, Any]:
    return {row["id"]: row["weather_data"] for row in world.rows("core_dailyplan")}


def told(place: tuple[str, str], on: str) -> dict[str, Any]:
    """Return what the server's numbers come to in a plan."""
    sent = measured(D(place[0]), D(place[1]), date.fromisoformat(on))
    high = sent["temperature_2m_max"]
    sky = conditions(sent["weather_code"])
    return {
        "description": sky.text,
        "temp": int((D(str(high)) * 9 / 5 + 32).quantize(D(1), "ROUND_HALF_UP")),
        "temperature": high,
        "condition": sky.word,
        "humidity": sent["relative_humidity_2m_mean"],
        "wind_speed": sent["wind_speed_10m_max"],
        "icon": sky.icon,
        "provider": "open-meteo",
        "fetched_at": "2025-11-24T12:00:00+00:00",
        "date": on,
        "temp_min": sent["temperature_2m_min"],
        "temp_max": high,
        "precipitation_mm": sent["precipitation_sum"],
    }


def test_a_plan_gets_the_forecast_of_its_day_and_place(world: World, sky: Sky) -> None:
    denver, boston = (located(world, world.project(name), place) for name, place in (("A", DENVER), ("B", BOSTON)))
    expected = {
        world.plan(denver, TODAY): told(DENVER, TODAY),
        world.plan(denver, TOMORROW, status="PUBLISHED"): told(DENVER, TOMORROW),
        world.plan(boston, TODAY, status="IN_PROGRESS"): told(BOSTON, TODAY),
        world.plan(boston, TOMORROW, weather_data={"temp": 72}, weather_fetched_at=NOON - timedelta(hours=2)): told(
            BOSTON, TOMORROW
        ),
    }
    report = done(world.execute(PLANS, at=FIVE))
    assert {name: report.result[name] for name in ("updated", "skipped_no_address", "skipped_recent", "errors")} == {
        "updated": 4, "skipped_no_address": 0, "skipped_recent": 0, "errors": 0,
    }  # fmt: skip
    assert weather(world) == expected
    assert {row["weather_fetched_at"] for row in world.rows("core_dailyplan")} == {NOON}
    assert len(sky.forecasts) == 1


def test_other_plans_are_left_alone(world: World, sky: Sky) -> None:
    project = located(world, world.project())
    for day, status in (
        ("2025-11-23", "PUBLISHED"), ("2025-11-26", "PUBLISHED"), (TODAY, "COMPLETED"), (TOMORROW, "SKIPPED"),
    ):  # fmt: skip
        world.plan(project, day, status=status)
    before = world.dump(own=False)
    assert done(world.execute(PLANS, at=FIVE)).rows == []
    assert (world.dump(own=False), sky.questions) == (before, [])


def test_a_plan_whose_weather_is_recent_is_left_alone(world: World, sky: Sky) -> None:
    project, nowhere = located(world, world.project()), world.project("Nowhere")
    old = {"temp": 72}
    fresh = world.plan(
        project, TODAY, weather_data=old, weather_fetched_at=NOON - timedelta(hours=1, minutes=59, seconds=59)
    )
    also = world.plan(nowhere, TODAY, weather_data=old, weather_fetched_at=NOON)
    report = done(world.execute(PLANS, at=FIVE))
    assert (report.result["skipped_recent"], report.result["updated"], report.problems) == (2, 0, [])
    assert weather(world) == {fresh: old, also: old}
    assert sky.questions == []
    assert [row["action"] for row in report.rows] == ["skipped_recent", "skipped_recent"]


def test_a_plan_without_a_place_is_named(world: World, sky: Sky) -> None:
    nowhere = world.project("Nowhere")
    plan, next_one = world.plan(nowhere, TODAY), world.plan(nowhere, TOMORROW)
    report = done(world.execute(PLANS, at=FIVE))
    assert (report.result["skipped_no_address"], warned(report)) == (2, ["Nowhere"])
    assert weather(world) == {plan: None, next_one: None}


def test_a_place_that_cannot_be_fetched_is_a_failure(world: World, sky: Sky) -> None:
    project = located(world, world.project("Elm St"))
    plans = {world.plan(project, day) for day in (TODAY, TOMORROW)}
    sky.faults = [BAD_GATEWAY] * 3
    report = done(world.execute(PLANS, at=FIVE), 3)
    assert report.result["errors"] == 2
    assert failures(report) == [("Elm St", "the forecast service answered 502")]
    assert weather(world) == dict.fromkeys(plans)
    done(world.execute(PLANS, at=FIVE))
    assert all(weather(world).values())


def test_a_day_that_is_not_told_does_not_spoil_the_other(newest: World, sky: Sky) -> None:
    project = located(newest, newest.project("Elm St"))
    today, tomorrow = newest.plan(project, TODAY), newest.plan(project, TOMORROW)
    sky.change = lambda place: {**place, "daily": {name: values[:2] for name, values in place["daily"].items()}}
    report = done(newest.execute(PLANS, at=FIVE), 3)
    assert (report.result["updated"], report.result["errors"]) == (1, 1)
    assert weather(newest) == {today: told(DENVER, TODAY), tomorrow: None}
    assert failures(report) == [("Elm St", "the forecast does not tell of 2025-11-25")]


def test_what_is_not_told_is_null(world: World, sky: Sky) -> None:
    plan = world.plan(located(world, world.project()), TODAY)

    def forget(place: dict[str, Any]) -> dict[str, Any]:
        place["daily"] |= {name: [None] * 4 for name in place["daily"] if name != "time"}
        return place

    sky.change = forget
    done(world.execute(PLANS, at=FIVE))
    kept = {"provider": "open-meteo", "fetched_at": "2025-11-24T12:00:00+00:00", "date": TODAY}
    words = dict.fromkeys(("description", "condition", "icon"), "")
    assert weather(world)[plan] == {**dict.fromkeys(told(DENVER, TODAY)), **words, **kept}


@pytest.mark.parametrize(
    ("celsius", "fahrenheit"), [(22.5, 73), (-17.8, 0), (-40, -40), (0, 32), (37.5, 100), (9.7, 49)]
)
def test_degrees_for_americans(sqlite_world: World, sky: Sky, celsius: float, fahrenheit: int) -> None:
    plan = sqlite_world.plan(located(sqlite_world, sqlite_world.project()), TODAY)
    sky.change = lambda place: {**place, "daily": {**place["daily"], "temperature_2m_max": [celsius] * 4}}
    done(sqlite_world.execute(PLANS, at=FIVE))
    assert (weather(sqlite_world)[plan]["temp"], weather(sqlite_world)[plan]["temperature"]) == (fahrenheit, celsius)


def test_a_plan_is_for_the_date_that_it_names_wherever_it_is(newest: World, sky: Sky) -> None:
    plan = newest.plan(located(newest, newest.project(), HONOLULU), TOMORROW)
    done(newest.execute(PLANS, at="2025-11-24T00:30"))
    assert weather(newest)[plan]["date"] == TOMORROW
    assert weather(newest)[plan]["temperature"] == told(HONOLULU, TOMORROW)["temperature"]


def test_plans_that_are_done_or_gone_meanwhile_are_left_alone(world: World, sky: Sky) -> None:
    stays, finished, gone, moved = (
        world.plan(located(world, world.project(name), place), TODAY)
        for name, place in (("A", DENVER), ("B", BOSTON), ("C", HONOLULU), ("D", LOS_ANGELES))
    )
    elsewhere = world.project("E")

    def meanwhile(_: Any) -> None:
        world.sql("UPDATE core_dailyplan SET status = 'COMPLETED' WHERE id = ?", finished)
        world.sql("DELETE FROM core_dailyplan WHERE id = ?", gone)
        world.sql("UPDATE core_dailyplan SET project_id = ? WHERE id = ?", elsewhere, moved)

    sky.meanwhile = meanwhile
    report = done(world.execute(PLANS, at=FIVE))
    assert weather(world) == {stays: told(DENVER, TODAY), finished: None, moved: None}
    assert report.result["updated"] == 1
    assert [row["action"] for row in report.rows] == ["updated", *["skipped_changed"] * 3]
    assert report.rows[1]["temperature_max"] is None


def test_only_the_weather_changes(world: World, sky: Sky) -> None:
    plan = world.plan(located(world, world.project()), TODAY, no_planning_reason="'; DROP TABLE x; --")
    before = world.rows("core_dailyplan", "id = ?", plan)[0]
    done(world.execute(PLANS, at=FIVE))
    after = world.rows("core_dailyplan", "id = ?", plan)[0]
    assert {name for name in before if before[name] != after[name]} == {"weather_data", "weather_fetched_at"}


def test_a_plan_whose_project_is_gone_is_named(sqlite_world: World, sky: Sky) -> None:
    project = sqlite_world.project()
    sqlite_world.plan(project, TODAY)
    sqlite_world.sql("DELETE FROM core_project")
    report = done(sqlite_world.execute(PLANS, at=FIVE))
    assert (report.result["skipped_no_address"], warned(report)) == (1, [f"#{project}"])
    assert report.problems[0].message == "the project of its plan is gone"


def test_plans_of_any_project_have_weather(world: World, sky: Sky) -> None:
    """Somebody works there on the day, whatever the project's dates say."""
    plan = world.plan(located(world, world.project(end_date=date(2025, 1, 1), is_archived=True)), TODAY)
    done(world.execute(PLANS, at=FIVE))
    assert weather(world)[plan] == told(DENVER, TODAY)
    assert done(world.execute(SNAPSHOTS, at=FIVE)).result["total_projects"] == 0


def test_the_report_for_people(newest: World, sky: Sky) -> None:
    project = located(newest, newest.project("Oak Street Townhomes, second phase"))
    newest.plan(project, TODAY)
    newest.plan(project, TOMORROW, weather_fetched_at=NOON)
    newest.plan(newest.project("Meridian Warranty Work"), TODAY)
    for columns in (60, 100):
        shown = plain(in_terminal(newest, columns, "plans", "update-weather", "--as-of", TODAY, "-n"))
        lines = shown.split("Fetching forecasts")[-1].splitlines()
        table = next(number for number, line in enumerate(lines) if line.startswith("Plan for"))
        assert max(len(line) for line in lines[table : table + 5]) <= columns
        for word in ("Oak", "recent", "no place", "new"):
            assert word in shown
    assert "1 plan would get a new forecast; 1 had one of the last two hours, 1 have no place, 0 failures." in shown
    assert here(newest, "plans", "update-weather", "--as-of", TODAY, "--csv", "-").stdout.startswith(
        "Plan ID,Plan date,"
    )
