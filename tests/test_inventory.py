"""Which stock is below its threshold, and that every admin hears of it once a day."""

from decimal import Decimal as D

import pytest

from kibray_ops.report import Report
from tests.here import here
from tests.world import AWKWARD, World, done

SHORTAGES = "check-inventory-shortages"


def short(report: Report) -> list[tuple[str, str, str, str]]:
    return [(row["item"], *(str(row[name]) for name in ("have", "need", "short"))) for row in report.rows]


def subjects(report: Report, kind: str) -> list[tuple[str, str]]:
    return [(problem.subject, problem.message) for problem in report.problems if problem.kind == kind]


# Own threshold, default one, quantities → have, need, short; None: enough.
CASES: tuple[tuple[str | None, str | None, tuple[str, ...], tuple[str, str, str] | None], ...] = (
    ("10", None, ("9.99",), ("9.99", "10.00", "0.01")),
    ("10", None, ("10",), None),
    ("10", None, ("4", "3", "2"), ("9.00", "10.00", "1.00")),
    ("10", None, ("4", "3", "3"), None),
    ("10", None, (), ("0.00", "10.00", "10.00")),
    ("10", "2", ("5",), ("5.00", "10.00", "5.00")),  # its own threshold comes first
    (None, "10", ("5",), ("5.00", "10.00", "5.00")),
    ("0", "10", ("5",), ("5.00", "10.00", "5.00")),  # zero counts as none
    ("0.30", None, ("0.1", "0.2"), None),
    ("0.80", None, ("0.7", "0.1"), None),  # as binary fractions they come to a bit less
    ("1", None, ("0.7", "0.1", "0.2"), None),
    ("10", None, ("-3", "12"), ("9.00", "10.00", "1.00")),
    ("10", None, ("-3",), ("-3.00", "10.00", "13.00")),
    ("999999.99", None, ("999999.98",), ("999999.98", "999999.99", "0.01")),
)


def test_what_is_short(world: World) -> None:
    world.office()
    expected = set()
    for number, (own, default, stock, missing) in enumerate(CASES):
        name = f"Case {number}"
        world.item(name, own, *stock, default_threshold=None if default is None else D(default))
        expected |= {(name, *missing)} if missing else set()
    report = done(world.execute(SHORTAGES))
    assert set(short(report)) == expected
    assert (report.result["low_stock_count"], report.result["items_checked"]) == (len(expected), len(CASES))


def test_what_nobody_watches(world: World) -> None:
    world.office()
    for name, need, columns in (
        ("Inactive", "10", {"active": False}),
        ("Exempt", "10", {"no_threshold": True}),
        ("None", None, {}),
        ("Zero", "0", {}),
        ("Zeros", "0", {"default_threshold": 0}),
    ):
        world.item(name, need, **columns)
    report = done(world.execute(SHORTAGES))
    assert (report.rows, report.result["items_checked"], world.rows("core_notification")) == ([], 0, [])
    assert [subject for subject, _ in subjects(report, "no_threshold")] == ["None, Zero, Zeros"]
    assert report.result["without_threshold"] == 3


