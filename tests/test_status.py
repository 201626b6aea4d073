"""What operators ask of a cron machine: status, the jobs by name, pauses, run records, the schedule."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from kibray_ops import history, pauses, registry
from kibray_ops.catchup import read
from kibray_ops.cli import status as view
from kibray_ops.clock import Clock
from kibray_ops.database import Database
from kibray_ops.report import Report, Trigger
from kibray_ops.runner import execute
from kibray_ops.schedule import described, slot_after, slot_before
from kibray_ops.standing import as_dict
from tests.here import here, in_terminal
from tests.test_catch_up import BY_NAME, MONDAY, PAYROLL, go, live_from, playing, standing
from tests.test_cli import plain, two_lines
from tests.test_contract import ENVELOPE, counted
from tests.world import World, done

NAMES = [job.name for job in registry.JOBS]
NOON = f"{MONDAY}T12:00"
SEND = BY_NAME["send-pending-notifications"]
STATUSES = BY_NAME["update-invoice-statuses"]
OVERDUE = BY_NAME["check-overdue-invoices"]
INVENTORY = BY_NAME["check-inventory-shortages"]
TOUCHUPS = BY_NAME["alert-high-priority-touchups"]


def lasted(world: World, report: Report, seconds: float) -> None:
    """Let a run have taken so long."""
    world.sql(
        "UPDATE kibray_ops_run SET finished_at = ? WHERE id = ?",
        report.started_at + timedelta(seconds=seconds), report.run_id,
    )  # fmt: skip


def pause(world: World, name: str, at: str, until: str | None = None) -> None:
    with Database(world.settings).connect() as connection:
        end = world.at(until).now() if until else None
        pauses.pause(connection, BY_NAME[name], now=world.at(at).now(), until=end)
        connection.commit()


def a_monday(world: World) -> None:
    """Live through the first morning with kibray-ops, until noon; much goes wrong."""
    live_from(world, f"{MONDAY}T00:00")
    lasted(world, go(world, playing(STATUSES, "idle"), f"{MONDAY}T01:00"), 4.25)
    go(world, playing(BY_NAME["fetch-weather-snapshots"], "partly"), f"{MONDAY}T05:00")
    # plans update-weather, at 05:00, was never started
    for at in ("06:00", "06:16"):
        go(world, playing(OVERDUE, "refuse"), f"{MONDAY}T{at}")
    go(world, PAYROLL, f"{MONDAY}T07:00")  # the real one: nobody is employed, which is a warning
    running = go(world, playing(INVENTORY, "idle"), f"{MONDAY}T11:50")
    still = "UPDATE kibray_ops_run SET status = 'running', finished_at = NULL, exit_code = NULL WHERE id = ?"
    world.sql(still, running.run_id)
    pause(world, TOUCHUPS.name, f"{MONDAY}T08:30", "2025-11-26T00:00")
    go(world, playing(SEND, "idle"), f"{MONDAY}T11:00")


def found(world: World, at: str = NOON) -> dict[str, dict[str, Any]]:
    clock = world.at(at)
    return {one.job.name: as_dict(one, clock, world.settings.redact) for one in read(world.settings, clock)}


def shown(
    world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], columns: int, at: str = NOON
) -> str:
    """Return what `status` prints at a moment, at a width."""
    monkeypatch.setenv("COLUMNS", str(columns))
    clock = world.at(at)
    view._show(read(world.settings, clock), clock, world.settings)
    return capsys.readouterr().out


# ---- status


def test_how_every_job_stands_in_numbers(newest: World) -> None:
    a_monday(newest)
    jobs = found(newest)
    assert list(jobs) == NAMES
    late = {name: job["reason"] for name, job in jobs.items() if job["late"]}
    assert late == {
        "update-daily-plans-weather": f"due {MONDAY} 05:00, and no run was started",
        "check-overdue-invoices": f"due {MONDAY} 06:00; tried 2 times, last in run 4: It does not go",
    }
    assert {name: job["overdue_slot"] for name, job in jobs.items() if job["overdue_slot"]} == {
        "update-daily-plans-weather": f"{MONDAY}T05:00",
        "check-overdue-invoices": f"{MONDAY}T06:00",
        INVENTORY.name: f"{MONDAY}T08:00",
    }
    assert jobs["update-daily-plans-weather"]["hint"] == (
        "the next catch-up tries it; `kibray-ops plans update-weather` runs it by hand"
    )
    assert jobs[OVERDUE.name]["hint"].startswith("the next catch-up tries it")
    assert jobs[OVERDUE.name]["next_try"] == newest.at(f"{MONDAY}T07:16").now()

    last = jobs[STATUSES.name]["last_run"]
    assert last == jobs[STATUSES.name]["last_success"]
    assert (last["status"], last["exit_code"], last["trigger"], last["duration"]) == ("succeeded", 0, "cron", 4.25)
    assert (last["slot"], str(last["business_date"])) == (f"{MONDAY}T01:00", MONDAY)
    assert last["started_at"] == newest.at(f"{MONDAY}T01:00").now()
    assert jobs[STATUSES.name]["durations"] == [4.25]
    assert str(jobs[STATUSES.name]["next_run"]) == "2025-11-25 01:00:00-07:00"

    partly = jobs["fetch-weather-snapshots"]
    assert (partly["late"], partly["last_success"], partly["last_run"]["failures"]) == (False, None, 1)
    assert (jobs[PAYROLL.name]["last_run"]["warnings"], jobs[PAYROLL.name]["last_run"]["failures"]) == (1, 0)
    assert (jobs[OVERDUE.name]["last_run"]["id"], jobs[OVERDUE.name]["last_run"]["status"]) == (4, "failed")
    assert (jobs[INVENTORY.name]["running"], jobs[INVENTORY.name]["last_run"]) == (6, None)
    paused = jobs[TOUCHUPS.name]
    assert (paused["paused"], paused["paused_until"]) == (True, newest.at("2025-11-26T00:00").now())
    assert str(paused["next_run"]) == "2025-11-26 09:00:00-07:00"
    assert [name for name, job in jobs.items() if job["paused"]] == [TOUCHUPS.name]
    never = jobs["cleanup-old-notifications"]
    assert (never["late"], never["last_run"], never["last_success"], never["durations"]) == (False, None, None, [])


@pytest.mark.parametrize("columns", [80, 100, 160])
def test_how_every_job_stands_in_words(
    sqlite_world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], columns: int
) -> None:
    a_monday(sqlite_world)
    text = shown(sqlite_world, monkeypatch, capsys, columns)
    table, _, below = text.partition("\n\n✗")
    assert max(map(len, table.splitlines())) <= columns
    assert table.startswith(f"Monday {MONDAY} 12:00, America/Denver\n")
    assert ("Recent" in table) == (columns >= 100)
    lines = {line.split()[0]: " ".join(line.split()[1:]) for line in table.splitlines() if line}
    is_roomy = columns >= 100

    def at(weekday: str, moment: str) -> str:
        return f"{weekday} {moment}" if is_roomy else moment

    def took(words: str) -> str:
        return f" {words}" if is_roomy else ""

    tuesday, one, none = at("Tue", "11-25"), took("4.2 s █"), took("0 ms ▁")
    assert lines[STATUSES.name] == f"{at('Mon', '11-24')} 01:00 succeeded{one} {tuesday} 01:00"
    assert lines["fetch-weather-snapshots"] == f"never partial, 1 failure{none} {tuesday} 05:00"
    assert lines["update-daily-plans-weather"] == f"never late {tuesday} 05:00"
    assert lines[OVERDUE.name] == f"never late, failed{took('0 ms')} {tuesday} 06:00"
    assert lines[PAYROLL.name] == f"{at('Mon', '11-24')} 07:00 succeeded, 1 warning{none} {at('Mon', '12-01')} 07:00"
    assert lines[INVENTORY.name] == f"never running since 11:50 {tuesday} 08:00"
    assert lines[TOUCHUPS.name] == f"never paused until 11-26 00:00 {at('Wed', '11-26')} 09:00"
    assert lines["cleanup-old-notifications"] == f"never none {at('Sun', '11-30')} 02:00"
    assert below.splitlines() == [
        f" late update-daily-plans-weather: due {MONDAY} 05:00, and no run was started.",
        "  → the next catch-up tries it; `kibray-ops plans update-weather` runs it by hand",
        "",
        "✗ late check-overdue-invoices: due 2025-11-24 06:00; tried 2 times, last in run 4: It does not go.",
        "  → the next catch-up tries it; `kibray-ops invoices check-overdue` runs it by hand",
    ]


def test_nothing_is_late(
    sqlite_world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    live_from(sqlite_world, NOON)
    pause(sqlite_world, SEND.name, NOON)
    text = shown(sqlite_world, monkeypatch, capsys, 100, f"{MONDAY}T13:00")
    assert text.endswith("\n\nNothing is late.\n")
    assert next(line for line in text.splitlines() if line.startswith(SEND.name)).split()[1:] == [
        "never", "paused", "when", "resumed",
    ]  # fmt: skip


def test_bars_of_the_latest_runs(newest: World) -> None:
    assert [view.sparkline(values) for values in ([], [0.0], [5.0], [0.0, 1.0, 2.0, 8.0])] == ["", "▁", "█", "▁▂▃█"]
    for day in range(1, 11):
        lasted(newest, go(newest, playing(STATUSES, "idle"), f"2025-11-{day:02}T01:00"), day)
    go(newest, playing(STATUSES, "refuse"), "2025-11-11T01:00")
    assert standing(newest, "2025-11-11T02:00", STATUSES.name).durations == (3, 4, 5, 6, 7, 8, 9, 10)


def test_late_after_the_soft_limit_and_half_an_hour(sqlite_world: World) -> None:
    def is_late(at: str) -> bool:
        return standing(sqlite_world, at, STATUSES.name).is_late

    live_from(sqlite_world, f"{MONDAY}T00:00")
    assert (is_late(f"{MONDAY}T01:54"), is_late(f"{MONDAY}T01:55")) == (False, True)
    sqlite_world.environment["KIBRAY_OPS_SOFT_TIME_LIMIT_UPDATE_INVOICE_STATUSES"] = "60"
    assert (is_late(f"{MONDAY}T01:30"), is_late(f"{MONDAY}T01:31")) == (False, True)


def test_an_hourly_job_is_late_in_its_hour_and_by_hand_it_is_done(newest: World) -> None:
    live_from(newest, f"{MONDAY}T08:00")
    go(newest, playing(SEND, "idle"), f"{MONDAY}T08:00")
    assert not standing(newest, f"{MONDAY}T09:54", SEND.name).is_late
    late, clock = standing(newest, f"{MONDAY}T09:55", SEND.name), newest.at(f"{MONDAY}T09:55")
    assert late.why_late(clock) == f"due {MONDAY} 09:00, and no run was started"
    assert late.hint(clock) == (f"it runs next on Mon {MONDAY} 10:00; `kibray-ops notifications send` runs it by hand")
    go(newest, playing(SEND, "idle"), f"{MONDAY}T08:59", Trigger.MANUAL)
    assert standing(newest, f"{MONDAY}T09:56", SEND.name).is_late
    go(newest, playing(SEND, "idle"), f"{MONDAY}T09:56", Trigger.MANUAL)
    assert not standing(newest, f"{MONDAY}T09:57", SEND.name).is_late


def test_a_job_beyond_its_deadline_is_late_until_its_next_success(newest: World) -> None:
    live_from(newest, f"{MONDAY}T00:00")
    at = "2025-11-30T07:30"
    late = standing(newest, at)
    assert (late.is_late, late.missed) == (True, None)
    assert late.hint(newest.at(at)) == (
        "it runs next on Mon 2025-12-01 07:00; `kibray-ops payroll generate --week` runs it by hand"
    )
    assert standing(newest, "2025-12-01T07:30").is_late
    go(newest, playing(PAYROLL, "idle"), "2025-12-01T07:00")
    assert not standing(newest, "2025-12-01T07:30").is_late


def test_tried_in_vain_before_the_deadline_is_told_after_it(sqlite_world: World) -> None:
    live_from(sqlite_world, f"{MONDAY}T00:00")
    go(sqlite_world, playing(TOUCHUPS, "refuse"), f"{MONDAY}T09:00")
    late, clock = standing(sqlite_world, f"{MONDAY}T20:00", TOUCHUPS.name), sqlite_world.at(f"{MONDAY}T20:00")
    assert late.why_late(clock) == f"due {MONDAY} 09:00; tried, last in run 1: It does not go"
    assert late.hint(clock) == "it runs next on Tue 2025-11-25 09:00; `kibray-ops touchups alert` runs it by hand"


@pytest.mark.parametrize(
    ("at", "options", "is_late"),
    [
        (f"{MONDAY}T08:30", {}, False),
        (f"{MONDAY}T08:30", {"week": "2025-W40"}, True),
        ("2025-11-23T08:30", {}, True),  # on Sunday, for the week before
        (f"{MONDAY}T08:30", {"dry_run": True}, True),
    ],
)
def test_only_a_run_for_the_same_week_keeps_payroll_from_being_late(
    newest: World, at: str, options: dict[str, Any], is_late: bool
) -> None:
    live_from(newest, f"{MONDAY}T00:00")
    done(newest.execute(PAYROLL, at=at, **options))
    assert standing(newest, f"{MONDAY}T08:30").is_late is is_late


def test_the_number_of_statements_does_not_grow_with_the_records(newest: World) -> None:
    live_from(newest, "2025-01-01T00:00")
    for job in (STATUSES, OVERDUE):
        go(newest, playing(job, "idle"), f"{MONDAY}T06:00")
    kept = ", ".join(name for name in newest.runs()[0] if name not in ("id", "slot"))

    def statements() -> int:
        with counted() as sent:
            assert len(found(newest)) == 10
        return len(sent)

    few = statements()
    newest.sql(
        f"INSERT INTO kibray_ops_run (slot, {kept}) WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n "
        f"WHERE i < 1000) SELECT 'old ' || n.i, {kept} FROM kibray_ops_run, n"
    )
    assert len(newest.runs()) == 2002
    assert statements() == few < 15


def test_the_command(newest: World) -> None:
    """At the real time: everything was done by hand just now, but payroll never, and that for another week."""
    clock = Clock(newest.settings.zone)
    for job in registry.JOBS:
        if job is not PAYROLL:
            execute(playing(job, "idle"), settings=newest.settings, clock=clock)
    done(execute(PAYROLL, settings=newest.settings, clock=clock, options={"week": "2025-W40"}))
    before = newest.dump()
    asked = here(newest, "status", "--json")
    told = json.loads(asked.stdout)
    assert list(told) == ["schema", "at", "zone", "late", "jobs"]
    assert (told["schema"], told["zone"], told["late"]) == (1, "America/Denver", [PAYROLL.name])
    assert abs(datetime.fromisoformat(told["at"]) - clock.now()) < timedelta(minutes=2)
    assert [job["job"] for job in told["jobs"]] == NAMES
    assert {tuple(job) for job in told["jobs"]} == {
        (
            "job", "command", "late", "reason", "hint", "overdue_slot", "running", "waits_until", "paused",
            "paused_until", "last_run", "last_success", "next_run", "durations", "next_try",
        )
    }  # fmt: skip
    assert (asked.returncode, asked.stderr) == (1, "")
    piped = here(newest, "status")
    assert piped.returncode == 1
    assert "\x1b" not in piped.stdout
    due = slot_before(PAYROLL, clock.now() - timedelta(hours=1), clock.zone).key.replace("T", " ")
    assert f"✗ late {PAYROLL.name}: due {due}, and no run was started." in piped.stdout
    columns = 80 if newest.engine == "sqlite" else 100
    table = plain(in_terminal(newest, columns, "status")).partition("\n\n✗")[0]
    assert max(map(len, table.splitlines())) <= columns
    assert ("Recent" in table) == (columns == 100)
    assert table.count("succeeded") == 10
    assert newest.dump() == before
    done(execute(PAYROLL, settings=newest.settings, clock=clock))
    well = here(newest, "status")
    assert (well.returncode, well.stdout.splitlines()[-1]) == (0, "Nothing is late.")


def test_status_where_kibray_ops_was_never_set_up(bare: World) -> None:
    told = here(bare, "status")
    assert (told.returncode, told.stdout) == (78, "")
    assert two_lines(told.stderr)
    assert "db init" in told.stderr


# ---- jobs


def test_the_list_of_jobs(sqlite_world: World) -> None:
    rows = json.loads(here(sqlite_world, "jobs", "list", "--json").stdout)["jobs"]
    assert [row["job"] for row in rows] == NAMES
    (payroll,) = (row for row in rows if row["job"] == PAYROLL.name)
    assert payroll == {
        "job": "generate-weekly-payroll",
        "function": "core.tasks.generate_weekly_payroll",
        "command": "payroll generate --week",
        "summary": PAYROLL.summary,
        "schedule": "Monday 07:00",
        "cron": "0 7 * * 1",
        "kind": "atomic",
        "deadline": "6 days",
    }
    text = plain(in_terminal(sqlite_world, 80, "jobs", "list"))
    assert max(map(len, text.splitlines())) <= 80
    for job in registry.JOBS:
        line = next(line for line in text.splitlines() if line.startswith(job.name))
        assert " ".join(line.split()[1:]) == " ".join(
            (*job.command, *job.arguments, described(job.cron or ""), job.kind)
        )


def test_a_job_runs_by_each_of_its_names_as_by_its_command(sqlite_world: World) -> None:
    own = ("--week", "2025-W47", "--dry-run", "--json")
    direct = json.loads(here(sqlite_world, "payroll", "generate", *own).stdout)
    for name in ("generate-weekly-payroll", "core.tasks.generate_weekly_payroll"):
        asked = here(sqlite_world, "jobs", "run", name, *own)
        told = json.loads(asked.stdout)
        assert list(told) == ENVELOPE
        moments = ("started_at", "finished_at")
        assert {key: told[key] for key in ENVELOPE if key not in moments} == {
            key: direct[key] for key in ENVELOPE if key not in moments
        }
        assert asked.returncode == 0
    assert sqlite_world.runs() == []
    assert here(sqlite_world, "jobs", "run", "update_invoice_statuses").returncode == 0
    (run,) = sqlite_world.runs()
    assert (run["job"], run["status"], run["trigger"]) == (STATUSES.name, "succeeded", "manual")


def usage(world: World, *words: str) -> tuple[int, str, str]:
    """Return the exit code, the job, and the message of a command that is wrong."""
    asked = here(world, *words, "--json")
    told = json.loads(asked.stdout)
    assert list(told) == ENVELOPE
    return asked.returncode, told["job"], told["error"]["message"]


def test_a_run_that_never_began_names_its_job(sqlite_world: World) -> None:
    code, job, message = usage(sqlite_world, "jobs", "run", PAYROLL.name, "--wek")
    assert (code, job) == (2, PAYROLL.name)
    assert "--wek" in message
    code, job, message = usage(sqlite_world, "jobs", "run", "core.tasks.generate_weekly_payroll", "--week", "2099-W01")
    assert (code, job) == (2, PAYROLL.name)
    assert "lies in the future" in message


@pytest.mark.parametrize(
    "words",
    [
        ("jobs", "run", "generate_weekly_payroll"),
        ("--env-file", "ours", "payroll", "generate"),
    ],
)
def test_a_run_that_never_began_names_its_job_however_it_was_called(
    sqlite_world: World, words: tuple[str, ...]
) -> None:
    """By another name, or behind an option and its value."""
    (sqlite_world.directory / "ours").touch(mode=0o600)
    assert usage(sqlite_world, *words, "--wek")[:2] == (2, PAYROLL.name)


def test_the_help_of_a_job_by_name_is_the_jobs(sqlite_world: World) -> None:
    by_name = here(sqlite_world, "jobs", "run", "generate_weekly_payroll", "--help")
    assert by_name.returncode == 0
    for option in ("--week", "--overtime", "--refresh", "--dry-run", "--json", "--as-of"):
        assert option in by_name.stdout
    every = here(sqlite_world, "jobs", "run", "--help").stdout
    assert all(name in every for name in NAMES)


@pytest.mark.parametrize(
    ("name", "close"),
    [
        ("core.tasks.check_overdue_invoice", "Did you mean check-overdue-invoices?"),
        ("nonsense", "`kibray-ops jobs list` names them."),
    ],
)
def test_a_wrong_name_suggests_the_close_one(sqlite_world: World, name: str, close: str) -> None:
    told = here(sqlite_world, "jobs", "run", name)
    assert (told.returncode, told.stdout) == (2, "")
    assert told.stderr == f"kibray-ops: There is no job {name!r}.\n  {close}\n"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("pause", PAYROLL.name, "--until", "2020-01-01"), "--until 2020-01-01 is past."),
        (("pause", PAYROLL.name, "--until", "soon"), "--until 'soon' is neither a date nor a moment."),
        (("resume", "payroll"), "There is no job 'payroll'."),
    ],
)
def test_what_cannot_be_paused(sqlite_world: World, words: tuple[str, ...], said: str) -> None:
    told = here(sqlite_world, "jobs", *words)
    assert (told.returncode, told.stdout) == (2, "")
    assert told.stderr.startswith(f"kibray-ops: {said}\n")
    assert sqlite_world.sql("SELECT * FROM kibray_ops_pause") == []


def test_pause_and_resume(newest: World) -> None:
    """What had been missed before the pause is owed after it, and `resume` says so."""
    clock = Clock(newest.settings.zone)
    assert PAYROLL.name in [one.job.name for one in read(newest.settings, clock) if one.is_late]

    told = here(newest, "jobs", "pause", "core.tasks.generate_weekly_payroll", "--until", "2099-01-05")
    assert (told.returncode, told.stderr) == (0, "")
    assert told.stdout.startswith(f"{PAYROLL.name} is paused until Mon 2099-01-05 00:00.")
    (paused,) = (one for one in read(newest.settings, clock) if one.job is PAYROLL)
    assert paused.pause is not None
    assert (paused.pause.until, paused.is_late, paused.missed) == (datetime(2099, 1, 5, 7, tzinfo=UTC), False, None)
    assert paused.next.key == "2099-01-05T07:00"

    told = here(newest, "jobs", "resume", PAYROLL.name)
    following = clock.local(slot_after(PAYROLL, clock.now(), clock.zone).moment)
    first, *owed = told.stdout.splitlines()
    assert first == f"{PAYROLL.name} is no longer paused. It runs next on {following:%a %Y-%m-%d %H:%M}."
    assert "was not paused" in here(newest, "jobs", "resume", SEND.name).stdout
    (resumed,) = (one for one in read(newest.settings, clock) if one.job is PAYROLL)
    assert (resumed.pause, resumed.next.moment) == (None, following)
    if resumed.missed is not None:  # on six days of the week
        assert owed == [f"{resumed.missed.slot.key.replace('T', ' ')} is still owed: the next catch-up runs it."]


# ---- run records


def test_old_run_records_are_pruned_but_for_each_jobs_newest_success(newest: World) -> None:
    go(newest, playing(PAYROLL, "idle"), "2024-01-01T07:00")
    kept = go(newest, playing(PAYROLL, "idle"), "2024-01-08T07:00")
    go(newest, playing(PAYROLL, "refuse"), "2024-01-15T07:00")
    running = go(newest, playing(STATUSES, "idle"), "2024-01-01T01:00")
    newest.sql("UPDATE kibray_ops_run SET status = 'running', finished_at = NULL WHERE id = ?", running.run_id)
    clock = Clock(newest.settings.zone)
    for days in (100, 10):
        ago = clock.at(clock.now() - timedelta(days=days)).now()
        refused = execute(playing(OVERDUE, "refuse"), settings=newest.settings, clock=clock)
        newest.sql("UPDATE kibray_ops_run SET started_at = ?, finished_at = ? WHERE id = ?", ago, ago, refused.run_id)
    before = newest.dump()

    told = here(newest, "runs", "prune", "--dry-run", "--json")
    assert json.loads(told.stdout) == {"schema": 1, "dry_run": True, "older_than_days": 400, "pruned": 2}
    shorter = here(newest, "runs", "prune", "--older-than", "30", "-n")
    assert (shorter.returncode, shorter.stdout) == (
        0, "3 run records would be deleted: those that ended more than 30 days ago.\n",
    )  # fmt: skip
    assert newest.dump() == before
    assert here(newest, "runs", "prune", "--older-than", "30").stdout.startswith("3 run records deleted")
    assert [run["id"] for run in newest.runs()] == [kept.run_id, running.run_id, 6]


def test_the_baseline_is_shown_and_moved(sqlite_world: World) -> None:
    shown = here(sqlite_world, "runs", "baseline")
    assert (shown.returncode, shown.stdout) == (0, "Baseline: 2019-12-31 17:00:00.\n")
    told = json.loads(here(sqlite_world, "runs", "baseline", "2025-11-24", "--json").stdout)
    assert told == {"schema": 1, "baseline": "2025-11-24T07:00:00+00:00", "before": "2020-01-01T00:00:00+00:00"}
    assert standing(sqlite_world, "2025-11-24T06:00").overdue is None
    back = here(sqlite_world, "runs", "baseline", "2025-11-20T12:30").stdout
    assert back.startswith("Baseline: 2025-11-20 12:30:00.\nIt moved back: `kibray-ops catch-up --dry-run` shows")
    assert standing(sqlite_world, "2025-11-24T06:00", STATUSES.name).is_late
    clock = Clock(sqlite_world.settings.zone)
    assert here(sqlite_world, "runs", "baseline", "now").returncode == 0
    assert not any(one.is_late for one in read(sqlite_world.settings, clock))
    at = json.loads(here(sqlite_world, "runs", "baseline", "--json").stdout)
    assert at["baseline"] == at["before"]
    assert abs(datetime.fromisoformat(at["baseline"]) - clock.now()) < timedelta(minutes=2)
    wrong = here(sqlite_world, "runs", "baseline", "tomorrow")
    assert wrong.returncode == 2
    assert two_lines(wrong.stderr)


# ---- the schedule


def test_the_schedule_is_listed(sqlite_world: World) -> None:
    clock = Clock(sqlite_world.settings.zone)
    before = clock.now()
    told = json.loads(here(sqlite_world, "schedule", "list", "--json").stdout)
    assert (told["schema"], told["zone"], told["catch_up"]) == (1, "America/Denver", "7,22,37,52 * * * *")
    assert [row["job"] for row in told["jobs"]] == NAMES
    assert [row["deadline"] for row in told["jobs"]] == [
        "20 h", "6 days", "12 h", "12 h", "20 h", "6 days", "10 h", "8 h", "4 h", None,
    ]  # fmt: skip
    for row in told["jobs"]:
        at, (minute, hour, *_) = datetime.fromisoformat(row["next"]), row["cron"].split()
        assert before < at < before + timedelta(days=8)
        assert at.minute == int(minute)
        assert hour in ("*", str(at.hour))
    text = plain(in_terminal(sqlite_world, 100, "schedule", "list"))
    assert max(map(len, text.splitlines())) <= 100
    assert "Monday 07:00 payroll generate --week   within 6 days Mon " in text
    assert "hourly :00   notifications send        the next hour " in text


def test_what_runs_next(sqlite_world: World) -> None:
    told = json.loads(here(sqlite_world, "schedule", "next", "--count", "400", "--json").stdout)
    moments = [datetime.fromisoformat(run["at"]) for run in told["runs"]]
    assert len(moments) == 400
    assert moments == sorted(moments)
    assert len({(run["job"], run["slot"]) for run in told["runs"]}) == 400
    assert {run["job"] for run in told["runs"]} == set(NAMES)  # more than a week
    per_day = [run for run in told["runs"] if run["job"] == STATUSES.name]
    assert [run["slot"][11:] for run in per_day] == ["01:00"] * len(per_day)
    lines = here(sqlite_world, "schedule", "next", "--count", "5").stdout.splitlines()
    assert len(lines) == 2 + 5
    each = json.loads(here(sqlite_world, "schedule", "next", "--json").stdout)["runs"]
    assert sorted(run["job"] for run in each) == sorted(NAMES)


def test_what_tells_which_slots_are_done_is_never_pruned(newest: World) -> None:
    """Not even by somebody who wants to keep one day."""
    live_from(newest, f"{MONDAY}T06:59")
    go(newest, playing(PAYROLL, "idle"), f"{MONDAY}T07:00")
    go(newest, playing(PAYROLL, "idle"), "2025-11-25T07:00", Trigger.MANUAL)
    clock = newest.at("2025-11-26T07:00")
    with Database(newest.settings).connect() as connection:
        assert history.prune(connection, clock.now(), 1) == 0
        assert history.prune(connection, newest.at("2025-12-10T07:00").now(), 1) == 1
        connection.commit()
    assert [run["trigger"] for run in newest.runs()] == ["manual"]


def test_a_baseline_to_come_is_told(sqlite_world: World) -> None:
    told = here(sqlite_world, "runs", "baseline", "2099-01-05")
    assert "no job runs by itself" in told.stdout
    shown = here(sqlite_world, "status")
    assert shown.returncode == 0
    assert "Before the baseline, 2099-01-05 00:00, no job runs by itself." in shown.stdout
    assert "2099-01-05" in next(line for line in shown.stdout.splitlines() if line.startswith(PAYROLL.name))
    sqlite_world.sql("UPDATE kibray_ops_state SET value = 'rubbish' WHERE key = 'baseline'")
    told = here(sqlite_world, "status")
    assert (told.returncode, "`kibray-ops runs baseline MOMENT`" in told.stderr) == (78, True)
    assert here(sqlite_world, "runs", "baseline", "now").returncode == 0
    assert here(sqlite_world, "status").returncode == 0
