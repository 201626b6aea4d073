"""The outbox: one delivery for each notification and channel, and how its state changes.

Kibray's notifications have no delivery state, so each has a row of ours for each channel. Only the holder of the lock
of `notifications send` queues, claims and marks; operators may retry and cancel meanwhile, which a claim respects.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import and_, bindparam, insert, literal, select, update

from kibray_ops.bulk import insert_all, update_all
from kibray_ops.catalog import ONE, table_of
from kibray_ops.delivery import EMAIL, SMS
from kibray_ops.delivery.phone import e164
from kibray_ops.job import Run
from kibray_ops.messages import Texts
from kibray_ops.messages.letter import Notice
from kibray_ops.models.operations import (
    CANCELLED,
    EXPIRED,
    FAILED,
    PENDING,
    SENDING,
    SENT,
    SUPPRESSED,
    UNKNOWN,
    Delivery,
    Suppression,
)

DELIVERIES, SUPPRESSIONS = table_of(Delivery), table_of(Suppression)
IS_OPEN = DELIVERIES.c.status.in_(bindparam("open", (PENDING, SENDING), expanding=True, literal_execute=True))
"""The condition for what waits or is being sent, in the words of the index: SQLite cannot tell of parameters."""
LIFETIME = timedelta(hours=72)
"""How long after it was written, or an operator's retry, a notification is still worth sending."""
DELAYS = tuple(timedelta(minutes=minutes) for minutes in (5, 30, 2 * 60, 6 * 60, 24 * 60))
"""How long to wait after the first, second … try; the last also after every further one."""
STATUSES = (PENDING, SENDING, SENT, FAILED, UNKNOWN, EXPIRED, SUPPRESSED, CANCELLED)
NOT_DELIVERED = (FAILED, UNKNOWN, EXPIRED)


@dataclass(frozen=True)
class Person:
    """A recipient: how to write to them, and whether they want it."""

    id: int
    name: str
    first_name: str
    texts: Texts
    email: str
    phone: str
    is_active: bool
    wants_email: bool


class Item(NamedTuple):
    """One notification on one channel."""

    id: int | None
    """None while it is not queued."""
    notification_id: int
    channel: str
    user_id: int
    status: str
    attempts: int
    next_attempt_at: datetime
    expires_at: datetime
    batch: str | None
    message_id: str | None
    address: str | None
    """Where it was sent before."""
    created_at: datetime
    notice: Notice
    is_read: bool | None
    """None when the notification is gone."""


class Fate(NamedTuple):
    """A state in which a delivery ends or waits, and why."""

    status: str
    reason: str
    is_odd: bool = False
    """Somebody should correct what it tells of."""


@dataclass(frozen=True)
class Batch:
    """What one person gets in one message. What was claimed once is sent again as it was."""

    channel: str
    person: Person
    address: str
    items: tuple[Item, ...]
    key: str
    message_id: str
    is_new: bool

    @property
    def notices(self) -> list[Notice]:
        """Return what there is to read, the oldest first."""
        return [item.notice for item in self.items]

    @property
    def attempts(self) -> int:
        """Return how often it was tried before."""
        return max(item.attempts for item in self.items)


@dataclass(frozen=True)
class Plan:
    """What there is to do: messages that are due, deliveries that end without one, and those that wait."""

    due: list[Batch]
    ended: list[tuple[Item, Fate]]
    waiting: list[tuple[Item, Fate]]
    untold: list[tuple[Item, Fate]]
    """What an earlier run could not deliver, and did not live to tell."""
    people: Mapping[int, Person]

    @property
    def new(self) -> list[tuple[Item, Fate]]:
        """Return what is to be queued, each with the state in which it is."""
        due = [(item, Fate(PENDING, "")) for batch in self.due for item in batch.items]
        return [(item, fate) for item, fate in (*self.ended, *self.waiting, *due) if item.id is None]


def address_of(run: Run, channel: str, person: Person | None) -> str:
    """Return where a person is written to on a channel; nothing where that is nowhere."""
    if person is None:
        return ""
    if channel == SMS:
        return e164(person.phone) or ""
    return run.settings["EMAIL_REDIRECT_TO"] or person.email


def enqueue(run: Run, planned: Plan) -> Plan:
    """Queue what is new and write down what has ended; return the plan with the ids of what is due."""
    ids: dict[tuple[int, str], int] = {}
    if rows := [_new_row(run, planned, item, fate) for item, fate in planned.new]:
        same = {"attempts": 0, "queued_at": run.now, "next_attempt_at": run.now, "run_id": run.id}
        made = insert_all(run.session, DELIVERIES, rows, same)
        columns = (DELIVERIES.c.id, DELIVERIES.c.notification_id, DELIVERIES.c.channel)
        ids = {(row.notification_id, row.channel): row.id for row in run.session.execute(made.returning(*columns))}
    before = [(item, fate) for item, fate in planned.ended if item.id is not None]
    if rows := [
        {"id": item.id, "expires_at": item.expires_at, "run_id": run.id, **_state(run, planned, item, fate)}
        for item, fate in before
    ]:
        # What an operator has retried since then has another expiry, and waits.
        changed = update_all(run.session, DELIVERIES, rows, key=["id", "expires_at"], where=IS_OPEN)
        done = set(run.session.execute(changed.returning(DELIVERIES.c.id)).scalars())
        planned = replace(planned, ended=[(i, fate) for i, fate in planned.ended if i.id is None or i.id in done])
    if told_now := [{"id": item.id, "run_id": run.id} for item, _ in planned.untold]:
        run.session.execute(update_all(run.session, DELIVERIES, told_now, key=["id"]))

    def known(item: Item) -> Item:
        return item if item.id is not None else item._replace(id=ids[item.notification_id, item.channel])

    return replace(
        planned,
        due=[replace(batch, items=tuple(map(known, batch.items))) for batch in planned.due],
        ended=[(known(item), fate) for item, fate in planned.ended],
        waiting=[(known(item), fate) for item, fate in planned.waiting],
    )


