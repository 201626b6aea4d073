"""payroll generate, whole, against the reference: random people, random weeks, equal to the cent."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, time
from decimal import Decimal as D
from fractions import Fraction
from typing import Any
from zoneinfo import ZoneInfo

from hypothesis import given
from hypothesis import strategies as st

from kibray_ops.report import Report
from tests import reference
from tests.drawn import drawn, fill
from tests.reference import DAY, Entry, Person, Record
from tests.world import ZONE, World, by_employee, done

PAYROLL = "generate-weekly-payroll"
PEOPLE = 5
"""In a week at least."""
MONDAYS = [date(2025, 11, 17), date(2025, 10, 27), date(2026, 3, 2), date(2025, 12, 29)]
"""An ordinary week, two that end with a change of the clock, and one with a New Year."""
STATUSES = [None, "pending", "draft", "under_review", "approved", "paid"]
"""Of the week's period; most weeks have none yet."""
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
WORDS = {
    "open_entry": "open",
    "zero_length": "zero-length",
    "no_hours": "no hours",
    "negative_hours": "negative",
    "over_24_hours": "over 24 hours",
}
"""The program's words for odd hours → the reference's."""
WRITTEN = ("core_payrollperiod", "core_payrollrecord", "core_notification", "kibray_ops_alert")
EMPTIED = [
    f"core_{name}" for name in ("payrollrecord", "payrollperiod", "timeentry", "employee", "project", "notification")
] + [f"kibray_ops_{name}" for name in ("alert", "provenance", "run")]
OURS = 1_000_000
"""Rows that the job may add to have lower numbers: PostgreSQL does not count what is given."""


@dataclass(frozen=True)
class Week:
    """What there is before the run, and how it is run."""

    monday: date
    people: list[Person]
    records: list[Record | None]
    status: str | None
    in_period: bool
    """Whether the records that exist belong to the period; the application makes some that belong to none."""
    policy: str
    refresh: bool


def hundredths(low: int, high: int) -> st.SearchStrategy[D]:
    return st.integers(low, high).map(lambda number: D(number).scaleb(-2))


TIMES = st.one_of(
    st.sampled_from([time(0), time(8), time(12), time(16, 30)]),  # so that one entry begins when another ends
    st.sampled_from([time(hour, minute) for hour in range(24) for minute in (0, 15, 30, 45)]),
)
HOURS = st.one_of(
    st.sampled_from([D(text) for text in ("8.00", "8.50", "7.50", "10.00", "0.50", "0.01", "13.33", "12.50")]),
    hundredths(1, 1600),
    st.sampled_from([None, D("0.00"), D("-4.00"), D("24.00"), D("24.01"), D("99.99")]),
)
RATES = st.one_of(st.sampled_from([D("20.00"), D("15.01"), D("18.75"), D("22.35")]), hundredths(0, 9999))


@st.composite
def entries(draw: st.DrawFn, monday: date) -> Entry:
    start = draw(TIMES)
    return Entry(
        day=monday + draw(st.integers(-2, 8)) * DAY,
        start=start,
        end=draw(st.one_of(TIMES, TIMES, st.sampled_from([None, start]))),
        hours=draw(HOURS),
        project=draw(st.sampled_from([None, 1, 2, 12])),
        snapshot=draw(st.one_of(st.none(), RATES, st.sampled_from([None, D("0.00")]))),
    )


@st.composite
def people(draw: st.DrawFn, monday: date) -> Person:
    """Draw somebody who works from Monday to Friday, or just now and then, or both."""
    usual = draw(st.sampled_from([None, None, D("8.00"), D("8.50"), D("9.25")]))
    days = [] if usual is None else [monday + number * DAY for number in range(5)]
    plain = [Entry(day, time(8), time(16, 30), usual, project=1) for day in days]
    return Person(
        rate=draw(RATES),
        active=draw(st.sampled_from([True, True, False])),
        has_custom_overtime=draw(st.booleans()),
        multiplier=draw(st.one_of(st.just(D("1.50")), hundredths(100, 300))),
        entries=(*plain, *draw(st.lists(entries(monday), max_size=6))),
    )


AMOUNTS = hundredths(0, 5000)
RECORDS = st.builds(
    Record,
    hours=hundredths(0, 6000),
    gross=hundredths(0, 200000),
    reviewed=st.sampled_from([False, False, True]),
    adjusted=st.sampled_from([False, False, True]),
    bonus=AMOUNTS,
    deductions=AMOUNTS,
    tax=AMOUNTS,
)


