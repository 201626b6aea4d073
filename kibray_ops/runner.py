"""Execute a job: slot → lock → free what died → claim → work → record.

cron, an operator and a test all come through `execute`, which always returns a Report and raises nothing.
"""

import logging
import random
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from importlib import import_module
from typing import Any

from sqlalchemy import Connection, text
from sqlalchemy.exc import IntegrityError
from sqlmodel import Session

from kibray_ops import errors, history
from kibray_ops.catalog import Catalog, read_catalog
from kibray_ops.clock import Clock
from kibray_ops.database import Database, Lock, translated
from kibray_ops.job import Outcome, Problem, Run
from kibray_ops.limits import Terminated, TimeLimit, terminable
from kibray_ops.models.operations import FAILED, INTERRUPTED, PARTIAL, RUNNING, SKIPPED, SUCCEEDED, TIMED_OUT
from kibray_ops.registry import Job, Kind
from kibray_ops.schedule import Slot, latest_slot
from kibray_ops.settings import Settings

RETRIES = 3
"""How often an atomic job is tried again after a transient error of the database."""
HOLDER_PATIENCE = 2.0
"""Seconds to wait for the record of a run that took the lock a moment ago."""

JobFunction = Callable[..., Outcome]

log = logging.getLogger(__name__)


class Trigger(StrEnum):
    """Who started a run."""

    MANUAL = "manual"
    CRON = "cron"
    CATCH_UP = "catch-up"


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

    def succeed(self, outcome: Outcome) -> None:
        """Take over what a job did."""
        self.result, self.rows, self.problems = outcome.result, outcome.rows, outcome.problems
        self.status, self.exit_code = _ended(outcome)

    def skip(self) -> None:
        """Note that there was nothing to do for this run."""
        self.status, self.exit_code = SKIPPED, errors.DONE

    def fail(self, error: BaseException) -> None:
        """Note what went wrong."""
        self.error = explained(error)
        self.exit_code = self.error.exit_code
        self.status = _status_of(self.error)
        self.traceback = "".join(traceback.format_exception(error))


def execute(
    job: Job,
    *,
    settings: Settings,
    clock: Clock,
    trigger: Trigger = Trigger.MANUAL,
    dry_run: bool = False,
    options: Mapping[str, Any] | None = None,
) -> Report:
    """Run a job and return the report; every error is in the report, never raised."""
    report = Report(job.name, dry_run, trigger, clock.real(), as_of=clock.fixed)
    try:
        with terminable():
            _Execution(job, settings, clock, trigger, dict(options or {}), report).start()
    except (Exception, KeyboardInterrupt) as error:
        report.fail(error)
    report.finished_at = clock.real()
    return report


def load(job: Job) -> JobFunction:
    """Return a job's function; raises NotBuilt when this version does not hold it."""
    if not job.is_built:
        raise errors.NotBuilt(f"`kibray-ops {' '.join(job.command)}` is planned but not built yet.")
    function: JobFunction = getattr(import_module(job.path), job.entry)
    return function


def explained(error: BaseException) -> errors.KibrayOpsError:
    """Return an error in the form in which people are told of it."""
    if isinstance(error, errors.KibrayOpsError):
        return error
    if isinstance(error, Terminated):
        return errors.Interrupted("The run was ended by SIGTERM.", exit_code=143)
    if isinstance(error, KeyboardInterrupt):
        return errors.Interrupted("The run was interrupted from the keyboard.")
    first_line = (str(error).strip().splitlines() or [""])[0]
    return errors.KibrayOpsError(
        f"kibray-ops met something that it does not know: {type(error).__name__}: {first_line}",
        hint="Nothing of an atomic job was written. --verbose shows where; please report it.",
    )


def _ended(outcome: Outcome) -> tuple[str, int]:
    return (PARTIAL, errors.PARTLY_DONE) if outcome.is_partial else (SUCCEEDED, errors.DONE)


def _status_of(error: errors.KibrayOpsError) -> str:
    if isinstance(error, errors.TimeLimitReached):
        return TIMED_OUT
    return INTERRUPTED if isinstance(error, errors.Interrupted) else FAILED


class _NothingToDo(Exception):  # noqa: N818 - not an error: the slot is done, or somebody is at it
    """End the run in silence."""


