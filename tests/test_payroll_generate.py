"""payroll generate on both engines and both schema versions, against figures worked out by hand."""

import json
from datetime import UTC, date, datetime
from decimal import Decimal as D
from typing import Any

import pytest

from kibray_ops.report import Report
from tests.here import here
from tests.world import World, by_employee, done

WEEK = ("2025-11-17", "2025-11-23")
MON, TUE, WED, THU, FRI, SAT, SUN = (f"2025-11-{day}" for day in range(17, 24))
PAYROLL = "generate-weekly-payroll"


def five_days(world: World, employee: int, hours: str, **columns: Any) -> None:
    for day in (MON, TUE, WED, THU, FRI):
        world.entry(employee, day, hours, **columns)


def problems(report: Report) -> set[tuple[str, str]]:
    return {(problem.kind, problem.subject) for problem in report.problems}


def test_a_week_by_hand(world: World) -> None:
    admin = world.office()
    elm, oak = world.project("Elm"), world.project("Oak")
    plain = world.employee("Paul Plain", "20.00")
    five_days(world, plain, "8.00", project_id=elm)  # 40 h: no overtime
    over = world.employee("Olga Over", "18.75")
    five_days(world, over, "9.30", project_id=oak)  # 46.5 h: 40 x 18.75 + 6.5 x 28.125 = 750 + 182.8125
    custom = world.employee("Carl Custom", "30.00", has_custom_overtime=True, overtime_multiplier=D("2.00"))
    five_days(world, custom, "8.50")  # 42.5 h: 40 x 30 + 2.5 x 60 = 1350
    ignored = world.employee("Iris Ignored", "30.00", has_custom_overtime=False, overtime_multiplier=D("2.00"))
    five_days(world, ignored, "8.50")  # 40 x 30 + 2.5 x 45 = 1312.50
    cent = world.employee("Hal Halfcent", "15.01")
    world.entry(cent, MON, "0.50", project_id=elm)  # 7.505 -> 7.51
    left = world.employee("Lea Left", "22.00", active=False)
    world.entry(left, MON, "8.00", project_id=elm)
    world.entry(left, TUE, "4.25", project_id=oak)
    world.entry(left, WED, "1.00")  # 13.25 h x 22 = 291.50
    gone = world.employee("Gus Gone", "22.00", active=False)
    idle = world.employee("Ida Idle", "19.00")
    for employee in (plain, gone):
        world.entry(employee, "2025-11-16", "7.00")  # the Sunday before
        world.entry(employee, "2025-11-24", "6.00")  # the Monday after
    open_ = world.employee("Otto Open", "21.00")
    world.entry(open_, MON, "8.00", project_id=elm)
    world.entry(open_, TUE, None, end=None, project_id=elm)

    report = done(world.execute(PAYROLL))

    (period,) = world.rows("core_payrollperiod")
    assert (period["week_start"], period["week_end"]) == (date(2025, 11, 17), date(2025, 11, 23))
    assert (period["status"], period["created_by_id"]) == ("pending", admin)
    assert period["created_at"] == datetime(2025, 11, 24, 14, 0, tzinfo=UTC)
    records = by_employee(world)
    assert gone not in records
    paid = {
        employee: (r["total_hours"], r["regular_hours"], r["overtime_hours"], r["hourly_rate"], r["gross_pay"])
        for employee, r in records.items()
    }
    assert paid == {
        plain: (D(40), D(40), D(0), D(20), D("800.00")),
        over: (D("46.50"), D(40), D("6.50"), D("18.75"), D("932.81")),
        custom: (D("42.50"), D(40), D("2.50"), D(30), D("1350.00")),
        ignored: (D("42.50"), D(40), D("2.50"), D(30), D("1312.50")),
        cent: (D("0.50"), D("0.50"), D(0), D("15.01"), D("7.51")),
        left: (D("13.25"), D("13.25"), D(0), D(22), D("291.50")),
        idle: (D(0), D(0), D(0), D(19), D("0.00")),
        open_: (D(8), D(8), D(0), D(21), D("168.00")),
    }
    for record in records.values():
        assert record["period_id"] == period["id"]
        assert record["net_pay"] == record["total_pay"] == record["gross_pay"]
        assert (record["bonus"], record["deductions"], record["tax_withheld"]) == (0, 0, 0)
        assert record["overtime_rate"] is None
        assert not record["reviewed"]
        assert not record["manually_adjusted"]
    assert records[left]["project_hours"] == {str(elm): {"hours": 8}, str(oak): {"hours": 4.25}, "0": {"hours": 1}}
    assert records[over]["project_hours"] == {str(oak): {"hours": 46.5}}
    assert records[idle]["project_hours"] == {"0": {"hours": 0}}
    assert records[left]["missing_days"] == [THU, FRI]
    assert records[open_]["missing_days"] == [WED, THU, FRI]
    assert report.result["records"] == 8
    assert report.result["week"] == "2025-11-17 - 2025-11-23"
    assert report.result["period_id"] == period["id"]
    assert report.result["gross_pay"] == D("4862.32")
    assert problems(report) == {("open_entry", "Otto Open")}
    errors = {(error["employee_id"], error["type"]) for error in period["validation_errors"]}
    assert (open_, "open_entry") in errors
    assert (idle, "zero_hours") in errors
    assert (left, "missing_days") in errors
    assert all(error["employee"] for error in period["validation_errors"])


