"""Time limits of a run, and the signals that end it.

Soft: the database stops the work of an atomic job (`statement_timeout`, `interrupt()`), or a per-item job stops after
the item. Hard: a watchdog replaces the process by the undertaker, which writes the run down as timed out. Replacing the
process frees every lock and transaction first, so the record can be written even when the work held the database.
"""

import logging
import os
import signal
import sqlite3
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

from sqlalchemy import Connection, event

from kibray_ops.errors import Terminated, TimeLimitReached
from kibray_ops.settings import PREFIX


class TimeLimit:
    """Watch a run's soft and hard limits, in seconds from its creation."""

    def __init__(self, soft: float, hard: float) -> None:
        self.soft = soft
        self.hard = hard
        self._end = time.monotonic() + soft
        self._interrupt: threading.Timer | None = None
        self._watchdog: threading.Timer | None = None

    @property
    def left(self) -> float:
        """Return the seconds until the soft limit, never below zero."""
        return max(0.0, self._end - time.monotonic())

    def check(self) -> None:
        """Raise TimeLimitReached when the soft limit has passed."""
        if self.left <= 0:
            raise TimeLimitReached(f"The soft time limit of {self.soft:g} s was reached.")

    def watch(self, run_id: int, database_url: str) -> None:
        """Start the watchdog of the hard limit for a run that has a record."""
        delay = max(0.0, self.hard - (self.soft - self.left))
        self._watchdog = threading.Timer(delay, _bury, args=(run_id, database_url))
        self._watchdog.daemon = True
        self._watchdog.start()

    def apply(self, connection: Connection) -> None:
        """Let the database stop what the connection does at the soft limit, in this transaction and the next ones."""
        self.check()
        event.listen(connection, "before_cursor_execute", self._before_statement)
        if connection.dialect.name == "postgresql":
            event.listen(connection, "begin", self._limit_statements)
            if connection.in_transaction():
                self._limit_statements(connection)
        else:
            self._interrupt = threading.Timer(self.left, _interrupt, args=(connection.connection.dbapi_connection,))
            self._interrupt.daemon = True
            self._interrupt.start()

    def release(self, connection: Connection) -> None:
        """Take the soft limit off: what follows is the record and the COMMIT, which are never cut short."""
        event.remove(connection, "before_cursor_execute", self._before_statement)
        if connection.dialect.name == "postgresql":
            event.remove(connection, "begin", self._limit_statements)
            if connection.in_transaction():
                connection.exec_driver_sql("SET LOCAL statement_timeout = 0")
        elif self._interrupt is not None:
            self._interrupt.cancel()

    def _limit_statements(self, connection: Connection) -> None:
        milliseconds = max(1, int(self.left * 1000))
        connection.exec_driver_sql(f"SET LOCAL statement_timeout = {milliseconds}")

    def stop(self) -> None:
        """Stop all timers."""
        for timer in (self._interrupt, self._watchdog):
            if timer is not None:
                timer.cancel()

    def _before_statement(self, *_: Any) -> None:
        self.check()


def _interrupt(connection: Any) -> None:
    with suppress(sqlite3.ProgrammingError):  # closed meanwhile: the work has ended
        connection.interrupt()


def _bury(run_id: int, database_url: str) -> None:
    for handler in logging.getLogger("kibray_ops").handlers:
        if (tell := getattr(handler, "tell", None)) is not None:
            tell()  # what is held back under cron: nobody else will
    words = [sys.executable, "-m", "kibray_ops.undertaker", str(run_id)]
    environment = {**os.environ, f"{PREFIX}DATABASE_URL": database_url}  # not an argument: those can be seen by all
    os.execve(sys.executable, words, environment)  # noqa: S606


@contextmanager
def terminable() -> Iterator[None]:
    """Turn SIGTERM into an exception inside the block, so that the run is rolled back and recorded."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(_signal: int, _frame: FrameType | None) -> None:
        raise Terminated

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
