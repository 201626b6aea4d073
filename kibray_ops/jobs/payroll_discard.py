"""kibray-ops payroll discard: take back what `payroll generate` made, as long as nobody has worked on it."""

from typing import Annotated, Any

import typer
from sqlalchemy import case, delete, exists, func, literal, null, or_, select
from sqlalchemy.sql.elements import ColumnElement
from sqlmodel import col

from kibray_ops import payroll
from kibray_ops.catalog import ONE, table_of
from kibray_ops.errors import KibrayOpsError
from kibray_ops.job import WARNING, Outcome, Problem, Run
from kibray_ops.models.kibray.payroll import PayrollPayment, PayrollPeriod, PayrollRecord
from kibray_ops.models.kibray.people import Employee
from kibray_ops.models.operations import Provenance
from kibray_ops.payroll import Week
from kibray_ops.timesheet import CLOSED

PERIODS, RECORDS = table_of(PayrollPeriod).name, table_of(PayrollRecord).name


def discard(
    run: Run,
    week: Annotated[
        str | None,
        typer.Option(metavar="[WEEK]", help="2025-W47, a date in the week, last or this; bare: the week before."),
    ] = None,
) -> Outcome:
    """Take back the week's payroll records that nobody has reviewed, changed or paid.

    Only records that kibray-ops made are touched; those that stay are named with the reason. The period goes too if
    kibray-ops made it and it is empty then. `payroll generate` makes everything anew.

    Raises KibrayOpsError when the period is approved or paid.
    """
    workweek = payroll.parse_week(week, run.business_date)
    _refuse_closed(run, workweek)
    rows = [dict(row) for row in run.session.execute(_ours(run, workweek)).mappings()]
    doomed = [row["record_id"] for row in rows if row["kept"] is None]
    empties = _emptied_period(run, workweek, len(doomed))
    if not run.dry_run:
        _delete(run, workweek, drop_period=empties is not None)
    return Outcome(
        result={"period_id": empties, "week": str(workweek), "discarded": len(doomed), "kept": len(rows) - len(doomed)},
        rows=[{**row, "action": "discarded" if row["kept"] is None else "kept"} for row in rows],
        problems=[
            Problem(WARNING, "kept", row["employee"], f"record {row['record_id']} stays: {row['kept']}")
            for row in rows
            if row["kept"]
        ],
    )


def _of_week(week: Week) -> ColumnElement[bool]:
    return (col(PayrollRecord.week_start) == week.start) & (col(PayrollRecord.week_end) == week.end)


def _refuse_closed(run: Run, week: Week) -> None:
    statement = select(col(PayrollPeriod.id), col(PayrollPeriod.status)).where(
        col(PayrollPeriod.week_start) == week.start, col(PayrollPeriod.week_end) == week.end
    )
    if not run.dry_run:
        statement = statement.with_for_update(key_share=True)
    for period_id, status in run.session.execute(statement):
        if status in CLOSED:
            raise KibrayOpsError(
                f"Period {period_id} of the week {week} is {status}.",
                hint="Nothing was discarded: what is approved or paid is changed only in Kibray.",
            )


def _reason_to_keep() -> ColumnElement[Any]:
    """Return why a record must stay; NULL when it may go."""
    paid = exists(ONE).where(col(PayrollPayment.payroll_record_id) == col(PayrollRecord.id))
    changed = or_(
        col(PayrollRecord.manually_adjusted),
        col(PayrollRecord.adjusted_rate).is_not(None),
        col(PayrollRecord.bonus) != 0,
        col(PayrollRecord.deductions) != 0,
        col(PayrollRecord.tax_withheld) != 0,
    )
    return case(
        (or_(paid, col(PayrollRecord.expense_id).is_not(None)), literal("it is paid")),
        (col(PayrollRecord.reviewed), literal("it is reviewed")),
        (changed, literal("it was changed by hand")),
        else_=null(),
    )


def _is_ours(run: Run, table: str, row_id: Any) -> ColumnElement[bool]:
    if not run.catalog.has(table_of(Provenance).name):
        return literal(0) == 1
    return exists(ONE).where(col(Provenance.table_name) == table, col(Provenance.row_id) == row_id)


def _ours(run: Run, week: Week) -> Any:
    """Return the SELECT of the week's records that kibray-ops made."""
    return (
        select(
            col(PayrollRecord.id).label("record_id"),
            col(PayrollRecord.employee_id).label("employee_id"),
            func.trim(col(Employee.first_name) + " " + col(Employee.last_name)).label("employee"),
            col(PayrollRecord.total_hours).label("total_hours"),
            col(PayrollRecord.gross_pay).label("gross_pay"),
            _reason_to_keep().label("kept"),
        )
        .join(Employee, col(Employee.id) == col(PayrollRecord.employee_id))
        .where(_of_week(week), _is_ours(run, RECORDS, col(PayrollRecord.id)))
        .order_by(col(Employee.last_name), col(Employee.first_name), col(PayrollRecord.id))
    )


def _emptied_period(run: Run, week: Week, discarded: int) -> int | None:
    """Return the week's period if kibray-ops made it and nothing would be left in it."""
    held = (
        select(func.count())
        .where(col(PayrollRecord.period_id) == col(PayrollPeriod.id))
        .correlate(PayrollPeriod)
        .scalar_subquery()
    )
    statement = select(col(PayrollPeriod.id)).where(
        col(PayrollPeriod.week_start) == week.start,
        col(PayrollPeriod.week_end) == week.end,
        _is_ours(run, PERIODS, col(PayrollPeriod.id)),
        held == discarded,
    )
    found: int | None = run.session.execute(statement).scalar()
    return found


def _delete(run: Run, week: Week, *, drop_period: bool) -> None:
    may_go = select(col(PayrollRecord.id)).where(
        _of_week(week), _is_ours(run, RECORDS, col(PayrollRecord.id)), _reason_to_keep().is_(None)
    )
    run.session.execute(
        delete(PayrollRecord).where(col(PayrollRecord.id).in_(may_go)),
        execution_options={"synchronize_session": False},
    )
    if drop_period:
        run.session.execute(
            delete(PayrollPeriod).where(
                col(PayrollPeriod.week_start) == week.start, col(PayrollPeriod.week_end) == week.end
            ),
            execution_options={"synchronize_session": False},
        )
    for table, model in ((RECORDS, PayrollRecord), (PERIODS, PayrollPeriod)):
        gone = ~exists(ONE).where(col(model.id) == col(Provenance.row_id))
        run.session.execute(
            delete(Provenance).where(col(Provenance.table_name) == table, gone),
            execution_options={"synchronize_session": False},
        )
