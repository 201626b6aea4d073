"""What clients owe: when an invoice is past due, settled or odd, how old its balance is, how urgent it is to collect.

The conditions are SQL and stand here once: reports, updates and notices all use them. Days are whole days since the due
date: what is due today is not past due. Status words and the balance (never below 0): FACTS.md; ageing buckets, stages
and the priority: SPEC §3.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from datetime import date
from decimal import Decimal
from functools import reduce
from operator import add
from typing import Any, NamedTuple

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Row,
    Select,
    Text,
    and_,
    case,
    cast,
    func,
    literal,
    null,
    or_,
    select,
    update,
)

from kibray_ops.bulk import given
from kibray_ops.catalog import Catalog, table_of
from kibray_ops.job import Problem, Run, called, warnings
from kibray_ops.models.kibray.invoices import Invoice
from kibray_ops.models.types import Moment, is_number
from kibray_ops.projects import PROJECTS
from kibray_ops.text import printable

INVOICES = table_of(Invoice)
DRAFT, PAID, OVERDUE, CANCELLED = "DRAFT", "PAID", "OVERDUE", "CANCELLED"
SENT, VIEWED, APPROVED, PARTIAL = "SENT", "VIEWED", "APPROVED", "PARTIAL"
SENT_OUT = (SENT, VIEWED, APPROVED, PARTIAL)
UNPAID = (*SENT_OUT, OVERDUE)
"""States of an invoice that the client has to pay, as far as its status tells."""
NEVER_OWED = (DRAFT, CANCELLED)
KNOWN = (*UNPAID, *NEVER_OWED, PAID)
ZERO = Decimal("0.00")
CURRENT = "current"
BUCKETS = (CURRENT, "1-30", "31-60", "61-90", "over 90")
"""Ageing buckets, in days past due."""
LAST_DAYS = (0, 30, 60, 90)
"""The last day of each but the last."""
STAGES = (1, 7, 30, 60, 90)
"""Days past due at which people are told (again)."""


# ---- conditions


def has_amounts() -> ColumnElement[bool]:
    """Return the condition for an invoice whose amounts are numbers: neither of them is NaN."""
    return and_(is_number(INVOICES.c.total_amount), is_number(INVOICES.c.amount_paid))


def is_owed() -> ColumnElement[bool]:
    """Return the condition for a balance due."""
    return and_(has_amounts(), INVOICES.c.total_amount > INVOICES.c.amount_paid)


def is_outstanding() -> ColumnElement[bool]:
    """Return the condition for an invoice that somebody owes us something for, whatever else its state says."""
    return and_(INVOICES.c.status.not_in(NEVER_OWED), is_owed())


def is_past_due(on: date) -> ColumnElement[bool]:
    """Return the condition for an invoice that the client should have paid before a date."""
    return and_(INVOICES.c.status.in_(UNPAID), INVOICES.c.due_date < on, is_owed())


def is_settled() -> ColumnElement[bool]:
    """Return the condition for an invoice that is fully paid and does not say so.

    What has a status that Kibray does not know, such as a hand-made REFUNDED, is not for us to call paid.
    """
    return and_(
        INVOICES.c.status.in_(UNPAID),
        has_amounts(),
        INVOICES.c.total_amount > 0,
        INVOICES.c.amount_paid >= INVOICES.c.total_amount,
    )


def is_no_longer_past_due(on: date) -> ColumnElement[bool]:
    """Return the condition for an invoice that says OVERDUE and is not: its due date was moved or taken out."""
    not_due = or_(INVOICES.c.due_date.is_(None), INVOICES.c.due_date >= on)
    return and_(INVOICES.c.status == OVERDUE, not_due, is_owed())


def next_status(on: date) -> ColumnElement[str | None]:
    """Return the state that an invoice should change to; NULL where it is right.

    What is no longer past due goes back to where its payments and dates say that it was.
    """
    before = case(
        (INVOICES.c.amount_paid > 0, PARTIAL),
        (INVOICES.c.approved_date.is_not(None), APPROVED),
        (INVOICES.c.viewed_date.is_not(None), VIEWED),
        else_=SENT,
    )
    return case(
        (and_(is_past_due(on), INVOICES.c.status != OVERDUE), OVERDUE),
        (is_settled(), PAID),
        (is_no_longer_past_due(on), before),
        else_=null(),
    )


_ASKED_FOR = INVOICES.c.status.not_in((*NEVER_OWED, PAID))
ODDITIES: dict[str, tuple[ColumnElement[bool], str]] = {
    "unknown_status": (
        INVOICES.c.status.not_in(KNOWN),
        "has a status that Kibray does not know; it is left alone",
    ),
    "odd_amount": (
        and_(_ASKED_FOR, or_(~has_amounts(), INVOICES.c.total_amount < 0, INVOICES.c.amount_paid < 0)),
        "has an amount below zero, or one that is no number",
    ),
    "zero_amount": (
        and_(_ASKED_FOR, INVOICES.c.total_amount == 0),
        "has an amount of 0: there is nothing to collect",
    ),
    "credit": (
        and_(
            INVOICES.c.status.not_in(NEVER_OWED), has_amounts(), INVOICES.c.amount_paid > INVOICES.c.total_amount
        ),
        "was paid more than it asks for",
    ),
    "no_due_date": (
        and_(INVOICES.c.status.in_(UNPAID), INVOICES.c.due_date.is_(None), is_owed()),
        "has no due date, so it never becomes overdue",
    ),
    "paid_unpaid": (
        and_(INVOICES.c.status == PAID, is_owed()),
        "says PAID, but by its amounts it is not",
    ),
}  # fmt: skip
"""What somebody should look at: kind → its condition and its words."""


def is_odd() -> ColumnElement[bool]:
    """Return the condition for an invoice at which somebody should look."""
    return or_(*(condition for condition, _ in ODDITIES.values()))


def flags() -> ColumnElement[str]:
    """Return the kinds of everything that is odd about an invoice, each with a space behind it; mostly empty."""
    each = (case((condition, literal(f"{kind} ", Text)), else_="") for kind, (condition, _) in ODDITIES.items())
    return reduce(add, each)


def outstanding() -> ColumnElement[int]:
    """Return the sum of all balances in cents, as the database adds it up by itself."""
    cents = cast(func.round((INVOICES.c.total_amount - INVOICES.c.amount_paid) * 100), BigInteger)
    return select(func.coalesce(func.sum(cents), 0)).where(is_outstanding()).scalar_subquery().label("outstanding")


# ---- invoices


class Receivable(NamedTuple):
    """One invoice as of a date; amounts in dollars, ages in whole days."""

    id: int
    number: str
    project_id: int | None
    """None where the project is gone, which SQLite lets happen."""
    project: str
    client: str
    status: str
    next_status: str | None
    is_past_due: bool
    is_no_longer_past_due: bool
    due_date: date | None
    total: Decimal
    paid: Decimal
    retention: Decimal
    balance: Decimal
    """What is still due, never below 0."""
    days_past_due: int
    """0 when there is no due date or it is not past."""
    flags: tuple[str, ...]

    @property
    def credit(self) -> Decimal:
        """Return what was paid beyond the total."""
        return max(self.paid - self.total, ZERO)

    @property
    def bucket(self) -> str:
        """Return the ageing bucket: day 30 is 1-30, day 31 is 31-60."""
        return BUCKETS[bisect_left(LAST_DAYS, self.days_past_due)]

    @property
    def stage(self) -> int:
        """Return the highest stage reached, in days past due; 0 before the first."""
        reached = bisect_right(STAGES, self.days_past_due)
        return STAGES[reached - 1] if reached else 0

    @property
    def priority(self) -> Decimal:
        """Return how urgent it is to collect: balance times days past due, in dollar-days."""
        return self.balance * self.days_past_due

    @property
    def whose(self) -> str:
        """Return the project, and its client where there is one."""
        return f"{self.project}, {self.client}" if self.client else self.project

    def row(self) -> dict[str, Any]:
        """Return the invoice's line in a report."""
        return {
            "invoice_id": self.id,
            "invoice": self.number,
            "project_id": self.project_id,
            "project": self.project,
            "client": self.client,
            "status": self.status,
            "due_date": self.due_date,
            "days_past_due": self.days_past_due,
            "bucket": self.bucket,
            "total_amount": self.total,
            "amount_paid": self.paid,
            "balance": self.balance,
            "priority": self.priority,
            "flags": list(self.flags),
        }


