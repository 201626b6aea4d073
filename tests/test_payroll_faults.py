"""payroll generate when things go wrong: killed at any moment, several at once, in the application's way."""

import random
import signal
import threading
import time
from datetime import date
from decimal import Decimal as D
from typing import Any

import pytest

from tests.here import here
from tests.world import World, by_employee

PAYROLL = "generate-weekly-payroll"
WORDS = ("payroll", "generate", "--week", "--as-of", "2025-11-24T07:00")
STAFF = 40


def staff(world: World, count: int = STAFF) -> None:
    """Employ people; one in four is left without hours, so that all kinds of rows are made."""
    world.user()
    project = world.project()
    for number in range(count):
        employee = world.employee(f"Ana{number:03} Ruiz")
        for day in range(17, 17 + number % 4):
            world.entry(employee, f"2025-11-{day}", "9.25", project_id=project)


def slow_down(world: World) -> None:
    """Make every insert of a record take some 20 ms, so that a kill falls in between."""
    if world.engine == "postgresql":
        world.sql(
            "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN PERFORM pg_sleep(0.02); RETURN NEW; END $$"
        )
        world.sql("CREATE TRIGGER slow BEFORE INSERT ON core_payrollrecord FOR EACH ROW EXECUTE FUNCTION slow()")
    else:
        world.sql(
            "CREATE TRIGGER slow BEFORE INSERT ON core_payrollrecord BEGIN SELECT (WITH RECURSIVE n(i) AS "
            "(SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100000) SELECT count(*) FROM n); END"
        )


def business(world: World) -> list[Any]:
    """Return what the payroll means, without ids that a sequence has given out."""
    (period,) = world.rows("core_payrollperiod")
    records = by_employee(world)
    kept = [{k: v for k, v in records[e].items() if k not in ("id", "period_id")} for e in sorted(records)]
    assert {record["period_id"] for record in records.values()} == {period["id"]}
    return [{k: v for k, v in period.items() if k != "id"}, kept]


def test_killed_at_any_moment_and_run_again(world: World) -> None:
    staff(world)
    slow_down(world)
    chance = random.Random(world.url)
    for _ in range(5):
        with world.fork(*WORDS) as process:
            time.sleep(chance.uniform(0.05, 1.3))
            process.kill()
        assert len(world.rows("core_payrollrecord")) in (0, STAFF)  # all or nothing
    world.sql(f"DROP TRIGGER slow{' ON core_payrollrecord' if world.engine == 'postgresql' else ''}")
    end = time.monotonic() + 30
    while (last := here(world, *WORDS)).returncode == 75 and time.monotonic() < end:
        time.sleep(0.2)  # PostgreSQL notices the death of a client only when the statement ends
    assert last.returncode == 0, last.stderr
    disturbed = business(world)
    assert world.runs()[-1]["status"] == "succeeded"
    assert "running" not in {run["status"] for run in world.runs()}

    for table in ("core_payrollrecord", "core_payrollperiod", "kibray_ops_run", "kibray_ops_provenance"):
        world.sql(f"DELETE FROM {table}")
    assert here(world, *WORDS).returncode == 0
    assert business(world) == disturbed


def test_four_at_once_give_one_payroll(world: World) -> None:
    staff(world, 12)
    processes = [world.fork(*WORDS) for _ in range(4)]
    ended = [(process.communicate(timeout=120), process.returncode) for process in processes]
    codes = [code for _, code in ended]
    assert set(codes) <= {0, 75}, ended
    assert 0 in codes
    assert len(by_employee(world)) == 12
    assert len(world.rows("core_payrollperiod")) == 1
    made = world.sql("SELECT count(*) AS n FROM kibray_ops_provenance WHERE table_name = 'core_payrollrecord'")
    assert made[0]["n"] == 12


def test_ten_crons_at_once_are_one_run_and_all_are_silent(newest: World) -> None:
    staff(newest, 4)
    words = ("--cron", "payroll", "generate", "--week", "--as-of", "2025-11-24T07:00")
    processes = [newest.fork(*words) for _ in range(10)]
    ended = [(process.communicate(timeout=120), process.returncode) for process in processes]
    assert {(streams, code) for streams, code in ended} == {(("", ""), 0)}
    assert [(run["status"], run["slot"]) for run in newest.runs()] == [("succeeded", "2025-11-24T07:00")]


