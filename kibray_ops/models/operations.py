"""Our own tables, `kibray_ops_*`. Alembic makes and upgrades them (`migrations/`); a test compares the two."""

from datetime import date, datetime
from decimal import Decimal
from typing import Any, ClassVar

from sqlalchemy import Column, Identity, Index, Integer, MetaData, Text, UniqueConstraint, text
from sqlmodel import Field, SQLModel

from kibray_ops.models.types import Amount, BigKey, Document, Moment

KNOWN_REVISIONS = ("0001", "0002", "0003", "0004", "0005")
HEAD = KNOWN_REVISIONS[-1]
"""The revision that this version of the program works with."""
VERSION_TABLE = "kibray_ops_alembic_version"

RUNNING, SUCCEEDED, PARTIAL = "running", "succeeded", "partial"
FAILED, TIMED_OUT, INTERRUPTED, SKIPPED = "failed", "timed_out", "interrupted", "skipped"
CLAIMING = (RUNNING, SUCCEEDED, PARTIAL)
"""A run in one of these states holds its slot."""
DONE = (SUCCEEDED, PARTIAL)
ENDED_BADLY = (FAILED, TIMED_OUT, INTERRUPTED)
"""After a run that ended so, its slot may be tried again."""

PENDING, SENDING, SENT, UNKNOWN = "pending", "sending", "sent", "unknown"
EXPIRED, SUPPRESSED, CANCELLED = "expired", "suppressed", "cancelled"
"""States of a delivery, beside FAILED; `unknown` may have arrived."""


class Operations(SQLModel):
    """Base of our own tables."""

    model_config = {"defer_build": True}  # as Kibray's
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
        # Freeing what died, the holder of a lock, whether a manual run satisfies a slot, and the tries of a slot: by
        # job and state.
        Index("kibray_ops_run_job_status", "job", "status", "business_date"),
        # `runs list`: the newest runs, of all jobs or of one; `doctor`: what a schedule has started lately.
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
    exit_code: int | None = Field(default=None, sa_column=Column(Integer))
    """Empty while it runs, when it was killed, and in what versions before 0005 wrote."""
    result: dict[str, Any] | None = Field(default=None, sa_column=Column(Document))
    problems: list[dict[str, Any]] = Field(default_factory=list, sa_column=Column(Document, nullable=False))
    error: str | None = Field(default=None, sa_column=Column(Text))


class State(Operations, table=True):
    """Facts about this installation, one row each: `baseline`, the moment of going live, and `zone`, the business's."""

    __tablename__ = "kibray_ops_state"

    key: str = Field(primary_key=True, max_length=80)
    value: str = Field(sa_column=Column(Text, nullable=False))


class PauseRecord(Operations, table=True):
    """A time in which a job is not to run by itself: what is due then is neither run, nor missed, nor late.

    As long as nobody has said when it ends, `until` is empty. The row stays when the pause is over.
    """

    __tablename__ = "kibray_ops_pause"

    job: str = Field(primary_key=True, max_length=80)
    since: datetime = Field(sa_column=Column(Moment, primary_key=True))
    until: datetime | None = Field(default=None, sa_column=Column(Moment))


class AlarmRecord(Operations, table=True):
    """A job of which somebody is told by e-mail that it fails or is late, and that it works again.

    `told_at` is empty as long as the mail could not be handed over. `ended_at` is set when the job works again and
    nobody could be told of that yet.
    """

    __tablename__ = "kibray_ops_alarm"

    job: str = Field(primary_key=True, max_length=80)
    since: datetime = Field(sa_column=Column(Moment, nullable=False))
    reason: str = Field(sa_column=Column(Text, nullable=False))
    told_at: datetime | None = Field(default=None, sa_column=Column(Moment))
    ended_at: datetime | None = Field(default=None, sa_column=Column(Moment))


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


class Delivery(Operations, table=True):
    """The outbox: what became of one notification on one channel, `email` or `sms`.

    A claim freezes which deliveries are one message (their batch) and the message's id; another try sends just that.
    A row may go only when its notification is gone, from the archive too: without it, it would be queued anew.
    """

    __tablename__ = "kibray_ops_delivery"
    __table_args__ = (
        # Queueing: whether a notification is in the outbox already.
        UniqueConstraint("notification_id", "channel", name="kibray_ops_delivery_notification"),
        # Sending: what waits, and what a run that died was about to send.
        Index(
            "kibray_ops_delivery_open",
            "status",
            postgresql_where=text("status IN ('pending', 'sending')"),
            sqlite_where=text("status IN ('pending', 'sending')"),
        ),
        # `outbox retry` and `outbox cancel`: the deliveries that share a message.
        Index("kibray_ops_delivery_batch", "batch"),
    )

    id: int | None = Field(default=None, sa_column=Column(BigKey, Identity(), primary_key=True))
    notification_id: int = Field(sa_column=Column(BigKey, nullable=False))
    channel: str = Field(max_length=10)
    user_id: int = Field(sa_column=Column(BigKey, nullable=False))
    status: str = Field(max_length=20)
    attempts: int
    queued_at: datetime = Field(sa_column=Column(Moment, nullable=False))
    next_attempt_at: datetime = Field(sa_column=Column(Moment, nullable=False))
    expires_at: datetime = Field(sa_column=Column(Moment, nullable=False))
    batch: str | None = Field(default=None, max_length=40)
    message_id: str | None = Field(default=None, max_length=320)
    address: str | None = Field(default=None, max_length=320)
    """Where it was sent last."""
    provider_id: str | None = Field(default=None, max_length=255)
    """What the server that took it calls it."""
    last_error: str | None = Field(default=None, sa_column=Column(Text))
    ended_at: datetime | None = Field(default=None, sa_column=Column(Moment))
    run_id: int = Field(sa_column=Column(BigKey, nullable=False))


class Suppression(Operations, table=True):
    """An address that wants nothing more on a channel, such as a number that answered STOP."""

    __tablename__ = "kibray_ops_suppression"

    channel: str = Field(primary_key=True, max_length=10)
    address: str = Field(primary_key=True, max_length=320)
    reason: str = Field(sa_column=Column(Text, nullable=False))
    suppressed_at: datetime = Field(sa_column=Column(Moment, nullable=False))


class ArchivedNotification(Operations, table=True):
    """A notification that was moved out of the application's way, with every column that it had.

    A restored one stays here as a mark that keeps it from being archived again.
    """

    __tablename__ = "kibray_ops_notification_archive"

    id: int = Field(sa_column=Column(BigKey, primary_key=True, autoincrement=False))
    user_id: int = Field(sa_column=Column(BigKey, nullable=False))
    created_at: datetime = Field(sa_column=Column(Moment, nullable=False))
    content: dict[str, Any] = Field(sa_column=Column(Document, nullable=False))
    archived_at: datetime = Field(sa_column=Column(Moment, nullable=False))
    restored_at: datetime | None = Field(default=None, sa_column=Column(Moment))
    run_id: int = Field(sa_column=Column(BigKey, nullable=False))
