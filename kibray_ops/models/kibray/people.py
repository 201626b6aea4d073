"""Users, their profiles and groups, employees."""

from datetime import date
from decimal import Decimal

from sqlmodel import Field

from kibray_ops.models.kibray.base import Kibray, amount, key, reference


class User(Kibray, table=True):
    """A login; `is_staff` or `is_superuser` makes an admin."""

    __tablename__ = "auth_user"

    id: int | None = key()
    username: str = Field(max_length=150, unique=True)
    first_name: str = Field(max_length=150)
    last_name: str = Field(max_length=150)
    email: str = Field(max_length=254)
    is_staff: bool
    is_superuser: bool
    is_active: bool


class Group(Kibray, table=True):
    """A named set of users, such as Accounting."""

    __tablename__ = "auth_group"

    id: int | None = key()
    name: str = Field(max_length=150, unique=True)


class UserGroup(Kibray, table=True):
    """Membership of a user in a group."""

    __tablename__ = "auth_user_groups"

    id: int | None = key()
    user_id: int = reference("auth_user.id")
    group_id: int = reference("auth_group.id")


class Profile(Kibray, table=True):
    """A user's role and language (`en`, `es`)."""

    __tablename__ = "core_profile"

    id: int | None = key()
    user_id: int = reference("auth_user.id", unique=True)
    role: str = Field(max_length=20)
    language: str = Field(max_length=5)


class Employee(Kibray, table=True):
    """Somebody who is paid by the hour. Rates are dollars per hour."""

    __tablename__ = "core_employee"

    id: int | None = key()
    user_id: int | None = reference("auth_user.id", null=True, unique=True)
    first_name: str = Field(max_length=50)
    last_name: str = Field(max_length=50)
    hourly_rate: Decimal = amount(7)
    phone: str = Field(max_length=20)
    email: str = Field(max_length=254)
    is_active: bool
    hire_date: date | None = None
    has_custom_overtime: bool
    overtime_multiplier: Decimal = amount(3)
