"""Reads and writes of `kibray_ops_run`: claims, ends, and what the operator asks about."""

import os
import socket
from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, RowMapping, and_, delete, func, insert, select, update
from sqlmodel import col

from kibray_ops import __version__
from kibray_ops.catalog import table_of
from kibray_ops.models.operations import DONE, ENDED_BADLY, INTERRUPTED, RUNNING, SUCCEEDED, RunRecord
from kibray_ops.registry import Job, sharing_lock
from kibray_ops.report import Trigger
from kibray_ops.schedule import Slot

RUNS = table_of(RunRecord)
LEAST_KEPT_DAYS = 8
"""Longer than any deadline, and than the week before which a slot is still late."""


def is_satisfied(connection: Connection, job: Job, slot: Slot) -> bool:
    """Tell whether a slot's work is done: by a run that claimed it, or by hand for the same business date.

    A manual run counts only when it was started as the crontab would: one for another week pays nobody of this one.
    """
    done = (
        select(RUNS.c.slot, RUNS.c.arguments)
        .where(RUNS.c.job == job.name, RUNS.c.status.in_(DONE))
        .where(RUNS.c.business_date == slot.business_date)
    )
    return any(satisfies(run, job, slot) for run in connection.execute(done).mappings())


def satisfies(run: RowMapping, job: Job, slot: Slot) -> bool:
    """Tell whether a run that is done, for the business date of a slot, has done the slot's work."""
    by_hand = run["slot"] is None and not run["arguments"] and not job.hourly
    return run["slot"] == slot.key or by_hand


def holder(connection: Connection, job: Job) -> RowMapping | None:
    """Return the run that holds the job's lock, if it has already written its record."""
    running = (
        select(RUNS)
        .where(col(RunRecord.job).in_(sharing_lock(job)), col(RunRecord.status) == RUNNING)
        .order_by(col(RunRecord.id).desc())
    )
    return connection.execute(running).mappings().first()


def last_scheduled(connection: Connection, since: datetime) -> RowMapping | None:
    """Return the newest run that a schedule has started since a moment, wherever that was."""
    started = (
        select(RUNS)
        .where(RUNS.c.started_at >= since, RUNS.c.trigger != Trigger.MANUAL)
        .order_by(RUNS.c.started_at.desc())
        .limit(1)
    )
    return connection.execute(started).mappings().first()


def free_what_died(connection: Connection, job: Job, now: datetime) -> None:
    """Mark runs that still say `running` as interrupted; only the holder of the lock may call this."""
    connection.execute(
        update(RunRecord)
        .where(col(RunRecord.job).in_(sharing_lock(job)), col(RunRecord.status) == RUNNING)
        .values(status=INTERRUPTED, finished_at=now, error="The run ended without a word: it was killed.")
    )


def begin(
    connection: Connection,
    job: Job,
    *,
    status: str,
    slot: Slot | None,
    trigger: str,
    arguments: Mapping[str, Any],
    **columns: Any,
) -> int:
    """Write a run record and return its id; with a slot, this is the claim.

    Raises sqlalchemy.exc.IntegrityError when the slot is taken.
    """
    statement = (
        insert(RunRecord)
        .values(
            job=job.name,
            slot=slot.key if slot else None,
            trigger=trigger,
            host=socket.gethostname()[:255],
            pid=os.getpid(),
            version=__version__,
            arguments=dict(arguments),
            problems=[],
            status=status,
            **columns,
        )
        .returning(col(RunRecord.id))
    )
    return int(connection.execute(statement).scalar_one() or 0)


def end(
    connection: Connection,
    run_id: int,
    *,
    status: str,
    exit_code: int,
    now: datetime,
    result: Mapping[str, Any] | None = None,
    problems: Sequence[Mapping[str, Any]] = (),
    error: str | None = None,
) -> bool:
    """Write how a run ended; False when another run has declared it dead meanwhile.

    A failure is written even then: only the run itself knows why it ended.
    """
    unended = (RUNNING,) if status in DONE else (RUNNING, INTERRUPTED)
    statement = (
        update(RunRecord)
        .where(col(RunRecord.id) == run_id, col(RunRecord.status).in_(unended))
        .values(
            status=status,
            exit_code=exit_code,
            finished_at=now,
            result=dict(result) if result is not None else None,
            problems=list(problems),
            error=error,
        )
    )
    return bool(connection.execute(statement).rowcount)


