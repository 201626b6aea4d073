"""The weeks in which the clocks change: every daily and weekly job once for each day and week, every hour its own."""

from collections import Counter
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from kibray_ops.clock import Clock
from kibray_ops.crontab import Program, Schedule, block
from kibray_ops.registry import JOBS, Job, Kind
from kibray_ops.report import Trigger
from kibray_ops.runner import execute
from kibray_ops.schedule import Slot, latest_slot
from tests.debian_cron import starts
from tests.world import World

PROGRAM = Program("/usr/local/bin/kibray-ops")
BY_WORDS = {(*job.command, *job.arguments): job for job in JOBS}
OFFICES = ("America/Denver", "America/Los_Angeles", "America/New_York", "America/Phoenix")
HOSTS = (
    "America/New_York", "America/Los_Angeles", "Europe/London", "Asia/Kolkata", "Pacific/Auckland",
    "Australia/Lord_Howe", "America/St_Johns",
)  # fmt: skip
WEEKS = {"spring": date(2026, 3, 2), "fall": date(2026, 10, 26)}
"""The Mondays of the weeks that end with the change; the week after belongs to it."""
DAYS = 14


def fired(business: str, host: str, monday: date, days: int = DAYS) -> list[tuple[datetime, Job]]:
    """Return when cron starts which job, catch-up aside, in the weeks from a Monday on."""
    office = ZoneInfo(business)
    first = datetime(monday.year, monday.month, monday.day, tzinfo=office)
    last = (first.replace(tzinfo=None) + timedelta(days)).replace(tzinfo=office) - timedelta(minutes=1)
    text = block(PROGRAM, Schedule(office, ZoneInfo(host), monday))
    found = [(at, entry.command) for at, entry in starts(text, ZoneInfo(host), first, last)]
    return [(at, BY_WORDS[words]) for at, words in found if words != ("catch-up",)]


def claimed(business: str, times: list[tuple[datetime, Job]]) -> dict[str, dict[str, tuple[datetime, Slot]]]:
    """Return the slots that jobs claim, and when each is claimed first; a second claim is none."""
    slots: dict[str, dict[str, tuple[datetime, Slot]]] = {job.name: {} for job in JOBS}
    for at, job in times:
        if slot := latest_slot(job, Clock(ZoneInfo(business)).at(at)):
            slots[job.name].setdefault(slot.key, (at, slot))
    return slots


def assert_each_once(business: str, host: str, monday: date) -> None:
    # On time, where the host has no change of its own just then.
    latest = timedelta() if host in (business, "Etc/UTC") else timedelta(hours=1)
    assert_slots(business, monday, fired(business, host, monday), latest)


