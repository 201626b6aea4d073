"""Who is told, in which language, at which stage, and never twice."""

import random
import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal as D
from typing import Any

import pytest

from kibray_ops import receivables, timesheet
from kibray_ops.alerts import TITLE_LENGTH
from kibray_ops.cli.views.payroll_generate import CODES
from kibray_ops.messages import PayrollReady, en, es
from kibray_ops.payroll import Week
from kibray_ops.paysheet import FLAGS
from tests.here import here
from tests.sample_jobs import sample
from tests.test_payroll_generate import PAYROLL, five_days
from tests.world import AWKWARD, World, done

STATUSES, OVERDUE = "update-invoice-statuses", "check-overdue-invoices"
TODAY, YESTERDAY = "2025-11-24", "2025-11-23"


def told(world: World) -> list[tuple[int, int | None]]:
    """Return (user, invoice) of every notification; a summary is about none."""
    return [(row["user_id"], row["related_object_id"]) for row in world.rows("core_notification")]


def speaks(world: World, user: int, language: str) -> int:
    world.add("core_profile", user_id=user, language=language)
    return user


# ---- who


def test_admins_and_accounting_are_told_each_once_in_their_language(world: World) -> None:
    staff = speaks(world, world.user("staff"), "es")
    chief = world.add("auth_user", username="chief", is_superuser=True)  # without a profile: English
    clerk = speaks(world, world.user("clerk", staff=False), "es")
    both = speaks(world, world.user("both"), "fr")
    speaks(world, world.user("painter", staff=False), "es")
    gone = world.user("gone", active=False)
    left = world.user("left", staff=False, active=False)
    for user in (clerk, both, left, gone):
        world.accountant(user)
    world.add("auth_user_groups", user_id=world.user("pm", staff=False), group_id=world.add("auth_group", name="PM"))
    invoice = world.invoice("INV-1", "SENT", YESTERDAY, "1234.50", project_id=world.project("Elm", client="Ann"))
    report = done(world.execute(OVERDUE, at="2025-11-24T06:00"))
    assert (report.result["recipients"], report.result["notifications"], report.problems) == (4, 4, [])
    rows = world.rows("core_notification")
    assert [row["user_id"] for row in rows] == [staff, chief, clerk, both]
    english = "Invoice INV-1 is 1 day overdue: $1,234.50, Elm"
    spanish = "La factura INV-1 tiene 1 día de vencida: $1,234.50, Elm"
    assert [row["title"] for row in rows] == [spanish, english, spanish, english]
    for row in rows:
        project = {"project_id": 1} if world.version == "2026-06" else {}
        fixed = {
            "notification_type": "alert", "related_object_type": "invoice", "related_object_id": invoice,
            "link_url": f"/invoices/{invoice}/", "is_read": False, "created_at": datetime(2025, 11, 24, 13, tzinfo=UTC),
        }  # fmt: skip
        assert {name: row[name] for name in (*fixed, *project)} == fixed | project
        assert all(part in row["message"] for part in ("INV-1", "$1,234.50", "2025-11-23", "Elm, Ann"))


def test_nobody_to_tell_is_named_and_nothing_is_lost(world: World) -> None:
    world.invoice("A", "SENT", YESTERDAY)
    world.user("gone", active=False)
    report = done(world.execute(OVERDUE))
    assert [problem.kind for problem in report.problems] == ["no_admins", "no_accounting"]
    assert (report.result["updated"], told(world)) == (1, [])
    admin = world.user("new")
    report = done(world.execute(OVERDUE))
    assert [problem.kind for problem in report.problems] == ["no_accounting"]
    assert told(world) == [(admin, 1)]


def test_the_accounting_group_has_the_name_that_the_settings_say(newest: World) -> None:
    clerk = newest.user("clerk", staff=False)
    newest.add("auth_user_groups", user_id=clerk, group_id=newest.add("auth_group", name="Contabilidad"))
    newest.invoice("A", "SENT", YESTERDAY)
    newest.environment["KIBRAY_OPS_ACCOUNTING_GROUP"] = "Contabilidad"
    assert [problem.kind for problem in done(newest.execute(OVERDUE)).problems] == ["no_admins"]
    assert told(newest) == [(clerk, 1)]


