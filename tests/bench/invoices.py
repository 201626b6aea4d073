"""Invoices: 50,000, a quarter of them overdue without anybody having said so."""

from collections.abc import Sequence
from typing import Any

from tests.bench.seed import Seed
from tests.bench.work import DAY, LEDGER, NOTIFY, Dialect, Work, by_sql, told
from tests.world import World


def seed(seed: Seed) -> None:
    """Send invoices: newly overdue, known to be overdue, settled, not due, and paid long ago."""
    seed.world.invoice("model", "DRAFT", None)
    open_statuses = "CASE i % 4 WHEN 0 THEN 'SENT' WHEN 1 THEN 'VIEWED' WHEN 2 THEN 'APPROVED' ELSE 'PARTIAL' END"
    kinds = (
        (12_000, open_statuses, "-1 - i % 150", "i % 3 * 100"),
        (2_000, "'OVERDUE'", "-1 - i % 150", "0"),
        (1_000, "'SENT'", "-1 - i % 150", "500 + i % 900"),
        (10_000, "'SENT'", "i % 60", "0"),
        (25_000, "'PAID'", "-30 - i % 600", "500 + i % 900"),
    )
    for kind, (normal, status, due, paid) in enumerate(kinds):
        seed.copies(
            "core_invoice",
            seed.count(normal),
            invoice_number=f"'INV-{kind}-' || i",
            project_id=f"1 + i % {seed.projects}",
            status=status,
            due_date=seed.say.day(due),
            total_amount="500 + i % 900",
            amount_paid=paid,
        )


def mark_overdue(say: Dialect) -> str:
    return (
        "UPDATE core_invoice SET status = 'OVERDUE' WHERE status IN ('SENT', 'VIEWED', 'APPROVED', 'PARTIAL') "
        f"AND due_date < {say.day()} AND total_amount > amount_paid"
    )


def update_statuses(say: Dialect) -> Sequence[str]:
    return (
        mark_overdue(say),
        f"UPDATE core_invoice SET status = 'PAID', paid_date = coalesce(paid_date, {say.now}) "
        "WHERE status IN ('SENT', 'VIEWED', 'APPROVED', 'PARTIAL', 'OVERDUE') "
        "AND total_amount > 0 AND amount_paid >= total_amount",
    )


def check_overdue(say: Dialect) -> Sequence[str]:
    stage = " ".join(f"WHEN due_date <= {say.day(-days)} THEN {days}" for days in (90, 60, 30, 7))
    overdue = f"""overdue AS (
    SELECT id, invoice_number, due_date, total_amount - amount_paid AS balance, {say.days_since("due_date")} AS days,
           CASE {stage} ELSE 1 END AS stage
    FROM core_invoice WHERE status = 'OVERDUE' AND due_date < {say.day()} AND total_amount > amount_paid
)"""
    return (
        mark_overdue(say),
        f"""
{LEDGER}
WITH people AS (
    SELECT u.id FROM auth_user u WHERE u.is_active AND (u.is_staff OR u.is_superuser OR EXISTS (
        SELECT 1 FROM auth_user_groups m JOIN auth_group g ON g.id = m.group_id
        WHERE m.user_id = u.id AND g.name = 'Accounting'))
), {overdue}
SELECT 'invoice_overdue', o.id, o.due_date, p.id, o.stage, {say.now}, 0 FROM overdue o CROSS JOIN people p
WHERE NOT EXISTS (SELECT 1 FROM kibray_ops_alert a WHERE a.kind = 'invoice_overdue' AND a.subject_id = o.id
    AND a.subject_date = o.due_date AND a.recipient_id = p.id AND a.stage >= o.stage)
""",
        f"""
{NOTIFY}
WITH {overdue}, news AS (
    SELECT a.recipient_id, o.*, count(*) OVER (PARTITION BY a.recipient_id) AS many
    FROM kibray_ops_alert a JOIN overdue o ON o.id = a.subject_id WHERE a.kind = 'invoice_overdue' AND a.run_id = 0
), first AS (
    SELECT {say.joined("invoice_number")} AS numbers
    FROM (SELECT invoice_number FROM overdue ORDER BY balance * days DESC LIMIT 5) f
)
SELECT recipient_id, 'alert', count(*) || ' invoices are overdue: ' || sum(balance), (SELECT numbers FROM first),
       'invoice', CAST(NULL AS bigint), '/invoices/', false, {say.now}, CAST(NULL AS bigint)
FROM news WHERE many > 10 GROUP BY recipient_id
UNION ALL
SELECT recipient_id, 'alert', invoice_number || ' is overdue: ' || balance, '', 'invoice', id,
       '/invoices/' || id || '/', false, {say.now}, NULL FROM news WHERE many <= 10
""",
    )


def statuses(world: World) -> Any:
    """Return how many invoices have which status."""
    return world.sql("SELECT status, count(*) AS n FROM core_invoice GROUP BY status ORDER BY status")


WORKS = (
    Work(("invoices", "update-statuses"), f"{DAY}T01:00", by_sql(update_statuses), statuses),
    Work(
        ("invoices", "check-overdue"),
        f"{DAY}T06:00",
        by_sql(check_overdue),
        lambda world: (statuses(world), told(world)[0], len(told(world)[1])),
    ),
)
