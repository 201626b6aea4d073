"""The outbox: which notifications are sent, to whom, and what became of each (SPEC §3).

Kibray's notifications have no delivery state, so each has a row of ours for each channel. Only the holder of the lock
of `notifications send` queues, claims and marks; operators may retry and cancel meanwhile, which a claim respects.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, time, timedelta
from typing import Any, NamedTuple
from uuid import uuid4

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    Select,
    and_,
    bindparam,
    func,
    insert,
    literal,
    null,
    or_,
    select,
    true,
    update,
)

from kibray_ops import channels
from kibray_ops.alerts import is_admin
from kibray_ops.bulk import given, insert_all, update_all
from kibray_ops.catalog import ONE, baseline, some, table_of
from kibray_ops.clock import Clock
from kibray_ops.delivery import EMAIL, SMS
from kibray_ops.delivery.mime import mailbox
from kibray_ops.delivery.phone import e164
from kibray_ops.errors import UsageError
from kibray_ops.job import Problem, Run, called, warnings
from kibray_ops.messages import Texts, texts
from kibray_ops.messages.letter import Notice
from kibray_ops.models.kibray.notifications import Notification, NotificationPreference
from kibray_ops.models.kibray.people import Employee, Profile, User
from kibray_ops.models.operations import (
    CANCELLED,
    EXPIRED,
    FAILED,
    INTERRUPTED,
    PENDING,
    SENDING,
    SENT,
    SUPPRESSED,
    TIMED_OUT,
    UNKNOWN,
    Delivery,
    RunRecord,
    Suppression,
)
from kibray_ops.text import is_mail_address, printable

DELIVERIES, SUPPRESSIONS, RUNS = table_of(Delivery), table_of(Suppression), table_of(RunRecord)
NOTIFICATIONS, USERS, PROFILES = table_of(Notification), table_of(User), table_of(Profile)
PREFERENCES, EMPLOYEES = table_of(NotificationPreference), table_of(Employee)
IS_OPEN = DELIVERIES.c.status.in_(bindparam("open", (PENDING, SENDING), expanding=True, literal_execute=True))
"""The condition for what waits or is being sent, in the words of the index: SQLite cannot tell of parameters."""
LIFETIME = timedelta(hours=72)
"""How long after it was written, or an operator's retry, a notification is still worth sending."""
DELAYS = tuple(timedelta(minutes=minutes) for minutes in (5, 30, 2 * 60, 6 * 60, 24 * 60))
"""How long to wait after the first, second … try; the last also after every further one."""
LONGEST_ADDRESS = 320
MOST_NOTICES, MOST_LETTERS = 1_000, 500_000
"""What one message holds at most."""
NOT_DELIVERED = (FAILED, UNKNOWN, EXPIRED)
SENDER = "send-pending-notifications"
DIED = (FAILED, TIMED_OUT, INTERRUPTED)
"""States of a run that may have left no result."""
STATUSES = (PENDING, SENDING, SENT, FAILED, UNKNOWN, EXPIRED, SUPPRESSED, CANCELLED)


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


def plan(run: Run) -> Plan:
    """Find out what is to be sent now, and what is not; reads only."""
    if (began := _baseline(run)) is None:
        return Plan([], [], [], [], {})  # a dry run before `db init`
    items = sorted((*_open(run), *_new(run, began)), key=_age)
    untold = _untold(run)
    people = _people(run, {item.user_id for item in (*items, *(item for item, _ in untold))})
    stopped = _stopped(run, people)
    groups: dict[tuple[str, int, str | None], list[Item]] = {}
    for item in items:
        groups.setdefault((item.channel, item.user_id, item.batch), []).append(item)
    found = Plan([], [], [], untold, people)
    for (channel, user_id, key), group in groups.items():
        # What was claimed together is judged together; the rest may be read or expire one by one.
        judged = [group] if key else [[item] for item in group]
        left: list[Item] = []
        for together in judged:
            for item, fate in _judge(run, together, people.get(user_id), stopped, began):
                if fate is None:
                    left.append(item)
                else:
                    (found.waiting if fate.status == PENDING else found.ended).append((item, fate))
        for portion in [left] if key else _portions(left):
            if portion:
                found.due.append(_batch(run, channel, people[user_id], portion, key))
    return found