def test_every_admin_gets_one_summary_a_day_in_his_language(world: World) -> None:
    english, chief = world.user("staff"), world.add("auth_user", username="chief", is_superuser=True)
    spanish = world.user("jefa")
    other = world.user("andre")
    world.add("core_profile", user_id=spanish, language="es")
    world.add("core_profile", user_id=other, language="fr")
    world.user("gone", active=False)
    world.user("painter", staff=False)
    for number in range(7):
        world.item(f"Item {number}", "10", str(number), unit="gallon")
    report = done(world.execute(SHORTAGES))
    people = (english, chief, spanish, other)
    assert (report.result["recipients"], report.result["notifications"], report.result["summaries"]) == (4, 4, 0)
    rows = {row["user_id"]: row for row in world.rows("core_notification")}
    assert len(rows) == len(world.rows("core_notification"))
    assert set(rows) == set(people)
    for user in (english, chief, other):
        assert rows[user]["title"] == "7 items are low in stock, lowest: Item 0"
        assert "\n- Item 0: 0 of 10, 10 short (gallon)\n- Item 1: 1 of 10, 9 short (gallon)\n" in rows[user]["message"]
        assert rows[user]["message"].count("\n- ") == 5
        assert rows[user]["message"].endswith("\nand 2 more.")
    assert rows[spanish]["title"] == "7 artículos con existencias bajas; el más crítico: Item 0"
    assert rows[spanish]["message"].endswith("\ny 2 más.")
    fixed = {
        "notification_type": "task_alert", "related_object_type": "inventory", "related_object_id": None,
        "link_url": "/inventory/", "is_read": False,
    }  # fmt: skip
    for row in rows.values():
        assert {name: row[name] for name in fixed} == fixed
        assert row.get("project_id") is None


def test_one_item_is_named_in_the_title(newest: World) -> None:
    english, spanish = newest.user("owner"), newest.user("jefa")
    newest.add("core_profile", user_id=spanish, language="es")
    newest.item("Caulk", "10", "9", unit="tu\x1b[1m\nbe")
    done(newest.execute(SHORTAGES))
    rows = {row["user_id"]: row for row in newest.rows("core_notification")}
    assert (rows[english]["title"], rows[spanish]["title"]) == ("Low in stock: Caulk", "Existencias bajas: Caulk")
    assert rows[english]["message"].endswith("\n- Caulk: 9 of 10, 1 short (tu [1m be)")
    assert rows[spanish]["message"].endswith("\n- Caulk: 9 de 10, falta 1 (tu [1m be)")


def test_again_on_the_next_day_and_not_before(world: World) -> None:
    world.office()
    world.item("Caulk", "10", "1")
    for at, count in (("24T08:00", 1), ("24T23:59", 1), ("25T00:01", 2), ("25T08:00", 2), ("26T08:00", 3)):
        world.item(f"New at {at}", "5")  # what is new on the same day waits for tomorrow's summary
        done(world.execute(SHORTAGES, at=f"2025-11-{at}"))
        assert len(world.rows("core_notification")) == count
    world.sql("UPDATE core_inventoryitem SET active = ?", False)
    assert done(world.execute(SHORTAGES, at="2025-11-27T08:00")).result["low_stock_count"] == 0
    assert len(world.rows("core_notification")) == 3


def test_the_emptiest_comes_first(newest: World) -> None:
    for name, need, stock in (
        ("Half", "1000", "500"),
        ("Empty", "2", "0"),
        ("Less", "1000", "400"),
        ("Bare", "3", "0"),
        ("Bald", "2", "0"),
    ):
        newest.item(name, need, stock)
    report = done(newest.execute(SHORTAGES, dry_run=True))
    assert [row["item"] for row in report.rows] == ["Bare", "Bald", "Empty", "Less", "Half"]


def test_nobody_to_tell_loses_nothing(world: World) -> None:
    world.item("Caulk", "10")
    report = done(world.execute(SHORTAGES))
    assert [problem.kind for problem in report.problems] == ["no_admins"]
    assert report.result["low_stock_count"] == 1
    admin = world.user("new")
    done(world.execute(SHORTAGES))
    assert [row["user_id"] for row in world.rows("core_notification")] == [admin]


def test_odd_quantities_are_named(world: World) -> None:
    world.office()
    world.item("Caulk", "10", "12", "-3")
    world.item("Exempt", "10", "-5", no_threshold=True)
    report = done(world.execute(SHORTAGES))
    assert short(report) == [("Caulk", "9.00", "10.00", "1.00")]
    assert subjects(report, "odd_stock") == [("Caulk", "has -3 at Place 2")]
    world.sql("UPDATE core_inventorylocation SET name = ?", "Shed\x1b[31m\n2")
    assert subjects(world.execute(SHORTAGES, dry_run=True), "odd_stock") == [("Caulk", "has -3 at Shed [31m 2")]


