"""Telling people, once: who is told, the ledger of what they know, and the summary rule.

A job hands over its notices, the most urgent first. `plan` finds out who has not heard of which, and how each of them
is told; that is the report. `tell` writes the notifications and the ledger. Only the holder of the job's lock may call
it: nobody else adds to the ledger of its topic in between.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Generic, NamedTuple, TypeVar

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Date,
    Integer,
    Select,
    String,
    cast,
    exists,
    false,
    func,
    insert,
    literal,
    or_,
    select,
)
from sqlmodel import col

from kibray_ops.bulk import given, insert_all
from kibray_ops.catalog import ONE, table_of
from kibray_ops.job import WARNING, Problem, Run
from kibray_ops.messages import Message, Texts, texts
from kibray_ops.models.kibray.notifications import Notification
from kibray_ops.models.kibray.people import Group, Profile, User, UserGroup
from kibray_ops.models.operations import AlertRecord
from kibray_ops.models.types import BigKey, Moment

LEDGER = table_of(AlertRecord)
TITLE_LENGTH = 200
"""Characters that `core_notification.title` holds."""
Item = TypeVar("Item")


@dataclass(frozen=True)
class Recipient:
    """Somebody who is told, in their language."""

    id: int
    texts: Texts


@dataclass(frozen=True)
class Topic(Generic[Item]):
    """What a job tells of: its name in the ledger, what the application is to know of it, and how it reads."""

    kind: str
    notification_type: str
    related_object_type: str
    one: Callable[[Texts, Item], Message]
    many: Callable[[Texts, Sequence[Item]], Message] | None = None
    """The summary; None where there is never more than one notice."""
    link: str = ""
    """Where the summary leads."""


class Notice(NamedTuple, Generic[Item]):
    """One thing to be told: to whom, its place in the ledger, and what there is to say."""

    recipients: tuple[Recipient, ...]
    """Many notices may share one tuple."""
    subject_id: int
    """A row of Kibray's, which the notification then is about; 0 where there is none, or not yet."""
    subject_date: date
    item: Item
    link: str
    stage: int = 0
    """Who was told of a stage need not be told of a lower one."""
    project_id: int | None = None


@dataclass(frozen=True)
class Plan(Generic[Item]):
    """Who is to be told of which notices: for each recipient their numbers, in the order of urgency."""

    topic: Topic[Item]
    notices: Sequence[Notice[Item]]
    untold: dict[Recipient, list[int]]
    most: int
    """Above this many notices somebody gets one summary instead."""

    def is_summed_up(self, numbers: Sequence[int]) -> bool:
        """Tell whether somebody who has so much to hear of gets a summary."""
        return self.topic.many is not None and len(numbers) > self.most

    @property
    def told_to(self) -> list[int]:
        """Return for each notice how many people are told of it now."""
        counts = [0] * len(self.notices)
        for numbers in self.untold.values():
            for number in numbers:
                counts[number] += 1
        return counts

    def counts(self) -> dict[str, int]:
        """Return the counts that stand in a run's result."""
        each = self.untold.values()
        return {
            "notifications": sum(1 if self.is_summed_up(numbers) else len(numbers) for numbers in each),
            "summaries": sum(self.is_summed_up(numbers) for numbers in each),
            "recipients": len(self.untold),
        }


def is_admin() -> ColumnElement[bool]:
    """Return the condition for an admin (SPEC §3), active or not."""
    return or_(col(User.is_staff), col(User.is_superuser))


def recipients(run: Run, who: ColumnElement[bool]) -> dict[int, Recipient]:
    """Return the active users that meet a condition, by id; whoever is inactive is told nothing."""
    people = (
        select(col(User.id), col(Profile.language))
        .outerjoin(Profile, col(Profile.user_id) == col(User.id))
        .where(col(User.is_active), who)
        .order_by(col(User.id))
    )
    return {key: Recipient(key, texts(language)) for key, language in run.session.execute(people)}


def admins(run: Run, subject: str) -> tuple[dict[int, Recipient], list[Problem]]:
    """Return the active admins by id, and a warning where there are none."""
    found = recipients(run, is_admin())
    words = "there is no active admin to be told"
    return found, [] if found else [Problem(WARNING, "no_admins", subject, words)]


def office(run: Run, subject: str) -> tuple[tuple[Recipient, ...], list[Problem]]:
    """Return active admins and active members of accounting's group, and a warning where either has nobody."""
    name = run.settings["ACCOUNTING_GROUP"]
    accountant = exists(ONE).where(
        col(UserGroup.user_id) == col(User.id), col(UserGroup.group_id) == col(Group.id), col(Group.name) == name
    )
    managing, missing = admins(run, subject)
    accounting = recipients(run, accountant)
    if not accounting:
        words = f"nobody active is in the group {name!r}; KIBRAY_OPS_ACCOUNTING_GROUP names accounting's group"
        missing.append(Problem(WARNING, "no_accounting", subject, words))
    return tuple((managing | accounting).values()), missing


def was_told(run: Run, topic: Topic[Any], subject: ColumnElement[int]) -> ColumnElement[bool]:
    """Return the condition for a subject of which anybody was told, on whatever day."""
    if not run.catalog.has(LEDGER.name):
        return false()
    return exists(ONE).where(LEDGER.c.kind == topic.kind, LEDGER.c.subject_id == subject)


