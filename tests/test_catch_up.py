"""Catch-up: the latest slot that was missed or has failed, once, within its deadline and its tries."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from threading import Thread, Timer

import pytest

from kibray_ops import catchup, pauses, provision
from kibray_ops.catchup import due, read
from kibray_ops.database import Database
from kibray_ops.errors import KibrayOpsError
from kibray_ops.registry import JOBS, Job, Kind
from kibray_ops.report import Report, Trigger
from kibray_ops.runner import execute
from kibray_ops.standing import MissedSlot, Standing
from tests.here import here
from tests.world import Simulated, World, done

BY_NAME = {job.name: job for job in JOBS}
PAYROLL = BY_NAME["generate-weekly-payroll"]
MONDAY = "2025-11-24"


def playing(job: Job, verb: str, kind: Kind = Kind.ATOMIC) -> Job:
    """Return a job of that name and schedule that does what a sample job does."""
    return replace(job, module="tests.sample_jobs", command=("sample", verb), kind=kind, reads=(), writes={}, copies=())


def cast(**verbs: str) -> tuple[Job, ...]:
    """Return all jobs; those named, with _ in their names, do what a sample job does, the others nothing."""
    return tuple(playing(job, verbs.get(job.name.replace("-", "_"), "idle")) for job in JOBS)


def go(world: World, job: Job, at: str, trigger: Trigger = Trigger.CRON) -> Report:
    """Run a job at a time of day in the business zone."""
    return execute(job, settings=world.settings, clock=world.at(at), trigger=trigger)


def catch_up(world: World, at: str, jobs: Sequence[Job] = JOBS) -> list[Report]:
    return [report for _, report in catchup.catch_up(world.settings, world.at(at), jobs=jobs)]


def standing(world: World, at: str, job: str = PAYROLL.name) -> Standing:
    (found,) = (one for one in read(world.settings, world.at(at)) if one.job.name == job)
    return found


def missed(world: World, at: str, job: str = PAYROLL.name) -> MissedSlot:
    found = standing(world, at, job).missed
    assert found is not None
    return found


def owed(world: World, at: str) -> set[str]:
    clock = world.at(at)
    return {job.name for job, _ in due(read(world.settings, clock), clock)}


def paused(world: World, since: str, until: str | None) -> None:
    with Database(world.settings).connect() as connection:
        end = None if until is None else world.at(until).now()
        pauses.pause(connection, PAYROLL, now=world.at(since).now(), until=end)
        connection.commit()


def live_from(world: World, at: str) -> None:
    provision.move_baseline(Database(world.settings), world.at(at).now())


# ---- what is owed


def test_what_was_missed_is_made_up_for_once_in_the_order_of_time(newest: World) -> None:
    """The machine was off from Sunday night to Monday 10:00."""
    live_from(newest, "2025-11-23T12:00")
    reports = catch_up(newest, f"{MONDAY}T10:07")
    assert [(report.job, report.slot) for report in reports] == [
        ("update-invoice-statuses", "2025-11-24T01:00"),
        ("fetch-weather-snapshots", "2025-11-24T05:00"),
        ("update-daily-plans-weather", "2025-11-24T05:00"),
        ("check-overdue-invoices", "2025-11-24T06:00"),
        ("generate-weekly-payroll", "2025-11-24T07:00"),
        ("check-inventory-shortages", "2025-11-24T08:00"),
        ("alert-high-priority-touchups", "2025-11-24T09:00"),
    ]
    assert {(report.exit_code, report.trigger) for report in reports} == {(0, Trigger.CATCH_UP)}
    assert catch_up(newest, f"{MONDAY}T10:22") == []
    assert {run["trigger"] for run in newest.runs()} == {"catch-up"}


def test_never_a_burst_of_old_slots(newest: World) -> None:
    """After a fortnight in which nothing ran, each job runs once, for its latest slot, if that is worth it."""
    live_from(newest, "2025-11-01T00:00")
    reports = catch_up(newest, f"{MONDAY}T12:07", cast())
    assert len(reports) == len({report.job for report in reports}) == 8
    assert sorted(str(report.slot) for report in reports)[0] == "2025-11-23T02:00"
    assert catch_up(newest, f"{MONDAY}T12:22", cast()) == []


def test_a_late_payroll_pays_the_week_of_its_slot(newest: World) -> None:
    newest.user()
    newest.entry(newest.employee(), "2025-11-20", "8.00")
    live_from(newest, f"{MONDAY}T00:00")
    reports = {report.job: report for report in catch_up(newest, "2025-11-25T07:30")}
    assert reports[PAYROLL.name].result["week"] == "2025-11-17 - 2025-11-23"
    assert str(next(run for run in newest.runs() if run["job"] == PAYROLL.name)["business_date"]) == MONDAY


@pytest.mark.parametrize(
    ("at", "is_owed"),
    [
        (f"{MONDAY}T07:00", False),
        (f"{MONDAY}T07:09", False),
        (f"{MONDAY}T07:10", True),
        ("2025-11-30T07:00", True),
        ("2025-11-30T07:01", False),
    ],
)
def test_a_slot_is_young_then_owed_then_past_its_deadline(sqlite_world: World, at: str, is_owed: bool) -> None:
    assert (PAYROLL.name in owed(sqlite_world, at)) is is_owed


def test_what_ran_by_cron_or_by_hand_is_not_owed(newest: World) -> None:
    live_from(newest, f"{MONDAY}T00:00")
    done(go(newest, BY_NAME["update-invoice-statuses"], f"{MONDAY}T01:00"))
    done(go(newest, PAYROLL, f"{MONDAY}T06:30", Trigger.MANUAL))
    assert owed(newest, f"{MONDAY}T07:30") == {
        "fetch-weather-snapshots", "update-daily-plans-weather", "check-overdue-invoices",
    }  # fmt: skip


def test_what_is_partly_done_is_not_tried_again(newest: World) -> None:
    live_from(newest, f"{MONDAY}T06:59")
    assert go(newest, playing(PAYROLL, "partly"), f"{MONDAY}T07:00").exit_code == 3
    assert (owed(newest, f"{MONDAY}T09:00") & {PAYROLL.name}, standing(newest, f"{MONDAY}T09:00").is_late) == (
        set(),
        False,
    )


def test_sending_is_never_made_up_for(newest: World) -> None:
    assert standing(newest, f"{MONDAY}T07:55", "send-pending-notifications").missed is None


def test_nothing_before_the_baseline(newest: World) -> None:
    live_from(newest, f"{MONDAY}T07:01")
    assert owed(newest, f"{MONDAY}T07:30") == set()
    assert standing(newest, "2025-11-25T00:30").overdue is None
    live_from(newest, f"{MONDAY}T07:00")
    assert owed(newest, f"{MONDAY}T07:30") == {PAYROLL.name}


# ---- tries


def test_a_payroll_that_fails_for_ever_is_tried_four_times_not_500(sqlite_world: World) -> None:
    """cron at 07:00, and catch-ups for the six days until the deadline."""
    live_from(sqlite_world, f"{MONDAY}T06:59")
    jobs = cast(generate_weekly_payroll="crash")
    assert go(sqlite_world, playing(PAYROLL, "crash"), f"{MONDAY}T07:00").exit_code == 1
    at = datetime.fromisoformat(f"{MONDAY}T07:07")
    tried = []
    while at < datetime.fromisoformat("2025-11-30T08:00"):
        # Of the others nothing is tested here, and each would take its time.
        clock = sqlite_world.at(at.isoformat())
        if PAYROLL.name in {job.name for job, _ in due(read(sqlite_world.settings, clock, jobs[5:6]), clock)}:
            tried.append(at.isoformat()[5:16])
            assert [report.exit_code for report in catch_up(sqlite_world, at.isoformat(), jobs[5:6])] == [1]
        # Every quarter while something may happen, then six times a day: each look takes its time.
        at += timedelta(minutes=15) if at < datetime.fromisoformat("2025-11-25T01:00") else timedelta(hours=4)
    assert tried == ["11-24T07:22", "11-24T08:22", "11-24T12:22"]
    assert [(run["status"], run["exit_code"], run["trigger"]) for run in sqlite_world.runs()] == [
        ("failed", 1, "cron"), *[("failed", 1, "catch-up")] * 3,
    ]  # fmt: skip
    assert {run["slot"] for run in sqlite_world.runs()} == {f"{MONDAY}T07:00"}
    late = standing(sqlite_world, "2025-11-26T12:00")
    assert late.is_late
    assert "tried 4 times" in late.why_late(sqlite_world.at("2025-11-26T12:00"))
    assert late.hint(sqlite_world.at("2025-11-26T12:00")) == (
        "it was tried 4 times and is not tried again; `kibray-ops payroll generate --week` runs it by hand"
    )


def test_a_slot_whose_first_run_failed_is_done_by_the_second(newest: World) -> None:
    live_from(newest, f"{MONDAY}T06:59")
    assert go(newest, playing(PAYROLL, "crash"), f"{MONDAY}T07:00").exit_code == 1
    assert catch_up(newest, f"{MONDAY}T07:14", cast()) == []
    (report,) = catch_up(newest, f"{MONDAY}T07:15", cast())
    assert (report.exit_code, report.slot) == (0, f"{MONDAY}T07:00")
    assert catch_up(newest, f"{MONDAY}T07:37", cast()) == []
    assert [(run["status"], run["trigger"]) for run in newest.runs()] == [("failed", "cron"), ("succeeded", "catch-up")]


def test_waits_are_kept_though_cron_is_a_second_early(newest: World) -> None:
    live_from(newest, f"{MONDAY}T06:59")
    for at in ("07:00:02", "07:22:03"):
        assert go(newest, playing(PAYROLL, "crash"), f"{MONDAY}T{at}").exit_code == 1
    assert missed(newest, f"{MONDAY}T07:30").at == newest.at(f"{MONDAY}T08:22").now()


@pytest.mark.parametrize("code", [2, 78])
def test_what_needs_a_person_is_not_tried_again(newest: World, code: int) -> None:
    live_from(newest, f"{MONDAY}T06:59")
    execute(
        playing(PAYROLL, "refuse"), settings=newest.settings, clock=newest.at(f"{MONDAY}T07:30"),
        trigger=Trigger.CRON, options={"code": code},
    )  # fmt: skip
    assert newest.runs()[-1]["exit_code"] == code
    assert missed(newest, "2025-11-25T07:00").at is None
    assert "something has to be changed first" in standing(newest, "2025-11-25T07:00").hint(
        newest.at("2025-11-25T07:00")
    )


def test_what_had_to_give_way_uses_up_no_try(newest: World) -> None:
    """Exit 75 leaves the slot open: somebody else held something, and the next catch-up tries again."""
    live_from(newest, f"{MONDAY}T06:59")
    for minute in (0, 22, 37, 52):
        report = execute(
            playing(PAYROLL, "refuse"), settings=newest.settings, clock=newest.at(f"{MONDAY}T07:{minute:02}"),
            trigger=Trigger.CRON, options={"code": 75},
        )  # fmt: skip
        assert report.exit_code == 75
    assert owed(newest, f"{MONDAY}T08:07") == {PAYROLL.name}


def test_a_failure_before_the_claim_is_a_try_too(newest: World) -> None:
    """A table of Kibray's is missing: `status` can say why, and catch-up leaves it to a person."""
    live_from(newest, f"{MONDAY}T06:59")
    newest.sql("ALTER TABLE core_timeentry RENAME TO core_other")
    assert go(newest, PAYROLL, f"{MONDAY}T07:00").exit_code == 78
    (run,) = newest.runs()
    assert (run["status"], run["exit_code"], run["slot"]) == ("failed", 78, f"{MONDAY}T07:00")
    late = standing(newest, f"{MONDAY}T09:00")
    assert "core_timeentry" in late.why_late(newest.at(f"{MONDAY}T09:00"))
    assert late.missed is not None
    assert late.missed.at is None
    newest.sql("ALTER TABLE core_other RENAME TO core_timeentry")
    done(go(newest, PAYROLL, f"{MONDAY}T09:30", Trigger.MANUAL))
    assert not standing(newest, f"{MONDAY}T09:31").is_late


