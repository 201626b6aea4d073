"""The rules for pay, for ageing and for reminders, worked out the long way: exact fractions, one plain loop per rule.

Written from the rules alone (29 CFR 778.115, the guide and the facts about Kibray's tables) and from nothing of the
program: nothing of kibray_ops is imported here. An accountant should be able to read it and to say whether it is right.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from fractions import Fraction
from zoneinfo import ZoneInfo

DAY = timedelta(days=1)


def cents(exact: Fraction) -> Decimal:
    """Round an amount that is not negative to two places; half a cent goes up."""
    doubled = exact * 200
    whole_cents = (doubled.numerator // doubled.denominator + 1) // 2
    return Decimal(whole_cents) / 100


# ---- pay


@dataclass(frozen=True)
class Entry:
    """Time that somebody wrote down: when they came and went, and the hours that Kibray stored for it."""

    day: date
    start: time
    end: time | None
    hours: Decimal | None
    project: int | None = None
    snapshot: Decimal | None = None

    @property
    def counted(self) -> Fraction:
        """The hours that are paid: what is stored, and nothing where that is empty, zero or negative."""
        if self.hours is None or self.hours <= 0:
            return Fraction(0)
        return Fraction(self.hours)


@dataclass(frozen=True)
class Person:
    """An employee, and all the time they wrote down."""

    rate: Decimal
    active: bool = True
    has_custom_overtime: bool = False
    multiplier: Decimal = Decimal("1.50")
    entries: tuple[Entry, ...] = ()


@dataclass(frozen=True)
class Pay:
    """What one person is paid for one week; the hours are exact, the money is in whole cents."""

    hours: Fraction
    regular: Fraction
    overtime: Fraction
    rate: Decimal
    gross: Decimal
    mixed_rates: bool
    by_day: tuple[Fraction, ...]
    by_project: Mapping[str, Fraction]
    missing_days: tuple[date, ...]


def in_week(entries: Iterable[Entry], monday: date) -> list[Entry]:
    """Return the entries from Monday to Sunday."""
    found = []
    for entry in entries:
        if monday <= entry.day <= monday + 6 * DAY:
            found.append(entry)
    return found


def is_paid(person: Person, monday: date) -> bool:
    """Tell whether someone gets a record: everybody active, and who left if they have hours that week."""
    hours = sum(entry.counted for entry in in_week(person.entries, monday))
    return person.active or hours > 0


def pay(person: Person, monday: date, policy: str) -> Pay:
    """Work out one week of one person."""
    entries = in_week(person.entries, monday)

    hours = Fraction(0)
    for entry in entries:
        hours += entry.counted

    # Straight time: each hour at the rate it was worked for.
    straight = Fraction(0)
    rates = set()
    for entry in entries:
        rate = Fraction(person.rate if entry.snapshot is None else entry.snapshot)
        straight += entry.counted * rate
        if entry.counted > 0:
            rates.add(rate)

    # 29 CFR 778.115: the regular rate is all the straight time divided by all the hours.
    regular_rate = straight / hours if hours > 0 else Fraction(person.rate)

    overtime = Fraction(0)
    if policy == "weekly40" and hours > 40:
        overtime = hours - 40
    multiplier = Fraction(person.multiplier) if person.has_custom_overtime else Fraction(3, 2)
    # Every hour has its straight time already; an hour of overtime earns the rest of its multiple on top.
    gross = straight + overtime * regular_rate * (multiplier - 1)

    by_day = []
    for number in range(7):
        by_day.append(sum((entry.counted for entry in entries if entry.day == monday + number * DAY), Fraction(0)))

    by_project: dict[str, Fraction] = {}
    for entry in entries:
        key = "0" if entry.project is None else str(entry.project)
        if entry.counted > 0:
            by_project[key] = by_project.get(key, Fraction(0)) + entry.counted

    missing = []
    for number in range(5):
        day = monday + number * DAY
        if day not in [entry.day for entry in entries]:
            missing.append(day)

    return Pay(
        hours=hours,
        regular=hours - overtime,
        overtime=overtime,
        rate=cents(regular_rate),
        gross=cents(gross),
        mixed_rates=len(rates) > 1,
        by_day=tuple(by_day),
        by_project=by_project,
        missing_days=tuple(missing),
    )


def span(entry: Entry) -> tuple[datetime, datetime] | None:
    """Return from when to when an entry goes by the clock, over midnight where it ends before it starts."""
    if entry.end is None:
        return None
    start = datetime.combine(entry.day, entry.start)
    end = datetime.combine(entry.day, entry.end)
    return start, (end + DAY if end < start else end)


def meet(one: tuple[datetime, datetime] | None, other: tuple[datetime, datetime] | None) -> bool:
    """Tell whether two spans have time in common."""
    if one is None or other is None:
        return False
    return max(one[0], other[0]) < min(one[1], other[1])


def touches_changed_hour(entry: Entry, zone: ZoneInfo) -> bool:
    """Tell whether an entry has to do with the hour that is missing in spring and comes twice in autumn.

    For a zone that changes at two o'clock. What begins or ends in that hour, or on its stroke, may be longer or shorter
    than it looks.
    """
    when = span(entry)
    if when is None:
        return False
    for day in (entry.day, entry.day + DAY):
        noon = datetime.combine(day, time(12), tzinfo=zone)
        before, after = (noon - DAY).utcoffset(), noon.utcoffset()
        assert before is not None
        assert after is not None
        if before == after:
            continue
        start = datetime.combine(day, time(2) if after > before else time(1))
        if when[0] < start + timedelta(hours=1) and when[1] >= start:
            return True
    return False


def odd_hours(entry: Entry) -> set[str]:
    """Return every reason for which the hours of an entry cannot be right; the office has to hear one of them."""
    found = set()
    if entry.end is None:
        found.add("open")
    if entry.end == entry.start:
        found.add("zero-length")
    if entry.end is not None and entry.counted == 0:
        found.add("no hours")
    if entry.hours is not None and entry.hours < 0:
        found.add("negative")
    if entry.hours is not None and entry.hours > 24:
        found.add("over 24 hours")
    return found


def overlapping(entries: Sequence[Entry], monday: date) -> list[Entry]:
    """Return the entries of a week that somebody wrote for the same time as another, also one of the days around it."""
    found = []
    for number, entry in enumerate(entries):
        others = [*entries[:number], *entries[number + 1 :]]
        if in_week([entry], monday) and any(meet(span(entry), span(other)) for other in others):
            found.append(entry)
    return found


# ---- records that exist


@dataclass(frozen=True)
class Record:
    """What a record of the week already says, and what a person did to it."""

    hours: Decimal
    gross: Decimal
    reviewed: bool = False
    adjusted: bool = False
    bonus: Decimal = Decimal(0)
    deductions: Decimal = Decimal(0)
    tax: Decimal = Decimal(0)


def fate(person: Person, record: Record | None, monday: date, status: str, *, refresh: bool) -> str:
    """Return what becomes of someone's record in a period of a status: created, computed anew, kept, or none at all.

    "unpaid" is who worked in a week that is approved or paid and has no record in it.
    """
    closed = status in ("approved", "paid")
    if record is not None:
        return "refreshed" if refresh and not (closed or record.reviewed or record.adjusted) else "kept"
    if closed:
        return "unpaid" if pay(person, monday, "none").hours > 0 else "none"
    return "created" if is_paid(person, monday) else "none"


def with_extras(gross: Decimal, record: Record | None) -> tuple[Decimal, Decimal]:
    """Return gross and net pay with what a person added to a record: the bonus, the deductions and the tax."""
    if record is None:
        return gross, gross
    return gross + record.bonus, gross + record.bonus - record.deductions - record.tax


# ---- what customers owe


@dataclass(frozen=True)
class Invoice:
    """An invoice as it stands now."""

    id: int
    project: int
    client: str
    status: str
    due: date | None
    total: Decimal
    paid: Decimal

    @property
    def balance(self) -> Fraction:
        """What is still to be paid, never less than nothing."""
        return max(Fraction(self.total) - Fraction(self.paid), Fraction(0))

    def days(self, today: date) -> int:
        """Days past due; none on the day itself, before it, or where there is no date."""
        if self.due is None or self.due >= today:
            return 0
        return (today - self.due).days


BUCKETS = ("current", "1-30", "31-60", "61-90", "over 90")


def bucket(days: int) -> str:
    """Return the column of the ageing report that a number of days past due belongs in."""
    if days < 1:
        return "current"
    if days <= 30:
        return "1-30"
    if days <= 60:
        return "31-60"
    if days <= 90:
        return "61-90"
    return "over 90"


def outstanding(invoices: Iterable[Invoice]) -> list[Invoice]:
    """Return what the ageing report is about: all with a balance, drafts and cancelled ones excluded."""
    found = []
    for invoice in invoices:
        if invoice.status not in ("DRAFT", "CANCELLED") and invoice.balance > 0:
            found.append(invoice)
    return found


def ageing(invoices: Iterable[Invoice], today: date) -> dict[str, Fraction]:
    """Return the total of each bucket."""
    totals = dict.fromkeys(BUCKETS, Fraction(0))
    for invoice in outstanding(invoices):
        totals[bucket(invoice.days(today))] += invoice.balance
    return totals


def priority(invoices: Iterable[Invoice], today: date) -> Fraction:
    """Return how urgent it is to collect: each balance times its days past due."""
    sum_of_products = Fraction(0)
    for invoice in outstanding(invoices):
        sum_of_products += invoice.balance * invoice.days(today)
    return sum_of_products


WAITING = ("SENT", "VIEWED", "APPROVED", "PARTIAL")


def becomes_overdue(invoice: Invoice, today: date) -> bool:
    """Tell whether an invoice has to be marked OVERDUE."""
    return invoice.status in WAITING and invoice.days(today) > 0 and invoice.balance > 0


def becomes_paid(invoice: Invoice) -> bool:
    """Tell whether an invoice has to be marked PAID."""
    return invoice.status not in ("DRAFT", "CANCELLED", "PAID") and invoice.total > 0 and invoice.paid >= invoice.total


# ---- reminders

STAGES = (1, 7, 30, 60, 90)


def stage(days: int) -> int | None:
    """Return the highest stage that a number of days past due has reached."""
    reached = None
    for border in STAGES:
        if days >= border:
            reached = border
    return reached


@dataclass
class Reminders:
    """Who was told what so far: an invoice with its due date, at a stage, once for each recipient."""

    most: int
    told: set[tuple[int, date | None, int, int]] = field(default_factory=set)

    def of_day(self, invoices: Iterable[Invoice], recipients: Sequence[int], today: date) -> dict[int, list[int]]:
        """Return the invoices that each recipient hears of on a day; [] stands for one summary of too many."""
        heard = {}
        for recipient in recipients:
            news = []
            for invoice in invoices:
                overdue = invoice.status == "OVERDUE" or becomes_overdue(invoice, today)
                reached = stage(invoice.days(today))
                if not overdue or reached is None or invoice.balance == 0:
                    continue
                if (invoice.id, invoice.due, reached, recipient) not in self.told:
                    news.append(invoice.id)
                for border in STAGES:
                    if border <= reached:
                        self.told.add((invoice.id, invoice.due, border, recipient))
            if news:
                heard[recipient] = sorted(news) if len(news) <= self.most else []
        return heard
