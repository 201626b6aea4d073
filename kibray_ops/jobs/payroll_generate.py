"""kibray-ops payroll generate: a week's payroll from the time entries."""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import timedelta
from decimal import Decimal
from typing import Annotated, Any

import typer
from sqlalchemy import RowMapping, bindparam, exists, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.sql.elements import ColumnElement
from sqlmodel import col

from kibray_ops import alerts, payroll, paysheet, timesheet
from kibray_ops.alerts import Notice, Recipient, Topic
from kibray_ops.bulk import insert_all
from kibray_ops.catalog import ONE, table_of
from kibray_ops.database import hold_together
from kibray_ops.errors import KibrayOpsError, UsageError
from kibray_ops.job import WARNING, Outcome, Problem, Run
from kibray_ops.messages import PayrollReady
from kibray_ops.models.kibray.payroll import PayrollPayment, PayrollPeriod, PayrollRecord, TimeEntry
from kibray_ops.models.kibray.people import Employee, User
from kibray_ops.models.operations import Provenance
from kibray_ops.payroll import ZERO, Week
from kibray_ops.paysheet import PERIOD_COLUMNS, Period, Sheet, fingerprint
from kibray_ops.timesheet import Entry

PERIODS, RECORDS = table_of(PayrollPeriod), table_of(PayrollRecord)
TOPIC: Topic[PayrollReady] = Topic(
    kind="payroll_ready",
    notification_type="alert",
    related_object_type="payroll_period",
    one=lambda texts, payroll: texts.payroll_ready(payroll),
)
RECORDED = ("created", "exists", "refreshed")
"""What becomes of those who have a record in the end."""


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
    outcome = _outcome(workweek, period, sheets)
    people, missing = alerts.office(run, "payroll") if _is_ready(period, outcome) else ((), [])
    planned = alerts.plan(run, TOPIC, [_notice(workweek, period, outcome, people)])
    if not run.dry_run:
        alerts.tell(run, planned)
    outcome.result |= planned.counts()
    outcome.problems += missing
    return outcome


def _period(run: Run, week: Week) -> Period:
    """Return the week's period; a real run makes it where it is missing and locks it, before its records are read."""
    status = run.settings["PAYROLL_STATUS"]
    found = _touching_periods(run, week) if run.dry_run else _lock_week(run, week, status)
    for other in found:
        if (other["week_start"], other["week_end"]) != (week.start, week.end):
            raise KibrayOpsError(
                f"Period {other['id']} ({other['week_start']} - {other['week_end']}, {other['status']}) overlaps the "
                f"week {week}, so days would be paid twice.",
                hint="Nothing was written. Correct or delete that period in Kibray, then run this again.",
            )
    if not found:
        return Period(None, status, [])
    (period,) = found
    return Period(period["id"], period["status"], period["validation_errors"])


def _touching_periods(run: Run, week: Week) -> Sequence[RowMapping]:
    statement = (
        select(PERIODS)
        .where(col(PayrollPeriod.week_start) <= week.end, col(PayrollPeriod.week_end) >= week.start)
        .order_by(col(PayrollPeriod.week_start))
    )
    if not run.dry_run:
        # NO KEY: a record that the application inserts at this moment may still refer to the period.
        statement = statement.with_for_update(key_share=True)
    return run.session.execute(statement).mappings().all()


def _lock_week(run: Run, week: Week, status: str) -> Sequence[RowMapping]:
    """Make the week's period where it is missing, lock it, and lock out whoever else inserts records.

    Records have no unique constraint. The period's row keeps out the application's approval; the table lock keeps out
    its new records, and waits for those that it has inserted but not committed.
    """
    for _ in hold_together(run.session, table_of(PayrollRecord), patience=run.settings["LOCK_TIMEOUT"]):
        found = _touching_periods(run, week)
        if not found:
            _make_period(run, week, status)
            found = _touching_periods(run, week)
    return found


def _make_period(run: Run, week: Week, status: str) -> None:
    """Insert the week's period, unless the application does so at the same moment."""
    first_admin = (
        select(col(User.id))
        .where(col(User.is_active), alerts.is_admin())
        .order_by(col(User.id))
        .limit(1)
        .scalar_subquery()
    )
    engine = sqlite if run.session.get_bind().dialect.name == "sqlite" else postgresql
    statement = engine.insert(PERIODS).values(
        week_start=week.start,
        week_end=week.end,
        created_by_id=first_admin,
        created_at=run.now,
        status=status,
        notes="",
        validation_errors=[],
    )
    made = statement.on_conflict_do_nothing(index_elements=["week_start", "week_end"]).returning(PERIODS.c.id)
    written = fingerprint({"status": status, "notes": ""}, PERIOD_COLUMNS)
    _note_provenance(run, PERIODS.name, dict.fromkeys(run.session.execute(made).scalars(), written))


