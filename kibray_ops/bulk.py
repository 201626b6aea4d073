"""Insert many rows by one statement with one parameter: a JSON array that the database takes apart.

One statement per 1,000 rows and a parameter for every cell, as SQLAlchemy would send them, costs the client more than
the server: 2,000 records of 26 columns took 0.7 s to put together and 0.1 s to insert.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Insert, Table, cast, column, func, insert, literal, select
from sqlalchemy import Text as SQLText
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.sql.elements import ColumnElement
from sqlalchemy.sql.selectable import FromClause
from sqlmodel import Session

from kibray_ops.database import to_json


def insert_all(
    session: Session, table: Table, rows: Sequence[Mapping[str, Any]], same: Mapping[str, Any] | None = None
) -> Insert:
    """Return the INSERT of rows that all have the same keys; `same` holds the columns that are equal in all of them.

    Decimals, dates and JSON values are stored as the columns' types store them. Add `.returning(…)` as needed.
    """
    same = same or {}
    names = list(rows[0])
    source = _source(session, table, names, to_json(rows))
    constants = [literal(value, table.c[name].type) for name, value in same.items()]
    return insert(table).from_select([*names, *same], select(*source, *constants))


def _source(session: Session, table: Table, names: list[str], rows: str) -> list[ColumnElement[Any]]:
    if session.get_bind().dialect.name == "postgresql":
        typed = [column(name, table.c[name].type) for name in names]
        records: FromClause = (
            func.jsonb_to_recordset(cast(literal(rows, SQLText), JSONB))
            .table_valued(*typed, name="r")
            .render_derived(with_types=True)
        )
        return [records.c[name] for name in names]
    each = func.json_each(literal(rows, SQLText)).table_valued("value")
    return [func.json_extract(each.c.value, literal(f"$.{name}", SQLText)) for name in names]
