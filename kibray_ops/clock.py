"""Now, and the business time zone. The only module that asks the machine for the time."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

UTC_NAMES = frozenset(
    {"UTC", "UCT", "GMT", "Zulu", "Universal", "Greenwich"}
    | {f"Etc/{name}" for name in ("UTC", "UCT", "GMT", "Zulu", "Universal", "Greenwich", "GMT0", "GMT-0", "GMT+0")}
)


@dataclass(frozen=True)
class Clock:
    """Tell the moment that a run works for, in aware UTC and in the business zone.

    `fixed` is the moment of `--as-of`; without it the clock is the machine's.
    """

    zone: ZoneInfo
    fixed: datetime | None = None

    def now(self) -> datetime:
        """Return the present moment, or the one that was asked for, in UTC."""
        return self.fixed or self.real()

    def today(self) -> date:
        """Return the business date."""
        return self.now().astimezone(self.zone).date()

    def local(self, moment: datetime) -> datetime:
        """Return a moment in the business zone; as it is where the calendar ends."""
        try:
            return moment.astimezone(self.zone)
        except OverflowError:
            return moment

    def real(self) -> datetime:
        """Return the machine's time, whatever `--as-of` says: run records keep real times."""
        return real_now()

    def at(self, moment: datetime) -> "Clock":
        """Return a clock that stands at a moment; a naive one is wall time in the business zone."""
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=self.zone)
        return Clock(self.zone, moment.astimezone(UTC))


def real_now() -> datetime:
    """Return the machine's time in UTC."""
    return datetime.now(UTC)  # noqa: TID251 - this is the one place


def show_the_same(zone: ZoneInfo, other: str, moment: datetime) -> bool:
    """Tell whether clocks in two zones show the same at a moment; one that is not known here shows something else."""
    try:
        return (
            zone.key == other or moment.astimezone(zone).utcoffset() == moment.astimezone(ZoneInfo(other)).utcoffset()
        )
    except (LookupError, ValueError, OSError):
        return False


def machine_zone(tz: str | None) -> str:
    """Return the name of the zone of this machine: what an environment's `TZ` says, or where it has none the system's.

    Raises LookupError when the machine does not tell.
    """
    import tzlocal

    try:
        with _tz(tz):
            return str(tzlocal.reload_localzone())  # read anew: TZ may have changed since the first time
    except (LookupError, ValueError, OSError) as error:
        raise LookupError(f"this machine does not tell its time zone ({error})") from error


@contextmanager
def _tz(value: str | None) -> Iterator[None]:
    """Let TZ be what it is in another environment: neither the C library nor tzlocal can be told in another way."""
    own = os.environ.get("TZ")
    value = value or None
    if value == own:
        yield
        return
    try:
        _set_tz(value)
        yield
    finally:
        _set_tz(own)


def _set_tz(value: str | None) -> None:
    if value is None:
        os.environ.pop("TZ", None)
    else:
        os.environ["TZ"] = value
    time.tzset()
