"""Measure payroll on PostgreSQL, whole process, against the plain SQL that does the same work.

`python -m tests.bench.payroll`: 2,000 employees, 142,000 time entries over ten weeks. Target: 1.5 x (SQL + 0.9 s).
"""

from tests.bench import ROUNDS, plain_sql, postgresql, show, ways, whole_process
from tests.world import World

EMPLOYEES, ENTRIES_EACH = 2_000, 71

PLAIN = """
WITH period AS (
    INSERT INTO core_payrollperiod (week_start, week_end, created_at, status, notes, validation_errors)
    VALUES ('2025-11-17', '2025-11-23', now(), 'pending', '', '[]') RETURNING id
), by_project AS (
    SELECT employee_id, coalesce(project_id, 0) AS project, sum(hours_worked) AS hours,
           sum(hours_worked * coalesce(cost_rate_snapshot, e.hourly_rate)) AS straight
    FROM core_timeentry JOIN core_employee e ON e.id = employee_id
    WHERE date BETWEEN '2025-11-17' AND '2025-11-23' AND hours_worked > 0 GROUP BY 1, 2
), by_employee AS (
    SELECT employee_id, sum(hours) AS hours, sum(straight) AS straight,
           jsonb_object_agg(project::text, jsonb_build_object('hours', hours)) AS projects
    FROM by_project GROUP BY 1
), missing AS (
    SELECT e.id AS employee_id, jsonb_agg(d::date::text ORDER BY d) AS days
    FROM core_employee e CROSS JOIN generate_series('2025-11-17'::date, '2025-11-21', interval '1 day') d
    WHERE NOT EXISTS (SELECT 1 FROM core_timeentry t WHERE t.employee_id = e.id AND t.date = d::date) GROUP BY 1
)
INSERT INTO core_payrollrecord (period_id, employee_id, week_start, week_end, total_hours, hourly_rate, total_pay,
    regular_hours, overtime_hours, bonus, deductions, deduction_notes, gross_pay, tax_withheld, net_pay,
    manually_adjusted, adjustment_reason, missing_days, project_hours, reviewed, notes)
SELECT period.id, e.id, '2025-11-17', '2025-11-23', coalesce(b.hours, 0),
       round(coalesce(b.straight / b.hours, e.hourly_rate), 2), p.pay, least(coalesce(b.hours, 0), 40),
       greatest(coalesce(b.hours, 0) - 40, 0), 0, 0, '', p.pay, 0, p.pay, false, '', coalesce(m.days, '[]'),
       coalesce(b.projects, '{"0": {"hours": 0}}'), false, ''
FROM period CROSS JOIN core_employee e
LEFT JOIN by_employee b ON b.employee_id = e.id LEFT JOIN missing m ON m.employee_id = e.id
CROSS JOIN LATERAL (SELECT round(coalesce(
    b.straight + b.straight / b.hours * greatest(b.hours - 40, 0) * 0.5, 0), 2) AS pay) p
WHERE e.is_active OR b.hours > 0
"""


def fill(world: World) -> None:
    """Employ people and give each of them ten weeks of entries, seven or eight a week."""
    world.employee("Model Person")
    world.project()
    world.entry(1, "2025-11-17", "8.50", project_id=1)
    people = [name for name in world.rows("core_employee")[0] if name not in _UNIQUE]
    entries = [name for name in world.rows("core_timeentry")[0] if name not in ("id", "employee_id", "date")]
    world.sql(
        f"INSERT INTO core_employee ({', '.join(people)}, social_security_number, employee_key) "
        f"SELECT {', '.join('e.' + name for name in people)}, 's' || i, 'k' || i "
        f"FROM core_employee e, generate_series(2, {EMPLOYEES}) i"
    )
    world.sql(
        f"INSERT INTO core_timeentry (employee_id, date, {', '.join(entries)}) "
        f"SELECT e.id, date '2025-11-23' - i, {', '.join('t.' + name for name in entries)} "
        f"FROM core_timeentry t, core_employee e, generate_series(0, {ENTRIES_EACH - 1}) i"
    )
    world.sql("ANALYZE")


_UNIQUE = ("id", "social_security_number", "employee_key", "user_id")


def clear(world: World) -> None:
    """Take the payroll back."""
    for table in (
        "core_payrollrecord",
        "core_payrollperiod",
        "kibray_ops_run",
        "kibray_ops_provenance",
        "kibray_ops_alert",
    ):
        world.sql(f"DELETE FROM {table}")


def main() -> None:
    """Measure and print ratios of one run."""
    with postgresql() as world:
        fill(world)
        entries = world.sql("SELECT count(*) AS n FROM core_timeentry")[0]["n"]
        print(f"{EMPLOYEES} employees, {entries} time entries; median of {ROUNDS} rounds")
        started = ways(("payroll", "generate", "--week", "--as-of", "2025-11-24T07:00"))
        seconds: dict[str, list[float]] = {name: [] for name in started}
        plain = []
        for _ in range(ROUNDS):
            for name, words in started.items():
                clear(world)
                seconds[name].append(whole_process(world, *words))
            ours = {r["employee_id"]: r["gross_pay"] for r in world.rows("core_payrollrecord")}
            clear(world)
            plain.append(plain_sql(world, PLAIN))
            assert ours == {r["employee_id"]: r["gross_pay"] for r in world.rows("core_payrollrecord")}
        show("payroll", plain, seconds)


if __name__ == "__main__":
    main()
