"""Engines, read-only connections, locks, and what the database's errors mean. No engine is made before it is needed."""

import fcntl
import hashlib
import json
import os
import sqlite3
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import date
from decimal import Decimal
from functools import cached_property
from pathlib import Path
from typing import Any
from weakref import WeakSet

from sqlalchemy import URL, Connection, Engine, NullPool, Table, create_engine, event, make_url, text
from sqlalchemy.exc import ArgumentError, DBAPIError, OperationalError
from sqlalchemy.orm import Session

from kibray_ops.errors import (
    ConfigurationError,
    DatabaseMissing,
    DatabaseRefused,
    DatabaseUnreachable,
    KibrayOpsError,
    PermissionMissing,
    RowsLocked,
    TimeLimitReached,
    TransientError,
    WriteRefused,
)
from kibray_ops.settings import Settings

CONNECT_TIMEOUT = 10
"""Seconds to wait for a PostgreSQL server to answer."""
NO_ROOM = (
    "What was not committed is rolled back. Make room on the disk of the database, or see that it is well, and "
    "run the command again."
)


def to_json(value: Any) -> str:
    """Return JSON in which decimals are strings, which keep every cent, and dates are in ISO 8601."""
    return json.dumps(value, default=_plain)


def _plain(value: Any) -> str:
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, bytes):
        return value.decode(errors="replace")  # SQLite has let somebody put a BLOB where text belongs
    raise TypeError(f"{type(value).__name__} has no place in JSON")


class Database:
    """Open connections to Kibray's database, PostgreSQL or SQLite."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.is_sqlite = settings.sqlite_file is not None

    @cached_property
    def path(self) -> Path:
        """Return the file of a SQLite database."""
        if (found := self.settings.sqlite_file) is None:
            raise RuntimeError("PostgreSQL has no file of ours.")
        return found

    @property
    def has_file(self) -> bool:
        """Tell whether a SQLite database is there; false for a name that no file can have, where Path.exists raises."""
        return os.path.exists(self.path)  # noqa: PTH110

    @cached_property
    def url(self) -> URL:
        """Return the URL of a PostgreSQL database; raises ConfigurationError when it cannot be read."""
        try:
            return make_url(self.settings.database_url).set(drivername="postgresql+psycopg")
        except (ArgumentError, ValueError):
            raise ConfigurationError(
                "DATABASE_URL cannot be read.", hint="Write special characters of the password as %XX."
            ) from None

    @cached_property
    def writer(self) -> Engine:
        """Return the engine whose transactions may write."""
        return self._engine(read_only=False)

    @cached_property
    def reader(self) -> Engine:
        """Return the engine on which the database itself refuses every write."""
        return self._engine(read_only=True)

    @contextmanager
    def connect(self, *, read_only: bool = False) -> Iterator[Connection]:
        """Open a connection; the transaction begins with the first statement and is rolled back unless committed.

        Raises DatabaseMissing, DatabaseUnreachable or ConfigurationError.
        """
        if self.is_sqlite and not self.has_file:
            raise self._no_file()
        engine = self.reader if read_only else self.writer
        try:
            connection = engine.connect()
        except DBAPIError as error:
            raise _not_connected(error) from error
        with connection:
            yield connection

    def _engine(self, *, read_only: bool) -> Engine:
        if self.is_sqlite:
            return self._sqlite_engine(read_only=read_only)
        engine = create_engine(
            self.url,
            poolclass=NullPool,
            hide_parameters=True,
            json_serializer=to_json,
            use_native_hstore=False,
            connect_args={
                "connect_timeout": CONNECT_TIMEOUT,
                # PgBouncer in transaction mode hands the next transaction to another server connection.
                "prepare_threshold": None,
                "keepalives_idle": 30,
                "keepalives_interval": 30,
                "keepalives_count": 3,
            },
            execution_options={"postgresql_readonly": True} if read_only else {},
        )
        patience = f"SET LOCAL lock_timeout = '{int(self.settings['LOCK_TIMEOUT'])}s'"

        @event.listens_for(engine, "begin")
        def begin(connection: Connection) -> None:
            connection.exec_driver_sql(patience)

        return engine

    def _sqlite_engine(self, *, read_only: bool) -> Engine:
        def connect() -> sqlite3.Connection:
            # mode=rw: a file that is not there is an error, not a new empty database.
            connection = sqlite3.connect(
                f"{self.path.as_uri()}?mode=rw",
                uri=True,
                timeout=self.settings["LOCK_TIMEOUT"],
                isolation_level=None,
                check_same_thread=False,
                factory=_Connection,
            )
            connection.execute("PRAGMA foreign_keys = ON")
            if read_only:
                connection.execute("PRAGMA query_only = ON")
            return connection

        engine = create_engine(
            "sqlite://", creator=connect, poolclass=NullPool, hide_parameters=True, json_serializer=to_json
        )

        @event.listens_for(engine, "begin")
        def begin(connection: Connection) -> None:
            # A deferred transaction that reads first fails at once when somebody else has written meanwhile.
            connection.exec_driver_sql("BEGIN" if read_only else "BEGIN IMMEDIATE")

        return engine

    def _no_file(self) -> DatabaseMissing:
        if self.settings.is_embedded:
            return DatabaseMissing(
                f"There is no database yet: {self.path} does not exist and no DATABASE_URL is set.",
                hint="Try `kibray-ops demo`, make an empty one with `kibray-ops db init --standalone`, "
                "or set KIBRAY_OPS_DATABASE_URL to Kibray's.",
            )
        return DatabaseMissing(
            f"The database file {self.path} does not exist.",
            hint="Correct DATABASE_URL, or make the file with `kibray-ops db init --standalone`.",
        )


class _Connection(sqlite3.Connection):
    """A connection that takes its cursors with it: an open one would keep the file locked for as long as it lives."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._cursors: WeakSet[sqlite3.Cursor] = WeakSet()

    def cursor(self, *arguments: Any) -> sqlite3.Cursor:  # type: ignore[override]
        cursor: sqlite3.Cursor = super().cursor(*arguments)
        self._cursors.add(cursor)
        return cursor

    def close(self) -> None:
        for cursor in self._cursors:
            cursor.close()
        super().close()


