"""Which lines Debian's cron starts as the clock goes on, minute by minute: cron(8) and the main loop of its source.

A forward jump of less than three hours runs what has a fixed time and was jumped over, right away; after a backward
one, such lines wait until the clock is where it was. Lines with * in the minute or hour just follow the clock.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from kibray_ops.crontab import Entry, entries

MINUTE, SMALL, LARGE = timedelta(minutes=1), timedelta(minutes=5), timedelta(hours=3)


def numbers(field: str, least: int, most: int) -> frozenset[int]:
    """Return what a field stands for: numbers, a list of them, or all."""
    return frozenset(range(least, most + 1)) if field == "*" else frozenset(map(int, field.split(",")))


@dataclass(frozen=True)
class Line:
    entry: Entry
    minutes: frozenset[int]
    hours: frozenset[int]
    weekdays: frozenset[int]
    is_wild: bool

    @classmethod
    def of(cls, entry: Entry) -> "Line":
        minute, hour, day, month, weekday = entry.times.split()
        assert (day, month) == ("*", "*")
        return cls(entry, numbers(minute, 0, 59), numbers(hour, 0, 23), numbers(weekday, 0, 6), "*" in (minute, hour))

    def is_due(self, wall: datetime) -> bool:
        return wall.minute in self.minutes and wall.hour in self.hours and wall.isoweekday() % 7 in self.weekdays


def starts(text: str, host: ZoneInfo, first: datetime, last: datetime) -> Iterator[tuple[datetime, Entry]]:
    """Yield what is started when, in UTC, by a daemon that runs from one moment to another."""
    lines = [Line.of(entry) for entry in entries(text, system=False)]

    def due(wall: datetime, *, wild: bool, fixed: bool) -> list[Entry]:
        return [line.entry for line in lines if (wild if line.is_wild else fixed) and line.is_due(wall)]

    moment = first.astimezone(UTC).replace(second=0, microsecond=0)
    virtual = moment.astimezone(host).replace(tzinfo=None) - MINUTE
    while moment <= last:
        wall = moment.astimezone(host).replace(tzinfo=None)
        ahead = wall - virtual
        found: list[Entry] = []
        if -LARGE < ahead <= timedelta():
            found += due(wall, wild=True, fixed=False)
        elif SMALL < ahead < LARGE:
            found += due(wall, wild=True, fixed=False)
            while virtual < wall:
                virtual += MINUTE
                found += due(virtual, wild=False, fixed=True)
        else:
            assert ahead == MINUTE
            virtual = wall
            found += due(wall, wild=True, fixed=True)
        yield from ((moment, entry) for entry in found)
        moment += MINUTE