def _read(run: Run, week: Week, period: Period, policy: str) -> list[Sheet]:
    """Read the week: who is paid, their entries, their records, and their pay of the week before."""
    entries = _entries(run, week)
    records = _records(run, week, period)
    previous = _gross_of(run, week.before)
    worked = exists(ONE).where(
        col(TimeEntry.employee_id) == col(Employee.id), col(TimeEntry.date).between(week.start, week.end)
    )
    recorded = exists(ONE).where(col(PayrollRecord.employee_id) == col(Employee.id), _touches(week, period))
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
    found = run.session.execute(people).all()
    names = paysheet.names(found)
    for person in found:
        mine = entries.get(person.id, [])
        work = [
            (entry.paid_hours, person.hourly_rate if entry.rate is None else entry.rate)
            for entry in mine
            if week.start <= entry.date <= week.end
        ]
        multiplier = None if policy == "none" else payroll.OVERTIME_MULTIPLIER
        if multiplier is not None and person.has_custom_overtime:
            multiplier = person.overtime_multiplier
        sheet = Sheet(
            employee_id=person.id,
            name=names[person.id],
            is_active=person.is_active,
            week=week,
            entries=mine,
            pay=payroll.weekly_pay(work, person.hourly_rate, multiplier=multiplier),
            straight=policy == "none",
            findings=timesheet.findings(mine, week, run.clock.zone),
            records=records.get(person.id, []),
            previous_gross=previous.get(person.id),
        )
        _warn_of_rates(sheet, multiplier)
        sheets.append(sheet)
    return sheets


def _warn_of_rates(sheet: Sheet, multiplier: Decimal | None) -> None:
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


def _touches(week: Week, period: Period) -> ColumnElement[bool]:
    """Return the condition for records of this week, whatever period they belong to or none."""
    overlaps = (col(PayrollRecord.week_start) <= week.end) & (col(PayrollRecord.week_end) >= week.start)
    return overlaps if period.id is None else or_(overlaps, col(PayrollRecord.period_id) == period.id)


def _records(run: Run, week: Week, period: Period) -> dict[int, list[dict[str, Any]]]:
    paid = exists(ONE).where(col(PayrollPayment.payroll_record_id) == col(PayrollRecord.id))
    statement = select(RECORDS, paid.label("is_paid")).where(_touches(week, period)).order_by(col(PayrollRecord.id))
    found: dict[int, list[dict[str, Any]]] = {}
    for row in run.session.execute(statement).mappings():
        found.setdefault(row["employee_id"], []).append(dict(row))
    return found


def _gross_of(run: Run, week: Week) -> dict[int, Decimal]:
    statement = select(col(PayrollRecord.employee_id), col(PayrollRecord.gross_pay)).where(
        col(PayrollRecord.week_start) == week.start, col(PayrollRecord.week_end) == week.end
    )
    return {row.employee_id: row.gross_pay for row in run.session.execute(statement)}


def _create(run: Run, week: Week, period: Period, sheets: Sequence[Sheet]) -> None:
    """Insert one record for each sheet, and note that they are ours."""
    rows = [
        {
            **sheet.values(),
            "employee_id": sheet.employee_id,
            "gross_pay": sheet.pay.gross,
            "net_pay": sheet.pay.gross,
            "total_pay": sheet.pay.gross,
            "notes": sheet.rates_note(),
        }
        for sheet in sheets
    ]
    same = {
        "period_id": period.id,
        "week_start": week.start,
        "week_end": week.end,
        "bonus": ZERO,
        "deductions": ZERO,
        "deduction_notes": "",
        "tax_withheld": ZERO,
        "manually_adjusted": False,
        "adjustment_reason": "",
        "reviewed": False,
    }
    made = insert_all(run.session, RECORDS, rows, same).returning(RECORDS.c.employee_id, RECORDS.c.id)
    ids = {row.employee_id: row.id for row in run.session.execute(made)}
    for sheet, row in zip(sheets, rows, strict=True):
        sheet.records = [{**row, **same, "id": ids[sheet.employee_id]}]
    _note_provenance(run, RECORDS.name, {ids[row["employee_id"]]: fingerprint({**row, **same}) for row in rows})