def _new_row(run: Run, planned: Plan, item: Item, fate: Fate) -> dict[str, Any]:
    return {
        "notification_id": item.notification_id,
        "channel": item.channel,
        "user_id": item.user_id,
        "expires_at": item.expires_at,
        **_state(run, planned, item, fate),
    }


def _state(run: Run, planned: Plan, item: Item, fate: Fate) -> dict[str, Any]:
    if fate.status == PENDING:
        return {"status": PENDING, "address": None, "last_error": None, "ended_at": None}
    address = item.address or address_of(run, item.channel, planned.people.get(item.user_id))
    return {
        "status": fate.status,
        "address": address or None,
        "last_error": fate.reason,
        "ended_at": run.now,
    }


# A run executes these for every message: made once, they need not be put together and looked up anew.
_CLAIM = (
    update(DELIVERIES)
    .where(DELIVERIES.c.id.in_(bindparam("ids", expanding=True)), DELIVERIES.c.status == PENDING)
    .values(
        status=SENDING,
        attempts=DELIVERIES.c.attempts + 1,
        batch=bindparam("key"),
        message_id=bindparam("its_message_id"),
        address=bindparam("to"),
        run_id=bindparam("run"),
    )
    .returning(DELIVERIES.c.id)
)
_MARK = (
    update(DELIVERIES)
    .where(DELIVERIES.c.batch == bindparam("key"), DELIVERIES.c.status == SENDING)
    .values(
        status=bindparam("fate"),
        provider_id=bindparam("its_provider_id"),
        last_error=bindparam("reason"),
        ended_at=bindparam("at"),
    )
)


def claim(run: Run, batch: Batch) -> Batch:
    """Freeze a batch for sending, and return it without what was cancelled meanwhile; nothing may be left of it."""
    values = {
        "ids": [item.id for item in batch.items],
        "key": batch.key,
        "its_message_id": batch.message_id if batch.channel == EMAIL else None,
        "to": batch.address,
        "run": run.id,
    }
    claimed = set(run.session.connection().execute(_CLAIM, values).scalars())
    return replace(batch, items=tuple(item for item in batch.items if item.id in claimed))


def release(run: Run, batch: Batch) -> None:
    """Take a claim back: nothing was handed over, and it counts as no try."""
    former: dict[str, Any] = {"batch": None, "message_id": None, "address": None} if batch.is_new else {}
    _change(run, batch, status=PENDING, attempts=DELIVERIES.c.attempts - 1, **former)


def note(run: Run, batches: Sequence[Batch], why: str) -> None:
    """Write down why messages wait that nobody has tried to send."""
    if rows := [{"id": item.id, "last_error": why} for batch in batches for item in batch.items]:
        waits = DELIVERIES.c.status == PENDING
        run.session.execute(update_all(run.session, DELIVERIES, rows, key=["id"], where=waits))


def mark(run: Run, batch: Batch, status: str, *, provider_id: str | None = None, reason: str | None = None) -> None:
    """Write down what became of a message, for good."""
    values = {"key": batch.key, "fate": status, "its_provider_id": provider_id, "reason": reason, "at": run.now}
    run.session.connection().execute(_MARK, values)


def put_off(run: Run, batch: Batch, reason: str) -> datetime:
    """Let a message wait for its next try, and return when that is."""
    again = run.now + DELAYS[min(batch.attempts, len(DELAYS) - 1)]
    _change(run, batch, status=PENDING, last_error=reason, next_attempt_at=again)
    return again


def suppress(run: Run, channel: str, address: str, reason: str) -> None:
    """Remember that an address wants no more."""
    known = select(ONE).where(SUPPRESSIONS.c.channel == channel, SUPPRESSIONS.c.address == address).exists()
    values = {"channel": channel, "address": address, "reason": reason, "suppressed_at": run.now}
    new = select(*(literal(value, SUPPRESSIONS.c[name].type) for name, value in values.items())).where(~known)
    run.session.execute(insert(SUPPRESSIONS).from_select([*values], new))


def _change(run: Run, batch: Batch, /, **values: Any) -> None:
    ours = and_(DELIVERIES.c.batch == batch.key, DELIVERIES.c.status == SENDING)
    run.session.execute(update(DELIVERIES).where(ours).values(values))
