"""Bad contents: whatever a database holds, a job does its work or names the value, and never half of anything."""

import json
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, redirect_stderr, redirect_stdout
from datetime import UTC, datetime
from io import StringIO
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import pytest
from sqlalchemy import Table

from kibray_ops import registry
from kibray_ops.cli import render
from kibray_ops.database import to_json
from kibray_ops.errors import UnreadableValue
from kibray_ops.models.kibray.base import Kibray
from kibray_ops.models.operations import Operations
from kibray_ops.registry import Kind
from kibray_ops.report import Report
from kibray_ops.runner import load
from tests import here
from tests.builder import Builder
from tests.sky import Sky
from tests.test_contract import ALL, OPTIONS, fill
from tests.world import ALL_JOBS, SCHEMA, VERSIONS, World, done

NO_UTF8 = "CAST(x'80' AS TEXT)"
SURROGATE = "CAST(x'eda080' AS TEXT)"
DEEP = "replace(printf('%.*c', {0}, 'x'), 'x', '[') || replace(printf('%.*c', {0}, 'x'), 'x', ']')"
MOMENTS = ("''", "'not a date'", "20250101", "1e300", "x'00'", NO_UTF8)
SQLITE: dict[str, tuple[str, ...]] = {
    "text": ("printf('%.*c', 10000000, 'x')", "'a' || char(0) || 'b'", NO_UTF8, SURROGATE, "x'80ff'", "42", "''",
             "char(27) || '[31m' || char(10) || char(8238)"),
    "date": ("'0001-01-01'", "'9999-12-31'", "'0000-00-00'", "'99999-01-01'", "'2025-11-31'", *MOMENTS),
    "timestamp": ("'0001-01-01 00:00:00'", "'9999-12-31 23:59:59.999999'", "'0000-00-00 00:00:00'",
                  "'99999-01-01 00:00:00'", "'2025-11-24T10:00:00Z'", *MOMENTS),
    "time": ("'25:00:00'", "'08:00:00.123456'", *MOMENTS),
    "numeric": ("'NaN'", "9e999", "-9e999", "'abc'", "''", "1e300", "-1e300", "-5", "99999999999999", "x'00'", NO_UTF8),
    "boolean": ("'true'", "2", "''", "x'00'", "1.5"),
    "integer": ("999999", "-1", "'abc'", "1e19", "''", "x'00'", "1.5", NO_UTF8),
    "jsonb": ("'5'", "'\"x\"'", "'null'", "'true'", "'[]'", "'{\"a\": 1, \"a\": 2}'", "'[NaN]'", "'[1e999]'", "''",
              DEEP.format(900), DEEP.format(100_000), "'not json'", "x'00'", NO_UTF8, "'\"\\ud800\"'",
              "'[null, 1, \"x\", {\"type\": null}, {\"type\": []}, {\"type\": \"overlap\", \"employee_id\": \"x\"}]'"),
}  # fmt: skip
"""What SQLite keeps in a column of each kind: anything; as SQL writes it."""
KINDS = {"character": "text", "bigint": "integer", "smallint": "integer"}
SQLITE["word"] = tuple(value for value in SQLITE["text"] if not value.startswith("x'"))
"""Text that only we write: nobody puts a BLOB there."""
OWN_KINDS = {"AutoString": "word", "Text": "word", "Moment": "timestamp", "Amount": "numeric", "JSON": "jsonb",
             "Date": "date"}  # fmt: skip
REPORTS = (("invoices", "aging"), ("notifications", "outbox", "list"), ("notifications", "archive", "list"))
OWN_REPORTS = (("status",), ("runs", "list"), ("catch-up", "--dry-run"), ("doctor",))


class Poison(NamedTuple):
    """A value that somebody has put into a column of one row."""

    table: str
    column: str
    value: str


def _kind(declared: str) -> str:
    word = declared.partition(" ")[0].partition("(")[0]
    return KINDS.get(word, word)


