"""What clients owe: when an invoice is past due, settled or odd, how old its balance is, how urgent it is to collect.

The conditions are SQL and stand here once: reports, updates and notices all use them. Dates count in whole days from
the due date: due today is not past due. Status words and the balance (never below 0): FACTS.md; ageing buckets and the
stages of the notices: SPEC §3.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Collection, Sequence
from datetime import date
from decimal import Decimal
from typing import Any, NamedTuple

from sqlalchemy import BigInteger, ColumnElement, Connection, and_, case, cast, func, null, or_, select, update
from sqlalchemy import Text as SQLText
from sqlalchemy.orm import Session

from kibray_ops.bulk import given
from kibray_ops.catalog import Catalog, table_of
from kibray_ops.job import WARNING, Problem, Run, printable
from kibray_ops.models.kibray.office import Invoice
from kibray_ops.models.kibray.projects import Project
from kibray_ops.payroll import ZERO

INVOICES, PROJECTS = table_of(Invoice), table_of(Project)
DRAFT, PAID, OVERDUE, CANCELLED = "DRAFT", "PAID", "OVERDUE", "CANCELLED"
SENT, VIEWED, APPROVED, PARTIAL = "SENT", "VIEWED", "APPROVED", "PARTIAL"
OPEN = (SENT, VIEWED, APPROVED, PARTIAL)
"""States of an invoice that the client has and that is not past due, as far as its status tells."""
KNOWN = (DRAFT, *OPEN, OVERDUE, PAID, CANCELLED)
NEVER_OWED = (DRAFT, CANCELLED)
LARGEST = Decimal("9999999999999.99")
"""More than the amounts' columns hold, but for NaN: PostgreSQL takes it, and ranks it above every number."""

CURRENT = "current"
BUCKETS = (CURRENT, "1-30", "31-60", "61-90", "over 90")
"""Ageing buckets, in days past due."""
LAST_DAYS = (0, 30, 60, 90)
"""The last day of each but the last."""
STAGES = (1, 7, 30, 60, 90)
"""Days past due at which people are told (again)."""
NAMED_ODDITIES = 20
"""How many invoices of one kind of oddity are named one by one."""


# ---- conditions


def is_owed() -> ColumnElement[bool]:
    """Return the condition for a balance due."""
    return and_(INVOICES.c.total_amount > INVOICES.c.amount_paid, INVOICES.c.total_amount <= LARGEST)


def is_past_due(on: date) -> ColumnElement[bool]:
    """Return the condition for an invoice that the client should have paid before a date."""
    return and_(INVOICES.c.status.in_((*OPEN, OVERDUE)), INVOICES.c.due_date < on, is_owed())


def is_settled() -> ColumnElement[bool]:
    """Return the condition for an invoice that is fully paid and does not say so; unknown states are left alone."""
    return and_(
        INVOICES.c.status.in_((*OPEN, OVERDUE)),
        INVOICES.c.total_amount > 0,
        INVOICES.c.amount_paid >= INVOICES.c.total_amount,
        INVOICES.c.amount_paid <= LARGEST,
    )


def is_no_longer_past_due(on: date) -> ColumnElement[bool]:
    """Return the condition for an invoice that says OVERDUE and is not: its due date was moved or taken out."""
    return and_(
        INVOICES.c.status == OVERDUE,
        or_(INVOICES.c.due_date.is_(None), INVOICES.c.due_date >= on),
        is_owed(),
    )


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


ODDITIES: dict[str, tuple[ColumnElement[bool], str]] = {
    "unknown_status": (
        INVOICES.c.status.not_in(KNOWN),
        "has a status that Kibray does not know; it is left alone",
    ),
    "odd_amount": (
        and_(
            INVOICES.c.status.not_in((*NEVER_OWED, PAID)),
            or_(INVOICES.c.total_amount < 0, INVOICES.c.amount_paid < 0)
            | or_(INVOICES.c.total_amount > LARGEST, INVOICES.c.amount_paid > LARGEST),
        ),
        "has an amount below zero, or one that is no number",
    ),
    "zero_amount": (
        and_(INVOICES.c.status.not_in((*NEVER_OWED, PAID)), INVOICES.c.total_amount == 0),
        "has an amount of 0: there is nothing to collect",
    ),
    "credit": (
        and_(
            INVOICES.c.status.not_in(NEVER_OWED),
            INVOICES.c.amount_paid.between(0, LARGEST),
            INVOICES.c.amount_paid > INVOICES.c.total_amount,
        ),
        "was paid more than it asks for",
    ),
    "no_due_date": (
        and_(INVOICES.c.status.in_((*OPEN, OVERDUE)), INVOICES.c.due_date.is_(None), is_owed()),
        "has no due date, so it never becomes overdue",
    ),
    "paid_unpaid": (
        and_(INVOICES.c.status == PAID, is_owed()),
        "says PAID, but by its amounts it is not",
    ),
}
"""What somebody should look at: kind → its condition and its words."""


def is_odd() -> ColumnElement[bool]:
    """Return the condition for an invoice at which somebody should look before it is paid."""
    return and_(INVOICES.c.status != PAID, or_(*(condition for condition, _ in ODDITIES.values())))


# ---- what they come to


