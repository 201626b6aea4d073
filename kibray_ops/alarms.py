"""E-mails to the operator: a job fails or is late, and it works again. Each once, however many tries there are.

An open alarm is a row per job. Whoever wants to send its mail marks the row as told first, so that two hosts never both
send; what was clearly not handed over is unmarked, and the next run or catch-up tries again.
"""

import logging
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from html import escape
from uuid import uuid4

from sqlalchemy import Connection, Executable, RowMapping, delete, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite

from kibray_ops import channels
from kibray_ops.catalog import table_of
from kibray_ops.clock import Clock
from kibray_ops.database import Database, translated
from kibray_ops.delivery import DeliveryError, Message, Uncertain
from kibray_ops.errors import DONE, KibrayOpsError, TryAgainLater
from kibray_ops.job import FAILURE
from kibray_ops.models.operations import SUCCEEDED, AlarmRecord
from kibray_ops.registry import Job
from kibray_ops.report import Report, Trigger
from kibray_ops.settings import Settings
from kibray_ops.standing import Standing, standings

ALARMS = table_of(AlarmRecord)
TIMEOUT = 10.0
"""Seconds to wait for each answer of the mail server: a run must not last long after its work."""

log = logging.getLogger(__name__)


def hear(report: Report, job: Job, settings: Settings, clock: Clock) -> None:
    """Hear how a run ended: raise an alarm, or end one. What has to be tried again later is no failure yet."""
    if not settings["ALERT_EMAIL"]:
        return
    with _logged():
        if report.status == SUCCEEDED:
            _resolve(job, settings, clock)
        elif report.trigger is not Trigger.MANUAL and report.exit_code not in (DONE, TryAgainLater.exit_code):
            _raise(job, _account(report), settings, clock)


def review(stands: Sequence[Standing], settings: Settings, clock: Clock) -> None:
    """Raise an alarm for what is late, and tell what nobody could be told of so far."""
    if not settings["ALERT_EMAIL"]:
        return
    with _logged():
        with translated(), Database(settings).connect(read_only=True) as connection:
            rows = connection.execute(select(ALARMS)).mappings()
            alarms = {row["job"]: row for row in rows}
        for standing in stands:
            job, alarm = standing.job, alarms.get(standing.job.name)
            if standing.is_late and (alarm is None or alarm["ended_at"]):
                _raise(job, f"It is late: {standing.why_late(clock)}.", settings, clock)
            elif alarm is not None and alarm["ended_at"]:
                _resolve(job, settings, clock)
            elif alarm is not None and alarm["told_at"] is None:
                _raise(job, alarm["reason"], settings, clock)


def raise_alarm(job: Job, reason: str, settings: Settings, clock: Clock) -> None:
    """Raise a job's alarm, unless it is raised already, and tell of it, unless that is done."""
    if settings["ALERT_EMAIL"]:
        with _logged():
            _raise(job, reason, settings, clock)


@contextmanager
def _logged() -> Iterator[None]:
    """Log what the database refuses: the run itself is over, and its end stands."""
    try:
        yield
    except KibrayOpsError as error:
        log.warning("the alarm could not be kept: %s", error.message)


def _raise(job: Job, reason: str, settings: Settings, clock: Clock) -> None:
    with translated(), Database(settings).connect() as connection:
        engine = sqlite if connection.dialect.name == "sqlite" else postgresql
        values = {"job": job.name, "since": clock.now(), "reason": settings.redact(reason)}
        # Of one that ended and nobody heard of it: the last that was told still holds.
        again = (
            engine.insert(ALARMS).values(values).on_conflict_do_update(index_elements=["job"], set_={"ended_at": None})
        )
        connection.execute(again)
        untold = (ALARMS.c.job == job.name, ALARMS.c.told_at.is_(None))
        marked = update(ALARMS).where(*untold).values(told_at=clock.now()).returning(ALARMS)
        alarm = connection.execute(marked).mappings().first()
        connection.commit()
        if alarm is None:
            return
        (standing,) = standings(connection, settings, clock, [job])
        connection.rollback()  # nobody waits for us while we wait for the mail server
        text = (
            f"`{job.typed}` did not do all of its work on {socket.gethostname()}, since "
            f"{_when(alarm, clock)}.\n\n{alarm['reason']}\n\nWhat happens next: {standing.hint(clock)}.\n\n"
            "`kibray-ops status` shows how every job stands. The next mail about this job says that it works again."
        )
        with _undone(connection, update(ALARMS).where(ALARMS.c.job == job.name).values(told_at=None)):
            _send(f"{job.name} needs a look", text, settings, clock)


