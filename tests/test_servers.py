"""PostgreSQL itself fails: it is restarted while jobs work, its disk is full, and PgBouncer stands before it."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from threading import Timer
from urllib.parse import urlsplit

import psycopg
import pytest

from kibray_ops.registry import Job, Kind
from tests.builder import Builder
from tests.server import PGBOUNCER, Server, bouncer, can_mount
from tests.sky import Sky
from tests.stage import Stage, picture, rewind, run_again, settle
from tests.test_contract import ALL, fill, name, while_held
from tests.test_faults import at, is_work, play
from tests.warm import small_batches
from tests.world import VERSIONS, World, done

KINDS = [job for job in ALL if job.name in ("check-overdue-invoices", "cleanup-old-notifications")]
KINDS += [job for job in ALL if job.name == "fetch-weather-snapshots"]


@pytest.fixture(autouse=True)
def _small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    small_batches(monkeypatch.setattr)


# ---- restarted


@pytest.fixture(scope="module")
def server(builder: Builder, cluster: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    own = Server(cluster.with_name("own"), tmp_path_factory.mktemp("templates"))
    yield own
    own.close()


@pytest.fixture(scope="module")
def own_stage(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Stage:
    return Stage(server.builder, tmp_path_factory.mktemp("stage"))


@pytest.mark.parametrize("mode", ["fast", "immediate"])
@pytest.mark.parametrize("away", [0, 0.8])
@pytest.mark.parametrize("job", KINDS, ids=name)
def test_the_database_is_restarted_in_the_middle(
    job: Job, away: float, mode: str, server: Server, own_stage: Stage, sky: Sky, tmp_path: Path
) -> None:
    """Atomic work is done again, as soon as the server answers; the next run goes on with other work."""
    with play("postgresql", job, own_stage, sky, tmp_path) as played:
        back = Timer(away, server.start)

        def restart(_: object) -> None:
            rewind(played.world)
            played.world.hang_up()
            server.stop(mode)
            back.start()
            if not away:
                back.join()

        with at(played.middle(is_work), is_work, restart):
            report = run_again(played.world, job)
        back.join()
        if job.kind is Kind.ATOMIC:
            done(report)
            assert [run["status"] for run in played.world.runs()] == ["succeeded"]
            played.assert_complete()
        else:
            assert report.exit_code == 75
            played.assert_completed_by_the_next_run()


# ---- its disk is full


@pytest.fixture(scope="module")
def crowd(server: Server, tmp_path_factory: pytest.TempPathFactory) -> World:
    """A database with so many rows that writing them takes pages."""
    world = server.builder.build("postgresql", VERSIONS[-1], tmp_path_factory.mktemp("crowd"))
    fill(world, 600)
    world.sql("DELETE FROM kibray_ops_run")
    rewind(world)
    world.hang_up()
    return world


@pytest.fixture(scope="module")
def small_disk(crowd: World, server: Server, cluster: Path) -> Iterator[None]:
    """A tablespace `small` on a disk of 48 MB."""
    directory = cluster.with_name("disk")
    directory.mkdir()
    if not can_mount(directory):
        pytest.skip("A small disk takes the right to mount one.")
    server.stop("fast")
    server.start_with_disk(directory, 48)
    crowd.sql(f"CREATE TABLESPACE small LOCATION '{directory}'")
    crowd.hang_up()
    yield
    crowd.sql("DROP TABLESPACE small")
    crowd.hang_up()


@pytest.mark.parametrize("job", KINDS, ids=name)
def test_the_disk_of_the_database_is_full(
    job: Job, small_disk: None, crowd: World, server: Server, sky: Sky, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kibray_ops.archive.BATCH", 200)
    worlds = [server.builder.copy(crowd, tablespace=tablespace) for tablespace in ("pg_default", "small")]
    for world in worlds:
        world.environment = dict(sky.environment)
    undisturbed, disturbed = worlds
    before = picture(disturbed)
    done(run_again(undisturbed, job))
    disturbed.sql("CREATE TABLE ballast (row text)")
    with suppress(psycopg.errors.DiskFull):
        while True:
            disturbed.sql("INSERT INTO ballast SELECT repeat('x', 1000) FROM generate_series(1, 1000)")
    report = run_again(disturbed, job)
    disturbed.sql("DROP TABLE ballast")
    assert report.exit_code == 1
    assert "No space left on device" in str(report.error)
    assert "Make room on the disk" in report.error.hint
    if job.kind is Kind.ATOMIC:
        assert picture(disturbed) == before
    settle(disturbed)
    done(run_again(disturbed, job))
    assert picture(disturbed) == picture(undisturbed)
    for world in worlds:
        server.builder.drop(world)


# ---- PgBouncer


@pytest.fixture(scope="module")
def pool(builder: Builder) -> Iterator[str]:
    if PGBOUNCER is None:
        pytest.skip("There is no PgBouncer here: `apt-get install pgbouncer`.")
    directory = Path(tempfile.mkdtemp(prefix="pgbouncer"))  # the path of a socket is short
    with bouncer(builder.server_url, directory, connections=3) as url:
        yield url
    shutil.rmtree(directory)


def through(pool: str, world: World) -> World:
    return replace(world, url=pool.format(urlsplit(world.url).path[1:]))


@pytest.mark.parametrize("job", ALL, ids=name)
def test_behind_pgbouncer_in_transaction_mode(job: Job, pool: str, stage: Stage, sky: Sky, tmp_path: Path) -> None:
    """Every job works with three connections to the server, and leaves them as they were."""
    with play("postgresql", job, stage, sky, tmp_path) as played:
        behind = through(pool, played.world)
        done(run_again(behind, job))
        played.assert_complete()
        left = [behind.sql(f"SHOW {name}")[0][name] for name in ("statement_timeout", "lock_timeout")]
        assert left == ["0", "0"]
        assert played.world.sql("SELECT pid FROM pg_locks WHERE locktype = 'advisory'") == []
        behind.hang_up()


@pytest.mark.parametrize("job", KINDS[1:], ids=name)
def test_one_run_at_a_time_behind_pgbouncer(job: Job, pool: str, stage: Stage, sky: Sky, tmp_path: Path) -> None:
    with play("postgresql", job, stage, sky, tmp_path) as played:
        assert while_held(through(pool, played.world), job).exit_code == 75
        done(run_again(through(pool, played.world), job))