def _portions(items: Sequence[Item]) -> list[list[Item]]:
    """Return what is sent in one message each: as much as a mail server and a reader can take."""
    portions: list[list[Item]] = [[]]
    letters = 0
    for item in items:
        length = sum(map(len, (item.notice.title, *item.notice.lines)))
        if portions[-1] and (letters + length > MOST_LETTERS or len(portions[-1]) == MOST_NOTICES):
            portions.append([])
            letters = 0
        portions[-1].append(item)
        letters += length
    return portions


def _batch(run: Run, channel: str, person: Person, items: Sequence[Item], key: str | None) -> Batch:
    address = _address(run, channel, person)
    new = key or uuid4().hex
    message_id = items[0].message_id or f"<{new}@{mailbox(run.settings['EMAIL_FROM']).domain}>"
    return Batch(channel, person, address, tuple(items), new, message_id, is_new=key is None)


def _address(run: Run, channel: str, person: Person | None) -> str:
    if person is None:
        return ""
    if channel == SMS:
        return e164(person.phone) or ""
    return run.settings["EMAIL_REDIRECT_TO"] or person.email


# ---- what there is


def _age(item: Item) -> tuple[datetime, int, str]:
    return item.created_at, item.notification_id, item.channel


def _open(run: Run) -> list[Item]:
    """Return what is queued and not ended, and what a run that died was about to send."""
    return [_item(run, row) for row in _queued(run, IS_OPEN)]


def _untold(run: Run) -> list[tuple[Item, Fate]]:
    """Return what was not delivered by a run that ended without a result: nobody has heard of it."""
    died = select(RUNS.c.id).where(RUNS.c.job == SENDER, RUNS.c.status.in_(DIED), RUNS.c.result.is_(None))
    untold = and_(DELIVERIES.c.status.in_(NOT_DELIVERED), DELIVERIES.c.run_id.in_(died))
    return [(_item(run, row), Fate(row.status, row.last_error or "")) for row in _queued(run, untold)]


def _queued(run: Run, condition: ColumnElement[bool]) -> Iterable[Any]:
    statement = (
        select(DELIVERIES, *_NOTICE, NOTIFICATIONS.c.is_read)
        .outerjoin(NOTIFICATIONS, NOTIFICATIONS.c.id == DELIVERIES.c.notification_id)
        .where(condition)
    )
    return run.session.execute(statement)


def _item(run: Run, row: Any) -> Item:
    return Item(
        row.id,
        row.notification_id,
        row.channel,
        row.user_id,
        row.status,
        row.attempts,
        row.next_attempt_at,
        row.expires_at,
        row.batch,
        row.message_id,
        row.address,
        row.created_at or row.queued_at,
        _notice(run, row),
        row.is_read,
    )


_NOTICE = tuple(NOTIFICATIONS.c[name] for name in ("title", "message", "link_url", "created_at"))


def _notice(run: Run, row: Any) -> Notice:
    return Notice.of(row.title or "", row.message or "", row.link_url or "", run.settings["SITE_URL"] or "")


def _baseline(run: Run) -> datetime | None:
    has_ours = run.catalog.has(DELIVERIES.name)
    return baseline(run.session.connection()) if has_ours else None


def _new(run: Run, began: datetime) -> list[Item]:
    """Return the unread notifications that are not queued on a channel that wants them."""
    wanted = {EMAIL: _is_mailed(run)}
    if channels.is_sms_on(run.settings):
        wanted[SMS] = NOTIFICATIONS.c.notification_type.in_(run.settings["SMS_TYPES"])
    return [
        Item(
            None,
            row.id,
            channel,
            row.user_id,
            PENDING,
            0,
            run.now,
            row.created_at + LIFETIME,
            None,
            None,
            None,
            row.created_at,
            _notice(run, row),
            False,
        )
        for channel, condition in wanted.items()
        for row in run.session.execute(_unqueued(run, channel, began).where(condition))
    ]


