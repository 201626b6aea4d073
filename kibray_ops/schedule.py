"""Slots and due times. croniter lives here alone, and only ever sees naive local time.

croniter's own handling of clock changes differs between its versions, so it is never asked: a daily or weekly slot is
a naive local wall time (it exists once even when the hour repeats), an hourly slot is a UTC hour.
"""

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from kibray_ops.clock import Clock
from kibray_ops.errors import UsageError
from kibray_ops.registry import Job

FIRST_YEAR, LAST_YEAR = 1900, 2999
"""What lies outside is a slip of the finger, and days before and after it may not exist."""


@dataclass(frozen=True)
class Slot:
    """One scheduled time of a job: the key under which it is claimed, its business date, its moment."""

    key: str
    business_date: date
    moment: datetime


def latest_slot(job: Job, clock: Clock) -> Slot | None:
    """Return the latest slot that is not in the future and not past the job's deadline."""
    if job.cron is None:
        return None
    now = clock.now()
    if job.hourly:
        hour = now.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
        slot = Slot(f"{hour:%Y-%m-%dT%H:%M}Z", hour.astimezone(clock.zone).date(), hour)
    else:
        slot = _local_slot(_previous(job.cron, now.astimezone(clock.zone).replace(tzinfo=None)), clock.zone)
    if job.deadline is not None and now - slot.moment > job.deadline:
        return None
    return slot


def _local_slot(wall: datetime, zone: ZoneInfo) -> Slot:
    # A wall time that the spring change skips is read with the offset before it: the moment right after the jump.
    return Slot(f"{wall:%Y-%m-%dT%H:%M}", wall.date(), wall.replace(tzinfo=zone).astimezone(UTC))


def _previous(cron: str, wall: datetime) -> datetime:
    """Return the latest time of a cron expression that is not after a naive local time."""
    from croniter import croniter

    next_minute = wall.replace(second=0, microsecond=0) + timedelta(minutes=1)
    found: datetime = croniter(cron, next_minute).get_prev(datetime)
    return found


def parse_as_of(text: str, job: Job | None, zone: ZoneInfo) -> datetime:
    """Read the value of `--as-of`: a moment in the business zone, or a date.

    A date means the job's last scheduled time of day on it, whatever the weekday; the end of the day for what has no
    schedule. Raises UsageError.
    """
    return parse_moment(text, zone, option="--as-of", time_of_day=_last_time_of_day(job))


def parse_moment(text: str, zone: ZoneInfo, *, option: str, time_of_day: time = time.min) -> datetime:
    """Read a date (at a time of day) or a moment in the business zone, and return it in UTC; raises UsageError."""
    wrong = UsageError(
        f"{option} {text!r} is neither a date nor a moment.", hint="Write 2026-06-22 or 2026-06-22T18:30."
    )
    try:
        if re.fullmatch(r"\d{4}-\d{2}-\d{2}", text):
            moment = datetime.combine(date.fromisoformat(text), time_of_day)
        elif re.match(r"\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}", text):
            moment = datetime.fromisoformat(text)
        else:
            raise wrong
        if not FIRST_YEAR <= moment.year <= LAST_YEAR:
            raise UsageError(
                f"{option} {text!r} is too far away.", hint=f"Write a year from {FIRST_YEAR} to {LAST_YEAR}."
            )
        return moment.replace(tzinfo=moment.tzinfo or zone).astimezone(UTC)
    except (ValueError, OverflowError):
        raise wrong from None


def _last_time_of_day(job: Job | None) -> time:
    if job is None or job.cron is None:
        return time(23, 59)
    minute, hour, *_ = job.cron.split()
    any_evening = datetime(2001, 1, 1, 23, 59)  # noqa: DTZ001 - wall time
    return _previous(f"{minute} {hour} * * *", any_evening).time()