def status_of(connection: Connection, run_id: int) -> str | None:
    """Return the state of a run."""
    return connection.execute(select(col(RunRecord.status)).where(col(RunRecord.id) == run_id)).scalar()


def runs(
    connection: Connection, *, job: str | None = None, status: str | None = None, limit: int = 20
) -> Sequence[RowMapping]:
    """Return the newest runs, newest first."""
    statement = select(RUNS).order_by(col(RunRecord.started_at).desc(), col(RunRecord.id).desc()).limit(limit)
    if job:
        statement = statement.where(col(RunRecord.job) == job)
    if status:
        statement = statement.where(col(RunRecord.status) == status)
    return connection.execute(statement).mappings().all()


def run(connection: Connection, run_id: int) -> RowMapping | None:
    """Return one run."""
    return connection.execute(select(RUNS).where(col(RunRecord.id) == run_id)).mappings().first()


def newest(connection: Connection, *statuses: str) -> dict[str, RowMapping]:
    """Return the newest run of each job that is in one of these states."""
    ids = select(func.max(RUNS.c.id)).where(RUNS.c.status.in_(statuses)).group_by(RUNS.c.job)
    found = connection.execute(select(RUNS).where(RUNS.c.id.in_(ids))).mappings()
    return {run["job"]: run for run in found}


def durations(connection: Connection, *, since: datetime, most: int) -> dict[str, list[float]]:
    """Return how many seconds the latest runs of each job took that are done, oldest first."""
    place = func.row_number().over(partition_by=RUNS.c.job, order_by=RUNS.c.id.desc()).label("place")
    ranked = (
        select(RUNS.c.id, RUNS.c.job, RUNS.c.started_at, RUNS.c.finished_at, place)
        .where(RUNS.c.started_at > since, RUNS.c.status.in_(DONE))
        .subquery()
    )
    found: dict[str, list[float]] = {}
    for row in connection.execute(select(ranked).where(ranked.c.place <= most).order_by(ranked.c.id)):
        found.setdefault(row.job, []).append((row.finished_at - row.started_at).total_seconds())
    return found


def done_since(connection: Connection, first: date) -> Sequence[RowMapping]:
    """Return the runs that are done of the business dates from a day on."""
    columns = (RUNS.c.job, RUNS.c.slot, RUNS.c.business_date, RUNS.c.arguments, RUNS.c.as_of, RUNS.c.started_at)
    is_recent = and_(RUNS.c.status.in_(DONE), RUNS.c.business_date >= first)
    return connection.execute(select(*columns).where(is_recent)).mappings().all()


def tries(connection: Connection, slots: Mapping[str, Slot]) -> dict[str, list[RowMapping]]:
    """Return the runs for a slot of each job that ended badly or have not ended, oldest first."""
    wanted = and_(
        RUNS.c.job.in_(slots),
        RUNS.c.status.in_((*ENDED_BADLY, RUNNING)),
        RUNS.c.slot.in_({slot.key for slot in slots.values()}),
    )
    found: dict[str, list[RowMapping]] = {}
    for run in connection.execute(select(RUNS).where(wanted).order_by(RUNS.c.id)).mappings():
        if run["slot"] == slots[run["job"]].key:
            found.setdefault(run["job"], []).append(run)
    return found


def prunable(now: datetime, days: int) -> ColumnElement[bool]:
    """Return the condition for a run record that may go: it ended days ago, and is not its job's newest success.

    `status` tells when each job last succeeded, however long ago. What may still decide whether a slot is done, or how
    often it was tried, stays whatever the days.
    """
    horizon = now - timedelta(days=max(days, LEAST_KEPT_DAYS))
    kept = select(func.max(RUNS.c.id)).where(RUNS.c.status == SUCCEEDED).group_by(RUNS.c.job)
    return and_(RUNS.c.finished_at < horizon, RUNS.c.id.not_in(kept))


def prune(connection: Connection, now: datetime, days: int, *, dry_run: bool = False) -> int:
    """Delete the run records that may go, or in a dry run only count them."""
    where = prunable(now, days)
    if dry_run:
        return connection.execute(select(func.count()).select_from(RUNS).where(where)).scalar_one()
    return connection.execute(delete(RUNS).where(where)).rowcount


def duration(run: RowMapping) -> float | None:
    """Return how many seconds a run took; None while it runs."""
    if run["finished_at"] is None:
        return None
    seconds: float = (run["finished_at"] - run["started_at"]).total_seconds()
    return seconds
