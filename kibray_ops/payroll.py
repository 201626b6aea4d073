"""The rule from hours to pay, and what is odd about time entries: pure functions on Decimals, no database.

Hours are decimal hours as the application stores them, rates dollars per hour, pay dollars.

Sources. Overtime over 40 hours in a workweek at not less than one and one-half times the regular rate: 29 CFR 778.107 and
778.110. A workweek stands alone: 778.104, .105. Two or more rates: the regular rate is the weighted average, all
straight-time pay over all hours: 778.115; it is not rounded before the premium is computed. Hours across a clock
change must be credited as actually worked (DOL eLaws, hours worked), which wall-clock times cannot tell: such entries are named.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import ROUND_HALF_UP, Decimal, localcontext
from zoneinfo import ZoneInfo

from kibray_ops.errors import UsageError

OVERTIME_AFTER = Decimal(40)
"""Hours of a workweek (29 CFR 778.101)."""
OVERTIME_MULTIPLIER = Decimal("1.5")
"""Of the regular rate (29 CFR 778.107)."""
LONGEST_ENTRY = Decimal(24)
CENT = Decimal("0.01")
ZERO = Decimal(0)
NO_PROJECT = "0"
"""Key of hours without a project: the application looks keys up as project ids, and no project is 0 (FACTS.md)."""


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
class Entry:
    """One time entry; `rate` is its own rate where the application stored one."""

    id: int
    date: date
    start: time
    end: time | None
    hours: Decimal | None
    project_id: int | None = None
    rate: Decimal | None = None

    @property
    def paid_hours(self) -> Decimal:
        """Return the hours that count: null, zero and negative ones count 0."""
        return self.hours if self.hours is not None and self.hours > 0 else ZERO

    @property
    def span(self) -> tuple[datetime, datetime] | None:
        """Return the wall-clock times of the shift; past midnight where it ends before it starts. None while open."""
        if self.end is None:
            return None
        begin, end = datetime.combine(self.date, self.start), datetime.combine(self.date, self.end)
        return begin, end + timedelta(days=1) if self.end < self.start else end


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


def hours_by_project(entries: Iterable[Entry]) -> dict[str, dict[str, float]]:
    """Return `{"12": {"hours": 8.5}}`, never empty: without hours the application would charge every project."""
    hours: dict[str, Decimal] = {}
    for entry in entries:
        if entry.paid_hours:
            project = NO_PROJECT if entry.project_id is None else str(entry.project_id)
            hours[project] = hours.get(project, ZERO) + entry.paid_hours
    return {project: {"hours": float(hours[project])} for project in sorted(hours, key=int)} or {
        NO_PROJECT: {"hours": 0.0}
    }


def missing_days(entries: Iterable[Entry], week: Week) -> list[str]:
    """Return the dates, Monday to Friday, that have no entry at all."""
    present = {entry.date for entry in entries}
    return [day.isoformat() for day in week.days[:5] if day not in present]


@dataclass(frozen=True)
class Finding:
    """One kind of oddity in an employee's week, and the entries that show it."""

    kind: str
    message: str
    dates: tuple[date, ...] = ()
    entry_ids: tuple[int, ...] = ()


_ODD_HOURS: tuple[tuple[str, str], ...] = (
    ("open_entry", "has no end time"),
    ("zero_length", "starts and ends at the same time"),
    ("negative_hours", "has negative hours"),
    ("no_hours", "has no hours"),
    ("over_24_hours", "has more than 24 hours"),
)


def findings(entries: Sequence[Entry], week: Week, zone: ZoneInfo) -> list[Finding]:
    """Return what is odd about one employee's entries; nobody is held back by it, and nothing of it is silent.

    Entries of the days around the week may be among them: they count only as what an entry of the week overlaps.
    """
    own = [entry for entry in entries if week.start <= entry.date <= week.end]
    odd: dict[str, list[tuple[Entry, str]]] = {}
    words = dict(_ODD_HOURS)
    for entry in own:
        if kind := _odd_hours(entry):
            odd.setdefault(kind, []).append((entry, words[kind]))
        if change := _clock_change(entry, zone):
            odd.setdefault("clock_change", []).append((entry, change))
    for earlier, later in _overlaps(entries):
        for entry, other in ((later, earlier), (earlier, later)):
            if entry in own:
                odd.setdefault("overlap", []).append((entry, f"overlaps {_shift(other)}"))
                break
    return [
        Finding(
            kind,
            "; ".join(f"{_shift(entry)} {reason}, {_counted(entry)}" for entry, reason in found),
            tuple(dict.fromkeys(entry.date for entry, _ in found)),
            tuple(entry.id for entry, _ in found),
        )
        for kind, found in odd.items()
    ]


def _odd_hours(entry: Entry) -> str | None:
    if entry.end is None:
        return "open_entry"
    if entry.hours is not None and entry.hours < 0:
        return "negative_hours"
    if entry.hours is not None and entry.hours > LONGEST_ENTRY:
        return "over_24_hours"
    if entry.end == entry.start:
        return "zero_length"
    return None if entry.paid_hours else "no_hours"


def _clock_change(entry: Entry, zone: ZoneInfo) -> str | None:
    """Tell when the clock was changed during a shift: its stored hours are wall-clock hours."""
    if entry.span is None:
        return None
    begin, end = (moment.replace(tzinfo=zone) for moment in entry.span)
    change = (begin.utcoffset() or timedelta()) - (end.utcoffset() or timedelta())
    if not change:
        return None
    minutes = abs(int(change.total_seconds())) // 60
    really = (end.astimezone(UTC) - begin.astimezone(UTC)).total_seconds() / 3600
    return f"spans the clock change ({'+' if change > timedelta() else '-'}{minutes} min: {really:g} h from start to end)"


def _overlaps(entries: Sequence[Entry]) -> list[tuple[Entry, Entry]]:
    """Return each entry that begins before an earlier one has ended, with that earlier one."""
    spans = sorted(
        (span[0], span[1], entry.id, entry)
        for entry in entries
        if (span := entry.span) is not None and span[0] != span[1]
    )
    pairs: list[tuple[Entry, Entry]] = []
    last_end, last = None, None
    for begin, end, _, entry in spans:
        if last is not None and last_end is not None and begin < last_end:
            pairs.append((last, entry))
        if last_end is None or end > last_end:
            last_end, last = end, entry
    return pairs


def _shift(entry: Entry) -> str:
    return f"{entry.date:%a %m-%d} {entry.start:%H:%M}-{entry.end:%H:%M}" if entry.end else (
        f"{entry.date:%a %m-%d} {entry.start:%H:%M}-open"
    )


def _counted(entry: Entry) -> str:
    return f"{trimmed(entry.paid_hours)} h counted"


def trimmed(value: Decimal) -> str:
    """Return hours without trailing zeros: 8, 7.5, 10.25."""
    return f"{value.normalize():f}" if value else "0"

