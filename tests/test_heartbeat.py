"""Pings: what a Healthchecks server hears of a run, and that a run never suffers from it."""

import json
import socket
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from threading import Event, Thread
from uuid import UUID

import pytest

from kibray_ops.database import Database
from kibray_ops.doctor import examine
from kibray_ops.pauses import pause
from kibray_ops.registry import JOBS, Job, Kind
from kibray_ops.report import Report, Trigger
from kibray_ops.runner import execute
from tests.here import here
from tests.sample_jobs import ATTEMPTS, sample
from tests.sky import Question, Reply, Sky, answer, answering
from tests.test_runner import start, wait_until
from tests.world import World

PAYROLL = next(job for job in JOBS if job.name == "generate-weekly-payroll")
MONDAY = "2025-11-24T07:00"
KEY = "8f2a-ping-key"


@dataclass
class Checks:
    """A Healthchecks server: what it heard, and how it is to answer."""

    url: str = ""
    heard: list[Question] = field(default_factory=list)
    faults: list[Reply] = field(default_factory=list)

    def reply(self, question: Question) -> Reply:
        self.heard.append(question)
        return self.faults.pop(0) if self.faults else Reply(b"OK", kind="text/plain")

    @property
    def paths(self) -> list[str]:
        """Return what was said, without what all pings have in front."""
        return self.of(PAYROLL.name)

    def of(self, job: str) -> list[str]:
        """Return what was said of a job, which has to be all."""
        said, front = [question.path for question in self.heard], f"/{KEY}/{job}"
        assert all(path.startswith(front) for path in said)
        return [path.removeprefix(front) for path in said]

    @property
    def runs(self) -> set[str | None]:
        """Return the run that each ping names."""
        return {question.url.partition("rid=")[2] or None for question in self.heard}


@pytest.fixture
def checks() -> Iterator[Checks]:
    service = Checks()
    with answering(service):
        yield service


def watched(world: World, checks: Checks, more: str = "") -> World:
    world.environment["KIBRAY_OPS_PING_URL"] = f"{checks.url}/{KEY}{more}"
    return world


def playing(verb: str, kind: Kind = Kind.ATOMIC) -> Job:
    return replace(
        PAYROLL, module="tests.sample_jobs", command=("sample", verb), kind=kind, reads=(), writes={}, copies=()
    )


def go(
    world: World, verb: str = "idle", trigger: Trigger = Trigger.CRON, at: str = MONDAY, **options: object
) -> Report:
    return execute(playing(verb), settings=world.settings, clock=world.at(at), trigger=trigger, options=options or None)


# ---- what is said


def test_a_run_says_that_it_begins_and_with_which_code_it_ends(newest: World, checks: Checks) -> None:
    assert go(watched(newest, checks)).exit_code == 0
    assert checks.paths == ["/start", "/0"]
    (run,) = checks.runs
    assert str(UUID(run)) == run
    assert [question.fields for question in checks.heard] == [{}, {}]  # nothing of the run's contents


@pytest.mark.parametrize(("verb", "said"), [("crash", "/1"), ("partly", "/3")])
def test_what_failed_or_is_partly_done_ends_with_its_code(newest: World, checks: Checks, verb: str, said: str) -> None:
    go(watched(newest, checks), verb)
    assert checks.paths == ["/start", said]
    assert len(checks.runs) == 1


def test_what_has_to_be_tried_again_is_no_failure(newest: World, checks: Checks) -> None:
    assert go(watched(newest, checks), "refuse", code=75).exit_code == 75
    assert checks.paths == ["/start", "/log"]


def test_a_failure_before_the_claim_is_told_too(newest: World, checks: Checks) -> None:
    newest.sql("ALTER TABLE core_timeentry RENAME TO core_other")
    report = execute(PAYROLL, settings=watched(newest, checks).settings, clock=newest.at(MONDAY), trigger=Trigger.CRON)
    assert report.exit_code == 78
    assert checks.paths == ["/78"]


def test_what_cannot_even_be_recorded_is_told_when_cron_started_it(newest: World, checks: Checks) -> None:
    """Where a person did, the person is told."""
    newest.sql("UPDATE kibray_ops_alembic_version SET version_num = '0001'")
    assert go(watched(newest, checks)).exit_code == 78
    assert go(newest, trigger=Trigger.MANUAL).exit_code == 78
    newest.environment["KIBRAY_OPS_DATABASE_URL"] = "postgresql://kibray@127.0.0.1:9/kibray"
    assert go(newest).exit_code == 75
    assert checks.paths == ["/78", "/log"]