# ---- once


@pytest.mark.parametrize("order", [(STATUSES, OVERDUE), (OVERDUE, STATUSES)])
def test_neither_job_silences_the_other(order: tuple[str, str], world: World) -> None:
    owner = world.office()
    world.invoice("A", "SENT", YESTERDAY)
    world.invoice("B", "OVERDUE", "2025-11-01")
    for job in order * 2:
        done(world.execute(job))
    assert sorted(told(world)) == [(owner, 1), (owner, 2)]


def test_a_second_run_writes_nothing(world: World) -> None:
    world.office()
    world.invoice("A", "SENT", YESTERDAY)
    done(world.execute(OVERDUE))
    before = {name: rows for name, rows in world.dump().items() if "kibray_ops_run" not in name}
    again = done(world.execute(OVERDUE))
    after = world.dump()
    assert {name: after[name] for name in before if name != "sqlite_sequence"} == {
        name: rows for name, rows in before.items() if name != "sqlite_sequence"
    }
    assert (again.result["notifications"], again.result["recipients"], again.result["updated"]) == (0, 0, 0)


def test_only_the_highest_stage_is_told_and_lower_ones_count_as_told(world: World) -> None:
    owner = world.office()
    invoice = world.invoice("A", "SENT", "2025-11-01")
    for day, count in (("2025-11-24", 1), ("2025-11-03", 1), ("2025-11-30", 1), ("2025-12-01", 2), ("2025-12-02", 2)):
        done(world.execute(OVERDUE, at=f"{day}T06:00"))
        assert told(world) == [(owner, invoice)] * count
    ledger = world.rows("kibray_ops_alert")
    assert sorted((row["stage"], str(row["subject_date"])) for row in ledger) == [(7, "2025-11-01"), (30, "2025-11-01")]


def test_a_new_due_date_starts_again(world: World) -> None:
    owner = world.office()
    invoice = world.invoice("A", "SENT", "2025-10-01")
    done(world.execute(OVERDUE))
    world.sql("UPDATE core_invoice SET due_date = ?", date(2025, 11, 20))
    done(world.execute(OVERDUE))
    done(world.execute(OVERDUE))
    assert told(world) == [(owner, invoice)] * 2
    world.sql("UPDATE core_invoice SET due_date = ?", date(2025, 10, 1))  # back again: that is known
    done(world.execute(OVERDUE))
    assert len(told(world)) == 2


def test_the_first_run_on_an_old_database_gives_each_one_summary(world: World) -> None:
    english, spanish = world.office(), speaks(world, world.user("paz", staff=False), "es")
    world.accountant(spanish)
    first = world.invoice("OLD", "OVERDUE", "2025-01-01", "10.01")
    columns = [name for name in world.rows("core_invoice")[0] if name not in ("id", "invoice_number")]
    world.sql(
        f"INSERT INTO core_invoice (invoice_number, {', '.join(columns)}) WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL "
        f"SELECT i + 1 FROM n WHERE i < 499) SELECT 'OLD' || i, {', '.join('c.' + name for name in columns)} "
        f"FROM core_invoice c, n WHERE c.id = {first}"
    )
    report = done(world.execute(OVERDUE))
    assert (report.result["notifications"], report.result["summaries"], report.result["overdue"]) == (2, 2, 500)
    rows = {row["user_id"]: row for row in world.rows("core_notification")}
    assert rows[english]["title"] == "500 invoices are overdue: $5,005.00"
    assert rows[spanish]["title"] == "500 facturas están vencidas: $5,005.00"
    assert rows[english]["message"].count("\n- OLD") == 5
    assert rows[english]["message"].endswith("and 495 more.")
    assert rows[spanish]["message"].endswith("y 495 más.")
    assert {(row["link_url"], row["related_object_id"]) for row in rows.values()} == {("/invoices/", None)}
    assert world.sql("SELECT count(*) AS n FROM kibray_ops_alert")[0]["n"] == 1000
    assert done(world.execute(OVERDUE)).result["notifications"] == 0
    world.invoice("NEW", "SENT", YESTERDAY)
    assert done(world.execute(OVERDUE)).result["notifications"] == 2


