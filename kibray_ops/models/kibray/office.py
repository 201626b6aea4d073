"""Invoices, stock, tasks, daily plans and notifications."""

from datetime import date, datetime
from decimal import Decimal
from typing import Any, ClassVar

from sqlalchemy import Boolean, Column, Text, UniqueConstraint
from sqlmodel import Field

from kibray_ops.models.kibray.base import Kibray, amount, document, key, moment, reference
from kibray_ops.models.types import Amount, BigKey


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


class InventoryItem(Kibray, table=True):
    """A thing in stock and the quantity below which somebody should order."""

    __tablename__ = "core_inventoryitem"

    id: int | None = key()
    name: str = Field(max_length=120)
    category: str = Field(max_length=20)
    unit: str = Field(max_length=20)
    low_stock_threshold: Decimal | None = amount(8, null=True)
    default_threshold: Decimal | None = amount(8, null=True)
    active: bool
    no_threshold: bool


class InventoryLocation(Kibray, table=True):
    """A place where stock lies: a storage or a project."""

    __tablename__ = "core_inventorylocation"

    id: int | None = key()
    name: str = Field(max_length=120)
    project_id: int | None = reference("core_project.id", null=True)
    is_storage: bool


class ProjectInventory(Kibray, table=True):
    """How much of an item lies at a location."""

    __tablename__ = "core_projectinventory"
    __table_args__ = (UniqueConstraint("item_id", "location_id"),)

    id: int | None = key()
    item_id: int = reference("core_inventoryitem.id")
    location_id: int = reference("core_inventorylocation.id")
    quantity: Decimal = amount()


class Task(Kibray, table=True):
    """A task; touch-ups are marked. Status words are Spanish in old rows, English in new ones."""

    __tablename__ = "core_task"

    id: int | None = key()
    project_id: int = reference("core_project.id")
    title: str = Field(max_length=200)
    status: str = Field(max_length=50)
    priority: str = Field(max_length=20)
    created_at: datetime = moment()
    is_touchup: bool


class TouchUp(Kibray, table=True):
    """A touch-up pinned to a floor plan; only the later schema has this table."""

    __tablename__ = "core_touchup"

    id: int | None = key()
    project_id: int = reference("core_project.id")
    title: str = Field(max_length=200)
    status: str = Field(max_length=20)
    priority: str = Field(max_length=20)
    created_at: datetime = moment()


class DailyPlan(Kibray, table=True):
    """What a crew does on a day; `completion_deadline` is the moment by which the plan must be complete."""

    __tablename__ = "core_dailyplan"
    __table_args__ = (UniqueConstraint("project_id", "plan_date"),)

    id: int | None = key()
    project_id: int = reference("core_project.id")
    plan_date: date
    created_by_id: int | None = reference("auth_user.id", null=True)
    status: str = Field(max_length=20)
    completion_deadline: datetime = moment()
    weather_data: Any = document(null=True)
    weather_fetched_at: datetime | None = moment(null=True)


class Notification(Kibray, table=True):
    """A notice to one user, shown by the application."""

    __tablename__ = "core_notification"
    optional: ClassVar[list[Column[Any]]] = [Column("project_id", BigKey, nullable=True)]

    id: int | None = key()
    user_id: int = reference("auth_user.id")
    notification_type: str = Field(max_length=30)
    title: str = Field(max_length=200)
    message: str = Field(sa_column=Column(Text, nullable=False))
    related_object_type: str = Field(max_length=50)
    related_object_id: int | None = None
    link_url: str = Field(max_length=255)
    is_read: bool
    created_at: datetime = moment()


class NotificationPreference(Kibray, table=True):
    """Whether a user wants e-mail; only the later schema has this table."""

    __tablename__ = "core_notificationpreference"

    id: int | None = key()
    user_id: int = reference("auth_user.id", unique=True)
    email_enabled: bool
