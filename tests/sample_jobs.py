"""Jobs that do one telling thing, for the tests of the runner. They write rows into `auth_group`."""

import time
from typing import Any

from sqlalchemy import insert, text, true
from sqlmodel import select

from kibray_ops import alerts
from kibray_ops.errors import ConfigurationError, KibrayOpsError, TryAgainLater, UsageError
from kibray_ops.job import FAILURE, Outcome, Problem, Run
from kibray_ops.messages import Message
from kibray_ops.models.kibray.people import Group
from kibray_ops.registry import Job, Kind

ATTEMPTS: list[int] = []


def sample(verb: str, kind: Kind = Kind.ATOMIC, **columns: Any) -> Job:
    """Declare one of the functions below as a job."""
    return Job(
        name=f"sample-{verb}", command=("sample", verb), summary="Do one thing.", kind=kind,
        module="tests.sample_jobs", **columns,
    )  # fmt: skip


def _write(run: Run, name: str) -> None:
    run.session.execute(insert(Group), [{"name": name}])


def write(run: Run, name: str = "one") -> Outcome:
    if not run.dry_run:
        _write(run, name)
    return Outcome({"name": name, "on": run.business_date.isoformat(), "now": run.now.isoformat()})


def forget_the_guard(run: Run) -> Outcome:
    _write(run, "one")
    return Outcome({})


def commit_astray(run: Run) -> Outcome:
    _write(run, "one")
    run.session.commit()
    raise KibrayOpsError("Failed after a stray commit.")


def crash(run: Run) -> Outcome:
    _write(run, "one")
    raise ZeroDivisionError("the password is hunter22")


def partly(run: Run) -> Outcome:
    _write(run, "one")
    return Outcome({"done": 1}, problems=[Problem(FAILURE, "refused", "two", "was refused")])


def sleep(run: Run, seconds: float = 60) -> Outcome:
    _write(run, "one")
    time.sleep(seconds)
    return Outcome({})


def sleep_in_the_database(run: Run) -> Outcome:
    _write(run, "one")
    if run.session.get_bind().dialect.name == "postgresql":
        run.session.execute(text("SELECT pg_sleep(60)"))
    else:
        endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"
        run.session.execute(text(endless))
    return Outcome({})


def fail_twice(run: Run) -> Outcome:
    """PostgreSQL itself reports a serialization failure at the first two attempts."""
    ATTEMPTS.append(run.id or 0)
    _write(run, "one")
    if len(ATTEMPTS) <= 2:
        run.session.execute(text("DO $$ BEGIN RAISE EXCEPTION 'could not serialize' USING ERRCODE = '40001'; END $$"))
    return Outcome({"attempts": len(ATTEMPTS)})


def lose_the_connection(run: Run) -> Outcome:
    ATTEMPTS.append(run.id or 0)
    _write(run, "one")
    if len(ATTEMPTS) == 1:
        run.session.execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))
    return Outcome({"attempts": len(ATTEMPTS)})


def item_by_item(run: Run, items: int = 5, pause: float = 0) -> Outcome:
    """Write what is missing, one item at a time."""
    there = set(run.session.exec(select(Group.name)))
    done = 0
    for number in range(items):
        if f"item {number}" not in there:
            _write(run, f"item {number}")
            run.commit_item()
            done += 1
            time.sleep(pause)
    return Outcome({"done": done})


def ask_in_a_transaction(run: Run) -> Outcome:
    """Let others wait for us while we would wait for a service."""
    run.session.exec(select(Group.name)).all()
    run.web()
    return Outcome({})


def fail_while_reading(run: Run, by: str = "fault") -> Outcome:
    """Leave a SQLite cursor open: the error's frames still hold it when the failure is recorded."""
    _write(run, "one")
    cursor = run.session.connection().connection.cursor()
    cursor.execute("SELECT name FROM auth_group UNION ALL SELECT 'x' UNION ALL SELECT 'y'")
    cursor.fetchone()
    if by == "ctrl-c":
        raise KeyboardInterrupt
    raise ZeroDivisionError


def tell(run: Run, audiences: list[list[int]]) -> Outcome:
    """Tell of a subject for each audience, numbered from 1."""
    everybody = alerts.recipients(run, true())
    topic = alerts.Topic("sample", "alert", "sample", lambda _, number: Message(f"Subject {number}", ""))
    notices = [
        alerts.Notice(
            tuple(everybody[user] for user in audience if user in everybody), number, run.business_date, number, "/"
        )
        for number, audience in enumerate(audiences, 1)
    ]
    planned = alerts.plan(run, topic, notices)
    alerts.tell(run, planned)
    return Outcome(planned.counts())


def idle(run: Run) -> Outcome:
    """Do nothing."""
    return Outcome({})


def refuse(run: Run, code: int = 1) -> Outcome:
    """Fail with an exit code."""
    kinds = {1: KibrayOpsError, 2: UsageError, 75: TryAgainLater, 78: ConfigurationError}
    raise kinds[code]("It does not go.")
