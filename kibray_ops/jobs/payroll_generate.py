"""kibray-ops payroll generate: a week's payroll from the time entries."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from typing import Annotated, Any

import typer
from sqlalchemy import exists, insert, or_, select, text, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.sql.elements import ColumnElement
from sqlmodel import col

from kibray_ops import payroll
from kibray_ops.catalog import table_of
from kibray_ops.errors import KibrayOpsError, UsageError
from kibray_ops.job import FAILURE, WARNING, Outcome, Problem, Run
from kibray_ops.models.kibray.payroll import PayrollPayment, PayrollPeriod, PayrollRecord, TimeEntry
from kibray_ops.models.kibray.people import Employee, User
from kibray_ops.models.operations import Provenance
from kibray_ops.payroll import Entry, Pay, Week, ZERO

CLOSED = ("approved", "paid")
"""States of a period that is never written."""
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
RATES_NOTE = "Rates this week:"
"""Beginning of the line that we write into a record's notes."""
PERIODS, RECORDS = table_of(PayrollPeriod), table_of(PayrollRecord)

_ENTRY_KINDS = ("open_entry", "zero_length", "negative_hours", "no_hours", "over_24_hours", "overlap", "clock_change")
_OUR_KINDS = (*_ENTRY_KINDS, "missing_days", "zero_hours", "mixed_rates")
"""Types of `validation_errors` that we write, and therefore also replace."""


def generate(
    run: Run,
    week: Annotated[
        str | None,
        typer.Option(metavar="[WEEK]", help="2025-W47, a date in the week, last or this; bare: the week before."),
    ] = None,
    overtime: Annotated[
        str | None,
        typer.Option(metavar="POLICY", help="weekly40 (over 40 h at 1.5x) or none; default: PAYROLL_OVERTIME."),
    ] = None,
    refresh: Annotated[
        bool, typer.Option("--refresh", help="Recompute records that nobody has reviewed, adjusted or paid.")
    ] = False,
) -> Outcome:
    """Compute a week's payroll from the time entries, one record per employee.

    Safe to repeat: an employee who has a record for the week keeps it, and a period that is approved or paid is never
    written.

    Raises UsageError for a week that is none, lies ahead or (without --dry-run) is not over, and KibrayOpsError when
    another period overlaps the week.
    """
    workweek = payroll.parse_week(week, run.business_date)
    if workweek.end >= run.business_date and not run.dry_run:
        raise UsageError(f"The week {workweek} is not over yet.", hint="Look at it with --dry-run.")
    policy = overtime or run.settings["PAYROLL_OVERTIME"]
    if policy not in ("weekly40", "none"):
        raise UsageError(f"--overtime {policy!r} is no policy.", hint="Write weekly40 or none.")

    period = _period(run, workweek)
    sheets = _read(run, workweek, period, policy)
    for sheet in sheets:
        sheet.decide(period, refresh=refresh)
    created = [sheet for sheet in sheets if sheet.action == "created"]
    if not run.dry_run and not period.is_closed:
        if created:
            _create(run, workweek, period, created)
        _refresh(run, [sheet for sheet in sheets if sheet.action == "refreshed"])
        _write_findings(run, period, sheets)
    return _outcome(run, workweek, period, sheets)


@dataclass(frozen=True)
class _Period:
    """The week's period; without an id it will be made by the real run."""

    id: int | None
    status: str
    validation_errors: list[dict[str, Any]]

    @property
    def is_closed(self) -> bool:
        return self.status in CLOSED


