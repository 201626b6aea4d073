"""Several hosts on one database: a week of the whole schedule, fired by two processes at the same moments."""

import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import date
from itertools import groupby
from operator import itemgetter
from pathlib import Path

import pytest

from kibray_ops.catchup import read
from kibray_ops.doctor import examine
from kibray_ops.errors import ConfigurationError
from kibray_ops.report import Trigger
from tests.here import here
from tests.sky import Sky
from tests.test_clock_changes import fired
from tests.world import World, done

SATURDAY, DAYS = date(2026, 10, 31), 3
"""From here to Monday, over the night in which an hour repeats."""
HOSTS = {"office": "America/Denver", "spare": "Etc/UTC"}


class Host:
    """A process that is told what its cron starts, and does it: `python -m tests.host NAME`."""

    def __init__(self, world: World, name: str) -> None:
        words = [sys.executable, "-m", "tests.host", name]
        environment = {**world.environ, "PYTHONPATH": str(Path(__file__).parent.parent)}
        self.process = subprocess.Popen(
            words, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=world.directory
        )

    def start(self, at: str, name: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{at} {name}\n")
        self.process.stdin.flush()

    def told(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()


@contextmanager
def hosts(world: World) -> Iterator[tuple[Host, ...]]:
    with ExitStack() as stack:
        found = tuple(Host(world, name) for name in HOSTS)
        for host in found:
            stack.enter_context(host.process)
        yield found
        for host in found:
            assert host.process.stdin is not None
            host.process.stdin.close()


def furnish(world: World) -> None:
    """Give every job something to do."""
    world.office()
    owner = world.user()
    project = world.project("Elm St", address="12 Elm St, Denver, CO 80203")
    ana = world.employee("Ana Ruiz")
    for day in range(26, 31):
        world.entry(ana, f"2026-10-{day}", "8.00", project_id=project)
    world.invoice("1001", "SENT", "2026-10-27")
    world.item("Primer", "10", "2")
    for _ in range(3):
        world.touchup(project)
    world.plan(project, "2026-10-28", owner)
    world.notify(owner, "Old news", "2026-08-01T06:00", is_read=True)


def test_two_hosts_do_each_slot_from_saturday_to_monday_once(pg_world: World, sky: Sky) -> None:
    """One lives in Denver, the other in UTC: they meet at each slot, and the other starts many an hour off as well."""
    furnish(pg_world)
    sky.today = SATURDAY
    starts = sorted(
        (at, job.name, number)
        for number, zone in enumerate(HOSTS.values())
        for at, job in fired("America/Denver", zone, SATURDAY, DAYS)
    )
    told: Counter[str] = Counter()
    with hosts(pg_world) as both:
        for (at, name), who in groupby(starts, key=itemgetter(0, 1)):
            those = [both[number] for _, _, number in who]
            sky.today = at.date()
            for host in those:
                host.start(at.isoformat(), name)
            told.update(host.told() for host in those)
    assert set(told) <= {"0 succeeded", "0 skipped"}

    runs = pg_world.runs()
    slots = Counter((run["job"], run["slot"]) for run in runs if run["status"] == "succeeded")
    assert set(slots.values()) == {1}
    assert told["0 succeeded"] == len(slots)
    by_job = Counter(job for job, _ in slots)
    assert by_job.pop("send-pending-notifications") == DAYS * 24 + 1
    assert (by_job.pop("generate-weekly-payroll"), by_job.pop("cleanup-old-notifications")) == (1, 1)
    assert set(by_job.values()) == {DAYS}
    assert {run["host"] for run in runs} == set(HOSTS)

    # And what the slots are there for: nobody is paid, told or written to twice.
    assert [len(pg_world.rows(table)) for table in ("core_payrollperiod", "core_payrollrecord")] == [1, 1]
    told_of = Counter(
        (row["user_id"], row["title"], str(row["created_at"])[:10]) for row in pg_world.rows("core_notification")
    )
    assert set(told_of.values()) == {1}
    assert {row["status"] for row in pg_world.outbox()} == {"sent"}
    sent = len(list((pg_world.directory / "mail").glob("*.eml")))
    assert sent == len({row["batch"] for row in pg_world.outbox()})


# ---- the zone that hosts have in common


def test_a_host_in_another_zone_does_none_of_the_schedules_work(newest: World) -> None:
    """It would claim Monday's payroll when Monday comes to its own zone, and pay a week that is not over."""
    newest.environment["KIBRAY_OPS_TIMEZONE"] = "Asia/Kolkata"
    report = newest.execute("generate-weekly-payroll", at="2025-11-24T07:30", trigger=Trigger.CRON)
    assert report.exit_code == 78
    assert str(report.error) == (
        "The schedule of this database keeps the times of America/Denver, and here TIMEZONE is Asia/Kolkata."
    )
    assert newest.runs() == []
    with pytest.raises(ConfigurationError):
        read(newest.settings, newest.at("2025-11-24T09:00"))
    found = examine(newest.settings, online=False)
    assert "problem" in {one.level for one in found if one.subject == "time zone"}
    done(newest.execute("generate-weekly-payroll", at="2025-11-24T07:30"))  # by hand it is for a person to say


@pytest.mark.parametrize(
    ("zone", "at", "code"),
    [
        ("US/Mountain", "2025-07-07T07:30", 0),
        ("America/Phoenix", "2025-11-24T07:30", 0),
        ("America/Phoenix", "2025-07-07T07:30", 78),
    ],
)
def test_what_counts_is_what_the_clocks_show(sqlite_world: World, zone: str, at: str, code: int) -> None:
    sqlite_world.environment["KIBRAY_OPS_TIMEZONE"] = zone
    assert sqlite_world.execute("update-invoice-statuses", at=at, trigger=Trigger.CRON).exit_code == code


def test_the_zone_is_noted_once_and_moves_with_the_baseline(sqlite_world: World) -> None:
    def noted() -> list[str]:
        return [row["value"] for row in sqlite_world.sql("SELECT value FROM kibray_ops_state WHERE key = 'zone'")]

    assert noted() == ["America/Denver"]
    sqlite_world.environment["KIBRAY_OPS_TIMEZONE"] = "Asia/Tokyo"
    told = here(sqlite_world, "db", "init").stdout
    assert "keeps the times of America/Denver, on every host.\nHere TIMEZONE is Asia/Tokyo: set the same" in told
    assert noted() == ["America/Denver"]
    assert here(sqlite_world, "runs", "baseline", "now").returncode == 0
    assert noted() == ["Asia/Tokyo"]
    sqlite_world.environment["KIBRAY_OPS_TIMEZONE"] = ""
    assert here(sqlite_world, "db", "init", "--baseline", "2026-01-01").returncode == 0
    assert noted() == ["Asia/Tokyo"]  # a zone that is only this machine's says nothing
    sqlite_world.sql("DELETE FROM kibray_ops_state WHERE key = 'zone'")  # from before it was noted
    sqlite_world.environment["KIBRAY_OPS_TIMEZONE"] = "Asia/Kolkata"
    assert sqlite_world.execute("update-invoice-statuses", at="2026-11-24T07:30", trigger=Trigger.CRON).exit_code == 0
