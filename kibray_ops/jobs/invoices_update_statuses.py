"""kibray-ops invoices update-statuses: what is past due becomes OVERDUE, what is paid becomes PAID."""

from typing import Annotated

import typer
from sqlalchemy import and_, or_

from kibray_ops import receivables
from kibray_ops.job import Outcome, Run
from kibray_ops.receivables import INVOICES, OVERDUE, PAID


def update_statuses(
    run: Run,
    reopen: Annotated[
        bool, typer.Option("--reopen", help="Also take back OVERDUE where the due date has been moved.")
    ] = False,
) -> Outcome:
    """Bring the status of every invoice in line with its due date and payments.

    SENT, VIEWED, APPROVED and PARTIAL become OVERDUE when the due date has passed and something is still due; whatever
    is fully paid becomes PAID. An invoice that says OVERDUE and is not past due is only listed, unless --reopen.
    """
    is_odd = and_(INVOICES.c.status != PAID, receivables.is_odd())
    found = receivables.read(run, or_(receivables.next_status(run.business_date).is_not(None), is_odd))
    stale = [invoice for invoice in found if invoice.is_no_longer_past_due]
    changing = [invoice for invoice in found if invoice.next_status and (reopen or not invoice.is_no_longer_past_due)]
    if not run.dry_run:
        receivables.write_statuses(run, changing)
    changes = {invoice.id: invoice.next_status for invoice in changing}
    return Outcome(
        result={
            "date": run.business_date,
            "updated": sum(invoice.next_status == OVERDUE for invoice in changing),
            "paid": sum(invoice.next_status == PAID for invoice in changing),
            "reopened": len(stale) if reopen else 0,
            "no_longer_past_due": len(stale),
        },
        rows=[{**invoice.row(), "new_status": changes.get(invoice.id)} for invoice in found],
        problems=[
            problem
            for problem in receivables.problems(found)
            if not (reopen and problem.kind == "no_longer_past_due")
        ],
    )  # fmt: skip
