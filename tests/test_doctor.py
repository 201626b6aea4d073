"""doctor: each thing that has to be right, what is said where it is not, and that nobody is asked unbidden."""

import json
import os
import re
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from kibray_ops import pauses, provision, settings
from kibray_ops.clock import Clock
from kibray_ops.database import Database
from kibray_ops.doctor import examine
from kibray_ops.models.operations import HEAD, VERSION_TABLE
from kibray_ops.registry import JOBS
from kibray_ops.report import Trigger
from kibray_ops.runner import execute
from kibray_ops.schedule import slot_before
from tests.here import here
from tests.post import PASSWORD, TOKEN, Carrier, post_office, trouble
from tests.sky import BAD_GATEWAY, Sky
from tests.test_catch_up import BY_NAME, playing
from tests.test_crontab import at_home, program, run  # noqa: F401 - `program` is a fixture
from tests.world import ZONE, Simulated, World

STATUSES = "update-invoice-statuses"
PAYROLL = "generate-weekly-payroll"
NAMES = {job.name for job in JOBS}
Told = list[tuple[str, str]]


def told(world: World, subject: str, *, online: bool = False, **environment: str) -> Told:
    """Return the level and the words of what is found about one thing."""
    found = examine(settings.load(environ={**world.environ, **environment}), online=online)
    return [
        (one.level, f"{one.message} → {one.hint}" if one.hint else one.message)
        for one in found
        if one.subject == subject
    ]


def says(found: Told, level: str, *words: str) -> bool:
    """Tell whether there is just one thing, at that level, with all of these words."""
    return len(found) == 1 and found[0][0] == level and all(word in found[0][1] for word in words)


def live_now(world: World) -> Clock:
    """Let nothing be late; return the machine's clock."""
    clock = Clock(world.settings.zone)
    provision.move_baseline(Database(world.settings), clock.now())
    return clock


# ---- the command


def test_all_findings_as_json_and_nothing_is_written(newest: World) -> None:
    before = newest.dump()
    shown = here(newest, "doctor", "--json")
    about = json.loads(shown.stdout)
    found = about["findings"]
    assert list(about) == ["schema", "problems", "warnings", "findings"]
    assert {tuple(one) for one in found} == {("level", "subject", "message", "hint")}
    levels = [one["level"] for one in found]
    assert (about["schema"], about["problems"]) == (1, levels.count("problem"))
    assert about["warnings"] == levels.count("warning")
    assert set(levels) == {"ok", "warning", "problem"}
    assert all(bool(one["hint"]) == (one["level"] != "ok") for one in found)
    subjects = {one["subject"] for one in found}
    assert subjects >= NAMES | {
        "settings", "time zone", "cron", "crontab", "mail", "SMS", "weather", "alarms", "database", "Kibray's tables",
        "own tables", "privileges",
    }  # fmt: skip
    assert ("clock" in subjects) == (newest.engine == "postgresql")
    assert (shown.returncode, shown.stderr) == (1, "")
    assert newest.dump() == before


def test_no_secret_is_printed_whatever_goes_wrong(pg_world: World, sky: Sky, phones: Carrier) -> None:
    """Every service refuses the login, and the alarms' address is a secret by itself."""
    pg_world.url = pg_world.url.replace("postgres:@", "postgres:hunter22-database@")
    sky.key = "the right one"
    with post_office(login=True) as post:
        pg_world.environment |= {
            **post.environment, **phones.environment, "KIBRAY_OPS_EMAIL_HOST_PASSWORD": "hunter22-wrong",
            "KIBRAY_OPS_TWILIO_AUTH_TOKEN": "hunter22-token", "KIBRAY_OPS_WEATHER_API_KEY": "hunter22-key",
            "KIBRAY_OPS_PING_URL": "http://127.0.0.1:9/hunter22-ping",
        }  # fmt: skip
        shown = here(pg_world, "doctor", "--online", "--json")
    findings = json.loads(shown.stdout)["findings"]
    assert {one["subject"] for one in findings if one["level"] == "problem"} >= {"mail", "SMS", "weather"}
    assert "failures are told by pings" in shown.stdout
    assert "hunter22" not in shown.stdout + shown.stderr
    assert "aHVudGVyMjI" not in shown.stdout + shown.stderr  # the same in base64, as logins say it
    assert "Traceback" not in shown.stderr