@pytest.mark.parametrize(("count", "most", "expected"), [(10, None, 10), (11, None, 1), (2, "1", 1), (1, "1", 1)])
def test_the_summary_begins_above_the_setting(count: int, most: str | None, expected: int, newest: World) -> None:
    newest.office()
    if most:
        newest.environment["KIBRAY_OPS_NOTIFY_MAX_PER_RECIPIENT"] = most
    for number in range(count):
        newest.invoice(f"{number}", "SENT", YESTERDAY)
    report = done(newest.execute(OVERDUE))
    assert report.result["notifications"] == expected == len(told(newest))
    assert report.result["summaries"] == (1 if expected != count else 0)


def test_whoever_comes_later_hears_of_what_is_overdue_then(newest: World) -> None:
    newest.office()
    for number in range(12):
        newest.invoice(f"{number}", "SENT", YESTERDAY)
    done(newest.execute(OVERDUE))
    late = newest.user("late")
    newest.invoice("12", "SENT", YESTERDAY)
    report = done(newest.execute(OVERDUE))
    assert (report.result["recipients"], report.result["notifications"], report.result["summaries"]) == (2, 2, 1)
    assert (late, None) in told(newest)
    assert (1, 13) in told(newest)


def test_four_at_once_write_each_row_once(world: World) -> None:
    owner = world.office()
    invoices = [world.invoice(f"{number}", "SENT", YESTERDAY) for number in range(8)]
    processes = [world.fork("invoices", "check-overdue", "--as-of", TODAY) for _ in range(4)]
    codes = [(process.communicate(timeout=120), process.returncode)[1] for process in processes]
    assert set(codes) <= {0, 75}
    assert 0 in codes
    assert sorted(told(world)) == [(owner, invoice) for invoice in invoices]
    assert len(world.rows("kibray_ops_alert")) == 8


def test_twelve_at_once_tell_each_thing_once(world: World) -> None:
    """Four of each alert."""
    owner = world.office()
    world.item("Caulk", "10")
    for _ in range(4):
        project = world.project()
        world.plan(project, TODAY)
        for _ in range(3):
            world.touchup(project)
    jobs = (("inventory", "check-shortages"), ("touchups", "alert"), ("plans", "alert-incomplete")) * 4
    processes = [world.fork(*words, "--as-of", TODAY) for words in jobs]
    codes = [(process.communicate(timeout=120), process.returncode)[1] for process in processes]
    assert set(codes) <= {0, 75}
    assert codes.count(0) >= 3
    found = [
        (row["user_id"], row["related_object_type"], row["related_object_id"])
        for row in world.rows("core_notification")
    ]
    about = [("inventory", None), *((kind, number) for kind in ("project", "daily_plan") for number in (1, 2, 3, 4))]
    assert sorted(map(str, found)) == sorted(str((owner, *thing)) for thing in about)
    assert len(world.rows("kibray_ops_alert")) == 9


def test_killed_at_any_moment_and_run_again(world: World) -> None:
    world.office()
    for number in range(60):
        world.invoice(f"{number}", "SENT", YESTERDAY)
    words = ("invoices", "check-overdue", "--as-of", TODAY)
    chance = random.Random(world.url)
    for _ in range(4):
        with world.fork(*words) as process:
            time.sleep(chance.uniform(0.05, 0.6))
            process.kill()
        counts = (
            len(told(world)),
            len(world.rows("kibray_ops_alert")),
            len(world.rows("core_invoice", "status = 'OVERDUE'")),
        )
        assert counts in ((0, 0, 0), (1, 60, 60))  # all or nothing
    end = time.monotonic() + 30
    while (last := here(world, *words)).returncode == 75 and time.monotonic() < end:
        time.sleep(0.2)
    assert last.returncode == 0, last.stderr
    assert (len(told(world)), len(world.rows("kibray_ops_alert"))) == (1, 60)