def plan(run: Run, topic: Topic[Item], notices: Sequence[Notice[Item]]) -> Plan[Item]:
    """Find out who has not been told of which notices; `notices` come in the order of urgency."""
    by_id = {recipient.id: recipient for audience in _audiences(notices).values() for recipient in audience}
    untold: dict[Recipient, list[int]] = {}
    if by_id:
        news = _news(run, topic, notices).subquery("news")
        # One row for each person, not one for each pair: there may be a hundred thousand of these.
        numbers = func.aggregate_strings(cast(news.c.number, String), ",")
        statement = select(news.c.recipient_id, numbers).group_by(news.c.recipient_id).order_by(news.c.recipient_id)
        for recipient_id, listed in run.session.execute(statement):
            untold[by_id[recipient_id]] = sorted(map(int, listed.split(",")))
    return Plan(topic, notices, untold, run.settings["NOTIFY_MAX_PER_RECIPIENT"])


def tell(run: Run, planned: Plan[Item]) -> None:
    """Write the notifications and note in the ledger what everybody knows by now; two statements in all."""
    if not planned.untold:
        return
    topic, table = planned.topic, run.catalog.table(Notification)
    rows = [row for recipient, numbers in planned.untold.items() for row in _notifications(planned, recipient, numbers)]
    same = {
        "notification_type": topic.notification_type,
        "related_object_type": topic.related_object_type,
        "is_read": False,
        "created_at": run.now,
    }
    if "project_id" not in table.c:
        rows = [{name: value for name, value in row.items() if name != "project_id"} for row in rows]
    run.session.execute(insert_all(run.session, table, rows, same))
    news = _news(run, topic, planned.notices).subquery("news")
    values = {
        "kind": literal(topic.kind),
        "subject_id": news.c.subject_id,
        "subject_date": news.c.subject_date,
        "recipient_id": news.c.recipient_id,
        "stage": news.c.stage,
        "told_at": literal(run.now, Moment),
        "run_id": literal(run.id, BigKey),
    }
    run.session.execute(insert(LEDGER).from_select([*values], select(*values.values())))


def _audiences(notices: Sequence[Notice[Any]]) -> dict[int, tuple[Recipient, ...]]:
    """Return every tuple of recipients once, by its identity: hashing it for every notice would take long."""
    return {id(notice.recipients): notice.recipients for notice in notices}


def _news(run: Run, topic: Topic[Item], notices: Sequence[Notice[Item]]) -> Select[Any]:
    """Return every pair of a notice and a recipient that the ledger does not have, nor a later stage of it."""
    rows = [
        {
            "number": number,
            "audience": id(notice.recipients),
            "subject_id": notice.subject_id,
            "subject_date": notice.subject_date,
            "stage": notice.stage,
        }
        for number, notice in enumerate(notices)
    ]
    kinds = (Integer(), BigInteger(), BigInteger(), Date(), Integer())
    told_of = given(run.session, dict(zip(rows[0], kinds, strict=True)), rows)
    members = [
        {"audience": key, "id": person_id}
        for key, people in _audiences(notices).items()
        for person_id in {person.id for person in people}  # an admin may be the project's manager too
    ]
    person = given(run.session, {"audience": BigInteger(), "id": BigInteger()}, members)
    pairs = select(
        told_of.c.number,
        told_of.c.subject_id,
        told_of.c.subject_date,
        told_of.c.stage,
        person.c.id.label("recipient_id"),
    ).join_from(told_of, person, told_of.c.audience == person.c.audience)
    if not run.catalog.has(LEDGER.name):
        return pairs  # a dry run before `db init`: nobody knows of anything
    known = exists(ONE).where(
        LEDGER.c.kind == topic.kind,
        LEDGER.c.subject_id == told_of.c.subject_id,
        LEDGER.c.subject_date == told_of.c.subject_date,
        LEDGER.c.recipient_id == person.c.id,
        LEDGER.c.stage >= told_of.c.stage,
    )
    return pairs.where(~known)


def _notifications(planned: Plan[Item], recipient: Recipient, numbers: Sequence[int]) -> list[dict[str, Any]]:
    """Return one recipient's notifications: one for each notice, or a summary of them all."""
    topic, notices = planned.topic, [planned.notices[number] for number in numbers]
    if topic.many is not None and planned.is_summed_up(numbers):
        message = topic.many(recipient.texts, [notice.item for notice in notices])
        return [_notification(recipient, message, topic.link)]
    return [
        _notification(
            recipient,
            topic.one(recipient.texts, notice.item),
            notice.link,
            related_object_id=notice.subject_id or None,
            project_id=notice.project_id,
        )
        for notice in notices
    ]


def _notification(
    recipient: Recipient,
    message: Message,
    link: str,
    *,
    related_object_id: int | None = None,
    project_id: int | None = None,
) -> dict[str, Any]:
    title = message.title
    if len(title) > TITLE_LENGTH:
        title = f"{title[: TITLE_LENGTH - 1].rstrip()}…"  # names stand last in a title: no number is cut
    return {
        "user_id": recipient.id,
        "title": title,
        "message": message.body,
        "related_object_id": related_object_id,
        "link_url": link,
        "project_id": project_id,
    }
