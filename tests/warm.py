"""Start `kibray-ops` hundreds of times: forks of a process that has imported all of it, and ends they can meet.

`tests/fork.py` spares a command the imports of what others wrote. Here ours are there too, so that a fork costs a
hundredth of a second. That is right only where what is imported, and when, is not the point.
"""

import mmap
import os
import re
import resource
import signal
import struct
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Self

from tests.fork import _server, settle

EVENTS = ("begin", "before_cursor_execute", "after_cursor_execute", "commit", "rollback")
"""When a fate may meet a process: before and after each statement, and before each COMMIT."""
FEW_BYTES = 1024
"""Less than a page of a database and than a mail, and more than a run says of itself."""


@dataclass(frozen=True)
class Fate:
    """What befalls a process: a signal, or that it hangs, or that its disk is full, at an event or after seconds."""

    sign: int = 0
    event: int = 0
    """Counted from 1; 0 is none."""
    writing: str = ""
    """A table: of the events only the statements that write into it count."""
    after: float = 0
    hangs: bool = False
    disk_is_full: bool = False
    """No file can grow, nor be written beyond its first bytes."""


@dataclass(frozen=True)
class Ended:
    """How a process ended: its exit code (negative: the signal), what it met until then, and what it said."""

    code: int
    events: int
    seconds: float
    out: str
    err: str


class Warm:
    """The process that has imported everything, and what it starts."""

    def __init__(self) -> None:
        self._line, line = _server().Pipe()
        self._process = _server().Process(target=_serve, args=(line,), daemon=True)
        self._process.start()
        line.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._line.close()
        self._process.join()

    def start(self, words: tuple[str, ...], environ: Mapping[str, str], directory: Path, fate: Fate = Fate()) -> int:
        """Start a command and return its process id; `end` waits for it, before another is started."""
        self._line.send((words, dict(environ), directory, fate))
        pid: int = self._line.recv()
        return pid

    def end(self) -> Ended:
        """Wait for the end of what was started."""
        ended: Ended = self._line.recv()
        return ended

    def run(self, words: tuple[str, ...], environ: Mapping[str, str], directory: Path, fate: Fate = Fate()) -> Ended:
        """Run a command to its end, whatever that is."""
        self.start(words, environ, directory, fate)
        return self.end()


def _serve(line: Connection) -> None:
    """Start what is asked for, one after the other, until nobody asks any more."""
    from kibray_ops import registry, runner

    for job in (*registry.JOBS, *registry.ACTIONS):
        runner.load(job)
    small_batches(setattr)
    while True:
        try:
            words, environ, directory, fate = line.recv()
        except EOFError:
            return
        met = mmap.mmap(-1, 4)
        begin = time.monotonic()
        if (pid := os.fork()) == 0:
            _become(words, environ, directory, fate, met)
        line.send(pid)
        if fate.after:
            time.sleep(fate.after)
            os.kill(pid, fate.sign)
        _, status = os.waitpid(pid, 0)
        seconds = time.monotonic() - begin
        said = [(directory / name).read_text(errors="replace") for name in ("stdout", "stderr")]
        line.send(Ended(os.waitstatus_to_exitcode(status), *struct.unpack("i", met), seconds, *said))


def small_batches(change: Callable[[Any, str, int], None]) -> None:
    """Let a few rows be several batches."""
    from kibray_ops import archive, forecasts

    change(archive, "BATCH", 2)
    change(forecasts, "BATCH", 1)


def writes(statement: str) -> str | None:
    """Return the table into which a statement writes."""
    found = re.search(r"\b(?:INSERT INTO|UPDATE|DELETE FROM) (\w+)", statement)
    return found[1] if found else None


def _become(words: tuple[str, ...], environ: dict[str, str], directory: Path, fate: Fate, met: mmap.mmap) -> None:
    """Be the command, and end with it."""
    from kibray_ops.cli.app import main

    code: Any = 1
    try:
        files = (os.open(directory / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC) for name in ("stdout", "stderr"))
        settle(words, environ, directory, *files)
        signal.signal(signal.SIGINT, signal.default_int_handler)  # the fork server ignores it
        _await(fate, met)
        main()
    except SystemExit as end:
        code = end.code
    finally:
        sys.stdout.flush()
        os._exit(code)


def _await(fate: Fate, met: mmap.mmap) -> None:
    """Count what the process meets, and let its fate befall it."""
    from sqlalchemy import event
    from sqlalchemy.engine import Engine

    count = 0

    def meet(*what: object) -> None:
        nonlocal count
        if fate.writing and not (len(what) > 2 and writes(str(what[2])) == fate.writing):
            return
        count += 1
        struct.pack_into("i", met, 0, count)
        if count == fate.event:
            if fate.hangs:
                time.sleep(120)
            if fate.disk_is_full:
                sys.dont_write_bytecode = True  # Python would not notice that only half of it was written
                resource.setrlimit(resource.RLIMIT_FSIZE, (FEW_BYTES, resource.RLIM_INFINITY))
            if fate.sign:
                os.kill(os.getpid(), fate.sign)

    for name in EVENTS:
        event.listen(Engine, name, meet)