def test_each_notice_has_recipients_of_its_own(world: World) -> None:
    """Whoever is two of those who should hear of something hears of it once."""
    one, two = world.user("one"), world.user("two")
    gone = world.user("gone", active=False)
    job = sample("tell")
    done(world.execute(job, audiences=[[one], [one, two, one], [two, gone], []]))
    assert sorted(told(world)) == [(one, 1), (one, 2), (two, 2), (two, 3)]
    done(world.execute(job, audiences=[[one], [one, two], [one], [two]]))
    assert sorted(told(world)) == [(one, 1), (one, 2), (one, 3), (two, 2), (two, 3), (two, 4)]


# ---- thirty days


class Books:
    """What should happen, kept in plain Python: who knows of what, and what the invoices owe."""

    def __init__(self) -> None:
        self.known: dict[tuple[int, int, date], int] = {}

    def day(self, today: date, invoices: list[dict[str, Any]], people: list[int]) -> Counter[tuple[int, int | None]]:
        """Return the notifications of a day, and remember them."""
        expected: Counter[tuple[int, int | None]] = Counter()
        for person in people:
            news = []
            for invoice in invoices:
                late = (today - invoice["due"]).days
                if (
                    invoice["status"] in ("DRAFT", "CANCELLED", "PAID")
                    or late < 1
                    or invoice["paid"] >= invoice["total"]
                ):
                    continue
                stage = [days for days in (1, 7, 30, 60, 90) if days <= late][-1]
                key = (person, invoice["id"], invoice["due"])
                if self.known.get(key, 0) < stage:
                    self.known[key] = stage
                    news.append(invoice["id"])
            expected.update([(person, None)] if len(news) > 10 else [(person, number) for number in news])
        return expected


def happenings(chance: random.Random, invoices: list[dict[str, Any]], today: date) -> Iterator[dict[str, Any]]:
    """Yield the invoices that the application changes on a day: payments, moved due dates, cancellations."""
    for invoice in invoices:
        luck = chance.random()
        if invoice["status"] in ("PAID", "CANCELLED"):
            continue
        if luck < 0.05:
            invoice["paid"] += min(D(chance.randrange(1, 8000)) / 100, invoice["total"] - invoice["paid"])
            # Saving a payment in the application resets the status, OVERDUE included (FACTS.md).
            invoice["status"] = "PAID" if invoice["paid"] >= invoice["total"] else "PARTIAL"
        elif luck < 0.08:
            invoice["due"] = today + timedelta(days=chance.randrange(-3, 12))
        elif luck < 0.085:
            invoice["status"] = "CANCELLED"
        elif luck < 0.10:
            invoice["paid"] = invoice["total"]
        else:
            continue
        yield invoice


