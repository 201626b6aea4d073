"""How each job stands: when it last worked, whether it is late and why, and what catch-up owes it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, RowMapping

from kibray_ops import history
from kibray_ops.catalog import baseline
from kibray_ops.clock import Clock
from kibray_ops.errors import ConfigurationError, TryAgainLater, UsageError
from kibray_ops.models.operations import DONE, ENDED_BADLY, RUNNING, SUCCEEDED
from kibray_ops.pauses import Pause, covering, pauses
from kibray_ops.registry import JOBS, Job
from kibray_ops.schedule import Slot, latest_slot, slot_after, slot_before, spelled
from kibray_ops.settings import Settings

GRACE = timedelta(minutes=30)
"""Added to the soft time limit: without a success by then, a slot is late."""
MIN_AGE = timedelta(minutes=10)
"""A slot's own run comes first."""
WAITS = (timedelta(minutes=15), timedelta(hours=1), timedelta(hours=4))
"""From the start of one try to the next by catch-up."""
MAX_TRIES = 1 + len(WAITS)
NOT_RETRIED = (UsageError.exit_code, ConfigurationError.exit_code)
"""What ended so ends so again, until somebody has changed something."""
SHOWN_DURATIONS = 8
LOOKED_BACK = timedelta(days=70)
"""Long enough for the recent durations of a weekly job."""


@dataclass(frozen=True)
class MissedSlot:
    """The latest slot that is within its deadline and not done, and when catch-up tries it."""

    slot: Slot
    tries: tuple[RowMapping, ...]
    at: datetime | None
    """From when on it is tried; None: not any more."""
    why_not: str = ""

    @property
    def last_try(self) -> RowMapping | None:
        """Return the newest run for the slot."""
        return self.tries[-1] if self.tries else None


@dataclass(frozen=True)
class Standing:
    """Hold what there is to know about one job."""

    job: Job
    last: RowMapping | None
    """The newest run that ended, those that were skipped aside."""
    last_success: RowMapping | None
    running: RowMapping | None
    """The run that is under way; one beyond its hard time limit is not believed."""
    durations: tuple[float, ...]
    """Seconds, of the latest runs that are done, oldest first."""
    waits_until: datetime | None
    """The baseline, where it is to come."""
    pause: Pause | None
    """The pause that holds now."""
    next: Slot
    """The next time that the job starts by itself."""
    overdue: Slot | None
    """The newest slot that should have been done by now and is not."""
    missed: MissedSlot | None

    @property
    def is_late(self) -> bool:
        """Tell whether a success is overdue; what runs is not late."""
        return self.overdue is not None and self.running is None

    def why_late(self, clock: Clock) -> str:
        """Return why the job is late, as far as anybody knows, in one sentence without its full stop."""
        assert self.overdue is not None  # noqa: S101 - nobody asks of a job that is not late
        due = f"due {_written(self.job, self.overdue, clock)}"
        missed = self.missed if self.missed is not None and self.missed.slot.key == self.overdue.key else None
        tried = missed.last_try if missed else self._last_try()
        if tried is None:
            return f"{due}, and no run was started"
        if tried["status"] == RUNNING:
            return f"{due}; run {tried['id']} was killed"
        times = f" {len(missed.tries)} times" if missed and len(missed.tries) > 1 else ""
        reason = (tried["error"] or "").strip().splitlines()
        # Of a traceback the last line tells what it was.
        said = (reason[-1] if reason and reason[0].startswith("Traceback") else (reason or [""])[0]).strip().rstrip(".")
        return f"{due}; tried{times}, last in run {tried['id']}" + (f": {said}" if said else "")

    def hint(self, clock: Clock) -> str:
        """Return what happens next to a job that has not done its work, or what somebody should do."""
        by_hand = f"`kibray-ops {self.job.typed}` runs it by hand"
        if self.missed is None:
            return f"it runs next on {clock.local(self.next.moment):%a %Y-%m-%d %H:%M}; {by_hand}"
        if self.missed.at is None:
            return f"{self.missed.why_not}; {by_hand}"
        if self.missed.at > clock.now():
            return f"catch-up tries it from {clock.local(self.missed.at):%a %H:%M} on"
        return f"the next catch-up tries it; {by_hand}"

    def _last_try(self) -> RowMapping | None:
        """Return the newest run, if it was started for what is missed, or later, and ended badly."""
        last, overdue = self.last, self.overdue
        is_try = last is not None and overdue is not None and last["started_at"] >= overdue.moment
        return last if is_try and last is not None and last["status"] in ENDED_BADLY else None


