"""Notices to users, and who wants them mailed."""

from datetime import datetime
from typing import Any, ClassVar

from sqlalchemy import Column, Text
from sqlmodel import Field

from kibray_ops.models.kibray.base import Kibray, key, moment, reference
from kibray_ops.models.types import BigKey


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
