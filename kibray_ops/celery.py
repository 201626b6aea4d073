"""The jobs as tasks of Celery, and their times as the schedule of its Beat: `celery -A kibray_ops worker`, `… beat`.

A task starts the program as cron would, in a process of its own: the slot, the lock, the record and the time limits are
the same, whatever becomes of the worker. Broker and result backend are Celery's own settings (`CELERY_BROKER_URL`,
`CELERY_RESULT_BACKEND`); what else it is to be told stands in the module that `CELERY_CONFIG_MODULE` names.
"""

import json
import logging
import subprocess
import sys
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from celery import Celery
from celery.schedules import BaseSchedule, crontab, schedstate

from kibray_ops import settings
from kibray_ops.errors import KibrayOpsError, TryAgainLater
from kibray_ops.registry import CATCH_UP, CATCH_UP_NAME, CATCH_UP_WORTH, JOBS, named
from kibray_ops.schedule import slot_after, slot_before

QUEUE = "kibray_ops"
"""Our own: a worker of Kibray's knows nothing of these tasks."""
PREFIX = "kibray_ops."
"""Before the names of the functions that the tasks replace."""

log = logging.getLogger(__name__)


class RunFailed(Exception):
    """A run did not do all of its work; the message says what happened and what to do next."""


class Slots(BaseSchedule):  # type: ignore[misc] # Celery has no types
    """The slots of a job, as every other engine has them: Celery's own crontab loses the hour that repeats."""

    def __init__(self, job: str, zone: str) -> None:
        super().__init__()
        self.job = job
        self.zone = zone

    def is_due(self, last_run_at: datetime) -> schedstate:
        """Tell whether a slot has come since the last start, and in how many seconds the next one comes."""
        job, zone, now = named(self.job), ZoneInfo(self.zone), self.now()
        assert job is not None, self.job  # noqa: S101 - for the type checker
        due = slot_before(job, now, zone).moment > last_run_at
        return schedstate(due, (slot_after(job, now, zone).moment - now).total_seconds())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Slots) and (self.job, self.zone) == (other.job, other.zone)

    def __hash__(self) -> int:
        return hash((self.job, self.zone))

    def __reduce__(self) -> tuple[type["Slots"], tuple[str, str]]:
        return Slots, (self.job, self.zone)

    def __repr__(self) -> str:
        return f"<slots of {self.job}, {self.zone}>"


def run(*words: str, dry_run: bool, scheduled: bool) -> dict[str, Any]:
    """Start the program and return the result of its run; raises RunFailed when its exit code is not 0."""
    command = [sys.executable, "-m", "kibray_ops", *(["--cron"] if scheduled else []), *words, "--json"]
    if dry_run:
        command.append("--dry-run")
    # In a session of its own: what is sent to the worker and all its processes ends no run in the middle.
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, start_new_session=True) as program:
        try:
            output, said = program.communicate()
        except BaseException:  # the task has to end now, by a soft time limit of Celery's: the run records that
            program.terminate()
            program.communicate()
            raise
    sys.stderr.write(said)
    try:
        told: dict[str, Any] = json.loads(output)
    except ValueError:
        told = {}  # it was killed, or ended by its hard time limit
    if program.returncode != 0:
        account = _account(" ".join(words), told, program.returncode)
        log.error(account)  # Celery itself would tell where in this module it was raised, which helps nobody
        raise RunFailed(account)
    if "runs" in told:  # of catch-up; the rows have what people earn, and stay out of the broker
        return {"runs": [{name: one[name] for name in ("job", "slot", "status", "exit_code")} for one in told["runs"]]}
    result: dict[str, Any] = told["result"]
    return result


def _account(words: str, told: dict[str, Any], code: int) -> str:
    if error := told.get("error"):
        return f"{error['message']} {error['hint']}"
    if code == TryAgainLater.exit_code:
        return f"`{words}` could not begin. `kibray-ops doctor` tells more."
    where = f"runs show {told['run_id']}" if told.get("run_id") else "runs list"
    return f"`{words}` ended with exit code {code}. `kibray-ops {where}` tells more."


def create() -> Celery:
    """Return the app; raises SettingsInvalid."""
    zone = settings.load().checked().zone.key
    made = Celery("kibray_ops")
    made.conf.update(
        timezone="UTC",  # for what Celery writes; the slots know their own zone, and catch-up needs none
        task_default_queue=QUEUE,
        # A task is taken one at a time, and acknowledged when it has ended: what a worker that dies has not done, the
        # broker gives to another one. What is begun a second time finds its slot done, or under way; what is lost
        # all the same is for catch-up.
        task_acks_late=True,
        worker_prefetch_multiplier=1,
        beat_sync_every=1,
        beat_schedule={
            **{job.function: _entry(made, job.function, job.words, Slots(job.name, zone), job.worth) for job in JOBS},
            "catch_up": _entry(made, "catch_up", (CATCH_UP_NAME,), crontab(minute=CATCH_UP.split()[0]), CATCH_UP_WORTH),
        },
    )
    return made


def _entry(app: Celery, name: str, words: tuple[str, ...], schedule: BaseSchedule, worth: timedelta) -> dict[str, Any]:
    """Add a task to the app, and return when Beat sends it; what no worker takes in time is worth nothing any more."""

    @app.task(name=PREFIX + name, throws=RunFailed)  # type: ignore[untyped-decorator]
    def task(dry_run: bool = False, scheduled: bool = False) -> dict[str, Any]:
        return run(*words, dry_run=dry_run, scheduled=scheduled)

    options = {"expires": worth.total_seconds()}
    return {"task": PREFIX + name, "schedule": schedule, "kwargs": {"scheduled": True}, "options": options}


try:
    app = create()
except KibrayOpsError as error:  # Celery would print a traceback, and the reason somewhere in it
    sys.stderr.write(f"kibray-ops: {error.message}\n  {error.hint}\n")
    sys.exit(error.exit_code)
