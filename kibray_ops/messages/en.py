"""Texts in English."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from kibray_ops.messages import NAMED, Message, PayrollReady, dollars, listed
from kibray_ops.payroll import ZERO, trimmed

if TYPE_CHECKING:
    from kibray_ops.receivables import Receivable

FLAGS = {
    "not_paid": "NOT PAID",
    "open_entry": "open entry",
    "overlap": "overlapping entries",
    "negative_hours": "negative hours",
    "over_24_hours": "more than 24 hours",
    "zero_length": "zero-length entry",
    "no_hours": "entry without hours",
    "clock_change": "clock change",
    "mixed_rates": "several rates",
    "no_rate": "rate of 0",
    "low_multiplier": "low overtime multiplier",
    "hours_changed": "hours changed since",
    "duplicate_record": "duplicate record",
    "no_period": "record without period",
    "other_period": "record of another period",
    "no_project_hours": "no project hours",
    "inactive": "inactive employee",
    "zero_hours": "no hours",
    "missing_days": "days without an entry",
}
"""Flag of a payroll line → its words."""


def overdue_invoice(invoice: "Receivable") -> Message:
    days, owed = _days(invoice.days_past_due), dollars(invoice.balance)
    return Message(
        f"Invoice {invoice.number} is {days} overdue: {owed}, {invoice.project}",
        f"{owed} of invoice {invoice.number} ({invoice.whose}) has been due since {invoice.due_date}, {days} ago.",
    )


def overdue_invoices(invoices: "Sequence[Receivable]") -> Message:
    count, balance = len(invoices), sum((invoice.balance for invoice in invoices), ZERO)
    items = [f"{i.number}: {dollars(i.balance)}, {_days(i.days_past_due)}, {i.whose}" for i in invoices[:NAMED]]
    return Message(
        f"{count} invoices are overdue: {dollars(balance)}",
        "Those that are new, or overdue for a good while longer than when you last heard of them; "
        "the most urgent first:\n" + listed(items, count, "and {count} more."),
    )


def payroll_ready(payroll: PayrollReady) -> Message:
    records = f"{payroll.records} {'record' if payroll.records == 1 else 'records'}"
    body = f"{records}, {trimmed(payroll.hours)} hours, {dollars(payroll.gross)} gross."
    if payroll.flagged:
        counted = ", ".join(f"{count} × {FLAGS[flag]}" for flag, count in payroll.counts)
        items = [f"{name}: {FLAGS[flag]}" for name, flag in payroll.flagged[:NAMED]]
        body += f"\nPlease check: {counted}.\n" + listed(items, len(payroll.flagged), "and {count} more.")
    return Message(f"The payroll for {payroll.week} is ready for review: {dollars(payroll.gross)}", body)


def _days(count: int) -> str:
    return "1 day" if count == 1 else f"{count} days"
