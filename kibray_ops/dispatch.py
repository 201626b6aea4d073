"""What is to be sent now: who gets which notifications, and why others do not, or wait."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, time, timedelta
from typing import Any
from uuid import uuid4

from sqlalchemy import ColumnElement, Select, and_, null, select, true

from kibray_ops import channels
from kibray_ops.alerts import is_admin
from kibray_ops.bulk import among
from kibray_ops.catalog import ONE, baseline, table_of
from kibray_ops.clock import Clock
from kibray_ops.delivery import EMAIL, SMS
from kibray_ops.delivery.mime import mailbox
from kibray_ops.delivery.phone import e164
from kibray_ops.job import Run, called
from kibray_ops.messages import texts
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
    SUPPRESSED,
    TIMED_OUT,
    UNKNOWN,
    RunRecord,
)
from kibray_ops.outbox import (
    DELIVERIES,
    IS_OPEN,
    LIFETIME,
    NOT_DELIVERED,
    SUPPRESSIONS,
    Batch,
    Fate,
    Item,
    Person,
    Plan,
    address_of,
)
from kibray_ops.text import is_mail_address, printable

NOTIFICATIONS, USERS, PROFILES = table_of(Notification), table_of(User), table_of(Profile)
PREFERENCES, EMPLOYEES, RUNS = table_of(NotificationPreference), table_of(Employee), table_of(RunRecord)
MOST_NOTICES, MOST_LETTERS = 1_000, 500_000
"""What one message holds at most."""
SENDER = "send-pending-notifications"
DIED = (FAILED, TIMED_OUT, INTERRUPTED)
"""States of a run that may have left no result."""
KILLED = "the run that was sending it was killed, and did not write whether it had arrived"
_NOTICE = tuple(NOTIFICATIONS.c[name] for name in ("title", "message", "link_url", "created_at"))


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
    domain = mailbox(run.settings["EMAIL_FROM"]).domain
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
                person, new = people[user_id], key or uuid4().hex
                message_id = portion[0].message_id or f"<{new}@{domain}>"
                address = address_of(run, channel, person)
                found.due.append(Batch(channel, person, address, tuple(portion), new, message_id, is_new=key is None))
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


def _people(run: Run, ids: set[int]) -> dict[int, Person]:
    if not ids:
        return {}
    has_preferences = run.catalog.has(PREFERENCES.name)
    wants: ColumnElement[Any] = PREFERENCES.c.email_enabled if has_preferences else null()
    statement = (
        select(USERS, PROFILES.c.language, EMPLOYEES.c.phone, wants.label("wants_email"))
        .outerjoin(PROFILES, PROFILES.c.user_id == USERS.c.id)
        .outerjoin(EMPLOYEES, and_(EMPLOYEES.c.user_id == USERS.c.id, EMPLOYEES.c.is_active))
        .where(USERS.c.id.in_(among(run.session, ids)))
    )
    if has_preferences:
        statement = statement.outerjoin(PREFERENCES, PREFERENCES.c.user_id == USERS.c.id)
    return {
        row.id: Person(
            row.id,
            printable(f"{row.first_name} {row.last_name}") or called(row.username, row.id),
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