def test_two_rates_in_a_week(world: World) -> None:
    """29 CFR 778.115: 24 h at 22 and 22 h at 25 are 1078.00; the premium is 6 x 0.5 x 1078/46 = 70.3043."""
    mixed = world.employee("Mia Mixed", "25.00")
    days = ((MON, "8", "22.00"), (TUE, "8", "22.00"), (WED, "8", "22.00"), (THU, "11", None), (FRI, "11", "25.00"))
    if world.version == "2025-11":
        for day, hours, _ in days:
            world.entry(mixed, day, hours)
        done(world.execute(PAYROLL))
        assert by_employee(world)[mixed]["gross_pay"] == D("1225.00")  # no snapshots: 40 x 25 + 6 x 37.50
        return
    for day, hours, rate in days:
        world.entry(mixed, day, hours, cost_rate_snapshot=rate and D(rate))
    report = done(world.execute(PAYROLL))
    record = by_employee(world)[mixed]
    assert record["gross_pay"] == D("1148.30")
    assert record["hourly_rate"] == D("23.43")
    assert (record["regular_hours"], record["overtime_hours"]) == (40, 6)
    assert "24 h at 22.00 + 22 h at 25.00" in record["notes"]
    assert "mixed_rates" in report.rows[0]["flags"]
    assert "mixed_rates" in {error["type"] for error in world.rows("core_payrollperiod")[0]["validation_errors"]}


def test_a_raise_after_the_week_does_not_change_its_pay(world: World) -> None:
    employee = world.employee("Ana Ruiz", "25.00")
    world.entry(employee, MON, "8.00", cost_rate_snapshot=D("20.00"))
    report = done(world.execute(PAYROLL))
    expected = D("200.00") if world.version == "2025-11" else D("160.00")
    assert by_employee(world)[employee]["gross_pay"] == expected
    assert "mixed_rates" not in report.rows[0]["flags"]


