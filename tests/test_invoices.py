"""invoices update-statuses and check-overdue: every transition, on both engines and both schema versions."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal as D
from typing import Any

import psycopg
import pytest

from kibray_ops.report import Report
from tests.here import here
from tests.world import World, done

STATUSES, OVERDUE = "update-invoice-statuses", "check-overdue-invoices"
BEFORE = ("SENT", "VIEWED", "APPROVED", "PARTIAL")
TODAY = "2025-11-24"
YESTERDAY, TOMORROW = "2025-11-23", "2025-11-25"
LONG_AGO = datetime(2025, 1, 2, 3, 4, 5, tzinfo=UTC)


def statuses(world: World) -> dict[str, str]:
    return {row["invoice_number"]: row["status"] for row in world.rows("core_invoice")}


def problems(report: Report) -> set[tuple[str, str]]:
    return {(problem.kind, problem.subject) for problem in report.problems}


# Status, due, total, paid → what update-statuses makes of it, and what check-overdue does.
TRANSITIONS = [
    *((status, YESTERDAY, "100.00", "0.00", "OVERDUE", "OVERDUE") for status in BEFORE),
    *((status, YESTERDAY, "100.00", "99.99", "OVERDUE", "OVERDUE") for status in BEFORE),
    *((status, "0001-01-01", "0.01", "0.00", "OVERDUE", "OVERDUE") for status in BEFORE),
    *((status, day, "100.00", "0.00", status, status) for status in BEFORE for day in (TODAY, TOMORROW, None)),
    *((status, day, "100.10", "100.10", "PAID", status) for status in BEFORE for day in (YESTERDAY, TOMORROW, None)),
    *((status, YESTERDAY, "100.00", "250.00", "PAID", status) for status in BEFORE),
    ("OVERDUE", YESTERDAY, "100.00", "40.00", "OVERDUE", "OVERDUE"),
    ("OVERDUE", YESTERDAY, "100.00", "100.00", "PAID", "OVERDUE"),
    ("OVERDUE", TODAY, "100.00", "0.00", "OVERDUE", "OVERDUE"),
    ("OVERDUE", None, "100.00", "0.00", "OVERDUE", "OVERDUE"),
    *((status, YESTERDAY, "0.00", "0.00", status, status) for status in (*BEFORE, "OVERDUE")),
    *((status, YESTERDAY, "-50.00", "0.00", status, status) for status in (*BEFORE, "OVERDUE")),
    *((status, YESTERDAY, "0.00", "5.00", status, status) for status in (*BEFORE, "OVERDUE")),
    *((status, YESTERDAY, "100.00", paid, status, status)
      for status in ("DRAFT", "CANCELLED", "PAID", "sent", "Vencida", "") for paid in ("0.00", "100.00")),
]  # fmt: skip


def add_all(world: World) -> None:
    for number, (status, due, total, paid, *_) in enumerate(TRANSITIONS):
        world.invoice(f"{number}", status, due, total, paid)


def test_every_transition_of_update_statuses(world: World) -> None:
    add_all(world)
    expected = {str(number): case[4] for number, case in enumerate(TRANSITIONS)}
    report = done(world.execute(STATUSES))
    assert statuses(world) == expected
    changed = [case for case in TRANSITIONS if case[4] != case[0]]
    assert report.result["updated"] == sum(case[4] == "OVERDUE" for case in changed)
    assert report.result["paid"] == sum(case[4] == "PAID" for case in changed)
    assert {r["invoice"]: r["new_status"] for r in report.rows if r["new_status"]} == {
        str(number): case[4] for number, case in enumerate(TRANSITIONS) if case[4] != case[0]
    }
    again = done(world.execute(STATUSES))
    assert (again.result["updated"], again.result["paid"]) == (0, 0)
    assert statuses(world) == expected


def test_every_transition_of_check_overdue(world: World) -> None:
    world.office()
    add_all(world)
    report = done(world.execute(OVERDUE))
    assert statuses(world) == {str(number): case[5] for number, case in enumerate(TRANSITIONS)}
    assert report.result["updated"] == sum(case[5] != case[0] for case in TRANSITIONS)


def test_other_columns_stay_and_paid_invoices_get_their_date(world: World) -> None:
    world.invoice("due", "SENT", YESTERDAY, notes="a note", sent_date=LONG_AGO)
    world.invoice("paid", "SENT", YESTERDAY, "10", "10", notes="a note")
    world.invoice("dated", "PARTIAL", YESTERDAY, "10", "10", paid_date=LONG_AGO)
    before = {row["invoice_number"]: row for row in world.rows("core_invoice")}
    done(world.execute(STATUSES, at="2025-11-24T01:00"))
    after = {row["invoice_number"]: row for row in world.rows("core_invoice")}
    now = datetime(2025, 11, 24, 8, tzinfo=UTC)
    changes: dict[str, dict[str, Any]] = {
        "due": {"status": "OVERDUE"},
        "paid": {"status": "PAID", "paid_date": now, "is_paid": True},
        "dated": {"status": "PAID", "is_paid": True},
    }
    for number, changed in changes.items():
        assert after[number] == {**before[number], **{k: v for k, v in changed.items() if k in before[number]}}
    if world.engine == "sqlite":  # as Django stores it: a fraction only where there is one
        (raw,) = world.sql("SELECT paid_date FROM core_invoice WHERE invoice_number = 'paid'")
        assert raw["paid_date"] == "2025-11-24 08:00:00"


def test_what_is_no_longer_past_due_is_listed_and_reopened_only_on_request(world: World) -> None:
    world.invoice("partial", "OVERDUE", TOMORROW, paid="1.00", approved_date=LONG_AGO)
    world.invoice("approved", "OVERDUE", TODAY, approved_date=LONG_AGO, viewed_date=LONG_AGO)
    world.invoice("viewed", "OVERDUE", TOMORROW, viewed_date=LONG_AGO)
    world.invoice("sent", "OVERDUE", None)
    world.invoice("still", "OVERDUE", YESTERDAY, approved_date=LONG_AGO)
    listed = done(world.execute(STATUSES))
    assert listed.result["no_longer_past_due"] == 4
    assert {s for k, s in problems(listed) if k == "no_longer_past_due"} == {"partial", "approved", "viewed", "sent"}
    assert set(statuses(world).values()) == {"OVERDUE"}
    dry = done(world.execute(STATUSES, dry_run=True, reopen=True))
    assert set(statuses(world).values()) == {"OVERDUE"}
    reopened = done(world.execute(STATUSES, reopen=True))
    assert reopened.result["reopened"] == dry.result["reopened"] == 4
    words = {"partial": "PARTIAL", "approved": "APPROVED", "viewed": "VIEWED", "sent": "SENT", "still": "OVERDUE"}
    assert statuses(world) == words
    assert done(world.execute(STATUSES, reopen=True)).result["reopened"] == 0


@pytest.mark.parametrize("job", [STATUSES, OVERDUE])
def test_what_is_odd_is_named_and_left_alone(job: str, world: World) -> None:
    world.office()
    world.invoice("no date", "SENT", None)
    world.invoice("credit", "PARTIAL", TOMORROW, "100.00", "100.01")
    world.invoice("memo", "SENT", YESTERDAY, "-20.00")
    world.invoice("zero", "APPROVED", YESTERDAY, "0.00")
    world.invoice("refund", "SENT", TOMORROW, "10.00", "-1.00")
    world.invoice("stranger", "Enviada", YESTERDAY)
    for number, status in enumerate(("DRAFT", "CANCELLED")):
        world.invoice(f"dead {number}", status, None, "-5.00", "7.00")
    report = done(world.execute(job))
    assert problems(report) == {
        ("no_due_date", "no date"),
        ("credit", "credit"),
        ("credit", "memo"),
        ("odd_amount", "memo"),
        ("zero_amount", "zero"),
        ("odd_amount", "refund"),
        ("unknown_status", "stranger"),
    }
    assert all(problem.severity == "warning" for problem in report.problems)
    assert {row["invoice"]: row["flags"] for row in report.rows}["memo"] == ["odd_amount", "credit"]
    expected = {"no date": "SENT", "memo": "SENT", "zero": "APPROVED", "refund": "SENT", "stranger": "Enviada"}
    assert {number: status for number, status in statuses(world).items() if number in expected} == expected


def test_very_many_odd_invoices_are_counted_and_all_stand_in_the_rows(newest: World) -> None:
    newest.office()
    for number in range(30):
        newest.invoice(f"N{number:02}", "SENT", None)
    report = done(newest.execute(STATUSES))
    named = [problem.subject for problem in report.problems]
    assert named == [*(f"N{number:02}" for number in range(20)), "10 more invoices"]
    assert len(report.rows) == 30


def test_an_amount_that_is_no_number_spoils_nothing(pg_world: World) -> None:
    """PostgreSQL's numeric columns take NaN, which is greater than every number there."""
    pg_world.office()
    pg_world.invoice("total", "SENT", YESTERDAY, "NaN")
    pg_world.invoice("paid", "SENT", YESTERDAY, "10", "NaN")
    pg_world.invoice("fine", "SENT", YESTERDAY, "10")
    for job in (STATUSES, OVERDUE):
        report = done(pg_world.execute(job))
        assert {("odd_amount", "total"), ("odd_amount", "paid")} <= problems(report)
    assert statuses(pg_world) == {"total": "SENT", "paid": "SENT", "fine": "OVERDUE"}
    assert report.result["balance"] == 10


