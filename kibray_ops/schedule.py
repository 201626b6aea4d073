"""Slots and due times. croniter lives here alone, and only ever sees naive local time.

croniter's own handling of clock changes differs between its versions, so it is never asked: a daily or weekly slot is
a naive local wall time (it exists once even when the hour repeats), an hourly slot is a UTC hour.
"""

import heapq
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from kibray_ops.clock import Clock
from kibray_ops.errors import UsageError
from kibray_ops.registry import Job

FIRST_YEAR, LAST_YEAR = 1900, 2999
"""What lies outside is a slip of the finger, and days before and after it may not exist."""


DAYS = ("Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday")
"""As cron counts them."""


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
    slot = slot_before(job, clock.now(), clock.zone)
    return None if is_past_deadline(job, slot, clock) else slot


def is_past_deadline(job: Job, slot: Slot, clock: Clock) -> bool:
    """Tell whether a slot of a job is too old to be worth a run."""
    return job.deadline is not None and clock.now() - slot.moment > job.deadline


def slot_before(job: Job, moment: datetime, zone: ZoneInfo) -> Slot:
    """Return a job's latest slot that is not after a moment, however long ago it was."""
    if job.hourly:
        return _hour(moment.astimezone(UTC), zone)
    return _local_slot(_previous(_cron(job), moment.astimezone(zone).replace(tzinfo=None)), zone)


def slot_after(job: Job, moment: datetime, zone: ZoneInfo) -> Slot:
    """Return a job's next slot after a moment."""
    if job.hourly:
        return _hour(moment.astimezone(UTC) + timedelta(hours=1), zone)
    from croniter import croniter

    wall = moment.astimezone(zone).replace(tzinfo=None)
    following: datetime = croniter(_cron(job), wall).get_next(datetime)
    return _local_slot(following, zone)


def planned(jobs: Sequence[Job], moment: datetime, zone: ZoneInfo) -> Iterator[tuple[Slot, Job]]:
    """Yield the slots of jobs after a moment in the order of time, without end."""

    def of(job: Job) -> Iterator[tuple[datetime, int, Slot, Job]]:
        slot = slot_after(job, moment, zone)
        while True:
            yield slot.moment, jobs.index(job), slot, job
            slot = slot_after(job, slot.moment, zone)

    for _, _, slot, job in heapq.merge(*map(of, jobs)):
        yield slot, job


def described(cron: str) -> str:
    """Return a job's schedule in words: `daily 05:00`, `Monday 07:00`, `hourly :00`."""
    minute, hour, _, _, weekday = cron.split()
    if hour == "*":
        return f"hourly :{int(minute):02}"
    return f"{'daily' if weekday == '*' else DAYS[int(weekday)]} {int(hour):02}:{int(minute):02}"


def spelled(span: timedelta) -> str:
    """Return a length of time in its two largest units, rounded down: `6 days`, `1 h 5 min`, `12 s`."""
    seconds = int(span.total_seconds())
    if seconds < 60:
        return f"{seconds} s"
    days, hours, minutes = seconds // 86_400, seconds // 3_600 % 24, seconds // 60 % 60
    units = [(days, "day" if days == 1 else "days"), (hours, "h"), (minutes, "min")]
    first = next(number for number, (count, _) in enumerate(units) if count)
    return " ".join(f"{count} {unit}" for count, unit in units[first : first + 2] if count)


def _cron(job: Job) -> str:
    assert job.cron is not None, f"{job.name} has no schedule"  # noqa: S101 - for the type checker
    return job.cron


def _hour(moment: datetime, zone: ZoneInfo) -> Slot:
    hour = moment.replace(minute=0, second=0, microsecond=0)
    return Slot(f"{hour:%Y-%m-%dT%H:%M}Z", hour.astimezone(zone).date(), hour)


def _local_slot(wall: datetime, zone: ZoneInfo) -> Slot:
    # A wall time that the spring change skips is read with the offset before it: as late after the jump as it would
    # have been after the hour that is gone.
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
