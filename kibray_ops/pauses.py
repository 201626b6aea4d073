"""Jobs that are not to run by themselves for a while."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, delete, insert, select, update

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
        """Tell whether the job is paused at a moment, and whether what was due then is never made up for.

        What was due before the pause is not either: resuming a job fires no old slots.
        """
        return self.until is None or moment < self.until


def pauses(connection: Connection) -> dict[str, Pause]:
    """Return the last pause of each job that ever had one."""
    return {row.job: Pause(row.since, row.until) for row in connection.execute(select(PAUSES))}


def pause(connection: Connection, job: Job, *, now: datetime, until: datetime | None) -> None:
    """Pause a job; one that is paused already gets the new end."""
    connection.execute(delete(PAUSES).where(PAUSES.c.job == job.name))
    connection.execute(insert(PAUSES).values(job=job.name, since=now, until=until))


def resume(connection: Connection, job: Job, *, now: datetime) -> bool:
    """End a job's pause; False when there was none."""
    is_paused = (PAUSES.c.until.is_(None)) | (PAUSES.c.until > now)
    ended = connection.execute(update(PAUSES).where(PAUSES.c.job == job.name, is_paused).values(until=now))
    return bool(ended.rowcount)