def test_an_invoice_whose_project_is_gone_is_told_like_any_other(sqlite_world: World) -> None:
    """Only SQLite lets that happen, and only to who does not ask it to watch its keys."""
    sqlite_world.office()
    sqlite_world.invoice("A", "SENT", YESTERDAY, project_id=77)
    sqlite_world.invoice("B", "SENT", YESTERDAY, project_id=78)
    report = done(sqlite_world.execute(OVERDUE))
    assert {row["project"] for row in report.rows} == {"#77", "#78"}
    assert [(row["project_id"], row["title"][-5:]) for row in sqlite_world.rows("core_notification")] == [
        (None, ", #77"),
        (None, ", #78"),
    ]
    assert here(sqlite_world, "invoices", "aging").stdout.count("#7") == 2


def test_days_count_in_the_business_zone(newest: World) -> None:
    """At 18:30 in Denver it is the next day in UTC."""
    newest.invoice("A", "SENT", TODAY)
    assert done(newest.execute(STATUSES, at="2025-11-24T18:30")).result["updated"] == 0
    assert done(newest.execute(STATUSES, at="2025-11-25T00:00")).result["updated"] == 1


def test_days_balance_bucket_stage_and_priority(world: World) -> None:
    world.office()
    expected = {}
    for days, bucket, stage in (
        (1, "1-30", 1), (6, "1-30", 1), (7, "1-30", 7), (29, "1-30", 7), (30, "1-30", 30), (31, "31-60", 30),
        (59, "31-60", 30), (60, "31-60", 60), (61, "61-90", 60), (89, "61-90", 60), (90, "61-90", 90),
        (91, "over 90", 90), (4000, "over 90", 90),
    ):  # fmt: skip
        due = date(2025, 11, 24) - timedelta(days=days)
        world.invoice(f"D{days}", "SENT", due.isoformat(), "100.10", "0.05")
        expected[f"D{days}"] = (days, bucket, stage, D("100.05"), D("100.05") * days)
    report = done(world.execute(OVERDUE))
    columns = ("days_past_due", "bucket", "stage", "balance", "priority")
    assert {row["invoice"]: tuple(row[name] for name in columns) for row in report.rows} == expected
    assert [row["days_past_due"] for row in report.rows] == sorted((d[0] for d in expected.values()), reverse=True)
    assert report.result["balance"] == D("100.05") * 13 == sum(report.result["buckets"].values())


