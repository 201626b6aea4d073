"""Payroll: ten weeks of time entries, one week's records."""

from collections.abc import Sequence
from typing import Any

from tests.bench.seed import Seed
from tests.bench.work import DAY, Dialect, Work, by_sql
from tests.world import World

WEEK = "week_start = '2025-11-17'"


def seed(seed: Seed) -> None:
    """Let everybody work from Monday to Friday for ten weeks, but for a day that some miss."""
    seed.world.entry(1, "2025-01-06", "8.50", project_id=1)
    days = seed.say.numbers(0, 69)
    seed.copies_from(
        "core_timeentry",
        f"core_employee e, {days}",
        "m.id = 1 AND i % 7 > 1 AND NOT (e.id % 20 = 0 AND i = 3)",
        employee_id="e.id",
        date=seed.say.day("-1 - i"),
        hours_worked="8 + e.id % 3 * 0.5",
        project_id=f"1 + (e.id + i / 14) % {seed.projects}",
    )


def generate(say: Dialect) -> Sequence[str]:
    """Return the SQL of a week's payroll, overtime at 1.5 times the regular rate."""
    workdays = " UNION ALL ".join(f"SELECT {say.day(offset)} AS d" for offset in range(-7, -2))
    worked = f"date BETWEEN {say.day(-7)} AND {say.day(-1)}"
    return (
        f"""
INSERT INTO core_payrollperiod (week_start, week_end, created_at, status, notes, validation_errors)
VALUES ('2025-11-17', '2025-11-23', {say.now}, 'pending', '', '[]')
""",
        f"""
INSERT INTO core_payrollrecord (period_id, employee_id, week_start, week_end, total_hours, hourly_rate, total_pay,
    regular_hours, overtime_hours, bonus, deductions, deduction_notes, gross_pay, tax_withheld, net_pay,
    manually_adjusted, adjustment_reason, missing_days, project_hours, reviewed, notes)
WITH by_project AS (
    SELECT employee_id, coalesce(project_id, 0) AS project, sum(hours_worked) AS hours,
           sum(hours_worked * coalesce(cost_rate_snapshot, e.hourly_rate)) AS straight
    FROM core_timeentry JOIN core_employee e ON e.id = employee_id
    WHERE {worked} AND hours_worked > 0 GROUP BY 1, 2
), by_employee AS (
    SELECT employee_id, sum(hours) AS hours, sum(straight) AS straight,
           {say.object_of("project", "hours", "hours")} AS projects
    FROM by_project GROUP BY 1
), present AS (
    SELECT DISTINCT employee_id, date FROM core_timeentry WHERE {worked}
), missing AS (
    SELECT e.id AS employee_id, {say.array_of("d")} AS days FROM core_employee e CROSS JOIN ({workdays}) w
    LEFT JOIN present p ON p.employee_id = e.id AND p.date = d WHERE p.date IS NULL GROUP BY 1
), person AS (
    SELECT e.id, e.hourly_rate, e.is_active, b.hours, b.straight, b.projects, m.days,
           CASE WHEN b.hours > 40 THEN b.hours - 40 ELSE 0 END AS overtime
    FROM core_employee e LEFT JOIN by_employee b ON b.employee_id = e.id LEFT JOIN missing m ON m.employee_id = e.id
), paid AS (
    SELECT *, round(coalesce(straight + straight / hours * overtime * 0.5, 0), 2) AS pay FROM person
)
SELECT (SELECT id FROM core_payrollperiod WHERE {WEEK}), id, {say.day(-7)}, {say.day(-1)}, coalesce(hours, 0),
       round(coalesce(straight / hours, hourly_rate), 2), pay, coalesce(hours, 0) - overtime, overtime, 0, 0, '', pay,
       0, pay, false, '', coalesce(days, '[]'), coalesce(projects, '{{"0": {{"hours": 0}}}}'), false, ''
FROM paid WHERE is_active OR hours > 0
""",
    )


def discard(_: Dialect) -> Sequence[str]:
    """Return the SQL that takes a week's payroll back."""
    return (
        f"DELETE FROM core_payrollrecord WHERE {WEEK} AND NOT reviewed AND NOT manually_adjusted AND id IN "
        "(SELECT row_id FROM kibray_ops_provenance WHERE table_name = 'core_payrollrecord') AND NOT EXISTS "
        "(SELECT 1 FROM core_payrollpayment p WHERE p.payroll_record_id = core_payrollrecord.id)",
        f"DELETE FROM core_payrollperiod WHERE {WEEK}",
        "DELETE FROM kibray_ops_provenance",
    )


def paid(world: World) -> Any:
    """Return who gets how much for how many hours."""
    return {
        record["employee_id"]: (record["total_hours"], record["gross_pay"], record["missing_days"])
        for record in world.rows("core_payrollrecord")
    }


WORKS = (
    Work(("payroll", "generate"), f"{DAY}T07:00", by_sql(generate), paid),
    Work(
        ("payroll", "discard"),
        f"{DAY}T07:30",
        by_sql(discard),
        paid,
        before=(("generate-weekly-payroll", f"{DAY}T07:00"),),
        arguments=("--week",),
    ),
)
