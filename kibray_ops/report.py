"""What is told of a run, whether it worked, failed, or had nothing to do."""

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Protocol

from kibray_ops import errors
from kibray_ops.job import Outcome, Problem
from kibray_ops.models.operations import FAILED, INTERRUPTED, PARTIAL, SKIPPED, SUCCEEDED, TIMED_OUT


class Trigger(StrEnum):
    """Who started a run."""

    MANUAL = "manual"
    CRON = "cron"
    CATCH_UP = "catch-up"


def is_routine(trigger: str, arguments: object, as_of: datetime | None) -> bool:
    """Tell whether a run is one that the schedule waits for: not one by hand for another week or another day."""
    return trigger != Trigger.MANUAL or not (arguments or as_of)


@dataclass
class Report:
    """Tell everything about one run, whether it worked, failed, or had nothing to do."""

    job: str
    dry_run: bool
    trigger: Trigger
    started_at: datetime
    as_of: datetime | None = None
    run_id: int | None = None
    status: str = FAILED
    exit_code: int = errors.FAILED
    slot: str | None = None
    finished_at: datetime | None = None
    result: dict[str, Any] = field(default_factory=dict)
    rows: list[dict[str, Any]] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    error: errors.KibrayOpsError | None = None
    traceback: str = ""
    was_cut_short: bool = False
    """Somebody wants the process to end: nothing else is to be begun."""

    @property
    def has_outcome(self) -> bool:
        """Tell whether a job returned: also one that ended early tells what it did."""
        return self.error is None or bool(self.result)

    def succeed(self, outcome: Outcome) -> None:
        """Take over what a job did."""
        self.result, self.rows, self.problems = outcome.result, outcome.rows, outcome.problems
        self.status, self.exit_code = ended(outcome)
        self.error = outcome.stopped

    def skip(self) -> None:
        """Note that there was nothing to do for this run."""
        self.status, self.exit_code = SKIPPED, errors.DONE

    def fail(self, error: BaseException) -> None:
        """Note what went wrong."""
        self.was_cut_short = isinstance(error, KeyboardInterrupt)
        self.error = explained(error)
        self.exit_code = self.error.exit_code
        self.status = status_of(self.error)
        self.traceback = "".join(traceback.format_exception(error))


def explained(error: BaseException) -> errors.KibrayOpsError:
    """Return an error in the form in which people are told of it."""
    if isinstance(error, errors.KibrayOpsError):
        return error
    if isinstance(error, errors.Terminated):
        return errors.Interrupted("The run was ended by SIGTERM.", exit_code=143)
    if isinstance(error, KeyboardInterrupt):
        return errors.Interrupted("The run was interrupted from the keyboard.")
    first_line = (str(error).strip().splitlines() or [""])[0]
    return errors.KibrayOpsError(
        f"kibray-ops met something that it does not know: {type(error).__name__}: {first_line}",
        hint="`kibray-ops runs list` tells what was done; --verbose shows where it failed. Please report it.",
    )


def ended(outcome: Outcome) -> tuple[str, int]:
    """Return the state and the exit code of a run whose job returned."""
    if outcome.stopped is not None:
        return status_of(outcome.stopped), outcome.stopped.exit_code
    return (PARTIAL, errors.PARTLY_DONE) if outcome.is_partial else (SUCCEEDED, errors.DONE)


def status_of(error: errors.KibrayOpsError) -> str:
    """Return the state of a run that an error ended."""
    if isinstance(error, errors.TimeLimitReached):
        return TIMED_OUT
    return INTERRUPTED if isinstance(error, errors.Interrupted) else FAILED


class Watcher(Protocol):
    """Whoever wants to hear how a run goes, while it goes on; raises nothing."""

    def begun(self, run_id: int) -> None:
        """Hear that the run has claimed its slot and begins to work."""

    def skipped(self, reason: str) -> None:
        """Hear that the run gave way."""


_current: ContextVar[Report | None] = ContextVar("run", default=None)


@contextmanager
def telling(report: Report) -> Iterator[None]:
    """Let whatever is logged inside the block be about this run."""
    token = _current.set(report)
    try:
        yield
    finally:
        _current.reset(token)


def current() -> Report | None:
    """Return the run that is going on."""
    return _current.get()
