"""Whether the database is there, holds what the jobs need, and lets them do it; and how each job stands."""

import os
from collections.abc import Iterable, Iterator
from datetime import timedelta
from itertools import chain

from sqlalchemy import Connection, text

from kibray_ops import history, host, provision
from kibray_ops.catalog import Catalog, read_catalog, require_zone, some
from kibray_ops.clock import Clock, real_now
from kibray_ops.database import Database
from kibray_ops.doctor.finding import Finding, ok, problem, sentence, warning, wrong
from kibray_ops.errors import KibrayOpsError
from kibray_ops.legible import reading
from kibray_ops.models.operations import DONE
from kibray_ops.settings import Settings
from kibray_ops.standing import standings

OLDEST_POSTGRESQL = 13
OLDEST_SQLITE = (3, 35, 0)
"""The first that knows RETURNING."""
ANY = "*"
"""Stands for any column of a table."""
LATELY = timedelta(hours=2)
"""Long enough for the hourly job."""
SLIGHTLY_OFF, FAR_OFF = timedelta(seconds=5), timedelta(minutes=1)


def database(settings: Settings) -> Iterator[Finding]:
    """Yield what is found in the database."""
    at = Database(settings)
    found: list[Finding] = []
    try:
        with reading(at) as connection:
            # All at once: a reader that stops in between must not keep the connection.
            for finding in chain(_server(connection), _tables(connection, at, settings)):
                found.append(finding)
    except KibrayOpsError as error:
        found.append(wrong("database", error))
    yield from found


def started_elsewhere(settings: Settings) -> str | None:
    """Return which schedule has started a job lately, if one has and the database tells."""
    clock = Clock(settings.zone)
    try:
        at = Database(settings)
        with reading(at) as connection:
            read_catalog(connection).require_own()
            run = history.last_scheduled(connection, clock.now() - LATELY)
    except KibrayOpsError:
        return None  # whatever that was is found further down
    if run is None:
        return None
    return f"{run['job']} was started on {run['host']} at {clock.local(run['started_at']):%H:%M}"


def _server(connection: Connection) -> Iterable[Finding]:
    if connection.dialect.name == "sqlite":
        connection.execute(text("SELECT count(*) FROM sqlite_master"))  # the version alone reads no file
        version = tuple(map(int, connection.execute(text("SELECT sqlite_version()")).scalar_one().split(".")))
        words = f"SQLite {'.'.join(map(str, version))}"
        enough = version >= OLDEST_SQLITE
    else:
        number = int(connection.execute(text("SHOW server_version_num")).scalar_one())
        words, enough = f"PostgreSQL {number // 10_000}.{number % 10_000}", number // 10_000 >= OLDEST_POSTGRESQL
    yield (
        ok("database", f"{words} answers")
        if enough
        else problem("database", f"{words} is too old", "PostgreSQL 13 or SQLite 3.35 is the least.")
    )
    if connection.dialect.name != "sqlite":
        yield _clocks(connection)


def _clocks(connection: Connection) -> Finding:
    before = real_now()
    theirs = connection.execute(text("SELECT clock_timestamp()")).scalar_one()
    off = abs(theirs - (before + (real_now() - before) / 2))
    words = f"this machine's clock and the database's differ by {off.total_seconds():.1f} s"
    if off < SLIGHTLY_OFF:
        return ok("clock", words)
    hint = "Keep both on time: `timedatectl set-ntp true`."
    return problem("clock", words, hint) if off >= FAR_OFF else warning("clock", words, hint)


def _tables(connection: Connection, database: Database, settings: Settings) -> Iterable[Finding]:
    catalog = read_catalog(connection)
    gaps = provision.gaps(catalog)
    for gap in gaps:
        words = f"{gap.name} {gap.note or 'is missing'}: {', '.join(gap.commands) or 'nothing'} cannot work"
        yield problem(
            "Kibray's tables", words, "Restore it, or upgrade kibray-ops to a version that knows this Kibray."
        )
    if not gaps:
        yield ok("Kibray's tables", "have everything that the jobs need")
    try:
        catalog.require_own()
    except KibrayOpsError as error:
        yield wrong("own tables", error)
        return
    yield ok("own tables", f"are at revision {catalog.revision}")
    try:
        require_zone(connection, settings.zone, real_now())
    except KibrayOpsError as error:
        yield wrong("time zone", error)
    yield from _privileges(connection, catalog) if connection.dialect.name == "postgresql" else _file(database)
    yield from _jobs(connection, settings)