def _unqueued(run: Run, channel: str, began: datetime) -> Select[Any]:
    queued = select(ONE).where(DELIVERIES.c.notification_id == NOTIFICATIONS.c.id, DELIVERIES.c.channel == channel)
    return select(NOTIFICATIONS.c.id, NOTIFICATIONS.c.user_id, *_NOTICE).where(
        ~NOTIFICATIONS.c.is_read,
        NOTIFICATIONS.c.created_at >= began,
        NOTIFICATIONS.c.created_at <= run.now,
        ~queued.exists(),
    )


def _is_mailed(run: Run) -> ColumnElement[bool]:
    """Return the condition for a notification of the types and the audience that get e-mail."""
    kinds = run.settings["EMAIL_TYPES"]
    of_type = true() if "all" in kinds else NOTIFICATIONS.c.notification_type.in_(kinds)
    if run.settings["EMAIL_AUDIENCE"] == "all":
        return of_type
    return and_(of_type, NOTIFICATIONS.c.user_id.in_(select(USERS.c.id).where(is_admin())))


def _people(run: Run, ids: Iterable[int]) -> dict[int, Person]:
    rows = [{"id": key} for key in sorted(ids)]
    if not rows:
        return {}
    wanted = given(run.session, {"id": BigInteger()}, rows)
    has_preferences = run.catalog.has(PREFERENCES.name)
    wants: ColumnElement[Any] = PREFERENCES.c.email_enabled if has_preferences else null()
    statement = (
        select(USERS, PROFILES.c.language, EMPLOYEES.c.phone, wants.label("wants_email"))
        .join(wanted, wanted.c.id == USERS.c.id)
        .outerjoin(PROFILES, PROFILES.c.user_id == USERS.c.id)
        .outerjoin(EMPLOYEES, and_(EMPLOYEES.c.user_id == USERS.c.id, EMPLOYEES.c.is_active))
    )
    if has_preferences:
        statement = statement.outerjoin(PREFERENCES, PREFERENCES.c.user_id == USERS.c.id)
    return {
        row.id: Person(
            row.id,
            printable(f"{row.first_name} {row.last_name}") or printable(row.username) or f"#{row.id}",
            printable(row.first_name),
            texts(row.language),
            row.email.strip(),
            (row.phone or "").strip(),
            row.is_active,
            row.wants_email is not False,
        )
        for row in run.session.execute(statement)
    }


def _stopped(run: Run, people: Mapping[int, Person]) -> set[str]:
    """Return the numbers that want no more SMS."""
    if not any(person.phone for person in people.values()):
        return set()
    return set(run.session.execute(select(SUPPRESSIONS.c.address).where(SUPPRESSIONS.c.channel == SMS)).scalars())


# ---- what becomes of it


def _judge(
    run: Run, group: Sequence[Item], person: Person | None, stopped: set[str], began: datetime
) -> list[tuple[Item, Fate | None]]:
    """Return for what is sent together how each ends or why it waits; None: it is due."""
    there = [item for item in group if item.is_read is not None]
    gone = Fate(CANCELLED, "its notification is gone")
    # Only the holder of the lock knows that the run that was sending it is dead.
    killed = Fate(PENDING, "a run is sending it, or was killed") if run.dry_run else Fate(UNKNOWN, KILLED)
    fate = _fate(run, there, person, stopped, began) if there else gone
    return [(item, killed if item.status == SENDING else gone if item.is_read is None else fate) for item in group]


KILLED = "the run that was sending it was killed, and did not write whether it had arrived"


