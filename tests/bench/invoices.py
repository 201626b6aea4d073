"""Measure the invoice jobs on PostgreSQL, whole process, against the plain SQL that does the same work.

`python -m tests.bench.invoices`: 50,000 invoices, 12,000 of them newly overdue and 1,000 newly paid, five people to be
told. Target: 1.5 x (SQL + 0.9 s).
"""

from typing import Any

from tests.bench import ROUNDS, measure, postgresql
from tests.world import World

NEWLY_OVERDUE, OVERDUE, SETTLED, NOT_DUE, PAID, PEOPLE = 12_000, 2_000, 1_000, 10_000, 25_000, 5
DAY = "2025-11-24"
AS_OF = ("--as-of", f"{DAY}T06:00")

UPDATE_OVERDUE = f"""
UPDATE core_invoice SET status = 'OVERDUE' WHERE status IN ('SENT', 'VIEWED', 'APPROVED', 'PARTIAL')
AND due_date < '{DAY}' AND total_amount > amount_paid
"""
UPDATE_PAID = """
UPDATE core_invoice SET status = 'PAID', paid_date = coalesce(paid_date, now())
WHERE status IN ('SENT', 'VIEWED', 'APPROVED', 'PARTIAL', 'OVERDUE')
AND total_amount > 0 AND amount_paid >= total_amount
"""
TELL = f"""
WITH people AS (
    SELECT u.id, coalesce(p.language, 'en') AS language FROM auth_user u LEFT JOIN core_profile p ON p.user_id = u.id
    WHERE u.is_active AND (u.is_staff OR u.is_superuser OR EXISTS (
        SELECT FROM auth_user_groups m JOIN auth_group g ON g.id = m.group_id
        WHERE m.user_id = u.id AND g.name = 'Accounting'))
), overdue AS (
    SELECT id, due_date, total_amount - amount_paid AS balance, date '{DAY}' - due_date AS days,
           CASE WHEN date '{DAY}' - due_date >= 90 THEN 90 WHEN date '{DAY}' - due_date >= 60 THEN 60
                WHEN date '{DAY}' - due_date >= 30 THEN 30 WHEN date '{DAY}' - due_date >= 7 THEN 7 ELSE 1 END AS stage
    FROM core_invoice WHERE status = 'OVERDUE' AND due_date < '{DAY}' AND total_amount > amount_paid
), told AS (
    INSERT INTO kibray_ops_alert (kind, subject_id, subject_date, recipient_id, stage, told_at, run_id)
    SELECT 'invoice_overdue', o.id, o.due_date, p.id, o.stage, now(), 1 FROM overdue o CROSS JOIN people p
    WHERE NOT EXISTS (SELECT FROM kibray_ops_alert a WHERE a.kind = 'invoice_overdue' AND a.subject_id = o.id
        AND a.subject_date = o.due_date AND a.recipient_id = p.id AND a.stage >= o.stage)
    RETURNING subject_id, recipient_id
)
INSERT INTO core_notification (user_id, notification_type, title, message, related_object_type, link_url, is_read,
    created_at)
SELECT t.recipient_id, 'alert', count(*) || ' invoices are overdue: ' || sum(o.balance),
       (SELECT string_agg(i.invoice_number, ', ') FROM (SELECT invoice_number FROM core_invoice JOIN overdue USING (id)
        ORDER BY balance * days DESC LIMIT 5) i),
       'invoice', '/invoices/', false, now()
FROM told t JOIN overdue o ON o.id = t.subject_id GROUP BY t.recipient_id
"""


def fill(world: World) -> None:
    """Send fifty thousand invoices."""
    for number in range(PEOPLE):
        user = world.user(f"user{number}", staff=number < 3)
        if number >= 3:
            world.accountant(user)
        if number % 2:
            world.add("core_profile", user_id=user, language="es")
    for number in range(200):
        world.project(f"Project {number}", client=f"Client {number % 60}")
    world.invoice("model", "DRAFT", None)
    model = [name for name in world.rows("core_invoice")[0] if name not in _OWN]
    kinds = (
        (
            NEWLY_OVERDUE,
            "(ARRAY['SENT', 'VIEWED', 'APPROVED', 'PARTIAL'])[1 + mod(i, 4)]",
            "- 1 - mod(i, 150)",
            "mod(i, 3) * 100",
        ),
        (OVERDUE, "'OVERDUE'", "- 1 - mod(i, 150)", "0"),
        (SETTLED, "'SENT'", "- 1 - mod(i, 150)", "500 + mod(i, 900)"),
        (NOT_DUE, "'SENT'", "+ mod(i, 60)", "0"),
        (PAID, "'PAID'", "- 30 - mod(i, 600)", "500 + mod(i, 900)"),
    )
    for kind, (count, status, due, paid) in enumerate(kinds):
        world.sql(
            f"INSERT INTO core_invoice (invoice_number, project_id, status, due_date, total_amount, amount_paid, "
            f"{', '.join(model)}) SELECT 'INV-{kind}-' || i, 1 + mod(i, 200), {status}, date '{DAY}' {due}, "
            f"500 + mod(i, 900), {paid}, {', '.join('m.' + name for name in model)} "
            f"FROM core_invoice m, generate_series(1, {count}) i WHERE m.invoice_number = 'model'"
        )
    world.sql("CREATE TABLE pristine AS SELECT id, status, paid_date FROM core_invoice")
    world.sql("VACUUM ANALYZE")


_OWN = ("id", "invoice_number", "project_id", "status", "due_date", "total_amount", "amount_paid")


def restore(world: World) -> None:
    """Put the invoices back as they were, and let nobody have heard of anything."""
    for table in ("kibray_ops_alert", "kibray_ops_run", "core_notification"):
        world.sql(f"DELETE FROM {table}")
    world.sql(
        "UPDATE core_invoice i SET status = p.status, paid_date = p.paid_date FROM pristine p "
        "WHERE p.id = i.id AND i.status <> p.status"
    )
    world.sql("VACUUM core_invoice, kibray_ops_alert, core_notification")


def state(world: World) -> Any:
    """Return what the work comes to."""
    statuses = world.sql("SELECT status, count(*) AS n FROM core_invoice GROUP BY status ORDER BY status")
    told = world.sql("SELECT recipient_id, stage, count(*) AS n FROM kibray_ops_alert GROUP BY 1, 2 ORDER BY 1, 2")
    return statuses, told, world.sql("SELECT user_id FROM core_notification ORDER BY user_id")


def main() -> None:
    """Measure and print ratios of one run."""
    with postgresql() as world:
        fill(world)
        total = world.sql("SELECT count(*) AS n FROM core_invoice")[0]["n"]
        print(f"{total:,} invoices, {NEWLY_OVERDUE:,} newly overdue, {PEOPLE} people; median of {ROUNDS} rounds")
        for verb, statements in (
            ("update-statuses", (UPDATE_OVERDUE, UPDATE_PAID)),
            ("check-overdue", (UPDATE_OVERDUE, TELL)),
        ):
            measure(world, ("invoices", verb, *AS_OF), statements, restore, state)


if __name__ == "__main__":
    main()