def test_a_quantity_that_is_no_number_counts_as_none(newest: World) -> None:
    """NaN in PostgreSQL, a word in SQLite: it would hide that the item is short, or end the job."""
    newest.office()
    newest.item("Caulk", "10", "4", "1")
    newest.item("Tape", "10", "4")
    nothing = "'NaN'" if newest.engine == "postgresql" else "'lots'"
    newest.sql(f"UPDATE core_projectinventory SET quantity = {nothing} WHERE id = 2")
    newest.sql(f"UPDATE core_inventoryitem SET low_stock_threshold = {nothing} WHERE name = 'Tape'")
    report = done(newest.execute(SHORTAGES))
    assert short(report) == [("Caulk", "4.00", "10.00", "6.00")]
    assert [subject for subject, _ in subjects(report, "odd_stock")] == ["Caulk"]
    assert [subject for subject, _ in subjects(report, "no_threshold")] == ["Tape"]


def test_stock_at_a_place_that_is_gone_counts(sqlite_world: World) -> None:
    sqlite_world.office()
    item = sqlite_world.item("Caulk", "10", "4")
    sqlite_world.add("core_projectinventory", item_id=item, location_id=99, quantity=-1)
    sqlite_world.add("core_projectinventory", item_id=77, location_id=1, quantity=-1)  # an item that is gone
    report = done(sqlite_world.execute(SHORTAGES))
    assert short(report) == [("Caulk", "3.00", "10.00", "7.00")]
    assert subjects(report, "odd_stock") == [("Caulk", "has -1 at location 99")]


def test_very_many_without_a_threshold_make_one_line(sqlite_world: World) -> None:
    for number in range(30):
        sqlite_world.item(f"Item {number:02}", None)
    (problem,) = [p for p in done(sqlite_world.execute(SHORTAGES)).problems if p.kind == "no_threshold"]
    assert problem.subject == "Item 00, Item 01, Item 02, Item 03, Item 04 and 25 more"


@pytest.mark.parametrize("name", [*AWKWARD, "ñ" * 120, "👩‍🎨" * 40])
def test_titles_fit_whatever_an_item_is_called(name: str, newest: World) -> None:
    newest.office()
    newest.item(name, "10")
    done(newest.execute(SHORTAGES))
    newest.item("Tape", "10", "9", unit="roll")
    done(newest.execute(SHORTAGES, at="2025-11-25T08:00"))
    first, second = newest.rows("core_notification")
    assert first["message"].endswith(": 0 of 10, 10 short")
    assert second["message"].endswith("\n- Tape: 9 of 10, 1 short (roll)")
    for row in (first, second):
        assert len(row["title"]) <= 200
        assert "\n" not in row["title"]
        assert "\x1b" not in row["title"] + row["message"]
        assert ("👩‍🎨" in row["title"]) == ("👩‍🎨" in name)


def test_the_report_shows_how_full_it_is(sqlite_world: World) -> None:
    sqlite_world.office()
    sqlite_world.item("Half", "10", "5", unit="gallon", category="paint")
    sqlite_world.item("Empty [b]", "10", unit="roll")
    sqlite_world.item("Owed", "10", "-5")
    sqlite_world.environment["COLUMNS"] = "100"
    shown = here(sqlite_world, "inventory", "check-shortages", "--dry-run").stdout
    assert "DRY RUN" in shown
    assert "3 of 3 items with a threshold are short; 1 person would get 1 notification." in shown
    lines = {line.split()[0]: line for line in shown.splitlines() if line.strip()}
    assert lines["Half"].split()[1:] == ["paint", "5", "10", "5", "gallon", "█" * 10 + "░" * 10]
    assert "Empty [b]" in shown
    assert lines["Owed"].split()[1:] == ["-5", "10", "15", "░" * 20]
