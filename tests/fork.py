"""Run `kibray-ops` in a process of its own that need not import everything anew.

Nine tenths of a command's second are imports. Here a server imports once, and each command is a fork of it: with an
environment, a directory, streams and an exit code of its own. What is about starting, terminals or signals, or about
what is imported, starts Python itself: `World.command`.
"""

import multiprocessing
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from multiprocessing import forkserver
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext
from pathlib import Path
from threading import Timer
from unittest.mock import patch

PRELOADED = [
    "alembic.command", "croniter", "email.message", "httpx", "jinja2", "kibray_ops.cli.app", "logging.config",
    "phonenumbers", "psycopg", "rich.table", "smtplib", "sqlalchemy.dialects.postgresql.psycopg",
    "sqlalchemy.dialects.sqlite", "sqlalchemy.orm", "sqlmodel", "tenacity", "tzlocal",
]  # fmt: skip
"""What others wrote, and the beginning of ours. A command imports its jobs and tables itself: it must know them all."""


@cache
def _server() -> ForkServerContext:
    """Start the server in the environment of a command, so that its locale and encodings are those of a command."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    with patch.dict(os.environ, {"PATH": os.environ["PATH"]}, clear=True):
        forkserver.ensure_running()
    return context


class Fork:
    """A command that is under way, with what the tests need of `subprocess.Popen`."""

    def __init__(self, words: tuple[str, ...], environ: Mapping[str, str], directory: Path) -> None:
        assert not any(name.startswith(("PYTHON", "LANG", "LC_")) for name in environ), "Python reads that as it starts"
        self._words = words
        server = _server()
        self._out, out = server.Pipe(duplex=False)
        self._err, err = server.Pipe(duplex=False)
        self._process = server.Process(target=_become, args=(words, dict(environ), directory, out, err), daemon=True)
        self._process.start()
        out.close()
        err.close()

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode

    def run(self) -> subprocess.CompletedProcess[str]:
        """Return what came of it."""
        with self:
            out, err = self.communicate()
        assert self.returncode is not None
        return subprocess.CompletedProcess(self._words, self.returncode, out, err)

    def __enter__(self) -> "Fork":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.join()
        self._out.close()
        self._err.close()

    def kill(self) -> None:
        self._process.kill()

    def communicate(self, timeout: float = 120) -> tuple[str, str]:
        """Wait for its end, and return what it has said; it is killed when the time is over."""
        late = Timer(timeout, self.kill)
        late.start()
        with ThreadPoolExecutor(2) as pool:
            out, err = pool.map(_read, (self._out, self._err))
        self._process.join()
        late.cancel()
        return out, err


def _read(stream: Connection) -> str:
    with open(stream.fileno(), encoding="utf-8", closefd=False) as file:
        return file.read()


def _become(words: tuple[str, ...], environ: dict[str, str], directory: Path, out: Connection, err: Connection) -> None:
    """Be the command, in the fork."""
    from kibray_ops.cli.app import main

    settle(words, environ, directory, out.fileno(), err.fileno())
    out.close()
    err.close()
    main()


def settle(words: tuple[str, ...], environ: dict[str, str], directory: Path, out: int, err: int) -> None:
    """Give a fork what a command begins with: streams, words, environment and directory."""
    from kibray_ops import __main__

    for file, number in ((out, 1), (err, 2)):
        os.dup2(file, number)
    # As Python makes them; the server's remember what they were opened on.
    sys.stdout = open(1, "w", encoding="utf-8", errors="surrogateescape", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", encoding="utf-8", errors="backslashreplace", buffering=1, closefd=False)  # noqa: SIM115
    sys.dont_write_bytecode = False  # the server has it from pytest; who starts Python anew has not
    sys.argv = [__main__.__file__, *words]  # as `python -m kibray_ops` has it
    os.environ.clear()
    os.environ.update(environ)
    time.tzset()
    os.chdir(directory)
