"""Texts in Spanish."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from kibray_ops.messages import NAMED, Message, PayrollReady, dollars, listed
from kibray_ops.payroll import ZERO, trimmed

if TYPE_CHECKING:
    from kibray_ops.receivables import Receivable

FLAGS = {
    "not_paid": "SIN PAGAR",
    "open_entry": "entrada sin cerrar",
    "overlap": "entradas que se traslapan",
    "negative_hours": "horas negativas",
    "over_24_hours": "más de 24 horas",
    "zero_length": "entrada de duración cero",
    "no_hours": "entrada sin horas",
    "clock_change": "cambio de hora",
    "mixed_rates": "varias tarifas",
    "no_rate": "tarifa de 0",
    "low_multiplier": "multiplicador de horas extra bajo",
    "hours_changed": "horas cambiadas después",
    "duplicate_record": "registro duplicado",
    "no_period": "registro sin período",
    "other_period": "registro de otro período",
    "no_project_hours": "sin horas por proyecto",
    "inactive": "empleado inactivo",
    "zero_hours": "sin horas",
    "missing_days": "días sin entrada",
}
"""Flag of a payroll line → its words."""


def overdue_invoice(invoice: "Receivable") -> Message:
    days, owed = _days(invoice.days_past_due), dollars(invoice.balance)
    return Message(
        f"La factura {invoice.number} tiene {days} de vencida: {owed}, {invoice.project}",
        f"De la factura {invoice.number} ({invoice.whose}) se deben {owed}; venció el {invoice.due_date}, hace {days}.",
    )


def overdue_invoices(invoices: "Sequence[Receivable]") -> Message:
    count, balance = len(invoices), sum((invoice.balance for invoice in invoices), ZERO)
    items = [f"{i.number}: {dollars(i.balance)}, {_days(i.days_past_due)}, {i.whose}" for i in invoices[:NAMED]]
    return Message(
        f"{count} facturas están vencidas: {dollars(balance)}",
        "Las nuevas, y las que llevan bastante más tiempo vencidas que en el último aviso; "
        "las más urgentes primero:\n" + listed(items, count, "y {count} más."),
    )


def payroll_ready(payroll: PayrollReady) -> Message:
    records = f"{payroll.records} {'registro' if payroll.records == 1 else 'registros'}"
    body = f"{records}, {trimmed(payroll.hours)} horas, {dollars(payroll.gross)} brutos."
    if payroll.flagged:
        counted = ", ".join(f"{count} × {FLAGS[flag]}" for flag, count in payroll.counts)
        items = [f"{name}: {FLAGS[flag]}" for name, flag in payroll.flagged[:NAMED]]
        body += f"\nPor favor revise: {counted}.\n" + listed(items, len(payroll.flagged), "y {count} más.")
    return Message(f"La nómina del {payroll.week} está lista para revisión: {dollars(payroll.gross)}", body)


def _days(count: int) -> str:
    return "1 día" if count == 1 else f"{count} días"
