"""Invoices."""

from datetime import date, datetime
from decimal import Decimal
from typing import Any, ClassVar

from sqlalchemy import Boolean, Column
from sqlmodel import Field

from kibray_ops.models.kibray.base import Kibray, amount, key, moment, reference
from kibray_ops.models.types import Amount


class Invoice(Kibray, table=True):
    """A bill; the balance due is `total_amount - amount_paid`, never below 0."""

    __tablename__ = "core_invoice"
    optional: ClassVar[list[Column[Any]]] = [
        Column("is_paid", Boolean, nullable=False),
        Column("retention_amount", Amount(10), nullable=False),
    ]

    id: int | None = key()
    project_id: int = reference("core_project.id")
    invoice_number: str = Field(max_length=40, unique=True)
    date_issued: date
    due_date: date | None = None
    total_amount: Decimal = amount()
    status: str = Field(max_length=20)
    viewed_date: datetime | None = moment(null=True)
    approved_date: datetime | None = moment(null=True)
    paid_date: datetime | None = moment(null=True)
    amount_paid: Decimal = amount()
