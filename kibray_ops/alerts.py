"""Telling people, once: who is told, the ledger of what they know, and the summary rule (SPEC §3).

A job hands over its notices, the most urgent first. `plan` finds out who has not heard of which, and how each of them
is told; that is the report. `tell` writes the notifications and the ledger. Only the holder of the job's lock may call
it: nobody else adds to the ledger of its topic in between.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Generic, TypeVar

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Date,
    Integer,
    Select,
    String,
    cast,
    exists,
    func,
    insert,
    literal,
    or_,
    select,
    true,
)
from sqlalchemy.types import TypeEngine
from sqlmodel import col

from kibray_ops.bulk import given, insert_all
from kibray_ops.catalog import ONE, table_of
from kibray_ops.job import WARNING, Problem, Run
from kibray_ops.messages import Message, Texts, texts
from kibray_ops.models.kibray.office import Notification
from kibray_ops.models.kibray.people import Group, Profile, User, UserGroup
from kibray_ops.models.operations import AlertRecord
from kibray_ops.models.types import BigKey, Moment

LEDGER = table_of(AlertRecord)
Item = TypeVar("Item")


@dataclass(frozen=True)
class Recipient:
    """Somebody who is told, in their language."""

    id: int
    name: str
    texts: Texts


@dataclass(frozen=True)
class Topic(Generic[Item]):
    """What a job tells of: its name in the ledger, what the application is to know of it, and how it reads."""

    kind: str
    notification_type: str
    related_object_type: str
    link: str
    """Where a summary leads."""
    one: Callable[[Texts, Item], Message]
    many: Callable[[Texts, Sequence[Item]], Message] | None = None
    """The summary; None where there is never more than one notice."""


@dataclass(frozen=True)
class Notice(Generic[Item]):
    """One thing to be told: its place in the ledger (subject, stage) and what there is to say."""

    subject_id: int
    subject_date: date
    item: Item
    link: str
    stage: int = 0
    """Who was told of a stage needs not be told of a lower one."""
    project_id: int | None = None


@dataclass(frozen=True)
class Plan(Generic[Item]):
    """Who is to be told of which notices: for each recipient their numbers, in the order of urgency."""

    topic: Topic[Item]
    notices: Sequence[Notice[Item]]
    untold: dict[Recipient, list[int]]
    most: int
    """Above this many notices somebody gets one summary instead."""

    @classmethod
    def of_nothing(cls, topic: Topic[Item]) -> "Plan[Item]":
        """Return the plan when there is nothing to tell."""
        return cls(topic, [], {}, 0)

    @property
    def notifications(self) -> int:
        """Return how many notifications are written."""
        return sum(1 if len(numbers) > self.most else len(numbers) for numbers in self.untold.values())

    @property
    def summaries(self) -> int:
        """Return how many of them are summaries."""
        return sum(len(numbers) > self.most for numbers in self.untold.values())

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
        return {
            "notifications": self.notifications,
            "summaries": self.summaries,
            "recipients": len(self.untold),
        }


def admins() -> ColumnElement[bool]:
    """Return the condition for an admin (SPEC §3); whoever is inactive is told nothing."""
    return or_(col(User.is_staff), col(User.is_superuser))


def office(run: Run, topic: str) -> tuple[list[Recipient], list[Problem]]:
    """Return active admins and active members of the accounting group, and who is missing among them."""
    name = run.settings["ACCOUNTING_GROUP"]
    member = exists(ONE).where(
        col(UserGroup.user_id) == col(User.id), col(UserGroup.group_id) == col(Group.id), col(Group.name) == name
    )
    people = (
        select(
            col(User.id), col(User.username), col(Profile.language), admins().label("admin"), member.label("accountant")
        )
        .outerjoin(Profile, col(Profile.user_id) == col(User.id))
        .where(col(User.is_active), or_(admins(), member))
        .order_by(col(User.id))
    )
    found = run.session.execute(people).all()
    missing: list[Problem] = []
    if not any(person.admin for person in found):
        missing.append(Problem(WARNING, "no_admins", topic, "there is no active admin to be told"))
    if not any(person.accountant for person in found):
        words = f"nobody active is in the group {name!r}; KIBRAY_OPS_ACCOUNTING_GROUP names accounting's group"
        missing.append(Problem(WARNING, "no_accounting", topic, words))
    return [Recipient(person.id, person.username, texts(person.language)) for person in found], missing


def plan(run: Run, topic: Topic[Item], notices: Sequence[Notice[Item]], recipients: Sequence[Recipient]) -> Plan[Item]:
    """Find out who has not been told of which notices; `notices` come in the order of urgency."""
    untold: dict[Recipient, list[int]] = {}
    if notices and recipients:
        news = _news(run, topic, notices, recipients).subquery("news")
        numbers = func.aggregate_strings(cast(news.c.number, String), ",")
        by_id = {recipient.id: recipient for recipient in recipients}
        statement = select(news.c.recipient_id, numbers).group_by(news.c.recipient_id).order_by(news.c.recipient_id)
        for recipient_id, listed in run.session.execute(statement):
            untold[by_id[recipient_id]] = sorted(map(int, listed.split(",")))
    return Plan(topic, notices, untold, run.settings["NOTIFY_MAX_PER_RECIPIENT"])


def tell(run: Run, planned: Plan[Item]) -> None:
    """Write the notifications and note in the ledger what everybody knows by now; two statements in all."""
    if not planned.untold:
        return
    topic, table = planned.topic, run.catalog.table(Notification)
    rows: list[dict[str, Any]] = []
    for recipient, numbers in planned.untold.items():
        rows += _notifications(planned, recipient, [planned.notices[number] for number in numbers])
    same = {
        "notification_type": topic.notification_type,
        "related_object_type": topic.related_object_type,
        "is_read": False,
        "created_at": run.now,
    }
    if "project_id" not in table.c:
        rows = [{name: value for name, value in row.items() if name != "project_id"} for row in rows]
    run.session.execute(insert_all(run.session, table, rows, same))
    news = _news(run, topic, planned.notices, list(planned.untold)).subquery("news")
    run.session.execute(
        insert(LEDGER).from_select(
            ["kind", "subject_id", "subject_date", "recipient_id", "stage", "told_at", "run_id"],
            select(
                literal(topic.kind),
                news.c.subject_id,
                news.c.subject_date,
                news.c.recipient_id,
                news.c.stage,
                literal(run.now, Moment),
                literal(run.id, BigKey),
            ),
        )
    )


def _news(
    run: Run, topic: Topic[Item], notices: Sequence[Notice[Item]], recipients: Sequence[Recipient]
) -> Select[Any]:
    """Return every pair of a notice and a recipient that the ledger does not have, nor a later stage of it."""
    rows = [
        {"number": number, "subject_id": n.subject_id, "subject_date": n.subject_date, "stage": n.stage}
        for number, n in enumerate(notices)
    ]
    columns: dict[str, TypeEngine[Any]] = {
        "number": Integer(),
        "subject_id": BigInteger(),
        "subject_date": Date(),
        "stage": Integer(),
    }
    notice = given(run.session, columns, rows)
    person = select(col(User.id)).where(col(User.id).in_([recipient.id for recipient in recipients])).subquery("person")
    pairs = select(
        notice.c.number,
        notice.c.subject_id,
        notice.c.subject_date,
        notice.c.stage,
        person.c.id.label("recipient_id"),
    ).join_from(notice, person, true())
    if not run.catalog.has(LEDGER.name):
        return pairs  # a dry run before `db init`: nobody knows of anything
    told = exists(ONE).where(
        LEDGER.c.kind == topic.kind,
        LEDGER.c.subject_id == notice.c.subject_id,
        LEDGER.c.subject_date == notice.c.subject_date,
        LEDGER.c.recipient_id == person.c.id,
        LEDGER.c.stage >= notice.c.stage,
    )
    return pairs.where(~told)


def _notifications(planned: Plan[Item], recipient: Recipient, notices: Sequence[Notice[Item]]) -> list[dict[str, Any]]:
    """Return one recipient's notifications: one for each notice, or a summary of them all."""
    topic = planned.topic
    if topic.many is not None and len(notices) > planned.most:
        message = topic.many(recipient.texts, [notice.item for notice in notices])
        return [_notification(recipient, message, topic.link)]
    return [
        _notification(
            recipient,
            topic.one(recipient.texts, notice.item),
            notice.link,
            related_object_id=notice.subject_id,
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
    return {
        "user_id": recipient.id,
        "title": message.title,
        "message": message.body,
        "related_object_id": related_object_id,
        "link_url": link,
        "project_id": project_id,
    }
