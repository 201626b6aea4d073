"""Bad options: whatever is typed, an exit code of the table, two lines or one JSON object, and nothing half done."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from random import Random
from subprocess import CompletedProcess
from typing import Any

import pytest
from typer.core import TyperArgument, TyperGroup
from typer.main import get_command

from kibray_ops import registry
from kibray_ops.cli.app import app
from kibray_ops.cli.jobs import Unloaded, command_of
from kibray_ops.text import is_plain
from tests import here
from tests.test_contract import WORDS, fill
from tests.world import World

Words = tuple[str, ...]
BAD = (
    "", "\udc80", "a\udcff", "9" * 400, "-1", "0", "nan", "inf", "-inf", "1e400", "٣", "1.5", "9223372036854775808",
    "0001-01-01", "9999-12-31", "9999-12-31T23:59:59+00:00", "0001-01-01T00:00+14:00", "2025-02-30", "2025-11-24T25:00",
    "2025-W54", "2025-W00", "0000-W01", "0001-W01", "9999-W52", "x" * 100_000, "a\nb\x1b[31m", "[/]", "--", "-", "=1+1",
    "%00", "..", "/", "dir", "missing/x/y", "/dev/full",
)  # fmt: skip
"""What a hand, or a script with an empty variable, may put into any place; NUL cannot be in an argument."""
NEEDED: dict[Words, Words] = {
    **{job.command: WORDS[job.name] for job in registry.ACTIONS if job.name in WORDS},
    ("schedule", "export"): ("--target", "systemd", "--output", "units"),
    ("jobs", "pause"): ("check-overdue-invoices",),
    ("jobs", "resume"): ("check-overdue-invoices",),
    ("runs", "show"): ("1",),
    ("db", "grants"): ("me",),
}
"""What a command cannot do without."""
NEVER = (("crontab", "install"), ("crontab", "remove"))
"""They would work on the crontab of whoever runs the tests."""
TELLING = ("doctor", "status", "crontab")
"""Commands whose exit code 1 is an answer, not an error."""


def commands(command: Any, path: Words = ()) -> Iterator[tuple[Words, Any]]:
    """Yield every command with its words."""
    if isinstance(command, Unloaded):
        command = command_of(command.job)
    if not isinstance(command, TyperGroup):
        yield path, command
        return
    for name, inner in command.commands.items():
        yield from commands(inner, (*path, name))


def command_lines() -> Iterator[Words]:
    """Yield every command with every bad word in each place that takes one."""
    for path, command in commands(get_command(app)):
        if path in NEVER:
            continue
        needed = NEEDED.get(path, ())
        modes: tuple[Words, ...] = ((), ("--json",)) if any("--json" in o.opts for o in command.params) else ((),)
        options = [o.opts[0] for o in command.params if not isinstance(o, TyperArgument) and not o.is_flag]
        places = sum(isinstance(o, TyperArgument) for o in command.params)
        for mode in modes:
            for bad in BAD:
                yield (*path, *mode, *needed, bad)
                yield from ((*path, *mode, *needed, option, bad) for option in options)
                yield from ((*path, *mode, *needed, f"{option}={bad}") for option in options)
                for place in range(places):
                    words = [*needed, *["1"] * places][:places]
                    yield (*path, *mode, *words[:place], bad, *words[place + 1 :])
            yield from ((*path, *mode), (*path, *mode, "--nonsense"), (*path, *mode, *needed, "--csv", "-"))
    for bad in BAD:
        yield from (("--env-file", bad, "config", "show"), (bad,), ("--cron", bad), ("jobs", "run", bad))


LINES = tuple(command_lines())


@pytest.fixture
def office(sqlite_world: World) -> World:
    fill(sqlite_world, 2)
    (sqlite_world.directory / "dir").mkdir()
    return sqlite_world


def run(world: World, words: Words) -> CompletedProcess[str]:
    """Run a command and see that it ends as documented."""
    done = here.run(words, world.environ, world.directory)
    said = done.stdout + done.stderr
    assert done.returncode in (0, 1, 2, 3, 75, 78), said
    assert "Traceback" not in said
    assert "that it does not know" not in said, said[:2000]
    if "--json" in words[: words.index("--") if "--" in words else None]:
        told = json.loads(done.stdout)
        assert isinstance(told, dict)
        assert told.get("exit_code", done.returncode) == done.returncode
    elif done.returncode not in (0, 3) and words[0] not in TELLING:
        first, second = done.stderr.splitlines()[-2:]
        assert first.startswith("kibray-ops: "), done.stderr[:2000]
        assert second.startswith("  ")
        assert len(first) < 3_000
        assert is_plain(first + second)
    return done


def test_there_is_a_bad_word_for_every_command() -> None:
    assert len({words[:2] for words in LINES}) > 40
    assert len(LINES) > 10_000


def test_whatever_is_typed_ends_as_documented(office: World, long: bool) -> None:
    """A sample, the same every time; with --long all of them."""
    for words in LINES if long else Random(20).sample(LINES, 130):
        run(office, words)


@pytest.mark.parametrize("job", [*registry.JOBS, *registry.ACTIONS], ids=lambda job: job.name)
def test_a_job_that_was_called_wrongly_does_nothing(job: registry.Job, office: World) -> None:
    before = office.dump()
    for wrong in (("--as-of", "9999-12-31"), ("--as-of=0001-01-01",), ("--csv", "dir"), ("--nonsense",)):
        done = run(office, (*job.command, *WORDS.get(job.name, ()), *wrong, "--json"))
        assert done.returncode == 2, done.stdout
    assert office.dump() == before


@pytest.mark.parametrize("file", ["x" * 400, "dir", "missing/x", "kibray.sqlite3", "a/" * 3_000])
def test_a_csv_file_that_cannot_be_is_refused_before_the_work(office: World, file: str) -> None:
    before = office.dump()
    for words in (("invoices", "update-statuses"), ("invoices", "aging")):
        assert run(office, (*words, "--csv", file)).returncode == 2
    assert office.dump() == before


def test_a_full_disk_does_not_undo_the_work(office: World) -> None:
    done = run(office, ("inventory", "check-shortages", "--csv", "/dev/full"))
    assert done.returncode == 1
    assert "The run itself is done" in done.stderr
    assert office.rows("core_notification", "notification_type = ?", "task_alert")


def test_a_demo_is_not_written_over_whatever_its_name_is(office: World, tmp_path: Path) -> None:
    for name in ("a\nb\x1b[31m", "[red]x", "\udc80"):
        shutil.copy(office.path, tmp_path / name)
        assert run(office, ("demo", "--file", str(tmp_path / name))).returncode == 2


def test_a_demo_whose_name_no_database_can_have_is_refused(office: World) -> None:
    assert run(office, ("demo", "--file", "\udc80")).returncode == 2
