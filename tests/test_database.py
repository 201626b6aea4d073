"""Both databases: values stored as Django stores them, our own tables, what is missing, and what a role needs."""

import signal
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal as D
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import insert, select, text, update
from sqlmodel import Session, col

from kibray_ops import provision, registry, settings
from kibray_ops.catalog import read_catalog, table_of
from kibray_ops.database import Database
from kibray_ops.errors import DatabaseMissing, TablesMissing, UsageError
from kibray_ops.models.kibray.base import Kibray
from kibray_ops.models.kibray.payroll import PayrollPeriod, PayrollRecord
from kibray_ops.models.operations import HEAD, KNOWN_REVISIONS, VERSION_TABLE, Operations
from tests.here import here
from tests.world import LONG_AGO, SCHEMA, World

MOMENT = datetime(2026, 1, 1, 5, 0, tzinfo=timezone(timedelta(hours=-7)))


def test_every_mapped_column_is_kibrays(world: World) -> None:
    """No column is invented, none is mapped that is missing in a version, except where it is declared optional."""
    tables = provision.kibray_tables()
    optional = {model.__tablename__: {c.name for c in model.optional} for model in Kibray.__subclasses__()}
    for name, table in tables.items():
        if name in provision.LATER_TABLES and name not in SCHEMA[world.version]:
            continue
        kibrays = {column["name"]: column for column in SCHEMA[world.version][name]["columns"]}
        mapped = {column.name for column in table.columns}
        assert mapped <= set(kibrays), name
        assert not mapped & {"password", "social_security_number"}
        for column in table.columns:
            assert column.nullable == kibrays[column.name]["null"], f"{name}.{column.name}"
            expected, length = kibrays[column.name]["postgresql"], getattr(column.type, "length", None)
            if expected.startswith("character varying"):
                assert expected == f"character varying({length})", f"{name}.{column.name}"
        either = set().union(*({c["name"] for c in SCHEMA[v][name]["columns"]} for v in SCHEMA if name in SCHEMA[v]))
        assert optional[name] <= either


def test_values_are_stored_as_django_stores_them(newest: World) -> None:
    database = Database(newest.settings)
    table = table_of(PayrollPeriod)
    values: dict[str, Any] = {
        "week_start": date(2026, 1, 5),
        "week_end": date(2026, 1, 11),
        "created_at": MOMENT,
        "status": "draft",
        "notes": "",
        "validation_errors": [{"a": None}],
        "approved_at": MOMENT.replace(microsecond=1500),
    }
    with database.connect() as connection:
        connection.execute(insert(table).values(**values))
        connection.commit()
        (row,) = connection.execute(select(table)).mappings()
    assert row["created_at"] == MOMENT
    assert row["created_at"].tzinfo is UTC
    (raw,) = newest.sql("SELECT * FROM core_payrollperiod")
    if newest.engine == "sqlite":
        assert raw["created_at"] == "2026-01-01 12:00:00"
        assert raw["approved_at"] == "2026-01-01 12:00:00.001500"
        assert raw["week_start"] == "2026-01-05"
        assert raw["validation_errors"] == '[{"a": null}]'
    assert newest.rows("core_payrollperiod")[0]["created_at"] == MOMENT


def test_rows_that_django_wrote_are_found_by_equality_and_at_the_edge(newest: World) -> None:
    period = newest.add("core_payrollperiod", created_at=MOMENT)
    with Database(newest.settings).connect(read_only=True) as connection:
        for condition in (col(PayrollPeriod.created_at) == MOMENT, col(PayrollPeriod.created_at) >= MOMENT):
            assert connection.execute(select(col(PayrollPeriod.id)).where(condition)).scalars().all() == [period]


