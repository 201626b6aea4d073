"""Projects, who may see and manage them, and their weather."""

from datetime import date, datetime
from decimal import Decimal
from typing import Any, ClassVar

from sqlalchemy import Boolean, Column, UniqueConstraint
from sqlmodel import Field

from kibray_ops.models.kibray.base import Kibray, amount, document, key, moment, reference


class Project(Kibray, table=True):
    """A job site; active while `end_date` is null or not past, and not archived."""

    __tablename__ = "core_project"
    optional: ClassVar[list[Column[Any]]] = [Column("is_archived", Boolean, nullable=False)]

    id: int | None = key()
    name: str = Field(max_length=100)
    client: str | None = Field(default=None, max_length=100)
    address: str | None = Field(default=None, max_length=255)
    start_date: date
    end_date: date | None = None


class ClientProjectAccess(Kibray, table=True):
    """Who may see a project, in which role (`client`, `owner`, `external_pm`, `viewer`)."""

    __tablename__ = "core_clientprojectaccess"
    __table_args__ = (UniqueConstraint("user_id", "project_id"),)
    optional: ClassVar[list[Column[Any]]] = [
        Column("receive_notifications", Boolean, nullable=False),
        Column("is_active", Boolean, nullable=False),
    ]

    id: int | None = key()
    user_id: int = reference("auth_user.id")
    project_id: int = reference("core_project.id")
    role: str = Field(max_length=20)


class ProjectManagerAssignment(Kibray, table=True):
    """Which manager a project has; only the later schema has this table."""

    __tablename__ = "core_projectmanagerassignment"
    __table_args__ = (UniqueConstraint("project_id", "pm_id"),)

    id: int | None = key()
    project_id: int = reference("core_project.id")
    pm_id: int = reference("auth_user.id")
    role: str = Field(max_length=50)
    created_at: datetime = moment()


class WeatherSnapshot(Kibray, table=True):
    """A day's forecast for a project: °C, mm, km/h, %."""

    __tablename__ = "core_weathersnapshot"
    __table_args__ = (UniqueConstraint("project_id", "date", "source"),)

    id: int | None = key()
    project_id: int = reference("core_project.id")
    date: date
    source: str = Field(max_length=50)
    temperature_max: Decimal | None = amount(5, null=True)
    temperature_min: Decimal | None = amount(5, null=True)
    conditions_text: str = Field(max_length=120)
    precipitation_mm: Decimal | None = amount(6, null=True)
    wind_kph: Decimal | None = amount(6, null=True)
    humidity_percent: int | None = None
    raw_json: Any = document(null=True)
    fetched_at: datetime = moment()
    provider_url: str = Field(max_length=200)
    latitude: Decimal | None = amount(8, 5, null=True)
    longitude: Decimal | None = amount(8, 5, null=True)