@pytest.mark.parametrize(
    ("entry", "kind"),
    [
        ({"hours": None, "end": None}, "open_entry"),
        ({"hours": "0.00", "end": "08:00"}, "zero_length"),
        ({"hours": "-4.00"}, "negative_hours"),
        ({"hours": None}, "no_hours"),
        ({"hours": "25.00"}, "over_24_hours"),
    ],
)
def test_odd_entries_are_named_and_hold_nobody_back(newest: World, entry: dict[str, Any], kind: str) -> None:
    newest.office()
    employee = newest.employee()
    odd = newest.entry(employee, WED, **entry)
    newest.entry(employee, THU, "8.00")
    report = done(newest.execute(PAYROLL))
    hours = D("33") if kind == "over_24_hours" else D(8)
    assert by_employee(newest)[employee]["total_hours"] == hours
    assert problems(report) == {(kind, "Ana Ruiz")}
    (named,) = [e for e in newest.rows("core_payrollperiod")[0]["validation_errors"] if e["type"] == kind]
    assert named["entry_ids"] == [odd]
    assert named["dates"] == [WED]
    assert named["employee_id"] == employee


def test_overlaps_are_named_even_across_the_edges_of_the_week(newest: World) -> None:
    newest.office()
    night = newest.employee("Nia Night")
    newest.entry(night, "2025-11-16", "8.00", "22:00", "06:00")
    newest.entry(night, MON, "4.00", "05:00", "09:00")
    inside = newest.employee("Ian Inside")
    newest.entry(inside, TUE, "8.00", "08:00", "16:30")
    newest.entry(inside, TUE, "1.00", "12:00", "13:00")
    touching = newest.employee("Tom Touching")
    newest.entry(touching, TUE, "4.00", "08:00", "12:00")
    newest.entry(touching, TUE, "4.00", "12:00", "16:00")
    outside = newest.employee("Oda Outside")
    newest.entry(outside, "2025-11-16", "4.00", "08:00", "12:00")
    newest.entry(outside, "2025-11-16", "4.00", "11:00", "15:00")
    report = done(newest.execute(PAYROLL))
    assert problems(report) == {("overlap", "Nia Night"), ("overlap", "Ian Inside")}
    assert by_employee(newest)[night]["total_hours"] == 4


def test_hours_on_a_night_when_the_clock_changes_are_named(newest: World) -> None:
    newest.office()
    employee = newest.employee()
    newest.entry(employee, "2025-11-01", "7.50", "22:00", "06:00")
    newest.entry(employee, "2025-10-31", "7.50", "22:00", "06:00")
    report = done(newest.execute(PAYROLL, at="2025-11-03T07:00"))
    (problem,) = report.problems
    assert problem.kind == "clock_change"
    assert "9 h from start to end" in problem.message
    assert by_employee(newest)[employee]["total_hours"] == 15


def test_a_second_run_changes_nothing(world: World) -> None:
    world.user()
    five_days(world, world.employee(), "9.00")
    world.entry(world.employee("Otto Open"), MON, None, end=None)
    done(world.execute(PAYROLL))
    before = world.dump(own=False)
    report = done(world.execute(PAYROLL, at="2025-11-25T09:00"))
    assert world.dump(own=False) == before
    assert (report.result["records"], report.result["existing"]) == (0, 2)


def test_an_empty_period_of_the_application_is_completed(world: World) -> None:
    creator = world.user("manager")
    employee = world.employee()
    five_days(world, employee, "8.00")
    opened = world.add(
        "core_payrollperiod",
        week_start=date(2025, 11, 17),
        week_end=date(2025, 11, 23),
        status="draft",
        created_by_id=creator,
        notes="opened by hand",
        validation_errors=[{"employee": "Somebody", "employee_id": 99, "type": "missing_days", "dates": [MON]}],
    )
    report = done(world.execute(PAYROLL))
    (period,) = world.rows("core_payrollperiod")
    assert (period["id"], period["status"], period["notes"]) == (opened, "draft", "opened by hand")
    assert {"employee": "Somebody", "employee_id": 99, "type": "missing_days", "dates": [MON]} in period[
        "validation_errors"
    ]
    assert by_employee(world)[employee]["period_id"] == opened
    assert report.result["period_status"] == "draft"