def _file(database: Database) -> Iterable[Finding]:
    for path in (database.path, database.path.parent):
        if not os.access(path, os.W_OK):
            yield problem("privileges", f"{path} cannot be written", f"Let {host.user_name()} write it.")
            return
    yield ok("privileges", f"{database.path} and its directory can be written")


def _privileges(connection: Connection, catalog: Catalog) -> Iterable[Finding]:
    """Compare what the role may with what the jobs need: nothing less, and never more."""
    needed = [(n.table, n.privilege, column) for n in provision.needs(catalog) for column in (n.columns or ("",))]
    secrets = (("auth_user", "password"), ("core_employee", "social_security_number"))
    needless = [(table, "SELECT", column) for table, column in secrets if catalog.has(table, column)]
    needless += [
        (table, privilege, ANY if privilege in ("INSERT", "UPDATE") else "")
        for table in provision.kibray_tables()
        if catalog.has(table)
        for privilege in ("INSERT", "UPDATE", "DELETE", "TRUNCATE")
        if (table, privilege, "") not in needed
    ]
    # A privilege on a table is one on each of its columns.
    asked = text(
        """
        SELECT t, p, c FROM unnest(CAST(:tables AS text[]), CAST(:privileges AS text[]), CAST(:columns AS text[]))
            AS wanted(t, p, c)
        WHERE CASE c WHEN '' THEN has_table_privilege(t, p) WHEN '*' THEN has_any_column_privilege(t, p)
            ELSE has_column_privilege(t, c, p) END
        """
    )
    tables, privileges, columns = ([*part] for part in zip(*needed, *needless, strict=True))
    given = {"tables": tables, "privileges": privileges, "columns": columns}
    held = {tuple(row) for row in connection.execute(asked, given)}
    role = connection.execute(text("SELECT current_user")).scalar_one()
    lacking = list(dict.fromkeys(f"{p} on {t}" for t, p, c in needed if (t, p, c) not in held))
    excess = [f"{p} on {t}{f'.{c}' if c not in ('', ANY) else ''}" for t, p, c in needless if (t, p, c) in held]
    if lacking:
        hint = f"Run what `kibray-ops db grants {role}` prints."
        yield problem("privileges", f"the role {role} lacks {some(lacking)}", hint)
    if excess:
        yield warning(
            "privileges",
            f"the role {role} may do more than it needs: {some(excess)}",
            "Use a role of its own, with what `kibray-ops db grants ROLE` prints and nothing else.",
        )
    if not lacking and not excess:
        yield ok("privileges", f"the role {role} may do what the jobs need, and no more")


def _jobs(connection: Connection, settings: Settings) -> Iterable[Finding]:
    clock = Clock(settings.zone)
    for standing in standings(connection, settings, clock):
        name, last = standing.job.name, standing.last
        soon = f"next {clock.local(standing.next.moment):%a %Y-%m-%d %H:%M}"
        if standing.is_late:
            yield problem(name, f"late: {standing.why_late(clock)}", sentence(standing.hint(clock)))
        elif standing.waits_until is not None:
            live = f"the baseline is to come: {clock.local(standing.waits_until):%Y-%m-%d %H:%M}"
            yield warning(name, live, "`kibray-ops runs baseline now` lets it run from now on.")
        elif standing.pause is not None:
            until = standing.pause.until
            words = f"paused until {clock.local(until):%Y-%m-%d %H:%M}" if until else "paused"
            yield warning(name, words, f"`kibray-ops jobs resume {name}` ends the pause.")
        elif standing.running is not None:
            yield ok(name, f"is running, run {standing.running['id']}")
        elif last is None:
            yield ok(name, f"has not run yet; {soon}")
        elif last["status"] not in DONE:
            yield warning(
                name,
                f"run {last['id']} {last['status'].replace('_', ' ')}",
                f"`kibray-ops runs show {last['id']}` tells why.",
            )
        else:
            yield ok(name, f"{last['status']} {clock.local(last['started_at']):%a %Y-%m-%d %H:%M}; {soon}")
