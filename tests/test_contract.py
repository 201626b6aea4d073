"""The contract that every job meets, over the registry."""

import inspect
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from threading import Timer
from typing import Any

import pytest
from sqlalchemy import event
from sqlalchemy.engine import Engine
from typer.models import ArgumentInfo

from kibray_ops import registry
from kibray_ops.cli.jobs import SHARED
from kibray_ops.registry import Job, Kind
from kibray_ops.report import Report, Trigger
from kibray_ops.runner import load
from tests.builder import Builder
from tests.here import here
from tests.test_payroll_generate import five_days
from tests.world import World, done

ROOT = Path(__file__).parent.parent
ALL = (*registry.JOBS, *registry.ACTIONS)


OPTIONS: dict[str, dict[str, Any]] = {
    "locate-project": {"project": "Elm St", "latitude": "39.7392", "longitude": "-104.9903"},
    "retry-deliveries": {"status": "failed"},
    "cancel-deliveries": {"status": "pending"},
    "restore-notifications": {"everything": True},
}
"""What a job cannot do without."""
WORDS = {
    "locate-project": ("Elm St", "39.7392", "-104.9903"),
    "retry-deliveries": ("--status", "failed"),
    "cancel-deliveries": ("--status", "pending"),
    "restore-notifications": ("--all",),
}
"""The same as it is typed."""


def name(job: Job) -> str:
    return job.name


@contextmanager
def counted() -> Iterator[list[str]]:
    """Collect the statements that are sent to any database."""
    statements: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        statements.append(statement)

    event.listen(Engine, "before_cursor_execute", note)
    try:
        yield statements
    finally:
        event.remove(Engine, "before_cursor_execute", note)


def test_the_ten_documented_jobs() -> None:
    assert len(registry.JOBS) == 10
    assert len({job.name for job in ALL}) == len(ALL)
    assert len({job.command for job in ALL}) == len(ALL)


def test_the_crontab_example_has_every_job() -> None:
    lines = (ROOT / "crontab.example").read_text().splitlines()
    for job in registry.JOBS:
        command = " ".join((*job.command, *job.arguments))
        assert any(line.startswith(job.cron or "?") and line.endswith(f"--cron {command}") for line in lines), job.name


@pytest.mark.parametrize("job", ALL, ids=name)
def test_summaries_are_one_sentence(job: Job) -> None:
    assert job.summary.endswith(".")
    assert job.summary.count(". ") == 0
    assert (inspect.getdoc(load(job)) or "").splitlines()[0] == job.summary


@pytest.mark.parametrize("job", ALL, ids=name)
def test_help_names_every_option(job: Job, sqlite_world: World) -> None:
    shown = here(sqlite_world, *job.command, "--help")
    assert shown.returncode == 0
    for parameter in inspect.signature(load(job), eval_str=True).parameters.values():
        declared = next(iter(getattr(parameter.annotation, "__metadata__", ())), None)
        if isinstance(declared, ArgumentInfo):
            assert f" {declared.metavar} " in shown.stdout
        elif parameter.name != "run":
            spelled = getattr(declared, "default", None)  # where Typer puts an option's first name
            named = isinstance(spelled, str) and spelled.startswith("--")
            assert (spelled if named else f"--{parameter.name.replace('_', '-')}") in shown.stdout
    for option in ("json" if option == "as_json" else option for option in SHARED):
        assert f"--{option.replace('_', '-')}" in shown.stdout


ENVELOPE = [
    "schema", "job", "run_id", "status", "exit_code", "dry_run", "trigger", "slot", "as_of", "started_at",
    "finished_at", "result", "rows", "problems", "error",
]  # fmt: skip
"""What `--json` prints, whatever has become of the run."""
GUIDES_KEYS = {
    "update-invoice-statuses": {"date", "updated"},
    "cleanup-old-notifications": {"archived", "cutoff"},
    "fetch-weather-snapshots": {"date", "created", "updated", "total_projects", "errors"},
    "update-daily-plans-weather": {"updated", "skipped_no_address", "skipped_recent", "errors"},
    "check-overdue-invoices": {"date", "updated"},
    "generate-weekly-payroll": {"period_id", "week", "records"},
    "check-inventory-shortages": {"date", "low_stock_count", "items_checked"},
    "alert-high-priority-touchups": {"date", "alerts_sent", "threshold"},
    "alert-incomplete-daily-plans": {"alerted", "time"},
    "send-pending-notifications": {"sent", "errors"},
}
"""What Kibray's tasks return: scripts that read it carry over (SPEC §2)."""


