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

from sqlalchemy import Connection, RowMapping, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

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
from kibray_ops.standing import Standing

ALARMS = table_of(AlarmRecord)
TIMEOUT = 10.0
"""Seconds to wait for each answer of the mail server: a run must not last long after its work."""

log = logging.getLogger(__name__)


def hear(report: Report, job: Job, settings: Settings, clock: Clock) -> None:
    """Hear how a run ended: raise an alarm, or end one. What has to be tried again later is no failure yet."""
    if not settings["ALERT_EMAIL"]:
        return
    if report.status == SUCCEEDED:
        end(job, settings, clock)
    elif report.trigger is not Trigger.MANUAL and report.exit_code not in (DONE, TryAgainLater.exit_code):
        sound(job, _account(report), settings, clock)


def review(standings: Sequence[Standing], settings: Settings, clock: Clock) -> None:
    """Raise an alarm for what is late, and tell of alarms of which nobody could be told so far."""
    if not settings["ALERT_EMAIL"]:
        return
    for standing in standings:
        if standing.is_late:
            sound(standing.job, f"It is late: {standing.why_late(clock)}.\n{standing.way_on(clock)}.", settings, clock)
        else:
            with _at(settings) as connection:
                _tell(connection, standing.job, settings, clock)


def sound(job: Job, reason: str, settings: Settings, clock: Clock) -> None:
    """Raise a job's alarm, unless it is raised already, and tell of it, unless that is done."""
    with _at(settings) as connection:
        try:
            values = {"job": job.name, "since": clock.now(), "reason": settings.redact(reason)}
            connection.execute(insert(ALARMS).values(values))
            connection.commit()
        except IntegrityError:
            connection.rollback()
        _tell(connection, job, settings, clock)


def end(job: Job, settings: Settings, clock: Clock) -> None:
    """End a job's alarm, and say so where somebody was told of it."""
    with _at(settings) as connection:
        ended = connection.execute(delete(ALARMS).where(ALARMS.c.job == job.name).returning(ALARMS)).mappings().first()
        connection.commit()
        if ended is None or ended["told_at"] is None:
            return
        subject = f"{job.name} works again"
        text = f"{job.name} has succeeded on {socket.gethostname()}.\nIt had failed since {_when(ended, clock)}."
        if not _sent(subject, text, settings, clock):
            connection.execute(insert(ALARMS).values(dict(ended)))
            connection.commit()


def _tell(connection: Connection, job: Job, settings: Settings, clock: Clock) -> None:
    untold = (ALARMS.c.job == job.name, ALARMS.c.told_at.is_(None))
    if connection.execute(select(ALARMS.c.job).where(*untold)).first() is None:
        return
    marked = update(ALARMS).where(*untold).values(told_at=clock.now()).returning(ALARMS)
    alarm = connection.execute(marked).mappings().first()
    connection.commit()
    if alarm is None:
        return
    text = (
        f"{job.name} does not work on {socket.gethostname()}, since {_when(alarm, clock)}.\n\n{alarm['reason']}\n\n"
        "`kibray-ops status` shows how every job stands. The next mail about this job says that it works again."
    )
    if not _sent(f"{job.name} needs a look", text, settings, clock):
        connection.execute(update(ALARMS).where(ALARMS.c.job == job.name).values(told_at=None))
        connection.commit()


def _sent(subject: str, text: str, settings: Settings, clock: Clock) -> bool:
    """Send a mail to the operator; False where it was clearly not handed over."""
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
            transport.send(message)
        finally:
            transport.close()
    except Uncertain as error:
        log.warning("nobody knows whether %s was told: %s", settings["ALERT_EMAIL"], error)
    except (DeliveryError, KibrayOpsError) as error:
        log.warning("%s could not be told: %s", settings["ALERT_EMAIL"], error)
        return False
    return True


@contextmanager
def _at(settings: Settings) -> Iterator[Connection]:
    """Open a connection; what the database refuses is logged, for the run itself is over."""
    try:
        with translated(), Database(settings).connect() as connection:
            yield connection
    except KibrayOpsError as error:
        log.warning("the alarm could not be kept: %s", error.message)


def _account(report: Report) -> str:
    lines = []
    if report.error is not None:
        lines += [report.error.message, report.error.hint]
    failures = [problem for problem in report.problems if problem.severity == FAILURE]
    lines += [f"{problem.subject}: {problem.message}" for problem in failures]
    where = f"Run {report.run_id}, " if report.run_id else ""
    for_slot = f", for {report.slot}" if report.slot else ""
    return "\n".join([*lines, "", f"{where}exit code {report.exit_code}{for_slot}."])


def _when(alarm: RowMapping, clock: Clock) -> str:
    since: datetime = alarm["since"]
    return f"{clock.local(since):%Y-%m-%d %H:%M %Z}"