def assert_slots(business: str, monday: date, times: list[tuple[datetime, Job]], latest: timedelta) -> None:
    """Assert that starts in the weeks from a Monday on claim each slot of each job, so late at the most."""
    slots = claimed(business, times)
    every_day = [monday + timedelta(n) for n in range(DAYS)]
    office = ZoneInfo(business)
    for job in JOBS:
        found = [slot for _, slot in slots[job.name].values()]
        if job.hourly:
            first = datetime(monday.year, monday.month, monday.day, tzinfo=office).astimezone(UTC)
            after = monday + timedelta(DAYS)
            end = datetime(after.year, after.month, after.day, tzinfo=office).astimezone(UTC)
            first += timedelta(minutes=-first.minute % 60)  # where the local hour begins at half past
            hours = -((first - end) // timedelta(hours=1))
            expected = [f"{first + timedelta(hours=n):%Y-%m-%dT%H:%M}Z" for n in range(hours)]
            assert sorted(slots[job.name]) == expected
            continue
        _, _, _, _, weekday = (job.cron or "").split()
        days = [day for day in every_day if weekday == "*" or day.isoweekday() % 7 == int(weekday)]
        assert sorted(slot.business_date for slot in found) == days, job.name
        for at, slot in slots[job.name].values():
            assert timedelta() <= at - slot.moment <= latest, (job.name, slot.key, at)


@pytest.mark.parametrize("season", WEEKS)
@pytest.mark.parametrize("business", OFFICES)
def test_each_slot_once_on_a_host_in_the_zone_of_the_business(business: str, season: str) -> None:
    assert_each_once(business, business, WEEKS[season])


@pytest.mark.parametrize("season", WEEKS)
@pytest.mark.parametrize("business", OFFICES)
def test_each_slot_once_on_a_host_in_utc(business: str, season: str) -> None:
    assert_each_once(business, "Etc/UTC", WEEKS[season])


@pytest.mark.parametrize("season", WEEKS)
@pytest.mark.parametrize("host", HOSTS)
def test_each_slot_once_on_hosts_elsewhere(host: str, season: str) -> None:
    assert_each_once("America/Denver", host, WEEKS[season])


@pytest.mark.parametrize("host", ["Europe/London", "Pacific/Auckland"])
@pytest.mark.parametrize("monday", [date(2026, 3, 23), date(2026, 9, 21), date(2026, 3, 30), date(2026, 10, 19)])
def test_each_slot_once_when_only_the_hosts_clock_changes(host: str, monday: date) -> None:
    assert_each_once("America/Denver", host, monday)


def test_the_simulated_cron_is_debians() -> None:
    """What cron(8) says of both changes: fixed times run right after the gap, and once when an hour repeats."""
    denver = ZoneInfo("America/Denver")
    text = "30 2 * * * /bin/fixed\n*/1 2 * * * /bin/never\n0 * * * * /bin/hourly\n".replace("*/1", "15")

    def times(day: datetime, name: str) -> list[str]:
        found = starts(text, denver, day, day + timedelta(hours=8))
        return [f"{at.astimezone(denver):%H:%M %Z}" for at, entry in found if entry.words == (name,)]

    spring, fall = (datetime(2026, month, day, tzinfo=denver) for month, day in ((3, 8), (11, 1)))
    assert times(spring, "/bin/fixed") == ["03:00 MDT"]
    assert times(spring, "/bin/hourly")[:4] == ["00:00 MST", "01:00 MST", "03:00 MDT", "04:00 MDT"]
    assert times(fall, "/bin/fixed") == ["02:30 MST"]
    assert times(fall, "/bin/hourly")[:4] == ["00:00 MDT", "01:00 MDT", "01:00 MST", "02:00 MST"]
    text = "30 1 * * * /bin/fixed\n"
    assert times(fall, "/bin/fixed") == ["01:30 MDT"]


@pytest.mark.parametrize(("season", "friday"), [("spring", date(2026, 3, 6)), ("fall", date(2026, 10, 30))])
def test_the_runner_does_each_slot_once(sqlite_world: World, season: str, friday: date) -> None:
    """The same with the program itself: every start of a host in UTC is a run of its own, on one database."""
    idle = {
        job.name: replace(
            job,
            module="tests.sample_jobs",
            command=("sample", "idle"),
            kind=Kind.ATOMIC,
            reads=(),
            writes={},
            copies=(),
        )
        for job in JOBS
    }
    found = sqlite_world.settings
    for at, job in fired("America/Denver", "Etc/UTC", friday, days=4):
        clock = Clock(found.zone).at(at)
        report = execute(idle[job.name], settings=found, clock=clock, trigger=Trigger.CRON)
        assert (report.exit_code, report.error) == (0, None)
    runs = sqlite_world.runs()
    assert {run["status"] for run in runs} == {"succeeded"}
    counts = Counter(run["job"] for run in runs)
    assert counts.pop("send-pending-notifications") == (95 if season == "spring" else 97)
    assert counts.pop("generate-weekly-payroll") == counts.pop("cleanup-old-notifications") == 1
    assert set(counts.values()) == {4}
    assert len({(run["job"], run["slot"]) for run in runs}) == len(runs)
