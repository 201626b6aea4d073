"""invoices aging: the buckets come to what is outstanding, and the report says who owes it."""

import csv
import io
import json
import random
from datetime import date, timedelta
from decimal import Decimal as D
from typing import Any

import pytest

from kibray_ops.catalog import read_catalog
from kibray_ops.database import Database
from kibray_ops.reports.invoices_ageing import Ageing, ageing
from tests.here import here
from tests.world import World

TODAY = date(2025, 11, 24)
BUCKETS = ["current", "1-30", "31-60", "61-90", "over 90"]
AGING = ("invoices", "aging", "--as-of", "2025-11-24")


def aged(world: World, on: date = TODAY, by: str = "project") -> Ageing:
    with Database(world.settings).connect(read_only=True) as connection:
        return ageing(connection, read_catalog(connection, own=False), on, by=by)


def test_each_day_falls_into_its_bucket(world: World) -> None:
    expected = dict.fromkeys(BUCKETS, D(0))
    days = {-400: 0, -1: 0, 0: 0, 1: 1, 30: 1, 31: 2, 60: 2, 61: 3, 90: 3, 91: 4, 5000: 4}
    for number, (late, bucket) in enumerate(days.items()):
        world.invoice(f"{late}", "SENT", (TODAY - timedelta(days=late)).isoformat(), f"{number + 1}.10")
        expected[BUCKETS[bucket]] += D(f"{number + 1}.10")
    world.invoice("none", "VIEWED", None, "0.03")
    expected["current"] += D("0.03")
    told = aged(world)
    assert told.result["buckets"] == expected
    assert told.result["outstanding"] == sum(expected.values())
    assert [(p.kind, p.subject) for p in told.problems] == [("no_due_date", "none")]


def test_the_buckets_come_to_what_is_outstanding(world: World) -> None:
    """Against sums worked out in Python, over random books with every status, credits, zeros and odd words."""
    chance = random.Random(7)
    projects = [world.project(f"P{n}", client=f"C{n % 3}") for n in range(7)]
    statuses = ["DRAFT", "SENT", "VIEWED", "APPROVED", "PARTIAL", "PAID", "OVERDUE", "CANCELLED", "odd"]
    expected: dict[int, D] = {}
    credit = D(0)
    for number in range(300):
        total, paid = (D(chance.choice([0, chance.randrange(-500, 90000)])) / 100 for _ in range(2))
        status, project = chance.choice(statuses), chance.choice(projects)
        due = chance.choice([None, TODAY - timedelta(days=chance.randrange(-60, 200))])
        world.invoice(f"{number}", status, due and due.isoformat(), str(total), str(paid), project_id=project)
        if status not in ("DRAFT", "CANCELLED"):
            expected[project] = expected.get(project, D(0)) + max(total - paid, D(0))
            credit += max(paid - total, D(0))
    for by in ("project", "client", "invoice"):
        told = aged(world, by=by)
        assert told.result["outstanding"] == sum(expected.values()) == sum(told.result["buckets"].values())
        assert told.result["credit"] == credit
        assert sum(row["outstanding"] for row in told.rows) == sum(expected.values())
        for row in told.rows:
            assert sum(row["buckets"].values()) == row["outstanding"]
        priorities = [row["priority"] for row in told.rows]
        assert priorities == sorted(priorities, reverse=True)
    by_project = {row["project_id"]: row["outstanding"] for row in aged(world).rows}
    assert by_project == expected
    assert len(aged(world, by="client").rows) == 3


def test_draft_and_cancelled_owe_nothing_and_paid_ones_that_are_not_are_named(world: World) -> None:
    for status in ("DRAFT", "CANCELLED"):
        world.invoice(status, status, "2025-01-01")
    assert aged(world).rows == []
    world.invoice("P", "PAID", "2025-01-01", "100", "60")
    world.invoice("C", "PAID", "2025-01-01", "100", "160")
    world.invoice("O", "OVERDUE", "2025-12-01")
    told = aged(world)
    assert (told.result["outstanding"], told.result["credit"]) == (140, 60)
    found = {(problem.kind, problem.subject) for problem in told.problems}
    assert found == {("paid_unpaid", "P"), ("credit", "C"), ("no_longer_past_due", "O")}


def test_retention_stands_beside_and_is_not_subtracted(world: World) -> None:
    world.invoice("R", "SENT", "2025-11-01", "1000", retention_amount=D("100.00"))
    world.invoice("S", "PAID", "2025-11-01", "1000", "1001", retention_amount=D("70.00"))
    (row,) = aged(world).rows
    kept = D("100.00") if world.version == "2026-06" else D(0)  # the earlier version knows no retention
    assert (row["outstanding"], row["retention"]) == (D("1000.00"), kept)


def test_the_reasons_of_a_priority(newest: World) -> None:
    newest.invoice("A", "SENT", "2025-11-14", "100")  # 10 days
    newest.invoice("B", "PARTIAL", "2025-11-04", "100", "30")  # 20 days
    newest.invoice("C", "SENT", "2025-12-04", "9999")
    (row,) = aged(newest).rows
    assert row["priority"] == 100 * 10 + 70 * 20
    assert [tuple(reason.values()) for reason in row["reasons"]] == [("B", D(70), 20, True), ("A", D(100), 10, False)]
    shown = here(newest, *AGING).stdout
    assert "2,400 = B: 70.00 × 20 days (partly paid) + A: 100.00 × 10 days\n" in shown
    newest.environment["COLUMNS"] = "50"
    assert "2,400 = B: 70.00 × 20 days (partly paid) + …\n" in here(newest, *AGING).stdout