def _fate(run: Run, items: Sequence[Item], person: Person | None, stopped: set[str], began: datetime) -> Fate | None:
    channel = items[0].channel
    if person is None or not person.is_active:
        return Fate(SUPPRESSED, "is no active user")
    if all(item.is_read for item in items):
        return Fate(CANCELLED, "it was read in Kibray")
    if unwanted := _unwanted(channel, person, stopped):
        return unwanted
    if all(item.created_at < began for item in items):
        return Fate(CANCELLED, "it is from before the baseline")
    if max(item.expires_at for item in items) <= run.now:
        return Fate(EXPIRED, f"it could not be sent within {LIFETIME // timedelta(hours=1)} hours")
    if channel == SMS and not channels.is_sms_on(run.settings):
        return Fate(PENDING, "SMS are off")
    if (again := max(item.next_attempt_at for item in items)) > run.now:
        return Fate(PENDING, f"its next try is at {run.clock.local(again):%Y-%m-%d %H:%M}")
    if channel == SMS and (end := quiet_until(run.clock, run.settings["QUIET_HOURS"])):
        return Fate(PENDING, f"quiet hours until {end:%H:%M}")
    return None


def _unwanted(channel: str, person: Person, stopped: set[str]) -> Fate | None:
    if channel == EMAIL:
        if not person.wants_email:
            return Fate(SUPPRESSED, "wants no e-mail")
        if not person.email:
            return Fate(SUPPRESSED, "has no e-mail address", is_odd=True)
        if not is_mail_address(person.email):
            return Fate(SUPPRESSED, f"has {printable(person.email)!r} for an e-mail address", is_odd=True)
        return None
    if not person.phone:
        return Fate(SUPPRESSED, "has no phone number")
    if (number := e164(person.phone)) is None:
        return Fate(SUPPRESSED, f"has {printable(person.phone)!r} for a phone number", is_odd=True)
    return Fate(SUPPRESSED, f"{number} has answered STOP") if number in stopped else None


def quiet_until(clock: Clock, hours: tuple[time, time]) -> datetime | None:
    """Return when the quiet hours end, in the business zone; None when it is not quiet."""
    begin, end = hours
    local = clock.local(clock.now())
    wall = local.time()
    is_quiet = begin <= wall < end if begin <= end else wall >= begin or wall < end
    if not is_quiet:
        return None
    day = local.date() + timedelta(days=1 if wall >= end else 0)
    return datetime.combine(day, end, tzinfo=clock.zone)


# ---- writing


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
        {"id": item.id, "expires_at": item.expires_at, "run_id": run.id, **_ended(run, planned, item, fate)}
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
    named = {
        "notification_id": item.notification_id,
        "channel": item.channel,
        "user_id": item.user_id,
        "expires_at": item.expires_at,
    }
    if fate.status == PENDING:
        return {**named, "status": PENDING, "address": None, "last_error": None, "ended_at": None}
    return {**named, **_ended(run, planned, item, fate)}


