"""The texts that people get, in their language: one module for each, with the same functions.

`texts` picks the module; its functions return a title of one line and a body.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Protocol

from kibray_ops.payroll import Week

if TYPE_CHECKING:
    from kibray_ops.receivables import Receivable

NAMED = 5
"""How many items a text names before it only counts them."""


@dataclass(frozen=True)
class Message:
    """What one person reads. Names stand last in the title, so that what is cut off a long one is no number."""

    title: str
    body: str


@dataclass(frozen=True)
class PayrollReady:
    """What there is to tell of a week's payroll that waits for review; amounts in dollars."""

    week: Week
    records: int
    hours: Decimal
    gross: Decimal
    flagged: Sequence[tuple[str, str]]
    """Who should be looked at, and the gravest flag of each; the gravest first."""
    counts: Sequence[tuple[str, int]]
    """How many people have each flag."""


class Texts(Protocol):
    """The texts in one language."""

    def overdue_invoice(self, invoice: "Receivable") -> Message: ...

    def overdue_invoices(self, invoices: "Sequence[Receivable]") -> Message: ...

    def payroll_ready(self, payroll: PayrollReady) -> Message: ...


def texts(language: str | None) -> Texts:
    """Return the texts in a language of `core_profile.language`; English for any other and for none."""
    from kibray_ops.messages import en, es

    return es if language == "es" else en


def dollars(amount: Decimal) -> str:
    """Return an amount as both languages write it in the United States."""
    return f"-${-amount:,.2f}" if amount < 0 else f"${amount:,.2f}"


def listed(first: Sequence[str], count: int, more: str) -> str:
    """Return the first of so many items, a line each; `more` tells, with a {count}, of those that are left out."""
    lines = [f"- {item}" for item in first]
    if count > len(first):
        lines.append(more.format(count=count - len(first)))
    return "\n".join(lines)
