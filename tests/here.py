"""Run `kibray-ops` in this process, from its words to its exit code, for what is not about processes.

A fork has to import our modules, which is most of what a command costs; here they are at hand.
"""

import gc
import logging
import os
import pty
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import chdir, contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import TextIO
from unittest.mock import patch

from kibray_ops.cli.app import main
from tests.world import World


def here(world: World, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    return run(words, world.environ | environment, world.directory)


def run(words: tuple[str, ...], environ: Mapping[str, str], directory: Path) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, in an environment and a directory of its own."""
    with _file() as out, _file() as err:
        code = _exit_code(words, environ, directory, out, err)
        return subprocess.CompletedProcess(words, code, _text(out), _text(err))


def in_terminal(world: World, columns: int, *words: str, **environment: str) -> str:
    """Run a command in a terminal of its own and return what it shows."""
    world.environment |= {"COLUMNS": str(columns), "TERM": "xterm-256color", **environment}
    master, slave = pty.openpty()
    with ThreadPoolExecutor(1) as pool:
        shown = pool.submit(_all_of, master)
        with os.fdopen(slave, "w", encoding="utf-8", buffering=1) as terminal:
            _exit_code(words, world.environ, world.directory, terminal, terminal)
        return shown.result().decode()


def _exit_code(words: tuple[str, ...], environ: Mapping[str, str], directory: Path, out: TextIO, err: TextIO) -> int:
    try:
        with (
            patch.dict(os.environ, environ, clear=True),
            chdir(directory),
            redirect_stdout(out),
            redirect_stderr(err),
            _as_it_was(err),
        ):
            time.tzset()
            try:
                main(list(words))
            finally:
                if sys.stdout is not out:
                    sys.stdout.close()  # the command has found that nobody reads it
    except SystemExit as ended:
        code = ended.code
    finally:
        time.tzset()
    assert isinstance(code, int)
    return code


@contextmanager
def _as_it_was(err: TextIO) -> Iterator[None]:
    """Begin with what a new process has, and put back what a command leaves behind, as it is alone in its process."""
    logger, threshold = logging.getLogger("kibray_ops"), gc.get_threshold()
    handlers, level, propagate = logger.handlers[:], logger.level, logger.propagate
    others = logging.StreamHandler(err)
    others.setLevel(logging.WARNING)  # what libraries warn of is printed where nobody has set anything up
    logging.getLogger().addHandler(others)
    try:
        yield
    finally:
        logging.getLogger().removeHandler(others)
        gc.set_threshold(*threshold)
        logger.handlers[:], logger.level, logger.propagate = handlers, level, propagate


@contextmanager
def _file() -> Iterator[TextIO]:
    """Open a real file, as a command's streams are."""
    with os.fdopen(os.memfd_create("stream"), "w+", encoding="utf-8") as file:
        yield file


def _text(file: TextIO) -> str:
    file.seek(0)
    return file.read()


def _all_of(terminal: int) -> bytes:
    shown = b""
    try:
        while chunk := os.read(terminal, 65536):
            shown += chunk
    except OSError:
        pass  # nobody has it open any more
    finally:
        os.close(terminal)
    return shown
