"""How far long work has come, in a bar on stderr: for those who watch a terminal, nobody else."""

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from kibray_ops.job import Progress, unwatched


@contextmanager
def watched(*, quiet: bool) -> Iterator[Progress]:
    """Give what a job tells its progress to; the bar is gone when the block ends."""
    if quiet or not sys.stderr.isatty():
        yield unwatched
        return
    with ExitStack() as shown:
        bars: dict[str, Any] = {}
        display: Any = None

        def progress(what: str, done: int, total: int) -> None:
            nonlocal display
            if display is None:  # Rich's bars are imported for work that is long, not for every command
                from rich.console import Console
                from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

                columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
                display = shown.enter_context(Progress(*columns, console=Console(stderr=True), transient=True))
            if what not in bars:
                bars[what] = display.add_task(what, total=total)
            display.update(bars[what], completed=done, total=total)

        yield progress