def _poisons() -> Iterator[Poison]:
    for job in ALL:
        load(job)  # and with it the tables that it needs
    for name, table in {**Kibray.metadata.tables, **Operations.metadata.tables}.items():
        for column, kind in _columns(name, table).items():
            yield from (Poison(name, column, value) for value in SQLITE[kind])


def _columns(name: str, table: Table) -> dict[str, str]:
    """Return the columns that jobs read or copy, and the kind of each."""
    if name not in SCHEMA[VERSIONS[-1]]:
        return {column.name: OWN_KINDS.get(type(column.type).__name__, "integer") for column in table.columns}
    mapped = {column.name for model in Kibray.__subclasses__() for column in model.optional} | set(table.columns.keys())
    return {
        column["name"]: _kind(column["postgresql"])
        for column in SCHEMA[VERSIONS[-1]][name]["columns"]
        if column["name"] in mapped
    }


POISONS = tuple(_poisons())


def _reading(table: str) -> list[registry.Job]:
    return [job for job in ALL if table in (*job.tables, *job.reads_later, *Operations.metadata.tables)]


@pytest.fixture(scope="module")
def filled(builder: Builder, _server: Sky, tmp_path_factory: pytest.TempPathFactory) -> World:
    """A SQLite database in which every table that jobs read has rows."""
    world = builder.build("sqlite", VERSIONS[-1], tmp_path_factory.mktemp("filled"))
    world.environment |= _server.environment
    fill(world, 3)
    owner, project = world.user(), world.rows("core_project")[0]["id"]
    world.add("core_profile", user_id=owner, role="admin", language="es")
    world.add("core_touchup", project_id=project, title="Drip", status="open", priority="urgent")
    world.add("core_projectmanagerassignment", project_id=project, pm_id=owner, role="pm")
    world.add("core_notificationpreference", user_id=owner, email_enabled=True)
    for at in ("2025-11-17T07:00", "2025-11-24T07:00"):
        done(world.execute("generate-weekly-payroll", at=at))
    done(world.execute("fetch-weather-snapshots", at="2025-11-23T07:00"))
    since = "2025-11-01 10:00:00"
    world.sql("INSERT INTO kibray_ops_pause (job, since) VALUES ('check-overdue-invoices', ?)", since)
    world.sql("INSERT INTO kibray_ops_alarm (job, since, reason) VALUES ('check-overdue-invoices', ?, 'late')", since)
    world.sql("INSERT INTO kibray_ops_suppression VALUES ('sms', '+13035550100', 'STOP', ?)", since)
    return world


def poisoned(filled: World, poison: Poison, directory: Path) -> World | None:
    """Return a copy with one bad value, in the newest row; None where the table does not take it."""
    file = directory / "kibray.sqlite3"
    shutil.copy(filled.path, file)
    newest = f"(SELECT max(rowid) FROM {poison.table})"
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        connection.execute("PRAGMA ignore_check_constraints = ON")
        try:
            connection.execute(f'UPDATE {poison.table} SET "{poison.column}" = {poison.value} WHERE rowid = {newest}')
        except sqlite3.IntegrityError:
            return None
    return World(f"sqlite:///{file}", "sqlite", filled.version, directory, environment=filled.environment)


