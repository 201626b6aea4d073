"""Where projects are: asked once for each address, remembered, set by hand."""

import json
import os
import signal
import time
from datetime import UTC, datetime
from decimal import Decimal as D
from typing import Any

import pytest

from kibray_ops.clock import real_now
from kibray_ops.database import Database, Lock
from kibray_ops.places import MOST_ASKED
from tests.here import here
from tests.sky import BAD_GATEWAY, HOURLY, Question, Reply, Sky, answer, centre, error, match
from tests.test_weather import DENVER, PLANS, SNAPSHOTS, failures, located, warned
from tests.world import World, done

ADDRESS = "3120 W 32nd Ave, Denver, CO 80211"
LOCATE = ("weather", "locate")


def places(world: World) -> dict[int, tuple[Any, ...]]:
    """Return where each project is: latitude, longitude, source."""
    return {row["project_id"]: (row["latitude"], row["longitude"], row["source"]) for row in stored(world)}


def stored(world: World) -> list[dict[str, Any]]:
    """Return the rows, with coordinates as they were written."""
    rows = world.rows("kibray_ops_place")
    for row in rows:
        for name in ("latitude", "longitude"):
            row[name] = None if row[name] is None else D(str(row[name])).quantize(D("0.00001"))
    return rows


def fetch(world: World, day: str = "2025-11-24", code: int = 0) -> Any:
    return done(world.execute(SNAPSHOTS, at=f"{day}T05:00"), code)


def readdress(world: World, project: int, address: str | None) -> None:
    world.sql("UPDATE core_project SET address = ? WHERE id = ?", address, project)


# ---- by the address


def test_an_address_is_asked_for_once(world: World, sky: Sky) -> None:
    sky.addresses[ADDRESS] = [match(ADDRESS, 39.7621234567, -105.0287654321)]
    project = world.project("Elm St", address=f" {ADDRESS}\n")
    fetch(world)
    assert places(world) == {project: (D("39.76212"), D("-105.02877"), "census")}
    row = world.rows("kibray_ops_place")[0]
    assert (row["matched_text"], ADDRESS not in str(row)) == (ADDRESS.upper(), True)
    snapshot = world.snapshots()[project]
    assert (snapshot["latitude"], snapshot["longitude"]) == (D("39.76212"), D("-105.02877"))
    assert sky.forecasts[0].points == [(D("39.76212"), D("-105.02877"))]
    fetch(world, "2025-11-25")
    done(world.execute(PLANS, at="2025-11-25T05:00"))
    assert sky.geocoded == [ADDRESS]


def test_only_a_changed_address_is_asked_for_again(newest: World, sky: Sky) -> None:
    project = newest.project(address=ADDRESS)
    fetch(newest)
    readdress(newest, project, "3120 w. 32nd ave  denver CO 80211")
    fetch(newest, "2025-11-25")
    assert len(sky.geocoded) == 1
    new = "5 Elm St, Golden, CO 80401"
    readdress(newest, project, new)
    fetch(newest, "2025-11-26")
    assert sky.geocoded == [ADDRESS, new]
    first, last = (row for row in newest.rows("core_weathersnapshot") if row["date"].day in (25, 26))
    assert first["latitude"] != last["latitude"]
    readdress(newest, project, None)
    report = fetch(newest, "2025-11-27")
    assert warned(report) == ["Elm St"]  # where it was is not where it is
    assert len(newest.rows("core_weathersnapshot")) == 3


def test_projects_of_one_address_are_asked_for_once(newest: World, sky: Sky) -> None:
    for number in range(5):
        newest.project(f"Unit {number}", address=ADDRESS)
    fetch(newest)
    assert (len(sky.geocoded), len(newest.snapshots())) == (1, 5)
    newest.project("Unit 6", address=ADDRESS.upper())
    fetch(newest)
    assert (len(sky.geocoded), len(newest.snapshots())) == (1, 6)


