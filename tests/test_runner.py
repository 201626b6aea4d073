"""The runner: slot, lock, freeing what died, claim, work, record, limits, retries, dry run."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest

from kibray_ops import provision
from kibray_ops.database import Database, Lock
from kibray_ops.registry import Kind
from kibray_ops.report import Trigger
from tests import sample_jobs
from tests.sample_jobs import sample
from tests.world import LONG_AGO, World

ROOT = Path(__file__).parent.parent
DAILY = "0 7 * * *"


def groups(world: World) -> list[str]:
    return [row["name"] for row in world.sql("SELECT name FROM auth_group ORDER BY name")]


def statuses(world: World) -> list[str]:
    return [run["status"] for run in world.runs()]


def start(
    world: World, verb: str, *options: str, kind: Kind = Kind.ATOMIC, trigger: str = "manual", at: str = "now"
) -> Any:
    """Start a sample job in a process of its own."""
    words = [sys.executable, "-m", "tests.driver", verb, kind, trigger, at, *options]
    environment = {**world.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(words, env=environment, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_until(true: Callable[[], bool], seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


def test_a_run_is_recorded_with_everything(newest: World) -> None:
    report = newest.execute(sample("write"), at="2025-11-24T22:30", name="x")
    (run,) = newest.runs()
    assert (report.status, report.exit_code, report.run_id) == ("succeeded", 0, run["id"])
    assert (run["job"], run["trigger"], run["pid"], run["slot"]) == ("sample-write", "manual", os.getpid(), None)
    assert str(run["business_date"]) == "2025-11-24"  # 05:30 UTC on the 25th
    assert report.result["now"] == "2025-11-25T05:30:00+00:00"
    assert run["started_at"] != run["as_of"]  # the record keeps real times
    assert '"x"' in str(run["arguments"]).replace("'", '"')
    assert groups(newest) == ["x"]


def test_a_crash_is_rolled_back_recorded_and_tells_no_secret(newest: World) -> None:
    newest.environment = {"KIBRAY_OPS_EMAIL_HOST_PASSWORD": "hunter22"}
    report = newest.execute(sample("crash"))
    (run,) = newest.runs()
    assert (report.exit_code, run["status"], groups(newest)) == (1, "failed", [])
    assert "ZeroDivisionError" in run["error"]
    assert "hunter22" not in run["error"]


def test_what_is_partly_done_is_kept_and_exits_3(newest: World) -> None:
    report = newest.execute(sample("partly"))
    assert (report.exit_code, statuses(newest), groups(newest)) == (3, ["partial"], ["one"])


def test_a_stray_commit_in_an_atomic_job_commits_nothing(newest: World) -> None:
    assert newest.execute(sample("commit-astray")).exit_code == 1
    assert groups(newest) == []


def test_the_database_refuses_what_a_dry_run_writes(newest: World) -> None:
    before = newest.dump()
    report = newest.execute(sample("forget-the-guard"), dry_run=True)
    assert report.exit_code == 1
    assert newest.dump() == before


def test_a_dry_run_needs_none_of_our_tables(bare: World) -> None:
    before = bare.dump()
    assert bare.execute(sample("write"), dry_run=True).exit_code == 0
    assert bare.dump() == before
    assert list(bare.directory.glob("*.lock")) == []
    report = bare.execute(sample("write"))
    assert report.exit_code == 78
    assert "db init" in report.error.hint  # type: ignore[union-attr]


# ---- slots


def test_a_slot_is_worked_for_once(newest: World) -> None:
    job = sample("write", cron=DAILY)
    first = newest.execute(job, at="2025-11-24T07:03", trigger=Trigger.CRON)
    assert (first.status, first.slot) == ("succeeded", "2025-11-24T07:00")
    second = newest.execute(job, at="2025-11-24T23:00", trigger=Trigger.CRON, name="two")
    assert (second.status, second.exit_code, second.run_id) == ("skipped", 0, None)
    assert statuses(newest) == ["succeeded"]
    assert newest.execute(job, at="2025-11-25T07:00", trigger=Trigger.CRON, name="two").status == "succeeded"


def test_a_failed_slot_is_free_again(newest: World) -> None:
    for verb in ("crash", "crash"):
        report = newest.execute(sample(verb, cron=DAILY), trigger=Trigger.CRON)
        assert report.exit_code == 1
    assert statuses(newest) == ["failed", "failed"]


def test_no_slot_before_the_baseline_or_past_the_deadline(newest: World) -> None:
    from datetime import UTC, datetime, timedelta

    job = sample("write", cron="0 7 * * 1", deadline=timedelta(days=6))
    assert newest.execute(job, at="2025-11-30T07:01", trigger=Trigger.CRON).status == "skipped"
    assert newest.execute(job, at="2025-11-30T06:59", trigger=Trigger.CRON).status == "succeeded"
    live = datetime(2025, 12, 3, tzinfo=UTC)  # a Wednesday
    provision.init(Database(newest.settings), standalone=False, baseline=live, now=live)
    assert newest.execute(job, at="2025-12-03T12:00", trigger=Trigger.CRON, name="two").status == "skipped"
    assert newest.execute(job, at="2025-12-08T07:00", trigger=Trigger.CRON, name="two").status == "succeeded"


def test_a_manual_run_satisfies_the_slot_of_its_day_only_when_it_did_the_same(newest: World) -> None:
    job = sample("write", cron=DAILY)
    newest.execute(job, at="2025-11-24T06:00", name="something else")
    assert newest.execute(job, at="2025-11-24T07:00", trigger=Trigger.CRON).status == "succeeded"
    newest.execute(job, at="2025-11-25T06:00", name="2")
    newest.sql("DELETE FROM auth_group")
    newest.execute(job, at="2025-11-25T06:30")
    assert newest.execute(job, at="2025-11-25T07:00", trigger=Trigger.CRON).status == "skipped"


def test_the_unique_index_is_the_claim(newest: World) -> None:
    """Even a host that saw nothing of the other one's run cannot work for the same slot."""
    job = sample("write", cron=DAILY)
    newest.execute(job, trigger=Trigger.CRON)
    copy = "INSERT INTO kibray_ops_run (job, slot, business_date, trigger, host, pid, version, arguments, started_at, status, problems) SELECT job, slot, business_date, trigger, host, pid, version, arguments, started_at, status, problems FROM kibray_ops_run"  # fmt: skip  # noqa: E501
    with pytest.raises(Exception, match=r"(?i)unique"):
        newest.sql(copy)