def test_a_wrong_setting_is_told_too(sqlite_world: World, checks: Checks) -> None:
    watched(sqlite_world, checks).environment["KIBRAY_OPS_TOUCHUP_TRESHOLD"] = "3"
    assert here(sqlite_world, "--cron", "touchups", "alert").returncode == 78
    assert here(sqlite_world, "touchups", "alert").returncode == 78
    assert checks.of("alert-high-priority-touchups") == ["/78"]


def test_doctor_asks_each_check_online(sqlite_world: World, checks: Checks) -> None:
    checks.faults = [Reply(b"", 404)]
    found = [one for one in examine(watched(sqlite_world, checks).settings, online=True) if one.subject == "pings"]
    assert [one.message for one in found] == ["update-invoice-statuses: the server answered 404"]
    assert [question.path.rpartition("/")[2] for question in checks.heard] == ["log"] * 10
    (fine,) = [one for one in examine(sqlite_world.settings, online=True) if one.subject == "pings"]
    assert (fine.level, fine.message) == ("ok", "all 10 checks take them")
    checks.heard.clear()
    list(examine(sqlite_world.settings, online=False))
    assert checks.heard == []
    sqlite_world.environment["KIBRAY_OPS_PING_URL"] = "http://127.0.0.1:9/key"
    (gone,) = [one for one in examine(sqlite_world.settings, online=True) if one.subject == "pings"]
    assert (gone.level, gone.message) == ("problem", "the ping server: ConnectError")


def test_two_runs_are_told_apart(newest: World, checks: Checks) -> None:
    go(watched(newest, checks), "crash")
    go(newest, "idle")
    assert checks.paths == ["/start", "/1", "/start", "/0"]
    ids = [question.url.partition("rid=")[2] for question in checks.heard]
    assert ids[0] == ids[1] != ids[2] == ids[3]


def test_a_run_that_has_nothing_to_do_says_nothing(newest: World, checks: Checks) -> None:
    go(watched(newest, checks))
    checks.heard.clear()
    assert go(newest).status == "skipped"
    assert go(newest, at="2025-11-24T06:00").status == "skipped"
    assert checks.heard == []


def test_a_dry_run_and_one_for_another_week_say_nothing(newest: World, checks: Checks) -> None:
    watched(newest, checks)
    execute(playing("idle"), settings=newest.settings, clock=newest.at(MONDAY), dry_run=True)
    go(newest, "write", Trigger.MANUAL, name="other")
    execute(playing("idle"), settings=newest.settings, clock=newest.at(MONDAY).at(newest.at(MONDAY).now()))
    go(newest, "refuse", Trigger.MANUAL, code=2)
    assert checks.heard == []


def test_by_hand_as_cron_would_is_told(newest: World, checks: Checks) -> None:
    go(watched(newest, checks), trigger=Trigger.MANUAL)
    assert checks.paths == ["/start", "/0"]


def test_a_paused_run_only_writes_into_the_log(newest: World, checks: Checks) -> None:
    with Database(newest.settings).connect() as connection:
        pause(connection, PAYROLL, now=newest.at(MONDAY).now(), until=None)
        connection.commit()
    assert go(watched(newest, checks)).status == "skipped"
    assert checks.paths == ["/log"]


def test_a_run_that_meets_an_earlier_one_writes_into_the_log(newest: World, checks: Checks) -> None:
    newest.environment["KIBRAY_OPS_LOCK_TIMEOUT"] = "1"
    with start(newest, "sleep", "seconds=30") as earlier:
        wait_until(lambda: bool(newest.runs()))
        job = sample("sleep", cron="0 7 * * *")
        found = watched(newest, checks).settings
        report = execute(job, settings=found, clock=newest.at(MONDAY), trigger=Trigger.CRON)
        assert report.status == "skipped"
        skips = [run["error"] for run in newest.runs() if run["status"] == "skipped"]
        earlier.terminate()
        earlier.communicate(timeout=30)
    assert checks.of("sample-sleep") == ["/log"]
    # On SQLite it is not recorded while the other run writes: nobody waits for that.
    assert skips == ["Run 1 of sample-sleep was still under way."] * (newest.engine == "postgresql")


def test_a_further_attempt_of_a_run_is_no_news(pg_world: World, checks: Checks) -> None:
    ATTEMPTS.clear()
    assert go(watched(pg_world, checks), "fail_twice").exit_code == 0
    assert checks.paths == ["/start", "/0"]


