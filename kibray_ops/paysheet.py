"""One employee's week of pay: what the time entries come to, the record that follows, and what somebody should know.

Pure: no database, no clock. How the application reads a record: FACTS.md.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from kibray_ops import timesheet
from kibray_ops.job import FAILURE, WARNING, Problem, trimmed
from kibray_ops.payroll import ZERO, Pay, Week
from kibray_ops.text import printable
from kibray_ops.timesheet import Entry, Finding

OPEN = ("pending", "draft", "under_review")
"""States of a period that may be written; all others, also unknown ones, are closed."""
MOST_HOURS, MOST_RATE, MOST_PAY = Decimal("9999.99"), Decimal("999999.99"), Decimal("99999999.99")
"""What the columns of a record hold: numeric(6,2), numeric(8,2), numeric(10,2)."""
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
RATES_NOTE = "Rates this week:"
"""Beginning of the line that we write into a record's notes."""
FINGERPRINTED = (
    "total_hours", "hourly_rate", "adjusted_rate", "regular_hours", "overtime_hours", "overtime_rate", "bonus",
    "deductions", "deduction_notes", "gross_pay", "tax_withheld", "net_pay", "total_pay", "manually_adjusted",
    "adjustment_reason", "notes",
)  # fmt: skip
"""What a person might change in a record."""
PERIOD_COLUMNS = ("status", "notes")
"""And in a period."""
FLAGS = (
    "not_paid", "open_entry", "overlap", "negative_hours", "over_24_hours", "zero_length", "no_hours", "clock_change",
    "mixed_rates", "no_rate", "low_multiplier", "hours_changed", "duplicate_record", "no_period", "other_period",
    "no_project_hours", "inactive", "zero_hours", "missing_days",
)  # fmt: skip
"""What may be odd about somebody's week, the gravest first; the messages have words for each."""


def fingerprint(row: Mapping[str, Any], columns: Sequence[str] = FINGERPRINTED) -> str:
    """Return a digest of what a row holds, by which a later change is seen; a missing column counts as empty."""
    held = [f"{value:.2f}" if isinstance(value, Decimal) else value for value in map(row.get, columns)]
    return hashlib.sha256(json.dumps(held).encode()).hexdigest()


def names(people: Sequence[Any]) -> dict[int, str]:
    """Return everybody's name, fit to be printed; namesakes are told apart by their ids."""
    found = {person.id: printable(f"{person.first_name} {person.last_name}") for person in people}
    often = Counter(found.values())
    return {
        key: f"{name or 'employee'} (#{key})" if not name or often[name] > 1 else name for key, name in found.items()
    }


def is_closed(status: str) -> bool:
    """Tell whether a period in this state is never written."""
    return status not in OPEN


@dataclass(frozen=True)
class Period:
    """The week's period; without an id the real run will make it."""

    id: int | None
    status: str
    validation_errors: Any

    @property
    def is_closed(self) -> bool:
        """Tell whether the period is approved or paid, so that nothing in it is written."""
        return is_closed(self.status)


@dataclass
class Sheet:
    """One employee's week: the entries, what they come to, and the record that exists or is to be made."""

    employee_id: int
    name: str
    is_active: bool
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
        """Return the entries of the week itself."""
        return [entry for entry in self.entries if self.week.start <= entry.date <= self.week.end]

    @property
    def record(self) -> dict[str, Any] | None:
        """Return the record that counts: the oldest, where the application has made several."""
        return self.records[0] if self.records else None

    @property
    def fits(self) -> bool:
        """Tell whether a record can hold the result; the database would refuse it, and with it everybody's."""
        pay = self.pay
        return pay.total_hours <= MOST_HOURS and pay.hourly_rate <= MOST_RATE and abs(pay.gross) <= MOST_PAY

    @property
    def missing_days(self) -> list[str]:
        """Return the working days of the week without an entry, as dates in ISO 8601."""
        return timesheet.missing_days(self.own_entries, self.week)

    def decide(self, period: Period, *, refresh: bool) -> None:
        """Decide what becomes of this employee's record, and what somebody should know about it."""
        hours = self.pay.total_hours
        if self.record is None:
            if not self.is_active and not hours:
                self.action = "none"
            elif not self.fits:
                self.action = "kept"
                self.failure = f"{trimmed(hours)} h at {self.pay.hourly_rate} are more than a record can hold"
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
        held = _held(self.record, period) or ("" if self.fits else "more than a record can hold")
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
            "project_hours": timesheet.hours_by_project(self.own_entries),
        }

    def _changes(self, record: dict[str, Any]) -> dict[str, Any]:
        """Return the columns in which a record differs from what the time entries say by now."""
        net = self.pay.gross + record["bonus"] - record["deductions"] - record["tax_withheld"]
        lines = record["notes"].splitlines()
        ours, wanted_note = [line for line in lines if line.startswith(RATES_NOTE)], self.rates_note()
        notes = record["notes"]  # a manager's own words stay as they are, to the last line break
        if ours != ([wanted_note] if wanted_note else []):
            notes = "\n".join([*(line for line in lines if line not in ours), *filter(None, [wanted_note])])
        wanted = {
            **self.values(),
            "gross_pay": self.pay.gross + record["bonus"],
            "net_pay": net,
            "total_pay": net,
            "notes": notes,
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
        found = {
            *(["not_paid"] if self.failure else []),
            *(kind for kind, _ in self.warnings),
            *(finding.kind for finding in self.findings),
            *(["mixed_rates"] if self.pay.is_mixed else []),
            *(["inactive"] if not self.is_active else []),
            *(["zero_hours"] if not self.pay.total_hours else ["missing_days"] if self.missing_days else []),
        }
        return sorted(found, key=FLAGS.index)

    def problems(self) -> list[Problem]:
        """Return what somebody should look at; a failure is an employee who has hours and gets no record."""
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
        record = {**(self.record or {**self.values(), "gross_pay": self.pay.gross, "id": None})}
        if self.failure:  # not paid for this week: the totals must not say otherwise
            record |= dict.fromkeys(("total_hours", "regular_hours", "overtime_hours", "gross_pay"), ZERO)
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
    if record["period_id"] not in (None, period.id):
        return f"of period {record['period_id']}"
    if record["manually_adjusted"] or record["adjusted_rate"] is not None:
        return "adjusted by hand"
    if record["overtime_rate"] not in (None, record["hourly_rate"]):  # straight time is ours, all else a person's
        return "adjusted by hand"
    return "paid" if record["expense_id"] is not None or record["is_paid"] else ""
