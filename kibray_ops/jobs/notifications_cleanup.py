"""kibray-ops notifications cleanup: read notifications into the archive, and our own tables pruned."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Annotated, Any

import typer
from sqlalchemy import ColumnElement, Table, and_, delete, func, or_, select

from kibray_ops import archive, history
from kibray_ops.alerts import LEDGER
from kibray_ops.archive import ARCHIVE
from kibray_ops.catalog import ONE, table_of
from kibray_ops.errors import KibrayOpsError, TimeLimitReached
from kibray_ops.history import RUNS
from kibray_ops.job import Outcome, Run, called, failures
from kibray_ops.models.kibray.invoices import Invoice
from kibray_ops.models.kibray.notifications import Notification
from kibray_ops.models.kibray.payroll import PayrollPeriod
from kibray_ops.models.kibray.people import User
from kibray_ops.models.kibray.projects import Project
from kibray_ops.models.kibray.work import DailyPlan
from kibray_ops.models.operations import Delivery, ForecastRecord, PlaceRecord

NOTIFICATIONS, USERS = table_of(Notification), table_of(User)
# Not from their own rooms: those import httpx and the texts of messages.
DELIVERIES, FORECASTS, PLACES = table_of(Delivery), table_of(ForecastRecord), table_of(PlaceRecord)
TOLD_DAILY = ("inventory_shortage", "touchups")
"""Kinds of the ledger that tell of a day: of a day that is past, nobody is told any more."""
TOLD_OF = {
    "invoice_overdue": table_of(Invoice),
    "payroll_ready": table_of(PayrollPeriod),
    "plan_incomplete": table_of(DailyPlan),
}
"""Kinds of the ledger whose subject may be told of as long as it is there, and where it is."""
CACHED = timedelta(days=1)
"""How long a forecast is kept; it is used for an hour."""


def cleanup(
    run: Run,
    older_than: Annotated[
        int | None,
        typer.Option(
            "--older-than", metavar="DAYS", min=1, max=36_500, help="Age at which read notifications are archived."
        ),
    ] = None,
    purge_after: Annotated[
        int | None,
        typer.Option(
            "--purge-after", metavar="DAYS", min=1, max=36_500, help="Delete what has been in the archive for so long."
        ),
    ] = None,
) -> Outcome:
    """Archive the read notifications that are older than 30 days.

    They are moved with all their columns, and nothing is deleted that is not copied; `notifications archive restore`
    brings them back. Run records, the ledger of who was told what, and forecasts and places that nobody needs are
    pruned. Without --purge-after the archive keeps everything.
    """
    days = older_than or run.settings["ARCHIVE_AFTER_DAYS"]
    cutoff = run.now - timedelta(days=days)
    rows = _summary(run, archive.is_old(run, cutoff))
    pruned = {name: (table, where) for name, table, where in _prunable(run, purge_after)}
    counts = {
        name: run.session.execute(select(func.count()).select_from(table).where(where)).scalar_one()
        if run.catalog.has(table.name)  # not in a dry run before `db init`
        else 0
        for name, (table, where) in pruned.items()
    }
    spans = archive.batches(run, cutoff)
    total = sum(row["notifications"] for row in rows)
    kept: list[int] = []
    stopped: KibrayOpsError | None = None
    if not run.dry_run:
        for name, (table, where) in pruned.items():
            if counts[name]:
                run.session.execute(delete(table).where(where))
        total = 0
        try:
            run.commit_item()
            for number, span in enumerate(spans):
                run.progress("Archiving notifications", number * archive.BATCH, len(spans) * archive.BATCH)
                moved = archive.move(run, cutoff, span)
                total += moved.archived
                kept += moved.kept
                run.commit_item()
        except TimeLimitReached as error:
            stopped = error
    odd = [(f"notification {key}", "it cannot be copied exactly, and stays where it is") for key in kept]
    return Outcome(
        result={"archived": total, "cutoff": cutoff.isoformat(), "older_than_days": days, **counts},
        rows=rows,
        problems=failures("not_archived", odd, "notifications that were not archived"),
        stopped=stopped,
    )


def _summary(run: Run, condition: ColumnElement[bool]) -> list[dict[str, Any]]:
    """Return how many notifications of whom are archived, and from when to when."""
    statement = (
        select(
            NOTIFICATIONS.c.user_id,
            USERS.c.username,
            func.count().label("notifications"),
            func.min(NOTIFICATIONS.c.created_at).label("oldest"),
            func.max(NOTIFICATIONS.c.created_at).label("newest"),
        )
        .outerjoin(USERS, USERS.c.id == NOTIFICATIONS.c.user_id)
        .where(condition)
        .group_by(NOTIFICATIONS.c.user_id, USERS.c.username)
        .order_by(func.count().desc(), NOTIFICATIONS.c.user_id)
    )
    return [
        {
            "user_id": row.user_id,
            "user": called(row.username, row.user_id),
            "notifications": row.notifications,
            "oldest": run.clock.local(row.oldest),
            "newest": run.clock.local(row.newest),
        }
        for row in run.session.execute(statement)
    ]


def _prunable(run: Run, purge_after: int | None) -> Iterator[tuple[str, Table, ColumnElement[bool]]]:
    """Yield which rows of our own tables nobody needs any more."""
    horizon = run.now - timedelta(days=run.settings["RUNS_KEEP_DAYS"])
    yield "pruned_runs", RUNS, history.prunable(run.now, run.settings["RUNS_KEEP_DAYS"])
    over = [
        and_(LEDGER.c.kind.in_(TOLD_DAILY), LEDGER.c.subject_date < run.clock.local(horizon).date()),
        *(and_(LEDGER.c.kind == kind, _is_gone(table, LEDGER.c.subject_id)) for kind, table in TOLD_OF.items()),
    ]
    yield "pruned_ledger", LEDGER, and_(LEDGER.c.told_at < horizon, or_(*over))
    # One that may come back, from the archive too, would be queued anew.
    its_id = DELIVERIES.c.notification_id
    is_over = and_(DELIVERIES.c.ended_at < horizon, _is_gone(NOTIFICATIONS, its_id), _is_gone(ARCHIVE, its_id))
    yield "pruned_deliveries", DELIVERIES, is_over
    yield "pruned_forecasts", FORECASTS, FORECASTS.c.fetched_at < run.now - CACHED
    yield "pruned_places", PLACES, _is_gone(table_of(Project), PLACES.c.project_id)
    mark = and_(ARCHIVE.c.restored_at.is_not(None), _is_gone(NOTIFICATIONS, ARCHIVE.c.id))
    yield "pruned_restored", ARCHIVE, mark
    if purge_after is not None:
        is_stale = ARCHIVE.c.archived_at < run.now - timedelta(days=purge_after)
        yield "purged", ARCHIVE, and_(ARCHIVE.c.restored_at.is_(None), is_stale)


def _is_gone(table: Table, key: ColumnElement[int]) -> ColumnElement[bool]:
    return ~select(ONE).where(table.c.id == key).exists()
