"""payroll discard takes back what payroll generate made, and nothing that somebody has worked on."""

from datetime import date
from decimal import Decimal as D
from typing import Any

import pytest

from tests.test_payroll_generate import MON, done, five_days, record
from tests.world import World

GENERATE, DISCARD = "generate-weekly-payroll", "discard-weekly-payroll"


def business(world: World) -> dict[str, Any]:
    return {table: world.rows(table) for table in ("core_payrollperiod", "core_payrollrecord")}


def test_what_was_generated_can_be_discarded_and_generated_again(world: World) -> None:
    five_days(world, world.employee(), "9.00")
    world.employee("Ida Idle")
    before = business(world)
    done(world.execute(GENERATE))
    made = business(world)
    dry = done(world.execute(DISCARD, dry_run=True))
    assert business(world) == made
    report = done(world.execute(DISCARD))
    assert business(world) == before
    assert world.sql("SELECT * FROM kibray_ops_provenance") == []
    assert (report.result["discarded"], report.result, report.rows) == (2, dry.result, dry.rows)
    assert done(world.execute(DISCARD)).result["discarded"] == 0
    done(world.execute(GENERATE))
    assert len(business(world)["core_payrollrecord"]) == 2


def test_what_somebody_has_worked_on_stays_with_the_reason(world: World) -> None:
    names = ("Rev Reviewed", "Adj Adjusted", "Rat Rate", "Bon Bonus", "Pai Paid", "Una Untouched")
    people = {name: world.employee(name) for name in names}
    for employee in people.values():
        world.entry(employee, MON, "8.00")
    theirs = record(world, world.employee("Own Application"), period_id=None)
    done(world.execute(GENERATE))
    changes = {
        "Rev Reviewed": ("reviewed", True),
        "Adj Adjusted": ("manually_adjusted", True),
        "Rat Rate": ("adjusted_rate", D("30.00")),
        "Bon Bonus": ("bonus", D("10.00")),
    }
    for name, (column, value) in changes.items():
        world.sql(f"UPDATE core_payrollrecord SET {column} = ? WHERE employee_id = ?", value, people[name])
    (paid,) = world.rows("core_payrollrecord", "employee_id = ?", people["Pai Paid"])
    world.add("core_payrollpayment", payroll_record_id=paid["id"], amount=D("1.00"), payment_date=date(2025, 11, 24))
    report = done(world.execute(DISCARD))
    left = {row["employee_id"] for row in world.rows("core_payrollrecord")}
    assert left == {people[name] for name in names if name != "Una Untouched"} | {
        row["employee_id"] for row in world.rows("core_payrollrecord", "id = ?", theirs)
    }
    assert {(p.subject, p.message.partition(": ")[2]) for p in report.problems} == {
        ("Rev Reviewed", "it is reviewed"),
        ("Adj Adjusted", "it was changed by hand"),
        ("Rat Rate", "it was changed by hand"),
        ("Bon Bonus", "it was changed by hand"),
        ("Pai Paid", "it is paid"),
    }
    assert len(world.rows("core_payrollperiod")) == 1


@pytest.mark.parametrize("status", ["approved", "paid"])
def test_a_closed_period_is_left_alone(world: World, status: str) -> None:
    world.entry(world.employee(), MON, "8.00")
    done(world.execute(GENERATE))
    world.sql("UPDATE core_payrollperiod SET status = ?", status)
    before = business(world)
    done(world.execute(DISCARD), 1)
    assert business(world) == before


def test_a_period_of_the_application_stays(world: World) -> None:
    world.entry(world.employee(), MON, "8.00")
    world.add("core_payrollperiod", week_start=date(2025, 11, 17), week_end=date(2025, 11, 23), status="draft")
    done(world.execute(GENERATE))
    done(world.execute(DISCARD))
    assert world.rows("core_payrollrecord") == []
    assert len(world.rows("core_payrollperiod")) == 1


def test_without_our_tables_a_dry_run_finds_nothing(bare: World) -> None:
    record(bare, bare.employee())
    assert done(bare.execute(DISCARD, dry_run=True)).result["discarded"] == 0


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("total_hours", D("38.00")),
        ("gross_pay", D("760.00")),
        ("overtime_rate", D("45.00")),
        ("adjustment_reason", "left early"),
        ("deduction_notes", "x"),
        ("notes", "n"),
    ],
)
def test_a_record_that_holds_something_else_than_we_wrote_stays(newest: World, column: str, value: Any) -> None:
    five_days(newest, newest.employee(), "8.00")
    done(newest.execute(GENERATE))
    newest.sql(f"UPDATE core_payrollrecord SET {column} = ?", value)
    before = business(newest)
    assert done(newest.execute(DISCARD)).result["kept"] == 1
    assert business(newest) == before


@pytest.mark.parametrize(("column", "value"), [("status", "draft"), ("notes", "checked")])
def test_a_period_that_somebody_changed_stays(newest: World, column: str, value: str) -> None:
    five_days(newest, newest.employee(), "8.00")
    done(newest.execute(GENERATE))
    newest.sql(f"UPDATE core_payrollperiod SET {column} = ?", value)
    assert done(newest.execute(DISCARD)).result["discarded"] == 1
    assert newest.rows("core_payrollperiod")[0][column] == value


def test_what_was_refreshed_can_be_discarded(newest: World) -> None:
    employee = newest.employee()
    five_days(newest, employee, "8.00")
    done(newest.execute(GENERATE))
    newest.entry(employee, "2025-11-22", "5.25")
    assert done(newest.execute(GENERATE, refresh=True)).result["refreshed"] == 1
    assert done(newest.execute(DISCARD)).result["discarded"] == 1
    assert business(newest) == {"core_payrollperiod": [], "core_payrollrecord": []}
