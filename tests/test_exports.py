"""The exports for other engines: read by each one's own tool or schema, and fired while the clocks change."""

import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import jsonschema
import pytest
import yaml

from kibray_ops import exports, settings
from kibray_ops.crontab import Program
from kibray_ops.errors import ConfigurationError
from kibray_ops.exports import MARK, TARGETS, Export, Plan
from kibray_ops.registry import JOBS, Job
from tests.debian_cron import numbers
from tests.test_clock_changes import BY_WORDS, DAYS, OFFICES, WEEKS, assert_slots

HAS_SYSTEMD = shutil.which("systemd-analyze") is not None
needs_systemd = pytest.mark.skipif(not HAS_SYSTEMD, reason="there is no systemd-analyze (Debian: apt install systemd)")
EVERYTHING = {job.words for job in JOBS} | {("catch-up",)}


def made(target: str, zone: str = "America/Denver", *, today: date = date(2026, 5, 1), **environ: str) -> Export:
    """Return an export of a machine with a PostgreSQL server."""
    given = {"HOME": "/nonexistent", "KIBRAY_OPS_DATABASE_URL": "postgresql://kibray:hunter22@db/kibray"}
    found = settings.load(environ=given | {"KIBRAY_OPS_TIMEZONE": zone} | environ).checked()
    program = Program("/usr/local/bin/kibray-ops", "/srv/office/env", "kibray")
    return exports.export(target, Plan(found, today, program, "registry.example.com/kibray-ops:1.0"))


def cron_jobs(export: Export) -> list[dict[str, Any]]:
    return [document for document in yaml.safe_load_all(export.files["cronjobs.yaml"]) if document]


def container(cron_job: dict[str, Any]) -> dict[str, Any]:
    (found,) = cron_job["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"]
    assert isinstance(found, dict)
    return found


def services(export: Export) -> list[dict[str, Any]]:
    found = yaml.safe_load(export.files["render.yaml"])["services"]
    assert isinstance(found, list)
    return found


def value(unit: str, name: str) -> str:
    """Return what the only line of a unit with that name says."""
    (found,) = re.findall(rf"^{name}=(.*)$", unit, re.M)
    return str(found)


def timers(export: Export) -> dict[tuple[str, ...], list[str]]:
    """Return the words and the calendar of each timer."""
    found = {}
    for name, unit in export.files.items():
        if name.endswith(".timer"):
            service = export.files[name.replace(".timer", ".service")]
            words = tuple(shlex.split(value(service, "ExecStart")))
            found[words[words.index("--cron") + 1 :]] = re.findall(r"^OnCalendar=(.*)$", unit, re.M)
    return found


# ---- what every export has


@pytest.mark.parametrize("target", TARGETS)
def test_what_is_exported_is_plain_and_has_no_secret(target: str) -> None:
    for name, text in made(target).files.items():
        assert text.startswith(f"{MARK}\n"), name
        assert text.endswith("\n")
        assert "hunter22" not in text


def test_every_engine_starts_every_job() -> None:
    assert set(timers(made("systemd"))) == EVERYTHING
    arguments = [container(found)["args"] for found in cron_jobs(made("kubernetes"))]
    assert {tuple(words[3:]) for words in arguments} == EVERYTHING
    assert {tuple(words[:3]) for words in arguments} == {("--env-file", "/etc/kibray-ops/env", "--cron")}
    commands = [tuple(shlex.split(found["startCommand"])) for found in services(made("render"))]
    assert {words[2:] for words in commands} == EVERYTHING
    assert {words[:2] for words in commands} == {("kibray-ops", "--cron")}


# ---- the clocks


@cache
def walls(zone: str, monday: date, office: str) -> list[tuple[datetime, datetime]]:
    """Return every minute of the weeks from a Monday on: the moment, and what a clock in the zone shows."""
    first = datetime(monday.year, monday.month, monday.day, tzinfo=ZoneInfo(office)).astimezone(UTC)
    after = monday + timedelta(DAYS)
    last = datetime(after.year, after.month, after.day, tzinfo=ZoneInfo(office)).astimezone(UTC)
    minutes = int((last - first) / timedelta(minutes=1))
    moments = [first + timedelta(minutes=n) for n in range(minutes)]
    return [(moment, moment.astimezone(ZoneInfo(zone)).replace(tzinfo=None)) for moment in moments]