@st.composite
def weeks(draw: st.DrawFn) -> Week:
    monday = draw(st.sampled_from(MONDAYS))
    crew = draw(st.lists(people(monday), min_size=PEOPLE, max_size=2 * PEOPLE))
    record = st.one_of(st.none(), st.none(), RECORDS) if draw(st.booleans()) else st.none()
    return Week(
        monday=monday,
        people=crew,
        records=[draw(record) for _ in crew],
        status=draw(st.one_of(st.none(), st.sampled_from(STATUSES))),
        in_period=draw(st.booleans()),
        policy=draw(st.sampled_from(["weekly40", "weekly40", "none"])),
        refresh=draw(st.booleans()),
    )


def write(world: World, week: Week) -> None:
    """Bring a week into the database; everybody's number is their place in the crew, from 1."""
    sunday = week.monday + 6 * DAY
    bounds = {"week_start": week.monday, "week_end": sunday}
    numbered = list(enumerate(week.people, 1))
    fill(
        world,
        {
            "core_project": [{"id": n, "name": f"P{n}", "project_code": f"P{n}"} for n in (1, 2, 12)],
            "core_employee": [
                {
                    "id": number,
                    "first_name": "Person",
                    "last_name": f"{number:02}",
                    "social_security_number": f"{number}",
                    "employee_key": f"{number}",
                    "hourly_rate": person.rate,
                    "is_active": person.active,
                    "has_custom_overtime": person.has_custom_overtime,
                    "overtime_multiplier": person.multiplier,
                }
                for number, person in numbered
            ],
            "core_timeentry": [
                {
                    "id": 100 * number + place,
                    "employee_id": number,
                    "project_id": entry.project,
                    "date": entry.day,
                    "start_time": entry.start,
                    "end_time": entry.end,
                    "hours_worked": entry.hours,
                    "cost_rate_snapshot": entry.snapshot,
                }
                for number, person in numbered
                for place, entry in enumerate(person.entries)
            ],
            "core_payrollperiod": [] if week.status is None else [{"id": OURS, "status": week.status, **bounds}],
            "core_payrollrecord": [
                {
                    "id": OURS + number,
                    "employee_id": number,
                    "period_id": OURS if week.in_period and week.status else None,
                    **bounds,
                    "total_hours": record.hours,
                    "regular_hours": record.hours,
                    "hourly_rate": D("20.00"),
                    "gross_pay": record.gross,
                    "reviewed": record.reviewed,
                    "manually_adjusted": record.adjusted,
                    "bonus": record.bonus,
                    "deductions": record.deductions,
                    "tax_withheld": record.tax,
                    "notes": "by hand",
                }
                for number, record in enumerate(week.records, 1)
                if record is not None
            ],
        },
        anew=EMPTIED,
    )


def execute(world: World, week: Week) -> Report:
    monday_after = week.monday + 7 * DAY
    return world.execute(PAYROLL, at=f"{monday_after}T07:00", overtime=week.policy, refresh=week.refresh)


def assert_pay(row: dict[str, Any], pay: reference.Pay, person: Person, week: Week) -> None:
    """Compare what follows from the hours: to the hundredth of an hour and to the cent."""
    assert (row["total_hours"], row["regular_hours"], row["overtime_hours"], row["hourly_rate"]) == (
        pay.hours,
        pay.regular,
        pay.overtime,
        pay.rate,
    )
    # The application pays the hours over 40 at the rate times the multiplier, unless the record says otherwise.
    assert row["overtime_rate"] == (pay.rate if week.policy == "none" else None)
    assert row["missing_days"] == [day.isoformat() for day in pay.missing_days]
    projects = {key: D(str(part["hours"])) for key, part in row["project_hours"].items()}
    assert projects == (pay.by_project or {"0": Fraction(0)})
    # What the application would not read as hours of a project is charged to all of them.
    assert all(key.isdigit() for key in projects)
    assert ("29 CFR 778.115" in row["notes"]) == pay.mixed_rates
    for entry in reference.in_week(person.entries, week.monday) if pay.mixed_rates else ():
        if entry.counted:
            assert f"h at {person.rate if entry.snapshot is None else entry.snapshot:.2f}" in row["notes"]