@pytest.mark.parametrize("job", [job for job in ALL if job.cron], ids=name)
def test_the_result_has_the_keys_of_kibrays_task(job: Job, world: World) -> None:
    told = json.loads(here(world, *job.command, *job.arguments, "--json").stdout)
    assert list(told) == ENVELOPE
    assert told["result"].keys() >= GUIDES_KEYS[job.name]


def reported(report: Report) -> Any:
    """Return what a report says, but for the ids of what only a real run makes."""
    made = ("period_id", "record_id", "deliveries")
    told = [{name: value for name, value in row.items() if name not in made} for row in (report.result, *report.rows)]
    return told, report.problems


@pytest.mark.all_four
@pytest.mark.parametrize("job", ALL, ids=name)
def test_a_dry_run_changes_nothing_and_a_second_run_neither(job: Job, world: World) -> None:
    fill(world, 3)
    before = world.dump()
    options = OPTIONS.get(job.name, {})
    dry = done(world.execute(job, dry_run=True, **options))
    assert world.dump() == before
    real = done(world.execute(job, **options))
    assert reported(dry) == reported(real)
    once = world.dump(own=False)
    done(world.execute(job, **options))
    assert world.dump(own=False) == once


@pytest.fixture(scope="session")
def crowd(builder: Builder, tmp_path_factory: pytest.TempPathFactory) -> Callable[[World, int], World]:
    """Make databases like another with so many people in them; each is filled once and copied."""
    filled: dict[tuple[str, str, int], World] = {}

    def make(like: World, people: int) -> World:
        key = like.engine, like.version, people
        if key not in filled:
            filled[key] = builder.build(like.engine, like.version, tmp_path_factory.mktemp("crowd"))
            fill(filled[key], people)
        made = builder.copy(filled[key], like.directory)
        made.environment = like.environment
        return made

    return make


@pytest.mark.parametrize("job", ALL, ids=name)
def test_the_number_of_statements_does_not_grow_with_the_rows(
    job: Job, world: World, crowd: Callable[[World, int], World], builder: Builder
) -> None:
    counts = {}
    for people in (10, 1000):
        copy = crowd(world, people)
        with counted() as statements:
            done(copy.execute(job, **OPTIONS.get(job.name, {})))
        counts[people] = len(statements)
        builder.drop(copy)
    assert counts[10] == counts[1000]
    assert counts[10] < (40 if job.kind is Kind.ATOMIC else 60)  # a transaction for each item begins anew


def fill(world: World, people: int) -> None:
    """Employ many people with a week of hours each, and as many of all else that jobs look at, in a few statements."""
    world.office()
    model = world.employee("Model Person")
    five_days(world, model, "9.00")
    world.invoice("model", "SENT", "2025-10-01")
    world.item("model", "5", "1")
    project, planner = world.rows("core_project")[0]["id"], world.user("planner", staff=False)
    world.sql("UPDATE core_project SET address = '3120 W 32nd Ave, Denver, CO 80211'")
    world.manages(planner, project)
    world.plan(project, "2024-01-01", planner)
    world.plan(project, "2025-11-24", planner, "PUBLISHED")
    for _ in range(3):
        world.touchup(project)
    notifications(world, people)
    numbers = (
        f"(WITH RECURSIVE n(i) AS (SELECT 2 UNION ALL SELECT i + 1 FROM n WHERE i < {people}) SELECT i FROM n) AS n"
    )

    def copy(table: str, source: str, **changed: str | None) -> None:
        """Copy the model's rows for every row of a source n; None leaves a column out."""
        kept = [name for name in world.rows(table)[0] if name not in ("id", *changed)]
        new = {name: value for name, value in changed.items() if value and name in world.rows(table)[0]}
        world.sql(
            f"INSERT INTO {table} ({', '.join((*kept, *new))}) "
            f"SELECT {', '.join((*(f'm.{name}' for name in kept), *new.values()))} FROM {table} m, {source}"
        )

    unique = {"social_security_number": "n.i", "employee_key": "n.i", "user_id": None}
    copy("core_employee", numbers, **unique)
    copy("core_timeentry", f"core_employee AS n WHERE n.id <> {model}", employee_id="n.id")
    copy("core_invoice", numbers, invoice_number="'i' || n.i")
    copy("core_inventoryitem", numbers, sku="'i' || n.i")
    copy("core_project", numbers, project_code="'p' || n.i", name="'p' || n.i")
    for table in ("core_dailyplan", "core_clientprojectaccess", "core_task"):
        copy(table, f"core_project AS n WHERE n.id <> {project}", project_id="n.id")


