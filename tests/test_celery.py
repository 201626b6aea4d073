"""The jobs under Celery: the slots as its Beat finds them, and real workers and Beats that are killed and come back."""

import dbm
import json
import logging
import os
import pickle
import signal
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from kibray_ops.database import Database
from kibray_ops.provision import move_baseline
from kibray_ops.registry import JOBS, Job, named
from tests.sky import Sky
from tests.test_clock_changes import DAYS, OFFICES, WEEKS, assert_slots
from tests.test_runner import wait_until
from tests.world import World

os.environ.setdefault("KIBRAY_OPS_TIMEZONE", "America/Denver")
from kibray_ops.celery import RunFailed, Slots, app, run

del os.environ["KIBRAY_OPS_TIMEZONE"]

CONFIGURATION = """
broker_url = "filesystem://"
broker_transport_options = {{
    "data_folder_in": "{0}/queue", "data_folder_out": "{0}/queue", "control_folder": "{0}/control",
}}
result_backend = "file://{0}/results"
"""
WEATHER = {"fetch-weather-snapshots", "update-daily-plans-weather"}


def sent_by_beat(job: Job, business: str, monday: date) -> list[tuple[datetime, Job]]:
    """Return when Beat, which asks a schedule whether it is due and else how long to wait, sends a job in two weeks."""
    slots, office = Slots(job.name, business), ZoneInfo(business)
    now = datetime(monday.year, monday.month, monday.day, tzinfo=office).astimezone(UTC) - timedelta(seconds=1)
    after = monday + timedelta(DAYS)
    last = datetime(after.year, after.month, after.day, tzinfo=office) - timedelta(seconds=1)
    slots.nowfun = lambda: now
    found, sent_at = [], now
    while now <= last:
        is_due, wait = slots.is_due(sent_at)
        if is_due:
            found.append((now, job))
            sent_at = now
        now += timedelta(seconds=wait)
    return found


@pytest.mark.parametrize("season", WEEKS)
@pytest.mark.parametrize("business", OFFICES)
def test_beat_sends_each_slot_once_when_the_clocks_change(business: str, season: str) -> None:
    monday = WEEKS[season]
    times = [pair for job in JOBS for pair in sent_by_beat(job, business, monday)]
    assert len(times) < 500  # it does not ask in vain
    assert_slots(business, monday, sorted(times, key=lambda pair: pair[0]), timedelta())


def test_after_an_outage_of_beat_a_job_is_sent_once() -> None:
    slots = Slots("check-overdue-invoices", "America/Denver")
    now = datetime(2026, 6, 22, 18, 30, tzinfo=UTC)
    slots.nowfun = lambda: now
    assert slots.is_due(now - timedelta(days=5)).is_due
    assert not slots.is_due(now).is_due
    assert not slots.is_due(datetime(2026, 6, 22, 12, tzinfo=UTC)).is_due  # it was sent just in time
    assert slots != Slots("check-overdue-invoices", "UTC")
    assert slots.is_due(now).next == timedelta(hours=17, minutes=30).total_seconds()  # 06:00 in Denver


def test_the_tasks_are_the_registrys() -> None:
    entries = app.conf.beat_schedule
    assert set(entries) == {job.function for job in JOBS} | {"catch_up"}
    assert {entry["task"] for entry in entries.values()} == {f"kibray_ops.{name}" for name in entries}
    assert {name for name in app.tasks if not name.startswith("celery.")} == {f"kibray_ops.{name}" for name in entries}
    assert app.conf.task_default_queue == "kibray_ops"  # not the one of Kibray's own workers
    assert app.conf.beat_sync_every == 1  # a Beat that is killed knows what it has sent
    assert app.conf.timezone == "UTC"
    assert entries["catch_up"]["schedule"].minute == {7, 22, 37, 52}
    assert entries["catch_up"]["options"]["expires"] == 900
    assert {app.tasks[entry["task"]].throws for entry in entries.values()} == {RunFailed}
    for name, entry in entries.items():
        assert entry["kwargs"] == {"scheduled": True}
        assert pickle.loads(pickle.dumps(entry["schedule"])) == entry["schedule"]  # Beat keeps it in a file
        assert name == "catch_up" or len(pickle.dumps(entry["schedule"])) < 200  # without the app
        if name != "catch_up":
            job = named(name)
            assert job is not None
            assert entry["options"]["expires"] == (job.deadline or timedelta(hours=1)).total_seconds()
            assert repr(entry["schedule"]) == f"<slots of {job.name}, America/Denver>"


# ---- one start of the program


def program(directory: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> Path:
    """Let the program be a script; Celery's process knows it as Python, whatever its words are."""
    path = directory / "python"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(path))
    return path


