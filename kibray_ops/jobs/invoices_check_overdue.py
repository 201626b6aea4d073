"""kibray-ops invoices check-overdue: who owes what for how long, told once per stage."""

from sqlalchemy import and_, or_

from kibray_ops import alerts, receivables
from kibray_ops.alerts import Notice, Recipient, Topic
from kibray_ops.job import Outcome, Run
from kibray_ops.receivables import CURRENT, INVOICES, OVERDUE, PAID, Receivable

TOPIC: Topic[Receivable] = Topic(
    kind="invoice_overdue",
    notification_type="alert",
    related_object_type="invoice",
    one=lambda texts, invoice: texts.overdue_invoice(invoice),
    many=lambda texts, invoices: texts.overdue_invoices(invoices),
    link="/invoices/",
)


def check_overdue(run: Run) -> Outcome:
    """Tell admins and accounting about overdue invoices, once per stage.

    Marks what is past due as OVERDUE, as `invoices update-statuses` does, whichever of the two comes first. Everybody
    hears of an invoice when it is 1, 7, 30, 60 and 90 days past due, and anew when its due date is moved; somebody with
    very many to hear of gets one summary.
    """
    is_odd = and_(INVOICES.c.status != PAID, receivables.is_odd())
    found = receivables.read(run, or_(receivables.is_past_due(run.business_date), is_odd))
    overdue = [invoice for invoice in found if invoice.is_past_due]
    newly = [invoice for invoice in overdue if invoice.status != OVERDUE]
    people, missing = alerts.office(run, "overdue invoices")
    planned = alerts.plan(run, TOPIC, [_notice(invoice, people) for invoice in overdue])
    if not run.dry_run:
        receivables.write_statuses(run, newly)
        alerts.tell(run, planned)
    told_to = dict(zip((invoice.id for invoice in overdue), planned.told_to, strict=True))
    return Outcome(
        result={
            "date": run.business_date,
            "updated": len(newly),
            "overdue": len(overdue),
            "balance": receivables.balance(overdue),
            "buckets": {name: total for name, total in receivables.by_bucket(overdue).items() if name != CURRENT},
            **planned.counts(),
        },
        rows=[
            {
                **invoice.row(),
                "new_status": OVERDUE if invoice.is_past_due and invoice.status != OVERDUE else None,
                "stage": invoice.stage if invoice.is_past_due else None,
                "told_to": told_to.get(invoice.id),
            }
            for invoice in found
        ],
        problems=missing + receivables.problems(found),
    )


def _notice(invoice: Receivable, people: tuple[Recipient, ...]) -> Notice[Receivable]:
    assert invoice.due_date is not None  # noqa: S101 - for the type checker; what is past due has one
    return Notice(
        recipients=people,
        subject_id=invoice.id,
        subject_date=invoice.due_date,
        item=invoice,
        link=f"/invoices/{invoice.id}/",
        stage=invoice.stage,
        project_id=invoice.project_id,
    )