def test_what_is_set_by_hand_is_for_one_project(newest: World, sky: Sky) -> None:
    """Its neighbour of the same address is asked for."""
    by_hand = newest.project("Lot 7", address=ADDRESS)
    done(newest.execute("locate-project", project="Lot 7", latitude="39.7392", longitude="-104.9903"))
    asked = newest.project("Lot 8", address=ADDRESS)
    fetch(newest)
    assert sky.geocoded == [ADDRESS]
    assert {key: found[2] for key, found in places(newest).items()} == {by_hand: "manual", asked: "census"}
    done(newest.execute("locate-project", project="Lot 7", forget=True))
    fetch(newest, "2025-11-25")  # what was found for the neighbour serves both
    assert (sky.geocoded, len(newest.rows("core_weathersnapshot"))) == ([ADDRESS], 4)


@pytest.mark.parametrize(
    ("found", "source", "said"),
    [
        ([], "absent", "no place was found"),
        ([match(ADDRESS, 39.1, -105), match(ADDRESS, 39.9, -105)], "ambiguous", "several"),
    ],
)
def test_an_address_that_leads_nowhere_is_remembered_for_a_week(
    world: World, sky: Sky, found: Any, source: str, said: str
) -> None:
    sky.addresses[ADDRESS] = found
    project = world.project("Elm St", address=ADDRESS)
    for day in ("2025-11-24", "2025-11-25", "2025-11-30"):
        report = fetch(world, day)
        assert warned(report) == ["Elm St"]
        assert said in report.problems[0].message
        assert f"`kibray-ops weather locate {project} LAT LON`" in report.problems[0].message
        assert report.result["without_place"] == 1
    assert places(world) == {project: (None, None, source)}
    assert (len(sky.geocoded), world.snapshots()) == (1, {})
    sky.today = datetime(2025, 12, 1, tzinfo=UTC).date()
    del sky.addresses[ADDRESS]
    fetch(world, "2025-12-01")
    assert len(sky.geocoded) == 2
    assert places(world)[project][2] == "census"


def test_a_new_address_is_asked_for_at_once_though_the_old_one_led_nowhere(newest: World, sky: Sky) -> None:
    sky.addresses[ADDRESS] = []
    project = newest.project(address=ADDRESS)
    fetch(newest)
    readdress(newest, project, "5 Elm St, Golden, CO 80401")
    fetch(newest, "2025-11-25")
    assert places(newest)[project][2] == "census"


def test_the_zip_code_and_the_city_stand_in(newest: World, sky: Sky) -> None:
    by_zip, by_city, neither = (
        newest.project(name, address=address)
        for name, address in (
            ("Zip", "Lot 7, Denver, CO 80211"), ("City", "Lot 7, Golden, CO 80401"), ("Neither", "Lot 7, Nowhere, CO"),
        )
    )  # fmt: skip
    sky.addresses = {address: [] for address in ("Lot 7, Denver, CO 80211", "Lot 7, Nowhere, CO")}
    sky.addresses["Lot 7, Golden, CO 80401"] = answer({"errors": ["Specify House number"], "status": "400"}, 400)
    sky.centres = {
        "80211": [centre("Denver", 39.7385, -104.985, "Colorado", "80211")],
        "Golden": [centre("Golden", 39.7555, -105.2211)],
    }
    report = fetch(newest)
    assert places(newest) == {
        by_zip: (D("39.73850"), D("-104.98500"), "zip"),
        by_city: (D("39.75550"), D("-105.22110"), "city"),
        neither: (None, None, "absent"),
    }
    assert [row["place"] for row in report.rows] == ["Golden, Colorado", None, "Denver, Colorado 80211"]
    sky.questions.clear()
    fetch(newest, "2025-11-25")
    assert (sky.geocoded, sky.asked("/v1/search")) == ([], [])


# ---- what goes wrong


