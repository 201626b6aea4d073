"""Our own tables, `kibray_ops_*`. Alembic makes and upgrades them (`migrations/`); a test compares the two."""

from datetime import date, datetime
from decimal import Decimal
from typing import Any, ClassVar

from sqlalchemy import Column, Identity, Index, Integer, MetaData, Text, text
from sqlmodel import Field, SQLModel

from kibray_ops.models.types import Amount, BigKey, Document, Moment

KNOWN_REVISIONS = ("0001", "0002", "0003")
HEAD = KNOWN_REVISIONS[-1]
"""The revision that this version of the program works with."""
VERSION_TABLE = "kibray_ops_alembic_version"

RUNNING, SUCCEEDED, PARTIAL = "running", "succeeded", "partial"
FAILED, TIMED_OUT, INTERRUPTED, SKIPPED = "failed", "timed_out", "interrupted", "skipped"
CLAIMING = (RUNNING, SUCCEEDED, PARTIAL)
"""A run in one of these states holds its slot."""


class Operations(SQLModel):
    """Base of our own tables."""

    metadata: ClassVar[MetaData] = MetaData()


class RunRecord(Operations, table=True):
    """One run of a job, written as `running` before its work begins."""

    __tablename__ = "kibray_ops_run"
    __table_args__ = (
        # Claiming a slot: two hosts, a doubled cron line or the repeated hour end in one execution.
        Index(
            "kibray_ops_run_slot",
            "job",
            "slot",
            unique=True,
            postgresql_where=text("status IN ('running', 'succeeded', 'partial')"),
            sqlite_where=text("status IN ('running', 'succeeded', 'partial')"),
        ),
        # Freeing what died, the holder of a lock, and whether a manual run satisfies a slot: by job and state.
        Index("kibray_ops_run_job_status", "job", "status", "business_date"),
        # `runs list`: the newest runs, of all jobs or of one.
        Index("kibray_ops_run_started", "started_at"),
    )

    id: int | None = Field(default=None, sa_column=Column(BigKey, Identity(), primary_key=True))
    job: str = Field(max_length=80)
    slot: str | None = Field(default=None, max_length=40)
    business_date: date
    trigger: str = Field(max_length=20)
    host: str = Field(max_length=255)
    pid: int
    version: str = Field(max_length=40)
    arguments: dict[str, Any] = Field(default_factory=dict, sa_column=Column(Document, nullable=False))
    as_of: datetime | None = Field(default=None, sa_column=Column(Moment))
    started_at: datetime = Field(sa_column=Column(Moment, nullable=False))
    finished_at: datetime | None = Field(default=None, sa_column=Column(Moment))
    status: str = Field(max_length=20)
    result: dict[str, Any] | None = Field(default=None, sa_column=Column(Document))
    problems: list[dict[str, Any]] = Field(default_factory=list, sa_column=Column(Document, nullable=False))
    error: str | None = Field(default=None, sa_column=Column(Text))


class State(Operations, table=True):
    """Facts about this installation, one row each: `baseline` is the moment of going live."""

    __tablename__ = "kibray_ops_state"

    key: str = Field(primary_key=True, max_length=80)
    value: str = Field(sa_column=Column(Text, nullable=False))


class Provenance(Operations, table=True):
    """Which rows of Kibray's tables a run created, and a digest of what they held: only these may be taken back."""

    __tablename__ = "kibray_ops_provenance"

    table_name: str = Field(primary_key=True, max_length=80)
    row_id: int = Field(sa_column=Column(BigKey, primary_key=True, autoincrement=False))
    run_id: int = Field(sa_column=Column(BigKey, nullable=False))
    fingerprint: str = Field(max_length=64)


class AlertRecord(Operations, table=True):
    """The ledger of who was told what: nobody is told the same thing twice.

    The subject is a row of Kibray's and a date: an invoice and its due date, a payroll period and its Monday, or what
    is told daily (a project's touch-ups, a plan, all stock as 0) and the day. Whoever was told of a stage need not be
    told of a lower one. The primary key is in the order of that question, and of whether anybody ever heard of a plan.
    A row may go only when its subject can be told of no more: if age alone decided, long overdue invoices and old
    drafts would be told anew.
    """

    __tablename__ = "kibray_ops_alert"

    kind: str = Field(primary_key=True, max_length=40)
    subject_id: int = Field(sa_column=Column(BigKey, primary_key=True, autoincrement=False))
    subject_date: date = Field(primary_key=True)
    recipient_id: int = Field(sa_column=Column(BigKey, primary_key=True, autoincrement=False))
    stage: int = Field(sa_column=Column(Integer, primary_key=True, autoincrement=False))
    told_at: datetime = Field(sa_column=Column(Moment, nullable=False))
    run_id: int = Field(sa_column=Column(BigKey, nullable=False))


class PlaceRecord(Operations, table=True):
    """Where a project is, in degrees, as long as it has the address that was asked for; or that nobody could tell.

    The source is `census`, `zip`, `city` or `manual`; `absent` and `ambiguous` have no coordinates.
    """

    __tablename__ = "kibray_ops_place"

    project_id: int = Field(sa_column=Column(BigKey, primary_key=True, autoincrement=False))
    address_hash: str = Field(max_length=64)
    latitude: Decimal | None = Field(default=None, sa_column=Column(Amount(8, 5)))
    longitude: Decimal | None = Field(default=None, sa_column=Column(Amount(8, 5)))
    source: str = Field(max_length=20)
    matched_text: str | None = Field(default=None, sa_column=Column(Text))
    located_at: datetime = Field(sa_column=Column(Moment, nullable=False))


class ForecastRecord(Operations, table=True):
    """The newest answer of the forecast service for a point: two jobs want it, and it is asked for once an hour."""

    __tablename__ = "kibray_ops_forecast"

    latitude: Decimal = Field(sa_column=Column(Amount(8, 5), primary_key=True))
    longitude: Decimal = Field(sa_column=Column(Amount(8, 5), primary_key=True))
    answer: dict[str, Any] = Field(sa_column=Column(Document, nullable=False))
    fetched_at: datetime = Field(sa_column=Column(Moment, nullable=False))
