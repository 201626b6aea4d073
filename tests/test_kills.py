"""Every writing job is killed at random moments, and ended by signals: no half work, and the next run completes it."""

import random
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kibray_ops.registry import Job, Kind
from tests.post import PostOffice
from tests.sky import Sky
from tests.stage import Stage, picture, run_again, settle, words
from tests.test_contract import ALL, name
from tests.warm import Ended, Fate, Warm, small_batches
from tests.world import ENGINES, World, done


class Victim:
    """A job on one engine: what it does undisturbed, and what it is found to have done otherwise."""

    def __init__(
        self, job: Job, engine: str, stage: Stage, warm: Warm, sky: Sky, post: PostOffice | None, directory: Path
    ) -> None:
        self.job, self.engine, self.stage, self.warm = job, engine, stage, warm
        self.environment, self.directory = dict(sky.environment), directory
        if post is not None:
            self.environment |= post.environment
        self.post = post
        with self.world() as world:
            self.before = picture(world)
            self.undisturbed = self.meets(world, Fate())
            assert self.undisturbed.code == 0, self.undisturbed
            self.after = picture(world)
        assert self.after != self.before, "it has found nothing to do"
        self.recipients = set(post.recipients) if post else set()

    def world(self) -> Any:
        return self.stage.copy(self.engine, self.directory, self.environment)

    def meets(self, world: World, fate: Fate) -> Ended:
        print(fate)  # which pytest shows when something is wrong
        if self.post is not None:
            self.post.taken.clear()
        return self.warm.run(words(self.job), world.environ, self.directory, fate)

    def assert_no_half_work(self, world: World) -> None:
        """Assert that of an atomic job all is there and recorded as done, or nothing is."""
        if self.job.kind is Kind.ATOMIC:
            succeeded = "succeeded" in [run["status"] for run in world.runs()]
            assert picture(world) == (self.after if succeeded else self.before)

    def assert_completed_by_the_next_run(self, world: World) -> None:
        settle(world)
        report = run_again(world, self.job)
        assert {run["status"] for run in world.runs()} <= {"succeeded", "interrupted", "partial"}
        if self.post is not None:
            self.assert_nothing_is_sent_twice(world, self.post.recipients)
            done(report, 3 if any(row["status"] == "unknown" for row in world.outbox()) else 0)
        else:
            done(report)
            assert picture(world) == self.after

    def assert_nothing_is_sent_twice(self, world: World, recipients: list[str]) -> None:
        """Assert that all got their mail, but for one of whom nobody knows, and who is asked about."""
        assert len(set(recipients)) == len(recipients)
        statuses = Counter(row["status"] for row in world.outbox())
        unknown = world.sql(
            "SELECT DISTINCT address FROM kibray_ops_delivery WHERE status = 'unknown' AND address IS NOT NULL"
        )
        assert len(unknown) <= 1
        assert {*recipients, *(row["address"] for row in unknown)} == self.recipients
        assert statuses.keys() <= {"sent", "unknown", "failed", "cancelled"}
        assert len(world.outbox()) == len(self.after["kibray_ops_delivery"])


@pytest.fixture(params=ALL, ids=name)
def job(request: Any) -> Job:
    found: Job = request.param
    return found


@pytest.fixture(params=ENGINES)
def victim(
    request: Any, job: Job, stage: Stage, warm: Warm, sky: Sky, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Victim:
    small_batches(monkeypatch.setattr)
    post = request.getfixturevalue("post") if job.name == "send-pending-notifications" else None
    return Victim(job, request.param, stage, warm, sky, post, tmp_path)


def kills(victim: Victim, number: int) -> Iterator[Fate]:
    """Draw moments: most of them statements, which are met too seldom by the clock, the others by the clock."""
    seed = f"{victim.job.name} {victim.engine}"
    chance = random.Random(seed)
    for turn in range(number):
        if turn % 5 < 3:
            yield Fate(signal.SIGKILL, event=chance.randint(1, victim.undisturbed.events))
        else:
            yield Fate(signal.SIGKILL, after=chance.uniform(0, victim.undisturbed.seconds))


def signals(victim: Victim, rounds: int) -> Iterator[tuple[Fate, int]]:
    """Draw a statement for each signal, and give the exit code."""
    chance = random.Random(f"{victim.job.name} {victim.engine}")
    for sign, code in ((signal.SIGTERM, 143), (signal.SIGINT, 130)) * rounds:
        yield Fate(sign, event=chance.randint(1, victim.undisturbed.events)), code


def test_killed_or_ended_by_a_signal_at_random_moments_and_run_again(victim: Victim, long: bool) -> None:
    for fate in kills(victim, 100 if long else 5):
        with victim.world() as world:
            assert victim.meets(world, fate).code in (-signal.SIGKILL, 0)
            victim.assert_no_half_work(world)
            victim.assert_completed_by_the_next_run(world)
    for fate, code in signals(victim, 20 if long else 1):
        with victim.world() as world:
            ended = victim.meets(world, fate)
            victim.assert_no_half_work(world)
            statuses = [run["status"] for run in world.runs()]
            if ended.code == 0:
                assert statuses == ["succeeded"]  # it was told when all was done
            else:
                assert ended.code == code
                assert len(ended.err.splitlines()) >= 2
                assert statuses in ([], ["interrupted"])
            victim.assert_completed_by_the_next_run(world)