def test_the_undertaker_tells_of_the_same_run(newest: World, checks: Checks, sky: Sky) -> None:
    newest.project("Elm St", address="1110 Washington Ave, Golden, CO 80401")
    sky.geocoder_faults = [Reply(b"{}", delay=20)]
    limits = {f"KIBRAY_OPS_{which}_TIME_LIMIT": "1" for which in ("SOFT", "HARD")}
    watched(newest, checks).environment |= limits
    assert newest.run("weather", "fetch-snapshots").returncode == 124
    assert checks.of("fetch-weather-snapshots") == ["/start", "/124"]
    assert len(checks.runs) == 1


# ---- whatever goes wrong


@pytest.mark.parametrize(
    ("faults", "asked"),
    [
        ([Reply(b"", 500)] * 2, 4),  # the start at the third try, then the end
        ([Reply(b"", 429)] * 3 + [Reply(b"", 503)] * 3, 6),
        ([Reply(b"no such check", 404), Reply(b"two of that name", 409)], 2),
    ],
)
def test_tries_are_few_and_the_run_does_not_suffer(
    sqlite_world: World, checks: Checks, faults: list[Reply], asked: int
) -> None:
    checks.faults = list(faults)
    assert go(watched(sqlite_world, checks)).exit_code == 0
    assert len(checks.heard) == asked


@pytest.mark.parametrize("url", ["http://127.0.0.1:9", "http://nowhere.invalid/key", "https://127.0.0.1:9/x?create=1"])
def test_a_server_that_is_not_there(sqlite_world: World, url: str) -> None:
    sqlite_world.environment["KIBRAY_OPS_PING_URL"] = url
    assert go(sqlite_world).exit_code == 0


def test_nobody_waits_for_a_server_that_hangs(
    sqlite_world: World, checks: Checks, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not for one that is silent, and not for one that sends a little now and then."""
    monkeypatch.setattr("kibray_ops.heartbeat.TIMEOUT", 0.3)
    checks.faults = [Reply(b"", delay=2)] * 3 + [Reply(b"x" * 100, trickle=1)] * 3
    assert go(watched(sqlite_world, checks)).exit_code == 0
    assert len(checks.heard) == 4  # a body that does not end is not waited for: its head has told all


def test_nobody_waits_for_a_head_that_does_not_end(sqlite_world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """httpx's own time-out is for each piece, and the pieces keep coming."""
    monkeypatch.setattr("kibray_ops.heartbeat.TIMEOUT", 0.3)
    heard, over = [], Event()

    def drip(server: socket.socket) -> None:
        while not over.is_set():
            with suppress(OSError):
                client, _ = server.accept()
                heard.append(client)
                Thread(target=feed, args=(client,), daemon=True).start()

    def feed(client: socket.socket) -> None:
        with suppress(OSError), client:
            client.sendall(b"HTTP/1.1 200 OK\r\n")
            while not over.wait(0.1):
                client.sendall(b"X-More: x\r\n")

    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.2)
        Thread(target=drip, args=(server,), daemon=True).start()
        sqlite_world.environment["KIBRAY_OPS_PING_URL"] = f"http://127.0.0.1:{server.getsockname()[1]}/{KEY}"
        assert go(sqlite_world).exit_code == 0
        over.set()
    assert len(heard) == 6


def test_what_the_base_asks_for_is_kept(newest: World, checks: Checks) -> None:
    go(watched(newest, checks, "/?create=1"))
    assert checks.paths == ["/start", "/0"]
    assert [question.url.partition("?")[2].partition("&")[0] for question in checks.heard] == ["create=1"] * 2


def test_a_ping_that_does_not_arrive_is_told_without_its_key(sqlite_world: World, checks: Checks) -> None:
    checks.faults = [answer({"error": KEY}, 404)] * 2
    told = watched(sqlite_world, checks).run("invoices", "update-statuses")
    assert told.returncode == 0
    assert "the ping /start did not arrive: the server answered 404" in told.stderr
    assert KEY not in told.stdout + told.stderr + json.dumps([str(run) for run in sqlite_world.runs()])
    checks.faults = [Reply(b"", 404)] * 2
    sqlite_world.sql("DELETE FROM kibray_ops_run")
    told = here(sqlite_world, "--cron", "notifications", "send")
    assert (told.returncode, told.stdout, told.stderr) == (0, "", "")
