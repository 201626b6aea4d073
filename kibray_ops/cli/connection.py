"""A connection for operators' commands: to look, or to write into our own tables."""

from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection

    from kibray_ops.registry import Job
    from kibray_ops.settings import Settings


@contextmanager
def connected(found: "Settings", report: "Job | None" = None) -> "Iterator[Connection]":
    """Open a read-only connection to a database that has our tables, and what a report needs of Kibray's."""
    from kibray_ops.catalog import read_catalog
    from kibray_ops.database import Database
    from kibray_ops.legible import reading

    with reading(Database(found), report) as connection:
        catalog = read_catalog(connection)
        if report is not None:
            catalog.require(report)
        catalog.require_own()
        yield connection


@contextmanager
def showing(found: "Settings", report: "Job | None" = None) -> "Iterator[None]":
    """Let what cannot be shown name the value behind it; no connection is held while somebody reads."""
    from kibray_ops.database import Database
    from kibray_ops.legible import legible

    with legible(Database(found), report):
        yield


@contextmanager
def writing(found: "Settings") -> "Iterator[Connection]":
    """Open a connection to a database that has our tables; what was written is committed at the end of the block."""
    from kibray_ops.catalog import read_catalog
    from kibray_ops.database import Database
    from kibray_ops.legible import legible

    database = Database(found)
    with legible(database), database.connect() as connection:
        read_catalog(connection).require_own()
        yield connection
        connection.commit()
