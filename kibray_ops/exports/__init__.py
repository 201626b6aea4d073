"""The schedule for other engines than the cron of one machine: the registry in, files out.

Every engine starts the words that a crontab would start, at the same times. So each keeps what holds under cron: the
slot says what a run works for, the deadline whether it is still worth it, and the claim that it is done once, whatever
an engine makes of an outage, of a change of the clocks, or of another engine beside it.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from importlib import import_module
from pathlib import Path
from zoneinfo import ZoneInfo

from kibray_ops import files
from kibray_ops.crontab import Program, Schedule
from kibray_ops.errors import ConfigurationError
from kibray_ops.registry import CATCH_UP, CATCH_UP_NAME, CATCH_UP_WORTH, JOBS, Job
from kibray_ops.settings import DECLARED, Settings

TARGETS = ("systemd", "kubernetes", "render", "celery")
"""Each is a module here, whose `export` takes a Plan."""
ELSEWHERE = ("kubernetes", "render")
"""Where runs are on other machines: these have neither our zone nor a SQLite file of ours."""
MARK = "# Made by `kibray-ops schedule export`: export again, rather than change it."
"""The first line of every file."""
NAME = "kibray-ops"
"""What the names of all units, jobs and services begin with."""
ENV_FILE = "/etc/kibray-ops/env"
"""Where the settings are expected, unless they were found elsewhere."""
ETC_UTC = ZoneInfo("Etc/UTC")


@dataclass(frozen=True)
class Start:
    """Something that an engine has to start."""

    name: str
    summary: str
    words: tuple[str, ...]
    """What follows `kibray-ops --cron`."""
    times: str
    """Five fields, in the zone."""
    zone: str
    worth: timedelta
    """How late a start is still of use."""
    limit: timedelta
    """After so long the program has ended itself."""


@dataclass(frozen=True)
class Export:
    """What was made for an engine."""

    files: Mapping[str, str]
    """Name → text."""
    steps: tuple[str, ...]
    """What to type next; {directory} stands for where the files are."""


@dataclass(frozen=True)
class Plan:
    """What an export is made of, beside the registry."""

    settings: Settings
    today: date
    program: Program
    """How a machine calls the program."""
    image: str
    """How a cluster calls it."""

    @property
    def env_file(self) -> str:
        """Return where the settings are: where they were found, or are expected."""
        return self.program.env_file or ENV_FILE

    @property
    def pinned(self) -> Mapping[str, str]:
        """Return the zone as a variable, unless the env file has it: then whoever changes it there is obeyed."""
        in_file = self.settings.sources["TIMEZONE"] == self.settings.raw["ENV_FILE"]
        return {} if in_file else {"KIBRAY_OPS_TIMEZONE": self.zone}

    @property
    def zone(self) -> str:
        """Return the name of the business zone."""
        return self.settings.zone.key

    @property
    def only_here(self) -> tuple[str, ...]:
        """Return the variables that this shell has, and the jobs need to be given too."""
        return tuple(
            setting.variable
            for setting in DECLARED
            if self.settings.sources[setting.name].startswith("environment")
            and setting.name not in ("ENV_FILE", "TIMEZONE")
        )

    def starts(self, *, only_utc: bool = False) -> list[Start]:
        """Return everything to be started, for an engine that knows time zones, or knows UTC only.

        Hourly jobs are started by UTC in any case, as their slots are: engines lose or double the hour in which clocks
        change.
        """
        found = [start for job in JOBS for start in self._of(job, only_utc=only_utc)]
        limit = sum((self._limit(job) for job in JOBS), timedelta())
        summary = "Make up for what was missed or has failed."
        words = (CATCH_UP_NAME,)
        return [*found, Start(CATCH_UP_NAME, summary, words, CATCH_UP, ETC_UTC.key, CATCH_UP_WORTH, limit)]

    def _of(self, job: Job, *, only_utc: bool) -> list[Start]:
        """Return one start for each line that a job would need in a crontab, which is one but for odd zones."""
        keeps = ETC_UTC if job.hourly else self.settings.zone
        zone = ETC_UTC if only_utc else keeps
        schedule = Schedule(keeps, zone, self.today, makes_up_for_gaps=False)
        return [
            Start(
                job.name if number == 1 else f"{job.name}-{number}",
                job.summary,
                job.words,
                times,
                zone.key,
                job.worth,
                self._limit(job),
            )
            for number, times in enumerate(schedule.times(job), 1)
        ]

    def _limit(self, job: Job) -> timedelta:
        return timedelta(seconds=self.settings.time_limit("HARD", job.name))


def export(target: str, plan: Plan) -> Export:
    """Return the files for an engine, one of TARGETS; raises ConfigurationError for what it could not be told."""
    made: Export = import_module(f"{__name__}.{target}").export(plan)
    return made


def write(made: Export, directory: Path) -> None:
    """Write the files, all before the first is replaced; one that is not of our making never is.

    Raises ConfigurationError.
    """
    unfinished: dict[Path, Path] = {}
    try:
        files.make_directory(directory, files.OPEN)
        for path in (directory / name for name in made.files):
            if os.path.lexists(path) and not _is_ours(path):
                raise ConfigurationError(
                    f"{path} exists, and was not made by kibray-ops.",
                    hint="Nothing was written. Name another directory with --output.",
                )
        for name, text in made.files.items():
            unfinished[directory / name] = files.beside(directory / name, text.encode(), files.FOR_ALL)
        for path, new in unfinished.items():
            new.replace(path)
    except OSError as error:
        raise ConfigurationError(
            f"{error.filename or directory} cannot be written: {error.strerror}.",
            hint="Name another directory with --output.",
        ) from error
    finally:
        for new in unfinished.values():
            files.discard(new)


def _is_ours(path: Path) -> bool:
    if path.is_symlink() or not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(len(MARK)) == MARK.encode()
