"""One execution of a job: slot → lock → free what died → claim → work → record."""

import logging
import random
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import date
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlmodel import Session

from kibray_ops import errors, history
from kibray_ops.catalog import Catalog, baseline, read_catalog, require_zone
from kibray_ops.clock import Clock
from kibray_ops.database import Database, Lock, translated
from kibray_ops.job import Outcome, Progress, Run
from kibray_ops.legible import legible, reading
from kibray_ops.limits import TimeLimit
from kibray_ops.models.operations import DONE, RUNNING, SKIPPED
from kibray_ops.pauses import covering, pauses
from kibray_ops.registry import Job, Kind
from kibray_ops.report import Report, Trigger, Watcher, ended, explained, status_of
from kibray_ops.schedule import Slot, is_past_deadline, latest_slot
from kibray_ops.settings import Settings
from kibray_ops.standing import MissedSlot
from kibray_ops.web import web_client

if TYPE_CHECKING:
    import httpx

RETRIES = 3
"""How often an atomic job is tried again after a transient error of the database."""
HOLDER_PATIENCE = 2.0
"""Seconds to wait for the record of a run that took the lock a moment ago."""

log = logging.getLogger(__name__)


class _NothingToDo(Exception):
    """End the run in silence."""


@dataclass
class Execution:
    """One execution; `start` fills in the report, or raises what went wrong."""

    job: Job
    function: Callable[..., Outcome]
    settings: Settings
    clock: Clock
    trigger: Trigger
    options: dict[str, Any]
    report: Report
    watcher: Watcher
    progress: Progress
    missed: MissedSlot | None = None
    """What catch-up works for."""
    slot: Slot | None = None
    """What it works for: the missed one, or what cron finds, or none by hand."""
    resources: ExitStack = field(default_factory=ExitStack)
    """What has to be closed at the end: the HTTP client, where there is one."""

    def start(self) -> None:
        """Do everything; raises KibrayOpsError, KeyboardInterrupt, and whatever a job does not expect."""
        self._refuse_nonsense()
        soft, hard = (self.settings.time_limit(which, self.job.name) for which in ("SOFT", "HARD"))
        self.limit = TimeLimit(soft, hard)
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
            self.resources.close()

    def _refuse_nonsense(self) -> None:
        if self.report.dry_run and self.trigger is not Trigger.MANUAL:
            raise errors.UsageError("--cron and --dry-run exclude each other.", hint="cron is for real runs.")
        if not self.report.dry_run and self.clock.now() > self.clock.real():
            raise errors.UsageError("--as-of lies in the future.", hint="That is possible only with --dry-run.")

    # ---- dry run

    def _rehearse(self) -> None:
        with reading(self.database, self.job) as connection:
            catalog = read_catalog(connection, own=False)
            catalog.require(self.job)
            self.limit.apply(connection)
            try:
                with translated(), Session(connection) as session:
                    end_reading = _no_commit if self.job.kind is Kind.ATOMIC else session.rollback
                    self.report.succeed(self.function(self._run(session, catalog, end_reading), **self.options))
            except errors.WriteRefused as error:
                raise errors.KibrayOpsError(
                    "The dry run tried to write, and the database refused.",
                    hint="Nothing was written. This is a fault of kibray-ops: please report it.",
                ) from error
            self.limit.release(connection)

    def _run(self, session: Session, catalog: Catalog, commit_item: Callable[[], None]) -> Run:
        return Run(
            session=session,
            catalog=catalog,
            settings=self.settings,
            clock=self.clock,
            business_date=self._business_date,
            dry_run=self.report.dry_run,
            id=self.report.run_id,
            commit_item=commit_item,
            turn=(lambda _name: nullcontext()) if self.report.dry_run else self._turn,
            web=lambda: self._web(session),
            progress=self.progress,
        )

    def _web(self, session: Session) -> "httpx.Client":
        if session.in_transaction():
            raise RuntimeError("A transaction is open: nobody may wait for us while we wait for a service.")
        return self._client

    @cached_property
    def _client(self) -> "httpx.Client":
        return self.resources.enter_context(web_client())

    @contextmanager
    def _turn(self, name: str) -> Iterator[None]:
        lock = Lock(self.database, name)
        with self.database.connect() as guard:
            self._sit_idle(guard)
            while not lock.acquire(guard):
                self.limit.check()  # that is how long we wait
                time.sleep(0.1)
            try:
                yield
            finally:
                lock.release()

    @property
    def _business_date(self) -> date:
        return self.slot.business_date if self.slot else self.clock.today()

    # ---- real run

    def _perform(self) -> None:
        if self.trigger is Trigger.CRON:
            self.slot = latest_slot(self.job, self.clock)
        elif self.missed is not None and not is_past_deadline(self.job, self.missed.slot, self.clock):
            self.slot = self.missed.slot
        if self.trigger is not Trigger.MANUAL:
            if self.slot is None:
                raise _NothingToDo
            self.report.slot = self.slot.key
        self.lock = Lock(self.database, self.job.lock_name)
        with reading(self.database, self.job) as connection:
            self.catalog = read_catalog(connection)
            self.catalog.require_own()
            paused = self._leave_if_done(connection)
        if paused is not None:
            self._record_skip(paused)
            raise _NothingToDo
        try:
            self.catalog.require(self.job)
            perform = self._perform_atomic if self.job.kind is Kind.ATOMIC else self._perform_by_item
            with legible(self.database, self.job):
                perform()
        except _NothingToDo:
            raise
        except (Exception, KeyboardInterrupt) as error:
            # By now the work is rolled back and its locks are gone: the record cannot wait for ourselves.
            self._record_failure(error)
            raise
        finally:
            self.lock.release()

    def _leave_if_done(self, connection: Connection) -> str | None:
        """Leave when nothing is owed to the slot; return why its job is paused, if it is."""
        if self.slot is None:
            return None
        require_zone(connection, self.clock.zone, self.slot.moment)
        if history.is_satisfied(connection, self.job, self.slot):
            raise _NothingToDo
        live = baseline(connection)
        if live and self.slot.moment < live:
            raise _NothingToDo
        of_job = pauses(connection).get(self.job.name, [])
        if pause := covering(self.clock.now(), of_job):
            end = f" until {self.clock.local(pause.until):%Y-%m-%d %H:%M}" if pause.until else ""
            return f"The job is paused{end}."
        if covering(self.slot.moment, of_job):
            raise _NothingToDo
        return None

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
            except (errors.TransientError, errors.DatabaseUnreachable):  # a server that is restarted is both
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

    def _sit_idle(self, connection: Connection) -> None:
        """Let the transaction that holds a lock be idle for long, while we compute or talk to a server."""
        if not self.database.is_sqlite:
            connection.execute(text("SET LOCAL idle_in_transaction_session_timeout = 0"))

    def _lock(self, connection: Connection) -> None:
        self._sit_idle(connection)
        if not self.lock.acquire(connection):
            self._give_way()

    def _give_way(self) -> None:
        """Leave the job to the run that holds its lock."""
        patience = HOLDER_PATIENCE
        with self.database.connect(read_only=True) as connection:
            while (holder := history.holder(connection, self.job)) is None and patience > 0:
                if self.slot is not None and history.is_satisfied(connection, self.job, self.slot):
                    raise _NothingToDo  # it has ended meanwhile: a host with the same schedule was faster
                connection.rollback()
                time.sleep(0.05)
                patience -= 0.05
        if self.slot is not None:
            if holder is not None and holder["slot"] != self.slot.key:
                self._record_skip(f"Run {holder['id']} of {holder['job']} was still under way.")
            raise _NothingToDo
        if holder is None:
            raise errors.JobBusy
        since = holder["started_at"].astimezone(self.clock.zone)
        raise errors.JobBusy(
            f"{holder['job']} is already running on {holder['host']} "
            f"(process {holder['pid']}, since {since:%Y-%m-%d %H:%M:%S})."
        )

    def _record_skip(self, reason: str) -> None:
        self.watcher.skipped(reason)
        try:
            with translated(), self.database.connect() as connection:
                self.report.run_id = self._begin(connection, SKIPPED, error=reason)
                connection.commit()
        except errors.RowsLocked:
            # SQLite: the run that we met is writing. A skip is not worth a failure.
            log.info("%s was skipped, which could not be recorded", self.job.name)

    def _claim_or_confirm(self) -> bool:
        """Claim the slot; at a further attempt, make sure that the claim still stands.

        False when the attempt before did reach the database: its COMMIT arrived, only the answer was lost.
        """
        with self.database.connect() as connection:
            if self.report.run_id is not None:
                status = history.status_of(connection, self.report.run_id)
                if status in DONE:
                    return False
                if status == RUNNING:
                    return True
                if status is not None:
                    raise errors.JobBusy("Another run took over while this one was tried again.")
            history.free_what_died(connection, self.job, self.clock.real())
            if self.missed is not None and self._was_tried(connection, self.missed):
                raise _NothingToDo
            try:
                # Known before it is committed: a signal in between must still find the record to end.
                self.report.run_id = self._begin(connection, RUNNING)
                connection.commit()
            except IntegrityError:
                raise _NothingToDo from None
            except DBAPIError:
                self.report.run_id = None
                raise
        self.limit.watch(self.report.run_id, self.settings.database_url)
        log.info("begun")
        self.watcher.begun(self.report.run_id)
        return True

    def _was_tried(self, connection: Connection, missed: MissedSlot) -> bool:
        """Tell whether somebody has tried since the missed slot was found: the catch-up of another host."""
        tries = history.tries(connection, {self.job.name: missed.slot}).get(self.job.name, [])
        return len(tries) > len(missed.tries)

    def _begin(self, connection: Connection, status: str, **columns: Any) -> int:
        now = self.clock.real()
        return history.begin(
            connection,
            self.job,
            status=status,
            slot=self.slot,
            trigger=self.trigger,
            arguments=self.options,
            business_date=self._business_date,
            as_of=self.clock.fixed,
            started_at=now,
            finished_at=None if status == RUNNING else now,
            **columns,
        )

    def _work(self, work: Connection, guard: Connection | None = None) -> Outcome:
        """Let the job do its work; with a guard, it may commit item by item while the guard holds the lock.

        The soft limit stops atomic work anywhere, for it is rolled back; other work ends after the item.
        """
        if guard is None:
            if not work.in_transaction():
                work.begin()  # ours, not the session's: the session's end must not be the transaction's
            self.limit.apply(work)
        # rollback_only: a stray commit in an atomic job commits nothing.
        mode: Literal["control_fully", "rollback_only"] = "control_fully" if guard else "rollback_only"
        with Session(work, join_transaction_mode=mode) as session:

            def commit_item() -> None:
                if guard is not None and not self.database.is_sqlite:
                    guard.execute(text("SELECT 1"))  # raises when the connection, and with it the lock, is gone
                session.commit()
                self.limit.check()

            run = self._run(session, self.catalog, _no_commit if guard is None else commit_item)
            outcome = self.function(run, **self.options)
            session.flush()
            if guard is None:
                self.limit.release(work)
            else:
                session.commit()
        return outcome

    def _end(self, work: Connection, outcome: Outcome) -> None:
        status, exit_code = ended(outcome)
        still_ours = history.end(
            work,
            self.report.run_id or 0,
            status=status,
            exit_code=exit_code,
            now=self.clock.real(),
            result=outcome.result,
            problems=[
                {**problem.as_dict(), "message": self.settings.redact(problem.message)} for problem in outcome.problems
            ],
            error=self.settings.redact(outcome.stopped.account) if outcome.stopped else None,
        )
        if not still_ours:
            raise errors.JobBusy("Another run declared this one dead and took over.", hint="Nothing was written.")

    def _record_failure(self, error: BaseException) -> None:
        if self.report.run_id is None and self.slot is None:
            return
        told = explained(error)
        account = told.account
        if not isinstance(error, errors.KibrayOpsError | KeyboardInterrupt):
            account = "".join(traceback.format_exception(error))
        ended: dict[str, Any] = {
            "status": status_of(told),
            "exit_code": told.exit_code,
            "error": self.settings.redact(account),
        }
        try:
            with translated(), self.database.connect() as connection:
                if self.report.run_id is None:
                    # It failed before it could claim its slot: catch-up and `status` are to know of the try.
                    self.report.run_id = self._begin(connection, **ended)
                else:
                    history.end(connection, self.report.run_id, now=self.clock.real(), **ended)
                connection.commit()
        except errors.KibrayOpsError as unrecorded:
            # The next run finds a record that is still `running` and writes it down as interrupted.
            log.warning("the failure could not be recorded: %s", unrecorded.message)


def _no_commit() -> None:
    raise RuntimeError("Only a job that works item by item commits in between.")
