"""The benchmark at a tiny size: every job and the plain SQL beside it come to the same, and the table is printed."""

from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules

import pytest

from kibray_ops.models import kibray
from kibray_ops.models.kibray.base import Kibray
from kibray_ops.models.operations import Operations
from kibray_ops.registry import JOBS
from tests.bench.measure import BY_COMMAND, COLUMNS, WORKS, measured, table
from tests.builder import Builder
from tests.world import ENGINES

TINY = 0.005


def test_every_job_is_measured() -> None:
    assert {BY_COMMAND[work.command].name for work in WORKS} >= {job.name for job in JOBS}


@pytest.mark.parametrize("engine", ENGINES)
def test_every_job_and_the_plain_sql_come_to_the_same(engine: str, builder: Builder, tmp_path: Path) -> None:
    """`measured` compares what both leave; without rounds it does nothing else."""
    found = list(measured(builder, engine, tmp_path, scale=TINY, rounds=0))
    assert [one.command for one in found] == [" ".join(work.command) for work in WORKS]
    assert all(one.statements > 5 for one in found)


def test_the_table_has_a_line_for_each_job(builder: Builder, tmp_path: Path) -> None:
    stock = [work for work in WORKS if work.command[0] == "inventory"]
    (found,) = measured(builder, "sqlite", tmp_path, stock, scale=TINY, rounds=1)
    head, rule, line = ([cell.strip() for cell in row.strip("|").split("|")] for row in table([found]).splitlines())
    assert head == list(COLUMNS)
    assert set(rule) == {"---"}
    command, whole, start_up, plain, _, _, memory, _ = line
    assert command == "`inventory check-shortages`"
    assert all(float(cell.removesuffix(" s")) > 0 for cell in (whole, start_up, plain))
    assert 30 < int(memory.removesuffix(" MiB")) < 200


def test_no_table_makes_a_validator_at_its_import() -> None:
    for module in iter_modules(kibray.__path__, f"{kibray.__name__}."):
        import_module(module.name)
    tables = (*Kibray.__subclasses__(), *Operations.__subclasses__())
    assert len(tables) > 20
    assert [table.__name__ for table in tables if table.__pydantic_complete__] == []