def record(world: World, employee: int, hours: str = "8.00", gross: str = "160.00", **columns: Any) -> int:
    amounts = {name: D(gross) for name in ("gross_pay", "net_pay", "total_pay")}
    values = {
        "week_start": date(2025, 11, 17),
        "week_end": date(2025, 11, 23),
        "hourly_rate": D("20.00"),
        "total_hours": D(hours),
        "regular_hours": D(hours),
        "project_hours": {"0": {"hours": 8}},
        **amounts,
    }
    return world.add("core_payrollrecord", employee_id=employee, **(values | columns))


def period(world: World, status: str = "draft", start: str = MON, end: str = SUN) -> int:
    bounds = {"week_start": date.fromisoformat(start), "week_end": date.fromisoformat(end)}
    return world.add("core_payrollperiod", status=status, **bounds)


def test_records_that_exist_stay_and_are_named_when_hours_differ(world: World) -> None:
    world.office()
    ana, ben, eve = world.employee("Ana Ruiz"), world.employee("Ben Berg"), world.employee("Eve Eng")
    for employee in (ana, ben, eve):
        five_days(world, employee, "8.00")
    theirs = record(world, ana, period_id=period(world))
    orphan = record(world, eve, "40.00", period_id=None)  # no period: still nobody gets a second one
    before = world.rows("core_payrollrecord")
    report = done(world.execute(PAYROLL))
    after = world.rows("core_payrollrecord")
    assert after[:2] == before
    assert [r["employee_id"] for r in after[2:]] == [ben]
    assert problems(report) == {("hours_changed", "Ana Ruiz"), ("no_period", "Eve Eng")}
    assert (
        f"record {theirs} has 8 h, the time entries 40 h"
        in {p.kind: p.message for p in report.problems}["hours_changed"]
    )
    assert {row["record_id"] for row in report.rows} >= {theirs, orphan}


def test_duplicates_of_the_application_are_named(world: World) -> None:
    ana = world.employee()
    world.entry(ana, MON, "8.00")
    the_period = period(world)
    first, second = record(world, ana, period_id=the_period), record(world, ana, period_id=None)
    report = done(world.execute(PAYROLL))
    assert ("duplicate_record", "Ana Ruiz") in problems(report)
    assert f"{first}, {second}" in {p.kind: p.message for p in report.problems}["duplicate_record"]
    assert len(world.rows("core_payrollrecord")) == 2


def test_refresh_recomputes_only_what_nobody_has_touched(world: World) -> None:
    world.office()
    the_period = period(world)
    untouched = world.employee("Uma Untouched")
    held = {
        "reviewed": {"reviewed": True},
        "adjusted": {"manually_adjusted": True},
        "rate": {"adjusted_rate": D("99.00")},
        "paid": {},
    }
    names = {kind: world.employee(f"{kind.title()} Held") for kind in held}
    for employee in (untouched, *names.values()):
        five_days(world, employee, "9.00")
    mine = record(world, untouched, period_id=the_period, bonus=D("50.00"), deductions=D("10.00"), notes="hello")
    theirs = {kind: record(world, names[kind], period_id=the_period, **held[kind]) for kind in held}
    world.add(
        "core_payrollpayment", payroll_record_id=theirs["paid"], amount=D("160.00"), payment_date=date(2025, 11, 24)
    )
    before = {r["id"]: r for r in world.rows("core_payrollrecord")}

    dry = done(world.execute(PAYROLL, dry_run=True, refresh=True))
    assert {r["id"]: r for r in world.rows("core_payrollrecord")} == before
    report = done(world.execute(PAYROLL, refresh=True))
    after = {r["id"]: r for r in world.rows("core_payrollrecord")}

    assert {i: r for i, r in after.items() if i != mine} == {i: r for i, r in before.items() if i != mine}
    refreshed = after[mine]
    assert refreshed["gross_pay"] == D("1000.00")  # 40 x 20 + 5 x 30 + bonus 50
    assert refreshed["net_pay"] == refreshed["total_pay"] == D("990.00")
    assert (refreshed["total_hours"], refreshed["overtime_hours"], refreshed["notes"]) == (45, 5, "hello")
    assert refreshed["project_hours"] == {"0": {"hours": 45}}
    row = next(row for row in report.rows if row["record_id"] == mine)
    assert row["action"] == "refreshed"
    assert row["was"]["gross_pay"] == D("160.00")
    assert report.result["refreshed"] == dry.result["refreshed"] == 1
    assert {kind for kind, _ in problems(report)} == {"hours_changed"}
    assert len(report.problems) == 4
    again = done(world.execute(PAYROLL, refresh=True))
    assert again.result["refreshed"] == 0