class Receivable(NamedTuple):
    """One invoice as of a date."""

    id: int
    number: str
    project_id: int
    project: str
    client: str
    status: str
    next_status: str | None
    is_past_due: bool
    due_date: date | None
    total: Decimal
    paid: Decimal
    retention: Decimal
    flags: tuple[str, ...]
    on: date

    @property
    def balance(self) -> Decimal:
        """Return what is still due, never below 0."""
        return max(self.total - self.paid, ZERO)

    @property
    def credit(self) -> Decimal:
        """Return what was paid beyond the total."""
        return max(self.paid - self.total, ZERO)

    @property
    def days_past_due(self) -> int:
        """Return the whole days since the due date; 0 when there is none or it is not past."""
        return 0 if self.due_date is None else max((self.on - self.due_date).days, 0)

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


def read(
    session: Session | Connection,
    catalog: Catalog,
    on: date,
    where: ColumnElement[bool],
    *also: ColumnElement[Any],
    lock: bool = False,
) -> tuple[list[Receivable], tuple[Any, ...]]:
    """Return the invoices that meet a condition, the most urgent first, and the values of further scalar columns.

    `lock` holds the invoices until the transaction ends, so that what is decided of them stays true.
    """
    statement = (
        select(
            INVOICES.c.id,
            INVOICES.c.invoice_number,
            INVOICES.c.project_id,
            PROJECTS.c.name,
            PROJECTS.c.client,
            INVOICES.c.status,
            next_status(on).label("next_status"),
            is_past_due(on).label("is_past_due"),
            INVOICES.c.due_date,
            INVOICES.c.total_amount,
            INVOICES.c.amount_paid,
            catalog.optional(Invoice, "retention_amount"),
            *(condition.label(kind) for kind, (condition, _) in ODDITIES.items()),
            *also,
        )
        .outerjoin(PROJECTS, PROJECTS.c.id == INVOICES.c.project_id)
        .where(where)
        .order_by(INVOICES.c.id)
    )
    if lock:
        # NO KEY: a payment that the application inserts at this moment may still refer to its invoice.
        statement = statement.with_for_update(of=INVOICES, key_share=True)
    last = 12 + len(ODDITIES)
    found, more = [], ()
    for row in session.execute(statement):
        key, number, project_id, project, client, status, after, past_due, due, total, paid, retention = row[:12]
        is_number = total.is_finite() and paid.is_finite()  # what is none is flagged as odd
        odd = row[12:last]
        flags = tuple(kind for kind, is_so in zip(ODDITIES, odd, strict=True) if is_so) if any(odd) else ()
        found.append(
            Receivable(
                id=key,
                number=printable(number) or f"#{key}",
                project_id=project_id,
                project=printable(project or "") or f"project {project_id}",
                client=printable(client or ""),
                status=printable(status),
                next_status=after,
                is_past_due=bool(past_due),
                due_date=due,
                total=total if is_number else ZERO,
                paid=paid if is_number else ZERO,
                retention=retention or ZERO,
                flags=flags,
                on=on,
            )
        )
        more = tuple(row[last:])
    return sorted(found, key=_urgency), more


def _urgency(invoice: Receivable) -> tuple[Any, ...]:
    return -invoice.priority, -invoice.days_past_due, -invoice.balance, invoice.id


def write_statuses(run: Run, invoices: Sequence[Receivable]) -> None:
    """Bring invoices that are held into their next state, all by one statement.

    What becomes PAID gets a `paid_date` where it has none, and `is_paid` where the application still has that column.
    """
    changing = [{"id": invoice.id, "status": invoice.next_status} for invoice in invoices if invoice.next_status]
    if not changing:
        return
    target = run.catalog.table(Invoice)
    new = given(run.session, {"id": BigInteger(), "status": SQLText()}, changing)
    is_paid = new.c.status == PAID
    values: dict[str, Any] = {
        "status": new.c.status,
        "paid_date": case((is_paid, func.coalesce(target.c.paid_date, run.now)), else_=target.c.paid_date),
    }
    if "is_paid" in target.c:
        values["is_paid"] = or_(target.c.is_paid, is_paid)
    run.session.execute(update(target).where(target.c.id == new.c.id).values(values))


def outstanding() -> ColumnElement[int]:
    """Return the sum of all balances in cents, added up by the database itself: what the buckets must come to."""
    cents = cast(func.round((INVOICES.c.total_amount - INVOICES.c.amount_paid) * 100), BigInteger)
    total = select(func.coalesce(func.sum(cents), 0)).where(is_outstanding())
    return total.scalar_subquery().label("outstanding")


def is_outstanding() -> ColumnElement[bool]:
    """Return the condition for an invoice that somebody owes us something for, whatever its state says."""
    return and_(INVOICES.c.status.not_in(NEVER_OWED), is_owed())


def problems(invoices: Collection[Receivable]) -> list[Problem]:
    """Return what is odd about invoices: one by one, and only counted where there are very many of a kind."""
    found: list[Problem] = []
    for kind, (_, words) in ODDITIES.items():
        odd = [invoice for invoice in invoices if kind in invoice.flags]
        found += [Problem(WARNING, kind, invoice.number, words) for invoice in odd[:NAMED_ODDITIES]]
        if (left := len(odd) - NAMED_ODDITIES) > 0:
            found.append(Problem(WARNING, kind, f"{left} more", f"{words}; --json and --csv list them all"))
    return found
