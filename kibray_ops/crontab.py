"""The crontab as text: what the registry says, at the times of the host, and our own block in somebody's crontab.

Debian's cron knows one time zone, that of the host, and takes a CRON_TZ line for a variable of the jobs. So where the
business lives in another zone, a job stands at every host time that its local time can fall on; its slot, its deadline
and the claim see to it that it works at the right one only (crontab(5), cron(8)).
"""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from difflib import unified_diff
from pathlib import PurePath
from zoneinfo import ZoneInfo

from kibray_ops.errors import ConfigurationError
from kibray_ops.registry import CATCH_UP, CATCH_UP_NAME, JOBS, Job

BEGIN, END = "# BEGIN kibray-ops", "# END kibray-ops"
MADE = "# Made by `kibray-ops crontab generate`: change its settings, not these lines."
SYSTEM = ("SHELL=/bin/sh", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
UNFIT = {"%": "%, which cron takes for the end of a command", "\n": "a line break", "\r": "a line break"}
DAY = timedelta(days=1)


@dataclass(frozen=True)
class Program:
    """How a schedule calls kibray-ops."""

    path: str
    """Absolute: cron's PATH is short."""
    env_file: str = ""
    user: str = ""
    """For a system crontab, which says who runs each line."""

    def __post_init__(self) -> None:
        if self.user and not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*\$?", self.user):
            raise ConfigurationError(f"{self.user!r} is no user's name.", hint="Name a user of this machine.")

    def command(self, *words: str) -> tuple[str, ...]:
        """Return what a schedule types to start something; raises ConfigurationError where nobody would find it."""
        if not PurePath(self.path).is_absolute():
            raise ConfigurationError(
                "A schedule needs the absolute path of the kibray-ops program.",
                hint="Name it: --program /usr/local/bin/kibray-ops.",
            )
        settings = ("--env-file", self.env_file) if self.env_file else ()
        return (self.path, *settings, "--cron", *words)

    def line(self, times: str, *words: str) -> str:
        """Return a line of the crontab; raises ConfigurationError for what cron would not understand."""
        command = shlex.join(self.command(*words))
        for letter, meaning in UNFIT.items():
            if letter in command:
                raise ConfigurationError(
                    f"No crontab can say {command.splitlines()[0]!r}: there is {meaning}, in it.",
                    hint="Install kibray-ops, or put the env file, where the path has plain letters only.",
                )
        return " ".join(filter(None, (times, self.user, command)))


@dataclass(frozen=True)
class Schedule:
    """Whose times a schedule shall keep, by the clock of what host or engine."""

    business: ZoneInfo
    host: ZoneInfo
    today: date
    """Two calendar years from its own on are looked through for what the clocks do."""
    makes_up_for_gaps: bool = True
    """cron starts a time that its clock jumps over right after the jump; other engines leave it out that day."""

    def times(self, job: Job) -> list[str]:
        """Return the five fields of every line that a job needs, by the host's clock."""
        minute, hour, _, _, weekday = (job.cron or "").split()
        if hour == "*":
            minutes = sorted({moment.minute for moment in self._moments(time(0, int(minute)), "*")})
            return [f"{','.join(map(str, minutes))} * * * *"]
        found: dict[tuple[int, str], set[int]] = {}
        for moment in self._moments(time(int(hour), int(minute)), weekday):
            on = "*" if weekday == "*" else str(moment.isoweekday() % 7)
            found.setdefault((moment.minute, on), set()).add(moment.hour)
        return [
            f"{minute} {','.join(map(str, sorted(hours)))} * * {on}" for (minute, on), hours in sorted(found.items())
        ]

    def _moments(self, wall: time, weekday: str) -> Iterator[datetime]:
        """Yield the host's wall time of every slot at a time of day in the business zone."""
        day = date(self.today.year, 1, 1)
        while day.year < self.today.year + 2:
            if weekday == "*" or day.isoweekday() % 7 == int(weekday):
                moment = datetime.combine(day, wall, self.business).astimezone(UTC)
                # What the host's clock would show if it did not jump just then, where a time that it jumps over is
                # made up for.
                shown = moment - timedelta(seconds=1) if self.makes_up_for_gaps else moment
                offset = self.host.utcoffset(shown.astimezone(self.host))
                yield (moment + (offset or timedelta())).replace(tzinfo=None)
            day += DAY

    def __str__(self) -> str:
        if self.business.key == self.host.key:
            return f"# Time zone of the business and of this host: {self.host.key}."
        return (
            f"# Time zone of the business: {self.business.key}; of this host: {self.host.key}.\n"
            "# A job stands at all times that its own may be here, and works at the right one."
        )


def lines(program: Program, schedule: Schedule) -> list[str]:
    """Return a line for every start of every job, and the one of catch-up."""
    return [
        *(program.line(at, *job.words) for job in JOBS for at in schedule.times(job)),
        program.line(CATCH_UP, CATCH_UP_NAME),
    ]


def block(program: Program, schedule: Schedule) -> str:
    """Return the block for a user's crontab: no variables, for they would leak into the user's other lines."""
    return "\n".join((BEGIN, MADE, str(schedule), *lines(program, schedule), END)) + "\n"


def system_file(program: Program, schedule: Schedule) -> str:
    """Return a file for /etc/cron.d, where each line names its user, who also gets what a failing job prints."""
    head = (BEGIN, MADE, str(schedule), *SYSTEM, f"MAILTO={program.user}")
    return "\n".join((*head, *lines(program, schedule), END)) + "\n"


def own(text: str) -> str:
    """Return our block in a crontab, empty where there is none; raises ConfigurationError where it has no end."""
    before, inside, _ = _parted(text)
    return text[len(before) : len(before) + len(inside)]


def replaced(text: str, new: str) -> str:
    """Return a crontab with our block replaced, or added at the end; with an empty one, removed."""
    before, _, after = _parted(text)
    if before and not before.endswith("\n"):
        before += "\n"  # cron ignores a crontab whose last line does not end
    return before + new + after


def difference(installed: str, generated: str) -> str:
    """Return what would change, as `diff -u` shows it; empty where nothing would."""
    changed = unified_diff(
        installed.splitlines(keepends=True), generated.splitlines(keepends=True), "installed", "generated"
    )
    return "".join(changed)


def _parted(text: str) -> tuple[str, str, str]:
    """Return what stands before our block, the block, and what stands behind it."""
    kept = text.splitlines(keepends=True)
    begins, ends = ([n for n, line in enumerate(kept) if line.rstrip() == mark] for mark in (BEGIN, END))
    if not begins and not ends:
        return text, "", ""
    if len(begins) != 1 or len(ends) != 1 or begins > ends:
        raise ConfigurationError(
            f"The crontab has {len(begins)} lines {BEGIN!r} and {len(ends)} lines {END!r}, which is not one block.",
            hint="Nothing was changed. Take those lines and the ones between them out with `crontab -e`, then install.",
        )
    start, stop = begins[0], ends[0] + 1
    return "".join(kept[:start]), "".join(kept[start:stop]), "".join(kept[stop:])


@dataclass(frozen=True)
class Entry:
    """A line of a crontab that starts something."""

    times: str
    user: str
    words: tuple[str, ...]

    @property
    def command(self) -> tuple[str, ...]:
        """Return the words after the program and its first options."""
        words = list(self.words[1:])
        while words and words[0].startswith("-"):
            del words[: 2 if words[0] == "--env-file" else 1]
        return tuple(words)


def entries(text: str, *, system: bool) -> list[Entry]:
    """Return the lines of a crontab that start something, as cron reads them; others have a user in each line."""
    found = []
    for line in text.splitlines():
        parts = line.split(maxsplit=6 if system else 5)
        if not parts or parts[0].startswith("#") or "=" in parts[0]:
            continue
        fields = 1 if parts[0].startswith("@") else 5
        rest = parts[fields:]
        user = rest.pop(0) if system and rest else ""
        try:
            words = tuple(shlex.split(" ".join(rest)))
        except ValueError:
            words = tuple(rest)
        found.append(Entry(" ".join(parts[:fields]), user, words))
    return found


def variables(text: str) -> dict[str, str]:
    """Return the variables that a crontab sets, for the lines that follow them."""
    pairs = (line.partition("=") for line in text.splitlines() if not line.lstrip().startswith("#"))
    return {
        name.strip(): value.strip().strip("\"'")
        for name, equals, value in pairs
        if equals and name.strip().isidentifier()
    }


def is_ours(entry: Entry) -> bool:
    """Tell whether a line starts kibray-ops."""
    return any(PurePath(word).name in ("kibray-ops", "kibray_ops") for word in entry.words)


def unknown(found: list[Entry]) -> list[str]:
    """Return the commands of lines that this version does not have."""
    known = {job.words for job in JOBS} | {(CATCH_UP_NAME,)}
    return [" ".join(entry.command) for entry in found if entry.command not in known]
