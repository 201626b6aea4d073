"""Hand many rows to the database as one parameter: a JSON array that it takes apart itself.

One statement per 1,000 rows and a parameter for every cell, as SQLAlchemy would send them, costs the client more than
the server: 2,000 records of 26 columns took 0.7 s to put together and 0.1 s to insert.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Insert,
    Select,
    TableClause,
    Update,
    cast,
    column,
    func,
    insert,
    literal,
    select,
    true,
    update,
)
from sqlalchemy import Text as SQLText
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.sql.selectable import FromClause
from sqlalchemy.types import TypeEngine
from sqlmodel import Session

from kibray_ops.database import to_json
from kibray_ops.models.types import Moment, as_sqlite_text

Row = Mapping[str, Any]
ALL = true()


def given(session: Session, columns: Mapping[str, TypeEngine[Any]], rows: Sequence[Row]) -> FromClause:
    """Return rows of ours as something to select from or join with; every row has all the columns.

    Decimals, dates, moments and JSON values read as the columns' types store them.
    """
    is_sqlite = session.get_bind().dialect.name == "sqlite"
    if is_sqlite and (moments := [name for name, kind in columns.items() if isinstance(kind, Moment)]):
        rows = [{**row, **{name: as_sqlite_text(row[name]) for name in moments}} for row in rows]
    document = literal(to_json(rows), SQLText)
    if not is_sqlite:
        typed = [column(name, kind) for name, kind in columns.items()]
        return func.jsonb_to_recordset(cast(document, JSONB)).table_valued(*typed).render_derived(with_types=True)
    each = func.json_each(document).table_valued("value")
    cells = (
        func.json_extract(each.c.value, literal(f"$.{name}", SQLText), type_=kind).label(name)
        for name, kind in columns.items()
    )
    return select(*cells).subquery()


def among(session: Session, ids: Iterable[int]) -> Select[Any]:
    """Return ids of ours as something that a column can be in, however many they are."""
    return select(given(session, {"id": BigInteger()}, [{"id": key} for key in sorted(set(ids))]).c.id)


def insert_all(
    session: Session, table: TableClause, rows: Sequence[Row], same: Mapping[str, Any] | None = None
) -> Insert:
    """Return the INSERT of rows that all have the same keys; `same` holds the columns that are equal in all of them.

    Add `.returning(…)` as needed.
    """
    same = same or {}
    return insert(table).from_select([*rows[0], *same], _selected(session, table, rows, same))


def upsert(
    session: Session,
    table: TableClause,
    rows: Sequence[Row],
    *,
    key: Sequence[str],
    same: Mapping[str, Any] | None = None,
    where: Callable[[Any], ColumnElement[bool]] = lambda _: true(),
) -> Insert:
    """Return the INSERT of rows, as `insert_all` does, that updates those whose key is there.

    `where` gets the new row's columns and returns the condition under which a row that is there is changed.
    """
    same = same or {}
    names = [*rows[0], *same]
    engine = sqlite if session.get_bind().dialect.name == "sqlite" else postgresql
    statement: Any = engine.insert(table).from_select(names, _selected(session, table, rows, same))
    new = statement.excluded
    changed = {name: new[name] for name in names if name not in key}
    complete: Insert = statement.on_conflict_do_update(index_elements=list(key), set_=changed, where=where(new))
    return complete


def update_all(
    session: Session, table: TableClause, rows: Sequence[Row], *, key: Sequence[str], where: ColumnElement[bool] = ALL
) -> Update:
    """Return the UPDATE that gives rows that are there, by their key, the other values of rows of ours."""
    new = given(session, {name: table.c[name].type for name in rows[0]}, rows)
    values = {name: new.c[name] for name in rows[0] if name not in key}
    return update(table).where(*(table.c[name] == new.c[name] for name in key), where).values(values)


def _selected(session: Session, table: TableClause, rows: Sequence[Row], same: Mapping[str, Any]) -> Select[Any]:
    source = given(session, {name: table.c[name].type for name in rows[0]}, rows)
    constants = [literal(value, table.c[name].type) for name, value in same.items()]
    # SQLite reads ON CONFLICT behind a SELECT without WHERE as part of a join.
    return select(*source.c, *constants).where(true())