@pytest.mark.parametrize("value", ["0.00", "100.00", "19.99", "-5.10", "99999999.99", "0.07", "1234567.80"])
def test_decimals_keep_every_cent(newest: World, value: str) -> None:
    employee = newest.employee()
    record = newest.add("core_payrollrecord", employee_id=employee, gross_pay=D(value), project_hours={})
    with Session(Database(newest.settings).writer) as session:
        read = session.get_one(PayrollRecord, record)
        assert read.gross_pay == D(value)
        assert isinstance(read.gross_pay, D)
        session.execute(update(PayrollRecord).values(net_pay=read.gross_pay))
        session.commit()
    assert newest.rows("core_payrollrecord")[0]["net_pay"] == D(value)
    if newest.engine == "sqlite":
        kinds = newest.sql("SELECT typeof(gross_pay) AS django, typeof(net_pay) AS ours FROM core_payrollrecord")[0]
        assert kinds["django"] == kinds["ours"]


def test_a_naive_moment_is_refused(newest: World) -> None:
    with Database(newest.settings).connect() as connection, pytest.raises(Exception, match="needs a time zone"):
        connection.execute(update(PayrollPeriod).values(created_at=MOMENT.replace(tzinfo=None)))


# ---- our own tables


def test_init_makes_our_tables_and_touches_no_other(bare: World) -> None:
    before = bare.dump()
    done = provision.init(Database(bare.settings), standalone=False, baseline=None, now=LONG_AGO)
    assert (done.revision_before, done.baseline, done.kibray_tables_made) == (None, LONG_AGO, False)
    after = bare.dump()
    assert {name: rows for name, rows in after.items() if name in before and name != "sqlite_sequence"} == {
        name: rows for name, rows in before.items() if name != "sqlite_sequence"
    }
    new = set(after) - set(before) - {"sqlite_sequence"}
    assert new == {VERSION_TABLE, *Operations.metadata.tables}
    again = provision.init(Database(bare.settings), standalone=False, baseline=None, now=LONG_AGO.replace(year=2030))
    assert (again.revision_before, again.baseline) == (HEAD, LONG_AGO)


def test_the_migrations_make_what_the_models_say(newest: World) -> None:
    with Database(newest.settings).connect() as connection:
        ours = lambda name, kind, *_: kind != "table" or (name or "").startswith("kibray_ops_")  # noqa: E731
        context = MigrationContext.configure(
            connection, opts={"version_table": VERSION_TABLE, "include_name": ours, "compare_type": False}
        )
        assert compare_metadata(context, Operations.metadata) == []


def test_head_is_the_newest_migration() -> None:
    scripts = ScriptDirectory(str(Path(provision.__file__).parent / "migrations"))
    assert scripts.get_current_head() == HEAD
    assert {script.revision for script in scripts.walk_revisions()} == set(KNOWN_REVISIONS)


@pytest.mark.parametrize(("revision", "hint"), [("9999", "Upgrade the program"), ("", "db init")])
def test_tables_of_another_revision_are_refused(newest: World, revision: str, hint: str) -> None:
    if revision:
        newest.sql(f"UPDATE {VERSION_TABLE} SET version_num = ?", revision)
    else:
        newest.sql(f"DROP TABLE {VERSION_TABLE}")
    report = newest.execute("generate-weekly-payroll")
    assert report.exit_code == 78
    assert hint in report.error.hint  # type: ignore[union-attr]