@pytest.mark.parametrize("status", ["approved", "paid"])
def test_a_closed_period_is_never_written(world: World, status: str) -> None:
    the_period = period(world, status)
    has, has_not, idle = world.employee("Ana Ruiz"), world.employee("Ben Berg"), world.employee("Ida Idle")
    for employee in (has, has_not):
        five_days(world, employee, "8.00")
    record(world, has, "40.00", "800.00", period_id=the_period)
    assert idle
    before = world.dump(own=False)
    report = done(world.execute(PAYROLL, refresh=True), 3)
    assert world.dump(own=False) == before
    assert [(p.severity, p.subject) for p in report.problems] == [("failure", "Ben Berg")]
    assert report.status == "partial"
    assert report.result["gross_pay"] == D("800.00")  # who is not paid is in no total
    (unpaid,) = [row for row in report.rows if row["employee"] == "Ben Berg"]
    assert (unpaid["gross_pay"], unpaid["flags"][0]) == (0, "not_paid")


@pytest.mark.parametrize("status", ["approved", "paid", "draft"])
def test_refresh_leaves_a_record_of_another_period_alone(newest: World, status: str) -> None:
    ana = newest.employee()
    five_days(newest, ana, "8.00")
    other = period(newest, status, "2025-11-10", "2025-11-16")
    record(newest, ana, "30.00", "600.00", period_id=other)
    before = newest.rows("core_payrollrecord")
    done(newest.execute(PAYROLL, refresh=True))
    assert newest.rows("core_payrollrecord") == before


def test_refresh_keeps_an_overtime_rate_that_somebody_set(newest: World) -> None:
    ana = newest.employee()
    five_days(newest, ana, "10.00")
    done(newest.execute(PAYROLL))
    newest.sql("UPDATE core_payrollrecord SET overtime_rate = 45, gross_pay = 1250, net_pay = 1250, total_pay = 1250")
    before = newest.rows("core_payrollrecord")
    done(newest.execute(PAYROLL, refresh=True))
    assert newest.rows("core_payrollrecord") == before


def test_refresh_goes_from_one_policy_to_the_other(newest: World) -> None:
    ana = newest.employee()
    five_days(newest, ana, "10.00")
    for policy, gross in (("none", "1000.00"), ("weekly40", "1100.00"), ("none", "1000.00")):
        done(newest.execute(PAYROLL, overtime=policy, refresh=True))
        assert by_employee(newest)[ana]["gross_pay"] == D(gross)


def test_a_managers_notes_stay_to_the_last_line_break(newest: World) -> None:
    ana = newest.employee()
    five_days(newest, ana, "8.00")
    done(newest.execute(PAYROLL))
    newest.sql("UPDATE core_payrollrecord SET notes = ?", "a\r\nb\n")
    assert done(newest.execute(PAYROLL, refresh=True)).result["refreshed"] == 0
    assert newest.rows("core_payrollrecord")[0]["notes"] == "a\r\nb\n"