def test_the_last_try_is_within_the_deadline(newest: World) -> None:
    """The alert of plans is worth four hours: after the third try there is no time for another."""
    plans = BY_NAME["alert-incomplete-daily-plans"]
    live_from(newest, f"{MONDAY}T17:00")
    for at in ("17:15", "17:37", "18:37"):
        go(newest, playing(plans, "crash"), f"{MONDAY}T{at}")
    found = missed(newest, f"{MONDAY}T18:40", plans.name)
    assert (found.at, found.why_not) == (None, "its deadline of 4 h ends before the next try")


# ---- who is in the way


def test_a_killed_run_is_freed_and_tried_again(newest: World) -> None:
    """It left a record that says running, and the claim: status believes it until the hard limit, catch-up tries."""
    live_from(newest, f"{MONDAY}T06:59")
    go(newest, playing(PAYROLL, "idle"), f"{MONDAY}T07:00")
    newest.sql("UPDATE kibray_ops_run SET status = 'running', finished_at = NULL, exit_code = NULL")
    assert not standing(newest, f"{MONDAY}T07:40").is_late
    late = standing(newest, f"{MONDAY}T08:01")
    assert late.is_late
    assert late.why_late(newest.at(f"{MONDAY}T08:01")) == "due 2025-11-24 07:00; run 1 was killed"
    assert catch_up(newest, f"{MONDAY}T07:14", cast()) == []
    (report,) = catch_up(newest, f"{MONDAY}T08:07", cast())
    assert report.exit_code == 0
    assert [run["status"] for run in newest.runs()] == ["interrupted", "succeeded"]


