"""Reads and writes of `kibray_ops_run`: claims, ends, and what the operator asks about."""

import os
import socket
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, RowMapping, insert, select, update
from sqlmodel import col

from kibray_ops import __version__
from kibray_ops.catalog import table_of
from kibray_ops.models.operations import (
    INTERRUPTED,
    PARTIAL,
    RUNNING,
    SUCCEEDED,
    RunRecord,
)
from kibray_ops.registry import Job, sharing_lock
from kibray_ops.schedule import Slot

RUNS = table_of(RunRecord)


def is_satisfied(connection: Connection, job: Job, slot: Slot) -> bool:
    """Tell whether a slot's work is done: by a run that claimed it, or by hand for the same business date.

    A manual run counts only when it was started as the crontab would: one for another week pays nobody of this one.
    """
    done = (
        select(col(RunRecord.slot), col(RunRecord.arguments))
        .where(col(RunRecord.job) == job.name, col(RunRecord.status).in_((SUCCEEDED, PARTIAL)))
        .where(col(RunRecord.business_date) == slot.business_date)
    )
    return any(
        key == slot.key or (key is None and not arguments and not job.hourly)
        for key, arguments in connection.execute(done)
    )


def holder(connection: Connection, job: Job) -> RowMapping | None:
    """Return the run that holds the job's lock, if it has already written its record."""
    running = (
        select(RUNS)
        .where(col(RunRecord.job).in_(sharing_lock(job)), col(RunRecord.status) == RUNNING)
        .order_by(col(RunRecord.id).desc())
    )
    return connection.execute(running).mappings().first()


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
    now: datetime,
    result: Mapping[str, Any] | None = None,
    problems: Sequence[Mapping[str, Any]] = (),
    error: str | None = None,
) -> bool:
    """Write how a run ended; False when another run has declared it dead meanwhile.

    A failure is written even then: only the run itself knows why it ended.
    """
    unended = (RUNNING,) if status in (SUCCEEDED, PARTIAL) else (RUNNING, INTERRUPTED)
    statement = (
        update(RunRecord)
        .where(col(RunRecord.id) == run_id, col(RunRecord.status).in_(unended))
        .values(
            status=status,
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