class Lock:
    """Let one run of a job at a time work on a database, on however many hosts.

    The lock frees itself when its process or host dies. PostgreSQL: an advisory lock of the transaction that acquires
    it. SQLite: `flock` on a file beside the database that is never deleted (locking the database file itself would
    drop SQLite's own locks).
    """

    def __init__(self, database: Database, name: str) -> None:
        self.database = database
        self.name = name
        self._file: int | None = None

    def acquire(self, connection: Connection) -> bool:
        """Take the lock, for as long as the connection's transaction lasts or until `release`; never waits."""
        if not self.database.is_sqlite:
            statement = text("SELECT pg_try_advisory_xact_lock(:key)")
            return bool(connection.execute(statement, {"key": self.key}).scalar_one())
        if self._file is not None:
            return True
        path = self.database.path.with_name(f"{self.database.path.name}.{self.name}.lock")
        try:
            file = _lock_file(path, like=self.database.path)
        except OSError as error:
            raise ConfigurationError(
                f"The lock file {path} cannot be opened: {error.strerror}.",
                hint="The user that runs kibray-ops must be able to write in the directory of the database.",
            ) from error
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(file)
            return False
        self._file = file
        return True

    def release(self) -> None:
        """Give a SQLite lock back; on PostgreSQL the end of the transaction does."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    @property
    def key(self) -> int:
        """Return the lock's signed 64-bit number on PostgreSQL."""
        digest = hashlib.blake2b(f"kibray-ops:{self.name}".encode(), digest_size=8).digest()
        return int.from_bytes(digest, "big", signed=True)