def test_one_address_that_fails_does_not_stop_the_others(newest: World, sky: Sky) -> None:
    for name in ("A", "B", "C"):
        newest.project(name, address=f"{name} St, Denver, CO")
    sky.addresses["B St, Denver, CO"] = answer({"unexpected": True})
    report = fetch(newest, code=3)
    assert failures(report) == [("B", "the geocoder answered in a form that is not its own")]
    assert [row["action"] for row in report.rows] == ["created", "skipped", "created"]
    del sky.addresses["B St, Denver, CO"]
    fetch(newest)  # a failure is not remembered
    assert len(newest.snapshots()) == 3


def test_a_place_search_that_fails_is_no_miss(newest: World, sky: Sky) -> None:
    newest.project("A", address=ADDRESS)
    sky.addresses[ADDRESS] = []
    sky.centres["80211"] = answer({"results": 5})
    assert failures(fetch(newest, code=3)) == [("A", "the place search answered in a form that is not its own")]
    assert places(newest) == {}


def test_addresses_that_fail_every_day_do_not_stand_in_the_way(newest: World, sky: Sky) -> None:
    for number in range(8):  # a whole group, were they asked for in the order of their names
        bad = f"{number} Bad St, Denver, CO"
        newest.project(f"A bad {number}", address=bad)
        sky.addresses[bad] = error("Internal error", 500)
    for number in range(30):
        newest.project(f"Good {number}", address=f"{number} Elm St, Denver, CO")
    report = fetch(newest, code=3)
    assert (report.result["created"], len(report.result["errors"])) == (30, 8)


@pytest.mark.parametrize(
    ("some", "fault", "stops"),
    [(1, BAD_GATEWAY, False), (3, BAD_GATEWAY, False), (7, BAD_GATEWAY, False), (8, BAD_GATEWAY, True),
     (8, answer({"unexpected": True}), False), (8, error("Benchmark not found"), False), (1, HOURLY, True)],
)  # fmt: skip
def test_when_the_geocoder_is_asked_no_more(newest: World, sky: Sky, some: int, fault: Reply, stops: bool) -> None:
    """It answered for nobody in a group of eight, or said that it will not."""
    for number in range(12):
        newest.project(f"Site {number}", address=f"{number} Elm St, Denver, CO")
    seen: list[str] = []

    def meanwhile(question: Question) -> None:
        address = question.fields.get("address")
        if address and address not in seen:
            seen.append(address)
            if len(seen) <= some:
                sky.addresses[address] = fault

    sky.meanwhile = meanwhile
    report = fetch(newest, code=3)
    assert len(report.result["errors"]) == some + (4 if stops else 0)
    assert len(seen) == (8 if stops else 12)


@pytest.mark.parametrize("fault", [error("Blocked", 403), HOURLY, BAD_GATEWAY])
def test_a_place_search_that_is_closed_does_not_stop_the_geocoder(newest: World, sky: Sky, fault: Reply) -> None:
    for number in range(5):
        unknown = f"Lot {number}, Nowhere, CO"
        newest.project(f"Unknown {number}", address=unknown)
        sky.addresses[unknown], sky.centres["Nowhere"] = [], fault
    for number in range(20):
        newest.project(f"Good {number}", address=f"{number} Elm St, Denver, CO")
    report = fetch(newest, code=3)
    assert (report.result["created"], len(report.result["errors"])) == (20, 5)
    assert all("the place search answered" in reason for reason in report.result["errors"])
    asked = len(sky.asked("/v1/search"))
    assert asked == 15 if fault is BAD_GATEWAY else asked <= 4  # not asked again, but for what was under way
    assert all(found[2] == "census" for found in places(newest).values())


@pytest.mark.parametrize(
    ("fault", "asked", "said"),
    [(HOURLY, 8, "Hourly"), (error("Blocked", 403), 8, "403: Blocked"), (BAD_GATEWAY, 24, "502")],
)
def test_a_geocoder_that_does_not_answer_is_left_alone(
    newest: World, sky: Sky, fault: Reply, asked: int, said: str
) -> None:
    """Of many addresses one group is asked for; those that were known have their weather all the same."""
    for number in range(30):
        newest.project(f"Site {number}", address=f"{number} Elm St, Denver, CO")
    located(newest, newest.project("Known"))
    sky.geocoder_faults = [fault] * 100
    report = fetch(newest, code=3)
    assert len(sky.geocoded) == asked
    assert len(report.result["errors"]) == 30
    assert all(said in reason for reason in report.result["errors"])
    assert sum("not asked for, because" in reason for reason in report.result["errors"]) == 22
    assert len(newest.snapshots()) == 1


