"""Tasks, touch-ups and daily plans."""

from datetime import date, datetime
from typing import Any

from sqlalchemy import UniqueConstraint
from sqlmodel import Field

from kibray_ops.models.kibray.base import Kibray, document, key, moment, reference


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