def _lock_file(path: Path, *, like: Path) -> int:
    """Open a lock file; a new one is for those who may use the database: whoever can open it can hold us up."""
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW  # read-only is enough for flock, also on another user's file
    try:
        file = os.open(path, flags | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return os.open(path, flags)
    of = like.stat()
    with suppress(OSError):
        # Else the jobs' own user could not open what root, or somebody of the database's group, has made.
        os.fchown(file, of.st_uid if os.geteuid() == 0 else -1, of.st_gid)
    with suppress(OSError):
        os.fchmod(file, stat.S_IMODE(of.st_mode))
    return file


def hold_together(session: Session, table: Table, *, patience: float) -> Iterator[None]:
    """Run the loop's body, which locks rows, and then keep other writers out of a table until the transaction ends.

    On PostgreSQL a writer may hold the table already and want the rows next. It must never be the victim of a
    deadlock, so the table is waited for less than `deadlock_timeout` (1 s); then everything is let go and the body
    runs again, until `patience` (seconds) is over. On SQLite there is one writer at a time anyway.

    Raises sqlalchemy.exc.OperationalError when the table cannot be had.
    """
    if session.get_bind().dialect.name == "sqlite":
        yield
        return
    lock = text(f"LOCK TABLE {table.name} IN SHARE ROW EXCLUSIVE MODE")
    set_patience = text("SELECT set_config('lock_timeout', :value, true)")
    end = time.monotonic() + patience
    while True:
        savepoint = session.begin_nested()
        yield
        try:
            session.execute(set_patience, {"value": "500ms"})
            session.execute(lock)
            session.execute(set_patience, {"value": f"{int(patience)}s"})
            savepoint.commit()
            return
        except OperationalError as error:
            if getattr(error.orig, "sqlstate", "") != "55P03" or time.monotonic() > end:
                raise
            savepoint.rollback()


@contextmanager
def translated() -> Iterator[None]:
    """Turn the database's errors inside the block into ours."""
    try:
        yield
    except DBAPIError as error:
        raise meaning(error) from error


def meaning(error: DBAPIError) -> KibrayOpsError:
    """Return what an error of the database means to the person who ran the command."""
    cause = error.orig
    if isinstance(cause, sqlite3.Error):
        return _sqlite_meaning(cause)
    state = getattr(cause, "sqlstate", None) or ""
    words = _words(cause)
    if state == "55P03":
        return RowsLocked()
    if state == "57014":
        return TimeLimitReached()
    if state in ("40001", "40P01") or state.startswith(("08", "57P")) or error.connection_invalidated:
        return TransientError(f"The database gave up on the transaction: {words}.")
    if state == "42501":
        return PermissionMissing(f"The database role lacks a privilege: {words}.")
    if state == "53100":
        return KibrayOpsError(f"The database has no room: {words}.", hint=NO_ROOM)
    if state == "25006":
        return WriteRefused(f"The database is read-only: {words}.")
    return DatabaseRefused(f"The database refused: {words}.")


def _sqlite_meaning(cause: sqlite3.Error) -> KibrayOpsError:
    words = str(cause)
    code = getattr(cause, "sqlite_errorcode", 0) & 0xFF
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return RowsLocked("Another program holds the database file.")
    if code == sqlite3.SQLITE_INTERRUPT:
        return TimeLimitReached()
    if code in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR):
        return KibrayOpsError(f"The database file cannot be written: {words}.", hint=NO_ROOM)
    if code == sqlite3.SQLITE_NOTADB:
        return ConfigurationError("The file is not a SQLite database.", hint="Correct DATABASE_URL.")
    if code == sqlite3.SQLITE_READONLY:
        return WriteRefused(
            "The database file is read-only.", hint="The user that runs kibray-ops must be able to write it."
        )
    if code in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM):
        return ConfigurationError(
            f"The database file cannot be used: {words}.",
            hint="The user that runs kibray-ops must be able to write the file and its directory.",
        )
    return DatabaseRefused(f"The database refused: {words}.")


def _not_connected(error: DBAPIError) -> KibrayOpsError:
    if isinstance(error.orig, sqlite3.Error):
        return _sqlite_meaning(error.orig)
    words = _words(error.orig)
    if "invalid connection option" in words or "invalid URI" in words:
        return ConfigurationError(
            f"DATABASE_URL says something that PostgreSQL does not know: {words}.",
            hint="Take that option out of the URL.",
        )
    refused = ("authentication failed", "does not exist", "no pg_hba.conf entry", "not permitted to log in")
    if any(reason in words for reason in refused):
        return ConfigurationError(
            f"The database server refuses the login: {words}.",
            hint="Correct the user, password or database name in DATABASE_URL.",
        )
    return DatabaseUnreachable(f"The database server does not answer: {words}.")


def _words(cause: Any) -> str:
    """Return the first line of what the database said."""
    primary = getattr(getattr(cause, "diag", None), "message_primary", None)
    lines = (primary or str(cause)).strip().splitlines()
    return lines[0].strip().rstrip(".") if lines else type(cause).__name__