def test_a_dry_run_tells_what_the_real_run_does(world: World) -> None:
    world.office()
    add_all(world)
    for job in (STATUSES, OVERDUE):
        before = world.dump()
        dry = done(world.execute(job, dry_run=True))
        assert world.dump() == before
        real = done(world.execute(job))
        assert (dry.result, dry.rows, dry.problems) == (real.result, real.rows, real.problems)


@pytest.mark.parametrize("job", [STATUSES, OVERDUE])
def test_an_invoice_that_the_application_is_paying_is_waited_for(job: str, pg_world: World) -> None:
    """The payment wins: what it leaves is what the job decides on."""
    import threading

    pg_world.office()
    number = pg_world.invoice("A", "SENT", YESTERDAY, "10")
    pg_world.invoice("B", "SENT", YESTERDAY, "20")
    reports: list[Report] = []
    with psycopg.connect(pg_world.url) as application:
        application.execute("UPDATE core_invoice SET amount_paid = 10, status = 'PAID' WHERE id = %s", [number])
        worker = threading.Thread(target=lambda: reports.append(pg_world.execute(job)))
        worker.start()
        worker.join(1.0)
        assert worker.is_alive()
        application.commit()
        worker.join(30)
    assert done(reports[0]).result["updated"] == 1
    assert statuses(pg_world) == {"A": "PAID", "B": "OVERDUE"}
    if job == OVERDUE:
        assert [row["related_object_id"] for row in pg_world.rows("core_notification")] == [number + 1]


@pytest.mark.parametrize("job", [STATUSES, OVERDUE])
def test_an_invoice_that_stays_locked_leaves_all_for_later(job: str, pg_world: World) -> None:
    pg_world.environment["KIBRAY_OPS_LOCK_TIMEOUT"] = "1"
    pg_world.office()
    pg_world.invoice("A", "SENT", YESTERDAY)
    before = pg_world.dump(own=False)
    with psycopg.connect(pg_world.url) as application:
        application.execute("SELECT id FROM core_invoice FOR UPDATE")
        assert pg_world.execute(job).exit_code == 75
    assert pg_world.dump(own=False) == before
    assert done(pg_world.execute(job)).result["updated"] == 1


def test_both_jobs_at_once(world: World) -> None:
    world.office()
    for number in range(40):
        world.invoice(f"{number}", "SENT", YESTERDAY if number % 2 else TOMORROW, "10", "10" if number % 3 else "0")
    words = [("invoices", verb, "--as-of", TODAY) for verb in ("update-statuses", "check-overdue") * 3]
    processes = [world.fork(*command) for command in words]
    codes = [(process.communicate(timeout=120), process.returncode)[1] for process in processes]
    assert set(codes) <= {0, 75}
    for command in words[:2]:
        assert here(world, *command).returncode == 0
    for row in world.rows("core_invoice"):
        paid, late = row["amount_paid"] > 0, row["due_date"].isoformat() == YESTERDAY
        assert row["status"] == ("PAID" if paid else "OVERDUE" if late else "SENT")
    told = world.rows("core_notification")
    overdue = {row["id"] for row in world.rows("core_invoice", "status = 'OVERDUE'")}
    assert {row["related_object_id"] for row in told} == overdue
    assert len(told) == len(overdue) == 7