# ---- locks and death


def test_a_manual_run_names_the_run_that_it_meets(newest: World) -> None:
    with start(newest, "sleep", "seconds=30") as running:
        wait_until(lambda: statuses(newest) == ["running"])
        report = newest.execute(sample("sleep"))
        assert report.exit_code == 75
        assert f"process {running.pid}" in report.error.message  # type: ignore[union-attr]
        running.kill()
    wait_until(lambda: newest.execute(sample("sleep"), seconds=0).exit_code == 0)
    assert statuses(newest) == ["interrupted", "succeeded"]


def test_cron_leaves_its_own_slot_in_silence_and_records_that_it_met_an_earlier_one(newest: World) -> None:
    pause = ("item-by-item", "pause=3")
    with start(newest, *pause, kind=Kind.PER_ITEM, trigger="cron", at="2025-11-24T07:00") as running:
        wait_until(lambda: statuses(newest) == ["running"])
        job = sample("item-by-item", Kind.PER_ITEM, cron=DAILY)
        same = newest.execute(job, at="2025-11-24T07:00", trigger=Trigger.CRON)
        assert (same.exit_code, same.status, statuses(newest)) == (0, "skipped", ["running"])
        later = newest.execute(job, at="2025-11-25T07:00", trigger=Trigger.CRON)
        assert (later.exit_code, later.status, statuses(newest)) == (0, "skipped", ["running", "skipped"])
        running.kill()


def test_a_slot_claimed_by_a_killed_run_is_free_again(newest: World) -> None:
    with start(newest, "sleep", "seconds=30", trigger="cron", at="2025-11-24T07:00") as running:
        wait_until(lambda: statuses(newest) == ["running"])
        running.kill()
    job = sample("sleep", cron=DAILY)
    wait_until(lambda: newest.execute(job, trigger=Trigger.CRON, seconds=0).status == "succeeded")
    assert statuses(newest) == ["interrupted", "succeeded"]
    assert groups(newest) == ["one"]


