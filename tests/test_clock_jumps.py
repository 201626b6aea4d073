"""The machine's clock is wrong, and set right: each slot is done once, and nobody is told of anything twice."""

from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from kibray_ops.registry import JOBS, Job
from kibray_ops.report import Report, Trigger
from kibray_ops.runner import execute
from kibray_ops.schedule import parse_as_of
from tests.sky import Sky
from tests.stage import Picture, Stage, picture
from tests.test_contract import name
from tests.test_faults import at, is_work
from tests.world import Simulated, World, done

DAYS = ("2025-11-23", "2025-11-24", "2025-11-25")
HOUR = timedelta(hours=1)


def start(world: World, job: Job, clock: Simulated) -> Report:
    return done(execute(job, settings=world.settings, clock=clock, trigger=Trigger.CRON))


def done_by(world: World, job: Job, moments: Iterable[datetime]) -> tuple[Picture, list[str], int]:
    """Return what stands in the tables, and which slots were done, when cron starts a job at moments of its clock."""
    for moment in moments:
        start(world, job, Simulated(world.settings.zone, moment=moment))
    slots = [run["slot"] for run in world.runs() if run["status"] == "succeeded"]
    return picture(world), slots, len(list((world.directory / "mail").glob("*")))


@pytest.fixture
def two(stage: Stage, sky: Sky, tmp_path: Path) -> Iterator[tuple[World, World]]:
    """The same database twice: for a clock that goes straight, and one that jumps."""
    directories = tmp_path / "straight", tmp_path / "jumping"
    for directory in directories:
        directory.mkdir()
    one, other = (stage.copy("sqlite", directory, sky.environment) for directory in directories)
    with one as straight, other as jumping:
        yield straight, jumping


@pytest.mark.parametrize("job", JOBS, ids=name)
def test_a_clock_that_jumps_between_runs(job: Job, two: tuple[World, World]) -> None:
    straight, jumping = two
    first, second, third = (parse_as_of(day, job, straight.settings.zone) for day in DAYS)
    expected = done_by(straight, job, (first, second, third))
    back_an_hour = (second - HOUR, second)
    back_a_day = (first, second)
    ahead_and_set_right = (third, second, third)
    found = done_by(jumping, job, (first, second, *back_an_hour, *back_a_day, *ahead_and_set_right))
    slots = Counter(found[1])
    assert set(slots.values()) == {1}
    if job.hourly:
        del slots["2025-11-25T05:00Z"]  # which was there to be done when the clock came past it
    assert (found[0], sorted(slots), found[2]) == expected


class Wrong(Simulated):
    """A clock that somebody sets while a run is at work."""

    error = timedelta()

    def now(self) -> datetime:
        return self.moment + Wrong.error

    real = now


@pytest.mark.parametrize("jump", [-24 * HOUR, HOUR], ids=["back a day", "ahead an hour"])
@pytest.mark.parametrize("job", JOBS, ids=name)
def test_a_clock_that_jumps_within_a_run(
    job: Job, jump: timedelta, two: tuple[World, World], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stamps are what the clock said; but every day has its rows, and no more."""
    straight, jumping = two
    if job.name == "fetch-weather-snapshots":
        jump = max(jump, -HOUR)  # the day that it writes is the one at the site, by this clock
    first, second = (parse_as_of(day, job, straight.settings.zone) for day in DAYS[1:])
    expected, slots, mails = done_by(straight, job, (first, second))
    with at(1, is_work, lambda _: monkeypatch.setattr(Wrong, "error", jump)):
        start(jumping, job, Wrong(jumping.settings.zone, moment=first))
    found = done_by(jumping, job, (first, second))
    assert (found[1], found[2]) == (slots, mails)
    assert {table: len(rows) for table, rows in found[0].items()} == {
        table: len(rows) for table, rows in expected.items()
    }
