"""Random books: how many are drawn, and how they get into a database quickly."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from hypothesis import HealthCheck, settings

from tests.world import SCHEMA, World, empty

EXAMPLES, LONG = 200, 20_000
"""People or invoices that each property sees in the normal run, and with --long."""
ON_SERVER = 8
"""One of so many examples is tried on PostgreSQL too."""


def drawn(world: World, each: int, *, long: bool) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Draw so many books that the engine sees its share of examples, where a book has at least `each` of them.

    The normal run draws the same books every time, so that it fails for who broke something; --long draws new ones.
    """
    examples = LONG if long else EXAMPLES
    if world.engine == "postgresql":
        examples //= ON_SERVER
    return settings(
        max_examples=max(examples // each, 1),
        derandomize=not long,
        database=None,
        deadline=None,
        report_multiple_bugs=False,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )


def fill(world: World, tables: Mapping[str, Iterable[Mapping[str, Any]]], *, anew: Iterable[str] = ()) -> None:
    """Empty some tables, then add rows as the application does, all in one transaction.

    Every row of a table gives the same columns; the other NOT NULL ones are filled.
    """
    with world.connect() as connection:
        connection.execute("BEGIN")
        for table in anew:
            connection.execute(f"DELETE FROM {table}")
        for table, rows in tables.items():
            columns = {column["name"]: column for column in SCHEMA[world.version][table]["columns"]}
            filled = {
                name: empty(column["postgresql"], table, name)
                for name, column in columns.items()
                if not column["null"] and name != "id"
            }
            values = [{**filled, **row} for row in rows]
            if not values:
                continue
            mark = "?" if world.engine == "sqlite" else "%s"
            names, marks = ", ".join(values[0]), ", ".join(mark for _ in values[0])
            connection.cursor().executemany(
                f"INSERT INTO {table} ({names}) VALUES ({marks})",
                [[world.bound(value) for value in row.values()] for row in values],
            )
        connection.execute("COMMIT")