def _resolve(job: Job, settings: Settings, clock: Clock) -> None:
    with translated(), Database(settings).connect(read_only=True) as connection:
        if connection.execute(select(ALARMS.c.job).where(ALARMS.c.job == job.name)).first() is None:
            return
    with translated(), Database(settings).connect() as connection:
        ended = connection.execute(delete(ALARMS).where(ALARMS.c.job == job.name).returning(ALARMS)).mappings().first()
        connection.commit()
        if ended is None or ended["told_at"] is None:
            return
        text = f"{job.name} has succeeded on {socket.gethostname()}.\nIt had failed since {_when(ended, clock)}."
        with _undone(connection, insert(ALARMS).values({**ended, "ended_at": clock.now()})):
            _send(f"{job.name} works again", text, settings, clock)


class _Unsent(Exception):
    """The mail was clearly not handed over."""


@contextmanager
def _undone(connection: Connection, restore: Executable) -> Iterator[None]:
    """Take back what was noted of a mail that was not handed over: the next run or catch-up sends it."""
    try:
        yield
    except _Unsent as unsent:
        connection.execute(restore)
        connection.commit()
        if isinstance(unsent.__cause__, KeyboardInterrupt):
            raise unsent.__cause__ from None


def _send(subject: str, text: str, settings: Settings, clock: Clock) -> None:
    """Send a mail to the operator; raises _Unsent where it was clearly not handed over."""
    is_under_way = False
    try:
        channels.require_email(settings)
        sender = channels.sender(settings)
        transport = channels.email(settings, lambda: clock.local(clock.now()), timeout=TIMEOUT)
        message = Message(
            recipient=settings["EMAIL_REDIRECT_TO"] or settings["ALERT_EMAIL"],
            id=f"<kibray-ops-{uuid4().hex}@{sender.domain}>",
            subject=f"kibray-ops: {subject}",
            text=text + "\n",
            html=f"<pre>{escape(text)}</pre>\n",
        )
        try:
            transport.open()
            is_under_way = True
            transport.send(message)
        finally:
            transport.close()
    except Uncertain as error:
        log.warning("nobody knows whether %s was told: %s", settings["ALERT_EMAIL"], error)
    except (DeliveryError, KibrayOpsError) as error:
        log.warning("%s could not be told: %s", settings["ALERT_EMAIL"], error)
        raise _Unsent from error
    except KeyboardInterrupt as interrupt:
        if is_under_way:
            raise  # it may have arrived
        raise _Unsent from interrupt


def _account(report: Report) -> str:
    lines = []
    if report.error is not None:
        lines.append(report.error.account)
    failures = [problem for problem in report.problems if problem.severity == FAILURE]
    lines += [f"{problem.subject}: {problem.message}" for problem in failures]
    where = f"Run {report.run_id}, " if report.run_id else ""
    for_slot = f", for {report.slot}" if report.slot else ""
    return "\n".join([*lines, "", f"{where}exit code {report.exit_code}{for_slot}."])


def _when(alarm: RowMapping, clock: Clock) -> str:
    since: datetime = alarm["since"]
    return f"{clock.local(since):%Y-%m-%d %H:%M %Z}"