def _period(run: Run, week: Week) -> _Period:
    """Return the week's period; a real run makes and locks it first, before its records are read."""
    touching = (
        select(PERIODS)
        .where(col(PayrollPeriod.week_start) <= week.end, col(PayrollPeriod.week_end) >= week.start)
        .order_by(col(PayrollPeriod.week_start))
    )
    status = run.settings["PAYROLL_STATUS"]
    if not run.dry_run:
        made = _make_period(run, week, status)
        # Nothing else keeps two writers from making a second record for the same employee and week: records have no
        # unique constraint. The period's row stops other runs and the application's approval, the table lock stops
        # whoever is about to insert records, and waits for those who already did.
        touching = touching.with_for_update()
    found = [row for row in run.session.execute(touching).mappings()]
    if not run.dry_run and run.session.get_bind().dialect.name == "postgresql":
        run.session.execute(text("LOCK TABLE core_payrollrecord IN SHARE ROW EXCLUSIVE MODE"))
    others = [row for row in found if (row["week_start"], row["week_end"]) != (week.start, week.end)]
    if others:
        other = others[0]
        raise KibrayOpsError(
            f"Period {other['id']} ({other['week_start']} - {other['week_end']}, {other['status']}) overlaps the week "
            f"{week}, so days would be paid twice.",
            hint="Nothing was written. Correct or delete that period in Kibray, then run this again.",
        )
    if not found:
        return _Period(None, status, [])
    (period,) = found
    if not run.dry_run and made is not None:
        _note_provenance(run, PERIODS.name, [made])
    return _Period(period["id"], period["status"], list(period["validation_errors"] or []))


def _make_period(run: Run, week: Week, status: str) -> int | None:
    """Insert the week's period unless it exists; return its id if it is new."""
    dialects = {"postgresql": postgresql.insert, "sqlite": sqlite.insert}
    first_admin = (
        select(col(User.id))
        .where(col(User.is_active), or_(col(User.is_staff), col(User.is_superuser)))
        .order_by(col(User.id))
        .limit(1)
        .scalar_subquery()
    )
    statement = dialects[run.session.get_bind().dialect.name](PERIODS).values(
        week_start=week.start,
        week_end=week.end,
        created_by_id=first_admin,
        created_at=run.now,
        status=status,
        notes="",
        validation_errors=[],
    )
    made = statement.on_conflict_do_nothing(index_elements=["week_start", "week_end"]).returning(PERIODS.c.id)
    found: int | None = run.session.execute(made).scalar()
    return found


@dataclass
class _Sheet:
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
    findings: list[payroll.Finding]
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
        return payroll.missing_days(self.own_entries, self.week)

    def decide(self, period: _Period, *, refresh: bool) -> None:
        """Decide what becomes of this employee's record, and what somebody should know about it."""
        hours = self.pay.total_hours
        if self.record is None:
            if not self.is_active and not hours:
                self.action = "none"
            elif period.is_closed:
                self.action = "kept"
                if hours:
                    self.failure = f"worked {payroll.trimmed(hours)} h in a week that is {period.status}, without a record"
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
                    f"record {self.record['id']} has {payroll.trimmed(self.record['total_hours'])} h, "
                    f"the time entries {payroll.trimmed(hours)} h; {remedy}",
                )
            )

    def _warn_of_record(self, period: _Period) -> None:
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
                    ("no_project_hours", f"record {record['id']} names no project: Kibray will charge it to all of them")
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
            "project_hours": payroll.hours_by_project(self.own_entries),
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
        parts = " + ".join(f"{payroll.trimmed(hours)} h at {rate:.2f}" for rate, hours in self.pay.rates)
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
        by_day = {day: ZERO for day in self.week.days}
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


def _held(record: dict[str, Any], period: _Period) -> str:
    """Return why a record may not be recomputed; empty when it may."""
    if period.is_closed:
        return f"in a period that is {period.status}"
    if record["reviewed"]:
        return "reviewed"
    if record["manually_adjusted"] or record["adjusted_rate"] is not None:
        return "adjusted by hand"
    return "paid" if record["expense_id"] is not None or record["is_paid"] else ""


