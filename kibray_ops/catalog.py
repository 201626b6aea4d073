"""What the connected database holds: which of Kibray's tables and columns, and which revision of our own.

Kibray is in use in several schema versions, so nothing later than the oldest one is ever assumed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import ColumnElement, Connection, Table, TableClause, literal_column, null, select, text
from sqlalchemy import column as column_clause
from sqlalchemy import table as table_clause
from sqlmodel import SQLModel, col

from kibray_ops.clock import show_the_same
from kibray_ops.errors import ConfigurationError, TablesMissing, TablesOutdated
from kibray_ops.models.kibray.base import Kibray
from kibray_ops.models.operations import HEAD, KNOWN_REVISIONS, VERSION_TABLE, Operations, State
from kibray_ops.registry import Job

ONE: ColumnElement[int] = literal_column("1")
"""What EXISTS selects: a star would need a privilege on every column."""

# One statement for the whole catalog: table, column, and whether an INSERT has to name it.
_COLUMNS = {
    "postgresql": text(
        """
        SELECT c.relname, a.attname,
               a.attnotnull AND NOT a.atthasdef AND a.attidentity = '' AS required
        FROM pg_catalog.pg_class AS c
        JOIN pg_catalog.pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
        WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND pg_catalog.pg_table_is_visible(c.oid)
          AND a.attgenerated = '' -- nor does SQLite tell of those
          AND (c.relname LIKE 'core\\_%' OR c.relname LIKE 'auth\\_%' OR c.relname LIKE 'kibray\\_ops\\_%')
        """
    ),
    "sqlite": text(
        """
        SELECT t.name, c.name, c."notnull" AND c.dflt_value IS NULL AND NOT c.pk AS required
        FROM sqlite_master AS t JOIN pragma_table_info(t.name) AS c
        WHERE t.type IN ('table', 'view') AND t.name NOT LIKE 'sqlite\\_%' ESCAPE '\\'
        """
    ),
}


@dataclass(frozen=True)
class Catalog:
    """Hold the columns of every table: name → whether an INSERT must name it."""

    tables: Mapping[str, Mapping[str, bool]]
    revision: str | None
    """The revision of our own tables; None where they were never made."""

    def has(self, table: str, column: str | None = None) -> bool:
        """Tell whether a table, or a column of it, exists."""
        return table in self.tables and (column is None or column in self.tables[table])

    def optional(self, model: type[Kibray], name: str) -> ColumnElement[Any]:
        """Return a column that only some schema versions have, or NULL under its name where it does not exist."""
        (declared,) = (column for column in model.optional if column.name == name)
        if not self.has(table_of(model).name, name):
            return null().label(name)
        return literal_column(f"{table_of(model).name}.{name}", declared.type).label(name)

    def table(self, model: type[Kibray]) -> TableClause:
        """Return a model's table with those optional columns that exist here: for statements that write them."""
        mapped = table_of(model)
        there = (known for known in model.optional if self.has(mapped.name, known.name))
        columns = (column_clause(known.name, known.type) for known in (*mapped.columns, *there))
        return table_clause(mapped.name, *columns)

    def missing(self, table: Table) -> tuple[str, ...]:
        """Return the columns of a mapped table that the database lacks; the bare table name where all are missing."""
        if table.name not in self.tables:
            return (table.name,)
        return tuple(f"{table.name}.{c.name}" for c in table.columns if c.name not in self.tables[table.name])

    def unfilled(self, table: Table) -> tuple[str, ...]:
        """Return the columns that an INSERT must name and that we do not know: Kibray has moved on."""
        known = {column.name for column in table.columns}
        return tuple(
            f"{table.name}.{name}"
            for name, required in self.tables.get(table.name, {}).items()
            if required and name not in known
        )

    def require(self, job: Job) -> None:
        """Raise TablesMissing when the database lacks what a job needs."""
        mapped = Kibray.metadata.tables
        gaps: list[str] = []
        for name in (*job.tables, *filter(self.has, job.reads_later)):
            if name in mapped:
                gaps += self.missing(mapped[name])
            elif not self.has(name):
                gaps.append(name)
        if gaps and not any(self.has(name) for name in job.tables):
            raise TablesMissing(
                f"This is not Kibray's database: it has no table {gaps[0]}.",
                hint="Point DATABASE_URL at Kibray's database, or make one: `kibray-ops db init --standalone`.",
            )
        if gaps:
            raise TablesMissing(f"The database lacks {some(gaps)}.")
        strangers = [
            name
            for table, privileges in job.writes.items()
            if "INSERT" in privileges and table in mapped and table not in job.copies
            for name in self.unfilled(mapped[table])
        ]
        if strangers:
            raise TablesMissing(
                f"Kibray's {some(strangers)} must be filled, and this version does not know how.",
                hint="Nothing was written. Upgrade kibray-ops to a version that knows this Kibray.",
            )

    def require_own(self) -> None:
        """Raise TablesOutdated when our own tables are missing, older or newer than this program."""
        if self.revision == HEAD:
            if lost := [name for name in Operations.metadata.tables if not self.has(name)]:
                raise TablesOutdated(
                    f"The database has lost {some(lost)}, which `kibray-ops db init` had made.",
                    hint="Restore what is lost from a backup: without it nobody knows what was done and told before.",
                )
            return
        if self.revision is None:
            raise TablesOutdated(
                "kibray-ops has not been set up in this database.",
                hint="Run `kibray-ops db init` once; it adds the kibray_ops_* tables and touches no other.",
            )
        if self.revision in KNOWN_REVISIONS:
            raise TablesOutdated(
                f"kibray-ops's tables are older ({self.revision}) than the program ({HEAD}).",
                hint="Run `kibray-ops db init` to upgrade them.",
            )
        raise TablesOutdated(
            f"kibray-ops's tables are newer ({self.revision}) than the program ({HEAD}).",
            hint="Upgrade the program: `pip install --upgrade kibray-ops`.",
        )


