"""kibray-ops notifications archive restore: archived notifications back into the application."""

from collections.abc import Iterator, Sequence, Set
from functools import cache
from typing import Annotated, Any

import typer
from sqlalchemy import BigInteger, ColumnElement, cast, inspect, or_, select, true

from kibray_ops import archive
from kibray_ops.archive import ARCHIVE, NOTIFICATIONS
from kibray_ops.bulk import among
from kibray_ops.catalog import ONE, some, table_of
from kibray_ops.errors import KibrayOpsError, TimeLimitReached, UsageError
from kibray_ops.job import Outcome, Run, failures, warnings
from kibray_ops.models.kibray.people import User
from kibray_ops.models.kibray.projects import Project
from kibray_ops.text import printable

RESTORED, FAILED, BEFORE = "restored", "failed", "restored before"


def restore(
    run: Run,
    ids: Annotated[
        list[int] | None, typer.Argument(metavar="ID...", min=1, max=2**63 - 1, help="The notifications' numbers.")
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Everything that is in the archive.")] = False,
) -> Outcome:
    """Bring archived notifications back, and never archive them again.

    They come back as they were, with their numbers. One whose user or project is gone stays in the archive and is
    named.

    Raises UsageError for a number that is not in the archive.
    """
    if bool(ids) == everything:
        raise UsageError(
            "Name the notifications, or --all.", hint="`kibray-ops notifications archive list` shows their numbers."
        )
    rows = _rows(run, ids)
    good = [row["notification_id"] for row in rows if row["action"] == RESTORED]
    restored: list[int] = []
    stopped: KibrayOpsError | None = None
    if run.dry_run:
        restored = good
    else:
        try:
            for columns, batch in _batches(run, rows):
                run.progress("Restoring notifications", len(restored), len(good))
                archive.restore(run, batch, columns)
                restored += batch
                run.commit_item()
        except TimeLimitReached as error:
            stopped = error  # raised behind the commit of what was restored last
    odd = [(f"notification {row['notification_id']}", row["reason"]) for row in rows if row["action"] == FAILED]
    before = [(f"notification {row['notification_id']}", row["reason"]) for row in rows if row["action"] == BEFORE]
    told = set(restored)
    held = set[str]().union(*(row["columns"] for row in rows if row["notification_id"] in told))
    lost = [
        (name, "Kibray's table has no such column any more; its values stay in the archive")
        for name in _gone(run, held)
    ]
    for row in rows:
        del row["columns"]
    return Outcome(
        result={"restored": len(restored), "errors": len(odd)},
        rows=[row for row in rows if row["action"] == FAILED or row["notification_id"] in told],
        problems=[
            *failures("not_restored", odd, "notifications that were not restored"),
            *warnings("restored_before", before, "notifications that were restored before"),
            *warnings("no_column", lost, "columns that are gone"),
        ],
        stopped=stopped,
    )


def _gone(run: Run, held: Set[str]) -> list[str]:
    """Return which columns the table has no more."""
    if not (unknown := held - set(run.catalog.tables[NOTIFICATIONS.name])):
        return []
    # The catalog leaves out those that the database computes.
    there = {column["name"] for column in inspect(run.session.connection()).get_columns(NOTIFICATIONS.name)}
    return sorted(unknown - there)


def _batches(run: Run, rows: Sequence[dict[str, Any]]) -> Iterator[tuple[Sequence[str], list[int]]]:
    """Yield batches of rows that had the same columns, and which of these the table has now."""
    alike: dict[frozenset[str], list[int]] = {}
    for row in rows:
        if row["action"] == RESTORED:
            alike.setdefault(row["columns"], []).append(row["notification_id"])
    for held, ids in alike.items():
        columns = [name for name in run.catalog.tables[NOTIFICATIONS.name] if name in held]
        for start in range(0, len(ids), archive.BATCH):
            yield columns, ids[start : start + archive.BATCH]


def _rows(run: Run, ids: list[int] | None) -> list[dict[str, Any]]:
    """Return what is to be restored, and what keeps it from that."""
    if not run.catalog.has(ARCHIVE.name):
        raise _unknown(ids or [])
    users, projects = table_of(User), table_of(Project)
    condition: ColumnElement[bool] = ARCHIVE.c.restored_at.is_(None)
    if ids:
        condition = ARCHIVE.c.id.in_(among(run.session, ids))  # what was restored before is told, not refused
    project_id = cast(ARCHIVE.c.content["project_id"].as_string(), BigInteger)
    its_project = select(ONE).where(projects.c.id == project_id).exists()
    has_projects = run.catalog.has(NOTIFICATIONS.name, "project_id")
    statement = (
        select(
            ARCHIVE.c.id,
            ARCHIVE.c.user_id,
            ARCHIVE.c.created_at,
            ARCHIVE.c.restored_at,
            ARCHIVE.c.content["title"].as_string().label("title"),
            archive.held_columns(run).label("columns"),
            select(ONE).where(users.c.id == ARCHIVE.c.user_id).exists().label("has_user"),
            (or_(project_id.is_(None), its_project) if has_projects else true()).label("has_project"),
            select(ONE).where(NOTIFICATIONS.c.id == ARCHIVE.c.id).exists().label("is_taken"),
        )
        .where(condition)
        .order_by(ARCHIVE.c.id)
    )
    found = run.session.execute(statement).all()
    if missing := sorted(set(ids or ()) - {row.id for row in found}):
        raise _unknown(missing)
    required = {name for name, is_required in run.catalog.tables[NOTIFICATIONS.name].items() if is_required}
    return [
        {
            "notification_id": row.id,
            "user_id": row.user_id,
            "title": printable(row.title or ""),
            "created_at": run.clock.local(row.created_at),
            "action": BEFORE if row.restored_at else FAILED if (reason := _obstacle(row, required)) else RESTORED,
            "reason": "it was restored before" if row.restored_at else reason or None,
            "columns": _names(row.columns),
        }
        for row in found
    ]


def _unknown(ids: list[int]) -> UsageError:
    return UsageError(
        f"Not in the archive: {some([str(key) for key in ids])}." if ids else "The archive is empty.",
        hint="`kibray-ops notifications archive list` shows what is.",
    )


@cache
def _names(listed: str) -> frozenset[str]:
    # Nearly all rows had the same columns: a set for each would be most of what a large archive takes in memory.
    return frozenset(listed.split(archive.SEPARATOR))


def _obstacle(row: Any, required: Set[str]) -> str:
    if lacking := sorted(required - _names(row.columns)):
        return f"it was archived before there was a column {lacking[0]}, which must be filled"
    if row.is_taken:
        return "another notification has its number by now"
    if not row.has_user:
        return "its user is gone"
    return "" if row.has_project else "its project is gone"
