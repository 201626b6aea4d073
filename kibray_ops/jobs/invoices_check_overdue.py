"""kibray-ops invoices check-overdue: who owes what for how long, told once per stage."""

from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from typing import Any

from sqlalchemy import or_

from kibray_ops import alerts, receivables
from kibray_ops.alerts import Notice, Topic
from kibray_ops.job import Outcome, Run
from kibray_ops.messages import NAMED, OverdueInvoice
from kibray_ops.payroll import ZERO
from kibray_ops.receivables import BUCKETS, CURRENT, OVERDUE, Receivable

TOPIC: Topic[Receivable] = Topic(
    kind="invoice_overdue",
    notification_type="alert",
    related_object_type="invoice",
    link="/invoices/",
    one=lambda texts, invoice: texts.overdue_invoice(_told(invoice)),
    many=lambda texts, invoices: texts.overdue_invoices(
        len(invoices), _balance(invoices), [_told(invoice) for invoice in invoices[:NAMED]]
    ),
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
            "balance": _balance(overdue),
            "buckets": _buckets(overdue),
            **planned.counts(),
        },
        rows=[_row(invoice, told.get(invoice.id)) for invoice in found],
        problems=missing + receivables.problems(found),
    )


def _notice(invoice: Receivable) -> Notice[Receivable]:
    return Notice(
        subject_id=invoice.id,
        subject_date=_due(invoice),
        stage=invoice.stage,
        link=f"/invoices/{invoice.id}/",
        project_id=invoice.project_id,
        item=invoice,
    )


def _told(invoice: Receivable) -> OverdueInvoice:
    return OverdueInvoice(
        number=invoice.number,
        project=invoice.project,
        client=invoice.client,
        due=_due(invoice),
        days=invoice.days_past_due,
        balance=invoice.balance,
    )


def _due(invoice: Receivable) -> date:
    assert invoice.due_date is not None  # noqa: S101 - for the type checker; what is past due has one
    return invoice.due_date


def _balance(invoices: Sequence[Receivable]) -> Decimal:
    return sum((invoice.balance for invoice in invoices), ZERO)


def _buckets(overdue: list[Receivable]) -> dict[str, Decimal]:
    totals = {name: ZERO for name in BUCKETS if name != CURRENT}
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
