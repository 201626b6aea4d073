"""Texts in English."""

from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING

from kibray_ops.job import trimmed
from kibray_ops.messages import (
    NAMED,
    LatePlan,
    Message,
    PayrollReady,
    ProjectTouchUps,
    Shortage,
    dollars,
    in_brackets,
    in_words,
    listed,
)
from kibray_ops.payroll import ZERO

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
MORE = "and {count:,} more."
"""How many of a list are left out."""
PRIORITIES = {"urgent": "urgent", "high": "high"}


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
        f"{count:,} invoices are overdue: {dollars(balance)}",
        "Those that are new, or overdue for a good while longer than when you last heard of them; "
        "the most urgent first:\n" + listed(items, count, MORE),
    )


def payroll_ready(payroll: PayrollReady) -> Message:
    records = f"{payroll.records} {'record' if payroll.records == 1 else 'records'}"
    body = f"{records}, {trimmed(payroll.hours)} hours, {dollars(payroll.gross)} gross."
    if payroll.flagged:
        counted = ", ".join(f"{count} × {FLAGS[flag]}" for flag, count in payroll.counts)
        items = [f"{name}: {FLAGS[flag]}" for name, flag in payroll.flagged[:NAMED]]
        body += f"\nPlease check: {counted}.\n" + listed(items, len(payroll.flagged), MORE)
    return Message(f"The payroll for {payroll.week} is ready for review: {dollars(payroll.gross)}", body)


def low_stock(shortages: Sequence[Shortage]) -> Message:
    first, count = shortages[0], len(shortages)
    items = [
        f"{s.name}: {trimmed(s.have)} of {trimmed(s.need)}, {trimmed(s.short)} short{in_brackets(s.unit)}"
        for s in shortages[:NAMED]
    ]
    return Message(
        f"{count:,} items are low in stock, lowest: {first.name}" if count > 1 else f"Low in stock: {first.name}",
        "Below the threshold, the emptiest first:\n" + listed(items, count, MORE),
    )


def touchups(touchups: ProjectTouchUps) -> Message:
    items = [f"{t.title} ({PRIORITIES[t.priority]}, {_days(t.days)})" for t in touchups.first]
    return Message(
        f"{_touchups(touchups)} open: {touchups.project}",
        f"{touchups.urgent} urgent, {touchups.high} high; the oldest has been open for "
        f"{_days(touchups.oldest)}.\n" + listed(items, touchups.total, MORE),
    )


def touchups_of_projects(projects: Sequence[ProjectTouchUps]) -> Message:
    count, total = len(projects), sum(project.total for project in projects)
    items = [
        f"{p.project}: {_touchups(p)} ({p.urgent} urgent), the oldest open for {_days(p.oldest)}"
        for p in projects[:NAMED]
    ]
    return Message(
        f"{count:,} projects have {total:,} high-priority touch-ups open",
        "The most urgent first:\n" + listed(items, count, MORE),
    )


def late_plan(plan: LatePlan) -> Message:
    return Message(
        f"The daily plan for {plan.plan_date} is still a draft: {plan.project}",
        f"The plan of {plan.project} for {plan.plan_date} should have been complete by "
        f"{plan.deadline:%Y-%m-%d %H:%M}, {lasting(plan.late)} ago.",
    )


def late_plans(plans: Sequence[LatePlan]) -> Message:
    items = [f"{plan.plan_date} {plan.project}: {lasting(plan.late)} late" for plan in plans[:NAMED]]
    return Message(
        f"{len(plans):,} daily plans are still drafts, past their deadline",
        "Those for today and later first, then the newest:\n" + listed(items, len(plans), MORE),
    )


def greeting(name: str) -> str:
    return f"Hello {name}," if name else "Hello,"


def news(count: int) -> str:
    return "1 new notification" if count == 1 else f"{count:,} new notifications"


def sender_note() -> str:
    return "Kibray sent this automatically; replies are not read."


def see_it() -> str:
    return "Open in Kibray"


def more(count: int) -> str:
    return MORE.format(count=count)


def lasting(span: timedelta) -> str:
    return in_words(span, (("minute", "minutes"), ("hour", "hours"), ("day", "days")))


def _touchups(touchups: ProjectTouchUps) -> str:
    return f"{touchups.total:,} high-priority {'touch-up' if touchups.total == 1 else 'touch-ups'}"


def _days(count: int) -> str:
    return {0: "less than a day", 1: "1 day"}.get(count, f"{count:,} days")
