"""kibray-ops notifications archive restore: archived notifications back into the application."""

from typing import Annotated, Any

import typer
from sqlalchemy import BigInteger, ColumnElement, literal, select

from kibray_ops import archive
from kibray_ops.archive import ARCHIVE, NOTIFICATIONS
from kibray_ops.bulk import given
from kibray_ops.catalog import ONE, some, table_of
from kibray_ops.errors import KibrayOpsError, TimeLimitReached, UsageError
from kibray_ops.job import Outcome, Run, failures
from kibray_ops.models.kibray.people import User
from kibray_ops.models.kibray.projects import Project
from kibray_ops.text import printable

RESTORED, FAILED = "restored", "failed"


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
    stopped: KibrayOpsError | None = None
    done = 0
    if not run.dry_run:
        try:
            for done in range(0, len(good), archive.BATCH):
                run.progress("Restoring notifications", done, len(good))
                archive.restore(run, good[done : done + archive.BATCH])
                run.commit_item()
        except TimeLimitReached as error:
            stopped = error
            good = good[: done + archive.BATCH]  # the batch was committed
    odd = [(f"notification {row['notification_id']}", row["reason"]) for row in rows if row["action"] == FAILED]
    restored = set(good)
    return Outcome(
        result={"restored": len(good), "errors": len(odd)},
        rows=[row for row in rows if row["action"] == FAILED or row["notification_id"] in restored],
        problems=failures("not_restored", odd, "notifications that were not restored"),
        stopped=stopped,
    )


def _rows(run: Run, ids: list[int] | None) -> list[dict[str, Any]]:
    """Return what is to be restored, and what keeps it from that."""
    if not run.catalog.has(ARCHIVE.name):
        raise _unknown(ids or [])
    users, projects = table_of(User), table_of(Project)
    condition: ColumnElement[bool] = ARCHIVE.c.restored_at.is_(None)
    if ids:
        wanted = given(run.session, {"id": BigInteger()}, [{"id": key} for key in sorted(set(ids))])
        condition = ARCHIVE.c.id.in_(select(wanted.c.id))  # what was restored before is told, not refused
    project_id = ARCHIVE.c.content["project_id"].as_integer()
    has_project = projects.c.id == project_id
    statement = (
        select(
            ARCHIVE.c.id,
            ARCHIVE.c.user_id,
            ARCHIVE.c.created_at,
            ARCHIVE.c.restored_at,
            ARCHIVE.c.content["title"].as_string().label("title"),
            select(ONE).where(users.c.id == ARCHIVE.c.user_id).exists().label("has_user"),
            (project_id.is_(None) | select(ONE).where(has_project).exists()).label("has_project")
            if run.catalog.has(NOTIFICATIONS.name, "project_id")
            else literal(True).label("has_project"),
            select(ONE).where(NOTIFICATIONS.c.id == ARCHIVE.c.id).exists().label("is_taken"),
        )
        .where(condition)
        .order_by(ARCHIVE.c.id)
    )
    found = run.session.execute(statement).all()
    if missing := sorted(set(ids or ()) - {row.id for row in found}):
        raise _unknown(missing)
    return [
        {
            "notification_id": row.id,
            "user_id": row.user_id,
            "title": printable(row.title or ""),
            "created_at": row.created_at,
            "action": FAILED if (reason := _obstacle(row)) else RESTORED,
            "reason": reason or None,
        }
        for row in found
        if row.restored_at is None
    ]


def _unknown(ids: list[int]) -> UsageError:
    return UsageError(
        f"Not in the archive: {some([str(key) for key in ids])}." if ids else "The archive is empty.",
        hint="`kibray-ops notifications archive list` shows what is.",
    )


def _obstacle(row: Any) -> str:
    if row.is_taken:
        return "another notification has its number by now"
    if not row.has_user:
        return "its user is gone"
    return "" if row.has_project else "its project is gone"
