"""The ageing of receivables: who owes what for how long."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection, or_

from kibray_ops import receivables
from kibray_ops.catalog import Catalog
from kibray_ops.errors import KibrayOpsError
from kibray_ops.job import Problem
from kibray_ops.receivables import BUCKETS, ZERO, Receivable

GROUPS: dict[str, Callable[[Receivable], Any]] = {
    "project": lambda invoice: (invoice.project_id, invoice.project),
    "client": lambda invoice: invoice.client,
    "invoice": lambda invoice: invoice.id,
}
"""What an ageing may be grouped by → the key of a group."""
REASONS = 3
"""How many invoices a line names as the reasons of its priority."""


@dataclass(frozen=True)
class Ageing:
    """The report: totals, one row for each group, the most urgent first, and what is odd."""

    as_of: date
    by: str
    result: dict[str, Any]
    rows: list[dict[str, Any]]
    problems: list[Problem]


def ageing(connection: Connection, catalog: Catalog, as_of: date, *, by: str = "project") -> Ageing:
    """Add up what is outstanding by ageing bucket; DRAFT and CANCELLED invoices owe nothing.

    The date moves the ages only: balances are those of this moment. Retention stands beside and is not subtracted, and
    so does credit. Raises KibrayOpsError when the buckets do not come to the sum that the database adds up itself.
    """
    concerned = or_(receivables.is_outstanding(), receivables.is_odd(), receivables.is_no_longer_past_due(as_of))
    # The database's own sum comes with the same statement: a payment between two would make them differ.
    statement = receivables.invoices(catalog, as_of, concerned).add_columns(receivables.outstanding())
    read = connection.execute(statement).all()
    found = receivables.receivables(read, as_of)
    groups: dict[Any, list[Receivable]] = {}
    for invoice in found:
        if invoice.balance or invoice.credit:
            groups.setdefault(GROUPS[by](invoice), []).append(invoice)
    rows = [_row(invoices, by) for invoices in groups.values()]
    rows.sort(key=lambda row: (-row["priority"], -row["outstanding"], str(row[by])))
    result = {
        "date": as_of,
        "invoices": sum(row["invoices"] for row in rows),
        **{name: _sum(row[name] for row in rows) for name in ("outstanding", "credit", "retention")},
        "buckets": {name: _sum(row["buckets"][name] for row in rows) for name in BUCKETS},
        "priority": _sum(row["priority"] for row in rows),
    }
    _assert_sum(result, Decimal(read[0].outstanding if read else 0) / 100)
    return Ageing(as_of, by, result, rows, receivables.problems(found))


def _assert_sum(result: dict[str, Any], outstanding: Decimal) -> None:
    if not result["outstanding"] == _sum(result["buckets"].values()) == outstanding:
        raise KibrayOpsError(
            f"The ageing buckets come to {_sum(result['buckets'].values())}, the balances to {outstanding}.",
            hint="This is a fault of kibray-ops: please report it, with the result of `kibray-ops db check`.",
        )


def _row(invoices: Sequence[Receivable], by: str) -> dict[str, Any]:
    """Return a group's line; the invoices come in the order of urgency."""
    first = invoices[0]
    names: dict[str, Any] = {"client": first.client or "(no client)"}
    if by != "client":
        names |= {"project_id": first.project_id, "project": first.project}
    if by == "invoice":
        names |= {"invoice_id": first.id, "invoice": first.number, "due_date": first.due_date, "status": first.status}
    return {
        **names,
        "invoices": sum(bool(invoice.balance) for invoice in invoices),
        "buckets": receivables.by_bucket(invoices),
        "outstanding": receivables.balance(invoices),
        "retention": _sum(invoice.retention for invoice in invoices if invoice.balance),
        "credit": _sum(invoice.credit for invoice in invoices),
        "days_past_due": max(invoice.days_past_due for invoice in invoices),
        "priority": _sum(invoice.priority for invoice in invoices),
        "reasons": [_reason(invoice) for invoice in invoices if invoice.priority][:REASONS],
        "flags": sorted({flag for invoice in invoices for flag in invoice.flags}),
    }


def _reason(invoice: Receivable) -> dict[str, Any]:
    return {
        "invoice": invoice.number,
        "balance": invoice.balance,
        "days_past_due": invoice.days_past_due,
        "partly_paid": invoice.paid > 0,
    }


def _sum(amounts: Iterable[Decimal]) -> Decimal:
    return sum(amounts, ZERO)