def test_sigterm_leaves_no_trace_but_the_record(newest: World) -> None:
    staff(newest)
    slow_down(newest)
    with newest.command(*WORDS) as process:
        while not newest.runs():
            assert process.poll() is None
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=30)
    if process.returncode == 0:
        pytest.skip("it was faster than the signal")
    assert process.returncode == 143
    assert newest.rows("core_payrollperiod") == []
    assert [run["status"] for run in newest.runs()] == ["interrupted"]


def test_the_manager_opens_the_page_while_the_payroll_runs(pg_world: World) -> None:
    """The application has inserted records and not committed yet: the run waits for it and makes no second ones."""
    staff(pg_world, 4)
    employees = [row["id"] for row in pg_world.rows("core_employee")]
    bounds = (date(2025, 11, 17), date(2025, 11, 23))
    period = pg_world.add("core_payrollperiod", week_start=bounds[0], week_end=bounds[1], status="draft")
    model = pg_world.add("core_payrollrecord", employee_id=employees[0], period_id=period, week_start=bounds[0], week_end=bounds[1], project_hours={"0": {"hours": 0}})  # fmt: skip  # noqa: E501
    names = [name for name in pg_world.rows("core_payrollrecord")[0] if name not in ("id", "employee_id")]
    columns = ", ".join(names)
    with pg_world.connect() as application:
        application.execute("BEGIN")
        application.execute(
            f"INSERT INTO core_payrollrecord (employee_id, {columns}) "
            f"SELECT e.id, {', '.join('r.' + name for name in names)} FROM core_payrollrecord r, core_employee e "
            f"WHERE r.id = {model} AND e.id <> r.employee_id"
        )
        process = pg_world.fork(*WORDS, "--json")
        time.sleep(1.5)
        assert process.returncode is None
        application.execute("COMMIT")
        process.communicate(timeout=60)
    assert process.returncode == 0
    assert len(by_employee(pg_world)) == 4


def test_the_application_adds_a_period_at_the_same_moment(pg_world: World) -> None:
    staff(pg_world, 4)
    with pg_world.connect() as application:
        application.execute("BEGIN")
        application.execute(
            "INSERT INTO core_payrollperiod (week_start, week_end, created_at, status, notes, validation_errors) "
            "VALUES ('2025-11-17', '2025-11-23', now(), 'draft', '', '[]')"
        )
        process = pg_world.fork(*WORDS)
        threading.Timer(1.0, application.execute, args=("COMMIT",)).start()
        process.communicate(timeout=60)
    assert process.returncode == 0
    (period,) = pg_world.rows("core_payrollperiod")
    assert period["status"] == "draft"
    assert len(by_employee(pg_world)) == 4
    assert D("0.00") in {record["gross_pay"] for record in by_employee(pg_world).values()}


def test_the_application_is_never_the_victim_of_a_deadlock(pg_world: World) -> None:
    """The application changes a record first and the period next: the run steps back and lets it finish."""
    staff(pg_world, 4)
    ana = pg_world.rows("core_employee")[0]["id"]
    bounds = {"week_start": date(2025, 11, 17), "week_end": date(2025, 11, 23)}
    period = pg_world.add("core_payrollperiod", status="draft", **bounds)
    pg_world.add("core_payrollrecord", employee_id=ana, period_id=period, project_hours={"0": {"hours": 0}}, **bounds)
    with pg_world.connect() as application:
        application.execute("BEGIN")
        application.execute("UPDATE core_payrollrecord SET reviewed = true")
        process = pg_world.fork(*WORDS)
        time.sleep(1.5)
        application.execute("UPDATE core_payrollperiod SET notes = 'mine'")
        application.execute("COMMIT")
        process.communicate(timeout=60)
    assert process.returncode == 0
    assert pg_world.rows("core_payrollperiod")[0]["notes"] == "mine"
    assert len(by_employee(pg_world)) == 4
