"""Name the values that nobody can read: a date in year 0, an infinite moment, text that is no UTF-8, NaN.

A database may hold more than a program can take: SQLite keeps anything in any column, PostgreSQL has dates before the
year 1 and numbers that are none. Nobody searches for them before the work, which would take longer than the work. When
it has failed as if one were there, the tables that it reads are looked through, and the value is told by its place.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from typing import Any, get_args, get_origin

from sqlalchemy import JSON, ColumnElement, Connection, Select, Table, TypeDecorator, func, select
from sqlalchemy.exc import DBAPIError, StatementError
from sqlmodel import SQLModel

from kibray_ops.catalog import Catalog, read_catalog, some, table_of
from kibray_ops.database import Database, translated
from kibray_ops.errors import DatabaseRefused, KibrayOpsError, UnreadableValue
from kibray_ops.models.kibray.base import Kibray
from kibray_ops.models.operations import Operations
from kibray_ops.registry import Job

FAILURES = (ArithmeticError, AttributeError, LookupError, RecursionError, StatementError, TypeError, ValueError)
"""What a value of another kind than expected may end in, wherever it gets to."""


@contextmanager
def legible(database: Database, job: Job | None = None) -> Iterator[None]:
    """Let a failure of the block name the unreadable value behind it, if what the job reads or ours hold one.

    What else the database refuses becomes an error of ours, as in `translated`.
    """
    try:
        with translated():
            yield
    except (*FAILURES, DatabaseRefused) as error:
        if found := _found(database, job):
            # Whatever stands there need not be the reason: what went wrong is told too.
            raise UnreadableValue(
                f"The database holds what cannot be read: {some(found, between='; ')}. "
                f"The work ended with: {type(error).__name__}: {_words(error)}."
            ) from error
        raise


@contextmanager
def reading(database: Database, job: Job | None = None) -> Iterator[Connection]:
    """Open a read-only connection for a block whose failures name what cannot be read."""
    with legible(database, job), database.connect(read_only=True) as connection:
        yield connection


def _found(database: Database, job: Job | None) -> list[str]:
    tables = {*Operations.metadata.tables, *((*job.tables, *job.reads_later) if job else ())}
    try:
        with database.connect(read_only=True) as connection:
            catalog = read_catalog(connection, own=False)
            models = (*Kibray.__subclasses__(), *Operations.__subclasses__())
            concerned = [model for model in models if table_of(model).name in tables]
            return [told for model in concerned for told in _in_table(connection, catalog, model)]
    except (DBAPIError, KibrayOpsError):
        return []  # the first failure tells more


def _in_table(connection: Connection, catalog: Catalog, model: type[SQLModel]) -> Iterator[str]:
    """Yield the first unreadable value of each column."""
    table = table_of(model)
    there = [column for column in table.columns if catalog.has(table.name, column.name)]
    later = []
    if issubclass(model, Kibray):
        later = [catalog.optional(model, c.name) for c in model.optional if catalog.has(table.name, c.name)]
    for column in (*there, *later):
        values = select(column).select_from(table).order_by(*table.primary_key)
        kind = _kind(model, column)
        if (why := _trouble(connection, values, kind)) is not None:
            place, why = _first(connection, table, values, kind, why)
            yield f"{table.name}.{column.name} in the row {_key(connection, table, place)} ({why})"


def _kind(model: type[SQLModel], column: ColumnElement[Any]) -> type:
    """Return what a column's values are in Python."""
    if not isinstance(column.type, JSON):
        stored = column.type.impl_instance if isinstance(column.type, TypeDecorator) else column.type
        return stored.python_type
    declared = model.model_fields[str(column.key)].annotation
    ours = next(
        (get_origin(kind) for kind in (declared, *get_args(declared)) if get_origin(kind) in (dict, list)), None
    )
    return ours or object  # Kibray's JSON may be anything


def _trouble(connection: Connection, values: Select[Any], expected: type) -> str | None:
    """Return why one of some values cannot be read; None where all can."""
    try:
        with connection.execute(values) as read:  # an open cursor would keep others from writing into SQLite
            for value in read.scalars():
                if not isinstance(value, expected | None):
                    return f"{type(value).__name__} in place of {expected.__name__}"
                if isinstance(value, Decimal) and not value.is_finite():
                    return "no number"
    except DBAPIError as error:
        return _words(error.orig or error)
    except FAILURES as error:
        return _words(error)
    return None


def _first(connection: Connection, table: Table, values: Select[Any], kind: type, why: str) -> tuple[int, str]:
    """Return the place of the first value that cannot be read, in the order of the keys, and why."""
    readable, unreadable = 0, connection.execute(select(func.count()).select_from(table)).scalar_one()
    while unreadable - readable > 1:
        middle = (readable + unreadable) // 2
        if (said := _trouble(connection, values.limit(middle), kind)) is None:
            readable = middle
        else:
            unreadable, why = middle, said
    return readable, why


def _key(connection: Connection, table: Table, place: int) -> str:
    keys = select(*table.primary_key).order_by(*table.primary_key).offset(place).limit(1)
    try:
        return " ".join(map(str, connection.execute(keys).one()))
    except (DBAPIError, *FAILURES):
        return f"number {place + 1}"  # it is the key that cannot be read


def _words(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [""])[0].rstrip(".") or type(error).__name__
