"""The texts that people get, in their language: one module for each, with the same functions.

`texts` picks the module; its functions return a title of one line and a body.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, NamedTuple, Protocol

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


class Shortage(NamedTuple):
    """An item in stock that is below its threshold; quantities in its own unit."""

    item_id: int
    name: str
    category: str
    unit: str
    have: Decimal
    need: Decimal

    @property
    def short(self) -> Decimal:
        """Return how much is missing."""
        return self.need - self.have


class TouchUp(NamedTuple):
    """A touch-up that should not wait, and for how many days it has waited."""

    title: str
    priority: str
    days: int


class ProjectTouchUps(NamedTuple):
    """A project's urgent and high-priority touch-ups that are open."""

    project_id: int
    project: str
    total: int
    urgent: int
    oldest: int
    """Days, as the business zone counts them."""
    first: tuple[TouchUp, ...]
    """As many as a text names, the most urgent first."""

    @property
    def high(self) -> int:
        """Return how many have a high priority."""
        return self.total - self.urgent


class LatePlan(NamedTuple):
    """A daily plan that is still a draft, past its deadline."""

    id: int
    project_id: int | None
    """None where the project is gone, which SQLite lets happen."""
    project: str
    plan_date: date
    deadline: datetime
    """In the business zone."""
    late: timedelta
    creator_id: int | None
    creator: str


class Texts(Protocol):
    """The texts in one language."""

    def overdue_invoice(self, invoice: "Receivable") -> Message: ...

    def overdue_invoices(self, invoices: "Sequence[Receivable]") -> Message: ...

    def payroll_ready(self, payroll: PayrollReady) -> Message: ...

    def low_stock(self, shortages: Sequence[Shortage]) -> Message: ...

    def touchups(self, touchups: ProjectTouchUps) -> Message: ...

    def touchups_of_projects(self, projects: Sequence[ProjectTouchUps]) -> Message: ...

    def late_plan(self, plan: LatePlan) -> Message: ...

    def late_plans(self, plans: Sequence[LatePlan]) -> Message: ...

    def greeting(self, name: str) -> str: ...

    def news(self, count: int) -> str: ...

    def sender_note(self) -> str: ...

    def see_it(self) -> str: ...

    def more(self, count: int) -> str: ...


def texts(language: str | None) -> Texts:
    """Return the texts in a language of `core_profile.language`; English for any other and for none."""
    from kibray_ops.messages import en, es

    return es if language == "es" else en


def dollars(amount: Decimal) -> str:
    """Return an amount as both languages write it in the United States."""
    return f"-${-amount:,.2f}" if amount < 0 else f"${amount:,.2f}"


def in_brackets(unit: str) -> str:
    """Return a unit to stand behind a text; nothing where there is none."""
    return f" ({unit})" if unit else ""


def in_words(span: timedelta, units: Sequence[tuple[str, str]]) -> str:
    """Return a span in whole minutes, hours or days; `units` are those three words, each for one and for several."""
    minutes = max(int(span.total_seconds() // 60), 1)
    count, (one, many) = (
        (minutes, units[0])
        if minutes < 60
        else (minutes // 60, units[1])
        if minutes < 24 * 60
        else (minutes // (24 * 60), units[2])
    )
    return f"{count:,} {one if count == 1 else many}"


def listed(first: Sequence[str], count: int, more: str) -> str:
    """Return the first of so many items, a line each; `more` tells, with a {count}, of those left out."""
    lines = [f"- {item}" for item in first]
    if count > len(first):
        lines.append(more.format(count=count - len(first)))
    return "\n".join(lines)
