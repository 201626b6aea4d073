"""Time entries, payroll periods, records and payments."""

from datetime import date, datetime, time
from decimal import Decimal
from typing import Any, ClassVar

from sqlalchemy import Column, Text, UniqueConstraint
from sqlmodel import Field

from kibray_ops.models.kibray.base import Kibray, amount, document, key, moment, reference
from kibray_ops.models.types import Amount, ClockTime


class TimeEntry(Kibray, table=True):
    """A shift: wall-clock times on a date; `end_time` null means still open. Hours are stored by the application."""

    __tablename__ = "core_timeentry"
    optional: ClassVar[list[Column[Any]]] = [Column("cost_rate_snapshot", Amount(6), nullable=True)]

    id: int | None = key()
    employee_id: int = reference("core_employee.id")
    project_id: int | None = reference("core_project.id", null=True)
    date: date
    start_time: time = Field(sa_column=Column(ClockTime, nullable=False))
    end_time: time | None = Field(default=None, sa_column=Column(ClockTime))
    hours_worked: Decimal | None = amount(5, null=True)


class PayrollPeriod(Kibray, table=True):
    """A week of payroll, Monday to Sunday; `approved` and `paid` ones are closed."""

    __tablename__ = "core_payrollperiod"
    __table_args__ = (UniqueConstraint("week_start", "week_end"),)

    id: int | None = key()
    week_start: date
    week_end: date
    created_by_id: int | None = reference("auth_user.id", null=True)
    created_at: datetime = moment()
    status: str = Field(max_length=20)
    notes: str = Field(sa_column=Column(Text, nullable=False))
    validation_errors: Any = document()
    approved_by_id: int | None = reference("auth_user.id", null=True)
    approved_at: datetime | None = moment(null=True)


class PayrollRecord(Kibray, table=True):
    """What one employee gets for one week. No unique constraint guards (employee, week): the job does."""

    __tablename__ = "core_payrollrecord"

    id: int | None = key()
    period_id: int | None = reference("core_payrollperiod.id", null=True)
    employee_id: int = reference("core_employee.id")
    week_start: date
    week_end: date
    total_hours: Decimal = amount(6)
    hourly_rate: Decimal = amount(8)
    adjusted_rate: Decimal | None = amount(8, null=True)
    total_pay: Decimal = amount()
    regular_hours: Decimal = amount(6)
    overtime_hours: Decimal = amount(6)
    overtime_rate: Decimal | None = amount(8, null=True)
    bonus: Decimal = amount()
    deductions: Decimal = amount()
    deduction_notes: str = Field(sa_column=Column(Text, nullable=False))
    gross_pay: Decimal = amount()
    tax_withheld: Decimal = amount()
    net_pay: Decimal = amount()
    manually_adjusted: bool
    adjusted_by_id: int | None = reference("auth_user.id", null=True)
    adjusted_at: datetime | None = moment(null=True)
    adjustment_reason: str = Field(sa_column=Column(Text, nullable=False))
    missing_days: Any = document()
    project_hours: Any = document()
    # The expense that pays it; core_expense is not mapped.
    expense_id: int | None = Field(default=None, unique=True)
    reviewed: bool
    notes: str = Field(sa_column=Column(Text, nullable=False))


class PayrollPayment(Kibray, table=True):
    """Money that was handed over for a record."""

    __tablename__ = "core_payrollpayment"

    id: int | None = key()
    payroll_record_id: int = reference("core_payrollrecord.id")
    amount: Decimal = amount()
    payment_date: date
