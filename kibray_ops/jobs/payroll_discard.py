"""kibray-ops payroll discard: take back what `payroll generate` made, as long as nobody has worked on it."""

from collections.abc import Sequence
from typing import Annotated, Any

import typer
from sqlalchemy import RowMapping, Select, delete, exists, func, select
from sqlmodel import col

from kibray_ops import payroll, paysheet
from kibray_ops.catalog import ONE, table_of
from kibray_ops.errors import KibrayOpsError
from kibray_ops.job import WARNING, Outcome, Problem, Run
from kibray_ops.models.kibray.payroll import PayrollPayment, PayrollPeriod, PayrollRecord
from kibray_ops.models.kibray.people import Employee
from kibray_ops.models.operations import Provenance
from kibray_ops.payroll import Week
from kibray_ops.paysheet import PERIOD_COLUMNS, fingerprint
from kibray_ops.text import printable

PERIODS, RECORDS = table_of(PayrollPeriod), table_of(PayrollRecord)


def discard(
    run: Run,
    week: Annotated[
        str | None,
        typer.Option(metavar="[WEEK]", help="2025-W47, a date in the week, last or this; bare: the week before."),
    ] = None,
) -> Outcome:
    """Take back the week's payroll records that nobody has reviewed, changed or paid.

    Only records that kibray-ops made are touched; those that stay are named with the reason. The period goes too if
    kibray-ops made it, nobody has changed it and it is empty then. Cron does not make the week again: `payroll
    generate` does.

    Raises KibrayOpsError when the period is approved or paid.
    """
    workweek = payroll.parse_week(week, run.business_date)
    period = _period(run, workweek)
    found = _our_records(run, workweek)
    kept = {record["id"]: _reason_to_keep(record, period) for record in found}
    doomed = [record_id for record_id, reason in kept.items() if not reason]
    empties = period["id"] if period is not None and _would_be_empty(run, period, doomed) else None
    if not run.dry_run:
        _delete(run, doomed, empties)
    rows = [
        {
            "record_id": record["id"],
            "employee_id": record["employee_id"],
            "employee": printable(f"{record['first_name']} {record['last_name']}"),
            "total_hours": record["total_hours"],
            "gross_pay": record["gross_pay"],
            "kept": kept[record["id"]] or None,
            "action": "kept" if kept[record["id"]] else "discarded",
        }
        for record in found
    ]
    return Outcome(
        result={"period_id": empties, "week": str(workweek), "discarded": len(doomed), "kept": len(rows) - len(doomed)},
        rows=rows,
        problems=[
            Problem(WARNING, "kept", row["employee"], f"record {row['record_id']} stays: {row['kept']}")
            for row in rows
            if row["kept"]
        ],
    )


def _period(run: Run, week: Week) -> RowMapping | None:
    """Return the week's period, locked in a real run; raises KibrayOpsError when it is closed."""
    statement = select(PERIODS).where(PERIODS.c.week_start == week.start, PERIODS.c.week_end == week.end)
    if not run.dry_run:
        statement = statement.with_for_update(key_share=True)
    period = run.session.execute(statement).mappings().first()
    if period is not None and paysheet.is_closed(period["status"]):
        raise KibrayOpsError(
            f"Period {period['id']} of the week {week} is {period['status']}.",
            hint="Nothing was discarded: what is approved or paid is changed only in Kibray.",
        )
    return period


def _our_records(run: Run, week: Week) -> Sequence[RowMapping]:
    """Return the week's records that kibray-ops made, with what they held then; locked in a real run."""
    if not run.catalog.has(table_of(Provenance).name):
        return []
    paid = exists(ONE).where(col(PayrollPayment.payroll_record_id) == RECORDS.c.id)
    statement: Select[Any] = (
        select(
            RECORDS,
            paid.label("is_paid"),
            col(Provenance.fingerprint),
            col(Employee.first_name),
            col(Employee.last_name),
        )
        .join(Employee, col(Employee.id) == RECORDS.c.employee_id)
        .join(Provenance, (col(Provenance.table_name) == RECORDS.name) & (col(Provenance.row_id) == RECORDS.c.id))
        .where(RECORDS.c.week_start == week.start, RECORDS.c.week_end == week.end)
        .order_by(col(Employee.last_name), col(Employee.first_name), RECORDS.c.id)
    )
    if not run.dry_run:
        statement = statement.with_for_update(of=RECORDS)
    return run.session.execute(statement).mappings().all()


def _reason_to_keep(record: RowMapping, period: RowMapping | None) -> str:
    """Return why a record must stay; empty when it may go."""
    if record["is_paid"] or record["expense_id"] is not None:
        return "it is paid"
    if record["reviewed"]:
        return "it is reviewed"
    if record["period_id"] != (period["id"] if period is not None else None):
        return "it belongs to another period"
    return "" if fingerprint(dict(record)) == record["fingerprint"] else "it was changed by hand"


def _would_be_empty(run: Run, period: RowMapping, doomed: Sequence[int]) -> bool:
    """Tell whether kibray-ops made the period, nobody has changed it, and nothing would be left in it."""
    if not run.catalog.has(table_of(Provenance).name):
        return False
    held = select(func.count()).where(RECORDS.c.period_id == period["id"]).scalar_subquery()
    ours = select(col(Provenance.fingerprint), held.label("held")).where(
        col(Provenance.table_name) == PERIODS.name, col(Provenance.row_id) == period["id"]
    )
    row = run.session.execute(ours).first()
    return row is not None and row.held == len(doomed) and row.fingerprint == fingerprint(dict(period), PERIOD_COLUMNS)


def _delete(run: Run, doomed: Sequence[int], period_id: int | None) -> None:
    at_once = {"synchronize_session": False}
    run.session.execute(delete(PayrollRecord).where(RECORDS.c.id.in_(doomed)), execution_options=at_once)
    run.session.execute(delete(PayrollPeriod).where(PERIODS.c.id == period_id), execution_options=at_once)
    for table, ids in ((RECORDS, doomed), (PERIODS, [period_id])):
        gone = (col(Provenance.table_name) == table.name) & col(Provenance.row_id).in_(ids)
        run.session.execute(delete(Provenance).where(gone), execution_options=at_once)
