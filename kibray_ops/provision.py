"""Set kibray-ops up in a database: make or upgrade our own tables, compare Kibray's with what we need, print GRANTs."""

from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from importlib import import_module, resources
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Table, text

from kibray_ops import files, registry
from kibray_ops.catalog import Catalog, noted, read_catalog
from kibray_ops.catalog import baseline as noted_baseline
from kibray_ops.database import Database, Lock, translated
from kibray_ops.errors import ConfigurationError, TablesMissing, UsageError
from kibray_ops.models.kibray.base import Kibray
from kibray_ops.models.operations import HEAD, VERSION_TABLE, Operations
from kibray_ops.registry import Job
from kibray_ops.settings import Settings

LATER_TABLES = tuple(table for job in registry.JOBS for table in job.reads_later)
"""Tables that only the later schema version of Kibray has."""


@dataclass(frozen=True)
class Initialised:
    """Tell what `init` did."""

    revision_before: str | None
    baseline: datetime
    kibray_tables_made: bool
    zone: str | None
    """Whose times the schedule keeps, on every host."""


def kibray_tables() -> dict[str, Table]:
    """Return every Kibray table that some job uses."""
    for module in ("people", "projects", "payroll", "invoices", "inventory", "work", "notifications"):
        import_module(f"kibray_ops.models.kibray.{module}")
    return dict(Kibray.metadata.tables)


def init(database: Database, *, standalone: bool, baseline: datetime | None, now: datetime) -> Initialised:
    """Make or upgrade our own tables and note the baseline, in one transaction.

    `standalone` also makes Kibray's tables, but only in an empty database. The baseline is noted once, and the zone
    with it; a given one moves both. Raises TablesMissing, UsageError and the database's errors.
    """
    if standalone and database.is_sqlite and not database.has_file:
        try:
            files.make_directory(database.path.parent)
            database.path.touch(mode=files.PRIVATE)
        except OSError as error:
            raise ConfigurationError(
                f"{database.path} cannot be made: {error.strerror}.", hint="Name another file in DATABASE_URL."
            ) from error
    with translated(), database.connect() as connection:
        if not database.is_sqlite:
            # Two at once: the second waits and finds the work done. On SQLite the write lock does the same.
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": Lock(database, "init").key})
        made = _kibray_tables(connection, standalone=standalone)
        before = read_catalog(connection).revision
        _upgrade(connection)
        live = _note_baseline(connection, baseline, now)
        if baseline is not None or noted(connection, "zone") is None:
            _note_zone(connection, database.settings)
        zone = noted(connection, "zone")
        connection.commit()
    return Initialised(before, live, made, zone)


def _kibray_tables(connection: Connection, *, standalone: bool) -> bool:
    from sqlalchemy import inspect

    present = set(inspect(connection).get_table_names())
    strangers = {name for name in present if not name.startswith("kibray_ops_")}
    if "core_employee" in present:
        return False
    if not standalone:
        raise TablesMissing(
            "This is not Kibray's database: it has no table core_employee.",
            hint="Correct DATABASE_URL, or add --standalone to make an empty database of its own.",
        )
    if strangers:
        raise UsageError(
            f"The database is not empty: it has a table {min(strangers)}.",
            hint="--standalone works only in an empty database; nothing was made.",
        )
    for table in kibray_tables().values():
        table.dialect_options["sqlite"]["autoincrement"] = True  # an id is never given out twice, as with Django
    Kibray.metadata.create_all(connection)
    for mapper in Kibray.__subclasses__():
        own: Table = mapper.__table__  # type: ignore[attr-defined]
        for column in mapper.optional:
            if column.name in _OLD_COLUMNS:
                continue
            kind = column.type.compile(connection.dialect)
            rule = "" if column.nullable else f" NOT NULL DEFAULT {_default(column.type)}"
            connection.execute(text(f"ALTER TABLE {own.name} ADD COLUMN {column.name} {kind}{rule}"))
    return True


_OLD_COLUMNS = ("is_paid",)
"""Optional columns that the later schema version has dropped."""


def _default(kind: Any) -> str:
    return "false" if kind.python_type is bool else "0"


def _upgrade(connection: Connection) -> None:
    from alembic import command
    from alembic.config import Config

    config = Config()
    with resources.as_file(resources.files("kibray_ops.migrations")) as directory:
        config.set_main_option("script_location", str(Path(directory)).replace("%", "%%"))
        config.attributes["connection"] = connection
        command.upgrade(config, HEAD)


def _note_baseline(connection: Connection, baseline: datetime | None, now: datetime) -> datetime:
    if baseline is None and (held := noted_baseline(connection)):
        return held
    moment = baseline or now
    _note(connection, "baseline", moment.isoformat())
    return moment


def _note_zone(connection: Connection, settings: Settings) -> None:
    """Note whose times the schedule keeps, for the hosts to come; a zone that is only this machine's says nothing."""
    if settings.has_chosen_zone:
        _note(connection, "zone", settings.zone.key)


def _note(connection: Connection, key: str, value: str) -> None:
    connection.execute(text("DELETE FROM kibray_ops_state WHERE key = :key"), {"key": key})
    statement = text("INSERT INTO kibray_ops_state (key, value) VALUES (:key, :value)")
    connection.execute(statement, {"key": key, "value": value})