def test_a_few_addresses_are_asked_for_at_once(newest: World, sky: Sky) -> None:
    for number in range(12):
        newest.project(f"Site {number}", address=f"{number} Elm St, Denver, CO")
    under_way, most = [0], [0]

    def meanwhile(question: Any) -> None:
        if "address" in question.fields:
            under_way[0] += 1
            most[0] = max(most[0], under_way[0])
            time.sleep(0.1)
            under_way[0] -= 1

    sky.meanwhile = meanwhile
    fetch(newest)
    assert 1 < most[0] <= 4
    assert len(newest.snapshots()) == 12


def test_no_secret_is_told_of_those_that_were_not_asked_for(newest: World, sky: Sky) -> None:
    newest.environment |= {"KIBRAY_OPS_WEATHER_API_KEY": "hunter22"}
    for number in range(12):
        newest.project(f"Site {number}", address=f"{number} Elm St, Denver, CO")
    sky.geocoder_faults = [error("hunter22 is blocked", 403)] * 8
    assert "hunter22" not in str(fetch(newest, code=3))
    assert "hunter22" not in str(newest.runs())


def test_so_many_new_addresses_are_enough_for_one_run(newest: World, sky: Sky, monkeypatch: pytest.MonkeyPatch) -> None:
    assert MOST_ASKED == 500
    monkeypatch.setattr("kibray_ops.places.MOST_ASKED", 10)
    for number in range(13):
        newest.project(f"Site {number}", address=f"{number} Elm St, Denver, CO")
    report = fetch(newest)
    assert (len(sky.geocoded), len(set(sky.geocoded)), report.result["created"]) == (10, 10, 10)
    assert len(warned(report)) == 3
    assert all("waits for the next run" in problem.message for problem in report.problems)
    report = fetch(newest)
    assert (len(sky.geocoded), report.result["created"], report.problems) == (13, 3, [])


def test_what_was_found_before_a_crash_is_not_asked_for_again(newest: World, sky: Sky) -> None:
    for number in range(20):
        newest.project(f"Site {number:02}", address=f"{number} Elm St, Denver, CO")
    sky.meanwhile = lambda _: time.sleep(0.1)
    with newest.fork("weather", "fetch-snapshots", "--as-of", "2025-11-24") as process:
        while len(sky.geocoded) < 11:
            time.sleep(0.01)
        process.kill()
    found = set(places(newest))
    assert len(found) >= 8
    time.sleep(0.3)
    sky.questions.clear()
    sky.meanwhile = lambda _: None
    fetch(newest)
    assert (len(sky.geocoded), len(newest.snapshots())) == (20 - len(found), 20)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_nobody_waits_for_a_geocoder_that_hangs(newest: World, sky: Sky, number: signal.Signals) -> None:
    for site in range(8):
        newest.project(f"Site {site}", address=f"{site} Elm St, Denver, CO")
    sky.geocoder_faults = [Reply(b"{}", delay=15)] * 8
    with newest.fork("weather", "fetch-snapshots", "--as-of", "2025-11-24") as process:
        while len(sky.geocoded) < 4:
            time.sleep(0.02)
        begin = time.monotonic()
        os.kill(newest.runs()[-1]["pid"], number)
        process.communicate(timeout=30)
    assert time.monotonic() - begin < 5
    assert process.returncode == {signal.SIGTERM: 143, signal.SIGINT: 130}[number]
    assert newest.runs()[-1]["status"] == "interrupted"


# ---- by hand


