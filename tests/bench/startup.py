"""Measure how long commands take to start, whole process, against what they are made of.

`python -m tests.bench.startup`. Targets: `--help` within 1.6 x of an empty Typer app's; a job on a small SQLite
database within 1.6 x of importing sqlmodel and typer. `status` and `catch-up` read what 400 days have left.
"""

import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from kibray_ops.registry import JOBS
from tests.builder import Builder
from tests.world import World

ROUNDS = 15
EMPTY = """
import typer
app = typer.Typer()
@app.callback()
def root() -> None: "Do things."
@app.command()
def one() -> None: "Do one thing."
app()
"""


def seconds(words: list[str], environment: dict[str, str]) -> float:
    """Return the seconds that a process takes."""
    begin = time.perf_counter()
    done = subprocess.run(words, env=environment, check=False, stdout=subprocess.DEVNULL)
    assert done.returncode in (0, 1)  # 1: `status` of these made-up runs may find something late
    return time.perf_counter() - begin


def remember(world: World, days: int) -> None:
    """Leave the records of so many days of runs, about 34 a day."""
    with world.connect() as connection:
        connection.execute(
            """
            WITH RECURSIVE hours(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM hours WHERE n < ? * 24)
            INSERT INTO kibray_ops_run (job, slot, business_date, trigger, host, pid, version, arguments, started_at,
                finished_at, status, exit_code, problems)
            SELECT job, job || n, date('now', '-' || n || ' hours'), 'cron', 'host', 1, '1', '{}',
                datetime('now', '-' || n || ' hours'), datetime('now', '-' || n || ' hours', '+2 seconds'),
                'succeeded', 0, '[]'
            FROM hours JOIN (SELECT value AS job FROM json_each(?)) ON job LIKE 'send%' OR n % 24 = 0
            ORDER BY n DESC
            """,
            [days, json.dumps([job.name for job in JOBS])],
        )


def main() -> None:
    """Measure in turns, so that a noisy machine disturbs all alike, and print ratios."""
    directory = Path(tempfile.mkdtemp())
    world = Builder(directory, "").build("sqlite", "2026-06", directory)
    employee = world.employee()
    for day in range(17, 22):
        world.entry(employee, f"2025-11-{day}", "8.00")
    remember(world, 400)
    (directory / "empty.py").write_text(EMPTY)
    python, environment = sys.executable, {**world.environ, "PYTHONPATH": str(Path.cwd())}
    job = ["payroll", "generate", "--week", "--as-of", "2025-11-24"]
    commands = {
        "an empty Typer app's --help": [python, str(directory / "empty.py"), "--help"],
        "kibray-ops --help": [python, "-m", "kibray_ops", "--help"],
        "crontab generate": [python, "-m", "kibray_ops", "crontab", "generate", "--program", "/bin/kibray-ops"],
        "import sqlmodel, typer": [python, "-c", "import sqlmodel, typer"],
        "payroll generate (SQLite)": [python, "-m", "kibray_ops", *job],
        "… --dry-run": [python, "-m", "kibray_ops", *job, "--dry-run"],
        "… --cron": [python, "-m", "kibray_ops", "--cron", *job],
        "status": [python, "-m", "kibray_ops", "status"],
        "catch-up --dry-run": [python, "-m", "kibray_ops", "catch-up", "--dry-run"],
    }
    found: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(ROUNDS):
        for name, words in commands.items():
            found[name].append(seconds(words, environment))
    medians = {name: statistics.median(times) for name, times in found.items()}
    base = ""
    for name, median in medians.items():
        if name.startswith(("an empty", "import")):
            base = name
        ratio = "" if name == base else f"   {median / medians[base]:.2f} x of {base}"
        print(f"{name:<28} {median:6.3f} s{ratio}")


if __name__ == "__main__":
    main()
