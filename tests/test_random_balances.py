"""What clients owe, against the reference: random invoices aged, marked and told of on random days."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal as D
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tests import reference
from tests.drawn import drawn, fill
from tests.reference import WAITING, Invoice, Reminders
from tests.test_ageing import aged
from tests.world import World, done

INVOICES = 10
"""In a book at least; of 20 oddities of a kind or fewer, each is named."""
MOST_INVOICES = 20
STATUSES = ["DRAFT", *WAITING, "PAID", "OVERDUE", "CANCELLED"]
CLIENTS = {1: "Ames", 2: "Bell", 3: "Ames", 4: ""}
"""By project."""
EDGES = [0, 1, 6, 7, 8, 29, 30, 31, 59, 60, 61, 89, 90, 91]
"""Days past due around which something changes."""
ADMIN, JEFA, ACCOUNTANT, CLIENT, GONE = range(1, 6)
"""Users: JEFA reads Spanish, CLIENT is no business of ours, GONE was an admin."""
OFFICE = (ADMIN, JEFA, ACCOUNTANT)
TODAYS = [date(2025, 11, 24), date(2026, 3, 1), date(2024, 3, 1)]
EARLIER = datetime(2025, 1, 2, 12, tzinfo=UTC)
EMPTIED = ["core_invoice", "core_project", "core_notification", "kibray_ops_alert", "kibray_ops_run"]


def hundredths(low: int, high: int) -> st.SearchStrategy[D]:
    return st.integers(low, high).map(lambda number: D(number).scaleb(-2))


AGES = st.one_of(st.none(), st.sampled_from(EDGES), st.sampled_from(EDGES), st.integers(-40, 400))
"""Days past due; None is no due date."""


@st.composite
def invoices(draw: st.DrawFn, today: date) -> Invoice:
    """Draw an invoice that is unpaid, part-paid, paid to the cent, overpaid or about nothing."""
    total = draw(st.one_of(st.sampled_from([D("0.00"), D("0.01"), D("100.00")]), hundredths(1, 9_999_999)))
    age = draw(AGES)
    return Invoice(
        id=0,
        project=draw(st.sampled_from(list(CLIENTS))),
        client="",
        status=draw(st.sampled_from(STATUSES)),
        due=None if age is None else today - timedelta(days=age),
        total=total,
        paid=draw(st.sampled_from([D(0), D(0), total, total - D("0.01"), total + D("0.01"), total / 4])).quantize(
            D("0.01")
        ),
    )


def books(today: date) -> st.SearchStrategy[list[Invoice]]:
    drawn_ones = st.lists(invoices(today), min_size=INVOICES, max_size=MOST_INVOICES)
    return drawn_ones.map(
        lambda book: [replace(one, id=n, client=CLIENTS[one.project]) for n, one in enumerate(book, 1)]
    )


def rows_of(book: Iterable[Invoice]) -> list[dict[str, Any]]:
    return [
        {
            "id": invoice.id,
            "invoice_number": f"{invoice.id}",
            "project_id": invoice.project,
            "status": invoice.status,
            "due_date": invoice.due,
            "total_amount": invoice.total,
            "amount_paid": invoice.paid,
            "retention_amount": D(invoice.id) / 10,
            # Every third was seen, and paid once, long ago.
            "viewed_date": EARLIER if invoice.id % 3 == 0 else None,
            "paid_date": EARLIER if invoice.id % 3 == 0 else None,
        }
        for invoice in book
    ]


def write(world: World, book: list[Invoice]) -> None:
    projects = [{"id": n, "name": f"P{n}", "client": client, "project_code": f"P{n}"} for n, client in CLIENTS.items()]
    fill(world, {"core_project": projects, "core_invoice": rows_of(book)}, anew=EMPTIED)


def statuses(world: World) -> dict[int, str]:
    return {row["id"]: row["status"] for row in world.rows("core_invoice")}


def after(invoice: Invoice, today: date, *, mark_paid: bool = True) -> Invoice:
    """Return an invoice as a run leaves it."""
    if reference.becomes_overdue(invoice, today):
        return replace(invoice, status="OVERDUE")
    return replace(invoice, status="PAID") if mark_paid and reference.becomes_paid(invoice) else invoice


# ---- ageing and statuses


@dataclass(frozen=True)
class Book:
    """What there is, and how it is looked at."""

    today: date
    invoices: list[Invoice]
    reopen: bool


@st.composite
def looked_at(draw: st.DrawFn) -> Book:
    today = draw(st.sampled_from(TODAYS))
    return Book(today, draw(books(today)), draw(st.booleans()))


def check_ageing(world: World, book: list[Invoice], today: date) -> None:
    """Compare the report by project, client and invoice: every bucket, sum and priority."""
    totals = reference.ageing(book, today)
    group_by: dict[str, Callable[[Invoice], Any]] = {
        "project": lambda invoice: invoice.project,
        "client": lambda invoice: invoice.client or "(no client)",
        "invoice": lambda invoice: invoice.id,
    }
    for by, key_of in group_by.items():
        told = aged(world, today, by)
        assert told.result["buckets"] == totals
        assert told.result["outstanding"] == sum(totals.values()) == sum(row["outstanding"] for row in told.rows)
        key = by if by == "client" else f"{by}_id"
        rows = {row[key]: row for row in told.rows}
        assert len(rows) == len(told.rows)
        assert rows.keys() >= {key_of(invoice) for invoice in reference.outstanding(book)}
        for name, row in rows.items():
            mine = reference.outstanding(invoice for invoice in book if key_of(invoice) == name)
            assert row["buckets"] == reference.ageing(mine, today)
            assert row["outstanding"] == sum(row["buckets"].values())
            assert row["priority"] == reference.priority(mine, today)
            assert row["retention"] == sum(D(invoice.id) / 10 for invoice in mine)
            assert row["invoices"] == len(mine)
        priorities = [row["priority"] for row in told.rows]
        assert priorities == sorted(priorities, reverse=True)
        assert told.result["priority"] == sum(priorities)
    undated = {f"{invoice.id}" for invoice in reference.outstanding(book) if invoice.due is None}
    assert undated <= {problem.subject for problem in told.problems}


def check_statuses(world: World, book: Book) -> None:
    """Run the 01:00 job and compare every invoice, and what it told."""
    at, today = f"{book.today}T01:00", book.today
    moment = datetime.fromisoformat(at).replace(tzinfo=world.settings.zone)
    before = {row["id"]: row for row in world.rows("core_invoice")}
    expected = {invoice.id: after(invoice, today) for invoice in book.invoices}
    stale = {
        invoice.id
        for invoice in book.invoices
        if invoice.status == "OVERDUE" and invoice.days(today) == 0 and invoice.balance > 0
    }
    report = done(world.execute("update-invoice-statuses", at=at, reopen=book.reopen))
    for row in world.rows("core_invoice"):
        key = row["id"]
        status, was = expected[key].status, before[key]
        if key in stale and book.reopen:
            status = "PARTIAL" if row["amount_paid"] > 0 else "VIEWED" if row["viewed_date"] else "SENT"
        paid_now = status == "PAID" and was["status"] != "PAID"
        assert row == {**was, "status": status, "paid_date": was["paid_date"] or (moment if paid_now else None)}
    changed = [invoice for invoice in book.invoices if invoice.status != expected[invoice.id].status]
    assert report.result["updated"] == sum(expected[invoice.id].status == "OVERDUE" for invoice in changed)
    assert report.result["paid"] == sum(expected[invoice.id].status == "PAID" for invoice in changed)
    assert stale <= {row["invoice_id"] for row in report.rows}
    named = {int(problem.subject) for problem in report.problems if problem.kind == "no_longer_past_due"}
    assert named == (set() if book.reopen else stale)


def test_random_books_age_and_change_to_the_cent(newest: World, long: bool) -> None:
    """Due dates around every edge, all statuses, part payments, credits and invoices about nothing."""

    @drawn(newest, INVOICES, long=long)
    @given(looked_at())
    def holds(book: Book) -> None:
        write(newest, book.invoices)
        check_ageing(newest, book.invoices, book.today)
        check_statuses(newest, book)
        # Nobody has paid by that: what is outstanding is the same, whatever it is called now.
        assert aged(newest, book.today).result["buckets"] == reference.ageing(book.invoices, book.today)
        written = newest.rows("core_invoice")
        done(newest.execute("update-invoice-statuses", at=f"{book.today}T01:00", reopen=book.reopen))
        assert newest.rows("core_invoice") == written

    holds()


# ---- reminders


@dataclass(frozen=True)
class Step:
    """What happens until the next run: days pass, people come and go, invoices are paid, moved or cancelled."""

    days: int
    present: tuple[int, ...]
    changes: dict[int, tuple[str, int]]
    """Place in the book → what happens to it, and by how many days or quarters."""
    statuses_first: bool
    """Whether the 01:00 job has run on that day."""


STEPS = st.builds(
    Step,
    days=st.sampled_from([0, 1, 1, 2, 5, 6, 7, 23, 29, 30, 60, -3, -30]),  # --as-of may go back
    present=st.sampled_from([OFFICE, OFFICE, (ADMIN,), (JEFA, ACCOUNTANT), (ACCOUNTANT,), ()]),
    changes=st.dictionaries(
        st.integers(0, INVOICES - 1),
        st.tuples(st.sampled_from(["moved", "moved", "paid", "part-paid", "cancelled"]), st.integers(-3, 60)),
        max_size=3,
    ),
    statuses_first=st.sampled_from([False, False, True]),
)


@dataclass(frozen=True)
class History:
    """Invoices, and how they go on."""

    book: list[Invoice]
    steps: list[Step]
    most: int


HISTORIES = st.builds(
    History, books(TODAYS[0]), st.lists(STEPS, min_size=3, max_size=6), most=st.sampled_from([1, 3, 10])
)


def changed(invoice: Invoice, change: str, days: int) -> Invoice:
    """Return an invoice after the application has changed it."""
    if change == "cancelled":
        return replace(invoice, status="CANCELLED")
    if change == "moved":
        return replace(invoice, due=invoice.due and invoice.due + timedelta(days=days))
    paid = invoice.total if change == "paid" else (invoice.total / 2).quantize(D("0.01"))
    return replace(invoice, paid=paid, status="PAID" if change == "paid" else "PARTIAL")


def check_run(world: World, book: list[Invoice], told: Reminders, people: list[int], today: date) -> None:
    """Run the 06:00 job; compare who hears of what, what is marked, and what is reported."""
    expected = told.of_day(book, people, today)
    report = done(world.execute("check-overdue-invoices", at=f"{today}T06:00"))

    notices = world.rows("core_notification")
    heard: dict[int, list[int]] = {}
    for notice in notices:
        key = notice["related_object_id"]
        heard.setdefault(notice["user_id"], []).extend([] if key is None else [key])
        if key is not None:
            assert (notice["link_url"], notice["related_object_type"]) == (f"/invoices/{key}/", "invoice")
            assert notice["project_id"] == next(invoice.project for invoice in book if invoice.id == key)
    assert {user: sorted(keys) for user, keys in heard.items()} == expected
    assert len(notices) == sum(len(keys) or 1 for keys in expected.values()) == report.result["notifications"]
    for notice in notices:
        same = [n["title"] for n in notices if n["related_object_id"] == notice["related_object_id"]]
        languages = {n["user_id"] == JEFA for n in notices if n["related_object_id"] == notice["related_object_id"]}
        if notice["related_object_id"] is not None:
            assert len(set(same)) == len(languages)

    ledger: dict[tuple[int, date | None, int], int] = {}
    for key, due, stage, user in told.told:
        ledger[key, due, user] = max(stage, ledger.get((key, due, user), 0))
    known: dict[tuple[int, Any, int], int] = {}
    for row in world.sql("SELECT subject_id, subject_date, recipient_id, stage FROM kibray_ops_alert"):
        place = (row["subject_id"], date.fromisoformat(f"{row['subject_date']}"), row["recipient_id"])
        known[place] = max(row["stage"], known.get(place, 0))
    assert known == ledger

    assert statuses(world) == {invoice.id: after(invoice, today, mark_paid=False).status for invoice in book}
    assert report.result["updated"] == sum(reference.becomes_overdue(invoice, today) for invoice in book)
    overdue = {
        invoice.id: invoice
        for invoice in book
        if after(invoice, today, mark_paid=False).status == "OVERDUE" and invoice.days(today) and invoice.balance
    }
    assert report.result["balance"] == sum(invoice.balance for invoice in overdue.values())
    lines = {row["invoice_id"]: row for row in report.rows if row["stage"] is not None}
    assert lines.keys() == overdue.keys()
    for key, invoice in overdue.items():
        days = invoice.days(today)
        assert (lines[key]["days_past_due"], lines[key]["bucket"]) == (days, reference.bucket(days))
        assert (lines[key]["balance"], lines[key]["priority"]) == (invoice.balance, invoice.balance * days)
        assert lines[key]["stage"] == reference.stage(days)


def check_history(world: World, history: History) -> None:
    book, today, told = history.book, TODAYS[0], Reminders(history.most)
    world.environment["KIBRAY_OPS_NOTIFY_MAX_PER_RECIPIENT"] = f"{history.most}"
    write(world, book)
    for step in history.steps:
        today += timedelta(days=step.days)
        book = [
            changed(invoice, *step.changes[place]) if place in step.changes else invoice
            for place, invoice in enumerate(book)
        ]
        fill(world, {"core_invoice": rows_of(book)}, anew=["core_invoice", "core_notification"])
        present = list(step.present)
        world.sql(f"UPDATE auth_user SET is_active = (id IN ({', '.join(map(str, [CLIENT, *present]))}))")
        if step.statuses_first:
            done(world.execute("update-invoice-statuses", at=f"{today}T01:00"))
            book = [after(invoice, today) for invoice in book]
        check_run(world, book, told, present, today)
        book = [after(invoice, today, mark_paid=False) for invoice in book]


def test_everybody_hears_of_each_stage_once(newest: World, long: bool) -> None:
    """Runs on random days; due dates move, payments come in, people come and go, and too much is summed up."""
    assert [newest.user(name, staff=name in ("admin", "jefa", "gone")) for name in
            ("admin", "jefa", "accountant", "client", "gone")] == [ADMIN, JEFA, ACCOUNTANT, CLIENT, GONE]  # fmt: skip
    newest.accountant(ACCOUNTANT)
    newest.add("core_profile", user_id=JEFA, language="es")

    @drawn(newest, INVOICES, long=long)
    @given(HISTORIES)
    def holds(history: History) -> None:
        check_history(newest, history)

    holds()
