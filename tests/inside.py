"""Run `kibray-ops` in this process: for tests that start it hundreds of times, where no process matters."""

import gc
import io
import logging
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import chdir, contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from subprocess import CompletedProcess
from unittest.mock import patch

from kibray_ops.cli.app import main


def run(words: tuple[str, ...], environ: Mapping[str, str], directory: Path) -> CompletedProcess[str]:
    """Run a command to its end, in an environment and a directory of its own."""
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8") for _ in range(2))
    code: int | str | None = 0
    with (
        _undisturbed(),
        patch.dict(os.environ, environ, clear=True),
        chdir(directory),
        redirect_stdout(out),
        redirect_stderr(err),
    ):
        try:
            main(list(words))
        except SystemExit as end:
            code = end.code
        if sys.stdout is not out:
            sys.stdout.close()  # the command has found that nobody reads it
    assert isinstance(code, int)
    return CompletedProcess(words, code, _written(out), _written(err))


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Undo what a command does to its process."""
    logger, threshold = logging.getLogger("kibray_ops"), gc.get_threshold()
    before = logger.handlers[:], logger.level, logger.propagate
    try:
        yield
    finally:
        logger.handlers[:], logger.level, logger.propagate = before
        gc.set_threshold(*threshold)


def _written(stream: io.TextIOWrapper) -> str:
    stream.flush()
    assert isinstance(stream.buffer, io.BytesIO)
    return stream.buffer.getvalue().decode()