def test_every_other_of_thirty_days_with_payments_and_moved_due_dates(world: World) -> None:
    chance = random.Random(30)
    start = date(2025, 11, 1)
    owner, spanish = world.office(), speaks(world, world.user("paz"), "es")
    clerk = world.user("clerk", staff=False)
    world.accountant(clerk)
    people = [owner, spanish, clerk]
    invoices = []
    for number in range(24):
        status = chance.choice(["SENT", "VIEWED", "APPROVED", "PARTIAL", "OVERDUE", "SENT", "DRAFT"])
        due, total = start + timedelta(days=chance.randrange(-95, 30)), D(chance.randrange(5000, 30000)) / 100
        paid = total / 2 if status == "PARTIAL" else D(0)
        paid = paid.quantize(D("0.01"))
        key = world.invoice(f"I{number}", status, due.isoformat(), str(total), str(paid))
        invoices.append({"id": key, "status": status, "due": due, "total": total, "paid": paid})
    books, seen = Books(), 0
    stages: set[int] = set()
    for offset in range(0, 30, 2):
        today = start + timedelta(days=offset)
        for invoice in happenings(chance, invoices, today):
            world.sql(
                "UPDATE core_invoice SET status = ?, due_date = ?, amount_paid = ? WHERE id = ?",
                invoice["status"], invoice["due"], invoice["paid"], invoice["id"],
            )  # fmt: skip
        if offset == 10:
            people.append(world.user("new"))
        if offset == 20:
            people.remove(owner)
            world.sql("UPDATE auth_user SET is_active = ? WHERE id = ?", False, owner)
        jobs = [(OVERDUE, "06:00"), (STATUSES, "01:00"), (OVERDUE, "06:05")]
        chance.shuffle(jobs)
        for job, hour in jobs[: chance.randrange(2, 4)]:
            done(world.execute(job, at=f"{today}T{hour}"))
        if not any(job == OVERDUE for job, _ in jobs):
            done(world.execute(OVERDUE, at=f"{today}T06:00"))
        expected = books.day(today, invoices, people)
        rows = world.rows("core_notification")[seen:]
        seen += len(rows)
        assert Counter((row["user_id"], row["related_object_id"]) for row in rows) == expected, today
        for row in rows:
            word = "vencida" if row["user_id"] == spanish else "overdue"
            assert word in row["title"]
        for invoice, row in zip(invoices, world.rows("core_invoice"), strict=True):
            if invoice["status"] in ("SENT", "VIEWED", "APPROVED", "PARTIAL", "OVERDUE"):
                if invoice["due"] < today and invoice["paid"] < invoice["total"]:
                    invoice["status"] = "OVERDUE"
                elif row["status"] == "PAID":
                    assert invoice["paid"] >= invoice["total"]
                    invoice["status"] = "PAID"
            assert row["status"] == invoice["status"], (today, invoice)
        stages |= set(books.known.values())
    assert stages == {1, 7, 30, 60, 90}
    ledger: dict[tuple[int, int, str], int] = {}
    for row in world.rows("kibray_ops_alert"):
        key = (row["recipient_id"], row["subject_id"], str(row["subject_date"]))
        ledger[key] = max(ledger.get(key, 0), row["stage"])
    assert ledger == {(person, number, day.isoformat()): stage for (person, number, day), stage in books.known.items()}


# ---- payroll


def test_the_office_hears_once_that_payroll_is_ready(world: World) -> None:
    english, spanish = world.office(), speaks(world, world.user("paz", staff=False), "es")
    world.accountant(spanish)
    five_days(world, world.employee("Ana Ruiz", "20.00"), "8.50")
    open_ = world.employee("Otto Open", "20.00")
    world.entry(open_, "2025-11-17", None, end=None)
    dry = done(world.execute(PAYROLL, dry_run=True))
    real = done(world.execute(PAYROLL))
    assert dry.result["notifications"] == real.result["notifications"] == 2
    first, second = world.rows("core_notification")
    assert (first["user_id"], second["user_id"]) == (english, spanish)
    assert first["title"] == "The payroll for 2025-11-17 - 2025-11-23 is ready for review: $875.00"
    assert second["title"] == "La nómina del 2025-11-17 - 2025-11-23 está lista para revisión: $875.00"
    assert "Otto Open: open entry" in first["message"]
    assert "Otto Open: entrada sin cerrar" in second["message"]
    assert "2 records, 42.5 hours, $875.00 gross." in first["message"]
    assert first["link_url"] == "/payroll/week/?week_start=2025-11-17"
    (period,) = world.rows("core_payrollperiod")
    assert (first["related_object_type"], first["related_object_id"]) == ("payroll_period", period["id"])
    five_days(world, world.employee("Late Larry"), "8.00")
    assert done(world.execute(PAYROLL)).result["records"] == 1
    assert len(world.rows("core_notification")) == 2