def test_a_place_set_by_hand(world: World, sky: Sky) -> None:
    sky.addresses[ADDRESS] = []
    project = world.project("Elm St", address=ADDRESS)
    fetch(world)
    shown = here(world, *LOCATE, str(project), "39.7392", "-104.9903", "--as-of", "2025-11-24T12:00")
    assert (shown.returncode, shown.stderr) == (0, "")
    assert "39.73920, -104.99030, set by hand" in shown.stdout
    assert "Before: not found by its address" in shown.stdout
    assert places(world) == {project: (*map(D, DENVER), "manual")}
    fetch(world, "2025-11-25")
    assert world.rows("core_weathersnapshot")[-1]["latitude"] == D(DENVER[0])
    assert len(sky.geocoded) == 1


def test_a_place_set_by_hand_holds_until_the_address_changes(newest: World, sky: Sky) -> None:
    with_address, without = newest.project("With", address=ADDRESS), newest.project("Without")
    for project in (with_address, without):
        done(newest.execute("locate-project", project=str(project), latitude="39.7392", longitude="-104.9903"))
    fetch(newest)
    assert (sky.geocoded, len(newest.snapshots())) == ([], 2)
    readdress(newest, without, "5 Elm St, Golden, CO 80401")
    fetch(newest, "2025-11-25")
    assert sky.geocoded == ["5 Elm St, Golden, CO 80401"]
    assert {key: found[2] for key, found in places(newest).items()} == {with_address: "manual", without: "census"}


def test_what_is_set_by_hand_while_the_geocoder_thinks_stays(newest: World, sky: Sky) -> None:
    project = newest.project("Elm St", address=ADDRESS)

    def by_hand(_: Any) -> None:
        sky.meanwhile = lambda _: None
        done(newest.execute("locate-project", project="Elm St", latitude="39.7392", longitude="-104.9903"))

    sky.meanwhile = by_hand
    fetch(newest)
    assert places(newest) == {project: (*map(D, DENVER), "manual")}
    assert newest.snapshots()[project]["latitude"] == D(DENVER[0])


def test_who_shares_the_address_of_a_place_set_meanwhile_is_located_too(newest: World, sky: Sky) -> None:
    first, second = (newest.project(name, address=ADDRESS) for name in ("First", "Second"))
    newest.environment |= {"KIBRAY_OPS_LOCK_TIMEOUT": "5"}
    lock = Lock(Database(newest.settings), "places")
    with lock.database.connect() as connection, newest.fork("weather", "fetch-snapshots") as process:
        assert lock.acquire(connection)
        while not newest.runs():
            time.sleep(0.05)
        time.sleep(0.5)  # it has read who is where, and waits for its turn
        done(newest.execute("locate-project", project="First", latitude="39.7392", longitude="-104.9903"))
        lock.release()
        connection.rollback()
        process.communicate(timeout=30)
    assert {key: found[2] for key, found in places(newest).items()} == {first: "manual", second: "census"}
    assert sky.geocoded == [ADDRESS]


def test_what_is_set_by_hand_for_a_new_address_while_the_old_one_is_asked_for_stays(newest: World, sky: Sky) -> None:
    project = newest.project("Elm St", address=ADDRESS)

    def move(_: Any) -> None:
        sky.meanwhile = lambda _: None
        readdress(newest, project, "5 Elm St, Golden, CO 80401")
        assert newest.run(*LOCATE, "Elm St", "39.7392", "-104.9903").returncode == 0

    sky.meanwhile, sky.today = move, real_now().date()
    assert newest.run("weather", "fetch-snapshots").returncode == 0
    assert places(newest) == {project: (*map(D, DENVER), "manual")}


def test_the_last_place_set_by_hand_counts(newest: World) -> None:
    project = newest.project("Elm St", address=ADDRESS)
    for latitude in ("39.5", "39.7392"):
        done(newest.execute("locate-project", project="Elm St", latitude=latitude, longitude="-104.9903"))
    assert places(newest) == {project: (*map(D, DENVER), "manual")}