def _read(run: Run, week: Week, period: _Period, policy: str) -> list[_Sheet]:
    """Read the week: who is paid, their entries, their records, and their pay of the week before."""
    entries = _entries(run, week)
    records = _records(run, week, period)
    previous = _gross_of(run, week.before)
    worked = exists().where(
        col(TimeEntry.employee_id) == col(Employee.id), col(TimeEntry.date).between(week.start, week.end)
    )
    recorded = exists().where(col(PayrollRecord.employee_id) == col(Employee.id), _touches(week, period))
    people = (
        select(
            col(Employee.id),
            col(Employee.first_name),
            col(Employee.last_name),
            col(Employee.is_active),
            col(Employee.hourly_rate),
            col(Employee.has_custom_overtime),
            col(Employee.overtime_multiplier),
        )
        .where(or_(col(Employee.is_active), worked, recorded))
        .order_by(col(Employee.last_name), col(Employee.first_name), col(Employee.id))
    )
    sheets = []
    for person in run.session.execute(people):
        mine = entries.get(person.id, [])
        work = [
            (entry.paid_hours, person.hourly_rate if entry.rate is None else entry.rate)
            for entry in mine
            if week.start <= entry.date <= week.end
        ]
        multiplier = None if policy == "none" else payroll.OVERTIME_MULTIPLIER
        if multiplier is not None and person.has_custom_overtime:
            multiplier = person.overtime_multiplier
        sheet = _Sheet(
            employee_id=person.id,
            name=f"{person.first_name} {person.last_name}".strip() or f"employee {person.id}",
            is_active=person.is_active,
            rate=person.hourly_rate,
            week=week,
            entries=mine,
            pay=payroll.weekly_pay(work, person.hourly_rate, multiplier=multiplier),
            straight=policy == "none",
            findings=payroll.findings(mine, week, run.clock.zone),
            records=records.get(person.id, []),
            previous_gross=previous.get(person.id),
        )
        _warn_of_rates(sheet, multiplier)
        sheets.append(sheet)
    return sheets


def _warn_of_rates(sheet: _Sheet, multiplier: Decimal | None) -> None:
    if any(rate <= 0 for rate, _ in sheet.pay.rates):
        sheet.warnings.append(("no_rate", "has hours at a rate of 0"))
    if multiplier is not None and multiplier < payroll.OVERTIME_MULTIPLIER and sheet.pay.overtime_hours:
        sheet.warnings.append(
            ("low_multiplier", f"overtime at {multiplier} times the rate, less than the 1.5 of 29 CFR 778.107")
        )


def _entries(run: Run, week: Week) -> dict[int, list[Entry]]:
    """Return the entries of the week, and of the day before and after it, which may overlap them."""
    day = timedelta(days=1)
    statement = (
        select(
            col(TimeEntry.employee_id),
            col(TimeEntry.id),
            col(TimeEntry.date),
            col(TimeEntry.start_time),
            col(TimeEntry.end_time),
            col(TimeEntry.hours_worked),
            col(TimeEntry.project_id),
            run.catalog.optional(TimeEntry, "cost_rate_snapshot"),
        )
        .where(col(TimeEntry.date).between(week.start - day, week.end + day))
        .order_by(col(TimeEntry.employee_id), col(TimeEntry.date), col(TimeEntry.start_time), col(TimeEntry.id))
    )
    found: dict[int, list[Entry]] = {}
    for employee, *columns in run.session.execute(statement):
        found.setdefault(employee, []).append(Entry(*columns))
    return found


def _touches(week: Week, period: _Period) -> ColumnElement[bool]:
    """Return the condition for records of this week, whatever period they belong to or none."""
    overlaps = (col(PayrollRecord.week_start) <= week.end) & (col(PayrollRecord.week_end) >= week.start)
    return overlaps if period.id is None else or_(overlaps, col(PayrollRecord.period_id) == period.id)


def _records(run: Run, week: Week, period: _Period) -> dict[int, list[dict[str, Any]]]:
    paid = exists().where(col(PayrollPayment.payroll_record_id) == col(PayrollRecord.id))
    statement = select(RECORDS, paid.label("is_paid")).where(_touches(week, period)).order_by(col(PayrollRecord.id))
    found: dict[int, list[dict[str, Any]]] = {}
    for row in run.session.execute(statement).mappings():
        found.setdefault(row["employee_id"], []).append(dict(row))
    return found


