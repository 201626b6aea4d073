"""One employee's week: the time entries, what is odd about them, what they come to, and the record that follows.

Pure: no database, no clock. Hours across a clock change must be credited as actually worked (DOL eLaws, hours worked),
which the application's wall-clock times cannot tell: such entries are named, like all that somebody should check.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from kibray_ops.job import FAILURE, WARNING, Problem
from kibray_ops.payroll import ZERO, Pay, Week, trimmed

LONGEST_ENTRY = Decimal(24)
"""Hours."""
NO_PROJECT = "0"
"""Key of hours without a project: the application looks keys up as project ids, and no project is 0 (FACTS.md)."""
CLOSED = ("approved", "paid")
"""States of a period that is never written."""
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
RATES_NOTE = "Rates this week:"
"""Beginning of the line that we write into a record's notes."""


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
    """Tell when the clock was changed during a shift: its stored hours are wall-clock hours."""
    if entry.span is None:
        return None
    begin, end = (moment.replace(tzinfo=zone) for moment in entry.span)
    change = (begin.utcoffset() or timedelta()) - (end.utcoffset() or timedelta())
    if not change:
        return None
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


@dataclass(frozen=True)
class Period:
    """The week's period; without an id the real run will make it."""

    id: int | None
    status: str
    validation_errors: list[dict[str, Any]]

    @property
    def is_closed(self) -> bool:
        return self.status in CLOSED