def test_what_a_place_is_called_is_one_short_line(newest: World, sky: Sky) -> None:
    newest.project("Elm St", address=ADDRESS)
    sky.addresses[ADDRESS] = [{**match(ADDRESS), "matchedAddress": "\x1b[31m" + "x" * 999 + "\n"}]
    (row,) = fetch(newest).rows
    assert (row["place"].isprintable(), len(row["place"])) == (True, 255)


def test_a_place_is_forgotten(newest: World, sky: Sky) -> None:
    project = newest.project("Elm St", address=ADDRESS)
    here(newest, *LOCATE, "elm st", "39.7392", "-104.9903")
    assert done(newest.execute("locate-project", project="Elm St", forget=True)).result["before_source"] == "manual"
    assert places(newest) == {}
    fetch(newest)
    assert places(newest)[project][2] == "census"


@pytest.mark.parametrize(
    "words",
    ["{} 39.7392 -104.9903", "{} 39.7392, -104.9903", "{} 39.7392,-104.9903", "Elm°St 39.7392 -104.9903",
     "--json {} 39.7392 -104.9903",
     "{} 39.7392 -104.9903 --as-of 2025-11-24", "{} 39.7392 -104.9903 -q",
     "{} -q -- 39.7392 -104.9903", "ELM°ST 39.7392° -104.9903°"],
)  # fmt: skip
def test_how_it_may_be_written(sqlite_world: World, words: str) -> None:
    project = sqlite_world.project("Elm St")
    typed = [word.replace("Elm°St", "Elm St").replace("ELM°ST", "elm  st") for word in words.format(project).split()]
    told = here(sqlite_world, *LOCATE, *typed)
    assert (told.returncode, told.stderr) == (0, "")
    assert places(sqlite_world) == {project: (*map(D, DENVER), "manual")}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("1", "Two coordinates are needed"),
        ("1 39.7", "Two coordinates are needed"),
        ("1 39.7 -104.9 5", "unexpected extra argument"),
        ("1 -104.9903 39.7392", "lies between -90 and 90"),
        ("1 39.7392 -190", "lies between -180 and 180"),
        ("1 north west", "are no degrees"),
        ("1 nan 5", "are no degrees"),
        ("1 inf 5", "are no degrees"),
        ("1 1e400 5", "are no degrees"),
        ("1 999999999 5", "lies between -90 and 90"),
        ("99 39.7 -104.9", "There is no project '99'"),
        ("Elm 39.7 -104.9", "There is no project 'Elm'"),
        ("twin 39.7 -104.9", "2 projects are called 'twin': 2, 3"),
        ("1 39.7 -104.9 --forget", "--forget takes no coordinates"),
        ("1 39.7 -104.9 --dryrun", "No such option: --dryrun"),
        ("1 --dryrun 39.7", "No such option: --dryrun"),
        ("1 39.7 -104.9n", "are no degrees"),
        ("1 39.7 -104.9q", "are no degrees"),
        ("1 3_9.7 -104.9", "are no degrees"),
        ("1 \uff13\uff19 -104.9", "are no degrees"),
        ("", "Missing argument"),
    ],
)
def test_what_is_refused(sqlite_world: World, words: str, said: str) -> None:
    for name in ("Elm St", "Twin", "Twin"):
        sqlite_world.project(name)
    told = here(sqlite_world, *LOCATE, *words.split())
    assert told.returncode == 2
    assert said in told.stderr
    assert len(told.stderr.splitlines()) == 2
    assert places(sqlite_world) == {}


def test_a_point_abroad_is_a_warning(sqlite_world: World) -> None:
    project = sqlite_world.project("Elm St")
    told = json.loads(here(sqlite_world, *LOCATE, "Elm St", "39.7392", "104.9903", "--json").stdout)
    assert (told["status"], told["problems"][0]["kind"]) == ("succeeded", "abroad")
    assert told["result"]["longitude"] == "104.99030"
    assert places(sqlite_world)[project][1] == D("104.99030")
    sqlite_world.project("Elm Street")
    assert "Do you mean Elm St (1), Elm Street (2)?" in here(sqlite_world, *LOCATE, "elm", "1", "2").stderr
