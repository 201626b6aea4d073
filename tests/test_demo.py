"""kibray-ops demo: one command shows a correct payroll, and touches nothing but its own file."""

import os
import shlex
import signal
import subprocess
import sys
import time
from decimal import Decimal as D
from pathlib import Path

import pytest

from kibray_ops import provision
from kibray_ops.catalog import read_catalog
from kibray_ops.database import Database
from tests.fork import Fork
from tests.world import World

FILE = "kibray-demo.sqlite3"


def bare(directory: Path) -> dict[str, str]:
    """Return the environment of somebody who has set nothing."""
    return {"PATH": os.environ["PATH"], "HOME": str(directory)}


def start(directory: Path, *words: str, **environment: str) -> "subprocess.Popen[str]":
    arguments = [sys.executable, "-m", "kibray_ops", "demo", *words]
    pipe, environ = subprocess.PIPE, {**bare(directory), **environment}
    return subprocess.Popen(arguments, cwd=directory, env=environ, stdout=pipe, stderr=pipe, text=True)


def demo(directory: Path, *words: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    return Fork(("demo", *words), {**bare(directory), **environment}, directory).run()


def world(directory: Path) -> World:
    return World(f"sqlite:///{directory / FILE}", "sqlite", "2026-06", directory)


def test_a_new_user_sees_the_payroll(tmp_path: Path) -> None:
    with start(tmp_path) as process:
        shown, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, "")
    assert "Payroll for the week" in shown
    assert "Needs a look" in shown
    for part in (
        "5 of 10 items with a threshold are short",
        "Highland Park Apartments         ",
        "Daily plans past their",
    ):
        assert part in shown
    assert "export KIBRAY_OPS_DATABASE_URL=" in shown
    assert {path.name for path in tmp_path.iterdir()} == {FILE}
    made = world(tmp_path)
    week = made.rows("core_payrollperiod")[-1]
    records = made.rows("core_payrollrecord", "period_id = ?", week["id"])
    total = sum((record["gross_pay"] for record in records), D(0))
    assert f"{total:,.2f}" in shown
    assert len(made.rows("core_employee")) == 30
    assert len(made.rows("core_project")) == 12
    assert [run["status"] for run in made.runs()] == ["succeeded"] * 5
    assert made.sql("SELECT value FROM kibray_ops_state WHERE key = 'zone'") == []  # nobody has decided on it
    with Database(made.settings).connect(read_only=True) as connection:
        assert provision.gaps(read_catalog(connection)) == []


def test_it_has_something_for_every_job_to_come(tmp_path: Path) -> None:
    demo(tmp_path)
    made = world(tmp_path)
    statuses = {row["status"] for row in made.sql("SELECT DISTINCT status FROM core_invoice")}
    assert statuses == {"DRAFT", "SENT", "VIEWED", "APPROVED", "PARTIAL", "PAID", "OVERDUE", "CANCELLED"}
    plans = {row["status"] for row in made.sql("SELECT DISTINCT status FROM core_dailyplan")}
    assert plans == {"DRAFT", "PUBLISHED", "IN_PROGRESS", "COMPLETED", "SKIPPED"}
    for table in ("core_projectinventory", "core_task", "core_touchup", "core_notification", "core_payrollpayment"):
        assert made.sql(f"SELECT count(*) AS n FROM {table}")[0]["n"] > 0


def test_it_never_touches_a_file_that_exists(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text("mine")
    done = demo(tmp_path)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 2
    assert (tmp_path / FILE).read_text() == "mine"
    assert demo(tmp_path, "--file", "other.sqlite3").returncode == 0


def test_the_users_own_settings_do_not_matter(tmp_path: Path) -> None:
    wrong = {"KIBRAY_OPS_DATABASE_URL": "postgresql://u:p@127.0.0.1:1/production", "KIBRAY_OPS_NONSENSE": "1"}
    assert demo(tmp_path, **wrong).returncode == 0


@pytest.mark.parametrize("name", ["with space", "a#b", "50%20", "q?x", "it's $HOME"])
def test_the_line_that_it_prints_can_be_pasted(tmp_path: Path, name: str) -> None:
    directory = tmp_path / name
    directory.mkdir()
    done = demo(directory)
    assert done.returncode == 0, done.stderr
    exports = [line.strip() for line in done.stdout.splitlines() if line.strip().startswith("export ")]
    python = f"{shlex.quote(sys.executable)} -m kibray_ops"
    script = "\n".join((*exports, f"{python} payroll generate --week --dry-run"))
    again = subprocess.run(["/bin/sh", "-ec", script], env=bare(tmp_path), cwd=tmp_path, capture_output=True, text=True)
    assert again.returncode == 0, again.stderr
    assert "29 there before" in again.stdout


@pytest.mark.parametrize("delay", [0.3, 0.7, 1.0, 1.3])
def test_an_interrupted_demo_leaves_all_or_nothing(tmp_path: Path, delay: float) -> None:
    with start(tmp_path) as process:
        time.sleep(delay)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=30)
    left = {path.name for path in tmp_path.iterdir()}
    assert left <= {FILE}
    if left:  # the signal came when all was done: then it is whole
        assert world(tmp_path).runs()[0]["status"] == "succeeded"
