"""The command line: bare --week, JSON, errors in two lines, exit codes, and how little is imported."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from kibray_ops import registry
from kibray_ops.cli.jobs import _without_bare
from tests.here import here, in_terminal
from tests.test_contract import ENVELOPE
from tests.test_payroll_generate import MON
from tests.world import World

AS_OF = ("--as-of", "2025-11-24")


def two_lines(text: str) -> bool:
    lines = text.splitlines()
    return len(lines) == 2 and lines[0].startswith("kibray-ops: ") and lines[1].startswith("  ")


@pytest.mark.parametrize(
    ("words", "left"),
    [
        ("--week", ""),
        ("--week --dry-run", "--dry-run"),
        ("--dry-run --week", "--dry-run"),
        ("--week 2025-W47", "--week 2025-W47"),
        ("--week=last", "--week=last"),
        ("-n --week -q", "-n -q"),
        ("--week -- --week", "-- --week"),
        ("--other --week", "--other"),
    ],
)
def test_a_bare_option_is_its_default(words: str, left: str) -> None:
    assert _without_bare(words.split(), {"--week"}) == left.split()


@pytest.mark.parametrize(
    ("words", "dry_run", "week"),
    [
        ("--week", False, "2025-11-17"),
        ("--week --dry-run", True, "2025-11-17"),
        ("--dry-run --week", True, "2025-11-17"),
        ("--week 2025-W46", False, "2025-11-10"),
        ("--week=last", False, "2025-11-17"),
        ("", False, "2025-11-17"),
        ("--week this -n", True, "2025-11-24"),
    ],
)
def test_week_may_stand_bare(sqlite_world: World, words: str, dry_run: bool, week: str) -> None:
    done = here(sqlite_world, "payroll", "generate", *words.split(), *AS_OF, "--json")
    told = json.loads(done.stdout)
    assert (done.returncode, told["dry_run"], told["result"]["week"][:10]) == (0, dry_run, week)


@pytest.mark.parametrize(
    ("words", "code", "status"),
    [
        ("payroll generate --week", 0, "succeeded"),
        ("payroll generate --week -n", 0, "succeeded"),
        ("payroll generate --week 2099-W01", 2, "failed"),
        ("payroll generate --wek", 2, "failed"),
        ("payroll generate --as-of tomorrow", 2, "failed"),
        ("payroll generate --as-of 2999-01-01", 2, "failed"),
        ("--cron payroll generate -n", 2, "failed"),
        ("payroll discard --week", 0, "succeeded"),
        ("notifications send", 0, "succeeded"),
        ("notifications send --some-option x", 2, "failed"),
        ("notifications outbox retry 99", 2, "failed"),
        ("notifications outbox retry", 2, "failed"),
        ("--env-file /nonexistent payroll generate", 78, "failed"),
    ],
)
def test_json_is_one_object_with_the_same_keys_whatever_happens(
    sqlite_world: World, words: str, code: int, status: str
) -> None:
    done = here(sqlite_world, *words.split(), "--json")
    told = json.loads(done.stdout)
    assert (done.returncode, told["exit_code"], told["status"]) == (code, code, status), done.stderr
    assert list(told) == ENVELOPE
    assert told["job"] in {job.name for job in (*registry.JOBS, *registry.ACTIONS)}
    assert (told["error"] is None) == (code == 0)


@pytest.mark.parametrize(
    ("words", "environment", "code"),
    [
        ("payroll generate --week 47", {}, 2),
        ("payroll generate --overtime double", {}, 2),
        ("payroll generate --csv /nonexistent/x.csv", {}, 2),
        ("payroll generate --csv - --json", {}, None),
        ("payroll nonsense", {}, 2),
        ("runs show 99", {}, 2),
        ("runs list --job nonsense", {}, 2),
        ("notifications send", {"KIBRAY_OPS_EMAIL_FROM": ""}, 78),
        ("notifications outbox cancel 99", {}, 2),
        ("notifications outbox list --status lost", {}, 2),
        ("notifications archive restore", {}, 2),
        ("payroll generate", {"KIBRAY_OPS_DATABASE_URL": "sqlite:///none.sqlite3"}, 78),
        ("payroll generate", {"KIBRAY_OPS_DATABASE_URL": ""}, 78),
        ("runs list", {"KIBRAY_OPS_DATABASE_URL": "postgresql://u:hunter22@127.0.0.1:1/d"}, 75),
        ("db check", {"KIBRAY_OPS_DATABASE_URL": "postgresql://u:hunter22@127.0.0.1:1/d"}, 75),
    ],
)
def test_errors_are_two_lines_with_their_exit_code(
    sqlite_world: World, words: str, environment: dict[str, str], code: int | None
) -> None:
    sqlite_world.environment = environment
    done = here(sqlite_world, *words.split())
    assert "Traceback" not in done.stderr
    assert "hunter22" not in done.stdout + done.stderr
    if code is None:
        assert done.returncode == 2
        return
    assert (done.returncode, done.stdout) == (code, "")
    assert two_lines(done.stderr), done.stderr


def test_all_wrong_settings_are_told_at_once(sqlite_world: World) -> None:
    sqlite_world.environment = {"KIBRAY_OPS_EMAIL_PORT": "x", "KIBRAY_OPS_NONSENSE": "y"}
    for words in (("config", "check"), ("payroll", "generate")):
        done = here(sqlite_world, *words)
        assert done.returncode == 78
        assert "EMAIL_PORT" in done.stderr
        assert "NONSENSE" in done.stderr
    assert here(sqlite_world, "config", "show").returncode == 0


def test_config_show_masks_and_tells_the_source(sqlite_world: World) -> None:
    sqlite_world.environment = {
        "KIBRAY_OPS_DATABASE_URL": "postgresql://kibray:hunter22@db/kibray",
        "EMAIL_HOST_PASSWORD": "hunter23",
    }
    shown = here(sqlite_world, "config", "show").stdout
    assert "hunter2" not in shown
    assert "postgresql://kibray:********@db/kibray" in shown
    assert "environment, EMAIL_HOST_PASSWORD" in shown
    assert "hunter2" not in here(sqlite_world, "config", "show", "--json").stdout


def test_cron_is_silent_on_success_and_tells_all_on_failure(sqlite_world: World) -> None:
    words = ("--cron", "payroll", "generate", "--week", *AS_OF)
    sqlite_world.entry(sqlite_world.employee(), MON, None, end=None)
    done = here(sqlite_world, *words)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    sqlite_world.sql("DELETE FROM kibray_ops_run")
    sqlite_world.sql("UPDATE core_payrollperiod SET status = 'paid'")
    sqlite_world.entry(sqlite_world.employee("Ben Berg"), MON, "8.00")
    done = here(sqlite_world, *words)
    assert done.returncode == 3
    assert "Ben Berg" in done.stdout


def test_quiet_prints_errors_only(sqlite_world: World) -> None:
    done = here(sqlite_world, "payroll", "generate", "-q", *AS_OF)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert two_lines(here(sqlite_world, "payroll", "generate", "-q", "--week", "x").stderr)


def test_verbose_shows_the_traceback_without_secrets(sqlite_world: World) -> None:
    sqlite_world.environment = {"KIBRAY_OPS_DATABASE_URL": "postgresql://u:hunter22@127.0.0.1:1/d"}
    done = here(sqlite_world, "payroll", "generate", "-v")
    assert "Traceback" in done.stderr
    assert "hunter22" not in done.stderr


def test_a_reader_that_leaves_does_not_spoil_the_run(sqlite_world: World) -> None:
    for number in range(300):
        sqlite_world.employee(f"Ana{number:03} Ruiz")
    read, write = os.pipe()
    os.close(read)
    with sqlite_world.command("payroll", "generate", *AS_OF, stdout=write) as process:
        os.close(write)
        _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, "")
    assert len(sqlite_world.rows("core_payrollrecord")) == 300


def test_a_full_disk_does_not_deny_the_run(sqlite_world: World) -> None:
    sqlite_world.employee()
    with (
        Path("/dev/full").open("w") as full,
        sqlite_world.command("payroll", "generate", *AS_OF, stdout=full) as process,
    ):
        _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "The run itself is done (succeeded)" in err
    assert len(err.splitlines()) == 2
    assert len(sqlite_world.rows("core_payrollrecord")) == 1


def test_a_full_disk_is_told_of_by_what_only_shows(sqlite_world: World) -> None:
    with Path("/dev/full").open("w") as full, sqlite_world.command("schedule", "list", stdout=full) as process:
        _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert err.startswith("kibray-ops: The output could not be written: No space left on device.")
    assert len(err.splitlines()) == 2


@pytest.mark.parametrize("name", ["kibray.sqlite3", "kibray.sqlite3-wal", "other.sqlite3", "link.csv"])
def test_a_csv_never_replaces_a_database(sqlite_world: World, name: str) -> None:
    directory = sqlite_world.directory
    (directory / "other.sqlite3").write_bytes(Path(sqlite_world.path).read_bytes())
    (directory / "link.csv").symlink_to(sqlite_world.path)
    done = here(sqlite_world, "payroll", "generate", "-n", "--csv", name, *AS_OF)
    assert done.returncode == 2
    assert sqlite_world.rows("core_payrollperiod") == []


def test_a_csv_goes_through_a_link(sqlite_world: World) -> None:
    target, link = sqlite_world.directory / "target.csv", sqlite_world.directory / "link.csv"
    target.write_text("old")
    link.symlink_to(target)
    assert here(sqlite_world, "payroll", "generate", "-n", "--csv", "link.csv", *AS_OF).returncode == 0
    assert link.is_symlink()
    assert target.read_text(encoding="utf-8-sig").startswith("Employee ID")


def test_json_tells_that_the_csv_was_not_written(sqlite_world: World) -> None:
    sqlite_world.employee()
    done = here(sqlite_world, "payroll", "generate", "--json", "--csv", "/dev/full", *AS_OF)
    told = json.loads(done.stdout)
    assert (done.returncode, told["exit_code"], told["status"]) == (1, 1, "succeeded")
    assert "The run itself is done" in told["error"]["hint"]


@pytest.mark.parametrize("streams", [">&-", "2>&-", ">&- 2>&-"])
def test_closed_streams_do_not_deny_the_run(sqlite_world: World, streams: str) -> None:
    sqlite_world.employee("José Peña")
    words = [sys.executable, "-m", "kibray_ops", "payroll", "generate", *AS_OF]
    shell = ["/bin/sh", "-c", f'"$@" {streams}', "sh", *words]
    done = subprocess.run(shell, env=sqlite_world.environ, cwd=sqlite_world.directory, check=False, capture_output=True)
    assert done.returncode == 0
    assert len(sqlite_world.rows("core_payrollrecord")) == 1


def test_a_stream_that_knows_few_letters(sqlite_world: World) -> None:
    sqlite_world.employee("José Peña")
    sqlite_world.environment = {"PYTHONIOENCODING": "ascii"}
    for words in ((), ("--csv", "-")):
        with sqlite_world.command("payroll", "generate", "-n", *words, *AS_OF) as process:
            out, err = process.communicate(timeout=60)
        assert (process.returncode, err, "Jos" in out) == (0, "", True)


@pytest.mark.parametrize("password", ["true", "2025", "payroll", "succeeded"])
def test_a_password_that_is_a_word_of_ours_spoils_nothing(sqlite_world: World, password: str) -> None:
    sqlite_world.environment = {"EMAIL_HOST_PASSWORD": password}
    told = json.loads(here(sqlite_world, "payroll", "generate", "-n", "--json", *AS_OF).stdout)
    assert (told["job"], told["status"], told["result"]["week"]) == (
        "generate-weekly-payroll",
        "succeeded",
        "2025-11-17 - 2025-11-23",
    )


def test_cron_works_for_its_slot_and_for_no_other_week(sqlite_world: World) -> None:
    done = here(sqlite_world, "--cron", "payroll", "generate", "--week", "2025-W46", *AS_OF)
    assert done.returncode == 2
    assert sqlite_world.runs() == []


@pytest.mark.parametrize(
    "url", ["postgres:/u:hunter22@h/d", "postgresql:u:hunter22@h/d", "postgresql://u:hunt@er22@h/d"]
)
def test_a_url_that_cannot_be_read_is_shown_to_nobody(sqlite_world: World, url: str) -> None:
    sqlite_world.environment = {"KIBRAY_OPS_DATABASE_URL": url}
    for words in (("config", "show"), ("config", "show", "--json"), ("config", "check"), ("payroll", "generate")):
        done = here(sqlite_world, *words)
        assert "er22" not in done.stdout + done.stderr


def test_init_does_not_print_the_password(pg_world: World) -> None:
    pg_world.url += "&password=hunter22"
    done = here(pg_world, "db", "init")
    assert done.returncode == 0
    assert "hunter22" not in done.stdout


def plain(text: str) -> str:
    import re

    return re.sub(r"\x1b\[[0-9;]*m", "", text).replace("\r", "")


def full_week(world: World) -> None:
    employee = world.employee("María Guadalupe Hernández Villaseñor", "38.75")
    for day in range(17, 24):
        world.entry(employee, f"2025-11-{day}", "10.25")
    world.entry(employee, MON, None, "17:00", None)
    idle = world.employee("[red]Idle[/red] \u2705", "19.00")
    assert idle


def test_the_report_fits_100_columns(sqlite_world: World) -> None:
    full_week(sqlite_world)
    shown = plain(in_terminal(sqlite_world, 100, "payroll", "generate", "-n", *AS_OF))
    lines = shown.splitlines()
    assert max(map(len, lines)) <= 100
    (line,) = [line for line in lines if line.startswith("María")]
    for part in ("10.25", "40", "31.75", "38.75", "3,395.47", "new", "OP"):
        assert part in line
    assert "DRY RUN" in lines[0]
    assert "[red]Idle[/red]" in shown
    assert "Mon" in shown


@pytest.mark.parametrize("columns", [40, 60, 80])
def test_a_narrow_terminal_leaves_the_days_out(sqlite_world: World, columns: int) -> None:
    full_week(sqlite_world)
    shown = plain(in_terminal(sqlite_world, columns, "payroll", "generate", "-n", *AS_OF))
    assert max(map(len, shown.splitlines())) <= columns
    (heading,) = [line for line in shown.splitlines() if line.startswith("Empl")]
    assert "Mon" not in heading
    assert "3,395.47" in shown


def test_colours_only_where_they_are_wanted(sqlite_world: World) -> None:
    full_week(sqlite_world)
    words = ("payroll", "generate", "-n", *AS_OF)
    assert "\x1b[" in in_terminal(sqlite_world, 100, *words)
    assert "\x1b[3" not in in_terminal(sqlite_world, 100, *words, NO_COLOR="1")
    sqlite_world.environment = {}
    assert "\x1b[" not in here(sqlite_world, *words).stdout


def test_a_pipe_gets_whole_lines(sqlite_world: World) -> None:
    full_week(sqlite_world)
    shown = here(sqlite_world, "payroll", "generate", "-n", *AS_OF).stdout
    (line,) = [line for line in shown.splitlines() if line.startswith("María")]
    assert "María Guadalupe Hernández Villaseñor" in line
    assert "3,395.47" in line


def test_csv_on_stdout(sqlite_world: World) -> None:
    full_week(sqlite_world)
    done = here(sqlite_world, "payroll", "generate", "-n", "--csv", "-", *AS_OF)
    assert done.stdout.splitlines()[0].startswith("Employee ID,Employee,Mon")
    assert len(done.stdout.splitlines()) == 3


def test_a_csv_that_cannot_be_written_stops_before_the_run(sqlite_world: World) -> None:
    done = here(sqlite_world, "payroll", "generate", "--csv", str(sqlite_world.directory), *AS_OF)
    assert done.returncode == 2
    assert sqlite_world.rows("core_payrollperiod") == []


def test_runs_are_listed_and_shown(newest: World) -> None:
    full_week(newest)
    newest.execute("generate-weekly-payroll")
    newest.execute("generate-weekly-payroll", week="nonsense")
    listed = json.loads(here(newest, "runs", "list", "--json").stdout)["runs"]
    assert [run["status"] for run in listed] == ["failed", "succeeded"]
    shown = here(newest, "runs", "show", str(listed[1]["id"]))
    assert "succeeded" in shown.stdout
    assert "has no end time" in shown.stdout
    failed = here(newest, "runs", "show", str(listed[0]["id"]))
    assert "Write 2025-W47" in failed.stdout, "what to do is kept too"
    told = json.loads(here(newest, "runs", "show", str(listed[0]["id"]), "--json").stdout)["run"]
    assert told["arguments"] == {"week": "nonsense"}
    assert "nonsense" in told["error"]
    assert "generate-weekly-payroll" in here(newest, "runs", "list", "--status", "failed").stdout
    assert here(newest, "runs", "list", "--status", "running").stdout == "No such run.\n"


def test_the_counts_of_a_run_stand_in_one_column(sqlite_world: World) -> None:
    report = sqlite_world.execute("check-inventory-shortages")
    shown = here(sqlite_world, "runs", "show", str(report.run_id)).stdout
    column = shown.splitlines()[1].index("20")
    lines = {line[:column].strip(): line[column:] for line in shown.splitlines()[1:]}
    assert lines.items() >= {name.replace("_", " "): str(value) for name, value in report.result.items()}.items()


def test_the_list_of_runs_fits_100_columns(sqlite_world: World) -> None:
    here(sqlite_world, "--cron", "payroll", "generate", "--week", *AS_OF)
    sqlite_world.sql("UPDATE kibray_ops_run SET status = 'interrupted', job = 'alert-high-priority-touchups'")
    shown = plain(in_terminal(sqlite_world, 100, "runs", "list"))
    assert max(map(len, shown.splitlines())) <= 100
    for part in ("alert-high-priority-touchups", "interrupted", "2025-11-24T07:00"):
        assert part in shown


# ---- start-up


LIGHT = (
    "--help", "--version", "payroll --help", "runs --help", "", "payroll",
    "crontab generate --program /opt/kibray-ops", "crontab generate --system --user root --program /opt/kibray-ops",
    "jobs list", "schedule export --target systemd --output units --program /opt/kibray-ops --user kibray",
    "schedule export --target kubernetes --output cluster",
)  # fmt: skip
"""Commands that have to be there at once."""


def imported(
    commands: Sequence[str], modules: Sequence[str], environment: dict[str, str] | None = None
) -> dict[str, list[str]]:
    """Return which of some modules are imported when a command has run, and others before it, in one process."""
    code = (
        "import json, sys\nfrom kibray_ops.cli.app import main\nfound = {}\n"
        f"for words in {commands!r}:\n    try:\n        main(words.split())\n    except SystemExit:\n        pass\n"
        f"    found[words] = [name for name in {modules!r} if name in sys.modules]\n"
        "print('\\n' + json.dumps(found))"
    )
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    told: dict[str, list[str]] = json.loads(done.stdout.splitlines()[-1])
    return told


def test_help_imports_nothing_heavy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KIBRAY_OPS_TIMEZONE", "America/Denver")
    monkeypatch.setenv("KIBRAY_OPS_DATABASE_URL", "sqlite:////srv/kibray.sqlite3")
    heavy = ("sqlalchemy", "sqlmodel", "pydantic", "httpx", "psycopg", "croniter", "alembic")
    assert imported(LIGHT, heavy) == {words: [] for words in LIGHT}


@pytest.mark.parametrize("words", [(), ("plans",)])
def test_without_a_command_help_is_shown_once(words: tuple[str, ...], sqlite_world: World) -> None:
    shown = here(sqlite_world, *words)
    assert (shown.returncode, shown.stderr) == (2, "")
    assert shown.stdout.count("Usage:") == 1


def test_completion_imports_nothing_heavy() -> None:
    environment = {
        **os.environ,
        "_KIBRAY_OPS_COMPLETE": "complete_bash",
        "COMP_WORDS": "kibray-ops pay",
        "COMP_CWORD": "1",
    }
    code = "import sys, atexit\natexit.register(lambda: print('IMPORTED', 'sqlalchemy' in sys.modules))\nfrom kibray_ops.cli.app import main\nmain([])"  # fmt: skip  # noqa: E501
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert "payroll" in done.stdout
    assert "IMPORTED False" in done.stdout


def test_a_job_imports_only_what_it_uses(sqlite_world: World) -> None:
    words = "payroll generate --week --as-of 2025-11-24 -n"
    assert imported([words], ("httpx", "psycopg", "alembic"), sqlite_world.environ) == {words: []}


def test_every_module_of_a_job_is_found_by_its_name() -> None:
    jobs = Path(registry.__file__).parent / "jobs"
    built = {job.path.rpartition(".")[2] for job in (*registry.JOBS, *registry.ACTIONS)}
    assert built == {path.stem for path in jobs.glob("*.py")} - {"__init__"}


def test_group_commands_are_the_registrys(sqlite_world: World) -> None:
    groups: dict[str, Any] = {}
    for job in (*registry.JOBS, *registry.ACTIONS):
        groups.setdefault(job.command[:-1], []).append(job.command[-1])
    for group, commands in groups.items():
        shown = here(sqlite_world, *group, "--help").stdout
        assert all(command in shown for command in commands)
