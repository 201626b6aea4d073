"""What goes wrong around every writing job: no half work, no lost row, and the next run completes.

| fault | where it is shown |
|---|---|
| SIGKILL at random moments, SIGTERM, Ctrl-C | test_kills.py, every job; between a mail server's yes and our COMMIT: test_delivery.py; while a service keeps us waiting: test_weather.py, test_places.py, test_delivery.py |
| the database is restarted, its disk is full, PgBouncer is between | test_servers.py |
| the disk is full | here, and test_servers.py; stdout: test_cli.py |
| SQLite is locked by another writer, rows are locked by the application | here, every job; single rows: test_invoices.py, test_archive.py; our own tables: test_runner.py |
| the connection is lost | here, every job |
| the clock jumps | here; the nights of the change: test_clock_changes.py |
| soft time limit | here, every job |
| hard time limit | here, every kind; who is told: test_heartbeat.py, test_alarms.py |
| two hosts | test_hosts.py; ten at once: test_payroll_faults.py, test_alerts.py |
"""  # noqa: E501

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, event
from sqlalchemy.engine import Engine

from kibray_ops.registry import Job, Kind
from kibray_ops.report import Trigger
from tests.sky import Sky
from tests.stage import RUNS, Scene, Stage, picture, rewind, run_again, settle, words
from tests.test_contract import ALL, name
from tests.warm import Fate, Warm, small_batches, writes
from tests.world import ENGINES, World, done

SEND, OUTBOX = "send-pending-notifications", "kibray_ops_delivery"
BY_ITEM = [job for job in ALL if job.kind is not Kind.ATOMIC]
each_job = pytest.mark.parametrize("job", ALL, ids=name)


def is_work(statement: str) -> bool:
    """Tell whether a statement writes something else than the run's record."""
    return writes(statement) not in (None, RUNS)


def is_begin(statement: str) -> bool:
    return statement == "BEGIN IMMEDIATE"


@contextmanager
def at(number: int, of: Callable[[str], bool], act: Callable[[Connection], None]) -> Iterator[None]:
    """Let something happen before the so-manieth statement of a kind, once."""
    met = 0

    def meet(connection: Connection, _cursor: Any, statement: str, *_: Any) -> None:
        nonlocal met
        met += of(statement)
        if met == number and of(statement):
            act(connection)

    event.listen(Engine, "before_cursor_execute", meet)
    try:
        yield
    finally:
        event.remove(Engine, "before_cursor_execute", meet)
    assert met >= number


class Play:
    """A job on a copy of the stage, and how it should end."""

    def __init__(self, job: Job, world: World, scene: Scene) -> None:
        self.job, self.world, self.scene = job, world, scene

    def middle(self, of: Callable[[str], bool]) -> int:
        """Return the number of the statement of a kind in the middle of the work, counted from 1."""
        return (sum(map(of, self.scene.statements)) + 1) // 2

    def before_the_middle(self) -> int:
        """Return the number, among all statements, of the one before that."""
        work = [number for number, statement in enumerate(self.scene.statements) if is_work(statement)]
        return work[self.middle(is_work) - 1]

    def assert_no_half_work(self) -> None:
        if self.job.kind is Kind.ATOMIC:
            assert picture(self.world) == self.scene.before

    def assert_completed_by_the_next_run(self) -> None:
        settle(self.world)
        report = run_again(self.world, self.job)
        done(report, 3 if any(row["status"] == "unknown" for row in self.world.outbox()) else 0)
        self.assert_complete()

    def assert_complete(self) -> None:
        found, expected = picture(self.world), dict(self.scene.after)
        if self.job.name == SEND:
            # How often it was tried is another matter. Of one message nobody may know whether it has left.
            outbox = self.world.outbox()
            messages = {row["message_id"]: row["status"] for row in outbox if row["status"] in ("sent", "unknown")}
            unknown = [message for message, status in messages.items() if status == "unknown"]
            mails = [path.suffix for path in (self.world.directory / "mail").iterdir()]
            assert len(unknown) <= 1
            assert mails in ([".eml"] * len(messages), [".eml"] * (len(messages) - len(unknown)))
            assert len(found.pop(OUTBOX)) == len(expected.pop(OUTBOX))
        assert found == expected