def matching(times: str, zone: str, monday: date, office: str) -> Iterator[datetime]:
    """Yield when five fields match what the clock shows: a time that is jumped over never, one that repeats twice."""
    minute, hour, _, _, weekday = times.split()
    minutes, hours, weekdays = numbers(minute, 0, 59), numbers(hour, 0, 23), numbers(weekday, 0, 6)
    for moment, wall in walls(zone, monday, office):
        if wall.minute in minutes and wall.hour in hours and wall.isoweekday() % 7 in weekdays:
            yield moment


@pytest.mark.parametrize("season", WEEKS)
@pytest.mark.parametrize("business", [*OFFICES, "Australia/Lord_Howe"])
@pytest.mark.parametrize("target", ["kubernetes", "render"])
def test_each_slot_once_when_the_clocks_change(target: str, business: str, season: str) -> None:
    monday = WEEKS[season]
    if business == "Australia/Lord_Howe":  # its clocks go by half an hour, and the other way round
        monday = {"spring": date(2026, 9, 28), "fall": date(2026, 3, 30)}[season]
    export = made(target, business, today=monday)
    if target == "kubernetes":
        found = [
            (container(one)["args"][3:], one["spec"]["schedule"], one["spec"]["timeZone"]) for one in cron_jobs(export)
        ]
    else:
        found = [(one["startCommand"].split()[2:], one["schedule"], "Etc/UTC") for one in services(export)]
    times = [
        (moment, BY_WORDS[tuple(words)])
        for words, fields, zone in found
        if words != ["catch-up"]
        for moment in matching(fields, zone, monday, business)
    ]
    assert_slots(business, monday, sorted(times, key=lambda pair: pair[0]), timedelta())


@needs_systemd
@pytest.mark.parametrize(("business", "season"), [("America/Denver", "spring"), ("America/Denver", "fall")])
def test_each_slot_once_by_systemds_own_calendar(business: str, season: str) -> None:
    monday = WEEKS[season]
    first, last = (walls(business, monday, business)[n][0] for n in (0, -1))
    times: list[tuple[datetime, Job]] = []
    for words, calendar in timers(made("systemd", business, today=monday)).items():
        if words == ("catch-up",):
            continue
        for elapse in elapses(calendar, first, 24 * DAYS + 2 if "send" in words else 2 * DAYS + 2):
            if elapse <= last:
                times.append((elapse, BY_WORDS[words]))
    assert_slots(business, monday, sorted(times, key=lambda pair: pair[0]), timedelta())


def elapses(calendar: list[str], first: datetime, count: int) -> list[datetime]:
    """Return when systemd would start something."""
    base = (first - timedelta(seconds=1)).strftime("%Y-%m-%d %H:%M:%S UTC")
    command = ["systemd-analyze", "calendar", f"--iterations={count}", f"--base-time={base}", *calendar]
    shown = subprocess.run(command, env={"TZ": "UTC", "LC_ALL": "C"}, capture_output=True, text=True, check=True).stdout
    found = re.findall(r"(?:Next elapse|Iter\. #\d+): \w{3} (\S+ \S+) UTC", shown)
    assert len(found) == count * len(calendar)
    return sorted(datetime.fromisoformat(text).replace(tzinfo=UTC) for text in found)


# ---- systemd


def written(export: Export, directory: Path) -> Path:
    exports.write(export, directory)
    return directory


@needs_systemd
def test_systemd_verifies_the_units(tmp_path: Path) -> None:
    """The tool looks for the program, so a path with what means something in a unit is read back by it."""
    odd = tmp_path / "bin 100% of $HOME"
    odd.mkdir()
    place = shutil.copy("/bin/true", odd / "kibray-ops")
    given = Program(str(place), str(odd / "env"), "root")
    found = settings.load(environ={"HOME": str(odd), "KIBRAY_OPS_TIMEZONE": "America/Denver"}).checked()
    export = exports.export("systemd", Plan(found, date(2026, 5, 1), given, ""))
    units = sorted(written(export, tmp_path / "units").iterdir())
    told = subprocess.run(["systemd-analyze", "verify", *map(str, units)], capture_output=True, text=True, check=False)
    assert (told.returncode, told.stderr) == (0, "")
    Path(place).unlink()
    told = subprocess.run(["systemd-analyze", "verify", *map(str, units)], capture_output=True, text=True, check=False)
    assert f"Command {place} is not executable" in told.stderr