def _ended(run: Run, planned: Plan, item: Item, fate: Fate) -> dict[str, Any]:
    address = item.address or _address(run, item.channel, planned.people.get(item.user_id))
    return {
        "status": fate.status,
        "address": address[:LONGEST_ADDRESS] or None,
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


# ---- what operators see and choose


def described() -> Select[Any]:
    """Return the query of deliveries with their titles and recipients."""
    return (
        select(
            DELIVERIES,
            NOTIFICATIONS.c.title,
            NOTIFICATIONS.c.id.is_(None).label("is_gone"),
            USERS.c.username,
            USERS.c.first_name,
            USERS.c.last_name,
        )
        .outerjoin(NOTIFICATIONS, NOTIFICATIONS.c.id == DELIVERIES.c.notification_id)
        .outerjoin(USERS, USERS.c.id == DELIVERIES.c.user_id)
    )


def as_row(row: Any) -> dict[str, Any]:
    """Return what is shown of a row of `described`."""
    name = printable(f"{row.first_name or ''} {row.last_name or ''}") or called(row.username, row.user_id)
    return {
        "delivery_id": row.id,
        "channel": row.channel,
        "user_id": row.user_id,
        "recipient": name,
        "address": row.address and printable(row.address),
        "notification_id": row.notification_id,
        "title": printable(row.title or ""),
        "is_gone": row.is_gone,
        "status": row.status,
        "attempts": row.attempts,
        "queued_at": row.queued_at,
        "next_attempt_at": row.next_attempt_at if row.status == PENDING else None,
        "ended_at": row.ended_at,
        "message_id": row.message_id,
        "provider_id": row.provider_id,
        "reason": row.last_error,
    }


def picked(run: Run, ids: Sequence[int] | None, status: str | None) -> list[dict[str, Any]]:
    """Return the deliveries with some numbers and all that share a message with them, or all in a state.

    Raises UsageError for a number that is not in the outbox, and unless it is either numbers or a state.
    """
    hint = "`kibray-ops notifications outbox list` shows the numbers."
    if bool(ids) == (status is not None):
        raise UsageError("Name the deliveries, or a --status.", hint=hint)
    if not run.catalog.has(DELIVERIES.name):
        raise UsageError("The outbox is empty.", hint="kibray-ops has not been set up here: `kibray-ops db init`.")
    condition = DELIVERIES.c.status == status
    if ids:
        wanted = given(run.session, {"id": BigInteger()}, [{"id": key} for key in sorted(set(ids))])
        named = DELIVERIES.c.id.in_(select(wanted.c.id))
        condition = or_(named, DELIVERIES.c.batch.in_(select(DELIVERIES.c.batch).where(named)))
    found = [as_row(row) for row in run.session.execute(described().where(condition).order_by(DELIVERIES.c.id))]
    if missing := sorted(set(ids or ()) - {row["delivery_id"] for row in found}):
        raise UsageError(f"Not in the outbox: {some([str(key) for key in missing])}.", hint=hint)
    return found


def change(
    run: Run, rows: Sequence[dict[str, Any]], while_in: Sequence[str], values: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """Change the deliveries of rows that are still in certain states, and return the rows of those.

    A run may be sending: what it has claimed meanwhile is not changed.
    """
    keys = given(run.session, {"id": BigInteger()}, [{"id": row["delivery_id"]} for row in rows])
    condition = and_(DELIVERIES.c.id.in_(select(keys.c.id)), DELIVERIES.c.status.in_(while_in))
    statement = update(DELIVERIES).where(condition).values(values).returning(DELIVERIES.c.id)
    changed = set(run.session.execute(statement).scalars())
    return [row for row in rows if row["delivery_id"] in changed]


def unchanged(
    found: Sequence[dict[str, Any]], rows: Sequence[dict[str, Any]], ids: Sequence[int] | None, kind: str
) -> list[Problem]:
    """Return a warning for each delivery that an operator named and that was not changed."""
    changed, named = {row["delivery_id"] for row in rows}, set(ids or ())
    odd = [
        (f"delivery {row['delivery_id']}", _obstacle(row))
        for row in found
        if row["delivery_id"] in named and row["delivery_id"] not in changed
    ]
    return warnings(kind, odd, "deliveries that were left as they are")


def _obstacle(row: Mapping[str, Any]) -> str:
    if row["is_gone"]:
        return "its notification is gone"
    return "it is being sent" if row["status"] in (PENDING, SENDING) else f"it is {row['status']}"


def counts(connection: Connection) -> dict[str, int]:
    """Return how many deliveries are in each state."""
    found = connection.execute(select(DELIVERIES.c.status, func.count()).group_by(DELIVERIES.c.status))
    by_status = {row.status: row[1] for row in found}
    return {status: by_status[status] for status in STATUSES if status in by_status}


def newest(connection: Connection, *, status: str | None, channel: str | None, limit: int) -> list[dict[str, Any]]:
    """Return the newest deliveries, newest first."""
    statement = described().order_by(DELIVERIES.c.id.desc()).limit(limit)
    if status is not None:
        statement = statement.where(DELIVERIES.c.status == status)
    if channel is not None:
        statement = statement.where(DELIVERIES.c.channel == channel)
    return [as_row(row) for row in connection.execute(statement)]
