"""Hours → pay: figures of the regulations and of hand calculations, and what must hold for every week."""

from datetime import date, time
from decimal import ROUND_HALF_UP
from decimal import Decimal as D
from fractions import Fraction
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kibray_ops.errors import UsageError
from kibray_ops.payroll import Week, parse_week, weekly_pay
from kibray_ops.timesheet import Entry, findings, hours_by_project, missing_days

DENVER = ZoneInfo("America/Denver")
MONDAY = date(2025, 11, 24)
HOURS = st.decimals("0.01", "24", places=2)
RATES = st.decimals("7.25", "99.99", places=2)


@pytest.mark.parametrize(
    ("work", "multiplier", "gross"),
    [
        ([("46", "6")], "1.5", "294.00"),  # 29 CFR 778.110: 46 x 6 + 6 x 3
        ([("24", "22"), ("22", "25")], "1.5", "1148.30"),  # 778.115; with a rounded regular rate it would be 1148.29
        ([("40", "20")], "1.5", "800.00"),
        ([("40.01", "20")], "1.5", "800.30"),
        ([("0.50", "15.01")], "1.5", "7.51"),  # 7.505: half up, not half even
        ([("0.50", "15.03")], "1.5", "7.52"),  # 7.515
        ([("50", "20")], None, "1000.00"),  # straight time
        ([("50", "20")], "2", "1200.00"),
        ([], "1.5", "0.00"),
        ([("-3", "20"), ("0", "20")], "1.5", "0.00"),
    ],
)
def test_by_hand(work: list[tuple[str, str]], multiplier: str | None, gross: str) -> None:
    pay = weekly_pay([(D(h), D(r)) for h, r in work], D(20), multiplier=None if multiplier is None else D(multiplier))
    assert pay.gross == D(gross)


def test_the_rate_that_is_shown() -> None:
    assert weekly_pay([], D("18.5")).hourly_rate == D("18.50")
    assert weekly_pay([(D(8), D(20))], D(25)).hourly_rate == D("20.00")
    mixed = weekly_pay([(D(24), D(22)), (D(22), D(25))], D(22))
    assert (mixed.hourly_rate, mixed.is_mixed) == (D("23.43"), True)
    assert not weekly_pay([(D(8), D("20")), (D(8), D("20.00"))], D(20)).is_mixed


@given(st.lists(st.tuples(HOURS, RATES), max_size=12), st.decimals("1", "3", places=2))
def test_pay_is_the_exact_sum_rounded_once(work: list[tuple[D, D]], multiplier: D) -> None:
    total = sum((Fraction(h) for h, _ in work), Fraction())
    straight = sum((Fraction(h) * Fraction(r) for h, r in work), Fraction())
    over = max(total - 40, Fraction())
    exact = straight + (straight / total * over * (Fraction(multiplier) - 1) if total else 0)
    pay = weekly_pay(work, D(20), multiplier=multiplier)
    assert pay.gross == (D(exact.numerator) / D(exact.denominator)).quantize(D("0.01"), ROUND_HALF_UP)
    assert pay.regular_hours + pay.overtime_hours == pay.total_hours
    assert pay.regular_hours <= 40
    assert pay == weekly_pay(reversed(work), D(20), multiplier=multiplier)


@given(st.lists(st.tuples(st.one_of(st.none(), st.integers(1, 30)), HOURS), max_size=12))
def test_project_hours_add_up_and_their_keys_are_digits(work: list[tuple[int | None, D]]) -> None:
    entries = [Entry(n, MONDAY, time(8), time(16), hours, project) for n, (project, hours) in enumerate(work)]
    found = hours_by_project(entries)
    assert found
    assert all(key.isdigit() for key in found)
    total = sum((D(str(part["hours"])) for part in found.values()), D(0))
    assert total == sum((hours for _, hours in work), D(0))


@pytest.mark.parametrize(
    ("text", "start"),
    [
        (None, "2025-11-17"),
        ("last", "2025-11-17"),
        ("LAST", "2025-11-17"),
        ("this", "2025-11-24"),
        ("2025-W47", "2025-11-17"),
        ("2025w47", "2025-11-17"),
        ("2025-11-17", "2025-11-17"),
        ("2025-11-23", "2025-11-17"),
        ("2020-W53", "2020-12-28"),
        ("2021-01-01", "2020-12-28"),
    ],
)
def test_weeks(text: str | None, start: str) -> None:
    week = parse_week(text, MONDAY)
    assert (week.start, week.end) == (date.fromisoformat(start), date.fromordinal(week.start.toordinal() + 6))


@pytest.mark.parametrize("text", ["", "W47", "2025-W54", "2025-W00", "2025-11-31", "20251117", "0001-01-01", "next", "2026-W01", "9999-W52"])  # fmt: skip  # noqa: E501
def test_no_weeks(text: str) -> None:
    if text == "":
        assert parse_week(text, MONDAY) == parse_week("last", MONDAY)
        return
    with pytest.raises(UsageError):
        parse_week(text, MONDAY)


def test_the_sunday_after_a_monday_run_belongs_to_the_week_before() -> None:
    """Run on a Sunday, "last" is the week before the one that ends today."""
    assert parse_week("last", date(2025, 11, 23)).start == date(2025, 11, 10)


@pytest.mark.parametrize(
    ("day", "start", "end", "found"),
    [
        ("2026-03-07", "23:00", "07:30", True),  # spring: 8.5 h by the clock, 7.5 h worked
        ("2026-10-31", "23:00", "07:30", True),
        ("2026-11-01", "08:00", "16:00", False),
        ("2026-11-01", "01:30", "05:00", True),
        ("2026-11-01", "00:30", "01:30", True),  # autumn: one hour or two, for half past one comes twice
        ("2026-10-31", "20:00", "01:00", True),
        ("2026-11-01", "00:30", "00:45", False),
        ("2026-11-01", "02:00", "05:00", False),
        ("2026-03-08", "01:00", "02:30", True),  # there is no half past two
        ("2026-03-08", "03:00", "05:00", False),
        ("2026-03-08", "00:30", "01:45", False),
        ("2026-03-08", "08:00", "16:00", False),
        ("2026-03-14", "23:00", "07:30", False),
    ],
)
def test_clock_changes(day: str, start: str, end: str, found: bool) -> None:
    when = date.fromisoformat(day)
    entry = Entry(1, when, time.fromisoformat(start), time.fromisoformat(end), D(8))
    week = Week(date.fromordinal(when.toordinal() - when.weekday()))
    assert [finding.kind for finding in findings([entry], week, DENVER)] == ["clock_change"] * found
    assert findings([entry], week, ZoneInfo("America/Phoenix")) == []


def test_three_overlapping_entries_are_each_named_once() -> None:
    week = Week(MONDAY)
    spans = [("08:00", "16:00"), ("09:00", "10:00"), ("15:00", "17:00"), ("17:00", "18:00")]
    entries = [Entry(n, MONDAY, time.fromisoformat(a), time.fromisoformat(b), D(1)) for n, (a, b) in enumerate(spans)]
    (finding,) = findings(entries, week, DENVER)
    assert (finding.kind, finding.entry_ids) == ("overlap", (1, 2))


def test_missing_days_are_weekdays_without_any_entry() -> None:
    entries = [Entry(1, MONDAY, time(8), None, None), Entry(2, date(2025, 11, 29), time(8), time(9), D(1))]
    assert missing_days(entries, Week(MONDAY)) == ["2025-11-25", "2025-11-26", "2025-11-27", "2025-11-28"]
