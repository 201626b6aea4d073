"""Hand many rows to the database as one parameter: a JSON array that it takes apart itself.

One statement per 1,000 rows and a parameter for every cell, as SQLAlchemy would send them, costs the client more than
the server: 2,000 records of 26 columns took 0.7 s to put together and 0.1 s to insert.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Insert, TableClause, cast, column, func, insert, literal, select
from sqlalchemy import Text as SQLText
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.sql.selectable import FromClause
from sqlalchemy.types import TypeEngine
from sqlmodel import Session

from kibray_ops.database import to_json

Row = Mapping[str, Any]


def given(session: Session, columns: Mapping[str, TypeEngine[Any]], rows: Sequence[Row]) -> FromClause:
    """Return rows of ours as something to select from or join with; every row has all the columns.

    Decimals, dates and JSON values read as the columns' types store them.
    """
    document = literal(to_json(rows), SQLText)
    if session.get_bind().dialect.name == "postgresql":
        typed = [column(name, kind) for name, kind in columns.items()]
        return func.jsonb_to_recordset(cast(document, JSONB)).table_valued(*typed).render_derived(with_types=True)
    each = func.json_each(document).table_valued("value")
    cells = (
        func.json_extract(each.c.value, literal(f"$.{name}", SQLText), type_=kind).label(name)
        for name, kind in columns.items()
    )
    return select(*cells).subquery()


def insert_all(
    session: Session, table: TableClause, rows: Sequence[Row], same: Mapping[str, Any] | None = None
) -> Insert:
    """Return the INSERT of rows that all have the same keys; `same` holds the columns that are equal in all of them.

    Add `.returning(…)` as needed.
    """
    same = same or {}
    source = given(session, {name: table.c[name].type for name in rows[0]}, rows)
    constants = [literal(value, table.c[name].type) for name, value in same.items()]
    return insert(table).from_select([*rows[0], *same], select(*source.c, *constants))
