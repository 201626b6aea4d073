"""The rule from hours to pay: pure functions on Decimals, no database.

Hours are decimal hours as the application stores them, rates dollars per hour, pay dollars.

Sources. Overtime over 40 hours in a workweek at not less than one and one-half times the regular rate: 29 CFR 778.107
and 778.110. A workweek stands alone: 778.104, .105. Two or more rates: the regular rate is the weighted average, all
straight-time pay over all hours: 778.115; it is not rounded before the premium is computed.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import ROUND_HALF_UP, Decimal, localcontext

from kibray_ops.errors import UsageError

OVERTIME_AFTER = Decimal(40)
"""Hours of a workweek (29 CFR 778.101)."""
OVERTIME_MULTIPLIER = Decimal("1.5")
"""Of the regular rate (29 CFR 778.107)."""
CENT = Decimal("0.01")
ZERO = Decimal(0)


@dataclass(frozen=True)
class Week:
    """A workweek, Monday to Sunday."""

    start: date

    @property
    def end(self) -> date:
        """Return the Sunday."""
        return self.start + timedelta(days=6)

    @property
    def days(self) -> tuple[date, ...]:
        """Return its seven days."""
        return tuple(self.start + timedelta(days=n) for n in range(7))

    @property
    def before(self) -> "Week":
        """Return the week before."""
        return Week(self.start - timedelta(days=7))

    def __str__(self) -> str:
        return f"{self.start} - {self.end}"


def week_of(day: date) -> Week:
    """Return the week that holds a day."""
    return Week(day - timedelta(days=day.weekday()))


def parse_week(text: str | None, today: date) -> Week:
    """Read the value of `--week`: `2025-W47`, any date in the week, `last` or `this`; nothing means last.

    Raises UsageError for what is no week, and for weeks that have not begun.
    """
    wrong = UsageError(
        f"--week {text!r} is no week.", hint="Write 2025-W47, a date in the week such as 2025-11-19, last or this."
    )
    word = (text or "last").strip().lower()
    try:
        if word == "last":
            week = week_of(today).before
        elif word == "this":
            week = week_of(today)
        elif match := re.fullmatch(r"(\d{4})-?w(\d{1,2})", word):
            week = Week(date.fromisocalendar(int(match[1]), int(match[2]), 1))
        elif re.fullmatch(r"\d{4}-\d{2}-\d{2}", word):
            week = week_of(date.fromisoformat(word))
        else:
            raise wrong
        _ = week.before, week.end
    except (ValueError, OverflowError):
        raise wrong from None
    if week.start > today:
        raise UsageError(f"The week {week} lies in the future.", hint="A payroll is generated when its week is over.")
    return week


@dataclass(frozen=True)
class Pay:
    """What a week's hours come to."""

    total_hours: Decimal
    regular_hours: Decimal
    overtime_hours: Decimal
    hourly_rate: Decimal
    """To be shown and stored: the regular rate, rounded to the cent."""
    gross: Decimal
    """Rounded once, half up, from the exact sum."""
    rates: tuple[tuple[Decimal, Decimal], ...]
    """(rate, hours) of each rate that was worked at, lowest rate first."""

    @property
    def is_mixed(self) -> bool:
        """Tell whether more than one rate was worked at."""
        return len(self.rates) > 1


def weekly_pay(
    work: Iterable[tuple[Decimal, Decimal]], base_rate: Decimal, *, multiplier: Decimal | None = OVERTIME_MULTIPLIER
) -> Pay:
    """Compute a week's pay from (hours, rate) pairs (29 CFR 778.107, .110, .115).

    `multiplier` None is straight time: every hour is regular. Without hours the base rate is shown and the pay is 0.
    """
    by_rate: dict[Decimal, Decimal] = {}
    for hours, rate in work:
        if hours > 0:
            by_rate[rate] = by_rate.get(rate, ZERO) + hours
    with localcontext() as context:
        context.prec = 50  # the regular rate is a quotient and must not be rounded before the pay is
        total = sum(by_rate.values(), ZERO)
        straight = sum((hours * rate for rate, hours in by_rate.items()), ZERO)
        overtime = max(total - OVERTIME_AFTER, ZERO) if multiplier is not None else ZERO
        premium = straight * overtime * (multiplier - 1) / total if overtime and multiplier is not None else ZERO
        return Pay(
            total_hours=total,
            regular_hours=total - overtime,
            overtime_hours=overtime,
            hourly_rate=cents(straight / total) if total else cents(base_rate),
            gross=cents(straight + premium),
            rates=tuple(sorted(by_rate.items())),
        )


def cents(value: Decimal) -> Decimal:
    """Round dollars half up to the cent."""
    return value.quantize(CENT, ROUND_HALF_UP)
