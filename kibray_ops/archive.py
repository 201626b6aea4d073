"""The archive of notifications: rows that were moved out of the application's way, with every column they had.

A row is kept as one JSON value, because the table may have columns that we do not know. PostgreSQL deletes and copies
in one statement, so that nothing can be deleted that is not copied. SQLite copies first, and then deletes only what
reads back from the copy as it was.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    Insert,
    Select,
    and_,
    case,
    column,
    delete,
    func,
    insert,
    literal,
    literal_column,
    null,
    select,
    table,
    true,
    update,
)

from kibray_ops.bulk import given
from kibray_ops.catalog import ONE, table_of
from kibray_ops.job import Run, called
from kibray_ops.models.kibray.notifications import Notification
from kibray_ops.models.kibray.people import User
from kibray_ops.models.operations import ArchivedNotification
from kibray_ops.models.types import BigKey, Moment
from kibray_ops.text import printable

ARCHIVE, NOTIFICATIONS, USERS = table_of(ArchivedNotification), table_of(Notification), table_of(User)
BATCH = 5_000
"""Rows that are moved in one transaction."""
LARGEST_REAL: ColumnElement[Any] = literal_column("1.7976931348623157e308")


@dataclass(frozen=True)
class Moved:
    """What became of a batch."""

    count: int
    last: int | None
    """The highest id that was looked at; None when there was none left."""
    kept: tuple[int, ...] = ()
    """Those that could not be copied exactly, and so were left where they are."""


def is_old(run: Run, cutoff: datetime) -> ColumnElement[bool]:
    """Return the condition for a notification to archive: read, written before a moment, and never restored."""
    condition = and_(NOTIFICATIONS.c.is_read, NOTIFICATIONS.c.created_at < cutoff)
    if not run.catalog.has(ARCHIVE.name):
        return condition  # a dry run before `db init`
    return and_(condition, ~select(ONE).where(ARCHIVE.c.id == NOTIFICATIONS.c.id).exists())


def move(run: Run, condition: ColumnElement[bool], *, after: int) -> Moved:
    """Archive the next batch of notifications that meet a condition and whose id is above another; does not commit."""
    if run.session.get_bind().dialect.name == "sqlite":
        return _move_on_sqlite(run, condition, after)
    chosen = _next(condition, after).cte("chosen")
    taken = (
        delete(NOTIFICATIONS)
        .where(NOTIFICATIONS.c.id == chosen.c.id, condition)
        .returning(*_KEYS, literal_column(f"to_jsonb({NOTIFICATIONS.name})").label("content"))
        .cte("taken")
    )
    copied = _copy(run, select(*taken.c)).returning(ARCHIVE.c.id).cte("copied")
    last = select(func.max(chosen.c.id)).scalar_subquery()
    row = run.session.execute(select(last, select(func.count()).select_from(copied).scalar_subquery())).one()
    return Moved(row[1], row[0])


_KEYS = (NOTIFICATIONS.c.id, NOTIFICATIONS.c.user_id, NOTIFICATIONS.c.created_at)


def _next(condition: ColumnElement[bool], after: int, *more: ColumnElement[Any]) -> Select[Any]:
    columns = (*_KEYS, *more) if more else (NOTIFICATIONS.c.id,)
    ordered = select(*columns).where(condition, NOTIFICATIONS.c.id > after).order_by(NOTIFICATIONS.c.id)
    return ordered.limit(BATCH)


def _copy(run: Run, rows: Select[Any]) -> Insert:
    """Return the INSERT of rows of id, user, moment and content."""
    source = rows.subquery("source")
    same = {"archived_at": literal(run.now, Moment), "run_id": literal(run.id, BigKey)}
    names = ("id", "user_id", "created_at", "content", *same)
    return insert(ARCHIVE).from_select(names, select(*source.c, *same.values()))


def _move_on_sqlite(run: Run, condition: ColumnElement[bool], after: int) -> Moved:
    there = _columns(run)
    content = func.json_object(*(part for name in there for part in (literal(name), _kept(name))))
    copied = _copy(run, _next(condition, after, content.label("content"))).returning(ARCHIVE.c.id)
    ids = sorted(run.session.execute(copied).scalars())
    if not ids:
        return Moved(0, None)
    ours = and_(ARCHIVE.c.run_id == run.id, ARCHIVE.c.id > after, ARCHIVE.c.id <= ids[-1])
    its_copy = and_(ours, ARCHIVE.c.id == NOTIFICATIONS.c.id)
    equal = (_is_same(_restored(name), literal_column(_named(name))) for name in there)
    exact = delete(NOTIFICATIONS).where(select(ONE).where(its_copy, *equal).exists())
    count = run.session.execute(exact.returning(NOTIFICATIONS.c.id)).scalars().all()
    kept: Sequence[int] = ()
    if len(count) < len(ids):
        inexact = delete(ARCHIVE).where(ours, select(ONE).where(NOTIFICATIONS.c.id == ARCHIVE.c.id).exists())
        kept = run.session.execute(inexact.returning(ARCHIVE.c.id)).scalars().all()
    return Moved(len(count), ids[-1], tuple(sorted(kept)))


def restore(run: Run, ids: Sequence[int]) -> None:
    """Bring archived notifications back as they were, and mark them as restored; does not commit."""
    wanted = select(given(run.session, {"id": BigInteger()}, [{"id": key} for key in ids]).c.id)
    names = _columns(run)
    if run.session.get_bind().dialect.name == "sqlite":
        rows = select(*(_restored(name) for name in names))
    else:
        read = func.jsonb_populate_record(literal_column(f"NULL::{NOTIFICATIONS.name}"), ARCHIVE.c.content)
        row = read.table_valued(*names, name="restored")
        rows = select(*row.c).select_from(ARCHIVE.join(row, true()))
    target = table(NOTIFICATIONS.name, *map(column, names))
    run.session.execute(insert(target).from_select(list(names), rows.where(ARCHIVE.c.id.in_(wanted))))
    run.session.execute(update(ARCHIVE).where(ARCHIVE.c.id.in_(wanted)).values(restored_at=run.now))


def total(connection: Connection) -> int:
    """Return how many notifications are in the archive."""
    kept = select(func.count()).select_from(ARCHIVE).where(ARCHIVE.c.restored_at.is_(None))
    return int(connection.execute(kept).scalar_one())


def newest(connection: Connection, *, limit: int) -> list[dict[str, Any]]:
    """Return the notifications in the archive that were written last, newest first."""
    statement = (
        select(
            ARCHIVE.c.id,
            ARCHIVE.c.user_id,
            USERS.c.username,
            ARCHIVE.c.content["title"].as_string().label("title"),
            ARCHIVE.c.created_at,
            ARCHIVE.c.archived_at,
        )
        .outerjoin(USERS, USERS.c.id == ARCHIVE.c.user_id)
        .where(ARCHIVE.c.restored_at.is_(None))
        .order_by(ARCHIVE.c.created_at.desc(), ARCHIVE.c.id.desc())
        .limit(limit)
    )
    return [
        {
            "notification_id": row.id,
            "user_id": row.user_id,
            "user": called(row.username, row.user_id),
            "title": printable(row.title or ""),
            "created_at": row.created_at,
            "archived_at": row.archived_at,
        }
        for row in connection.execute(statement)
    ]


def _columns(run: Run) -> tuple[str, ...]:
    return tuple(run.catalog.tables[NOTIFICATIONS.name])


def _named(name: str) -> str:
    return f'{NOTIFICATIONS.name}."{name}"'


# ---- SQLite: a column may hold a value of any type, and JSON has fewer types


def _kept(name: str) -> ColumnElement[Any]:
    """Return a column's value as JSON holds it: a real number with all its digits, and a BLOB not at all."""
    value: ColumnElement[Any] = literal_column(_named(name))
    kind, digits = func.typeof(value), func.json(func.printf("%!.17g", value))
    is_finite = value.between(-LARGEST_REAL, LARGEST_REAL)
    return case((kind == "blob", null()), (and_(kind == "real", is_finite), digits), else_=value)


def _restored(name: str) -> ColumnElement[Any]:
    return func.json_extract(ARCHIVE.c.content, f'$."{name}"')


def _is_same(left: ColumnElement[Any], right: ColumnElement[Any]) -> ColumnElement[bool]:
    """Return the condition for two values of the same type that are equal, or both NULL."""
    return and_(left.is_not_distinct_from(right), func.typeof(left) == func.typeof(right))
