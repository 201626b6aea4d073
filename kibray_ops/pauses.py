"""Jobs that are not to run by themselves for a while."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, and_, insert, or_, select, update

from kibray_ops.catalog import table_of
from kibray_ops.models.operations import PauseRecord
from kibray_ops.registry import Job

PAUSES = table_of(PauseRecord)


@dataclass(frozen=True)
class Pause:
    """A pause from a moment to another, or to nobody knows when."""

    since: datetime
    until: datetime | None

    def covers(self, moment: datetime) -> bool:
        """Tell whether the job is paused at a moment: what is due then is never made up for."""
        return self.since <= moment and (self.until is None or moment < self.until)


def pauses(connection: Connection) -> dict[str, list[Pause]]:
    """Return the pauses that each job has and had."""
    found: dict[str, list[Pause]] = {}
    for row in connection.execute(select(PAUSES)):
        found.setdefault(row.job, []).append(Pause(row.since, row.until))
    return found


def covering(moment: datetime, of_job: Sequence[Pause]) -> Pause | None:
    """Return the pause of a job that covers a moment, if one does."""
    return next((pause for pause in of_job if pause.covers(moment)), None)


def pause(connection: Connection, job: Job, *, now: datetime, until: datetime | None) -> None:
    """Pause a job; a pause that holds now gets the new end."""
    if not _end_present(connection, job, now=now, until=until):
        connection.execute(insert(PAUSES).values(job=job.name, since=now, until=until))


def resume(connection: Connection, job: Job, *, now: datetime) -> bool:
    """End a job's pause; False when there was none."""
    return _end_present(connection, job, now=now, until=now)


def _end_present(connection: Connection, job: Job, *, now: datetime, until: datetime | None) -> bool:
    holds = and_(PAUSES.c.since <= now, or_(PAUSES.c.until.is_(None), PAUSES.c.until > now))
    statement = update(PAUSES).where(PAUSES.c.job == job.name, holds).values(until=until)
    return bool(connection.execute(statement).rowcount)