def test_an_old_revision_is_refused(newest: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kibray_ops.catalog.KNOWN_REVISIONS", ("0000", HEAD))
    newest.sql(f"UPDATE {VERSION_TABLE} SET version_num = '0000'")
    report = newest.execute("generate-weekly-payroll")
    assert (report.exit_code, "older" in str(report.error)) == (78, True)


def test_init_upgrades_the_first_revision_and_keeps_what_is_there(newest: World) -> None:
    newest.office()
    newest.invoice("A", "SENT", "2025-11-01")
    assert newest.execute("update-invoice-statuses").exit_code == 0
    later = (
        "kibray_ops_alert", "kibray_ops_place", "kibray_ops_forecast", "kibray_ops_delivery", "kibray_ops_suppression",
        "kibray_ops_notification_archive", "kibray_ops_pause", "kibray_ops_alarm",
    )  # fmt: skip
    for table in later:
        newest.sql(f"DROP TABLE {table}")
    newest.sql("ALTER TABLE kibray_ops_run DROP COLUMN exit_code")
    newest.sql(f"UPDATE {VERSION_TABLE} SET version_num = '0001'")
    old = newest.execute("check-overdue-invoices")
    assert (old.exit_code, "db init" in old.error.hint) == (78, True)  # type: ignore[union-attr]
    dry = newest.execute("check-overdue-invoices", dry_run=True)
    assert (dry.exit_code, dry.result["notifications"]) == (0, 1)
    before = newest.dump()
    done = here(newest, "db", "init")
    assert (done.returncode, "were upgraded" in done.stdout) == (0, True)
    after = newest.dump()
    before["kibray_ops_run"] = [(*row, "None") for row in before["kibray_ops_run"]]  # the exit code, unknown then
    assert {name: rows for name, rows in after.items() if name not in (*later, VERSION_TABLE)} == {
        name: rows for name, rows in before.items() if name != VERSION_TABLE
    }
    assert newest.execute("check-overdue-invoices").result["notifications"] == 1


# ---- standalone


def empty(world: World, tmp_path: Path) -> Database:
    if world.engine == "sqlite":
        world.url = f"sqlite:///{tmp_path / 'new.sqlite3'}"
    else:
        world.sql("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    return Database(world.settings)


def test_standalone_in_an_empty_database(bare: World, tmp_path: Path) -> None:
    database = empty(bare, tmp_path)
    if bare.engine == "sqlite":
        with pytest.raises(DatabaseMissing):
            provision.init(database, standalone=False, baseline=None, now=LONG_AGO)
    else:
        with pytest.raises(TablesMissing):
            provision.init(database, standalone=False, baseline=None, now=LONG_AGO)
    assert provision.init(database, standalone=True, baseline=None, now=LONG_AGO).kibray_tables_made
    with database.connect(read_only=True) as connection:
        catalog = read_catalog(connection)
    assert provision.gaps(catalog) == []
    assert catalog.has("core_timeentry", "cost_rate_snapshot")
    assert catalog.has("core_touchup")
    assert bare.execute("generate-weekly-payroll").exit_code == 0
    assert not provision.init(database, standalone=True, baseline=None, now=LONG_AGO).kibray_tables_made


def test_standalone_never_touches_a_database_that_has_something(bare: World, tmp_path: Path) -> None:
    database = empty(bare, tmp_path)
    if bare.engine == "sqlite":
        Path(bare.path).touch()
    bare.sql("CREATE TABLE customers (id integer)")
    before = bare.dump()
    with pytest.raises(UsageError, match="customers"):
        provision.init(database, standalone=True, baseline=None, now=LONG_AGO)
    assert bare.dump() == before


# ---- check and grants


def test_check_finds_nothing_missing_in_either_version(world: World) -> None:
    with Database(world.settings).connect(read_only=True) as connection:
        assert provision.gaps(read_catalog(connection)) == []


def test_check_names_tables_and_columns_and_what_stops_working(newest: World) -> None:
    newest.sql("DROP TABLE core_weathersnapshot")
    newest.sql("ALTER TABLE core_employee RENAME COLUMN hourly_rate TO rate")
    newest.sql("ALTER TABLE core_payrollrecord ADD COLUMN union_dues integer NOT NULL DEFAULT 0")
    if newest.engine == "postgresql":
        newest.sql("ALTER TABLE core_payrollrecord ALTER COLUMN union_dues DROP DEFAULT")
    with Database(newest.settings).connect(read_only=True) as connection:
        found = {gap.name: gap.commands for gap in provision.gaps(read_catalog(connection))}
    assert "payroll generate" in found["core_employee.hourly_rate"]
    assert "weather fetch-snapshots" in found["core_weathersnapshot"]
    if newest.engine == "postgresql":
        assert found["core_payrollrecord.union_dues"] == ("payroll generate",)
        newest.sql("ALTER TABLE core_employee RENAME COLUMN rate TO hourly_rate")
    report = newest.execute("generate-weekly-payroll")
    assert report.exit_code == 78
    assert ("union_dues" if newest.engine == "postgresql" else "hourly_rate") in str(report.error)


def test_a_table_that_later_versions_have_has_to_be_whole_where_it_is(newest: World) -> None:
    newest.sql("ALTER TABLE core_touchup RENAME COLUMN title TO was_title")
    with Database(newest.settings).connect(read_only=True) as connection:
        found = {gap.name: gap.commands for gap in provision.gaps(read_catalog(connection))}
    assert found == {"core_touchup.title": ("touchups alert",)}
    report = newest.execute("alert-high-priority-touchups")
    assert (report.exit_code, "core_touchup.title" in str(report.error)) == (78, True)
    newest.sql("DROP TABLE core_touchup")
    assert newest.execute("alert-high-priority-touchups").exit_code == 0


def test_a_table_of_ours_that_is_lost_is_named(newest: World) -> None:
    newest.sql("DROP TABLE kibray_ops_alert")
    for done in (here(newest, "inventory", "check-shortages"), here(newest, "db", "check")):
        assert done.returncode == 78
        assert "kibray_ops_alert" in done.stdout + done.stderr
    assert here(newest, "inventory", "check-shortages", "--dry-run").returncode == 0


def test_a_database_without_kibrays_tables(bare: World, tmp_path: Path) -> None:
    database = empty(bare, tmp_path)
    if bare.engine == "sqlite":
        Path(bare.path).touch()
    report = bare.execute("generate-weekly-payroll", dry_run=True)
    assert report.exit_code == 78
    assert "not Kibray's database" in str(report.error)
    assert database.url


# ---- what is no database


def test_what_a_signal_interrupts_in_the_middle_of_reading_lets_the_file_go(sqlite_world: World) -> None:
    """SQLAlchemy drops the connection, and whoever holds the error holds a cursor that is half read."""
    world = sqlite_world
    for number in range(3):
        world.user(f"user {number}")

    def be_interrupted() -> None:
        with Database(world.settings).connect() as connection:
            connection.execute(text("DELETE FROM auth_user WHERE id = 1"))
            next(iter(connection.execute(text("SELECT id FROM auth_user"))))
            signal.setitimer(signal.ITIMER_REAL, 0.01)
            long = "WITH RECURSIVE r(n) AS (SELECT 1 UNION SELECT n + 1 FROM r LIMIT 300000) SELECT max(n) FROM r"
            connection.execute(text(long))

    before = signal.signal(signal.SIGALRM, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt) as held:
            be_interrupted()
    finally:
        signal.signal(signal.SIGALRM, before)
    world.user("somebody else")
    assert len(world.sql("SELECT id FROM auth_user")) == 4, held


def test_files_that_are_no_database(tmp_path: Path) -> None:
    file = tmp_path / "notes.sqlite3"
    file.write_text("this is not a database, but it is long enough to be read as one" * 50)
    world = World(f"sqlite:///{file}", "sqlite", "2026-06", tmp_path)
    assert world.execute("generate-weekly-payroll").exit_code == 78
    world.url = f"sqlite:///{tmp_path / 'missing.sqlite3'}"
    report = world.execute("generate-weekly-payroll")
    assert report.exit_code == 78
    assert not (tmp_path / "missing.sqlite3").exists()


def test_the_embedded_default_names_the_three_ways_on(tmp_path: Path) -> None:
    found = settings.load(environ={"HOME": str(tmp_path), "KIBRAY_OPS_TIMEZONE": "UTC"})
    error = Database(found)._no_file()
    assert all(way in error.hint for way in ("demo", "db init --standalone", "DATABASE_URL"))


def test_registry_names_tables_that_exist(world: World) -> None:
    for job in (*registry.JOBS, *registry.ACTIONS):
        assert set(job.tables) <= set(SCHEMA[world.version]), job.name