def invoices(catalog: Catalog, on: date, where: ColumnElement[bool]) -> Select[Any]:
    """Return the statement that reads the invoices that meet a condition, for `receivables`."""
    return (
        select(
            INVOICES.c.id,
            INVOICES.c.invoice_number,
            INVOICES.c.project_id,
            PROJECTS.c.id.label("its_project"),
            PROJECTS.c.name,
            PROJECTS.c.client,
            INVOICES.c.status,
            next_status(on).label("next_status"),
            is_past_due(on).label("is_past_due"),
            is_no_longer_past_due(on).label("is_no_longer_past_due"),
            INVOICES.c.due_date,
            INVOICES.c.total_amount,
            INVOICES.c.amount_paid,
            catalog.optional(Invoice, "retention_amount"),
            has_amounts().label("has_amounts"),
            flags().label("flags"),
        )
        .outerjoin(PROJECTS, PROJECTS.c.id == INVOICES.c.project_id)
        .where(where)
        .order_by(INVOICES.c.id)  # who locks them locks them in the same order
    )


def receivables(rows: Iterable[Row[Any]], on: date) -> list[Receivable]:
    """Return what was read, the most urgent first: by priority, then by age."""
    found = [_receivable(row, on) for row in rows]
    return sorted(found, key=lambda invoice: (-invoice.priority, -invoice.days_past_due, -invoice.balance, invoice.id))


