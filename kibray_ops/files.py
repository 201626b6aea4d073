"""Files that are there as a whole or not at all, with the mode that they are to have."""

import os
import tempfile
from contextlib import suppress
from pathlib import Path

PRIVATE = 0o600
FOR_ALL = 0o644
OWN, OPEN = 0o700, 0o755
"""The same for directories."""


def beside(path: Path, content: bytes, mode: int = PRIVATE) -> Path:
    """Write what a file is to hold into a new one beside it, and return that; raises OSError.

    Its name is nobody's guess: where others may write too, no link of theirs can lead the content elsewhere.
    """
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".kibray-ops.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            os.fchmod(file.fileno(), mode)
    except BaseException:
        discard(Path(name))
        raise
    return Path(name)


def replace(path: Path, content: bytes, mode: int = PRIVATE) -> None:
    """Write a file as a whole, over the one of that name, whose owner and group it gets; raises OSError."""
    unfinished = beside(path, content, mode)
    try:
        if path.exists():
            _give(unfinished, path.stat(), mode)
        unfinished.replace(path)
    except BaseException:
        discard(unfinished)
        raise


def _give(path: Path, old: os.stat_result, mode: int) -> None:
    try:
        os.chown(path, old.st_uid, old.st_gid)
    except PermissionError:
        if path.stat().st_gid != old.st_gid:
            path.chmod(mode & ~0o070)  # what one group may read is not for another


def discard(path: Path) -> None:
    """Delete a file that is not wanted, if it is there."""
    with suppress(OSError):
        path.unlink(missing_ok=True)


def make_directory(path: Path, mode: int = OWN) -> None:
    """Make a directory, and those above it where they are missing; raises OSError."""
    for missing in reversed([above for above in path.parents if not above.exists()]):
        missing.mkdir(mode, exist_ok=True)
    path.mkdir(mode, exist_ok=True)