@dataclass
class _Execution:
    job: Job
    settings: Settings
    clock: Clock
    trigger: Trigger
    options: dict[str, Any]
    report: Report

    def start(self) -> None:
        self._refuse_nonsense()
        self.function = load(self.job)
        self.limit = TimeLimit(
            self.settings.time_limit("SOFT", self.job.name), self.settings.time_limit("HARD", self.job.name)
        )
        self.database = Database(self.settings)
        try:
            with translated():
                if self.report.dry_run:
                    self._rehearse()
                else:
                    self._perform()
        except _NothingToDo:
            self.report.skip()
        finally:
            self.limit.stop()

    def _refuse_nonsense(self) -> None:
        if self.report.dry_run and self.trigger is not Trigger.MANUAL:
            raise errors.UsageError("--cron and --dry-run exclude each other.", hint="cron is for real runs.")
        if not self.report.dry_run and self.clock.now() > self.clock.real():
            raise errors.UsageError("--as-of lies in the future.", hint="That is possible only with --dry-run.")

    # ---- dry run

    def _rehearse(self) -> None:
        with self.database.connect(read_only=True) as connection:
            catalog = read_catalog(connection)
            catalog.require(self.job)
            self.limit.apply(connection)
            with Session(connection) as session:
                self.report.succeed(self.function(self._run(session, catalog), **self.options))
            self.limit.release(connection)

    def _run(self, session: Session, catalog: Catalog, commit_item: Callable[[], None] | None = None) -> Run:
        slot = getattr(self, "slot", None)
        return Run(
            session=session,
            catalog=catalog,
            settings=self.settings,
            clock=self.clock,
            business_date=slot.business_date if slot else self.clock.today(),
            dry_run=self.report.dry_run,
            id=self.report.run_id,
            commit_item=commit_item or _no_commit,
        )

    # ---- real run

    def _perform(self) -> None:
        self.slot: Slot | None = None
        if self.trigger is not Trigger.MANUAL:
            self.slot = latest_slot(self.job, self.clock)
            if self.slot is None:
                raise _NothingToDo
            self.report.slot = self.slot.key
        with self.database.connect(read_only=True) as connection:
            self.catalog = read_catalog(connection)
            self.catalog.require_own()
            self.catalog.require(self.job)
            self._leave_if_done(connection)
        self.lock = Lock(self.database, self.job.lock_name)
        try:
            if self.job.kind is Kind.ATOMIC:
                self._perform_atomic()
            else:
                with translated():
                    self._perform_by_item()
        except (Exception, KeyboardInterrupt) as error:
            # By now the work is rolled back and its locks are gone: the record cannot wait for ourselves.
            self._record_failure(error)
            raise
        finally:
            self.lock.release()

    def _leave_if_done(self, connection: Connection) -> None:
        if self.slot is None:
            return
        live = history.baseline(connection)
        if (live and self.slot.moment < live) or history.is_satisfied(connection, self.job, self.slot):
            raise _NothingToDo

    def _perform_atomic(self) -> None:
        """Work in one transaction that also holds the lock and records the success; try again what was transient."""
        for attempt in range(1 + RETRIES):
            try:
                with translated(), self.database.connect() as work:
                    self._lock(work)
                    if self._claim_or_confirm():
                        self._outcome = self._work(work)
                        self._end(work, self._outcome)
                        work.commit()
                self.report.succeed(self._outcome)
                return
            except errors.TransientError:
                if attempt == RETRIES:
                    raise
                time.sleep(2**attempt * random.uniform(0.3, 0.6))  # noqa: S311 - jitter, not a secret

    def _perform_by_item(self) -> None:
        """Work in a transaction for each item, under a lock that another connection holds."""
        with self.database.connect() as guard:
            self._lock(guard)
            self._claim_or_confirm()
            with self.database.connect() as work:
                self._outcome = self._work(work, guard)
                self._end(work, self._outcome)
                work.commit()
        self.report.succeed(self._outcome)

    def _lock(self, connection: Connection) -> None:
        if not self.database.is_sqlite:
            # The transaction that holds the lock may sit idle for long while we compute or talk to a server.
            connection.execute(text("SET LOCAL idle_in_transaction_session_timeout = 0"))
        if not self.lock.acquire(connection):
            self._give_way()

    def _give_way(self) -> None:
        """Leave the job to the run that holds its lock."""
        patience = HOLDER_PATIENCE
        with self.database.connect(read_only=True) as connection:
            while (holder := history.holder(connection, self.job)) is None and patience > 0:
                connection.rollback()
                time.sleep(0.2)
                patience -= 0.2
        if self.slot is not None:
            if holder is not None and holder["slot"] != self.slot.key:
                with self.database.connect() as connection:
                    self.report.run_id = self._begin(connection, SKIPPED)
                    connection.commit()
            raise _NothingToDo
        if holder is None:
            raise errors.JobBusy()
        since = holder["started_at"].astimezone(self.clock.zone)
        raise errors.JobBusy(
            f"{holder['job']} is already running on {holder['host']} "
            f"(process {holder['pid']}, since {since:%Y-%m-%d %H:%M:%S})."
        )

    def _claim_or_confirm(self) -> bool:
        """Claim the slot; at a further attempt, make sure that the claim still stands.

        False when the attempt before did reach the database: its COMMIT arrived, only the answer was lost.
        """
        with self.database.connect() as connection:
            if self.report.run_id is not None:
                status = history.status_of(connection, self.report.run_id)
                if status in (SUCCEEDED, PARTIAL):
                    return False
                if status != RUNNING:
                    raise errors.JobBusy("Another run took over while this one was tried again.")
                return True
            history.free_what_died(connection, self.job, self.clock.real())
            try:
                run_id = self._begin(connection, RUNNING)
            except IntegrityError:
                raise _NothingToDo from None
            connection.commit()
        self.report.run_id = run_id
        self.limit.watch(run_id)
        return True

    def _begin(self, connection: Connection, status: str) -> int:
        now = self.clock.real()
        return history.begin(
            connection,
            self.job,
            status=status,
            slot=self.slot,
            trigger=self.trigger,
            arguments=self.options,
            business_date=self.slot.business_date if self.slot else self.clock.today(),
            as_of=self.clock.fixed,
            started_at=now,
            finished_at=now if status == SKIPPED else None,
        )

    def _work(self, work: Connection, guard: Connection | None = None) -> Outcome:
        """Let the job do its work; with a guard, it may commit item by item while the guard holds the lock."""
        self._bound(work)
        mode = "control_fully" if guard else "rollback_only"  # a stray commit in an atomic job commits nothing
        with Session(work, join_transaction_mode=mode) as session:

            def commit_item() -> None:
                if guard is None:
                    raise RuntimeError("An atomic job commits only at its end.")
                if not self.database.is_sqlite:
                    guard.execute(text("SELECT 1"))  # raises when the connection, and with it the lock, is gone
                self.limit.release(work)
                session.commit()
                self._bound(work)

            outcome = self.function(self._run(session, self.catalog, commit_item), **self.options)
            session.flush()
            self.limit.release(work)
            if guard is not None:
                session.commit()
        return outcome

    def _bound(self, work: Connection) -> None:
        """Begin a transaction and set its time limits."""
        if not work.in_transaction():
            work.begin()  # ours, not the session's: its end must not be the session's either
        self.limit.apply(work)
        if not self.database.is_sqlite:
            work.execute(text(f"SET LOCAL lock_timeout = '{int(self.settings['LOCK_TIMEOUT'])}s'"))

    def _end(self, work: Connection, outcome: Outcome) -> None:
        status, _ = _ended(outcome)
        still_ours = history.end(
            work,
            self.report.run_id or 0,
            status=status,
            now=self.clock.real(),
            result=outcome.result,
            problems=[problem.as_dict() for problem in outcome.problems],
        )
        if not still_ours:
            raise errors.JobBusy("Another run declared this one dead and took over.", hint="Nothing was written.")

    def _record_failure(self, error: BaseException) -> None:
        if self.report.run_id is None or isinstance(error, _NothingToDo):
            return
        told = explained(error)
        account = told.message
        if not isinstance(error, errors.KibrayOpsError | KeyboardInterrupt):
            account = "".join(traceback.format_exception(error))
        try:
            with translated(), self.database.connect() as connection:
                history.end(
                    connection,
                    self.report.run_id,
                    status=_status_of(told),
                    now=self.clock.real(),
                    error=self.settings.redact(account),
                )
                connection.commit()
        except errors.KibrayOpsError as unrecorded:
            # The next run finds the record still `running` and writes it down as interrupted.
            log.warning("the failure could not be recorded: %s", unrecorded.message)


def _no_commit() -> None:
    raise RuntimeError("Nothing is committed in a dry run.")