@pytest.mark.parametrize(
    ("script", "said"),
    [
        (
            """echo '{"run_id": 7, "error": null}'; exit 3""",
            "`x y` ended with exit code 3. `kibray-ops runs show 7` tells",
        ),
        ("exit 124", "`x y` ended with exit code 124. `kibray-ops runs list` tells"),
        ("""echo '{"run_id'; kill -9 $$""", "`x y` ended with exit code -9."),
        ("exit 75", "`x y` could not begin. `kibray-ops doctor` tells"),
        ("""echo '{"error": {"message": "No.", "hint": "Yes."}}'; echo trace >&2; exit 1""", "No. Yes."),
    ],
)
def test_what_went_wrong_is_told(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
    script: str,
    said: str,
) -> None:
    program(tmp_path, monkeypatch, script)
    monkeypatch.setattr(logging.getLogger("kibray_ops"), "propagate", True)
    with pytest.raises(RunFailed) as failed:
        run("x", "y", dry_run=False, scheduled=True)
    assert str(failed.value).startswith(said)
    assert str(failed.value) in caplog.text
    assert capsys.readouterr().err == ("trace\n" if "trace" in script else "")


def test_catch_up_keeps_to_itself_what_people_earn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = {"job": "a", "slot": "b", "status": "succeeded", "exit_code": 0}
    program(tmp_path, monkeypatch, f"echo '{json.dumps({'runs': [one | {'rows': [{'gross_pay': '1.00'}]}]})}'")
    assert run("catch-up", dry_run=False, scheduled=True) == {"runs": [one]}


def test_a_time_limit_of_celerys_ends_the_run_in_its_own_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, ended = tmp_path / "begun", tmp_path / "ended"
    script = (
        f"trap 'echo told >&2; sleep 0.2; touch {ended}; exit 143' TERM\ntouch {begun}\nwhile :; do sleep 0.05; done"
    )
    program(tmp_path, monkeypatch, script)

    class TimeIsUp(Exception):
        pass

    def stop(*_: object) -> None:
        raise TimeIsUp

    before = signal.signal(signal.SIGUSR1, stop)
    threading.Thread(target=lambda: (wait_until(begun.exists), os.kill(os.getpid(), signal.SIGUSR1))).start()
    try:
        with pytest.raises(TimeIsUp):
            run("x", dry_run=False, scheduled=True)
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert ended.exists()


# ---- the real thing


class Office:
    """A time zone of our own, in which it is whatever time a test needs, and Celery's processes in it."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.directory = world.directory
        self.day = datetime.now(UTC).date()  # noqa: TID251
        for name in ("queue", "control", "results", "zones/Test"):
            (self.directory / name).mkdir(parents=True)
        (self.directory / "celery_settings.py").write_text(CONFIGURATION.format(self.directory))
        world.move("Test/Office")
        world.environment |= {
            "PYTHONTZPATH": str(self.directory / "zones"),
            "PYTHONPATH": f"{self.directory}:{Path(__file__).parent.parent}",
            "CELERY_CONFIG_MODULE": "celery_settings",
        }

    def let_it_be(self, wall: str) -> None:
        """Set the zone so that it is a time of day in it just now: RFC 8536, one type of local time and no change."""
        wanted = datetime.fromisoformat(f"{self.day}T{wall}Z")
        offset = int((wanted - datetime.now(UTC)).total_seconds())  # noqa: TID251
        zone = struct.pack(">4s16x6l", b"TZif", 0, 0, 0, 0, 1, 4) + struct.pack(">lbb", offset, 0, 0) + b"TST\0"
        (self.directory / "zones" / "Test" / "Office").write_bytes(zone)

    @contextmanager
    def running(self, *words: str, end: signal.Signals = signal.SIGKILL) -> Iterator[subprocess.Popen[bytes]]:
        """Run a process of Celery's; at the end it and its children are killed, as by a machine that fails."""
        log = (self.directory / f"{words[0]}.log").open("ab")
        command = [sys.executable, "-m", "celery", "-A", "kibray_ops", *words, "--loglevel=info"]
        process = subprocess.Popen(
            command, env=self.world.environ, cwd=self.directory, stdout=log, stderr=log, start_new_session=True
        )
        try:
            yield process
        finally:
            os.killpg(process.pid, end)
            process.wait()
            log.close()

    def waiting(self) -> list[str]:
        """Return the names of the tasks in the queue, without those that the real time of day decides on."""
        names = [self._task(path) for path in (self.directory / "queue").glob("*.kibray_ops.msg")]
        return sorted(name for name in names if name not in ("", "catch_up", "send_pending_notifications"))

    @staticmethod
    def _task(path: Path) -> str:
        try:
            return str(json.loads(path.read_text())["headers"]["task"]).removeprefix("kibray_ops.")
        except (OSError, ValueError):
            return ""  # it is just being written, or taken

    def runs(self) -> dict[str, dict[str, Any]]:
        """Return the runs; no job has two."""
        found = [run for run in self.world.runs() if run["job"] != "send-pending-notifications"]
        assert len({run["job"] for run in found}) == len(found)
        return {run["job"]: run for run in found}

    def call(self, task: str, **arguments: Any) -> dict[str, Any]:
        """Start a task by hand and return what Celery keeps of it."""
        words = [sys.executable, "-m", "celery", "-A", "kibray_ops", "call", f"kibray_ops.{task}"]
        words.append(f"--kwargs={json.dumps(arguments)}")
        told = subprocess.run(
            words, env=self.world.environ, cwd=self.directory, capture_output=True, text=True, check=True
        )
        kept = self.directory / "results" / f"celery-task-meta-{told.stdout.strip()}"
        wait_until(kept.exists, 60)
        found: dict[str, Any] = json.loads(kept.read_text())
        return found


