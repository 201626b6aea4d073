"""A furnished database that is copied for each try, and what a job leaves in it."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from zoneinfo import ZoneInfo

from kibray_ops.registry import Job
from kibray_ops.report import Report, Trigger
from kibray_ops.schedule import parse_as_of
from tests.builder import Builder
from tests.test_contract import OPTIONS, WORDS, counted, fill
from tests.world import VERSIONS, ZONE, World, done

Picture = dict[str, list[str]]
"""What tables hold, row by row."""

DAY = "2025-11-24"
RUNS = "kibray_ops_run"
OTHER_EACH_TIME = {"run_id", "batch", "message_id", "provider_id"}
"""Columns that say which run it was, and names that a run draws."""


def as_of(job: Job) -> str:
    """Return the day, or for what is the week's the day after it: what the job finds something to do at."""
    return "2025-11-18T12:00" if job.name == "discard-weekly-payroll" else DAY


@dataclass(frozen=True)
class Scene:
    """What stands in the tables before and after a job, and the statements in between."""

    before: Picture
    after: Picture
    statements: tuple[str, ...]


@dataclass
class Stage:
    """The databases that copies are made of, one for each engine."""

    builder: Builder
    directory: Path
    _furnished: dict[str, World] = field(default_factory=dict)
    _scenes: dict[tuple[str, str], "Scene"] = field(default_factory=dict)

    def scene(self, engine: str, job: Job, directory: Path, environment: dict[str, str]) -> "Scene":
        """Return what a job does when nothing disturbs it."""
        if (engine, job.name) not in self._scenes:
            with self.copy(engine, directory, environment) as world, counted() as statements:
                before = picture(world)
                done(run_again(world, job))
                self._scenes[engine, job.name] = Scene(before, picture(world), tuple(statements))
        return self._scenes[engine, job.name]

    @contextmanager
    def copy(self, engine: str, directory: Path, environment: dict[str, str]) -> Iterator[World]:
        """Give a copy of the furnished database, for as long as the block lasts."""
        world = replace(self.builder.copy(self._source(engine), directory), environment=dict(environment))
        try:
            yield world
        finally:
            self.builder.drop(world)

    def _source(self, engine: str) -> World:
        if engine not in self._furnished:
            directory = self.directory / engine
            directory.mkdir()
            world = self.builder.build(engine, VERSIONS[-1], directory)
            furnish(world)
            self._furnished[engine] = world
        return self._furnished[engine]


def furnish(world: World) -> None:
    """Give every job something to do, in several items where it works by items."""
    fill(world, 3)
    world.sql("UPDATE core_project SET address = id || ' W 32nd Ave, Denver, CO 80211'")
    for name in ("ana", "bob", "zoe"):
        world.notify(world.user(name, staff=False))
    world.sql("UPDATE kibray_ops_delivery SET notification_id = notification_id - 999997 WHERE status = 'failed'")
    done(world.execute("generate-weekly-payroll", at="2025-11-17T07:00"))
    world.sql("UPDATE core_notification SET is_read = ? WHERE title LIKE ?", True, "%ready for review%")
    world.sql(f"DELETE FROM {RUNS}")
    world.sql("UPDATE kibray_ops_delivery SET run_id = 0")  # not those whose numbers will be given out again
    rewind(world)


def rewind(world: World) -> None:
    """Let PostgreSQL forget the ids that it has given out for what was rolled back, as SQLite does."""
    if world.engine == "postgresql":
        world.sql(  # a percent sign is doubled for psycopg
            "DO $$ DECLARE owned record; BEGIN FOR owned IN SELECT d.objid::regclass AS numbers, d.refobjid::regclass "
            "AS rows FROM pg_depend d JOIN pg_class c ON c.oid = d.objid WHERE c.relkind = 'S' AND d.deptype = 'i' "
            "LOOP EXECUTE format('SELECT setval(%%L, coalesce(max(id), 0) + 1, false) FROM %%s', owned.numbers, "
            "owned.rows); END LOOP; END $$"
        )


def picture(world: World) -> Picture:
    """Return what all tables hold but the run records, in an order of its own."""
    with world.connect() as connection:
        if world.engine == "sqlite":
            listed = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
            names = [name for (name,) in listed if name not in (RUNS, "sqlite_sequence")]
            found = {name: list(map(dict, connection.execute(f"SELECT * FROM {name}"))) for name in names}
        else:
            listed = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
            names = [row["tablename"] for row in listed if row["tablename"] != RUNS]
            every = " UNION ALL ".join(f"SELECT '{name}' AS name, to_jsonb(t) AS row FROM {name} t" for name in names)
            found = {name: [] for name in names}
            for row in connection.execute(every):
                found[row["name"]].append(row["row"])
    return {
        table: sorted(
            json.dumps({name: value for name, value in row.items() if name not in OTHER_EACH_TIME}, default=str)
            for row in rows
        )
        for table, rows in found.items()
    }


def words(job: Job) -> tuple[str, ...]:
    """Return what is typed, or for the schedule's jobs what stands in the crontab, for the day of the stage."""
    scheduled = ("--cron",) if job.cron else ()
    return (*scheduled, *job.command, *job.arguments, *WORDS.get(job.name, ()), "--as-of", as_of(job))


def run_again(world: World, job: Job) -> Report:
    """Run a job in this process as `words` do."""
    moment = parse_as_of(as_of(job), job, ZoneInfo(ZONE))
    trigger = Trigger.CRON if job.cron else Trigger.MANUAL
    return world.execute(job, at=moment.isoformat(), trigger=trigger, **OPTIONS.get(job.name, {}))


def settle(world: World) -> None:
    """Wait until PostgreSQL has noticed that a client is dead, and forget what it has given out."""
    end = time.monotonic() + 60
    others = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    while world.engine == "postgresql" and world.sql(others):
        assert time.monotonic() < end, "somebody is still connected"
        time.sleep(0.005)
    rewind(world)