def _refresh(run: Run, sheets: Sequence[Sheet]) -> None:
    """Write the recomputed records back."""
    if not sheets:
        return
    names = (*sheets[0].values(), "gross_pay", "net_pay", "total_pay", "notes")
    run.session.execute(
        update(PayrollRecord), [{"id": s.record["id"], **{n: s.record[n] for n in names}} for s in sheets if s.record]
    )
    provenance = table_of(Provenance)
    renewed = (
        update(provenance)
        .where(provenance.c.table_name == RECORDS.name, provenance.c.row_id == bindparam("record"))
        .values(fingerprint=bindparam("written"))
    )
    rows = [{"record": s.record["id"], "written": fingerprint(s.record)} for s in sheets if s.record]
    run.session.connection().execute(renewed, rows)


def _note_provenance(run: Run, table: str, written: Mapping[int, str]) -> None:
    """Note which rows we made and what they held, so that `payroll discard` knows what a person has changed."""
    if rows := [{"row_id": row_id, "fingerprint": digest} for row_id, digest in written.items()]:
        same = {"table_name": table, "run_id": run.id}
        run.session.execute(insert_all(run.session, table_of(Provenance), rows, same))


def _write_findings(run: Run, period: Period, sheets: Sequence[Sheet]) -> None:
    """Bring the period's `validation_errors` up to date: ours are replaced, whatever else is there stays."""
    checked = {sheet.employee_id for sheet in sheets}
    held = period.validation_errors
    if not isinstance(held, list):
        if held:
            return  # not the application's shape: reported, and left as it is
        held = []
    found = [error for error in held if not _is_ours(error, checked)]
    found += [error for sheet in sheets for error in sheet.errors()]
    if found != period.validation_errors:
        run.session.execute(
            update(PayrollPeriod).where(col(PayrollPeriod.id) == period.id).values(validation_errors=found)
        )


def _is_ours(error: Any, checked: set[int]) -> bool:
    if not isinstance(error, dict) or error.get("type") not in timesheet.KINDS:
        return False
    employee = error.get("employee_id")
    return isinstance(employee, int) and employee in checked


def _is_ready(period: Period, outcome: Outcome) -> bool:
    """Tell whether there is something that waits for review."""
    return not period.is_closed and any(row["action"] in RECORDED for row in outcome.rows)


def _notice(week: Week, period: Period, outcome: Outcome, people: tuple[Recipient, ...]) -> Notice[PayrollReady]:
    """Return what the office is to hear of the week, once per period; one that is still to be made has no id."""
    flagged = sorted(
        ((row["employee"], row["flags"][0]) for row in outcome.rows if row["flags"]),
        key=lambda pair: paysheet.FLAGS.index(pair[1]),
    )
    flags = Counter(flag for row in outcome.rows for flag in row["flags"])
    ready = PayrollReady(
        week=week,
        records=sum(row["action"] in RECORDED and "not_paid" not in row["flags"] for row in outcome.rows),
        hours=outcome.result["total_hours"],
        gross=outcome.result["gross_pay"],
        flagged=flagged,
        counts=[(flag, flags[flag]) for flag in paysheet.FLAGS if flag in flags],
    )
    return Notice(people, period.id or 0, week.start, ready, f"/payroll/week/?week_start={week.start}")


def _outcome(week: Week, period: Period, sheets: Sequence[Sheet]) -> Outcome:
    rows = [sheet.row() for sheet in sheets if sheet.action != "none"]
    counted = {action: sum(sheet.action == action for sheet in sheets) for action in ("created", "exists", "refreshed")}
    total = {name: sum((row[name] for row in rows), ZERO) for name in _SUMMED}
    problems = [problem for sheet in sheets for problem in sheet.problems()]
    if period.validation_errors and not isinstance(period.validation_errors, list):
        problems.append(
            Problem(WARNING, "odd_errors", "payroll", "the period's validation_errors is no list: left as is")
        )
    if not sheets:
        problems.append(Problem(WARNING, "nobody", "payroll", "there is no active employee"))
    elif not any(week.start <= entry.date <= week.end for sheet in sheets for entry in sheet.entries):
        problems.append(Problem(WARNING, "no_entries", "payroll", f"nobody has an entry in the week {week}"))
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
