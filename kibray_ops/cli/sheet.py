"""The lines of a report as a CSV file that spreadsheets open without ado."""

import csv
import io
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kibray_ops.errors import UsageError

SQLITE_MAGIC = b"SQLite format 3\0"


@dataclass
class Sheet:
    """A CSV file to be: its place was tried before the run began, so that the run's report is not lost."""

    path: Path

    @property
    def is_stdout(self) -> bool:
        """Tell whether the CSV takes the report's place on stdout."""
        return str(self.path) == "-"

    def write(self, columns: Mapping[str, str], rows: Sequence[Mapping[str, Any]]) -> None:
        """Write rows under the titles of `columns`. An existing file is replaced as a whole."""
        text = _as_csv(columns or {name: name for name in (rows[0] if rows else {})}, rows)
        if self.is_stdout:
            sys.stdout.write(text)
        elif self.path.exists() and not self.path.is_file():
            self.path.write_text(text, encoding="utf-8")  # a pipe or a device
        else:
            self._replace(text)

    def _replace(self, text: str) -> None:
        handle, name = tempfile.mkstemp(dir=self.path.parent, prefix=f".{self.path.name}.")
        # Excel takes UTF-8 for granted only behind a byte order mark.
        with os.fdopen(handle, "w", encoding="utf-8-sig", newline="") as file:
            file.write(text)
        umask = os.umask(0)
        os.umask(umask)
        Path(name).chmod(0o666 & ~umask)
        Path(name).replace(self.path)


def prepare(path: Path | None, *, as_json: bool, database: Path | None) -> Sheet | None:
    """Return the file to write, if one was asked for; raises UsageError when it cannot or must not be written."""
    if path is None:
        return None
    if str(path) != "-":
        path = path.resolve()  # through a link, not over it
    sheet = Sheet(path)
    if _is_database(path, database):
        raise UsageError(f"{path} is a database; the CSV file would replace it.", hint="Name another file.")
    if sheet.is_stdout and as_json:
        raise UsageError("--json and --csv - both want stdout.", hint="Name a file: --csv FILE.")
    if not sheet.is_stdout and (path.is_dir() or not os.access(path if path.exists() else path.parent, os.W_OK)):
        raise UsageError(
            f"The CSV file {path} cannot be written.", hint="Name a file in a directory that you may write."
        )
    return sheet


def _is_database(path: Path, database: Path | None) -> bool:
    """Tell whether a path is the database in use, a file that belongs to it, or any SQLite database."""
    if database is not None:
        database = database.resolve()
        if path.parent == database.parent and path.name.startswith(database.name):
            return True
    if not path.is_file() or not os.access(path, os.R_OK):
        return False
    with path.open("rb") as file:
        return file.read(len(SQLITE_MAGIC)) == SQLITE_MAGIC


def _as_csv(columns: Mapping[str, str], rows: Sequence[Mapping[str, Any]]) -> str:
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(columns.values())
    writer.writerows([_cell(row.get(name)) for name in columns] for row in rows)
    return text.getvalue()


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, list | tuple):
        return " ".join(str(part) for part in value)
    if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r"):
        return f"'{value}"  # a name must not become a formula
    return str(value)
