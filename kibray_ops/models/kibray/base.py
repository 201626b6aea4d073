"""What all Kibray tables share."""

from typing import Any, ClassVar

from sqlalchemy import Column, ForeignKey, Identity, MetaData
from sqlmodel import Field, SQLModel

from kibray_ops.models.types import Amount, BigKey, Document, Moment


class Kibray(SQLModel):
    """Base of Kibray's tables; they are created only in an empty database (`db init --standalone`)."""

    model_config = {"defer_build": True}  # tables only describe: pydantic's validators would take their time to make
    metadata: ClassVar[MetaData] = MetaData()
    optional: ClassVar[list[Column[Any]]] = []
    """Columns that only the later schema version has."""


def key() -> Any:
    """Return a primary key."""
    return Field(default=None, sa_column=Column(BigKey, Identity(), primary_key=True))


def reference(target: str, *, null: bool = False, unique: bool = False) -> Any:
    """Return a foreign key to `table.column`; checked at the commit, as Django declares it."""
    link = ForeignKey(target, deferrable=True, initially="DEFERRED")
    column: Column[int] = Column(BigKey, link, nullable=null, unique=unique)
    return Field(default=None, sa_column=column) if null else Field(sa_column=column)


def amount(digits: int = 10, places: int = 2, *, null: bool = False) -> Any:
    """Return a decimal column."""
    column: Column[Any] = Column(Amount(digits, places), nullable=null)
    return Field(default=None, sa_column=column) if null else Field(sa_column=column)


def moment(*, null: bool = False) -> Any:
    """Return a moment column."""
    column: Column[Any] = Column(Moment, nullable=null)
    return Field(default=None, sa_column=column) if null else Field(sa_column=column)


def document(*, null: bool = False) -> Any:
    """Return a JSON column."""
    column: Column[Any] = Column(Document, nullable=null)
    return Field(default=None, sa_column=column) if null else Field(sa_column=column)
