"""kibray-ops invoices update-statuses: what is past due becomes OVERDUE, what is paid becomes PAID."""

from typing import Annotated

import typer
from sqlalchemy import or_

from kibray_ops import receivables
from kibray_ops.job import WARNING, Outcome, Problem, Run
from kibray_ops.receivables import OVERDUE, PAID, Receivable


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
    on = run.business_date
    concerned = or_(receivables.next_status(on).is_not(None), receivables.is_odd())
    found, _ = receivables.read(run.session, run.catalog, on, concerned, lock=not run.dry_run)
    changing = [invoice for invoice in found if invoice.next_status and (reopen or not _is_reopened(invoice))]
    if not run.dry_run:
        receivables.write_statuses(run, changing)
    changes = {invoice.id: invoice.next_status for invoice in changing}
    stale = [invoice for invoice in found if _is_reopened(invoice)]
    problems = [] if reopen else [_stale(invoice) for invoice in stale]
    return Outcome(
        result={
            "date": on,
            "updated": sum(invoice.next_status == OVERDUE for invoice in changing),
            "paid": sum(invoice.next_status == PAID for invoice in changing),
            "reopened": len(stale) if reopen else 0,
            "no_longer_past_due": len(stale),
        },
        rows=[{**invoice.row(), "new_status": changes.get(invoice.id)} for invoice in found],
        problems=problems + receivables.problems(found),
    )


def _is_reopened(invoice: Receivable) -> bool:
    return invoice.status == OVERDUE and invoice.next_status not in (None, PAID)


def _stale(invoice: Receivable) -> Problem:
    due = f"is due on {invoice.due_date}" if invoice.due_date else "has no due date"
    words = f"says OVERDUE but {due}; --reopen would make it {invoice.next_status}"
    return Problem(WARNING, "no_longer_past_due", invoice.number, words)