@pytest.mark.parametrize("dry_run", [True, False])
def test_an_impossible_week_holds_up_nobody_else(world: World, dry_run: bool) -> None:
    typo, ana = world.employee("Tia Typo"), world.employee("Ana Ruiz")
    world.entry(ana, MON, "8.00")
    for _ in range(11):
        world.entry(typo, MON, "999.99")
    report = done(world.execute(PAYROLL, dry_run=dry_run), 3)
    assert [(p.severity, p.subject) for p in report.problems if p.severity == "failure"] == [("failure", "Tia Typo")]
    assert report.result["gross_pay"] == D("160.00")
    if not dry_run:
        assert list(by_employee(world)) == [ana]


@pytest.mark.parametrize("odd", [5, {"a": 1}, "abc", [{"employee_id": [1], "type": "overlap"}], [None, "x", 3]])
def test_odd_validation_errors_stop_nobody_and_stay(newest: World, odd: Any) -> None:
    ana = newest.employee()
    world_errors = json.dumps(odd)
    the_period = period(newest)
    cast = "::jsonb" if newest.engine == "postgresql" else ""
    newest.sql(f"UPDATE core_payrollperiod SET validation_errors = ?{cast} WHERE id = ?", world_errors, the_period)
    newest.entry(ana, MON, "8.00")
    done(newest.execute(PAYROLL))
    assert by_employee(newest)[ana]["gross_pay"] == D("160.00")
    held = newest.rows("core_payrollperiod")[0]["validation_errors"]
    assert held[: len(odd)] == odd if isinstance(odd, list) else held == odd


def test_a_state_that_we_do_not_know_counts_as_closed(newest: World) -> None:
    five_days(newest, newest.employee(), "8.00")
    period(newest, "Approved")
    before = newest.dump(own=False)
    done(newest.execute(PAYROLL), 3)
    assert newest.dump(own=False) == before


def test_namesakes_are_told_apart_and_names_cannot_command_the_terminal(newest: World) -> None:
    first, second, rude = newest.employee("Sam Lee"), newest.employee("Sam Lee"), newest.employee("A\x1b[31m B\nC")
    report = done(newest.execute(PAYROLL))
    names = {row["employee_id"]: row["employee"] for row in report.rows}
    assert names == {first: f"Sam Lee (#{first})", second: f"Sam Lee (#{second})", rude: "A [31m B C"}


def test_a_period_with_other_bounds_stops_everything(world: World) -> None:
    world.entry(world.employee(), MON, "8.00")
    period(world, "paid", "2025-11-16", "2025-11-22")
    before = world.dump(own=False)
    report = world.execute(PAYROLL)
    assert report.exit_code == 1
    assert "2025-11-16 - 2025-11-22" in report.error.message  # type: ignore[union-attr]
    assert world.dump(own=False) == before


def test_a_record_with_other_bounds_is_a_failure_of_that_employee_only(world: World) -> None:
    world.office()
    ana, ben = world.employee("Ana Ruiz"), world.employee("Ben Berg")
    for employee in (ana, ben):
        world.entry(employee, MON, "8.00")
    record(world, ana, week_start=date(2025, 11, 16), week_end=date(2025, 11, 22))
    report = done(world.execute(PAYROLL), 3)
    assert [(p.severity, p.subject) for p in report.problems] == [("failure", "Ana Ruiz")]
    assert [r["employee_id"] for r in world.rows("core_payrollrecord")] == [ana, ben]


def test_straight_time_policy(world: World) -> None:
    employee = world.employee()
    five_days(world, employee, "9.00")
    done(world.execute(PAYROLL, overtime="none"))
    record = by_employee(world)[employee]
    assert (record["regular_hours"], record["overtime_hours"], record["gross_pay"]) == (45, 0, D("900.00"))
    assert record["overtime_rate"] == D("20.00")  # so that the application's recomputation pays the same


def test_settings_choose_policy_and_status(newest: World) -> None:
    newest.environment = {"KIBRAY_OPS_PAYROLL_OVERTIME": "none", "KIBRAY_OPS_PAYROLL_STATUS": "under_review"}
    employee = newest.employee()
    five_days(newest, employee, "9.00")
    done(newest.execute(PAYROLL))
    assert by_employee(newest)[employee]["gross_pay"] == D("900.00")
    assert newest.rows("core_payrollperiod")[0]["status"] == "under_review"