@dataclass(frozen=True)
class Gap:
    """One table or column that is missing, and the commands that do not work without it."""

    name: str
    commands: tuple[str, ...]
    note: str = ""


def gaps(catalog: Catalog) -> list[Gap]:
    """Return what the database lacks of Kibray's tables, and columns that we would not know how to fill."""
    tables = kibray_tables()
    optional = {column.name for model in Kibray.__subclasses__() for column in model.optional}
    found: list[Gap] = []
    for name in sorted(name for name in tables if name not in LATER_TABLES or catalog.has(name)):
        users = _users(name)
        found += [Gap(missing, _commands(users)) for missing in catalog.missing(tables[name])]
        writers = _commands([job for job in users if "INSERT" in job.writes.get(name, "") and name not in job.copies])
        for stranger in catalog.unfilled(tables[name]):
            if writers and stranger.rpartition(".")[2] not in optional:
                found.append(Gap(stranger, writers, "must be filled, and this version does not know how"))
    return found


def _users(table: str) -> list[Job]:
    jobs = (*registry.JOBS, *registry.ACTIONS, *registry.REPORTS)
    return [job for job in jobs if table in (*job.tables, *job.reads_later)]


def _commands(jobs: list[Job]) -> tuple[str, ...]:
    return tuple(" ".join(job.command) for job in jobs)


@dataclass(frozen=True)
class Need:
    """A privilege that the jobs need on a table; on some columns only, where they are named."""

    table: str
    privilege: str
    columns: tuple[str, ...] = ()


def needs(catalog: Catalog | None = None) -> list[Need]:
    """Return the privileges of a role that runs all jobs and may do nothing else.

    Only the columns that are read can be read: never `password`, never `social_security_number`. Notifications are
    archived with all their columns. With a catalog, what the database does not have is left out.
    """
    found: list[Need] = []
    for name, table in sorted(kibray_tables().items()):
        optional = [c.name for m in Kibray.__subclasses__() if m.__tablename__ == name for c in m.optional]
        columns = [column.name for column in table.columns] + optional
        if catalog is not None:
            columns = [column for column in columns if catalog.has(name, column)]
        if not columns:
            continue
        whole = any(name in job.copies for job in _users(name))
        found.append(Need(name, "SELECT", () if whole else tuple(columns)))
        writes = {p.strip() for job in _users(name) for p in job.writes.get(name, "").split(",") if p.strip()}
        found += [Need(name, privilege) for privilege in sorted(writes)]
    own = ("SELECT", "INSERT", "UPDATE", "DELETE")
    found += [Need(name, privilege) for name in sorted(Operations.metadata.tables) for privilege in own]
    return [*found, Need(VERSION_TABLE, "SELECT")]


@dataclass(frozen=True)
class Place:
    """A PostgreSQL database, and the schemas in it that hold the tables."""

    database: str
    schemas: tuple[str, ...]


GRANTS_HEAD = """\
-- What kibray-ops needs, and no more. Run as the owner of Kibray's tables, who also has to run `kibray-ops db init`:
-- only the owner can make and upgrade the kibray_ops_* tables. Run this again after an upgrade."""


def grants(role: str, catalog: Catalog | None = None, place: Place | None = None) -> str:
    """Return the GRANT statements for a role that runs all jobs and may do nothing else.

    With a catalog and a place, those for just this database.
    """
    name = _quoted(role)
    together: dict[tuple[str, bool], list[str]] = {}
    for need in needs(catalog):
        listed = f" ({', '.join(need.columns)})" if need.columns else ""
        of_kibray_read = need.privilege == "SELECT" and need.table in kibray_tables()
        together.setdefault((need.table, of_kibray_read), []).append(need.privilege + listed)
    lines = [f"GRANT {', '.join(privileges)} ON {table} TO {name};" for (table, _), privileges in together.items()]
    if place is not None:
        schemas = ", ".join(map(_quoted, place.schemas))
        # Everybody has these, unless somebody has taken them from PUBLIC.
        lines = [
            f"GRANT CONNECT ON DATABASE {_quoted(place.database)} TO {name};",
            *([f"GRANT USAGE ON SCHEMA {schemas} TO {name};"] if schemas else []),
            *lines,
        ]
    return "\n".join((GRANTS_HEAD, *lines)) + "\n"


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def place_of(connection: Connection) -> Place:
    """Return where a PostgreSQL database has the tables that are ours to use, and ours."""
    schemas = text(
        "SELECT DISTINCT n.nspname FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n "
        "ON n.oid = c.relnamespace WHERE pg_catalog.pg_table_is_visible(c.oid) AND c.relname = ANY(:names) ORDER BY 1"
    )
    found = connection.execute(schemas, {"names": [need.table for need in needs()]}).scalars().all()
    return Place(connection.execute(text("SELECT current_database()")).scalar_one(), tuple(found))


def move_baseline(database: Database, moment: datetime) -> datetime | None:
    """Move the moment of going live, from which on the schedule keeps our times, and return where it was."""
    with translated(), database.connect() as connection:
        read_catalog(connection).require_own()
        before = None
        with suppress(ConfigurationError):  # one that nobody can read is replaced
            before = noted_baseline(connection)
        _note_baseline(connection, moment, moment)
        _note_zone(connection, database.settings)
        connection.commit()
    return before