@contextmanager
def play(engine: str, job: Job, stage: Stage, sky: Sky, directory: Path, **environment: str) -> Iterator[Play]:
    (directory / "undisturbed").mkdir(exist_ok=True)
    scene = stage.scene(engine, job, directory / "undisturbed", sky.environment)
    named = {f"KIBRAY_OPS_{name}": value for name, value in environment.items()}
    with stage.copy(engine, directory, sky.environment | named) as world:
        yield Play(job, world, scene)


@pytest.fixture(autouse=True)
def _small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    small_batches(monkeypatch.setattr)


# ---- somebody else holds what the job needs


@each_job
def test_another_writer_holds_the_file_for_longer_than_we_wait(
    job: Job, stage: Stage, sky: Sky, tmp_path: Path
) -> None:
    with play("sqlite", job, stage, sky, tmp_path, LOCK_TIMEOUT="1") as played, played.world.connect() as application:
        last = sum(map(is_begin, played.scene.statements))
        number = last if job.kind is Kind.ATOMIC else played.middle(is_begin)
        with at(number, is_begin, lambda _: application.execute("BEGIN IMMEDIATE")):
            report = run_again(played.world, job)
        application.execute("ROLLBACK")
        assert report.exit_code == 75
        assert "holds the database file" in str(report.error)
        played.assert_no_half_work()
        played.assert_completed_by_the_next_run()


OWN_TABLES = {
    "locate-project": "kibray_ops_place",
    **dict.fromkeys(("retry-deliveries", "cancel-deliveries", SEND), OUTBOX),
}


@each_job
def test_the_application_holds_what_the_job_writes(job: Job, stage: Stage, sky: Sky, tmp_path: Path) -> None:
    tables = ", ".join(job.writes) or OWN_TABLES[job.name]
    with play("postgresql", job, stage, sky, tmp_path, LOCK_TIMEOUT="1") as played:
        with played.world.connect() as application:
            application.execute("BEGIN")
            application.execute(f"LOCK TABLE {tables} IN SHARE MODE")
            report = run_again(played.world, job)
            assert report.exit_code == 75
            assert [run["status"] for run in played.world.runs()] == ["failed"]
            played.assert_no_half_work()
            application.execute("ROLLBACK")
        played.assert_completed_by_the_next_run()


# ---- the connection is lost


def terminate(world: World, *pids: int) -> None:
    for pid in pids:
        assert world.sql("SELECT pg_terminate_backend(?, 5000) AS ended", pid)[0]["ended"]


@each_job
def test_the_connection_of_the_work_is_lost(job: Job, stage: Stage, sky: Sky, tmp_path: Path) -> None:
    """Atomic work is done again at once; other work keeps what it has, and the next run does the rest."""
    with play("postgresql", job, stage, sky, tmp_path) as played:

        def cut(connection: Connection) -> None:
            rewind(played.world)
            terminate(played.world, connection.connection.dbapi_connection.info.backend_pid)  # type: ignore[union-attr]

        with at(played.middle(is_work), is_work, cut):
            report = run_again(played.world, job)
        if job.kind is Kind.ATOMIC:
            done(report)
            assert [run["status"] for run in played.world.runs()] == ["succeeded"]
            played.assert_complete()
        else:
            assert report.exit_code == 75
            assert [run["status"] for run in played.world.runs()] == ["failed"]
            played.assert_completed_by_the_next_run()


@pytest.mark.parametrize("job", BY_ITEM, ids=name)
def test_the_connection_that_holds_the_lock_is_lost(job: Job, stage: Stage, sky: Sky, tmp_path: Path) -> None:
    """Another run may be at work from then on: nothing more is committed."""
    with play("postgresql", job, stage, sky, tmp_path) as played:
        pictures = []

        def cut(_: Connection) -> None:
            holders = played.world.sql("SELECT pid FROM pg_locks WHERE locktype = 'advisory'")
            terminate(played.world, *(row["pid"] for row in holders))
            pictures.append(picture(played.world))

        with at(played.middle(is_work), is_work, cut):
            assert run_again(played.world, job).exit_code == 75
        assert [picture(played.world)] == pictures
        played.assert_completed_by_the_next_run()


