"""Run a job and tell who has to know: the record, the ping, the alarm.

cron, catch-up, an operator and a test all come through `execute`, which always returns a Report and raises nothing.
"""

import logging
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

from kibray_ops import alarms
from kibray_ops.clock import Clock
from kibray_ops.execution import Execution
from kibray_ops.heartbeat import Heartbeat
from kibray_ops.job import Outcome, Progress, unwatched
from kibray_ops.limits import terminable
from kibray_ops.registry import Job
from kibray_ops.report import Report, Trigger, is_routine, telling
from kibray_ops.settings import Settings
from kibray_ops.standing import MissedSlot

JobFunction = Callable[..., Outcome]

log = logging.getLogger(__name__)


def execute(
    job: Job,
    *,
    settings: Settings,
    clock: Clock,
    trigger: Trigger = Trigger.MANUAL,
    dry_run: bool = False,
    options: Mapping[str, Any] | None = None,
    missed: MissedSlot | None = None,
    progress: Progress = unwatched,
) -> Report:
    """Run a job and return the report; every error is in the report, never raised.

    A missed slot is what catch-up works for; cron finds its own.
    """
    report = Report(job.name, dry_run, trigger, clock.real(), as_of=clock.fixed)
    matters = bool(job.cron) and not dry_run and is_routine(trigger, options, clock.fixed)
    heartbeat = Heartbeat(settings["PING_URL"] if matters else None, job)
    with telling(report):
        try:
            with terminable():
                given = dict(options or {})
                Execution(job, load(job), settings, clock, trigger, given, report, heartbeat, progress, missed).start()
        except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - whatever it is, it is in the report
            report.fail(error)
        report.finished_at = clock.real()
        if report.run_id is not None or report.error is not None:
            log.info("ended: %s, exit code %d", report.status, report.exit_code)
        if matters:
            _tell(report, job, heartbeat, settings, clock)
    return report


def load(job: Job) -> JobFunction:
    """Return a job's function."""
    function: JobFunction = getattr(import_module(job.path), job.entry)
    return function


def _tell(report: Report, job: Job, heartbeat: Heartbeat, settings: Settings, clock: Clock) -> None:
    """Let others know how a run ended; whoever cannot be told never spoils what is done."""
    try:
        with terminable():
            if report.trigger is not Trigger.MANUAL or report.run_id is not None:
                heartbeat.ended(report)
            alarms.hear(report, job, settings, clock)
    except Exception as error:  # noqa: BLE001 - what is done is done, whatever this was
        log.warning("others could not be told how the run ended: %s: %s", type(error).__name__, error)
    except KeyboardInterrupt:
        report.was_cut_short = True
        log.warning("interrupted while others were told how the run ended")
