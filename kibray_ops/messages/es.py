"""Texts in Spanish."""

from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING

from kibray_ops.job import trimmed
from kibray_ops.messages import (
    NAMED,
    LatePlan,
    Message,
    PayrollReady,
    ProjectTouchUps,
    Shortage,
    dollars,
    in_brackets,
    in_words,
    listed,
)
from kibray_ops.payroll import ZERO

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
MORE = "y {count:,} más."
"""How many of a list are left out."""
PRIORITIES = {"urgent": "urgente", "high": "alta"}


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
        f"{count:,} facturas están vencidas: {dollars(balance)}",
        "Las nuevas, y las que llevan bastante más tiempo vencidas que en el último aviso; "
        "las más urgentes primero:\n" + listed(items, count, MORE),
    )


def payroll_ready(payroll: PayrollReady) -> Message:
    records = f"{payroll.records} {'registro' if payroll.records == 1 else 'registros'}"
    body = f"{records}, {trimmed(payroll.hours)} horas, {dollars(payroll.gross)} brutos."
    if payroll.flagged:
        counted = ", ".join(f"{count} × {FLAGS[flag]}" for flag, count in payroll.counts)
        items = [f"{name}: {FLAGS[flag]}" for name, flag in payroll.flagged[:NAMED]]
        body += f"\nPor favor revise: {counted}.\n" + listed(items, len(payroll.flagged), MORE)
    return Message(f"La nómina del {payroll.week} está lista para revisión: {dollars(payroll.gross)}", body)


def low_stock(shortages: Sequence[Shortage]) -> Message:
    first, count = shortages[0], len(shortages)
    items = [
        f"{s.name}: {trimmed(s.have)} de {trimmed(s.need)}, {'falta' if s.short == 1 else 'faltan'} "
        f"{trimmed(s.short)}{in_brackets(s.unit)}"
        for s in shortages[:NAMED]
    ]
    return Message(
        f"{count:,} artículos con existencias bajas; el más crítico: {first.name}"
        if count > 1
        else f"Existencias bajas: {first.name}",
        "Por debajo del mínimo, los más escasos primero:\n" + listed(items, count, MORE),
    )


def touchups(touchups: ProjectTouchUps) -> Message:
    items = [f"{t.title} ({PRIORITIES[t.priority]}, {_days(t.days)})" for t in touchups.first]
    return Message(
        f"{_touchups(touchups)} sin terminar: {touchups.project}",
        f"Urgentes: {touchups.urgent}, de prioridad alta: {touchups.high}; el más antiguo lleva "
        f"{_days(touchups.oldest)} abierto.\n" + listed(items, touchups.total, MORE),
    )


def touchups_of_projects(projects: Sequence[ProjectTouchUps]) -> Message:
    count, total = len(projects), sum(project.total for project in projects)
    items = [
        f"{p.project}: {_touchups(p)} (urgentes: {p.urgent}), el más antiguo abierto hace {_days(p.oldest)}"
        for p in projects[:NAMED]
    ]
    return Message(
        f"{count:,} proyectos tienen {total:,} retoques prioritarios sin terminar",
        "Los más urgentes primero:\n" + listed(items, count, MORE),
    )


def late_plan(plan: LatePlan) -> Message:
    return Message(
        f"El plan diario del {plan.plan_date} sigue en borrador: {plan.project}",
        f"El plan de {plan.project} para el {plan.plan_date} debía completarse a más tardar el "
        f"{plan.deadline:%Y-%m-%d} a las {plan.deadline:%H:%M}, hace {lasting(plan.late)}.",
    )


def late_plans(plans: Sequence[LatePlan]) -> Message:
    items = [f"{plan.plan_date} {plan.project}: {lasting(plan.late)} de retraso" for plan in plans[:NAMED]]
    return Message(
        f"{len(plans):,} planes diarios siguen en borrador con el plazo vencido",
        "Primero los de hoy en adelante, luego los más recientes:\n" + listed(items, len(plans), MORE),
    )


def greeting(name: str) -> str:
    return f"Hola, {name}:" if name else "Hola:"


def news(count: int) -> str:
    return "1 aviso nuevo" if count == 1 else f"{count:,} avisos nuevos"


def sender_note() -> str:
    return "Kibray envía este mensaje automáticamente; nadie lee las respuestas."


def see_it() -> str:
    return "Abrir en Kibray"


def more(count: int) -> str:
    return MORE.format(count=count)


def lasting(span: timedelta) -> str:
    return in_words(span, (("minuto", "minutos"), ("hora", "horas"), ("día", "días")))


def _touchups(touchups: ProjectTouchUps) -> str:
    nouns = "retoque prioritario" if touchups.total == 1 else "retoques prioritarios"
    return f"{touchups.total:,} {nouns}"


def _days(count: int) -> str:
    return {0: "menos de un día", 1: "1 día"}.get(count, f"{count:,} días")
