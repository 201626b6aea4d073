"""The archive of notifications: rows that were moved out of the application's way, with every column they had.

A row is kept as one JSON value, because the table may have columns that we do not know. PostgreSQL deletes and copies
in one statement, so that nothing can be deleted that is not copied. SQLite copies first, and then deletes only what
reads back from the copy as it was.
"""

from collections.abc import Sequence
from datetime import datetime
from itertools import pairwise
from typing import Any, NamedTuple

from sqlalchemy import (
    Boolean,
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

from kibray_ops.bulk import among
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
SEPARATOR = "\n"
"""Between the names of columns, which may hold almost anything."""
LARGEST_REAL: ColumnElement[Any] = literal_column("1.7976931348623157e308")


_KEYS = (NOTIFICATIONS.c.id, NOTIFICATIONS.c.user_id, NOTIFICATIONS.c.created_at)
_READS_BACK = (
    f"({NOTIFICATIONS.name} *= jsonb_populate_record(NULL::{NOTIFICATIONS.name}, to_jsonb({NOTIFICATIONS.name})))"
)
"""Whether a row comes back from its copy bit by bit. The columns that we know do; others may hold a JSON null."""


class Span(NamedTuple):
    """A range of ids: those above one, up to another."""

    above: int
    upto: int

    def holds(self, key: ColumnElement[int]) -> ColumnElement[bool]:
        """Return the condition for an id in the range."""
        return and_(key > self.above, key <= self.upto)


class Moved(NamedTuple):
    """How many of a batch were archived."""

    archived: int
    kept: tuple[int, ...] = ()
    """Those that could not be copied exactly, and so were left where they are."""


def is_old(run: Run, cutoff: datetime, within: Span | None = None) -> ColumnElement[bool]:
    """Return the condition for a notification to archive: read, written before a moment, and never restored.

    A range of ids is said of the archive too: the database would look through all of it for every batch.
    """
    is_read = and_(NOTIFICATIONS.c.is_read, NOTIFICATIONS.c.created_at < cutoff)
    if not run.catalog.has(ARCHIVE.name):
        return is_read  # a dry run before `db init`
    known = select(ONE).where(ARCHIVE.c.id == NOTIFICATIONS.c.id)
    if within is None:
        return and_(is_read, ~known.exists())
    return and_(within.holds(NOTIFICATIONS.c.id), is_read, ~known.where(within.holds(ARCHIVE.c.id)).exists())


def batches(run: Run, cutoff: datetime) -> list[Span]:
    """Return the ranges of ids that hold a batch of old notifications each."""
    batch = (func.row_number().over(order_by=NOTIFICATIONS.c.id) - 1) // BATCH
    old = select(NOTIFICATIONS.c.id, batch.label("batch")).where(is_old(run, cutoff)).subquery("old")
    ends = run.session.execute(select(func.max(old.c.id)).group_by(old.c.batch).order_by(old.c.batch)).scalars()
    return [Span(*pair) for pair in pairwise((0, *ends))]


def move(run: Run, cutoff: datetime, span: Span) -> Moved:
    """Archive the old notifications in a range of ids; does not commit."""
    condition = is_old(run, cutoff, within=span)
    if run.session.get_bind().dialect.name == "sqlite":
        return _move_on_sqlite(run, condition, span)
    content: ColumnElement[Any] = literal_column(f"to_jsonb({NOTIFICATIONS.name})").label("content")
    has_strangers = not _known(run).issuperset(_columns(run))
    exact = literal_column(_READS_BACK, Boolean) if has_strangers else true()
    inexact = select(NOTIFICATIONS.c.id).where(condition, ~exact)
    left = run.session.execute(inexact).scalars().all() if has_strangers else ()
    taken = delete(NOTIFICATIONS).where(condition, exact).returning(*_KEYS, content).cte("taken")
    copied = _copy(run, select(*taken.c)).returning(ARCHIVE.c.id).cte("copied")
    archived = run.session.execute(select(func.count()).select_from(copied)).scalar_one()
    return Moved(archived, tuple(sorted(left)))


def _known(run: Run) -> set[str]:
    return set(run.catalog.table(Notification).c.keys())


def _copy(run: Run, rows: Select[Any]) -> Insert:
    """Return the INSERT of rows of id, user, moment and content."""
    source = rows.subquery("source")
    same = {"archived_at": literal(run.now, Moment), "run_id": literal(run.id, BigKey)}
    names = ("id", "user_id", "created_at", "content", *same)
    return insert(ARCHIVE).from_select(names, select(*source.c, *same.values()))


def _move_on_sqlite(run: Run, condition: ColumnElement[bool], span: Span) -> Moved:
    there = _columns(run)
    content = func.json_object(*(part for name in there for part in (literal(name), _kept(name))))
    run.session.execute(_copy(run, select(*_KEYS, content.label("content")).where(condition)))
    ours = and_(ARCHIVE.c.run_id == run.id, span.holds(ARCHIVE.c.id))
    is_copied = select(ONE).where(
        ours,
        ARCHIVE.c.id == NOTIFICATIONS.c.id,
        *(_is_same(_restored(name), literal_column(_named(name))) for name in there),
    )
    exact = delete(NOTIFICATIONS).where(span.holds(NOTIFICATIONS.c.id), is_copied.exists())
    moved = run.session.execute(exact.returning(NOTIFICATIONS.c.id)).scalars().all()
    inexact = delete(ARCHIVE).where(ours, select(ONE).where(NOTIFICATIONS.c.id == ARCHIVE.c.id).exists())
    kept = run.session.execute(inexact.returning(ARCHIVE.c.id)).scalars().all()
    return Moved(len(moved), tuple(sorted(kept)))


def restore(run: Run, ids: Sequence[int], columns: Sequence[str]) -> None:
    """Bring archived notifications back that have these columns, and mark them as restored; does not commit."""
    wanted = among(run.session, ids)
    if run.session.get_bind().dialect.name == "sqlite":
        rows = select(*(_restored(name) for name in columns))
    else:
        read = func.jsonb_populate_record(literal_column(f"NULL::{NOTIFICATIONS.name}"), ARCHIVE.c.content)
        row = read.table_valued(*columns, name="restored")
        rows = select(*row.c).select_from(ARCHIVE.join(row, true()))
    target = table(NOTIFICATIONS.name, *map(column, columns))
    run.session.execute(insert(target).from_select(list(columns), rows.where(ARCHIVE.c.id.in_(wanted))))
    run.session.execute(update(ARCHIVE).where(ARCHIVE.c.id.in_(wanted)).values(restored_at=run.now))


def held_columns(run: Run) -> ColumnElement[str]:
    """Return the names of the columns that an archived row had, as one text."""
    is_sqlite = run.session.get_bind().dialect.name == "sqlite"
    each = (func.json_each if is_sqlite else func.jsonb_each)(ARCHIVE.c.content).table_valued("key", name="held")
    names = func.coalesce(func.aggregate_strings(each.c.key, SEPARATOR), "")
    return select(names).select_from(each).scalar_subquery()


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
    quoted = name.replace('"', '""')
    return f'{NOTIFICATIONS.name}."{quoted}"'


# ---- SQLite: a column may hold a value of any type, and JSON has fewer types


def _kept(name: str) -> ColumnElement[Any]:
    """Return a column's value as JSON holds it: a real number with all its digits, and a BLOB not at all."""
    value: ColumnElement[Any] = literal_column(_named(name))
    kind, digits = func.typeof(value), func.json(func.printf("%!.17g", value))
    is_finite = value.between(-LARGEST_REAL, LARGEST_REAL)
    return case((and_(kind == "real", is_finite), digits), (kind.in_(("blob", "real")), null()), else_=value)


def _restored(name: str) -> ColumnElement[Any]:
    return func.json_extract(ARCHIVE.c.content, f'$."{name}"')


def _is_same(left: ColumnElement[Any], right: ColumnElement[Any]) -> ColumnElement[bool]:
    """Return the condition for two values of the same type that are equal, or both NULL."""
    return and_(left.is_not_distinct_from(right), func.typeof(left) == func.typeof(right))
