"""Slots on ordinary days and on the days when the clock changes, and the values of --as-of."""

from datetime import UTC, datetime, timedelta
from itertools import islice
from zoneinfo import ZoneInfo

import pytest

from kibray_ops.clock import Clock
from kibray_ops.errors import UsageError
from kibray_ops.registry import JOBS, Job
from kibray_ops.schedule import latest_slot, parse_as_of, planned, slot_after, slot_before, spelled

DENVER = ZoneInfo("America/Denver")
BY_NAME = {job.name: job for job in JOBS}
PAYROLL = BY_NAME["generate-weekly-payroll"]


def slot(job: Job, local: str, zone: ZoneInfo = DENVER, fold: int = 0) -> str | None:
    moment = datetime.fromisoformat(local).replace(tzinfo=zone, fold=fold)
    found = latest_slot(job, Clock(zone).at(moment))
    return found and found.key


def test_the_latest_slot_within_the_deadline() -> None:
    assert slot(PAYROLL, "2025-11-24T07:00") == "2025-11-24T07:00"
    assert slot(PAYROLL, "2025-11-24T06:59") is None  # last Monday's is six days and 24 hours old
    assert slot(PAYROLL, "2025-11-29T12:00") == "2025-11-24T07:00"
    assert slot(PAYROLL, "2025-11-30T07:01") is None
    assert slot(BY_NAME["alert-incomplete-daily-plans"], "2025-11-24T21:15") == "2025-11-24T17:15"
    assert slot(BY_NAME["alert-incomplete-daily-plans"], "2025-11-24T21:16") is None
    assert slot(BY_NAME["cleanup-old-notifications"], "2025-11-23T02:00") == "2025-11-23T02:00"


def test_a_slot_late_in_the_evening_has_its_local_date() -> None:
    found = latest_slot(
        BY_NAME["alert-incomplete-daily-plans"], Clock(DENVER).at(datetime(2025, 11, 25, 0, 30, tzinfo=UTC))
    )
    assert found is not None
    assert (found.key, found.business_date.isoformat()) == ("2025-11-24T17:15", "2025-11-24")


@pytest.mark.parametrize("zone", ["America/Denver", "America/Los_Angeles", "America/New_York", "America/Phoenix"])
@pytest.mark.parametrize("around", ["2026-03-08", "2026-11-01"])
def test_each_daily_slot_once_and_each_hour_its_own_on_the_days_of_change(zone: str, around: str) -> None:
    """A host in UTC starts every job every 15 minutes: what counts is how many different slots that makes."""
    name = ZoneInfo(zone)
    middle = datetime.fromisoformat(around).replace(tzinfo=name).astimezone(UTC)
    moments = [middle + timedelta(minutes=15 * n) for n in range(-96, 192)]
    days = {moment.astimezone(name).date().isoformat() for moment in moments}
    for job in JOBS:
        found = [latest_slot(job, Clock(name).at(moment)) for moment in moments]
        keys = [s.key for s in found if s]
        assert keys == sorted(keys)
        if job.hourly:
            assert len(set(keys)) == 72
        elif job.cron and job.cron.endswith("* * *"):
            of_days = [key for key in set(keys) if key[:10] in days]
            assert len(of_days) == len({key[:10] for key in of_days})
            assert {around} <= {key[:10] for key in of_days}


def test_the_skipped_hour_still_has_its_slot() -> None:
    """02:00 does not exist on the Sunday of the spring change: the slot is due right after the jump."""
    cleanup = BY_NAME["cleanup-old-notifications"]
    assert slot(cleanup, "2026-03-08T01:59") is None or slot(cleanup, "2026-03-08T01:59") == "2026-03-01T02:00"
    assert slot(cleanup, "2026-03-08T03:00") == "2026-03-08T02:00"


def test_the_repeated_hour_has_one_daily_slot_and_two_hourly_ones() -> None:
    statuses, send = BY_NAME["update-invoice-statuses"], BY_NAME["send-pending-notifications"]
    assert (
        slot(statuses, "2026-11-01T01:05", fold=0) == slot(statuses, "2026-11-01T01:05", fold=1) == "2026-11-01T01:00"
    )
    assert slot(send, "2026-11-01T01:05", fold=0) == "2026-11-01T07:00Z"
    assert slot(send, "2026-11-01T01:05", fold=1) == "2026-11-01T08:00Z"


@pytest.mark.parametrize(
    ("text", "job", "moment"),
    [
        ("2026-06-22", "generate-weekly-payroll", "2026-06-22T13:00:00+00:00"),  # 07:00, whatever the weekday
        ("2026-06-23", "generate-weekly-payroll", "2026-06-23T13:00:00+00:00"),
        ("2026-06-22", "alert-incomplete-daily-plans", "2026-06-22T23:15:00+00:00"),
        ("2026-06-22", "send-pending-notifications", "2026-06-23T05:00:00+00:00"),  # 23:00
        ("2026-06-22T18:30", "generate-weekly-payroll", "2026-06-23T00:30:00+00:00"),
        ("2026-06-22T18:30+00:00", "generate-weekly-payroll", "2026-06-22T18:30:00+00:00"),
    ],
)
def test_as_of(text: str, job: str, moment: str) -> None:
    assert parse_as_of(text, BY_NAME[job], DENVER).isoformat() == moment


@pytest.mark.parametrize(
    "text", ["", "yesterday", "2026-02-30", "20260622", "2026-06-22T25:00", "2026-W26", "0000-01-01"]
)
def test_no_as_of(text: str) -> None:
    with pytest.raises(UsageError):
        parse_as_of(text, PAYROLL, DENVER)


def test_the_next_hour_and_its_local_date() -> None:
    send = BY_NAME["send-pending-notifications"]
    at = datetime(2025, 11, 24, 10, tzinfo=DENVER)
    assert slot_after(send, at, DENVER).moment == at + timedelta(hours=1)
    assert slot_after(send, at - timedelta(microseconds=1), DENVER).moment == at
    evening = slot_before(send, datetime(2025, 11, 24, 20, 30, tzinfo=DENVER), DENVER)
    assert (evening.key, evening.business_date.isoformat()) == ("2025-11-25T03:00Z", "2025-11-24")


def test_the_next_slot_is_after_the_moment() -> None:
    monday = datetime(2025, 11, 24, 7, tzinfo=DENVER)
    assert slot_after(PAYROLL, monday, DENVER).key == "2025-12-01T07:00"
    assert slot_after(PAYROLL, monday - timedelta(microseconds=1), DENVER).key == "2025-11-24T07:00"


def test_what_is_planned_comes_in_the_order_of_time_and_of_the_registry() -> None:
    coming = islice(planned(JOBS, datetime(2025, 11, 24, 4, 30, tzinfo=DENVER), DENVER), 5)
    assert [(slot.key[-6:], job.command[-1]) for slot, job in coming] == [
        ("T05:00", "fetch-snapshots"), ("T05:00", "update-weather"), ("12:00Z", "send"),
        ("T06:00", "check-overdue"), ("13:00Z", "send"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("span", "words"),
    [
        (timedelta(seconds=59), "59 s"), (timedelta(minutes=1), "1 min"), (timedelta(minutes=65), "1 h 5 min"),
        (timedelta(hours=20), "20 h"), (timedelta(days=1, minutes=5), "1 day"), (timedelta(days=6), "6 days"),
        (timedelta(days=3, hours=9, minutes=4), "3 days 9 h"),
    ],
)  # fmt: skip
def test_lengths_of_time(span: timedelta, words: str) -> None:
    assert spelled(span) == words