# ---- settings, the env file, the zone


def test_wrong_settings_are_told_and_no_service_is_asked(sqlite_world: World) -> None:
    sqlite_world.environment |= {
        "KIBRAY_OPS_EMAIL_PORT": "hunter22", "KIBRAY_OPS_EMAIL_HOST_PASSWORD": "hunter22", "KIBRAY_OPS_NONSENSE": "y",
        "KIBRAY_OPS_TIMEZONE": "Mars/Base", "KIBRAY_OPS_DATABASE_URL": "mysql://u:hunter22@db/x",
    }  # fmt: skip
    shown = here(sqlite_world, "doctor")
    assert (shown.returncode, shown.stderr) == (1, "")
    assert "hunter22" not in shown.stdout
    for name in ("EMAIL_PORT", "NONSENSE", "TIMEZONE", "DATABASE_URL"):
        assert any(line.startswith("✗ settings") and name in line for line in shown.stdout.splitlines()), name
    assert "own tables" not in shown.stdout
    assert re.match(r"[4-7] problems", shown.stdout.splitlines()[-1])  # two or three are cron's
    found = settings.load(environ=sqlite_world.environ)
    of_cron = {"cron", "cron's settings", "crontab"}
    assert {one.subject for one in examine(found, online=True)} - of_cron == {"settings"}


def test_an_env_file_is_for_its_owner_only(sqlite_world: World) -> None:
    path = at_home(sqlite_world).directory / ".config" / "kibray-ops" / "env"
    assert told(sqlite_world, "env file") == [("ok", f"nobody else can read {path}")]
    assert says(told(sqlite_world, "settings"), "ok", str(path))
    for mode in (0o644, 0o640):
        path.chmod(mode)
        assert says(told(sqlite_world, "env file"), "warning", f"{path} can be read by others", f"600 {path}")
    missing = told(sqlite_world, "settings", KIBRAY_OPS_ENV_FILE="/nonexistent/env")
    assert says(missing, "problem", "/nonexistent/env does not exist")


def test_what_is_to_be_typed_is_as_a_shell_knows_it(sqlite_world: World) -> None:
    """What is to be typed is not made a sentence of."""
    path = at_home(sqlite_world).directory / ".config" / "kibray-ops" / "env"
    path.chmod(0o644)
    assert "chmod 600" in told(sqlite_world, "env file")[0][1]