@dataclass
class Sheet:
    """One employee's week: the entries, what they come to, and the record that exists or is to be made."""

    employee_id: int
    name: str
    is_active: bool
    rate: Decimal
    week: Week
    entries: list[Entry]
    """Of the week and of the day before and after it."""
    pay: Pay
    straight: bool
    findings: list[Finding]
    records: list[dict[str, Any]] = field(default_factory=list)
    previous_gross: Decimal | None = None
    action: str = ""
    """created, exists, refreshed, kept (a closed period) or none (an inactive employee without hours)."""
    failure: str = ""
    warnings: list[tuple[str, str]] = field(default_factory=list)
    was: dict[str, Any] | None = None

    @property
    def own_entries(self) -> list[Entry]:
        return [entry for entry in self.entries if self.week.start <= entry.date <= self.week.end]

    @property
    def record(self) -> dict[str, Any] | None:
        return self.records[0] if self.records else None

    @property
    def missing_days(self) -> list[str]:
        return missing_days(self.own_entries, self.week)

    def decide(self, period: Period, *, refresh: bool) -> None:
        """Decide what becomes of this employee's record, and what somebody should know about it."""
        hours = self.pay.total_hours
        if self.record is None:
            if not self.is_active and not hours:
                self.action = "none"
            elif period.is_closed:
                self.action = "kept"
                if hours:
                    self.failure = f"worked {trimmed(hours)} h in a week that is {period.status}, without a record"
            else:
                self.action = "created"
            return
        self.action = "exists"
        bounds = (self.week.start, self.week.end)
        others = [record for record in self.records if (record["week_start"], record["week_end"]) != bounds]
        if others:
            self.failure = (
                f"record {others[0]['id']} is for {others[0]['week_start']} - {others[0]['week_end']}, which overlaps "
                "the week; no day is paid twice, so nothing was made"
            )
            return
        self._warn_of_record(period)
        held = _held(self.record, period)
        changes = self._changes(self.record)
        if refresh and changes and not held and len(self.records) == 1:
            self.was = {name: self.record[name] for name in changes}
            self.record.update(changes)
            self.action = "refreshed"
        elif self.record["total_hours"] != hours:
            remedy = f"it is {held}" if held else "--refresh would recompute it"
            self.warnings.append(
                (
                    "hours_changed",
                    f"record {self.record['id']} has {trimmed(self.record['total_hours'])} h, "
                    f"the time entries {trimmed(hours)} h; {remedy}",
                )
            )

    def _warn_of_record(self, period: Period) -> None:
        if len(self.records) > 1:
            ids = ", ".join(str(record["id"]) for record in self.records)
            self.warnings.append(("duplicate_record", f"has {len(self.records)} records for this week: {ids}"))
        for record in self.records:
            if record["period_id"] is None:
                self.warnings.append(("no_period", f"record {record['id']} belongs to no period"))
            elif record["period_id"] != period.id:
                self.warnings.append(("other_period", f"record {record['id']} belongs to period {record['period_id']}"))
            if not record["project_hours"] and record["total_hours"]:
                self.warnings.append(
                    (
                        "no_project_hours",
                        f"record {record['id']} names no project: Kibray will charge it to all of them",
                    )
                )

    def values(self) -> dict[str, Any]:
        """Return the columns of a record that follow from the time entries."""
        return {
            "total_hours": self.pay.total_hours,
            "hourly_rate": self.pay.hourly_rate,
            "regular_hours": self.pay.regular_hours,
            "overtime_hours": self.pay.overtime_hours,
            # The application recomputes 40 h regular and the rest at this rate; empty means rate times multiplier.
            "overtime_rate": self.pay.hourly_rate if self.straight else None,
            "missing_days": self.missing_days,
            "project_hours": hours_by_project(self.own_entries),
        }

    def _changes(self, record: dict[str, Any]) -> dict[str, Any]:
        """Return the columns in which a record differs from what the time entries say by now."""
        net = self.pay.gross + record["bonus"] - record["deductions"] - record["tax_withheld"]
        other_notes = [line for line in record["notes"].splitlines() if not line.startswith(RATES_NOTE)]
        wanted = {
            **self.values(),
            "gross_pay": self.pay.gross + record["bonus"],
            "net_pay": net,
            "total_pay": net,
            "notes": "\n".join([*other_notes, *filter(None, [self.rates_note()])]),
        }
        return {name: value for name, value in wanted.items() if record[name] != value}

    def rates_note(self) -> str:
        """Return the breakdown of a week with several rates."""
        if not self.pay.is_mixed:
            return ""
        parts = " + ".join(f"{trimmed(hours)} h at {rate:.2f}" for rate, hours in self.pay.rates)
        return f"{RATES_NOTE} {parts}; regular rate {self.pay.hourly_rate} (29 CFR 778.115)"

    def errors(self) -> list[dict[str, Any]]:
        """Return this employee's part of the period's `validation_errors`, in the application's shape."""
        person = {"employee": self.name, "employee_id": self.employee_id}
        found: list[dict[str, Any]] = []
        if self.action != "none" and self.missing_days:
            found.append({**person, "type": "missing_days", "dates": self.missing_days})
        if self.action != "none" and not self.pay.total_hours:
            found.append({**person, "type": "zero_hours", "message": "No hours in this week"})
        if self.pay.is_mixed:
            found.append({**person, "type": "mixed_rates", "message": self.rates_note()})
        for finding in self.findings:
            found.append(
                {
                    **person,
                    "type": finding.kind,
                    "message": finding.message,
                    "dates": [day.isoformat() for day in finding.dates],
                    "entry_ids": list(finding.entry_ids),
                }
            )
        return found

    def flags(self) -> list[str]:
        """Return the kinds of everything that is odd about this week, the gravest first."""
        return [
            *(kind for kind, _ in self.warnings),
            *(finding.kind for finding in self.findings),
            *(["mixed_rates"] if self.pay.is_mixed else []),
            *(["inactive"] if not self.is_active else []),
            *(["zero_hours"] if not self.pay.total_hours else ["missing_days"] if self.missing_days else []),
        ]

    def problems(self) -> list[Problem]:
        found = [Problem(WARNING, finding.kind, self.name, finding.message) for finding in self.findings]
        found += [Problem(WARNING, kind, self.name, message) for kind, message in self.warnings]
        if self.failure:
            found.append(Problem(FAILURE, "not_paid", self.name, self.failure))
        return found

    def row(self) -> dict[str, Any]:
        """Return the report's line: hours by day from the time entries, pay from the record."""
        by_day = dict.fromkeys(self.week.days, ZERO)
        for entry in self.own_entries:
            by_day[entry.date] += entry.paid_hours
        record = self.record or {**self.values(), "gross_pay": self.pay.gross, "id": None}
        gross = record["gross_pay"]
        return {
            "employee_id": self.employee_id,
            "employee": self.name,
            **dict(zip(DAYS, by_day.values(), strict=True)),
            "total_hours": record["total_hours"],
            "regular_hours": record["regular_hours"],
            "overtime_hours": record["overtime_hours"],
            "hourly_rate": record["hourly_rate"],
            "gross_pay": gross,
            "change": None if self.previous_gross is None else gross - self.previous_gross,
            "flags": self.flags(),
            "action": self.action,
            "record_id": record["id"],
            "was": self.was,
        }


def _held(record: dict[str, Any], period: Period) -> str:
    """Return why a record may not be recomputed; empty when it may."""
    if period.is_closed:
        return f"in a period that is {period.status}"
    if record["reviewed"]:
        return "reviewed"
    if record["manually_adjusted"] or record["adjusted_rate"] is not None:
        return "adjusted by hand"
    return "paid" if record["expense_id"] is not None or record["is_paid"] else ""
