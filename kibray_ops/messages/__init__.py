"""The texts that people get, in their language: one module for each, with the same functions.

The functions take plain values and return a title and a body; `texts` picks the module.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Protocol

from kibray_ops.payroll import Week

TITLE_LENGTH = 200
"""Characters that `core_notification.title` holds."""
NAMED = 5
"""How many items a text names before it only counts them."""


@dataclass(frozen=True)
class Message:
    """What one person reads: a title of one line, and a body."""

    title: str
    body: str

    def __post_init__(self) -> None:
        # Names come last in a title, so that a long one is cut, never a number.
        if len(self.title) > TITLE_LENGTH:
            object.__setattr__(self, "title", f"{self.title[: TITLE_LENGTH - 1].rstrip()}…")


@dataclass(frozen=True)
class OverdueInvoice:
    """What a text tells of an invoice that is past due."""

    number: str
    project: str
    client: str
    due: date
    days: int
    balance: Decimal

    @property
    def whose(self) -> str:
        """Return the project, and its client where there is one."""
        return f"{self.project}, {self.client}" if self.client else self.project


@dataclass(frozen=True)
class PayrollReady:
    """What a text tells of a week's payroll that waits for review."""

    week: Week
    records: int
    hours: Decimal
    gross: Decimal
    flagged: Sequence[tuple[str, str]]
    """Who should be looked at, and the gravest flag of each."""
    counts: Sequence[tuple[str, int]]
    """How many have each flag."""


class Texts(Protocol):
    """The texts in one language."""

    def overdue_invoice(self, invoice: OverdueInvoice) -> Message: ...

    def overdue_invoices(self, count: int, balance: Decimal, first: Sequence[OverdueInvoice]) -> Message: ...

    def payroll_ready(self, payroll: PayrollReady) -> Message: ...


def texts(language: str | None) -> Texts:
    """Return the texts in a language of `core_profile.language`; English for any other and for none."""
    from kibray_ops.messages import en, es

    return es if language == "es" else en


def money(amount: Decimal) -> str:
    """Return an amount of dollars, as both languages write it in the United States."""
    return f"-${-amount:,.2f}" if amount < 0 else f"${amount:,.2f}"


def listed(first: Sequence[str], count: int, more: str) -> str:
    """Return the first of so many items, a line each; `more` tells, with a {count}, of those that are left out."""
    lines = [f"- {item}" for item in first]
    if count > len(first):
        lines.append(more.format(count=count - len(first)))
    return "\n".join(lines)
