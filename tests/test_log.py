"""The log: text or JSON lines, each with its run; and nothing under cron that is no failure."""

import json
from datetime import UTC, datetime

import pytest

from tests.here import here
from tests.sky import Reply, Sky
from tests.world import World


def logged(text: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in text.splitlines()]


def test_json_lines_have_the_run_the_job_and_the_slot(newest: World) -> None:
    newest.environment |= {"KIBRAY_OPS_LOG_FORMAT": "json", "KIBRAY_OPS_LOG_LEVEL": "info"}
    told = here(newest, "invoices", "update-statuses", "--quiet")
    begun, ended = logged(told.stderr)
    assert told.returncode == 0
    assert list(begun) == ["time", "level", "logger", "job", "run_id", "slot", "message"]
    assert (begun["job"], begun["run_id"], begun["slot"]) == ("update-invoice-statuses", 1, None)
    assert (begun["level"], begun["message"]) == ("info", "begun")
    assert ended["message"] == "ended: succeeded, exit code 0"
    assert datetime.fromisoformat(str(ended["time"])).tzinfo is not None


def test_text_names_the_run(newest: World) -> None:
    newest.environment["KIBRAY_OPS_LOG_LEVEL"] = "info"
    told = here(newest, "invoices", "update-statuses", "--quiet")
    assert told.stderr.splitlines() == [
        "INFO update-invoice-statuses, run 1: begun",
        "INFO update-invoice-statuses, run 1: ended: succeeded, exit code 0",
    ]


@pytest.mark.parametrize(("level", "lines"), [("warning", 0), ("error", 0), ("debug", 2)])
def test_the_level_can_be_set(sqlite_world: World, level: str, lines: int) -> None:
    sqlite_world.environment["KIBRAY_OPS_LOG_LEVEL"] = level
    assert len(here(sqlite_world, "invoices", "update-statuses", "-q").stderr.splitlines()) == lines


def test_under_cron_success_is_silent_and_failure_tells_all(newest: World) -> None:
    newest.environment |= {"KIBRAY_OPS_LOG_FORMAT": "json", "KIBRAY_OPS_LOG_LEVEL": "debug"}
    told = here(newest, "--cron", "notifications", "send")
    assert (told.returncode, told.stdout, told.stderr) == (0, "", "")
    (run,) = newest.runs()
    newest.sql("DELETE FROM kibray_ops_run")
    newest.environment["KIBRAY_OPS_EMAIL_BACKEND"] = "smtp"
    told = here(newest, "--cron", "notifications", "send")
    assert told.returncode == 78
    *lines, first, second = told.stderr.splitlines()
    about = [(line["message"], line["slot"]) for line in logged("\n".join(lines))]
    assert about == [("begun", run["slot"]), ("ended: failed, exit code 78", run["slot"])]
    assert first.startswith("kibray-ops: E-mail is not set up")
    assert second.startswith("  ")


def test_what_was_held_back_is_told_when_the_hard_limit_ends_the_run(newest: World, sky: Sky) -> None:
    newest.project("Elm St", address="1110 Washington Ave, Golden, CO 80401")
    sky.geocoder_faults = [Reply(b"{}", delay=20)]
    newest.environment |= {f"KIBRAY_OPS_{which}_TIME_LIMIT": "1" for which in ("SOFT", "HARD")}
    away = (9 - datetime.now(UTC).hour + 12) % 24 - 12  # noqa: TID251 - a zone in which it is 9 o'clock now
    newest.move(f"Etc/GMT{-away:+d}")
    newest.environment["KIBRAY_OPS_LOG_LEVEL"] = "info"
    told = newest.run("--cron", "weather", "fetch-snapshots")
    assert told.returncode == 124
    first, second, *_ = told.stderr.splitlines()
    assert first.startswith("INFO fetch-weather-snapshots, run 1, for ")
    assert second == "kibray-ops: The hard time limit was reached and run 1 was ended."


def test_a_catch_up_is_silent_too(sqlite_world: World) -> None:
    sqlite_world.environment |= {"KIBRAY_OPS_LOG_LEVEL": "debug"}
    told = here(sqlite_world, "--cron", "catch-up")
    assert (told.returncode, told.stdout, told.stderr) == (0, "", "")
    assert sqlite_world.runs()