def dump(world: World) -> dict[str, list[Any]]:
    """Return every row but the run records, whatever it holds."""
    if world.engine == "postgresql":
        names = world.sql("SELECT tablename AS name FROM pg_tables WHERE schemaname = 'public'")
        return {
            row["name"]: world.sql(f"SELECT t::text AS row FROM {row['name']} AS t ORDER BY 1")
            for row in names
            if row["name"] != "kibray_ops_run"
        }
    with closing(sqlite3.connect(world.path)) as connection:
        connection.text_factory = bytes
        names = [name.decode() for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        kept = [name for name in names if name not in ("kibray_ops_run", "sqlite_sequence")]
        return {name: connection.execute(f'SELECT * FROM "{name}"').fetchall() for name in kept}


def bear(world: World, job: registry.Job, poison: Poison, *, dry_run: bool) -> Report:
    """Let a job meet a bad value; see that it ends as documented and has written all or nothing."""
    before = dump(world)
    report = world.execute(job, dry_run=dry_run, **OPTIONS.get(job.name, {}))
    shown = json.loads(to_json(render.envelope(report, world.settings)))
    with redirect_stdout(StringIO()), redirect_stderr(StringIO()) as errors:
        render.report(job, report, world.settings, render.Output(), to_stdout=False)
    where = (poison, job.name, dry_run, report.error, report.traceback)
    assert report.exit_code in (0, 1, 3, 75, 78), where
    assert "that it does not know" not in errors.getvalue(), where
    if report.error is not None:
        assert len(errors.getvalue().splitlines()[-2:]) == 2
        assert shown["error"]["hint"]
        if isinstance(report.error, UnreadableValue):
            assert f"{poison.table}.{poison.column} in the row" in report.error.message
            assert report.error.message.count(f"{poison.table}.{poison.column}") == 1
    if dry_run or (report.error is not None and job.kind is Kind.ATOMIC):
        assert dump(world) == before, where
    return report


def test_whatever_a_column_holds(filled: World, tmp_path: Path, long: bool) -> None:
    """A sample, the same every time; with --long every value in every column, and every job and report on it."""
    assert len(POISONS) > 1_500
    unreadable = 0
    for poison in POISONS if long else Random(9).sample(POISONS, 25):
        if (world := poisoned(filled, poison, tmp_path)) is None:
            continue
        jobs = _reading(poison.table)
        for job in jobs if long else Random(str(poison)).sample(jobs, min(3, len(jobs))):
            for dry_run in (True, False):
                unreadable += isinstance(bear(world, job, poison, dry_run=dry_run).error, UnreadableValue)
        for words in (*REPORTS, *OWN_REPORTS) if long else Random(str(poison)).sample((*REPORTS, *OWN_REPORTS), 1):
            told = here.run(words, world.environ, world.directory)
            assert told.returncode in (0, 1, 3, 75, 78), (poison, words)
            assert "that it does not know" not in told.stdout + told.stderr, (poison, words)
            assert "Traceback" not in told.stderr
    assert unreadable


UNREADABLE = (
    ("core_invoice", "due_date", "'0000-00-00'", "check-overdue-invoices", "year 0 is out of range"),
    ("core_invoice", "invoice_number", NO_UTF8, "check-overdue-invoices", "Could not decode to UTF-8"),
    ("core_timeentry", "hours_worked", "'NaN'", "generate-weekly-payroll", "no number"),
    ("core_timeentry", "hours_worked", "1e300", "generate-weekly-payroll", "no number"),
    ("core_timeentry", "start_time", "'25:00:00'", "generate-weekly-payroll", "hour must be in 0..23"),
    ("core_employee", "hourly_rate", "9e999", "generate-weekly-payroll", "no number"),
    ("core_employee", "first_name", SURROGATE, "generate-weekly-payroll", "Could not decode to UTF-8"),
    ("core_payrollperiod", "validation_errors", DEEP.format(100_000), "generate-weekly-payroll", "recursion"),
    ("core_project", "name", "x'80ff'", "fetch-weather-snapshots", "bytes in place of str"),
    ("core_inventoryitem", "name", NO_UTF8, "check-inventory-shortages", "Could not decode to UTF-8"),
    ("core_touchup", "created_at", "x'00'", "alert-high-priority-touchups", "argument must be str"),
    ("kibray_ops_delivery", "expires_at", "'99999-01-01 00:00:00'", "send-pending-notifications", "isoformat"),
)  # fmt: skip


@pytest.mark.parametrize(("table", "column", "value", "job", "why"), UNREADABLE, ids=lambda word: ascii(word)[:30])
def test_what_cannot_be_read_is_named_by_its_place(
    filled: World, tmp_path: Path, table: str, column: str, value: str, job: str, why: str
) -> None:
    poison = Poison(table, column, value)
    world = poisoned(filled, poison, tmp_path)
    assert world is not None
    before = dump(world)
    for dry_run in (True, False):
        error = bear(world, ALL_JOBS[job], poison, dry_run=dry_run).error
        assert isinstance(error, UnreadableValue), error
        newest = world.sql(f"SELECT max(id) AS id FROM {table}")[0]["id"]
        assert f"{table}.{column} in the row {newest} (" in error.message
        assert why in error.message
        assert "Correct the value" in error.hint
    assert dump(world) == before
    record = world.sql("SELECT status, exit_code, error FROM kibray_ops_run ORDER BY id DESC LIMIT 1")[0]
    assert (record["status"], record["exit_code"], record["error"]) == ("failed", 1, error.account)


ON_POSTGRESQL = (
    ("core_invoice", "due_date", "'-infinity'", "check-overdue-invoices"),
    ("core_invoice", "due_date", "'0044-03-15 BC'", "check-overdue-invoices"),
    ("core_timeentry", "hours_worked", "'NaN'", "generate-weekly-payroll"),
    ("core_timeentry", "start_time", "'24:00'", "generate-weekly-payroll"),
    ("core_employee", "hourly_rate", "'NaN'", "generate-weekly-payroll"),
    ("core_dailyplan", "weather_fetched_at", "'20000-01-01'", "update-daily-plans-weather"),
    ("kibray_ops_delivery", "next_attempt_at", "'infinity'", "send-pending-notifications"),
)


def test_what_postgresql_holds_and_python_does_not(pg_world: World) -> None:
    """Each value is taken back before the next: a job that refuses one has written nothing but its record."""
    fill(pg_world, 3)
    for table, column, value, job in ON_POSTGRESQL:
        newest = pg_world.sql(f"SELECT max(id) AS id FROM {table}")[0]["id"]
        (was,) = pg_world.sql(f"SELECT {column} FROM {table} WHERE id = ?", newest)
        pg_world.sql(f"UPDATE {table} SET {column} = {value} WHERE id = ?", newest)
        before = dump(pg_world)
        for dry_run in (True, False):
            error = bear(pg_world, ALL_JOBS[job], Poison(table, column, value), dry_run=dry_run).error
            assert isinstance(error, UnreadableValue), (column, value, error)
            assert f"{table}.{column} in the row {newest} (" in error.message
        assert dump(pg_world) == before
        pg_world.sql(f"UPDATE {table} SET {column} = ? WHERE id = ?", was[column], newest)


def test_the_first_of_many_rows_is_found(newest: World) -> None:
    """Of each column, by its own row."""
    newest.office()
    ids = [newest.invoice(f"i{number}", "SENT", "2025-10-01") for number in range(40)]
    bad = "'-infinity'" if newest.engine == "postgresql" else "'0000-00-00'"
    newest.sql(f"UPDATE core_invoice SET due_date = {bad} WHERE id IN ({ids[22]}, {ids[30]})")
    newest.sql(f"UPDATE core_invoice SET total_amount = 'NaN' WHERE id = {ids[9]}")
    report = newest.execute("check-overdue-invoices")
    assert isinstance(report.error, UnreadableValue), report.error
    assert f"core_invoice.due_date in the row {ids[22]} (" in report.error.message
    assert f"core_invoice.total_amount in the row {ids[9]} (no number)" in report.error.message


def test_an_amount_that_is_no_number_is_told_and_holds_nobody_up(newest: World) -> None:
    """SQLite has a word in its place, PostgreSQL NaN: on both it is one odd invoice among good ones."""
    newest.office()
    good, odd = newest.invoice("good", "SENT", "2025-10-01"), newest.invoice("odd", "SENT", "2025-10-01")
    newest.sql("UPDATE core_invoice SET total_amount = 'NaN' WHERE id = ?", odd)
    report = done(newest.execute("check-overdue-invoices"))
    assert [(problem.kind, problem.subject) for problem in report.problems] == [("odd_amount", "odd")]
    assert {row["id"]: row["status"] for row in newest.sql("SELECT id, status FROM core_invoice")} == {
        good: "OVERDUE",
        odd: "SENT",
    }
    assert here.run(("invoices", "aging"), newest.environ, newest.directory).returncode == 0


def test_an_error_of_another_kind_is_not_blamed_on_a_value(newest: World) -> None:
    """Where all can be read, the failure itself is told."""
    newest.office()
    newest.invoice("a", "SENT", "2025-10-01")
    newest.sql("ALTER TABLE core_invoice RENAME COLUMN viewed_date TO was_viewed")
    report = newest.execute("check-overdue-invoices")
    assert report.error is not None
    assert not isinstance(report.error, UnreadableValue)


def test_a_word_in_place_of_an_amount_is_told_and_holds_nobody_up(sqlite_world: World) -> None:
    for number, amount in enumerate(("'a lot'", "9e999", "1e300", "x'00'")):
        odd = sqlite_world.invoice(f"odd {number}", "SENT", "2025-10-01")
        sqlite_world.sql(f"UPDATE core_invoice SET total_amount = {amount} WHERE id = {odd}")
    report = done(sqlite_world.execute("update-invoice-statuses"))
    assert [problem.kind for problem in report.problems] == ["odd_amount"] * 4


def test_reports_name_what_they_cannot_read(filled: World, tmp_path: Path) -> None:
    never = "'0000-00-00 00:00:00'"
    for table, column, value, words in (
        ("kibray_ops_run", "started_at", never, ("status",)),
        ("kibray_ops_run", "started_at", never, ("doctor",)),
        ("kibray_ops_run", "problems", "'5'", ("runs", "list")),
        ("kibray_ops_delivery", "queued_at", never, ("notifications", "outbox", "list")),
        ("kibray_ops_pause", "since", never, ("catch-up", "--dry-run")),
        ("core_invoice", "due_date", "'0000-00-00'", ("invoices", "aging")),
    ):
        world = poisoned(filled, Poison(table, column, value), tmp_path)
        assert world is not None
        told = here.run(words, world.environ, world.directory)
        assert told.returncode == 1
        assert f"{table}.{column} in the row " in (told.stderr + told.stdout).replace("\n", " ")


def test_a_blob_in_place_of_a_word_is_shown(filled: World, tmp_path: Path) -> None:
    """A period in a state that nobody knows is closed; it is told as JSON, and so recorded."""
    world = poisoned(filled, Poison("core_payrollperiod", "status", "x'80ff'"), tmp_path)
    assert world is not None
    report = done(world.execute("generate-weekly-payroll"))
    assert "\ufffd\ufffd" in json.loads(to_json(render.envelope(report, world.settings)))["result"].values()


def test_an_archived_row_that_is_none_stays_where_it_is(filled: World, tmp_path: Path) -> None:
    world = poisoned(filled, Poison("kibray_ops_notification_archive", "content", "'5'"), tmp_path)
    assert world is not None
    report = done(world.execute("restore-notifications", everything=True), code=3)
    assert [row["action"] for row in report.rows] == ["restored", "restored", "failed"]


def test_status_of_a_clock_that_was_put_back(newest: World) -> None:
    for _ in range(2):
        done(newest.execute("update-invoice-statuses"))
    last = newest.runs()[-1]["id"]
    newest.sql("UPDATE kibray_ops_run SET started_at = ? WHERE id = ?", datetime(2099, 1, 1, tzinfo=UTC), last)
    told = here.run(("status",), newest.environ, newest.directory)
    assert told.returncode in (0, 1)
    assert "▁" in told.stdout