def _receivable(row: Row[Any], on: date) -> Receivable:
    total, paid = (row.total_amount, row.amount_paid) if row.has_amounts else (ZERO, ZERO)
    retention = row.retention_amount
    return Receivable(
        id=row.id,
        number=called(row.invoice_number, row.id),
        project_id=row.its_project,
        project=called(row.name, row.project_id),
        client=printable(row.client or ""),
        status=printable(row.status),
        next_status=row.next_status,
        is_past_due=bool(row.is_past_due),
        is_no_longer_past_due=bool(row.is_no_longer_past_due),
        due_date=row.due_date,
        total=total,
        paid=paid,
        retention=retention if retention is not None and retention.is_finite() else ZERO,
        balance=max(total - paid, ZERO),
        days_past_due=0 if row.due_date is None else max((on - row.due_date).days, 0),
        flags=tuple(row.flags.split()),
    )


def read(run: Run, where: ColumnElement[bool]) -> list[Receivable]:
    """Return the invoices that meet a condition, the most urgent first.

    A real run holds them until its transaction ends: what it decides of them stays true.
    """
    statement = invoices(run.catalog, run.business_date, where)
    if not run.dry_run:
        # NO KEY: a payment that the application inserts at this moment may still refer to its invoice.
        statement = statement.with_for_update(of=INVOICES, key_share=True)
    return receivables(run.session.execute(statement), run.business_date)


def write_statuses(run: Run, changing: Sequence[Receivable]) -> None:
    """Bring invoices that are held into their next state, all by one statement.

    What becomes PAID gets a `paid_date` where it has none, and `is_paid` where the application still has that column.
    """
    if not changing:
        return
    target = run.catalog.table(Invoice)
    rows = [{"id": invoice.id, "status": invoice.next_status} for invoice in changing]
    new = given(run.session, {"id": BigInteger(), "status": Text()}, rows)
    is_paid = new.c.status == PAID
    paid_date = func.coalesce(target.c.paid_date, literal(run.now, Moment))
    values: dict[str, Any] = {
        "status": new.c.status,
        "paid_date": case((is_paid, paid_date), else_=target.c.paid_date),
    }
    if "is_paid" in target.c:
        values["is_paid"] = or_(target.c.is_paid, is_paid)
    run.session.execute(update(target).where(target.c.id == new.c.id).values(values))


# ---- what they come to


def balance(found: Iterable[Receivable]) -> Decimal:
    """Return the sum of the balances."""
    return sum((invoice.balance for invoice in found), ZERO)


def by_bucket(found: Iterable[Receivable]) -> dict[str, Decimal]:
    """Return the balance in each ageing bucket."""
    totals = dict.fromkeys(BUCKETS, ZERO)
    for invoice in found:
        totals[invoice.bucket] += invoice.balance
    return totals


def problems(found: Sequence[Receivable]) -> list[Problem]:
    """Return what is odd about invoices: one by one, and only counted where there are very many of a kind."""
    stale = [
        (invoice.number, f"says OVERDUE, but {_due(invoice)}: update-statuses --reopen makes it {invoice.next_status}")
        for invoice in found
        if invoice.is_no_longer_past_due
    ]
    return warnings("no_longer_past_due", stale, "invoices") + [
        warning
        for kind, (_, words) in ODDITIES.items()
        for warning in warnings(kind, [(odd.number, words) for odd in found if kind in odd.flags], "invoices")
    ]


def _due(invoice: Receivable) -> str:
    return f"is due on {invoice.due_date}" if invoice.due_date else "has no due date"