def test_worker_and_beat_are_killed_and_come_back(sqlite_world: World, sky: Sky) -> None:
    world = sqlite_world
    world.office()
    world.project("Elm St", address="12 Elm St, Denver, CO 80203")
    now = datetime.now(UTC)  # noqa: TID251
    sky.today = now.date()
    # Nothing from before is owed, should catch-up's time come meanwhile.
    move_baseline(Database(world.settings), now - timedelta(minutes=90))
    office = Office(world)

    # Beat keeps what it has sent in a database of Python's. Debian's Python, without python3-gdbm, has only one that
    # reaches the disk when it is closed: there a Beat that is killed begins anew, and is ended in good order here.
    with dbm.open(str(office.directory / "any"), "c") as store:
        end = signal.SIGKILL if hasattr(store, "sync") else signal.SIGTERM

    # It is nearly five in the office: Beat sends the two jobs of that time, and no other. Nobody works yet.
    office.let_it_be("04:59:40")
    with office.running("beat", end=end):
        wait_until(lambda: len(office.waiting()) >= 2, 60)
        time.sleep(1)  # it keeps in a file what it has sent; Celery throws away one that is half written
    assert office.waiting() == ["update_daily_plans_weather", "update_daily_weather_snapshots"]

    # It is gone, and is back after six: it sends what it has missed meanwhile, and nothing again.
    office.let_it_be("06:00:01")
    with office.running("beat"):
        wait_until(lambda: len(office.waiting()) >= 3, 60)
    assert office.waiting()[0] == "check_overdue_invoices"
    assert len(office.waiting()) == 3

    # A worker takes them, and is killed in the middle of one: the run goes on, and its message is gone.
    asked, answer = threading.Event(), threading.Event()
    sky.meanwhile = lambda _: (asked.set(), answer.wait(60))  # type: ignore[func-returns-value]
    with office.running("worker", "--concurrency=1"):
        assert asked.wait(60)
    answer.set()
    begun = {name for name, run in office.runs().items() if run["started_at"]}
    assert begun & WEATHER

    # Another one takes the rest. What has been done is done once, however often it is sent.
    with office.running("worker", "--concurrency=1"):
        wait_until(lambda: {name for name, run in office.runs().items() if run["finished_at"]} >= WEATHER, 60)
        wait_until(lambda: "check-overdue-invoices" in office.runs(), 60)
        again = office.call("update_daily_weather_snapshots", scheduled=True)
        assert (again["status"], again["result"]) == ("SUCCESS", {})
        rehearsed = office.call("check_overdue_invoices", dry_run=True)
        assert (rehearsed["status"], set(rehearsed["result"]) >= {"date", "updated"}) == ("SUCCESS", True)
        refused = office.call("generate_weekly_payroll", dry_run=True, scheduled=True)
        assert refused["status"] == "FAILURE"
        assert refused["result"]["exc_message"] == ["--cron and --dry-run exclude each other. cron is for real runs."]
    runs = office.runs()
    assert set(runs) == WEATHER | {"check-overdue-invoices"}
    assert {run["status"] for run in runs.values()} == {"succeeded"}
    assert {run["trigger"] for run in runs.values()} <= {"cron", "catch-up"}
    assert {run["slot"][-6:] for name, run in runs.items() if name in WEATHER} == {"T05:00"}
    assert runs["check-overdue-invoices"]["slot"].endswith("T06:00")
    assert office.waiting() == []


def test_wrong_settings_are_told_in_two_lines(sqlite_world: World) -> None:
    sqlite_world.environment["KIBRAY_OPS_TIMEZONE"] = "Nowhere"
    command = [sys.executable, "-m", "celery", "-A", "kibray_ops", "report"]
    told = subprocess.run(command, env=sqlite_world.environ, capture_output=True, text=True, check=False)
    assert (told.returncode, told.stdout) == (78, "")
    assert told.stderr.startswith("kibray-ops: 1 setting is wrong:\n")
    assert "Traceback" not in told.stderr