@pytest.mark.parametrize(("sign", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_rolls_back_and_is_recorded(newest: World, sign: signal.Signals, code: int) -> None:
    with start(newest, "sleep", "seconds=30") as running:
        wait_until(lambda: statuses(newest) == ["running"])
        time.sleep(0.3)
        running.send_signal(sign)
        assert running.wait(20) == code
    assert (statuses(newest), groups(newest)) == (["interrupted"], [])


@pytest.mark.parametrize(("by", "status", "code"), [("fault", "failed", 1), ("ctrl-c", "interrupted", 130)])
def test_a_failure_in_the_middle_of_reading_is_recorded(newest: World, by: str, status: str, code: int) -> None:
    newest.environment = {"KIBRAY_OPS_LOCK_TIMEOUT": "1"}
    report = newest.execute(sample("fail-while-reading"), by=by)
    assert (report.exit_code, statuses(newest), groups(newest)) == (code, [status], [])


def test_rows_that_the_application_holds_end_the_run_with_75(newest: World) -> None:
    newest.environment = {"KIBRAY_OPS_LOCK_TIMEOUT": "1"}
    with newest.connect() as application:
        if newest.engine == "sqlite":
            application.execute("BEGIN IMMEDIATE")
        else:
            application.execute("BEGIN")
            application.execute("LOCK TABLE auth_group IN SHARE MODE")
        report = newest.execute(sample("write"))
        application.execute("ROLLBACK")
    assert report.exit_code == 75
    assert groups(newest) == []
    assert newest.execute(sample("write")).exit_code == 0


def test_lock_keys_differ_and_stay(pg_world: World) -> None:
    database = Database(pg_world.settings)
    assert Lock(database, "a").key == Lock(Database(pg_world.settings), "a").key
    assert Lock(database, "a").key != Lock(database, "b").key


# ---- time limits


def test_the_soft_limit_stops_the_database_and_rolls_back(newest: World) -> None:
    newest.environment = {"KIBRAY_OPS_SOFT_TIME_LIMIT": "1"}
    report = newest.execute(sample("sleep-in-the-database"))
    assert (report.exit_code, statuses(newest), groups(newest)) == (124, ["timed_out"], [])


def test_the_hard_limit_ends_the_process_and_is_recorded(newest: World) -> None:
    newest.environment = {"KIBRAY_OPS_SOFT_TIME_LIMIT": "1", "KIBRAY_OPS_HARD_TIME_LIMIT": "1"}
    with start(newest, "sleep", "seconds=60") as running:
        _, err = running.communicate(timeout=30)
    assert running.returncode == 124
    assert "hard time limit" in err
    assert (statuses(newest), groups(newest)) == (["timed_out"], [])


def test_per_item_work_keeps_what_is_done_at_the_soft_limit(newest: World) -> None:
    newest.environment = {"KIBRAY_OPS_SOFT_TIME_LIMIT": "1"}
    report = newest.execute(sample("item-by-item", Kind.PER_ITEM), pause=0.4)
    assert (report.exit_code, statuses(newest)) == (124, ["timed_out"])
    assert 1 <= len(groups(newest)) < 5
    newest.environment = {}
    newest.execute(sample("item-by-item", Kind.PER_ITEM))
    assert len(groups(newest)) == 5


# ---- items


@pytest.mark.parametrize("dry_run", [False, True])
def test_no_web_client_is_given_out_in_a_transaction(newest: World, dry_run: bool) -> None:
    report = newest.execute(sample("ask-in-a-transaction", Kind.PER_ITEM), dry_run=dry_run)
    assert report.exit_code == 1
    assert "A transaction is open" in str(report.error)


def test_items_survive_a_kill_and_are_not_done_twice(newest: World) -> None:
    with start(newest, "item-by-item", "pause=1", kind=Kind.PER_ITEM) as running:
        wait_until(lambda: len(groups(newest)) >= 2)
        assert newest.execute(sample("item-by-item", Kind.PER_ITEM)).exit_code == 75
        running.kill()
    done = len(groups(newest))
    assert 2 <= done < 5
    wait_until(lambda: newest.execute(sample("item-by-item", Kind.PER_ITEM)).exit_code == 0)
    assert len(groups(newest)) == 5


def test_an_item_is_not_committed_without_the_lock(pg_world: World) -> None:
    """The connection that holds the lock is cut: what follows must not be committed."""
    with start(pg_world, "item-by-item", "pause=0.5", kind=Kind.PER_ITEM) as running:
        wait_until(lambda: len(groups(pg_world)) >= 1)
        pg_world.sql("SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'")
        assert running.wait(20) == 75  # try again later: the connection was lost
    assert len(groups(pg_world)) < 5
    assert statuses(pg_world) == ["failed"]


# ---- retries


@pytest.mark.parametrize(("verb", "attempts"), [("fail-twice", 3), ("lose-the-connection", 2)])
def test_transient_errors_are_tried_again(pg_world: World, verb: str, attempts: int) -> None:
    sample_jobs.ATTEMPTS.clear()
    report = pg_world.execute(sample(verb))
    assert (report.exit_code, report.result) == (0, {"attempts": attempts}), report.error
    assert len(set(sample_jobs.ATTEMPTS)) == 1  # one run record for all attempts
    assert (statuses(pg_world), groups(pg_world)) == (["succeeded"], ["one"])


@pytest.mark.parametrize("table", ["kibray_ops_run", "kibray_ops_alembic_version", "kibray_ops_state"])
def test_our_own_tables_are_not_waited_for_without_end(pg_world: World, table: str) -> None:
    pg_world.environment = {"KIBRAY_OPS_LOCK_TIMEOUT": "1"}
    with pg_world.connect() as somebody:
        somebody.execute("BEGIN")
        somebody.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")
        report = pg_world.execute(sample("write", cron=DAILY), trigger=Trigger.CRON)
        somebody.execute("ROLLBACK")
    assert report.exit_code == 75


def test_an_option_that_postgresql_does_not_know_is_configuration(pg_world: World) -> None:
    pg_world.url += "&conn_max_age=600"
    assert pg_world.execute(sample("write")).exit_code == 78


def test_a_claim_that_was_not_written_has_no_number(sqlite_world: World) -> None:
    sqlite_world.environment = {"KIBRAY_OPS_LOCK_TIMEOUT": "1"}
    with sqlite_world.connect() as application:
        application.execute("BEGIN IMMEDIATE")
        report = sqlite_world.execute(sample("write"))
        application.execute("ROLLBACK")
    assert (report.exit_code, report.run_id) == (75, None)


def test_an_unreachable_server_is_75_and_a_wrong_login_78(pg_world: World) -> None:
    good = pg_world.url
    pg_world.url = "postgresql://nobody:hunter22@127.0.0.1:1/kibray"
    report = pg_world.execute(sample("write"))
    assert report.exit_code == 75
    assert "hunter22" not in str(report.error)
    for name in ("no_such_database", "w1%20x"):
        pg_world.url = good.replace("/" + good.split("?")[0].rpartition("/")[2] + "?", f"/{name}?")
        assert pg_world.execute(sample("write")).exit_code == 78
    pg_world.url = good


def test_a_role_that_may_only_read_can_do_every_dry_run(pg_world: World) -> None:
    user = f"reader_{os.getpid()}"
    pg_world.sql(f"CREATE ROLE {user} LOGIN")
    pg_world.sql(f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {user}")
    for table in ("kibray_ops_run", "kibray_ops_state", "kibray_ops_provenance", "kibray_ops_alembic_version"):
        pg_world.sql(f"REVOKE ALL ON {table} FROM {user}")
    good = pg_world.url
    pg_world.url = good.replace("postgres:@", f"{user}:@")
    try:
        assert pg_world.execute("generate-weekly-payroll", dry_run=True).exit_code == 0
        report = pg_world.execute("generate-weekly-payroll")
        assert report.exit_code == 78, report.error
        assert "grants" in report.error.hint  # type: ignore[union-attr]
    finally:
        pg_world.url = good
        pg_world.sql(f"DROP OWNED BY {user}; DROP ROLE {user}")


def test_a_baseline_is_noted_once(newest: World) -> None:
    database = Database(newest.settings)
    again = provision.init(database, standalone=False, baseline=None, now=LONG_AGO.replace(year=2030))
    assert again.baseline == LONG_AGO


def test_connections_of_an_atomic_run_are_few(pg_world: World) -> None:
    """At most two at once: the work and the record."""
    with start(pg_world, "sleep", "seconds=2") as running:
        wait_until(lambda: statuses(pg_world) == ["running"])
        time.sleep(0.3)
        pg_world.hang_up()
        with psycopg.connect(pg_world.url) as connection:
            count = (
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
            (open_,) = connection.execute(count).fetchone() or (0,)
        assert open_ <= 2
        running.wait(20)
