"""kibray-ops invoices check-overdue: who owes what for how long, told once per stage."""

from decimal import Decimal
from typing import Any

from sqlalchemy import or_

from kibray_ops import alerts, receivables
from kibray_ops.alerts import Notice, Topic
from kibray_ops.job import Outcome, Run
from kibray_ops.messages import OverdueInvoice
from kibray_ops.receivables import BUCKETS, OVERDUE, Receivable

TOPIC: Topic[OverdueInvoice] = Topic(
    kind="invoice_overdue",
    notification_type="alert",
    related_object_type="invoice",
    link="/invoices/",
    one=lambda texts, invoice: texts.overdue_invoice(invoice),
    many=lambda texts, invoices: texts.overdue_invoices(invoices),
)


def check_overdue(run: Run) -> Outcome:
    """Tell admins and accounting about overdue invoices, once per stage.

    Marks what is past due as OVERDUE, as `invoices update-statuses` does, whichever of the two comes first. Everybody
    hears of an invoice when it is 1, 7, 30, 60 and 90 days past due, and anew when its due date is moved; somebody with
    very many to hear of gets one summary.
    """
    on = run.business_date
    concerned = or_(receivables.is_past_due(on), receivables.is_odd())
    found, _ = receivables.read(run.session, run.catalog, on, concerned, lock=not run.dry_run)
    overdue = [invoice for invoice in found if invoice.is_past_due]
    newly = [invoice for invoice in overdue if invoice.status != OVERDUE]
    people, missing = alerts.office(run, "overdue invoices")
    planned = alerts.plan(run, TOPIC, [_notice(invoice) for invoice in overdue], people)
    if not run.dry_run:
        receivables.write_statuses(run, newly)
        alerts.tell(run, planned)
    told = dict(zip((invoice.id for invoice in overdue), planned.told_to, strict=True))
    return Outcome(
        result={
            "date": on,
            "updated": len(newly),
            "overdue": len(overdue),
            "balance": sum((invoice.balance for invoice in overdue), Decimal(0)),
            "buckets": _buckets(overdue),
            **planned.counts(),
        },
        rows=[_row(invoice, told.get(invoice.id)) for invoice in found],
        problems=missing + receivables.problems(found),
    )


def _notice(invoice: Receivable) -> Notice[OverdueInvoice]:
    assert invoice.due_date is not None  # noqa: S101 - for the type checker; what is past due has one
    return Notice(
        subject_id=invoice.id,
        subject_date=invoice.due_date,
        stage=invoice.stage,
        link=f"/invoices/{invoice.id}/",
        project_id=invoice.project_id,
        item=OverdueInvoice(
            number=invoice.number,
            project=invoice.project,
            client=invoice.client,
            due=invoice.due_date,
            days=invoice.days_past_due,
            balance=invoice.balance,
        ),
    )


def _buckets(overdue: list[Receivable]) -> dict[str, Decimal]:
    totals = dict.fromkeys((name for name, last in BUCKETS.items() if last != 0), Decimal(0))
    for invoice in overdue:
        totals[invoice.bucket] += invoice.balance
    return totals


def _row(invoice: Receivable, told_to: int | None) -> dict[str, Any]:
    return {
        **invoice.row(),
        "new_status": OVERDUE if invoice.is_past_due and invoice.status != OVERDUE else None,
        "stage": invoice.stage if invoice.is_past_due else None,
        "told_to": told_to,
    }