def test_whoever_is_not_paid_counts_in_no_sum(newest: World) -> None:
    newest.office()
    five_days(newest, newest.employee("Ana Ruiz", "20.00"), "8.00")
    other = newest.employee("Ben Berg", "20.00")
    five_days(newest, other, "8.00")
    newest.add("core_payrollrecord", employee_id=other, week_start=date(2025, 11, 20), week_end=date(2025, 11, 30))
    done(newest.execute(PAYROLL), code=3)
    (row,) = newest.rows("core_notification")
    assert "1 record, 40 hours, $800.00 gross." in row["message"]
    assert "- Ben Berg: NOT PAID" in row["message"]


def test_a_period_that_is_closed_or_empty_is_not_ready(newest: World) -> None:
    five_days(newest, newest.employee(), "8.00")
    done(newest.execute(PAYROLL))  # nobody is there to hear of it yet
    newest.office()
    newest.sql("UPDATE core_payrollperiod SET status = 'approved'")
    assert done(newest.execute(PAYROLL)).result["notifications"] == 0
    assert done(newest.execute(PAYROLL, at="2025-11-17T07:00")).result["records"] == 1
    assert len(newest.rows("core_notification")) == 1


# ---- texts


@pytest.mark.parametrize("name", AWKWARD)
def test_a_title_never_exceeds_its_column_and_keeps_its_numbers(name: str, newest: World) -> None:
    newest.office()
    number = "N" * 40
    newest.invoice(number, "SENT", YESTERDAY, "99999999.99", project_id=newest.project(name))
    done(newest.execute(OVERDUE))
    (row,) = newest.rows("core_notification")
    assert len(row["title"]) <= TITLE_LENGTH
    assert "\n" not in row["title"]
    for part in (number, "$99,999,999.99", "1 day", *(["👩‍🎨"] if "👩‍🎨" in name else [])):
        assert part in row["title"]


def test_a_long_title_is_cut_at_its_end(sqlite_world: World) -> None:
    """SQLite does not keep to the length of a column: only there can a name be so long."""
    sqlite_world.office()
    sqlite_world.invoice("A", "SENT", YESTERDAY, project_id=sqlite_world.project("ñ" * 300))
    done(sqlite_world.execute(OVERDUE))
    (row,) = sqlite_world.rows("core_notification")
    assert (len(row["title"]), row["title"][-2:]) == (TITLE_LENGTH, "ñ…")


def test_every_flag_has_its_words_and_its_code() -> None:
    """A flag without them would end the payroll run."""
    assert set(FLAGS) == set(en.FLAGS) == set(es.FLAGS) == set(CODES)
    assert set(timesheet.KINDS) <= set(FLAGS)


@pytest.mark.parametrize("texts", [en, es])
def test_every_text_exists_in_both_languages(texts: Any) -> None:
    invoice = receivables.Receivable(
        id=1, number="INV-9", project_id=1, project="Elm", client="", status="SENT", next_status="OVERDUE",
        is_past_due=True, is_no_longer_past_due=False, due_date=date(2025, 11, 1), total=D("10.5"), paid=D(0),
        retention=D(0), balance=D("10.5"), days_past_due=23, flags=(),
    )  # fmt: skip
    flagged = [(f"P{number}", "overlap") for number in range(9)]
    payroll = PayrollReady(Week(date(2025, 11, 17)), 1, D(8), D(160), flagged, [("overlap", 9)])
    for message in (
        texts.overdue_invoice(invoice),
        texts.overdue_invoices([invoice] * 7),
        texts.payroll_ready(payroll),
    ):
        assert message.title
        assert "{" not in message.title + message.body
    assert "$73.50" in texts.overdue_invoices([invoice] * 7).title
    assert texts.overdue_invoices([invoice] * 7).body.count("\n- ") == 5
    assert texts.payroll_ready(payroll).body.count("\n- ") == 5
    names = {name for name in vars(en) if not name.startswith("_")}
    assert names == {name for name in vars(es) if not name.startswith("_")}
