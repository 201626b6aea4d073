"""Measure every job in turns with the plain SQL for the same work, each on a fresh copy of one database."""

import statistics
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kibray_ops.registry import ACTIONS, JOBS, Job
from kibray_ops.report import Trigger
from tests.bench import alerts, invoices, notifications, payroll, weather
from tests.bench.seed import Seed
from tests.bench.work import Work, run_sql
from tests.builder import Builder
from tests.sky import serving
from tests.test_contract import counted
from tests.world import VERSIONS, World, done

AREAS = (invoices, payroll, alerts, weather, notifications)
WORKS: tuple[Work, ...] = tuple(work for area in AREAS for work in area.WORKS)
BY_COMMAND: dict[tuple[str, ...], Job] = {job.command: job for job in (*JOBS, *ACTIONS)}
LAUNCH = Path(__file__).with_name("launch.py")
COLUMNS = (
    "job", "whole process", "start-up", "plain SQL", "ratio", "ratio without start-up", "peak memory", "statements",
)  # fmt: skip


@dataclass
class Found:
    """What was measured of one job, in seconds and KiB."""

    command: str
    statements: int = 0
    whole: list[float] = field(default_factory=list)
    start_up: list[float] = field(default_factory=list)
    """The same command on a database in which there is nothing to do."""
    plain: list[float] = field(default_factory=list)
    memory: list[int] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """Return medians, under the names of the columns."""
        whole, start_up, plain = (statistics.median(taken) for taken in (self.whole, self.start_up, self.plain))
        values = (whole, start_up, plain, whole / plain, (whole - start_up) / plain, max(self.memory), self.statements)
        return dict(zip(COLUMNS, (self.command, *values), strict=True))


@contextmanager
def fresh(builder: Builder, source: World) -> Iterator[World]:
    """Copy a database as long as the block lasts."""
    world = builder.copy(source)
    world.sql("SELECT 1")  # PostgreSQL's first connection reads the whole catalog, and writes down what it found
    try:
        yield world
    finally:
        builder.drop(world)
        if world.engine == "sqlite":
            for file in world.directory.glob(f"{Path(world.path).name}*"):
                file.unlink()


def fill(world: World, scale: float) -> None:
    """Let the database hold what a company has."""
    seed = Seed(world, scale)
    seed.people_and_projects()
    for area in AREAS:
        area.seed(seed)
    run_sql(world, "VACUUM ANALYZE" if world.engine == "postgresql" else "VACUUM")


def process(world: World, work: Work) -> tuple[float, int]:
    """Run a job as cron does, or an action as a person does; return its seconds and its peak memory in KiB."""
    job = BY_COMMAND[work.command]
    words = ("--cron", *job.words) if job.cron else (*work.command, *work.arguments, "--quiet")
    command = [sys.executable, "-m", "kibray_ops", *words, "--as-of", work.at]
    launched = subprocess.run(
        [sys.executable, "-S", str(LAUNCH), *command],
        env=world.environ, cwd=world.directory, capture_output=True, text=True, check=True,
    )  # fmt: skip
    seconds, memory, code = launched.stdout.split()[-3:]
    assert code == "0", launched.stderr
    return float(seconds), int(memory)


def compare(builder: Builder, full: World, work: Work) -> int:
    """Do a job and its plain SQL once, make sure that both come to the same, and return the job's statements."""
    job = BY_COMMAND[work.command]
    with fresh(builder, full) as world:
        with counted() as statements:
            done(world.execute(job, at=work.at, trigger=Trigger.CRON if job.cron else Trigger.MANUAL, **work.options))
        ours = work.state(world)
    with fresh(builder, full) as world:
        work.plain(world)
        assert work.state(world) == ours, job.name
    return len(statements)


def measure(builder: Builder, full: World, empty: World, work: Work, rounds: int) -> Found:
    """Measure one job."""
    for name, at in work.before:
        full = builder.copy(full)
        done(full.execute(name, at=at))
    found = Found(" ".join(work.command), compare(builder, full, work))
    for _ in range(rounds):
        with fresh(builder, empty) as world:
            found.start_up.append(process(world, work)[0])
        with fresh(builder, full) as world:
            seconds, memory = process(world, work)
        found.whole.append(seconds)
        found.memory.append(memory)
        with fresh(builder, full) as world:
            found.plain.append(work.plain(world))
    return found


def measured(
    builder: Builder, engine: str, directory: Path, works: Sequence[Work] = WORKS, *, scale: float = 1, rounds: int = 3
) -> Iterator[Found]:
    """Yield what is measured of one job after the other."""
    with serving() as sky, notifications.mail_server(directory) as mail:
        empty = builder.build(engine, VERSIONS[-1], directory)
        empty.environment |= {**sky.environment, **mail}
        empty.office()
        full = builder.copy(empty)
        fill(full, scale)
        for work in works:
            yield measure(builder, full, empty, work, rounds)


def table(found: Sequence[Found]) -> str:
    """Return the table in Markdown."""
    lines = [f"| {' | '.join(COLUMNS)} |", f"|{'---|' * len(COLUMNS)}"]
    for one in found:
        job, whole, start_up, plain, ratio, net, memory, statements = one.as_dict().values()
        cells = (
            f"`{job}`", f"{whole:.2f} s", f"{start_up:.2f} s", f"{plain:.3f} s", f"{ratio:.1f}", f"{net:.1f}",
            f"{memory / 1024:.0f} MiB", str(statements),
        )  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)