def test_the_date_moves_the_ages_and_the_report_says_that_balances_do_not(newest: World) -> None:
    newest.invoice("A", "SENT", "2025-11-14", "100")
    assert aged(newest, date(2025, 11, 14)).result["buckets"]["current"] == 100
    assert aged(newest, date(2026, 11, 14)).result["buckets"]["over 90"] == 100
    assert "balances of now" in here(newest, *AGING).stdout
    assert "balances of now" not in here(newest, "invoices", "aging").stdout
    assert json.loads(here(newest, *AGING, "--json").stdout)["balances"] == "present"


def test_json_csv_and_the_table_tell_the_same(newest: World) -> None:
    elm = newest.project("=Elm [red]", client="Ann")
    newest.invoice("A", "SENT", "2025-10-14", "1234.56", project_id=elm)
    newest.invoice("B", "SENT", "2025-12-14", "10", project_id=elm)
    told = json.loads(here(newest, *AGING, "--json").stdout)
    assert list(told) == ["schema", "report", "as_of", "by", "balances", "result", "rows", "problems"]
    assert (told["as_of"], told["by"], told["result"]["outstanding"]) == ("2025-11-24", "project", "1244.56")
    assert told["rows"][0]["buckets"] == {
        "current": "10.00", "1-30": "0.00", "31-60": "1234.56", "61-90": "0.00", "over 90": "0.00"
    }  # fmt: skip
    assert (told["result"]["credit"], told["rows"][0]["retention"]) == ("0.00", "0.00")
    lines = list(csv.DictReader(io.StringIO(here(newest, *AGING, "--csv", "-").stdout)))
    assert [(line["Project"], line["31-60"], line["Total"]) for line in lines] == [
        ("'=Elm [red]", "1234.56", "1244.56")
    ]
    shown = here(newest, *AGING).stdout
    for part in ("=Elm [red]", "1,234.56", "1,244.56", "99%"):
        assert part in shown
    file = newest.directory / "aging.csv"
    assert here(newest, *AGING, "--by", "invoice", "--csv", str(file)).returncode == 0
    lines = list(csv.DictReader(io.StringIO(file.read_text(encoding="utf-8-sig"))))
    assert [line["Invoice"] for line in lines] == ["A", "B"]


@pytest.mark.parametrize("columns", ["40", "60", "80", "100", "200"])
def test_no_line_of_the_table_is_wider_than_the_terminal(columns: str, newest: World) -> None:
    newest.environment["COLUMNS"] = columns
    for number in range(4):
        project = newest.project(f"A very long project name {number} " * 3, client="B" * 90)
        newest.invoice(f"INV-{number}", "SENT", f"2025-0{number + 6}-01", "99999.99", project_id=project)
    for line in here(newest, *AGING).stdout.splitlines():
        assert len(line) <= int(columns) or int(columns) < 50, line


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("--by", "week"), 2, "no group"),
        (("--as-of", "tomorrow"), 2, "neither a date nor a moment"),
        (("--csv", "/nonexistent/x.csv"), 2, "cannot be written"),
        (("--json", "--csv", "-"), 2, "both want stdout"),
        (("--nonsense",), 2, "No such option"),
    ],
)
def test_wrong_words_are_two_lines(words: tuple[str, ...], code: int, said: str, sqlite_world: World) -> None:
    done = here(sqlite_world, "invoices", "aging", *words)
    shown = json.loads(done.stdout)["error"]["message"] if "--json" in words else done.stderr
    assert (done.returncode, said in shown) == (code, True), done
    assert "--json" in words or len(done.stderr.splitlines()) == 2


def test_it_needs_no_set_up_and_writes_nothing(bare: World) -> None:
    bare.invoice("A", "SENT", "2025-11-14", "100")
    before = bare.dump()
    assert here(bare, "invoices", "aging").returncode == 0
    assert bare.dump() == before


def test_a_database_without_invoices_is_explained(newest: World) -> None:
    newest.sql("DROP TABLE core_invoicepayment")
    newest.sql("DROP TABLE core_invoice")
    done = here(newest, "invoices", "aging")
    assert (done.returncode, len(done.stderr.splitlines())) == (78, 2)
    assert "core_invoice" in done.stderr


def test_nothing_outstanding_is_a_report_too(newest: World) -> None:
    done = here(newest, "invoices", "aging")
    assert (done.returncode, done.stderr) == (0, "")
    assert "0.00 outstanding in 0 invoices" in done.stdout


def totals(world: World) -> dict[str, Any]:
    return aged(world).result


def test_the_jobs_do_not_change_what_is_outstanding(world: World) -> None:
    world.office()
    chance = random.Random(3)
    for number in range(60):
        due = TODAY - timedelta(days=chance.randrange(-30, 120))
        status = chance.choice(["SENT", "PARTIAL", "OVERDUE", "VIEWED"])
        world.invoice(f"{number}", status, due.isoformat(), "10.10", chance.choice(["0", "5.05", "10.10", "11.10"]))
    before = totals(world)
    for job in ("update-invoice-statuses", "check-overdue-invoices"):
        assert world.execute(job).exit_code == 0
        assert totals(world) == before
