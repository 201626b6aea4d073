"""The env file: settings as lines of NAME=value. Only python-dotenv is imported, when there is a file to read."""

import io
import stat
from pathlib import Path

from kibray_ops.text import is_plain, printable

MOST_READ = 2**20
"""Bytes of an env file: settings are a few lines, and whatever is longer is none (or a device without an end)."""


def shown(path: Path) -> str:
    """Return a path on one line, as it may be printed."""
    return str(path) if is_plain(str(path)) else printable(str(path))


def read(path: Path, *, must_exist: bool, problems: list[str], warnings: list[str]) -> dict[str, str]:
    """Return the names and values of an env file, and add what is wrong with it to the problems and warnings.

    The text of a line is never told: it may be a secret.
    """
    name = shown(path)
    try:
        mode = path.stat().st_mode
        with path.open("rb") as file:
            content = file.read(MOST_READ + 1)
        text = content.decode()
    except (FileNotFoundError, NotADirectoryError):
        if must_exist:
            problems.append(f"the env file {name} does not exist")
        return {}
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        problems.append(f"the env file {name} cannot be read: {reason}")
        return {}
    if len(content) > MOST_READ:
        problems.append(f"the env file {name} cannot be read: it is longer than a MiB")
        return {}
    if mode & (stat.S_IRGRP | stat.S_IROTH):
        warnings.append(f"{name} can be read by others: chmod 600 {name}")
    from dotenv.parser import parse_stream

    found: dict[str, str] = {}
    for binding in parse_stream(io.StringIO(text)):
        if binding.error:
            problems.append(f"{name}, line {binding.original.line}: not of the form NAME=value")
        elif binding.key is not None:
            found[binding.key] = binding.value or ""
    return found