@needs_systemd
def test_the_services_are_confined(tmp_path: Path) -> None:
    directory = written(made("systemd"), tmp_path)
    service = directory / "kibray-ops-generate-weekly-payroll.service"
    command = ["systemd-analyze", "security", "--offline=yes", "--no-pager", "--threshold=20", str(service)]
    told = subprocess.run(command, capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stdout[-200:]


def test_a_unit_says_what_a_job_needs() -> None:
    files = made("systemd", KIBRAY_OPS_HARD_TIME_LIMIT_GENERATE_WEEKLY_PAYROLL="3600").files
    service, timer = (files[f"kibray-ops-generate-weekly-payroll.{kind}"] for kind in ("service", "timer"))
    assert value(service, "User") == "kibray"
    assert value(service, "Type") == "oneshot"
    assert value(service, "Environment") == "KIBRAY_OPS_TIMEZONE=America/Denver"
    assert value(service, "After") == "network-online.target postgresql.service"
    assert value(service, "NoNewPrivileges") == "yes"
    assert (value(service, "ProtectSystem"), value(service, "ProtectHome")) == ("strict", "read-only")
    assert value(service, "UMask") == "0077"
    assert value(service, "RestrictAddressFamilies") == "AF_INET AF_INET6 AF_UNIX"
    assert value(service, "TimeoutStartSec") == str(3600 + 300)
    assert value(service, "ExecStart") == (
        "/usr/local/bin/kibray-ops --env-file /srv/office/env --cron payroll generate --week"
    )
    assert "ReadWritePaths" not in service  # the server keeps the data
    assert value(timer, "OnCalendar") == "Mon *-*-* 07:00:00 America/Denver"
    assert value(timer, "Persistent") == "yes"
    assert value(timer, "AccuracySec") == "1s"
    assert value(timer, "PartOf") == "kibray-ops.target"
    assert value(files["kibray-ops.target"], "WantedBy") == "timers.target"
    assert value(files["kibray-ops-catch-up.timer"], "OnCalendar") == "*-*-* *:07,22,37,52:00 Etc/UTC"
    assert value(files["kibray-ops-send-pending-notifications.timer"], "OnCalendar") == "*-*-* *:00:00 Etc/UTC"
    assert value(files["kibray-ops-catch-up.timer"], "Persistent") == "no"
    assert value(files["kibray-ops-cleanup-old-notifications.timer"], "OnCalendar") == (
        "Sun *-*-* 02,03:00:00 America/Denver"
    )
    wanted = value(files["kibray-ops.target"], "Wants").split()
    assert sorted(wanted) == sorted(name for name in files if name.endswith(".timer"))


def test_a_job_with_two_times_has_one_timer_and_two_cron_jobs() -> None:
    """On Lord Howe Island the clocks go by half an hour, and Sunday's two o'clock is half past two then."""
    files = made("systemd", "Australia/Lord_Howe").files
    assert len(files) == 23
    assert re.findall("^OnCalendar=(.*)$", files["kibray-ops-cleanup-old-notifications.timer"], re.M) == [
        "Sun *-*-* 02:00:00 Australia/Lord_Howe",
        "Sun *-*-* 02:30:00 Australia/Lord_Howe",
    ]
    names = [one["metadata"]["name"] for one in cron_jobs(made("kubernetes", "Australia/Lord_Howe"))]
    assert len(set(names)) == len(names) == 12
    assert "kibray-ops-cleanup-old-notifications-2" in names


def test_jobs_may_write_where_their_files_are() -> None:
    export = made(
        "systemd",
        KIBRAY_OPS_DATABASE_URL="sqlite:////srv/100%25/a b/kibray.sqlite3",
        KIBRAY_OPS_EMAIL_BACKEND="file",
        KIBRAY_OPS_EMAIL_DIR="/srv/mail",
    )
    service = export.files["kibray-ops-send-pending-notifications.service"]
    assert re.findall(r"^ReadWritePaths=(.*)$", service, re.M) == ['-"/srv/100%%/a b"', "-/srv/mail"]
    by_smtp = made("systemd", KIBRAY_OPS_EMAIL_DIR="/srv/mail").files["kibray-ops-catch-up.service"]
    assert "ReadWritePaths" not in by_smtp


def test_words_with_what_means_something_in_a_unit() -> None:
    """As systemd.service(5) and systemd.unit(5) have it: $$ is a dollar, %% a percent sign, \\ a backslash."""
    found = settings.load(environ={"HOME": "/", "KIBRAY_OPS_TIMEZONE": "America/Denver"}).checked()
    program = Program("/opt/$HOME/100%/kibray-ops", """/srv/100% of "Ana's" $HOME\\env""")
    export = exports.export("systemd", Plan(found, date(2026, 5, 1), program, ""))
    assert value(export.files["kibray-ops-catch-up.service"], "ExecStart") == (
        r"""/opt/$HOME/100%%/kibray-ops --env-file "/srv/100%% of \"Ana's\" $$HOME\\env" --cron catch-up"""
    )


def test_a_database_behind_a_link_has_two_directories(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "kibray.sqlite3").symlink_to(tmp_path / "data" / "real.sqlite3")
    export = made("systemd", KIBRAY_OPS_DATABASE_URL=f"sqlite:///{tmp_path}/kibray.sqlite3")
    service = export.files["kibray-ops-catch-up.service"]
    assert re.findall(r"^ReadWritePaths=(.*)$", service, re.M) == [f"-{tmp_path}", f"-{tmp_path}/data"]


def test_what_no_unit_can_say() -> None:
    plan = Plan(
        settings.load(environ={"HOME": "/", "TZ": "UTC"}), date(2026, 5, 1), Program("/opt/a\nb/kibray-ops"), ""
    )
    with pytest.raises(ConfigurationError):
        exports.export("systemd", plan)


# ---- Render


VARIABLE = {
    "oneOf": [
        {"required": ["fromGroup"], "properties": {"fromGroup": {"type": "string"}}, "additionalProperties": False},
        {
            "required": ["key", "value"],
            "properties": {"key": {"type": "string"}, "value": {"type": ["string", "number"]}},
            "additionalProperties": False,
        },
    ]
}
CRON_SERVICE = {
    "type": "object",
    "required": ["type", "name", "runtime", "schedule", "buildCommand", "startCommand"],
    "properties": {
        "type": {"const": "cron"},
        "name": {"type": "string", "pattern": "^[a-z0-9-]+$"},
        "runtime": {"enum": ["docker", "elixir", "go", "image", "node", "python", "ruby", "rust"]},
        "plan": {"enum": ["starter", "standard", "pro", "pro plus", "pro max", "pro ultra"]},
        "region": {"enum": ["frankfurt", "ohio", "oregon", "singapore", "virginia"]},
        "schedule": {"type": "string", "pattern": r"^[0-9,]+ ([0-9,]+|\*) \* \* ([0-6]|\*)$"},
        "buildCommand": {"type": "string"},
        "startCommand": {"type": "string"},
        "envVars": {"type": "array", "items": VARIABLE},
    },
    "additionalProperties": False,
}
BLUEPRINT = {
    "type": "object",
    "required": ["services"],
    "properties": {"services": {"type": "array", "items": CRON_SERVICE}},
    "additionalProperties": False,
}
"""What Render's Blueprint reference says of cron services, as far as it is used here."""


def test_render_knows_the_fields() -> None:
    export = made("render")
    jsonschema.validate(yaml.safe_load(export.files["render.yaml"]), BLUEPRINT)
    found = {one["name"]: one for one in services(export)}
    assert len(found) == 11
    payroll = found["kibray-ops-generate-weekly-payroll"]
    assert payroll["schedule"] == "0 13,14 * * 1"
    assert payroll["buildCommand"] == "pip install ."
    assert payroll["envVars"] == [
        {"fromGroup": "kibray-ops"},
        {"key": "KIBRAY_OPS_TIMEZONE", "value": "America/Denver"},
    ]


# ---- Celery


def test_the_procfile() -> None:
    start = "env KIBRAY_OPS_TIMEZONE=America/Denver KIBRAY_OPS_ENV_FILE=/srv/office/env celery -A kibray_ops"
    assert made("celery").files["Procfile"] == (
        f"{MARK}\n"
        "# Any number of workers, on any hosts; one beat, which sends by the times of America/Denver:\n"
        "#   daily 01:00              update-invoice-statuses\n"
        "#   Sunday 02:00             cleanup-old-notifications\n"
        "#   daily 05:00              fetch-weather-snapshots\n"
        "#   daily 05:00              update-daily-plans-weather\n"
        "#   daily 06:00              check-overdue-invoices\n"
        "#   Monday 07:00             generate-weekly-payroll\n"
        "#   daily 08:00              check-inventory-shortages\n"
        "#   daily 09:00              alert-high-priority-touchups\n"
        "#   daily 17:15              alert-incomplete-daily-plans\n"
        "#   hourly :00               send-pending-notifications\n"
        "#   hourly :07, :22, :37, :52 catch-up\n"
        f"worker: {start} worker --loglevel=info\n"
        f"beat: {start} beat --loglevel=info\n"
    )