def assert_doubts(report: Report, week: Week, errors: Sequence[dict[str, Any]] | None) -> None:
    """Nothing odd is silent, and nothing that is right is called odd.

    `errors` is the period's `validation_errors`; None where the period is closed and they are not written.
    """
    zone = ZoneInfo(ZONE)
    for number, person in enumerate(week.people, 1):
        name = f"Person {number:02}"
        told = {problem.kind: problem.message for problem in report.problems if problem.subject == name}
        own = {
            100 * number + place: entry
            for place, entry in enumerate(person.entries)
            if reference.in_week([entry], week.monday)
        }
        overlapping = reference.overlapping(person.entries, week.monday)
        changed = {key for key, entry in own.items() if reference.touches_changed_hour(entry, zone)}
        odd = {key: found for key, entry in own.items() if (found := reference.odd_hours(entry))}

        assert ("overlap" in told) == bool(overlapping)
        for entry in overlapping:
            assert f"{entry.day:%a %m-%d} {entry.start:%H:%M}-{entry.end:%H:%M}" in told["overlap"]
        assert ("clock_change" in told) == bool(changed)
        assert bool(told.keys() & WORDS.keys()) == bool(odd)
        if errors is None:
            continue
        mine = [error for error in errors if error["employee_id"] == number]
        assert all(error["employee"] == name for error in mine)
        by_kind = {error["type"]: set(error.get("entry_ids", ())) for error in mine}
        assert len(by_kind) == len(mine)
        assert by_kind.get("overlap", set()) <= {key for key, entry in own.items() if entry in overlapping}
        assert by_kind.get("clock_change", set()) == changed
        named = {key: kind for kind in by_kind.keys() & WORDS.keys() for key in by_kind[kind]}
        assert named.keys() == odd.keys()
        assert all(WORDS[kind] in odd[key] for key, kind in named.items())


def check(world: World, week: Week) -> None:
    """Run a week's payroll, and compare everything that it wrote and told with the reference."""
    write(world, week)
    status = week.status or "pending"
    closed = status in ("approved", "paid")
    before = by_employee(world)
    fates = {
        number: reference.fate(person, record, week.monday, status, refresh=week.refresh)
        for number, (person, record) in enumerate(zip(week.people, week.records, strict=True), 1)
    }
    unpaid = [number for number, fate in fates.items() if fate == "unpaid"]

    report = done(execute(world, week), code=3 if unpaid else 0)

    (period,) = world.rows("core_payrollperiod")
    records = by_employee(world)
    assert (period["status"], period["week_start"], period["week_end"]) == (
        status,
        week.monday,
        week.monday + 6 * DAY,
    )
    assert records.keys() == {number for number, fate in fates.items() if fate not in ("none", "unpaid")}
    failures = {problem.subject for problem in report.problems if problem.severity == "failure"}
    assert failures == {f"Person {number:02}" for number in unpaid}
    lines = {row["employee_id"]: row for row in report.rows}
    assert lines.keys() >= records.keys() | set(unpaid)
    told = {(problem.kind, problem.subject) for problem in report.problems}

    total = Fraction(0)
    for number, person in enumerate(week.people, 1):
        if number not in records:
            continue
        pay, kept, row = reference.pay(person, week.monday, week.policy), week.records[number - 1], records[number]
        if fates[number] == "kept":
            assert row == before[number]
            assert (("hours_changed", f"Person {number:02}") in told) == (row["total_hours"] != pay.hours)
        else:
            assert_pay(row, pay, person, week)
            gross, net = reference.with_extras(pay.gross, kept)
            assert (row["gross_pay"], row["net_pay"], row["total_pay"]) == (gross, net, net)
            assert ("by hand" in row["notes"]) == (kept is not None)
        if fates[number] == "created":
            assert row["period_id"] == period["id"]
            assert (row["bonus"], row["deductions"], row["tax_withheld"]) == (0, 0, 0)
            assert (row["reviewed"], row["manually_adjusted"]) == (False, False)
        line = lines[number]
        assert [line[day] for day in DAYS] == list(pay.by_day)
        assert ("mixed_rates" in line["flags"]) == pay.mixed_rates
        for name in ("total_hours", "regular_hours", "overtime_hours", "hourly_rate", "gross_pay"):
            assert line[name] == row[name]
        total += Fraction(row["gross_pay"])
    assert report.result["gross_pay"] == total
    assert report.result["total_hours"] == sum(row["total_hours"] for row in records.values())
    assert report.result["records"] == sum(fate == "created" for fate in fates.values())
    assert report.result["period_id"] == period["id"]
    assert_doubts(report, week, None if closed else period["validation_errors"])
    assert len(world.rows("core_notification")) == (2 if records and not closed else 0)

    written = [world.rows(table) for table in WRITTEN]
    again = done(execute(world, week), code=report.exit_code)
    assert [world.rows(table) for table in WRITTEN] == written
    assert (again.result["records"], again.result["gross_pay"]) == (0, total)


def test_a_random_week_is_paid_to_the_cent(newest: World, long: bool) -> None:
    """People who work, have left, are paid already, wrote nonsense down; in a week that is new, begun or closed."""
    newest.office()
    newest.accountant(newest.user("books", staff=False))

    @drawn(newest, PEOPLE, long=long)
    @given(weeks())
    def holds(week: Week) -> None:
        check(newest, week)

    holds()
