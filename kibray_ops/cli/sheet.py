"""The lines of a report as a CSV file that spreadsheets open without ado."""

import csv
import io
import os
import re
import stat
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kibray_ops import files
from kibray_ops.errors import UsageError
from kibray_ops.text import printable

SQLITE_MAGIC = b"SQLite format 3\0"
FORMULA = tuple("=+-@\t\r\n＝＋－＠")
"""What a spreadsheet takes for the beginning of a formula; of some, also the wide forms."""


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
        # Wages are for whoever made the file: who lets others read it lets them read the next one too.
        mode = stat.S_IMODE(self.path.stat().st_mode) if self.path.exists() else files.PRIVATE
        # Excel takes UTF-8 for granted only behind a byte order mark.
        files.replace(self.path, text.encode("utf-8-sig"), mode)


def prepare(path: Path | None, *, as_json: bool, database: Path | None) -> Sheet | None:
    """Return the file to write, if one was asked for; raises UsageError when it cannot or must not be written."""
    if path is None:
        return None
    try:
        return _prepared(path, as_json=as_json, database=database)
    except (OSError, ValueError) as error:  # no path at all: too long, or with a NUL
        raise UsageError(
            f"The CSV file {printable(str(path))} cannot be written.", hint="Name another file."
        ) from error


def _prepared(path: Path, *, as_json: bool, database: Path | None) -> Sheet:
    if str(path) != "-":
        path = path.resolve()  # through a link, not over it
    sheet = Sheet(path)
    if _is_database(path, database):
        raise UsageError(
            f"{printable(str(path))} is a database; the CSV file would replace it.", hint="Name another file."
        )
    if sheet.is_stdout and as_json:
        raise UsageError("--json and --csv - both want stdout.", hint="Name a file: --csv FILE.")
    if not sheet.is_stdout and (path.is_dir() or not os.access(path if path.exists() else path.parent, os.W_OK)):
        raise UsageError(
            f"The CSV file {printable(str(path))} cannot be written.",
            hint="Name a file in a directory that you may write.",
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
    if not isinstance(value, str | list | tuple):
        return str(value)
    text = value if isinstance(value, str) else " ".join(str(part) for part in value)
    is_number = re.fullmatch(r"-\d+(\.\d+)?", text)
    return f"'{text}" if text.startswith(FORMULA) and not is_number else text  # a name must not become a formula