def test_a_run_of_the_slot_that_is_under_way_is_left_alone(newest: World) -> None:
    """A real process holds the lock and the claim; catch-up ends in silence and starts nothing."""
    newest.move("Etc/UTC")
    now = datetime.now(UTC)  # noqa: TID251
    slow = replace(playing(PAYROLL, "sleep"), cron=f"{now.minute} {now.hour} * * *")
    runs: list[Report] = []
    clock = Simulated(newest.settings.zone, moment=now)
    first = Thread(
        target=lambda: runs.append(
            execute(slow, settings=newest.settings, clock=clock, trigger=Trigger.CRON, options={"seconds": 3})
        )
    )
    first.start()
    while not (found := newest.runs()) or found[0]["status"] != "running":
        time.sleep(0.05)
    later = Simulated(newest.settings.zone, moment=now + timedelta(minutes=20))
    reports = [report for _, report in catchup.catch_up(newest.settings, later, jobs=[slow])]
    assert [(report.status, report.exit_code) for report in reports] == [("skipped", 0)]
    first.join()
    assert [(report.status, report.exit_code) for report in runs] == [("succeeded", 0)]
    assert len(newest.runs()) == 1


def test_two_catch_ups_at_once_do_each_slot_once(newest: World) -> None:
    """Two hosts with the same crontab."""
    live_from(newest, "2025-11-23T12:00")
    reports: list[Report] = []
    threads = [Thread(target=lambda: reports.extend(catch_up(newest, f"{MONDAY}T10:07", cast()))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {report.exit_code for report in reports} == {0}
    worked = [(run["job"], run["slot"]) for run in newest.runs() if run["status"] == "succeeded"]
    assert len(worked) == len(set(worked)) == 7


def test_a_second_host_does_not_try_again_what_has_just_failed(newest: World) -> None:
    """Both have read the same missed; when the second gets its turn, the first has used up the try."""
    live_from(newest, f"{MONDAY}T06:59")
    clock, job = newest.at(f"{MONDAY}T07:22"), playing(PAYROLL, "crash")
    ((_, known),) = due(read(newest.settings, clock, [PAYROLL]), clock)
    for code, status in ((1, "failed"), (0, "skipped")):
        report = execute(job, settings=newest.settings, clock=clock, trigger=Trigger.CATCH_UP, missed=known)
        assert (report.exit_code, report.status) == (code, status)
    assert len(newest.runs()) == 1


# ---- pauses


def test_a_paused_job_is_neither_run_nor_late_nor_made_up_for_later(newest: World) -> None:
    live_from(newest, f"{MONDAY}T00:00")
    with Database(newest.settings).connect() as connection:
        pauses.pause(connection, PAYROLL, now=newest.at(f"{MONDAY}T06:00").now(), until=None)
        connection.commit()
    report = go(newest, playing(PAYROLL, "idle"), f"{MONDAY}T07:00")
    assert (report.status, report.exit_code) == ("skipped", 0)
    (run,) = newest.runs()
    assert (run["status"], run["error"]) == ("skipped", "The job is paused.")
    assert PAYROLL.name not in owed(newest, f"{MONDAY}T08:00")
    paused = standing(newest, f"{MONDAY}T12:00")
    assert (paused.is_late, paused.pause is not None) == (False, True)
    with Database(newest.settings).connect() as connection:
        assert pauses.resume(connection, PAYROLL, now=newest.at(f"{MONDAY}T13:00").now())
        assert not pauses.resume(connection, PAYROLL, now=newest.at(f"{MONDAY}T13:01").now())
        connection.commit()
    assert PAYROLL.name not in owed(newest, f"{MONDAY}T14:00")
    resumed = standing(newest, f"{MONDAY}T14:00")
    assert (resumed.is_late, resumed.pause, resumed.next.key) == (False, None, "2025-12-01T07:00")
    assert go(newest, playing(PAYROLL, "idle"), f"{MONDAY}T14:00").run_id is None
    assert done(go(newest, playing(PAYROLL, "idle"), "2025-12-01T07:00")).run_id


def test_a_pause_ends_by_itself(newest: World) -> None:
    with Database(newest.settings).connect() as connection:
        at = newest.at(f"{MONDAY}T06:00")
        pauses.pause(connection, PAYROLL, now=at.now(), until=newest.at("2025-12-01T00:00").now())
        connection.commit()
    assert go(newest, playing(PAYROLL, "idle"), f"{MONDAY}T07:00").status == "skipped"
    assert standing(newest, f"{MONDAY}T08:00").next.key == "2025-12-01T07:00"
    assert go(newest, playing(PAYROLL, "idle"), "2025-12-01T07:00").status == "succeeded"


def test_by_hand_a_paused_job_runs(newest: World) -> None:
    with Database(newest.settings).connect() as connection:
        pauses.pause(connection, PAYROLL, now=newest.at(f"{MONDAY}T06:00").now(), until=None)
        connection.commit()
    assert go(newest, playing(PAYROLL, "idle"), f"{MONDAY}T07:00", Trigger.MANUAL).status == "succeeded"


def test_a_pause_does_not_hide_what_had_failed_before(newest: World) -> None:
    """The payroll is still owed; while the job is paused nobody tries it."""
    live_from(newest, f"{MONDAY}T06:59")
    go(newest, playing(PAYROLL, "crash"), f"{MONDAY}T07:00")
    paused(newest, f"{MONDAY}T08:00", f"{MONDAY}T09:00")
    assert owed(newest, f"{MONDAY}T08:30") & {PAYROLL.name} == set()
    assert not standing(newest, f"{MONDAY}T08:30").is_late
    assert owed(newest, f"{MONDAY}T09:00") & {PAYROLL.name} == {PAYROLL.name}
    assert standing(newest, f"{MONDAY}T09:00").is_late


def test_a_second_pause_leaves_the_first_what_it_was(newest: World) -> None:
    live_from(newest, f"{MONDAY}T00:00")
    paused(newest, f"{MONDAY}T06:00", f"{MONDAY}T10:00")
    paused(newest, "2025-11-26T06:00", "2025-11-26T07:00")
    assert PAYROLL.name not in owed(newest, "2025-11-27T12:00")
    paused(newest, "2025-11-28T06:00", None)
    paused(newest, "2025-11-28T06:30", "2025-12-01T07:00")  # a new end of the same pause
    assert len(newest.sql("SELECT * FROM kibray_ops_pause")) == 3
    now = standing(newest, "2025-11-28T07:00")
    assert (now.pause is not None, now.next.key) == (True, "2025-12-01T07:00")
    assert go(newest, playing(PAYROLL, "idle"), "2025-12-01T07:00").status == "succeeded"


# ---- what counts


def test_by_hand_a_week_ago_is_not_this_week(newest: World) -> None:
    live_from(newest, "2025-11-10T00:00")
    go(newest, playing(PAYROLL, "idle"), "2025-11-18T08:00", Trigger.MANUAL)
    assert PAYROLL.name in owed(newest, f"{MONDAY}T08:00")
    go(newest, playing(PAYROLL, "idle"), "2025-11-25T08:00", Trigger.MANUAL)
    assert not standing(newest, "2025-11-25T09:00").is_late  # it paid the same week, a day late


def test_what_was_discarded_by_hand_is_not_brought_back(newest: World) -> None:
    """Monday's slot was missed; on Tuesday somebody paid by hand, and took it back."""
    newest.user()
    newest.entry(newest.employee(), "2025-11-20", "8.00")
    live_from(newest, f"{MONDAY}T06:59")
    done(go(newest, PAYROLL, "2025-11-25T10:00", Trigger.MANUAL))
    done(newest.execute("discard-weekly-payroll", at="2025-11-25T10:03"))
    assert PAYROLL.name not in owed(newest, "2025-11-25T10:07")
    assert newest.rows("core_payrollrecord") == []


def test_by_hand_for_another_week_leaves_it_late(newest: World) -> None:
    live_from(newest, f"{MONDAY}T00:00")
    job, clock = playing(PAYROLL, "write"), newest.at(f"{MONDAY}T07:30")
    execute(job, settings=newest.settings, clock=clock, options={"name": "2025-W40"})
    assert standing(newest, f"{MONDAY}T08:00").is_late


def test_what_runs_is_not_late_until_nobody_believes_it(newest: World) -> None:
    """Due at 07:00, begun then; soft limit and grace end at 07:55, hard limit and grace at 08:00."""
    live_from(newest, f"{MONDAY}T00:00")
    assert not standing(newest, f"{MONDAY}T07:54").is_late
    assert standing(newest, f"{MONDAY}T07:55").is_late
    go(newest, playing(PAYROLL, "idle"), f"{MONDAY}T07:00")
    newest.sql("UPDATE kibray_ops_run SET status = 'running', finished_at = NULL, exit_code = NULL")
    assert not standing(newest, f"{MONDAY}T07:59").is_late
    assert standing(newest, f"{MONDAY}T08:00").is_late


def test_a_run_for_a_day_that_is_past_does_not_make_the_hour_good(newest: World) -> None:
    send = BY_NAME["send-pending-notifications"]
    live_from(newest, f"{MONDAY}T08:00")
    job = playing(send, "idle")
    execute(job, settings=newest.settings, clock=newest.at(f"{MONDAY}T10:00").at(newest.at("2025-11-23T10:00").now()))
    assert standing(newest, f"{MONDAY}T10:56", send.name).is_late
    go(newest, job, f"{MONDAY}T10:57", Trigger.MANUAL)
    assert not standing(newest, f"{MONDAY}T10:58", send.name).is_late
    assert go(newest, job, f"{MONDAY}T11:00").status == "succeeded"  # an hour is done by its own run only
    assert [run["slot"] for run in newest.runs()] == [None, None, f"{MONDAY}T18:00Z"]


def test_an_old_failure_is_no_reason_for_a_new_miss(newest: World) -> None:
    live_from(newest, "2025-11-17T06:00")
    go(newest, playing(PAYROLL, "crash"), "2025-11-17T07:00")
    late = standing(newest, f"{MONDAY}T09:00")
    assert late.why_late(newest.at(f"{MONDAY}T09:00")) == "due 2025-11-24 07:00, and no run was started"


def test_a_slot_at_the_moment_of_the_baseline_is_owed(newest: World) -> None:
    live_from(newest, f"{MONDAY}T07:00")
    assert go(newest, playing(PAYROLL, "idle"), f"{MONDAY}T07:00").status == "succeeded"
    live_from(newest, "2025-12-01T07:00")
    assert standing(newest, "2025-11-25T07:00").next.key == "2025-12-01T07:00"


def test_the_last_moment_for_a_try_is_the_deadline(newest: World) -> None:
    plans = BY_NAME["alert-incomplete-daily-plans"]
    live_from(newest, f"{MONDAY}T17:00")
    for at in ("17:15", "19:15", "20:15"):  # the third wait would be over at 00:15
        go(newest, playing(plans, "crash"), f"{MONDAY}T{at}")
    assert missed(newest, f"{MONDAY}T20:20", plans.name).at is None
    newest.sql("DELETE FROM kibray_ops_run WHERE id = 3")
    newest.sql("UPDATE kibray_ops_run SET started_at = ? WHERE id = 2", newest.at(f"{MONDAY}T20:15").now())
    assert missed(newest, f"{MONDAY}T20:20", plans.name).at == newest.at(f"{MONDAY}T21:15").now()


def test_what_took_too_long_is_not_followed_by_what_is_too_late(newest: World) -> None:
    """It was owed when catch-up looked; by the time it gets its turn, its deadline is over."""
    plans = playing(BY_NAME["alert-incomplete-daily-plans"], "idle")
    live_from(newest, f"{MONDAY}T17:00")
    found = missed(newest, f"{MONDAY}T21:15", plans.name)
    report = execute(
        plans, settings=newest.settings, clock=newest.at(f"{MONDAY}T21:16"), trigger=Trigger.CATCH_UP, missed=found
    )
    assert (report.status, newest.runs()) == ("skipped", [])


def test_the_exit_code_is_kept(newest: World) -> None:
    for verb, code in (("partly", 3), ("idle", 0), ("crash", 1)):
        go(newest, playing(PAYROLL, verb), f"{MONDAY}T07:00", Trigger.MANUAL)
        assert newest.runs()[-1]["exit_code"] == code


def test_by_hand_a_failure_before_the_run_leaves_no_record(newest: World) -> None:
    newest.sql("ALTER TABLE core_timeentry RENAME TO core_other")
    assert go(newest, PAYROLL, f"{MONDAY}T07:00", Trigger.MANUAL).exit_code == 78
    assert newest.runs() == []


# ---- the command


def test_the_command_catches_up_and_then_has_nothing_to_do(newest: World) -> None:
    told = here(newest, "catch-up", "--json")
    runs = json.loads(told.stdout)["runs"]
    assert told.returncode == 0, told.stdout
    assert runs
    assert {(run["trigger"], run["status"]) for run in runs} == {("catch-up", "succeeded")}
    assert here(newest, "catch-up").stdout == "Nothing to catch up.\n"
    told = here(newest, "--cron", "catch-up")
    assert (told.returncode, told.stdout, told.stderr) == (0, "", "")


def test_a_dry_run_shows_what_is_owed_and_writes_nothing(newest: World) -> None:
    before = newest.dump()
    told = here(newest, "catch-up", "--dry-run", "--json")
    slots = json.loads(told.stdout)["slots"]
    assert told.returncode == 0
    assert {slot["job"] for slot in slots} >= {"cleanup-old-notifications"}
    shown = here(newest, "catch-up", "--dry-run").stdout
    assert "cleanup-old-notifications" in shown
    assert newest.dump() == before
    assert here(newest, "--cron", "catch-up", "--dry-run").returncode == 2


@pytest.mark.parametrize("reader", ["head -1", "cat > /dev/full"])
def test_a_reader_that_leaves_stops_no_job(sqlite_world: World, reader: str) -> None:
    if "full" in reader:
        line = f"{sys.executable} -m kibray_ops catch-up > /dev/full"
    else:
        line = f"{sys.executable} -m kibray_ops catch-up | {reader}"
    subprocess.run(
        line, shell=True, env=sqlite_world.environ, cwd=sqlite_world.directory, capture_output=True, check=False
    )
    told = here(sqlite_world, "catch-up", "--json")
    assert json.loads(told.stdout)["runs"] == []


def test_under_cron_what_will_be_tried_again_is_not_told(pg_world: World) -> None:
    with pg_world.connect() as other:
        other.execute("BEGIN")
        other.execute("LOCK TABLE kibray_ops_run IN EXCLUSIVE MODE")
        pg_world.environment["KIBRAY_OPS_LOCK_TIMEOUT"] = "1"
        told = here(pg_world, "--cron", "catch-up")
    assert (told.returncode, told.stdout, told.stderr) == (75, "", "")


def test_under_cron_a_failure_is_told_in_full_and_what_keeps_it_from_starting_is_not(newest: World) -> None:
    newest.sql("ALTER TABLE core_invoice RENAME TO core_other")
    told = here(newest, "--cron", "catch-up")
    assert told.returncode in (3, 78)
    assert "core_invoice" in told.stderr
    newest.environment["KIBRAY_OPS_PAYROLL_STATUSS"] = "draft"
    told = here(newest, "--cron", "catch-up")
    assert (told.returncode, told.stdout, told.stderr) == (78, "", "")
    del newest.environment["KIBRAY_OPS_PAYROLL_STATUSS"]
    newest.sql("ALTER TABLE core_other RENAME TO core_invoice")
    newest.sql("UPDATE kibray_ops_alembic_version SET version_num = '0001'")
    told = here(newest, "--cron", "catch-up")
    assert (told.returncode, told.stdout, told.stderr) == (78, "", "")
    assert "db init" in here(newest, "catch-up").stderr


def test_a_catch_up_that_is_ended_stops_and_leaves_the_rest_for_the_next(newest: World) -> None:
    """SIGTERM while a job works: its run is recorded, and none of the others is started."""
    live_from(newest, "2025-11-23T12:00")
    jobs = cast(update_invoice_statuses="sleep")
    Timer(1.0, lambda: os.kill(os.getpid(), signal.SIGTERM)).start()
    reports = catch_up(newest, f"{MONDAY}T10:07", jobs)
    assert [(report.job, report.exit_code) for report in reports] == [("update-invoice-statuses", 143)]
    assert [(run["status"], run["exit_code"]) for run in newest.runs()] == [("interrupted", 143)]
    assert len(catch_up(newest, f"{MONDAY}T10:37", cast())) == 7


def test_what_is_read_needs_our_tables(bare: World) -> None:
    with pytest.raises(KibrayOpsError, match="has not been set up"):
        read(bare.settings, bare.at(f"{MONDAY}T07:00"))