def test_the_zone_of_the_host_beside_that_of_the_business(sqlite_world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Europe/Paris")
    assert says(told(sqlite_world, "time zone"), "ok", f"{ZONE} for the business, Europe/Paris for this machine")
    monkeypatch.setenv("TZ", ZONE)
    assert told(sqlite_world, "time zone") == [("ok", f"{ZONE}, for the business and this machine")]
    monkeypatch.setenv("TZ", "Mars/Base")
    assert says(told(sqlite_world, "time zone"), "problem", "does not tell its time zone", "timedatectl")


# ---- the database


def test_the_database_answers(world: World) -> None:
    (found,) = told(world, "database")
    assert found[0] == "ok"
    assert found[1].startswith("SQLite 3." if world.engine == "sqlite" else "PostgreSQL 1")
    assert told(world, "Kibray's tables") == [("ok", "have everything that the jobs need")]
    assert told(world, "own tables") == [("ok", f"are at revision {HEAD}")]
    if world.engine == "postgresql":
        assert says(told(world, "clock"), "ok", "differ by 0.")


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("postgresql://u:hunter22@127.0.0.1:1/kibray", ("does not answer", "Check that it runs")),
        ("sqlite:////nonexistent/kibray.sqlite3", ("/nonexistent/kibray.sqlite3 does not exist", "db init")),
        ("", ("no DATABASE_URL is set", "kibray-ops demo")),
        ("sqlite:///notes.txt", ("is not a SQLite database", "DATABASE_URL")),
    ],
)
def test_a_database_that_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str, said: tuple[str, str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    Path("notes.txt").write_text("not a database, but long enough to be read as one\n" * 50)
    world = World(url, "sqlite", "2026-06", tmp_path)
    assert says(told(world, "database"), "problem", *said)
    assert not told(world, PAYROLL)


def test_a_login_that_the_server_refuses(pg_world: World) -> None:
    pg_world.url = pg_world.url.replace("postgres:@", "nobody_here:hunter22@")
    found = told(pg_world, "database")
    assert says(found, "problem", "refuses the login", "nobody_here", "DATABASE_URL")
    assert "hunter22" not in found[0][1]


def test_our_tables_are_missing_older_newer_or_lost(bare: World) -> None:
    assert says(told(bare, "own tables"), "problem", "has not been set up", "db init")
    assert says(told(bare, "database"), "ok", "answers")
    assert not told(bare, PAYROLL)
    provision.init(Database(bare.settings), standalone=False, baseline=None, now=Clock(bare.settings.zone).now())
    assert says(told(bare, PAYROLL), "ok", "has not run yet")
    for revision, words in (("0001", ("older (0001)", "db init")), ("9999", ("newer (9999)", "pip install"))):
        bare.sql(f"UPDATE {VERSION_TABLE} SET version_num = ?", revision)
        assert says(told(bare, "own tables"), "problem", *words)
    bare.sql(f"UPDATE {VERSION_TABLE} SET version_num = ?", HEAD)
    bare.sql("DROP TABLE kibray_ops_alert")
    assert says(told(bare, "own tables"), "problem", "has lost kibray_ops_alert", "backup")


def test_what_kibrays_tables_lack_and_which_commands_that_stops(newest: World) -> None:
    newest.sql("DROP TABLE core_weathersnapshot")
    newest.sql("ALTER TABLE core_employee RENAME COLUMN hourly_rate TO rate")
    found = dict(reversed(pair) for pair in told(newest, "Kibray's tables"))
    assert set(found.values()) == {"problem"}
    (column, table) = sorted(found)
    assert column.startswith("core_employee.hourly_rate is missing: payroll generate")
    assert table.startswith("core_weathersnapshot is missing: weather fetch-snapshots")
    assert says(told(newest, "own tables"), "ok")


# ---- what the role may


@contextmanager
def as_role(world: World, role: str, *statements: str) -> Iterator[None]:
    """Be a role that has what `db grants` prints, and what the statements change."""
    good = world.url
    world.sql(f'CREATE ROLE "{role}" LOGIN')
    try:
        with world.connect() as connection:
            connection.execute(here(world, "db", "grants", role).stdout)
            for statement in statements:
                connection.execute(statement)
        world.url = good.replace("postgres:@", f"{role}:@")
        yield
    finally:
        world.url = good
        world.sql(f'DROP OWNED BY "{role}"; DROP ROLE "{role}"')


def test_a_role_has_just_what_is_needed_or_lacks_something_or_may_too_much(pg_world: World) -> None:
    role, owner = f"doctor_{os.getpid()}", pg_world.url

    def after(statement: str) -> Told:
        with World(owner, "postgresql", pg_world.version, pg_world.directory).connect() as connection:
            connection.execute(statement)
        return told(pg_world, "privileges")

    assert says(told(pg_world, "privileges"), "warning", "the role postgres may do more than it needs: ")
    with as_role(pg_world, role):
        enough = [("ok", f"the role {role} may do what the jobs need, and no more")]
        assert told(pg_world, "privileges") == enough

        lacks = after(f"REVOKE UPDATE ON core_invoice FROM {role}")
        assert says(lacks, "problem", f"the role {role} lacks UPDATE on core_invoice", f"`kibray-ops db grants {role}`")
        assert after(f"GRANT UPDATE ON core_invoice TO {role}") == enough

        columns = "(hourly_rate) ON core_employee"
        assert says(after(f"REVOKE SELECT {columns} FROM {role}"), "problem", "lacks SELECT on core_employee")
        assert after(f"GRANT SELECT {columns} TO {role}") == enough
        assert says(after(f"REVOKE DELETE ON kibray_ops_run FROM {role}"), "problem", "lacks DELETE on kibray_ops_run")
        assert after(f"GRANT DELETE ON kibray_ops_run TO {role}") == enough

        for privilege, place in (
            ("DELETE", "core_employee"),
            ("SELECT (password)", "auth_user"),
            ("SELECT (social_security_number)", "core_employee"),
        ):
            word, _, column = privilege.rstrip(")").partition(" (")
            named = f"{word} on {place}" + (f".{column}" if column else "")
            many = after(f"GRANT {privilege} ON {place} TO {role}")
            assert says(many, "warning", f"the role {role} may do more than it needs: {named} →")
            assert after(f"REVOKE {privilege} ON {place} FROM {role}") == enough


def test_a_privilege_on_one_column_is_too_much_too(pg_world: World) -> None:
    """It may set wages."""
    role = f"doctor_column_{os.getpid()}"
    with as_role(pg_world, role, f"GRANT UPDATE (hourly_rate) ON core_employee TO {role}"):
        assert says(told(pg_world, "privileges"), "warning", "may do more than it needs", "UPDATE on core_employee")


def test_a_role_that_may_not_read_our_tables_is_told_what_it_lacks(pg_world: World) -> None:
    """The run records cannot be read; what was found out about the database before is told all the same."""
    role = f"doctor_blind_{os.getpid()}"
    with as_role(pg_world, role, f"REVOKE SELECT ON kibray_ops_run FROM {role}"):
        assert says(told(pg_world, "own tables"), "ok", HEAD)
        assert says(told(pg_world, "privileges"), "problem", "lacks SELECT on kibray_ops_run")


def _read_only(directory: Path) -> tuple[str, ...]:
    """Return words before a command that see a directory read-only, which even root has to respect; skip without."""
    script = 'mount --bind "$0" "$0" && mount -o remount,bind,ro "$0" && exec "$@"'
    words = ("unshare", "--mount", "/bin/sh", "-c", script, str(directory))
    if shutil.which("unshare") is None or subprocess.run([*words, "true"], capture_output=True, check=False).returncode:
        pytest.skip("a read-only directory takes `unshare --mount`, which this machine does not let us use")
    return words


def test_a_file_that_cannot_be_written(sqlite_world: World) -> None:
    assert told(sqlite_world, "privileges") == [("ok", f"{sqlite_world.path} and its directory can be written")]
    at_home(sqlite_world)
    shown = run(sqlite_world, "doctor", "--json", around=_read_only(sqlite_world.directory))
    findings = json.loads(shown.stdout)["findings"]
    (found,) = [one for one in findings if one["subject"] == "privileges"]
    assert (found["level"], found["message"]) == ("problem", f"{sqlite_world.path} cannot be written")
    assert found["hint"].endswith("write it.")
    assert shown.returncode == 1


# ---- mail


def test_mail_is_not_set_up_or_goes_into_files(sqlite_world: World) -> None:
    sqlite_world.environment["KIBRAY_OPS_SITE_URL"] = "https://kibray.example.com"
    directory = sqlite_world.directory / "mail"
    asked = [("ok", f"goes by the directory {directory}")]
    assert told(sqlite_world, "mail") == asked
    assert says(told(sqlite_world, "mail", KIBRAY_OPS_EMAIL_FROM=""), "problem", "KIBRAY_OPS_EMAIL_FROM is not set")
    smtp = told(sqlite_world, "mail", KIBRAY_OPS_EMAIL_BACKEND="smtp")
    assert says(smtp, "problem", "E-mail is not set up: KIBRAY_OPS_EMAIL_HOST is not set")
    (_, odd) = told(sqlite_world, "mail", KIBRAY_OPS_SITE_URL="")
    assert odd[0] == "warning"
    assert "the messages have no links" in odd[1]
    blocked = told(sqlite_world, "mail", online=True, KIBRAY_OPS_EMAIL_DIR=f"{sqlite_world.path}/mail")
    assert says(blocked, "problem", "cannot be used for e-mail")


def test_a_look_makes_no_directory(sqlite_world: World) -> None:
    """Root may ask, and the user of cron's jobs has to write it."""
    told(sqlite_world, "mail", online=True)
    assert not (sqlite_world.directory / "mail").exists()


def test_the_mail_server_is_asked_only_online(sqlite_world: World) -> None:
    sqlite_world.environment["KIBRAY_OPS_SITE_URL"] = "https://kibray.example.com"
    with post_office(login=True) as post:
        sqlite_world.environment |= post.environment
        (plain, odd) = told(sqlite_world, "mail")
        assert (plain[0], odd[0]) == ("ok", "warning")
        assert "not asked" in plain[1]
        assert "the password goes out unencrypted" in odd[1]
        assert post.connections == 0
        (inside, _) = told(sqlite_world, "mail", online=True)
        assert inside[0] == "ok"
        assert "which lets us in" in inside[1]
        (outside, _) = told(sqlite_world, "mail", online=True, KIBRAY_OPS_EMAIL_HOST_PASSWORD=f"{PASSWORD}-not")
        assert outside[0] == "problem"
        assert "refuses the login of office@example.com" in outside[1]
        assert PASSWORD not in outside[1]
        assert (post.connections, post.taken) == (2, [])
    (gone, _) = told(sqlite_world, "mail", online=True)
    assert gone[0] == "problem"
    assert "cannot be reached" in gone[1]


# ---- SMS


def test_sms_are_off_or_on_and_asked_only_online(sqlite_world: World, phones: Carrier) -> None:
    assert told(sqlite_world, "SMS", online=True) == [("ok", "off")]
    (off, half) = sorted(told(sqlite_world, "SMS", KIBRAY_OPS_TWILIO_ACCOUNT_SID="AC1"))
    assert off == ("ok", "off")
    assert says([half], "warning", "no SMS are sent", "KIBRAY_OPS_TWILIO_AUTH_TOKEN")
    sqlite_world.environment |= phones.environment
    assert told(sqlite_world, "SMS", online=True, KIBRAY_OPS_EMAIL_REDIRECT_TO="me@example.com") == [("ok", "off")]
    assert told(sqlite_world, "SMS") == [("ok", "on, for task_alert; not asked (--online asks)")]
    assert phones.asked == []
    assert told(sqlite_world, "SMS", online=True) == [("ok", "Twilio knows the account")]
    wrong = told(sqlite_world, "SMS", online=True, KIBRAY_OPS_TWILIO_AUTH_TOKEN=f"{TOKEN}-not")
    assert says(wrong, "problem", "Twilio answered 401", "Authenticate", "_AUTH_TOKEN")
    assert TOKEN not in wrong[0][1]
    assert ({question.method for question in phones.asked}, phones.taken) == ({"GET"}, [])
    gone = told(sqlite_world, "SMS", online=True, KIBRAY_OPS_TWILIO_BASE_URL="http://127.0.0.1:9")
    assert says(gone, "problem", "Twilio cannot be reached", "wait in the outbox")


def test_what_twilio_says_is_searched_for_our_token(sqlite_world: World, phones: Carrier) -> None:
    """An answer may repeat it."""
    sqlite_world.environment |= phones.environment
    phones.faults = [trouble(401, 20003, f"Authenticate: {TOKEN} is not valid")]
    assert TOKEN not in told(sqlite_world, "SMS", online=True)[0][1]


# ---- the weather


def test_the_weather_services_are_asked_only_online(sqlite_world: World, sky: Sky) -> None:
    sky.today = Clock(sqlite_world.settings.zone).today()
    assert told(sqlite_world, "weather") == [("ok", "services not asked (--online asks)")]
    assert sky.questions == []
    fine = told(sqlite_world, "weather", online=True)
    assert [level for level, _ in fine] == ["ok"] * 3, fine
    paths = [question.path for question in sky.questions]
    assert paths == ["/v1/forecast", "/geocoder/locations/onelineaddress", "/v1/search"]

    sky.faults, sky.geocoder_faults = [BAD_GATEWAY] * 3, [BAD_GATEWAY] * 3
    forecast, geocoder, places = told(sqlite_world, "weather", online=True)
    assert (forecast[0], geocoder[0], places[0]) == ("problem", "problem", "ok")
    assert "answered 502" in forecast[1]
    assert "KIBRAY_OPS_WEATHER_" in forecast[1]
    gone = told(sqlite_world, "weather", online=True, KIBRAY_OPS_PLACES_BASE_URL="http://127.0.0.1:9")
    assert [level for level, _ in gone] == ["ok", "ok", "problem"]


def test_a_proxy_that_cannot_be_used_is_a_finding(sqlite_world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the package for SOCKS there is no client at all."""
    monkeypatch.setenv("ALL_PROXY", "socks5://127.0.0.1:9")
    found = told(sqlite_world, "weather", online=True)
    assert found
    assert {level for level, _ in found} == {"problem"}


def test_the_free_host_is_not_for_a_business(sqlite_world: World) -> None:
    free = {"KIBRAY_OPS_WEATHER_BASE_URL": settings.BY_NAME["WEATHER_BASE_URL"].default}
    assert told(sqlite_world, "weather", **free)[0][0] == "warning"
    assert "non-commercial" in told(sqlite_world, "weather", **free)[0][1]
    assert says(told(sqlite_world, "weather", **free, KIBRAY_OPS_WEATHER_API_KEY="k"), "ok", "not asked")


# ---- alarms


def test_who_hears_of_failures(sqlite_world: World) -> None:
    ping, mail = {"KIBRAY_OPS_PING_URL": "https://hc.example.com/x"}, {"KIBRAY_OPS_ALERT_EMAIL": "ops@example.com"}
    assert says(told(sqlite_world, "alarms"), "warning", "nobody is told", "KIBRAY_OPS_ALERT_EMAIL")
    assert told(sqlite_world, "alarms", **mail) == [("ok", "failures are told by e-mails")]
    nowhere = mail | {"KIBRAY_OPS_EMAIL_BACKEND": "smtp"}
    assert says(told(sqlite_world, "alarms", **nowhere), "warning", "no failure is mailed", "See mail")
    assert says(told(sqlite_world, "alarms", **ping, **nowhere), "warning", "no failure is mailed", "See mail")
    assert told(sqlite_world, "alarms", **ping) == [("ok", "failures are told by pings")]
    assert told(sqlite_world, "alarms", **ping, **mail) == [("ok", "failures are told by pings and e-mails")]


# ---- how each job stands


def test_how_each_job_stands(newest: World) -> None:
    found, clock = newest.settings, Clock(newest.settings.zone)
    slot = slot_before(BY_NAME[STATUSES], clock.now() - timedelta(hours=1), clock.zone)
    assert says(told(newest, STATUSES), "problem", f"late: due {slot.key.replace('T', ' ')}, and no run was started")
    refuse = playing(BY_NAME[STATUSES], "refuse")
    execute(refuse, settings=found, clock=Simulated(found.zone, moment=slot.moment), trigger=Trigger.CRON)
    late = told(newest, STATUSES)
    assert says(late, "problem", "last in run 1: It does not go")
    assert late[0][1].rpartition("→ ")[2][0].isupper()

    live_now(newest)
    assert says(told(newest, STATUSES), "warning", "run 1 failed", "`kibray-ops runs show 1`")
    assert says(told(newest, PAYROLL), "ok", "has not run yet; next Mon ")
    execute(playing(BY_NAME[PAYROLL], "idle"), settings=found, clock=clock)
    assert says(told(newest, PAYROLL), "ok", "succeeded ", f"{clock.today()}", "; next Mon ")
    newest.sql("UPDATE kibray_ops_run SET status = 'running', finished_at = NULL WHERE id = 2")
    assert told(newest, PAYROLL) == [("ok", "is running, run 2")]

    for until, words in (
        (None, "paused →"),
        (datetime.fromisoformat("2099-01-02T10:30-07:00"), "until 2099-01-02 10:30"),
    ):
        with Database(found).connect() as connection:
            pauses.pause(connection, BY_NAME[STATUSES], now=clock.now(), until=until)
            connection.commit()
        assert says(told(newest, STATUSES), "warning", words, f"jobs resume {STATUSES}")


# ---- cron


def machine(directory: Path, start: str = "true") -> tuple[str, ...]:
    """Return words before a command that see no process but their own, and /run and crontabs of the test's own.

    `start` is what the shell does first. A daemon that it starts ends with the command. Skips where that cannot be had.
    """
    mounts = {"spool": "/var/spool/cron/crontabs", "run": "/run", "cron.d": "/etc/cron.d"}
    for name in mounts:
        (directory / name).mkdir(exist_ok=True)
    script = [f"mount --bind '{directory / name}' {target}" for name, target in mounts.items()]
    words = ("unshare", "--mount", "--pid", "--fork", "--mount-proc", "/bin/sh", "-c")
    if not Path("/usr/sbin/cron").exists() or shutil.which("unshare") is None or os.geteuid() != 0:
        pytest.skip("a cron of the test's own takes root, unshare and Debian's cron")
    if subprocess.run([*words, " && ".join(script)], capture_output=True, check=False).returncode != 0:
        pytest.skip("this machine does not let us unshare mounts and processes")
    shutil.chown(directory / "spool", group="crontab")
    (directory / "spool").chmod(0o1730)
    return (*words, " && ".join([*script, start, 'exec "$@"']), "sh")


CRON = f"TZ={ZONE} /usr/sbin/cron"


def test_with_everything_right_all_is_well(sqlite_world: World, program: Path) -> None:  # noqa: F811
    around = machine(sqlite_world.directory, CRON)
    sqlite_world.execute(STATUSES, trigger=Trigger.CRON)  # that a schedule works is no reason not to look at ours
    clock = live_now(sqlite_world)
    more = {"KIBRAY_OPS_SITE_URL": "https://kibray.example.com", "KIBRAY_OPS_ALERT_EMAIL": "ops@example.com"}
    at_home(sqlite_world, **more)
    assert run(sqlite_world, "crontab", "install", "--program", str(program), around=around).returncode == 0
    shown = run(sqlite_world, "doctor", around=around)
    assert (shown.returncode, shown.stderr) == (0, ""), shown.stdout
    assert shown.stdout.endswith("\nAll is well.\n")
    assert {line[0] for line in shown.stdout.splitlines()[:-2]} <= {"✓", " "}
    (since,) = re.findall(r"cron runs, process \d+, since (.+) UTC", shown.stdout)
    started = datetime.fromisoformat(since).replace(tzinfo=UTC)
    assert timedelta(0) <= clock.now() - started < timedelta(minutes=3)
    shown = run(sqlite_world, "crontab", "check", around=around)
    assert (shown.returncode, shown.stdout.splitlines()[-1]) == (0, "All is well.")


@pytest.mark.parametrize(
    ("start", "said"),
    [
        ("true", "no cron daemon runs"),
        ("TZ=Europe/Paris /usr/sbin/cron", f"cron itself works in the zone Europe/Paris, and this shell in {ZONE}"),
        (
            "cp -a /etc etc && mount --bind etc /etc && env -u TZ /usr/sbin/cron && touch -hd '1 hour' /etc/localtime",
            "this machine's time zone was set after cron was started",
        ),
    ],
)
def test_a_cron_daemon_that_does_not_do(sqlite_world: World, start: str, said: str) -> None:
    around = machine(sqlite_world.directory, start)
    shown = run(at_home(sqlite_world), "crontab", "check", "--json", around=around)
    found = [one for one in json.loads(shown.stdout)["findings"] if one["subject"] == "cron"]
    assert said in [one["message"] for one in found]
    assert all(one["hint"] and one["level"] != "ok" for one in found if one["message"] == said)
    assert shown.returncode == 1


def test_where_something_else_starts_the_jobs_no_crontab_is_missed(
    newest: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A host with timers of systemd, a pod, a worker of Celery, or a second host."""
    monkeypatch.setenv("PATH", str(newest.directory))  # no crontab
    assert told(newest, "schedule") == []
    assert told(newest, "crontab")[0][0] == "problem"
    newest.execute(STATUSES)
    assert told(newest, "schedule") == []
    newest.execute(STATUSES, at="2025-11-25T07:00", trigger=Trigger.CRON)
    assert says(told(newest, "schedule"), "ok", STATUSES, socket.gethostname(), "by a schedule")
    assert told(newest, "crontab") == told(newest, "cron") == []
    newest.sql("UPDATE kibray_ops_run SET started_at = ?", Clock(newest.settings.zone).now() - timedelta(hours=3))
    assert told(newest, "schedule") == []
    assert told(newest, "crontab")[0][0] == "problem"