def notifications(world: World, count: int) -> None:
    """Tell somebody many things: new ones, old ones that were read, some in the outbox, some in the archive."""
    reader = world.user("reader", staff=False)
    many = f"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {count})"
    columns = "user_id, notification_type, title, message, related_object_type, link_url, is_read, created_at"
    for is_read, day in ((True, "2025-09-01"), (True, "2025-10-01"), (False, "2025-11-24")):
        world.sql(
            f"INSERT INTO core_notification ({columns}) {many} SELECT {reader}, 'alert', 'Notice', '', '', '', ?, ? "
            f"FROM n",
            is_read, datetime.fromisoformat(f"{day}T10:00+00:00"),
        )  # fmt: skip
        if day == "2025-09-01":
            done(world.execute("cleanup-old-notifications", at="2025-10-20T02:00"))
    moment = datetime(2025, 11, 23, 12, tzinfo=UTC)
    for number, status in enumerate(("failed", "pending"), 1):
        world.sql(
            f"INSERT INTO kibray_ops_delivery (notification_id, channel, user_id, status, attempts, queued_at, "
            f"next_attempt_at, expires_at, run_id) {many} SELECT {number}000000 + i, 'email', {reader}, '{status}', 1, "
            f"?, ?, ?, 1 FROM n",
            moment, moment, moment,
        )  # fmt: skip


def while_held(world: World, job: Job, trigger: Trigger = Trigger.MANUAL) -> Report:
    """Return what becomes of a job while another run holds its lock."""
    from kibray_ops.database import Database, Lock

    lock = Lock(Database(world.settings), job.lock_name)
    with lock.database.connect() as connection:
        assert lock.acquire(connection)
        report = world.execute(job, trigger=trigger, **OPTIONS.get(job.name, {}))
        lock.release()
    return report


@pytest.mark.parametrize("job", ALL, ids=name)
def test_two_at_once_one_works_and_the_other_exits_75(job: Job, world: World) -> None:
    world.project()
    options = OPTIONS.get(job.name, {})
    done(world.execute(job, **options))
    world.sql("UPDATE kibray_ops_run SET status = 'running', finished_at = NULL")
    report = while_held(world, job)
    assert report.exit_code == 75
    assert f"{job.name} is already running on" in str(report.error)
    done(world.execute(job, **options))


def test_a_lock_whose_holder_has_no_record_yet_is_waited_for_and_left(world: World) -> None:
    assert while_held(world, ALL[0]).exit_code == 75


def test_a_run_of_the_schedule_leaves_as_soon_as_its_slot_is_done(world: World) -> None:
    """Another host holds the lock, and is done a moment after we have looked: we do not look for it 40 times."""
    done(world.execute(ALL[0]))
    world.sql("UPDATE kibray_ops_run SET status = 'failed'")
    other = Timer(0.1, world.sql, ("UPDATE kibray_ops_run SET status = 'succeeded'",))
    other.start()
    with counted() as statements:
        report = while_held(world, ALL[0], Trigger.CRON)
    other.join()
    assert (report.status, report.exit_code) == ("skipped", 0)
    assert len(statements) < 60


@pytest.mark.parametrize("job", ALL, ids=name)
def test_an_error_is_recorded_and_exits_1_without_a_traceback(job: Job, world: World) -> None:
    """The application has a column of another type than we know: nobody could foresee that."""
    world.add("core_payrollperiod")
    world.sql("ALTER TABLE core_payrollperiod RENAME COLUMN status TO was_status")
    kind = "integer" if world.engine == "sqlite" else "integer DEFAULT 1"
    world.sql(f"ALTER TABLE core_payrollperiod ADD COLUMN status {kind}")
    world.sql("ALTER TABLE core_payrollrecord RENAME COLUMN week_start TO was_week_start")
    world.sql("ALTER TABLE core_payrollrecord ADD COLUMN week_start text")
    world.sql("DROP TABLE core_payrollpayment")
    world.sql("ALTER TABLE core_invoice RENAME COLUMN due_date TO was_due_date")
    world.sql("ALTER TABLE core_invoice ADD COLUMN due_date boolean")
    world.sql("ALTER TABLE core_invoice RENAME COLUMN amount_paid TO was_paid")
    for table, column in (
        ("core_inventoryitem", "no_threshold"), ("core_task", "priority"), ("core_dailyplan", "completion_deadline"),
        ("core_weathersnapshot", "source"), ("core_notification", "title"), ("kibray_ops_delivery", "attempts"),
        ("kibray_ops_notification_archive", "content"),
    ):  # fmt: skip
        world.sql(f"ALTER TABLE {table} RENAME COLUMN {column} TO was_{column}")
    if job.name in OPTIONS:
        world.sql("ALTER TABLE core_project RENAME COLUMN address TO was_address")
    ended = here(world, *job.command, *WORDS.get(job.name, ()), "--json")
    told = json.loads(ended.stdout)
    assert ended.returncode in (1, 78)
    assert list(told) == ENVELOPE
    assert told["error"]["message"]
    assert "Traceback" not in ended.stderr
