"""Type commands into this process: all that a command says and does, without a process of its own for each."""

import gc
import io
import logging
import os
import time
from contextlib import chdir, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

import typer
from typer.core import TyperGroup
from typer.main import get_command

from kibray_ops import registry
from kibray_ops.cli.app import app, main
from tests.world import World


@dataclass(frozen=True)
class Said:
    """What a command said, and how it ended."""

    words: tuple[str, ...]
    code: int
    out: str
    err: str

    @property
    def all(self) -> str:
        return f"{self.out}\n{self.err}"


def typed(world: World, *words: str, **environment: str) -> Said:
    """Run a command in this process, in its own environment and directory; libraries' warnings count as said."""
    out, err = io.StringIO(), io.StringIO()
    threshold = gc.get_threshold()
    others = logging.StreamHandler(err)
    others.setLevel(logging.WARNING)  # as Python prints them where nobody has set anything up
    logging.getLogger().addHandler(others)
    try:
        with (
            patch.dict(os.environ, world.environ | environment, clear=True),
            chdir(world.directory),
            redirect_stdout(out),
            redirect_stderr(err),
        ):
            time.tzset()
            try:
                main(list(words))
            except SystemExit as ended:
                code = ended.code
    finally:
        time.tzset()
        gc.set_threshold(*threshold)
        logging.getLogger().removeHandler(others)
    assert isinstance(code, int)
    return Said(words, code, out.getvalue(), err.getvalue())


def commands() -> set[tuple[str, ...]]:
    """Return the words of every command there is, but for those that start a job."""

    def under(group: TyperGroup, words: tuple[str, ...]) -> Any:
        for name, command in group.commands.items():
            if isinstance(command, TyperGroup):
                yield from under(command, (*words, name))
            else:
                yield (*words, name)

    root = get_command(app)
    assert isinstance(root, TyperGroup)
    assert isinstance(app, typer.Typer)
    jobs = {job.command for job in (*registry.JOBS, *registry.ACTIONS)}
    return {words for words in under(root, ()) if words not in jobs and words[:2] != ("jobs", "run")}
