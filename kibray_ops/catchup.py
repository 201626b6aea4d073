"""Make up for what was missed: the latest slot of each job, within its deadline and its tries, and never a burst."""

from collections.abc import Iterator, Sequence

from kibray_ops import alarms, runner
from kibray_ops.catalog import read_catalog, require_zone
from kibray_ops.clock import Clock
from kibray_ops.database import Database
from kibray_ops.job import Progress, unwatched
from kibray_ops.legible import reading
from kibray_ops.registry import JOBS, Job
from kibray_ops.report import Report, Trigger
from kibray_ops.settings import Settings
from kibray_ops.standing import MissedSlot, Standing, standings


def read(settings: Settings, clock: Clock, jobs: Sequence[Job] = JOBS) -> list[Standing]:
    """Return how jobs stand; raises what keeps it from being read."""
    with reading(Database(settings)) as connection:
        read_catalog(connection).require_own()
        require_zone(connection, clock.zone, clock.now())
        return standings(connection, settings, clock, jobs)


def due(found: Sequence[Standing], clock: Clock) -> list[tuple[Job, MissedSlot]]:
    """Return what is to be made up for now, in the order in which it was due."""
    owed = [
        (standing.job, standing.missed)
        for standing in found
        if standing.missed is not None and standing.missed.at is not None and standing.missed.at <= clock.now()
    ]
    return sorted(owed, key=lambda pair: pair[1].slot.moment)


def catch_up(
    settings: Settings, clock: Clock, progress: Progress = unwatched, jobs: Sequence[Job] = JOBS
) -> Iterator[tuple[Job, Report]]:
    """Run what is due, one after the other, and yield each report; then tell of what is late.

    A run that meets one of its own slot leaves it alone: two hosts may catch up at the same time.
    """
    found = read(settings, clock, jobs)
    owed = due(found, clock)
    for job, missed in owed:
        report = runner.execute(
            job, settings=settings, clock=clock, trigger=Trigger.CATCH_UP, missed=missed, progress=progress
        )
        yield job, report
        if report.was_cut_short:
            return
    alarms.review(read(settings, clock, jobs) if owed else found, settings, clock)