def standings(connection: Connection, settings: Settings, clock: Clock, jobs: Sequence[Job] = JOBS) -> list[Standing]:
    """Return how jobs stand at a moment; a handful of statements, however many jobs and runs there are."""
    now = clock.now()
    live, paused = baseline(connection), pauses(connection)
    last, successes = history.newest(connection, *ENDED_BADLY, *DONE), history.newest(connection, SUCCEEDED)
    running = {
        name: run
        for name, run in history.newest(connection, RUNNING).items()
        if now < run["started_at"] + timedelta(seconds=settings.time_limit("HARD", name)) + GRACE
    }
    took = history.durations(connection, since=now - LOOKED_BACK, most=SHOWN_DURATIONS)
    latest_due = {job.name: slot_before(job, now - grace(settings, job), clock.zone) for job in jobs}
    open_slots = {job.name: slot for job in jobs if job.deadline and (slot := latest_slot(job, clock))}
    slots = [*latest_due.values(), *open_slots.values()]
    done = history.done_since(connection, min(slot.business_date for slot in slots))
    tries = history.tries(connection, open_slots)

    def is_owed(job: Job, slot: Slot) -> bool:
        return not (live and slot.moment < live) and covering(slot.moment, paused.get(job.name, [])) is None

    found = []
    for job in jobs:
        of_job = [run for run in done if run["job"] == job.name]
        overdue, latest = latest_due[job.name], open_slots.get(job.name)
        missed = None
        if latest and is_owed(job, latest) and not any(_covers(run, job, latest) for run in of_job):
            missed = _missed(job, latest, tries.get(job.name, []))
        is_overdue = is_owed(job, overdue) and not any(_covers(run, job, overdue) for run in of_job)
        pause = covering(now, paused.get(job.name, []))
        if pause is not None:
            is_overdue, missed = False, None
        found.append(
            Standing(
                job=job,
                last=last.get(job.name),
                last_success=successes.get(job.name),
                running=running.get(job.name),
                durations=tuple(took.get(job.name, ())),
                waits_until=live if live and live > now else None,
                pause=pause,
                next=_next(job, clock, live, pause),
                overdue=overdue if is_overdue else None,
                missed=missed,
            )
        )
    return found


def grace(settings: Settings, job: Job) -> timedelta:
    """Return how long after its slot a job that has not succeeded is late."""
    return timedelta(seconds=settings.time_limit("SOFT", job.name)) + GRACE


def _covers(run: RowMapping, job: Job, slot: Slot) -> bool:
    """Tell whether a run that is done keeps a slot from being late or missed: it was for that slot or a later one.

    By hand on Tuesday, Monday's payroll is paid: it is the same week.
    """
    if run["slot"] is not None:
        return bool(run["slot"] >= slot.key)
    if run["arguments"]:
        return False
    if job.hourly:
        return run["as_of"] is None and bool(run["started_at"] >= slot.moment)
    return bool(run["business_date"] >= slot.business_date)


def _missed(job: Job, slot: Slot, tries: Sequence[RowMapping]) -> MissedSlot:
    # Who met rows that somebody held, or a service that was not there, has not used up a try.
    counted = [run for run in tries if run["exit_code"] != TryAgainLater.exit_code]
    last = counted[-1] if counted else None
    if last is not None and last["exit_code"] in NOT_RETRIED:
        return MissedSlot(slot, tuple(tries), None, "it is not tried again, because something has to be changed first")
    if len(counted) >= MAX_TRIES:
        return MissedSlot(slot, tuple(tries), None, f"it was tried {len(counted)} times and is not tried again")
    at = slot.moment + MIN_AGE
    if last is not None:
        began: datetime = last["started_at"]
        # cron starts us at full minutes, a second early or late.
        at = began.replace(second=0, microsecond=0) + WAITS[len(counted) - 1]
    if job.deadline is not None and at > slot.moment + job.deadline:
        return MissedSlot(slot, tuple(tries), None, f"its deadline of {spelled(job.deadline)} ends before the next try")
    return MissedSlot(slot, tuple(tries), at)


def _next(job: Job, clock: Clock, live: datetime | None, pause: Pause | None) -> Slot:
    """Return the next slot, pauses and the baseline respected; where nobody knows when a pause ends, as if it did."""
    start = clock.now()
    for earliest in (live, pause.until if pause else None):
        if earliest is not None and earliest > start:
            start = earliest - timedelta(microseconds=1)
    return slot_after(job, start, clock.zone)


def _written(job: Job, slot: Slot, clock: Clock) -> str:
    if job.hourly:
        return f"{clock.local(slot.moment):%Y-%m-%d %H:%M}"
    return slot.key.replace("T", " ")  # also where the clock jumped over it


def as_dict(standing: Standing, clock: Clock, redact: Callable[[str], str]) -> dict[str, Any]:
    """Return a standing as it is printed as JSON, without secrets."""
    return {
        "job": standing.job.name,
        "command": " ".join(standing.job.command),
        "late": standing.is_late,
        "reason": redact(standing.why_late(clock)) if standing.is_late else None,
        "hint": standing.hint(clock) if standing.is_late else None,
        "overdue_slot": standing.overdue and standing.overdue.key,
        "running": standing.running and standing.running["id"],
        "waits_until": standing.waits_until,
        "paused": standing.pause is not None,
        "paused_until": standing.pause and standing.pause.until,
        "last_run": _brief(standing.last, redact),
        "last_success": _brief(standing.last_success, redact),
        "next_run": clock.local(standing.next.moment),
        "durations": list(standing.durations),
        "next_try": standing.missed and standing.missed.at,
    }


def _brief(run: RowMapping | None, redact: Callable[[str], str]) -> Mapping[str, Any] | None:
    if run is None:
        return None
    severities = [problem["severity"] for problem in run["problems"]]
    return {
        **{name: run[name] for name in ("id", "status", "exit_code", "trigger", "slot", "business_date")},
        **{name: run[name] for name in ("started_at", "finished_at")},
        "error": run["error"] and redact(run["error"]),
        "duration": history.duration(run),
        "warnings": severities.count("warning"),
        "failures": severities.count("failure"),
    }