def _gross_of(run: Run, week: Week) -> dict[int, Decimal]:
    statement = select(col(PayrollRecord.employee_id), col(PayrollRecord.gross_pay)).where(
        col(PayrollRecord.week_start) == week.start, col(PayrollRecord.week_end) == week.end
    )
    return {employee: gross for employee, gross in run.session.execute(statement)}


def _create(run: Run, week: Week, period: _Period, sheets: Sequence[_Sheet]) -> None:
    """Insert one record for each sheet, and note that they are ours."""
    rows = [
        {
            **sheet.values(),
            "period_id": period.id,
            "employee_id": sheet.employee_id,
            "week_start": week.start,
            "week_end": week.end,
            "adjusted_rate": None,
            "bonus": ZERO,
            "deductions": ZERO,
            "deduction_notes": "",
            "gross_pay": sheet.pay.gross,
            "tax_withheld": ZERO,
            "net_pay": sheet.pay.gross,
            "total_pay": sheet.pay.gross,
            "manually_adjusted": False,
            "adjusted_by_id": None,
            "adjusted_at": None,
            "adjustment_reason": "",
            "expense_id": None,
            "reviewed": False,
            "notes": sheet.rates_note(),
        }
        for sheet in sheets
    ]
    made = run.session.execute(insert(RECORDS).returning(RECORDS.c.employee_id, RECORDS.c.id), rows)
    ids = {employee: record for employee, record in made}
    for sheet, row in zip(sheets, rows, strict=True):
        sheet.records = [{**row, "id": ids[sheet.employee_id]}]
    _note_provenance(run, RECORDS.name, list(ids.values()))


def _refresh(run: Run, sheets: Sequence[_Sheet]) -> None:
    """Write the recomputed records back, all in one statement."""
    if not sheets:
        return
    names = (*sheets[0].values(), "gross_pay", "net_pay", "total_pay", "notes")
    run.session.execute(
        update(PayrollRecord), [{"id": s.record["id"], **{n: s.record[n] for n in names}} for s in sheets if s.record]
    )


def _note_provenance(run: Run, table: str, ids: Sequence[int]) -> None:
    rows = [{"table_name": table, "row_id": row_id, "run_id": run.id} for row_id in ids]
    run.session.execute(insert(Provenance), rows)


def _write_findings(run: Run, period: _Period, sheets: Sequence[_Sheet]) -> None:
    """Bring the period's `validation_errors` up to date: ours are replaced, the application's others stay."""
    checked = {sheet.employee_id for sheet in sheets}
    kept = [
        error
        for error in period.validation_errors
        if error.get("employee_id") not in checked or error.get("type") not in _OUR_KINDS
    ]
    found = kept + [error for sheet in sheets for error in sheet.errors()]
    if found != period.validation_errors:
        run.session.execute(
            update(PayrollPeriod).where(col(PayrollPeriod.id) == period.id).values(validation_errors=found)
        )


def _outcome(run: Run, week: Week, period: _Period, sheets: Sequence[_Sheet]) -> Outcome:
    rows = [sheet.row() for sheet in sheets if sheet.action != "none"]
    counted = {action: sum(sheet.action == action for sheet in sheets) for action in ("created", "exists", "refreshed")}
    total = {name: sum((row[name] for row in rows), ZERO) for name in _SUMMED}
    problems = [problem for sheet in sheets for problem in sheet.problems()]
    if not sheets:
        problems.append(Problem(WARNING, "nobody", "payroll", "there is no active employee"))
    return Outcome(
        result={
            "period_id": period.id,
            "week": str(week),
            "records": counted["created"],
            "existing": counted["exists"],
            "refreshed": counted["refreshed"],
            "employees": len(rows),
            "period_status": period.status,
            **total,
        },
        rows=rows,
        problems=problems,
    )


_SUMMED = ("total_hours", "regular_hours", "overtime_hours", "gross_pay")
