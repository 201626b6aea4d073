"""Column types that store values as Django stores them, so that both programs read each other's rows back equal.

PostgreSQL has native types for all of these. On SQLite, Django keeps moments as UTC text, decimals under a `decimal`
column (INTEGER or REAL inside) and JSON as text (FACTS.md; checked against Django 5.2). SQLAlchemy's own types differ
there: they drop the time zone, always write six fraction digits, and bind decimals as floats.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from sqlalchemy import JSON, BigInteger, ColumnElement, DateTime, Dialect, Integer, Numeric, Time
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.types import TypeDecorator, TypeEngine, UserDefinedType


def as_sqlite_text(moment: datetime | None) -> str | None:
    """Return a moment as Django stores it on SQLite."""
    return None if moment is None else moment.astimezone(UTC).replace(tzinfo=None).isoformat(sep=" ")


class _SQLiteMoment(UserDefinedType[datetime]):
    cache_ok = True

    def get_col_spec(self, **_: Any) -> str:
        return "datetime"

    def bind_processor(self, dialect: Dialect) -> Callable[[datetime | None], str | None]:
        return as_sqlite_text

    def result_processor(self, dialect: Dialect, coltype: object) -> Callable[[str | None], datetime | None]:
        def read(value: str | None) -> datetime | None:
            return None if value is None else datetime.fromisoformat(value).replace(tzinfo=UTC)

        return read


class Moment(TypeDecorator[datetime]):
    """Store an aware moment; come back as aware UTC.

    Raises ValueError for a naive datetime: what zone it is in would be a guess.
    """

    impl = DateTime
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        if dialect.name == "sqlite":
            return dialect.type_descriptor(_SQLiteMoment())
        return dialect.type_descriptor(DateTime(timezone=True))

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is not None and value.tzinfo is None:
            raise ValueError("a moment needs a time zone")
        return value

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return None if value is None else value.astimezone(UTC)


class _SQLiteDecimal(UserDefinedType[Decimal]):
    cache_ok = True

    def __init__(self, places: int) -> None:
        self.places = places

    def get_col_spec(self, **_: Any) -> str:
        return "decimal"

    def bind_processor(self, dialect: Dialect) -> Callable[[Decimal | None], str | None]:
        def bind(value: Decimal | None) -> str | None:
            return None if value is None else format(value, "f")

        return bind

    def result_processor(self, dialect: Dialect, coltype: object) -> Callable[[float | str | None], Decimal | None]:
        exponent = Decimal(1).scaleb(-self.places)

        def read(value: float | str | None) -> Decimal | None:
            try:
                return None if value is None else Decimal(str(value)).quantize(exponent)
            except InvalidOperation:
                return Decimal("NaN")  # a word, or beyond all amounts: what PostgreSQL would have in its place

        return read


class Amount(TypeDecorator[Decimal]):
    """Store a decimal with a fixed number of places, exact to 15 digits on SQLite and always on PostgreSQL."""

    impl = Numeric
    cache_ok = True

    def __init__(self, digits: int = 10, places: int = 2) -> None:
        super().__init__(digits, places)
        self.digits, self.places = digits, places

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        if dialect.name == "sqlite":
            return dialect.type_descriptor(_SQLiteDecimal(self.places))
        return dialect.type_descriptor(Numeric(self.digits, self.places))


LARGEST = Decimal("9999999999999.99")
"""More than the columns of amounts hold."""


def is_number(amount: ColumnElement[Any]) -> ColumnElement[bool]:
    """Return the condition for an amount that one can count with.

    PostgreSQL's may be NaN, which ranks above every number; SQLite's may be a word, which does too.
    """
    return amount.between(-LARGEST, LARGEST)


Document = (
    JSON(none_as_null=True)
    .with_variant(postgresql.JSONB(none_as_null=True), "postgresql")
    .with_variant(sqlite.JSON(none_as_null=True), "sqlite")
)
"""A JSON value; None is SQL NULL."""

ClockTime = Time().with_variant(
    sqlite.TIME(storage_format="%(hour)02d:%(minute)02d:%(second)02d"),  # type: ignore[no-untyped-call]
    "sqlite",
)
"""A wall-clock time without a zone, whole seconds."""

BigKey = BigInteger().with_variant(Integer, "sqlite")
"""A primary key: bigint on PostgreSQL, INTEGER PRIMARY KEY on SQLite."""
