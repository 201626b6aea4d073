"""The crontab: what is generated, our own block in somebody's crontab, and Debian's real cron where there is one."""

import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from kibray_ops import crontab, host, registry
from kibray_ops.crontab import Program, Schedule
from kibray_ops.errors import ConfigurationError
from tests.fork import Fork
from tests.world import PATH, World

ROOT = Path(__file__).parent.parent
DENVER, UTC_HOST = ZoneInfo("America/Denver"), ZoneInfo("Etc/UTC")
PROGRAM = Program("/usr/local/bin/kibray-ops")
TODAY = date(2026, 5, 1)
SAME = Schedule(DENVER, DENVER, TODAY)
BLOCK = crontab.block(PROGRAM, SAME)


def at_home(world: World, **more: str) -> World:
    """Put the settings where cron's jobs find them, and nothing into the environment but the zone of the host."""
    lines = {name: value for name, value in world.environ.items() if name.startswith("KIBRAY_OPS_")} | more
    path = world.directory / ".config" / "kibray-ops" / "env"
    path.parent.mkdir(parents=True)
    path.write_text("".join(f"{name}='{value}'\n" for name, value in lines.items()))
    path.chmod(0o600)
    return world


def run(
    world: World, *words: str, around: tuple[str, ...] = (), program: Path | None = None, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run a command in the little environment that cron gives, and a host in Denver."""
    path = os.environ["PATH"] if around else PATH
    given = {"HOME": str(world.directory), "PATH": path, "TZ": "America/Denver"} | environment
    if not around and not program:
        return Fork(words, given, world.directory).run()
    start = [str(program)] if program else [sys.executable, "-m", "kibray_ops"]
    return subprocess.run(
        [*around, *start, *words],
        env=given,
        cwd=world.directory,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """The program under a path that a shell has to be told about carefully."""
    path = tmp_path / "bin of Ana's" / "kibray-ops"
    path.parent.mkdir()
    path.write_text(f'#!/bin/sh\nexec {sys.executable} -m kibray_ops "$@"\n')
    path.chmod(0o755)
    return path


# ---- what is generated


def test_the_lines_are_plain() -> None:
    """What the daemons trip over: no variables, no percent sign, whole paths, a final newline, no CRON_TZ."""
    for text in (BLOCK, crontab.block(PROGRAM, Schedule(DENVER, UTC_HOST, TODAY))):
        assert text.endswith("\n")
        assert "%" not in text
        assert "CRON_TZ" not in text
        assert not crontab.variables(text)
        for entry in crontab.entries(text, system=False):
            assert entry.words[:2] == ("/usr/local/bin/kibray-ops", "--cron")
        assert len([line for line in text.splitlines() if line.endswith("--cron catch-up")]) == 1


@pytest.mark.parametrize(
    ("business", "where", "command", "times"),
    [
        ("America/Denver", "Etc/UTC", "invoices update-statuses", ["0 7,8 * * *"]),
        ("America/Denver", "Etc/UTC", "plans alert-incomplete", ["15 0,23 * * *"]),
        ("America/Denver", "Etc/UTC", "payroll generate --week", ["0 13,14 * * 1"]),
        ("America/Phoenix", "Etc/UTC", "payroll generate --week", ["0 14 * * 1"]),
        ("America/Denver", "US/Mountain", "notifications cleanup", ["0 2 * * 0"]),
        ("America/Denver", "America/New_York", "invoices check-overdue", ["0 8 * * *"]),
        ("America/Denver", "America/New_York", "invoices update-statuses", ["0 2,3,4 * * *"]),
        ("America/Denver", "Asia/Kolkata", "notifications send", ["30 * * * *"]),
        ("America/Denver", "Asia/Kolkata", "payroll generate --week", ["30 18,19 * * 1"]),
        ("America/Los_Angeles", "Pacific/Auckland", "plans alert-incomplete", ["15 12,13,14 * * *"]),
        ("America/Los_Angeles", "Pacific/Auckland", "payroll generate --week", ["0 2,3,4 * * 2"]),
        ("America/Denver", "Pacific/Noumea", "notifications cleanup", ["0 19,20 * * 0"]),
        ("America/Denver", "Pacific/Tongatapu", "plans alert-incomplete", ["15 12,13 * * *"]),
        ("America/New_York", "Pacific/Honolulu", "notifications cleanup", ["0 20,21 * * 6"]),
        ("Europe/Berlin", "America/Denver", "payroll generate --week", ["0 23 * * 0", "0 0 * * 1"]),
    ],
)
def test_all_hours_that_the_local_time_can_fall_on(business: str, where: str, command: str, times: list[str]) -> None:
    schedule = Schedule(ZoneInfo(business), ZoneInfo(where), TODAY)
    job = next(job for job in registry.JOBS if " ".join((*job.command, *job.arguments)) == command)
    assert schedule.times(job) == times


@pytest.mark.parametrize("path", ["/opt/100%/kibray-ops", "/opt/a\nb/kibray-ops", "/opt/a\rb/kibray-ops"])
def test_what_no_crontab_can_say(path: str) -> None:
    with pytest.raises(ConfigurationError):
        crontab.block(Program(path), SAME)


def test_the_system_file() -> None:
    text = crontab.system_file(Program("/usr/local/bin/kibray-ops", "/etc/kibray-ops/env", "kibray"), SAME)
    assert set(crontab.variables(text)) == {"SHELL", "PATH", "MAILTO"}
    assert crontab.variables(text)["MAILTO"] == "kibray"
    found = crontab.entries(text, system=True)
    assert len(found) == 11
    assert {entry.user for entry in found} == {"kibray"}
    assert {entry.words[:4] for entry in found} == {
        ("/usr/local/bin/kibray-ops", "--env-file", "/etc/kibray-ops/env", "--cron")
    }
    assert not crontab.unknown(found)


def test_generate_needs_no_database_and_names_the_env_file(sqlite_world: World) -> None:
    given = {"TZ": "America/Denver", "KIBRAY_OPS_TIMEZONE": "America/Denver"}
    words = ("crontab", "generate", "--program", "/usr/local/bin/kibray-ops")
    told = run(sqlite_world, *words, **given)
    assert (told.returncode, told.stdout, told.stderr) == (0, BLOCK, "")
    other = sqlite_world.directory / "settings of ours"
    other.write_text("KIBRAY_OPS_TIMEZONE=America/Phoenix\nKIBRAY_OPS_EMAIL_HOST_PASSWORD=hunter22\n")
    told = run(sqlite_world, "--env-file", "settings of ours", *words)
    assert f"kibray-ops --env-file '{other}' --cron invoices" in told.stdout
    assert "hunter22" not in told.stdout
    told = run(sqlite_world, *words, KIBRAY_OPS_ENV_FILE=str(other))
    assert f"kibray-ops --env-file '{other}' --cron invoices" in told.stdout
    told = run(at_home(sqlite_world), *words)
    assert (told.returncode, told.stdout) == (0, BLOCK)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("generate", "--program", "kibray-ops"), "absolute path"),
        (("generate", "--system", "--file", "/etc/cron.d/kibray.ops"), "ignore a file called 'kibray.ops'"),
        (("generate", "--file", "/etc/cron.d/x"), "are for --system"),
        (("generate", "--user", "kibray"), "are for --system"),
        (
            ("generate", "--system", "--user", "ana\n* * * * * root touch /tmp/x #", "--program", "/x"),
            "is no user's name",
        ),
        (("install", "--program", "/nowhere/kibray-ops"), "is no program that can be started"),
        (("install", "--program", "/tmp"), "is no program that can be started"),
    ],
)
def test_wrong_words(sqlite_world: World, words: tuple[str, ...], said: str) -> None:
    told = run(at_home(sqlite_world), "crontab", *words)
    assert told.returncode in (2, 78)
    assert said in told.stderr
    assert len(told.stderr.splitlines()) == 2


def test_every_line_works_as_cron_starts_it(sqlite_world: World, program: Path) -> None:
    """Each command goes through /bin/sh in an empty environment; on success there is nothing to mail.

    One starts the program; of the others it is seen which words the shell makes of the line, and these are run.
    """
    at_home(sqlite_world)
    text = run(sqlite_world, "crontab", "generate", "--program", str(program)).stdout
    commands = [line.split(maxsplit=5)[5] for line in text.splitlines() if not line.startswith("#")]
    assert len(commands) == 11
    given = {"HOME": str(sqlite_world.directory), "PATH": "/usr/bin:/bin", "SHELL": "/bin/sh", "LOGNAME": "kibray"}

    def start(command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["/bin/sh", "-c", command], env=given, cwd="/", capture_output=True, text=True, timeout=120, check=False
        )

    told = start(commands[0])
    assert (told.returncode, told.stdout, told.stderr) == (0, "", ""), commands[0]
    program.write_text("#!/bin/sh\nprintf '%s\\n' \"$@\"\n")
    for command in commands[1:]:
        told = Fork(tuple(start(command).stdout.splitlines()), given, Path("/")).run()
        assert (told.returncode, told.stdout, told.stderr) == (0, "", ""), command


# ---- our block in somebody's crontab

OTHERS = "MAILTO=ana@example.com\n# mine\n*/5 * * * * /usr/bin/backup --quiet\n"


@pytest.mark.parametrize("before", ["", OTHERS, OTHERS.rstrip("\n"), "\n\n"])
@pytest.mark.parametrize("after", ["", "0 3 * * * /usr/bin/other\n", "0 3 * * * /no/newline"])
def test_only_our_block_is_touched(before: str, after: str) -> None:
    installed = crontab.replaced(before, BLOCK) + after
    assert crontab.own(installed) == BLOCK
    assert installed.startswith(before)
    changed = crontab.block(PROGRAM, Schedule(DENVER, UTC_HOST, TODAY))
    assert crontab.replaced(installed, changed) == installed.replace(BLOCK, changed)
    assert crontab.replaced(crontab.replaced(installed, changed), BLOCK) == installed
    ended = before if not before or before.endswith("\n") else f"{before}\n"
    assert crontab.replaced(installed, "") == ended + after


@pytest.mark.parametrize(
    "text",
    [
        BLOCK + BLOCK,
        BLOCK.replace(crontab.END, "# end"),
        BLOCK.replace(crontab.BEGIN, "# begin"),
        f"{crontab.END}\n0 1 * * * /bin/mine\n{crontab.BEGIN}\n",
    ],
)
def test_what_is_not_one_block_is_left_alone(text: str) -> None:
    with pytest.raises(ConfigurationError, match="not one block"):
        crontab.replaced(text, BLOCK)


def test_lines_are_read_as_cron_reads_them() -> None:
    text = "A=b\n\n  # c\n@reboot /bin/x\n 0\t1 * *  1 root /opt/kibray-ops/bin/kibray-ops --cron 'catch-up'\nbroken\n"
    found = crontab.entries(text, system=True)
    assert [(entry.times, entry.user, entry.words) for entry in found] == [
        ("@reboot", "/bin/x", ()),
        ("0 1 * * 1", "root", ("/opt/kibray-ops/bin/kibray-ops", "--cron", "catch-up")),
        ("broken", "", ()),
    ]
    assert [crontab.is_ours(entry) for entry in found] == [False, True, False]


# ---- a file for /etc/cron.d


def test_a_system_file_is_installed_compared_checked_and_removed(sqlite_world: World, program: Path) -> None:
    at_home(sqlite_world)
    path = sqlite_world.directory / "cron-d" / "kibray-ops"
    path.parent.mkdir()
    where = ("--system", "--file", str(path))
    who = ("--program", str(program))

    def ask(word: str, *more: str) -> subprocess.CompletedProcess[str]:
        return run(sqlite_world, "crontab", word, *where, *more)

    assert ask("diff", *who).returncode == 1
    assert not path.exists()
    told = ask("install", *who)
    assert (told.returncode, told.stderr) == (0, "")
    assert "11 lines are in" in told.stdout
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert [name.name for name in path.parent.iterdir()] == ["kibray-ops"]
    entries = crontab.entries(path.read_text(), system=True)
    assert {entry.user for entry in entries} == {host.user_name()}
    assert "Nothing to do" in ask("install", *who).stdout
    assert (ask("diff", *who).returncode, ask("diff", *who).stdout) == (0, "")
    findings = json.loads(ask("check", "--json").stdout)["findings"]
    assert [f for f in findings if f["subject"] == "crontab"] == [
        {
            "level": "ok",
            "subject": "crontab",
            "message": f"all 11 lines in {path} are as they are generated now",
            "hint": "",
        }
    ]

    path.write_text(path.read_text().replace("0 7 * * 1", "0 8 * * 1"))
    told = ask("diff", *who)
    assert told.returncode == 1
    assert f"-0 8 * * 1 {host.user_name()}" in told.stdout
    assert f"+0 7 * * 1 {host.user_name()}" in told.stdout
    assert ask("check").returncode == 1
    changed = path.read_text()
    told = ask("install", *who)
    (kept,) = (sqlite_world.directory / ".local" / "state" / "kibray-ops").iterdir()
    assert str(kept) in told.stdout
    assert kept.read_text() == changed
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert ask("remove").returncode == 0
    assert not path.exists()
    assert "Nothing to do" in ask("remove").stdout
    findings = json.loads(ask("check", "--json").stdout)["findings"]
    assert f"there is no block of kibray-ops in {path}" in [finding["message"] for finding in findings]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda text: text.replace("payroll generate --week", "payroll make"), "'payroll make', which does not exist"),
        (lambda text: text.replace("/kibray-ops", "/kibray-ups"), "kibray-ups is no program"),
        (
            lambda text: text.replace(" root ", " nobody-here ").replace(host.user_name(), "nobody-here"),
            "no user nobody-here",
        ),
        (lambda text: text.replace("America/Denver", "America/Boise"), "are not those that are generated now"),
        (lambda text: "\n".join(line for line in text.splitlines() if "catch-up" not in line) + "\n", "are not those"),
        (lambda text: f"TZ=Europe/Paris\n{text}", "TZ=Europe/Paris"),
        (lambda text: f"CRON_TZ=America/Denver\n{text}", "CRON_TZ"),
        (lambda text: f"MAILTO=\n{text}", "MAILTO is empty"),
        (lambda text: f"HOME=/srv/backup\n{text}", "a line HOME= stands before the block"),
        (lambda text: f"{text}0 1 * * * root cd /srv && /opt/kibray-ops payroll generate\n", "outside the block"),
        (
            lambda text: f"{text}0 7 * * 1 root /usr/bin/kibray-ops payroll generate\n",
            "lines outside the block start kibray-ops too: 1",
        ),
    ],
)
def test_check_names_what_is_wrong(sqlite_world: World, program: Path, change: Callable[[str], str], said: str) -> None:
    at_home(sqlite_world)
    path = sqlite_world.directory / "kibray-ops"
    where = ("--system", "--file", str(path))
    assert run(sqlite_world, "crontab", "install", *where, "--program", str(program)).returncode == 0
    path.write_text(change(path.read_text()))
    told = run(sqlite_world, "crontab", "check", *where, "--json")
    findings = json.loads(told.stdout)["findings"]
    assert any(said in finding["message"] and finding["hint"] for finding in findings if finding["level"] != "ok"), (
        findings
    )


def test_settings_that_only_the_shell_has_are_named_and_not_installed(sqlite_world: World, program: Path) -> None:
    path = sqlite_world.directory / "kibray-ops"
    where = ("--system", "--file", str(path), "--program", str(program))
    given = {"KIBRAY_OPS_DATABASE_URL": sqlite_world.url, "KIBRAY_OPS_ALERT_EMAIL": "ops@example.com"}
    told = run(sqlite_world, "crontab", "install", *where, **given)
    assert told.returncode == 78
    # The time zone is the shell's TZ, of which cron's jobs know nothing.
    assert "KIBRAY_OPS_DATABASE_URL, KIBRAY_OPS_TIMEZONE, KIBRAY_OPS_ALERT_EMAIL" in told.stderr
    assert not path.exists()
    at_home(sqlite_world, KIBRAY_OPS_ALERT_EMAIL="ops@example.com")
    assert run(sqlite_world, "crontab", "install", *where, **given).returncode == 0


def test_the_zone_of_the_shell_is_not_that_of_cron(sqlite_world: World, program: Path) -> None:
    """Business and host are in Denver by TZ alone: the jobs would work in another zone."""
    path = sqlite_world.directory / "kibray-ops"
    at_home(sqlite_world, KIBRAY_OPS_TIMEZONE="")
    where = ("--system", "--file", str(path), "--program", str(program))
    told = run(sqlite_world, "crontab", "install", *where)
    assert (told.returncode, path.exists()) == (78, False)
    assert "would not have KIBRAY_OPS_TIMEZONE" in told.stderr
    assert run(sqlite_world, "crontab", "install", *where, TZ="").returncode == 0


def test_a_database_beside_the_shell_is_not_beside_cron(sqlite_world: World, program: Path) -> None:
    at_home(sqlite_world, KIBRAY_OPS_DATABASE_URL="sqlite:///kibray.sqlite3")
    told = run(sqlite_world, "crontab", "install", "--program", str(program))
    assert (told.returncode, "Write the whole path" in told.stderr) == (78, True)


def test_hours_are_those_of_the_host(sqlite_world: World) -> None:
    """The command, not only the text: TZ is the host's zone, the setting the business's."""
    at_home(sqlite_world)
    for zone, times in (
        ("America/Denver", "0 7 * * 1"),
        ("Etc/UTC", "0 13,14 * * 1"),
        ("Europe/Rome", "0 14,15 * * 1"),
    ):
        told = run(sqlite_world, "crontab", "generate", "--program", "/opt/kibray-ops", TZ=zone)
        assert f"{times} /opt/kibray-ops --cron payroll generate --week" in told.stdout


def test_a_named_env_file_is_enough(sqlite_world: World, program: Path) -> None:
    at_home(sqlite_world)
    own = sqlite_world.directory / "settings"
    (sqlite_world.directory / ".config" / "kibray-ops" / "env").rename(own)
    path = sqlite_world.directory / "kibray-ops"
    where = ("--system", "--file", str(path), "--program", str(program))
    told = run(sqlite_world, "--env-file", str(own), "crontab", "install", *where)
    assert (told.returncode, told.stderr) == (0, "")
    assert {entry.words[1:3] for entry in crontab.entries(path.read_text(), system=True)} == {("--env-file", str(own))}
    findings = json.loads(
        run(sqlite_world, "--env-file", str(own), "crontab", "check", "--system", "--file", str(path), "--json").stdout
    )
    assert {one["level"] for one in findings["findings"] if one["subject"] != "cron"} == {"ok"}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may ask about other users' files")
def test_the_jobs_of_another_user_find_their_settings(sqlite_world: World, program: Path) -> None:
    """root installs, nobody runs: root's own env file has to be named, and nobody has to be allowed to read it."""
    at_home(sqlite_world)
    env_file = sqlite_world.directory / ".config" / "kibray-ops" / "env"
    path = sqlite_world.directory / "kibray-ops"
    where = ("--system", "--file", str(path), "--program", str(program), "--user")
    told = run(sqlite_world, "crontab", "install", *where, "nobody")
    assert (told.returncode, path.exists()) == (78, False)
    assert f"The user nobody may not read {env_file}" in told.stderr
    told = run(sqlite_world, "crontab", "install", *where, "nobody-here")
    assert (told.returncode, path.exists()) == (78, False)
    assert "there is no user nobody-here" in told.stderr
    shutil.chown(env_file, "nobody")
    assert run(sqlite_world, "crontab", "install", *where, "nobody").returncode == 0
    entries = crontab.entries(path.read_text(), system=True)
    assert {(entry.user, entry.words[1:3]) for entry in entries} == {("nobody", ("--env-file", str(env_file)))}


def test_what_others_wrote_into_the_file_stays(sqlite_world: World, program: Path) -> None:
    """Byte by byte: other lines, other encodings, other ends of lines; after a backup, and readable for cron."""
    at_home(sqlite_world)
    path = sqlite_world.directory / "kibray-ops"
    where = ("--system", "--file", str(path))
    theirs = b"# Jos\xe9\r\n0 3 * * * root /usr/bin/backup \xff\x0c\r\n"
    path.write_bytes(theirs)
    path.chmod(0o600)
    assert (
        run(
            sqlite_world,
            "crontab",
            "install",
            *where,
            "--program",
            str(program),
            around=("sh", "-c", 'umask 077; exec "$@"', "sh"),
        ).returncode
        == 0
    )
    assert path.read_bytes().startswith(theirs)
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert run(sqlite_world, "crontab", "diff", *where, "--program", str(program)).returncode == 0
    assert run(sqlite_world, "crontab", "remove", *where).returncode == 0
    assert path.read_bytes() == theirs
    backups = sorted((sqlite_world.directory / ".local" / "state" / "kibray-ops").iterdir())
    assert len(backups) == 2
    assert backups[0].read_bytes() == theirs


def test_a_program_that_is_a_link_stays_one(sqlite_world: World) -> None:
    """`pip` and operators put links in place; the target may move with the next version."""
    at_home(sqlite_world)
    link = sqlite_world.directory / "kibray-ops"
    link.symlink_to(Path(sys.executable).with_name("kibray-ops"))
    assert f"{link} --cron catch-up" in run(sqlite_world, "crontab", "generate", program=link).stdout


@pytest.mark.parametrize(
    ("says", "said"),
    [
        ("echo 'you (ana) are not allowed to use this program' >&2; exit 1", "you (ana) are not allowed"),
        ('[ "$1" = -l ] && exec cat "$HOME/crontab"; cat > /dev/null', "does not hold what was written"),
        ('[ "$1" = -l ] && exec cat "$HOME/crontab"; echo bad minute >&2; exit 1', "`crontab` refuses: bad minute"),
    ],
)
def test_a_crontab_program_that_refuses(sqlite_world: World, program: Path, says: str, said: str) -> None:
    """What cannot be read is not taken for empty, and what was not written is not called installed."""
    at_home(sqlite_world)
    (sqlite_world.directory / "crontab").write_text(OTHERS)
    bad = sqlite_world.directory / "bad" / "crontab"
    bad.parent.mkdir()
    bad.write_text(f"#!/bin/sh\n{says}\n")
    bad.chmod(0o755)
    where = {"PATH": f"{bad.parent}:{os.environ['PATH']}"}
    told = run(sqlite_world, "crontab", "install", "--program", str(program), **where)
    assert (told.returncode, said in told.stderr) == (78, True), told.stderr
    assert len(told.stderr.splitlines()) == 2
    assert (sqlite_world.directory / "crontab").read_text() == OTHERS


def test_a_machine_without_crontab(sqlite_world: World, program: Path) -> None:
    at_home(sqlite_world)
    for word in ("install", "diff", "remove"):
        told = run(
            sqlite_world, "crontab", word, *(("--program", str(program)) if word != "remove" else ()), PATH="/nowhere"
        )
        assert (told.returncode, "no `crontab` program" in told.stderr) == (78, True)
    findings = json.loads(run(sqlite_world, "crontab", "check", "--json", PATH="/nowhere").stdout)["findings"]
    assert "no `crontab` program" in findings[-1]["message"]


def test_a_directory_that_cannot_be_written(sqlite_world: World, program: Path) -> None:
    at_home(sqlite_world)
    where = ("--system", "--file", "/nonexistent/kibray-ops", "--program", str(program))
    told = run(sqlite_world, "crontab", "install", *where)
    assert told.returncode == 78
    assert told.stderr.splitlines()[0].startswith("kibray-ops: /nonexistent/kibray-ops cannot be used")


# ---- Debian's own crontab and cron, in a mount namespace of their own: nobody's real crontab is touched


def _missing() -> str:
    if shutil.which("crontab") is None or not Path("/usr/sbin/cron").exists():
        return "this machine has no cron of Debian's"
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        return "a crontab of the test's own takes root and unshare"
    if subprocess.run(["unshare", "--mount", "true"], capture_output=True, check=False).returncode != 0:
        return "this machine does not let us unshare mounts"
    return ""


needs_cron = pytest.mark.skipif(bool(_missing()), reason=_missing())


@pytest.fixture
def apart(tmp_path: Path) -> tuple[str, ...]:
    """Words before a command that let it see a spool, a /run and a system crontab of the test's own."""
    mounts = {"spool": "/var/spool/cron/crontabs", "run": "/run", "cron.d": "/etc/cron.d"}
    for name in mounts:
        (tmp_path / name).mkdir()
    shutil.chown(tmp_path / "spool", group="crontab")
    (tmp_path / "spool").chmod(0o1730)
    (tmp_path / "system").touch()
    script = [f"mount --bind '{tmp_path / name}' {target}" for name, target in mounts.items()]
    if Path("/etc/crontab").exists():
        script.append(f"mount --bind '{tmp_path / 'system'}' /etc/crontab")
    return ("unshare", "--mount", "/bin/sh", "-c", " && ".join([*script, 'exec "$@"']), "sh")


@needs_cron
def test_the_real_crontab_takes_our_block_and_keeps_the_rest(
    sqlite_world: World, program: Path, apart: tuple[str, ...]
) -> None:
    at_home(sqlite_world)
    spool = sqlite_world.directory / "spool" / host.user_name()

    def ask(*words: str) -> subprocess.CompletedProcess[str]:
        return run(sqlite_world, "crontab", *words, around=apart)

    def installed() -> str:
        shown = subprocess.run([*apart, "crontab", "-l"], capture_output=True, text=True, check=False)
        return shown.stdout

    assert ask("check").returncode == 1
    assert ask("install", "--program", str(program)).returncode == 0
    assert installed() == run(sqlite_world, "crontab", "generate", "--program", str(program)).stdout
    assert ask("remove").returncode == 0
    assert not spool.exists()

    subprocess.run([*apart, "crontab", "-"], input=OTHERS, text=True, check=True)
    told = ask("install", "--program", str(program))
    assert (told.returncode, told.stderr) == (0, "")
    assert installed().startswith(OTHERS)
    assert "Nothing to do" in ask("install", "--program", str(program)).stdout
    assert ask("diff", "--program", str(program)).returncode == 0
    findings = json.loads(ask("check", "--json").stdout)["findings"]
    assert [f["level"] for f in findings if f["subject"] == "crontab"] == ["ok"]
    assert ask("remove").returncode == 0
    assert installed() == OTHERS


@pytest.fixture
def zone_at(tmp_path: Path) -> Callable[[datetime, str], dict[str, str]]:
    """Make a time zone in which a moment is a time of day, and return the environment that knows it."""

    def make(moment: datetime, wall: str) -> dict[str, str]:
        then = datetime.combine(moment.date(), datetime.strptime(wall, "%H:%M").time(), UTC)  # noqa: DTZ007
        offset = int((then - moment) / timedelta(minutes=1))
        source = tmp_path / "zones.txt"
        sign, away = ("-" if offset < 0 else ""), abs(offset)
        source.write_text(f"Zone Test/Office {sign}{away // 60}:{away % 60:02} - TST\n")
        subprocess.run(["zic", "-d", str(tmp_path / "zones"), str(source)], check=True)
        return {"TZ": "Test/Office", "TZDIR": str(tmp_path / "zones"), "PYTHONTZPATH": str(tmp_path / "zones")}

    return make


@needs_cron
@pytest.mark.skipif(shutil.which("zic") is None and not Path("/usr/sbin/zic").exists(), reason="there is no zic")
def test_the_real_cron_runs_the_job_at_its_time(
    sqlite_world: World, apart: tuple[str, ...], zone_at: Callable[[datetime, str], dict[str, str]]
) -> None:
    """In the next minute it is 05:00 in the office: two daily jobs and the hourly one are due, and no other runs."""
    now = datetime.now(UTC)  # noqa: TID251
    at = (now + timedelta(minutes=1, seconds=5)).replace(second=0, microsecond=0)
    zones = zone_at(at, "05:00")
    program = sqlite_world.directory / "kibray-ops"
    exports = " ".join(f"{name}={zones[name]}" for name in ("PYTHONTZPATH", "TZDIR"))
    program.write_text(f'#!/bin/sh\nexport {exports}\nexec {sys.executable} -m kibray_ops "$@"\n')
    program.chmod(0o755)
    sqlite_world.move("Test/Office")
    at_home(sqlite_world)
    told = run(sqlite_world, "crontab", "install", "--program", str(program), around=apart, **zones)
    assert told.returncode == 0, told.stderr
    home = f"HOME={sqlite_world.directory}\n"
    shown = subprocess.run([*apart, "crontab", "-l"], capture_output=True, text=True, check=True).stdout
    subprocess.run([*apart, "crontab", "-"], input=home + shown, text=True, check=True)
    given = {"PATH": os.environ["PATH"], **zones}
    daemon = subprocess.Popen([*apart, "/usr/sbin/cron", "-f"], env=given)
    wanted = {"fetch-weather-snapshots", "update-daily-plans-weather"}
    try:
        while datetime.now(UTC) < at + timedelta(seconds=90):  # noqa: TID251
            runs = sqlite_world.runs()
            if {run["job"] for run in runs if run["finished_at"]} >= wanted:
                break
            time.sleep(0.5)
        status = run(sqlite_world, "status", "--json", around=apart, **zones)
    finally:
        daemon.send_signal(signal.SIGTERM)
        daemon.wait(10)
    found = {run["job"]: run for run in runs}
    assert set(found) - {"send-pending-notifications"} == wanted
    for name in wanted:
        assert (found[name]["trigger"], found[name]["status"]) == ("cron", "succeeded")
        assert found[name]["slot"].endswith("T05:00")
    jobs = {job["job"]: job for job in json.loads(status.stdout)["jobs"]}
    assert {name for name, job in jobs.items() if job["last_success"]} >= wanted
