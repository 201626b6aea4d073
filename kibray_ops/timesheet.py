"""One employee's time entries of a week, and what is odd about them.

Pure: no database, no clock. Hours across a clock change must be credited as actually worked (DOL eLaws, hours worked),
which the application's wall-clock times cannot tell: such entries are named, like all that somebody should check.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

from kibray_ops.job import trimmed
from kibray_ops.payroll import ZERO, Week

LONGEST_ENTRY = Decimal(24)
"""Hours."""
NO_PROJECT = "0"
"""Key of hours without a project: the application looks keys up as project ids, and no project is 0 (FACTS.md)."""
ODD_HOURS = {
    "open_entry": "has no end time",
    "zero_length": "starts and ends at the same time",
    "negative_hours": "has negative hours",
    "no_hours": "has no hours",
    "over_24_hours": "has more than 24 hours",
}
KINDS = (*ODD_HOURS, "overlap", "clock_change", "missing_days", "zero_hours", "mixed_rates")
"""Types of a period's `validation_errors` that we write, and therefore also replace."""


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


def findings(entries: Sequence[Entry], week: Week, zone: ZoneInfo) -> list[Finding]:
    """Return what is odd about one employee's entries; nobody is held back by it, and nothing of it is silent.

    Entries of the days around the week may be among them: they count only as what an entry of the week overlaps.
    """
    own = [entry for entry in entries if week.start <= entry.date <= week.end]
    odd: dict[str, list[tuple[Entry, str]]] = {}
    for entry in own:
        if kind := _odd_hours(entry):
            odd.setdefault(kind, []).append((entry, ODD_HOURS[kind]))
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
    """Tell when the clock was, or may have been, changed during a shift: its stored hours are wall-clock hours."""
    if entry.span is None:
        return None
    begin, end = (moment.replace(tzinfo=zone) for moment in entry.span)
    # An hour that comes twice may be meant the second time, and one that never comes after the change.
    change = (begin.utcoffset() or timedelta()) - (end.replace(fold=1).utcoffset() or timedelta())
    if not change:
        return None
    if any(moment.utcoffset() != moment.replace(fold=1).utcoffset() for moment in (begin, end)):
        return "begins or ends in the hour that the clock change skips or repeats"
    minutes = abs(int(change.total_seconds())) // 60
    really = (end.astimezone(UTC) - begin.astimezone(UTC)).total_seconds() / 3600
    return (
        f"spans the clock change ({'+' if change > timedelta() else '-'}{minutes} min: {really:g} h from start to end)"
    )


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
    return (
        f"{entry.date:%a %m-%d} {entry.start:%H:%M}-{entry.end:%H:%M}"
        if entry.end
        else (f"{entry.date:%a %m-%d} {entry.start:%H:%M}-open")
    )


def _counted(entry: Entry) -> str:
    return f"{trimmed(entry.paid_hours)} h counted"