# ---- time limits


@pytest.mark.parametrize(
    ("engine", "job"),
    [(ENGINES[n % 2], job) for n, job in enumerate(ALL)],
    ids=lambda value: getattr(value, "name", value),
)
def test_the_soft_limit_in_the_middle(engine: str, job: Job, stage: Stage, sky: Sky, tmp_path: Path) -> None:
    with play(engine, job, stage, sky, tmp_path, SOFT_TIME_LIMIT="1") as played:
        with at(played.before_the_middle(), lambda _: True, lambda _: time.sleep(1.05)):
            report = run_again(played.world, job)
        assert (report.exit_code, report.status) == (124, "timed_out")
        assert [run["status"] for run in played.world.runs()] == ["timed_out"]
        played.assert_no_half_work()
        del played.world.environment["KIBRAY_OPS_SOFT_TIME_LIMIT"]
        played.assert_completed_by_the_next_run()


@pytest.mark.parametrize(
    ("engine", "named", "table"),
    [
        ("postgresql", "check-overdue-invoices", "kibray_ops_alert"),
        ("sqlite", "cleanup-old-notifications", "core_notification"),
        ("postgresql", "fetch-weather-snapshots", "core_weathersnapshot"),
    ],
)
def test_the_hard_limit_ends_what_hangs(
    engine: str, named: str, table: str, stage: Stage, warm: Warm, sky: Sky, tmp_path: Path
) -> None:
    (job,) = (job for job in ALL if job.name == named)
    limits = {"SOFT_TIME_LIMIT": "1", "HARD_TIME_LIMIT": "1"}
    with play(engine, job, stage, sky, tmp_path, **limits) as played:
        ended = warm.run(words(job), played.world.environ, tmp_path, Fate(hangs=True, event=1, writing=table))
        assert (ended.code, ended.out) == (124, "")
        assert "The hard time limit was reached" in ended.err
        assert [run["status"] for run in played.world.runs()] == ["timed_out"]
        played.assert_no_half_work()
        played.world.environment = dict(sky.environment)
        played.assert_completed_by_the_next_run()


# ---- the disk is full


@each_job
def test_the_disk_is_full(job: Job, stage: Stage, warm: Warm, sky: Sky, tmp_path: Path) -> None:
    """From the middle of the work on, neither the database's file nor the journal beside it can be written."""
    with play("sqlite", job, stage, sky, tmp_path) as played:
        table = writes([statement for statement in played.scene.statements if is_work(statement)][-1])
        fate = Fate(event=1, writing=str(table), disk_is_full=True)
        ended = warm.run(words(job), played.world.environ, tmp_path, fate)
        assert ended.code == 1
        assert "Make room on the disk of the database" in ended.err
        played.assert_no_half_work()
        played.assert_completed_by_the_next_run()
        assert [run["status"] for run in played.world.runs()] == ["interrupted", "succeeded"]


def test_the_disk_for_mail_is_full(stage: Stage, warm: Warm, sky: Sky, tmp_path: Path) -> None:
    """There is no half message, and each is sent when there is room."""
    (job,) = (job for job in ALL if job.name == SEND)
    with play("postgresql", job, stage, sky, tmp_path) as played:
        ended = warm.run(words(job), played.world.environ, tmp_path, Fate(event=1, disk_is_full=True))
        assert (ended.code, [run["status"] for run in played.world.runs()]) == (3, ["partial"])
        assert "takes no file: File too large" in ended.out
        mails = tmp_path / "mail"
        assert list(mails.glob("*.eml")) == []
        assert Counter(row["status"] for row in played.world.outbox()) == {"failed": 3, "cancelled": 3, "pending": 6}
        done(played.world.execute(job, at="2025-11-25T00:00", trigger=Trigger.CRON))
        assert len({row["message_id"] for row in played.world.outbox() if row["status"] == "sent"}) == 4
        assert [path.suffix for path in mails.iterdir()] == [".eml"] * 4