def test_nobody_is_admin_and_nobody_is_employed(newest: World) -> None:
    newest.user("inactive", active=False)
    report = done(newest.execute(PAYROLL))
    assert newest.rows("core_payrollperiod")[0]["created_by_id"] is None
    assert [p.kind for p in report.problems] == ["nobody"]


def test_change_against_the_week_before(newest: World) -> None:
    ana, ben = newest.employee("Ana Ruiz"), newest.employee("Ben Berg")
    newest.entry(ana, "2025-11-10", "8.00")
    done(newest.execute(PAYROLL, at="2025-11-17T07:00"))
    newest.entry(ana, MON, "10.00")
    newest.sql("UPDATE core_employee SET is_active = ? WHERE id = ?", False, ben)
    ned = newest.employee("Ned New")
    report = done(newest.execute(PAYROLL))
    assert {row["employee_id"]: row["change"] for row in report.rows} == {ana: D("40.00"), ned: None}


def test_the_slot_not_today_decides_the_week(newest: World) -> None:
    """A Monday payroll that starts late on Tuesday still pays the same week."""
    from kibray_ops.report import Trigger

    newest.entry(newest.employee(), MON, "8.00")
    report = done(newest.execute(PAYROLL, at="2025-11-25T03:00", trigger=Trigger.CRON))
    assert report.result["week"] == "2025-11-17 - 2025-11-23"
    assert newest.runs()[0]["slot"] == "2025-11-24T07:00"


def test_a_week_in_which_nobody_worked_is_named(newest: World) -> None:
    """It may be the wrong one, and all get a record of 0."""
    newest.entry(newest.employee(), "2025-11-17", "8.00")
    for week, is_named in (("2025-W46", True), ("2025-W47", False)):
        report = done(newest.execute(PAYROLL, week=week, dry_run=True))
        assert ("no_entries" in [problem.kind for problem in report.problems]) == is_named


def test_weeks_that_cannot_be_paid(newest: World) -> None:
    for week in ("2025-W60", "yesterday", "2025-13-01", "47", "", "2025-W48", "this", "2025-11-24"):
        report = newest.execute(PAYROLL, week=week) if week else newest.execute(PAYROLL, week=" ")
        assert report.exit_code == 2, week
    assert newest.execute(PAYROLL, week="2026-W01", dry_run=True).exit_code == 2
    assert newest.rows("core_payrollperiod") == []
    assert newest.execute(PAYROLL, week="this", dry_run=True).exit_code == 0


def test_dry_run_tells_what_the_real_run_does_and_writes_nothing(world: World) -> None:
    five_days(world, world.employee(), "9.50")
    world.entry(world.employee("Otto Open"), MON, None, end=None)
    before = world.dump()
    dry = done(world.execute(PAYROLL, dry_run=True))
    assert world.dump() == before
    real = done(world.execute(PAYROLL))
    for report in (dry, real):
        report.result.pop("period_id")
        for row in report.rows:
            row.pop("record_id")
    assert (dry.result, dry.rows, dry.problems) == (real.result, real.rows, real.problems)


def test_the_report_is_json_and_csv(newest: World) -> None:
    newest.entry(newest.employee("=Ana Ruiz, Jr."), MON, "8.50")
    words = ("payroll", "generate", "--week", "--as-of", "2025-11-24", "--csv", "pay.csv", "--json")
    told = json.loads(here(newest, *words).stdout)
    assert told["rows"][0]["gross_pay"] == "170.00"
    assert told["rows"][0]["mon"] == "8.50"
    lines = (newest.directory / "pay.csv").read_text(encoding="utf-8-sig").splitlines()
    assert lines[0].startswith("Employee ID,Employee,Mon,Tue")
    assert '"\'=Ana Ruiz, Jr."' in lines[1]