def baseline(connection: Connection) -> datetime | None:
    """Return the moment of going live: what was before it is neither missed nor sent."""
    value = noted(connection, "baseline")
    try:
        return datetime.fromisoformat(value) if value else None
    except ValueError:
        raise ConfigurationError(
            "The baseline in kibray_ops_state is no moment.", hint="Set it anew: `kibray-ops runs baseline MOMENT`."
        ) from None


def require_zone(connection: Connection, zone: ZoneInfo, moment: datetime) -> None:
    """Raise ConfigurationError where the database's schedule keeps other times than ours: two hosts must agree."""
    kept = noted(connection, "zone")
    if kept is not None and not show_the_same(zone, kept, moment):
        raise ConfigurationError(
            f"The schedule of this database keeps the times of {kept}, and here TIMEZONE is {zone.key}.",
            hint=f"Set KIBRAY_OPS_TIMEZONE={kept}; if the business has moved, `kibray-ops runs baseline now` says so.",
        )


def noted(connection: Connection, key: str) -> str | None:
    """Return a fact about this installation."""
    value: str | None = connection.execute(select(col(State.value)).where(col(State.key) == key)).scalar()
    return value


def some(names: Sequence[str], *, between: str = ", ") -> str:
    """Return the first five names, and how many more there are."""
    return between.join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def table_of(model: type[SQLModel]) -> Table:
    """Return the table of a model class."""
    table: Table = model.__table__  # type: ignore[attr-defined]
    return table


def read_catalog(connection: Connection, *, own: bool = True) -> Catalog:
    """Read what the database holds; two statements at most.

    `own` False leaves out the revision of our own tables: a dry run needs no privilege on them.
    """
    tables: dict[str, dict[str, bool]] = {}
    for table, column, required in connection.execute(_COLUMNS[connection.dialect.name]):
        tables.setdefault(table, {})[column] = bool(required)
    revision = None
    if own and VERSION_TABLE in tables:
        revision = connection.execute(text(f"SELECT version_num FROM {VERSION_TABLE}")).scalar()  # noqa: S608 - our name
    return Catalog(tables, revision)
