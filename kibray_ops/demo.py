"""A painting contractor's office as sample data: the same for everybody, and always fresh on the business date.

Last week's time entries hold the mistakes that people make; the weeks before are paid, the current one is under way.
People, firms and sums are made up; mail addresses and phone numbers lead nowhere (RFC 2606, 555-01xx).
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import astuple
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from random import Random
from typing import Any

from sqlalchemy import Connection, column, insert, table

from kibray_ops import timesheet
from kibray_ops.catalog import table_of
from kibray_ops.clock import Clock
from kibray_ops.models.kibray import inventory, invoices, notifications, payroll, people, projects, work
from kibray_ops.models.kibray.base import Kibray
from kibray_ops.payroll import OVERTIME_MULTIPLIER, ZERO, Week, cents, week_of, weekly_pay
from kibray_ops.timesheet import Entry

Row = dict[str, Any]

WEEKS = 10
"""Full weeks of time entries, last week included."""

# User name, first name, last name, staff, superuser, active, role, language.
USERS = (
    ("rbravo", "Ricardo", "Bravo", True, True, True, "owner", "es"),
    ("sholt", "Susan", "Holt", True, False, True, "admin", "en"),
    ("lpaz", "Lucía", "Paz", False, False, True, "employee", "es"),
    ("dmarsh", "Derek", "Marsh", False, False, True, "project_manager", "en"),
    ("acano", "Alma", "Cano", False, False, True, "project_manager", "es"),
    ("jramirez", "José Luis", "Ramírez", False, False, True, "superintendent", "es"),
    ("gwebb", "Gloria", "Webb", True, False, False, "admin", "en"),
)
OFFICE_MANAGER, ACCOUNTANT, DEREK, ALMA, FOREMAN, FORMER = range(2, 8)

# A crew a line, the foreman first: first name / last name / dollars per hour.
CREWS = """\
José Luis/Ramírez/36.50, Marta/Quintero/27.00, Kevin/O'Brien/25.50, Dylan/Foster/20.00
Héctor/Núñez/35.00, Ana Lucía/Peña/28.50, Tyler/Jensen/26.00, Brenda/Salazar/21.50
Robert/Kowalski/38.00, Iván/Castañeda/29.00, Miguel/Soto/26.50, Destiny/Brooks/19.50
Lupita/Treviño/34.00, Óscar/Villalobos/27.50, Sean/Murphy/25.00, Yesenia/Muñoz/22.00
Daniel/Gutiérrez/33.50, Heather/Lindqvist/28.00, Raúl/Domínguez/24.50, Marcus/Bell/21.00
Patricia/Beltrán/32.50, Jesús/Zamora/27.00, Cody/Harper/23.50, Nayeli/Ibáñez/20.50
Frank/DeLuca/31.50, Ximena/Córdova/26.00, Andrés/Figueroa/23.00, Emily/Nguyen/19.00, Terrence/Boyd/24.00
Ramón/Escobedo/30.00""".splitlines()
EMPLOYEES = [person.split("/") for crew in CREWS for person in crew.split(", ")]
CREW_OF = [number for number, crew in enumerate(CREWS, 1) for _ in crew.split(", ")]
OWN_MULTIPLIER = {1: "2.00", 9: "2.00", 21: "1.75"}

# What happened to an employee, and when, in days from last week's Monday.
HIRED = {23: -35, 28: 0}
LAST_DAY = {29: 2, 30: -200}
RAISE = {7: (2, "24.00"), 18: (-35, "26.50")}
"""The day of the new rate, and the rate before."""
AWAY = {4: (2,), 15: (0, 1, 2, 3, 4, 5), 16: (0, 1), 25: (4,)}
MISTAKES = {
    (6, 1): "07:00-15:30 14:30-17:00",
    (11, 4): "07:00-",
    (20, 3): "07:00-07:00 07:00-15:30",
    (24, 0): "07:00-16:00=28.50",
}
"""(employee, day) → that day's entries: an overlap, an open one, a double clock-in, and 28.5 h typed for 8.5."""

SHIFTS = ("07:00-15:30",) * 6 + ("07:00-15:00",) * 3 + ("07:00-16:00",) * 2 + ("06:30-16:00", "06:30-17:00")
SATURDAY, SPLIT_DAY = "07:00-12:00", "07:00-11:30 12:00-16:00"
LUNCH = time(12, 30)

# Name, client, address, begun how many days ago, ends in how many days. Crew 1 works on the first, and so on.
PROJECTS = (
    ("Highland Park Apartments", "Front Range Residential", "3120 W 32nd Ave, Denver, CO 80211", 190, 60),
    ("Oak Street Townhomes", "Meridian Homes", "1425 Oak St, Lakewood, CO 80215", 150, None),
    ("Aurora Distribution Center", "Plains Logistics", "20100 E 32nd Pkwy, Aurora, CO 80011", 120, 90),
    ("Castro Residence", "Elena Castro", "1110 Washington Ave, Golden, CO 80401", 95, None),
    ("Colfax Dental Office", "Mile High Dental", "6701 E Colfax Ave, Denver, CO 80220", 100, 20),
    ("Boulder Montessori School", "Flatirons Education", "3300 Redstone Rd, Boulder, CO 80305", 110, None),
    ("Willow Creek Clubhouse", "Willow Creek HOA", "8100 S Quebec St, Centennial, CO 80112", 90, 40),
    ("Fort Collins Taproom", "Poudre Brewing", "321 Old Firehouse Aly, Fort Collins, CO 80524", 105, None),
    ("Meridian Warranty Work", "Meridian Homes", None, 300, None),
    ("Larimer Lofts", "Lofts on Larimer LLC", "1444 Larimer St, Denver, CO 80202", 230, -24),
    ("Evergreen Cabin", "Paul Whitaker", "28000 Meadow Dr, Evergreen, CO 80439", 160, -45),
    ("Pearl Street Storefront", "Pearl & Co.", "1500 Pearl St, Boulder, CO 80302", 420, None),
)
ARCHIVED, SMALL_SITES = 12, (8, 9)
EARLIER_SITE = {4: (10, -24), 7: (11, -45)}
"""Crew → the project where it worked before, and until when, in days from today."""

MANAGERS = ((DEREK, 1), (DEREK, 8), (ALMA, 4), (ALMA, 7))
EXTERNAL_MANAGERS = ((DEREK, 1), (DEREK, 2), (DEREK, 5), (ALMA, 3), (ALMA, 4), (ALMA, 6), (FORMER, 1))

# Status, then project, due in how many days, total and amount paid in dollars.
INVOICES: tuple[tuple[str, tuple[tuple[int, int | None, int, int], ...]], ...] = (
    ("DRAFT", ((1, 30, 18_450, 0), (8, 30, 6_275, 0))),
    ("SENT", ((2, 21, 24_300, 0), (3, 12, 58_900, 0), (5, 0, 9_800, 0), (9, None, 2_150, 0), (4, 5, 7_300, 7_300))),
    ("SENT", ((7, -3, 12_640, 0), (6, -15, 31_200, 0), (2, -45, 17_850, 0), (10, -75, 22_400, 0), (9, -120, 4_980, 0))),
    ("VIEWED", ((1, 9, 26_750, 0), (5, -8, 8_420, 0))),
    ("APPROVED", ((3, 18, 44_100, 0), (6, -33, 15_900, 0))),
    ("PARTIAL", ((7, 14, 20_800, 10_400), (1, -20, 36_000, 21_600), (10, -62, 28_500, 25_000))),
    ("OVERDUE", ((2, -5, 11_275, 0), (4, -40, 5_640, 1_000), (12, -95, 3_890, 0), (8, 10, 9_150, 0))),
    ("PAID", ((1, -12, 42_000, 42_000), (2, -18, 16_400, 16_400), (10, -25, 60_000, 60_000), (4, -31, 3_975, 3_975))),
    ("PAID", ((5, -37, 12_900, 12_900), (6, -44, 27_350, 27_350), (7, -58, 9_480, 9_480), (8, -66, 5_120, 5_120))),
    ("PAID", ((10, -90, 33_600, 33_600), (11, -104, 14_250, 14_250), (12, -150, 21_700, 21_700))),
    ("CANCELLED", ((5, -28, 3_200, 0),)),
)
RETENTION = {3: Decimal("0.10")}
"""Project → the part of each invoice that the client keeps back until the end."""

LOCATIONS = (("Main storage", None, True), ("Trailer, Highland Park", 1, False), ("Job box, Aurora", 3, False))
# Name, category, unit, low-stock threshold, default threshold, active, exempt, quantity at each location.
ITEMS = (
    ("Interior eggshell, white", "paint", "gallon", 40, None, True, False, (18, 9, 4)),
    ("Interior flat ceiling white", "paint", "gallon", 25, None, True, False, (30, 6, None)),
    ("Exterior satin, accent", "paint", "gallon", 15, 10, True, False, (8, None, 3)),
    ("PVA drywall primer", "paint", "gallon", None, 20, True, False, (12, 5, None)),
    ("Bonding primer", "paint", "gallon", None, 8, True, False, (11, None, None)),
    ("Acrylic caulk", "material", "tube", 60, None, True, False, (22, 10, 12)),
    ("Painter's tape 1.5 in", "material", "roll", 48, None, True, False, (72, 20, 16)),
    ("Masking paper 12 in", "material", "roll", 12, None, True, False, (None, None, None)),
    ("Drop cloth 9 x 12", "material", "piece", None, 15, True, False, (14, 8, 6)),
    ("Roller cover 9 in", "material", "piece", 50, None, True, False, (96, 24, 12)),
    ("Angled sash brush 2.5 in", "material", "piece", None, None, True, False, (9, None, None)),
    ("Sanding sponge", "material", "piece", 0, None, True, False, (3, None, None)),
    ("Airless sprayer", "equipment", "piece", 2, None, True, True, (1, None, None)),
    ("Oil-based enamel", "paint", "gallon", 10, None, False, False, (2, None, None)),
)

# Project, status, priority, title, touch-up or not.
TASKS = (
    (1, "Pendiente", "high", "Retocar zócalos del pasillo 3", True),
    (1, "Pending", "urgent", "Paint drips on the door of unit 304", True),
    (1, "En Progreso", "urgent", "Repasar el techo del baño 212", True),
    (1, "In Progress", "high", "Caulk gaps at the lobby trim", True),
    (2, "Pendiente", "urgent", "Corregir el color de la puerta 7", True),
    (2, "Pending", "medium", "Second coat on the garage ceiling", True),
    (4, "Pendiente", "high", "Retocar la moldura del comedor", True),
    (4, "Pending", "urgent", "Roller marks above the fireplace", True),
    (4, "In Progress", "high", "Blend the patch behind the kitchen door", True),
    (5, "Pending", "high", "Touch up around the new outlets", True),
    (5, "Completada", "urgent", "Repintar el marco de la ventana", True),
    (10, "Pendiente", "urgent", "Retocar la puerta del elevador", True),
    (10, "Pending", "high", "Handprints in corridor 5", True),
    (10, "Pending", "high", "Thin coat on the mailbox wall", True),
    (2, "Pending", "high", "Order the accent color for units 9 to 12", False),
)
PINNED_TOUCHUPS = (
    (2, "open", "high", "Roller marks, unit 5 living room"),
    (2, "in_progress", "urgent", "Marca de cinta en la escalera"),
    (2, "closed", "urgent", "Drip on the newel post"),
    (5, "open", "low", "Light spot behind reception"),
)

# Status, then project and day, counted from today.
PLANS = (
    ("DRAFT", ((6, 0), (4, 1), (7, 1), (3, 2), (7, -1), (8, -9))),
    ("PUBLISHED", ((3, 0), (5, 0), (9, 0), (1, 1), (2, 1), (1, 2))),
    ("IN_PROGRESS", ((1, 0), (2, 0))),
    ("COMPLETED", ((1, -1), (2, -1), (1, -2), (3, -9))),
    ("SKIPPED", ((5, -2),)),
)

# Type, title, message, related object, its id, link, project.
NOTICES = (
    ("task_alert", "3 urgent touch-ups", "Oak Street Townhomes has 3.", "project", 2, "/projects/2/touchups/", 2),
    ("alert", "Plan sin terminar", "Fort Collins Taproom: borrador.", "daily_plan", 6, "/daily-plan/6/edit/", 8),
    ("task_alert", "Low stock", "5 items are below their threshold.", "inventory", None, "/inventory/", None),
)


def fill(connection: Connection, clock: Clock) -> None:
    """Insert the whole office into an empty standalone database; the caller commits."""
    today, random = clock.today(), Random(1924)
    last = week_of(today).before
    staff = _employees(last, random)
    entries = list(_time_entries(today, staff, random))
    _insert_people(connection, staff)
    _insert_projects(connection, clock)
    names = "employee_id date start_time end_time hours_worked project_id cost_rate_snapshot"
    _insert(connection, payroll.TimeEntry, _named(names, ((number, *astuple(e)[1:]) for number, e in entries)))
    _insert_payrolls(connection, last, staff, entries, clock)
    _insert(connection, invoices.Invoice, _invoices(clock))
    _insert_stock(connection)
    _insert_tasks(connection, clock)
    _insert(connection, work.DailyPlan, _plans(clock))
    _insert(connection, notifications.Notification, _notifications(clock))


def stored_hours(start: time, end: time) -> Decimal:
    """Return the hours that the application stores for a shift: half an hour less when it has a lunch (FACTS.md)."""
    minutes = (end.hour - start.hour) * 60 + end.minute - start.minute
    hours = Decimal(minutes + (24 * 60 if minutes < 0 else 0)) / 60
    return cents(hours - Decimal("0.5") if start <= LUNCH <= end and hours >= 5 else hours)


def _insert(connection: Connection, model: type[Kibray], rows: Sequence[Row]) -> None:
    """Insert rows, numbered from 1; all name the same columns, optional ones among them."""
    source = table_of(model)
    kinds = {known.name: known.type for known in (*source.columns, *model.optional)}
    target = table(source.name, *(column(name, kinds[name]) for name in ("id", *rows[0])))
    connection.execute(insert(target), [{"id": number, **row} for number, row in enumerate(rows, 1)])


def _named(names: str, rows: Iterable[Sequence[Any]], **same: Any) -> list[Row]:
    return [dict(zip(names.split(), row, strict=True)) | same for row in rows]


def _moment(day: date, hour: int, clock: Clock) -> datetime:
    return datetime.combine(day, time(hour), tzinfo=clock.zone).astimezone(UTC)


def _employees(last: Week, random: Random) -> list[Row]:
    return [
        {
            "user_id": FOREMAN if number == 1 else None,
            "first_name": first,
            "last_name": family,
            "hourly_rate": Decimal(rate),
            "phone": f"303-555-01{number:02}",
            "email": f"employee{number}@example.com",
            "is_active": number not in LAST_DAY,
            "hire_date": last.start + timedelta(days=HIRED.get(number, -random.randrange(300, 3200))),
            "has_custom_overtime": number in OWN_MULTIPLIER,
            "overtime_multiplier": Decimal(OWN_MULTIPLIER.get(number, OVERTIME_MULTIPLIER)),
        }
        for number, (first, family, rate) in enumerate(EMPLOYEES, 1)
    ]


def _time_entries(today: date, staff: Sequence[Row], random: Random) -> Iterator[tuple[int, Entry]]:
    """Yield (employee, entry) up to yesterday; days count from last week's Monday."""
    monday = week_of(today).before.start
    for day in range(7 - 7 * WEEKS, 14):
        on, weekday = monday + timedelta(days=day), day % 7
        crew_shifts = [random.choice(SHIFTS) for _ in CREWS]
        works = [weekday < 5 or (weekday == 5 and random.random() < 0.25) for _ in CREWS]
        for number, employee in enumerate(staff, 1):
            crew, luck = CREW_OF[number - 1], random.random()
            employed = employee["hire_date"] <= on and day <= LAST_DAY.get(number, day)
            away = day in AWAY.get(number, ()) if 0 <= day < 7 else luck < 0.015
            if on >= today or not employed or not works[crew - 1] or away:
                continue
            former, until = EARLIER_SITE.get(crew, (crew, 0))
            site = former if on <= today + timedelta(days=until) else crew
            usual = SPLIT_DAY if luck > 0.97 else random.choice(SHIFTS) if luck > 0.85 else crew_shifts[crew - 1]
            shifts = SATURDAY if weekday == 5 else MISTAKES.get((number, day), usual)
            for shift, project in zip(shifts.split(), (site, random.choice(SMALL_SITES)), strict=False):
                where = None if 0.83 < luck < 0.85 else project
                yield number, Entry(0, on, *_clocked(shift), where, _rate(number, day))


def _clocked(shift: str) -> tuple[time, time | None, Decimal | None]:
    clocked, _, typed = shift.partition("=")
    begun, _, ended = clocked.partition("-")
    start, end = time.fromisoformat(begun), time.fromisoformat(ended) if ended else None
    return start, end, Decimal(typed) if typed else stored_hours(start, end) if end else None


def _rate(number: int, day: int) -> Decimal:
    since, before = RAISE.get(number, (day, ""))
    return Decimal(before if day < since else EMPLOYEES[number - 1][2])


def _insert_payrolls(
    connection: Connection, last: Week, staff: Sequence[Row], entries: Sequence[tuple[int, Entry]], clock: Clock
) -> None:
    """Insert the weeks before the last one: paid, but for the newest, which is approved."""
    worked: dict[tuple[int, Week], list[Entry]] = {}
    for number, entry in entries:
        worked.setdefault((number, week_of(entry.date)), []).append(entry)
    periods: list[tuple[Any, ...]] = []
    records: list[Row] = []
    for week in (Week(last.start - timedelta(weeks=n)) for n in range(WEEKS - 1, 0, -1)):
        made, approved = (_moment(week.end + timedelta(days=1), hour, clock) for hour in (7, 15))
        status = "approved" if week == last.before else "paid"
        periods.append((week.start, week.end, made, status, [], approved))
        records += [
            {"period_id": len(periods), "employee_id": number, **_pay(employee, week, worked.get((number, week), []))}
            for number, employee in enumerate(staff, 1)
            if employee["hire_date"] <= week.end and LAST_DAY.get(number, 0) >= 0
        ]
    paid = (
        (number, record["net_pay"], record["week_end"] + timedelta(days=5))
        for number, record in enumerate(records, 1)
        if record["week_end"] < last.before.start and record["net_pay"]
    )
    manager = {"created_by_id": OFFICE_MANAGER, "approved_by_id": OFFICE_MANAGER}
    names = "week_start week_end created_at status validation_errors approved_at"
    _insert(connection, payroll.PayrollPeriod, _named(names, periods, notes="", **manager))
    _insert(connection, payroll.PayrollRecord, records)
    _insert(connection, payroll.PayrollPayment, _named("payroll_record_id amount payment_date", paid))


def _pay(employee: Row, week: Week, entries: Sequence[Entry]) -> Row:
    work = [(entry.paid_hours, entry.rate or ZERO) for entry in entries]
    pay = weekly_pay(work, employee["hourly_rate"], multiplier=employee["overtime_multiplier"])
    return {
        "week_start": week.start,
        "week_end": week.end,
        "total_hours": pay.total_hours,
        "hourly_rate": pay.hourly_rate,
        "regular_hours": pay.regular_hours,
        "overtime_hours": pay.overtime_hours,
        **dict.fromkeys(("gross_pay", "net_pay", "total_pay"), pay.gross),
        **dict.fromkeys(("bonus", "deductions", "tax_withheld"), ZERO),
        **dict.fromkeys(("deduction_notes", "adjustment_reason", "notes"), ""),
        "missing_days": timesheet.missing_days(entries, week),
        "project_hours": timesheet.hours_by_project(entries),
        "manually_adjusted": False,
        "reviewed": True,
    }


def _insert_people(connection: Connection, staff: Sequence[Row]) -> None:
    users = _named("username first_name last_name is_staff is_superuser is_active", (row[:6] for row in USERS))
    profiles = ((number, *row[6:]) for number, row in enumerate(USERS, 1))
    _insert(connection, people.User, [{**user, "email": f"{user['username']}@example.com"} for user in users])
    _insert(connection, people.Profile, _named("user_id role language", profiles))
    _insert(connection, people.Group, [{"name": "Accounting"}])
    _insert(connection, people.UserGroup, _named("user_id", ((ACCOUNTANT,), (FORMER,)), group_id=1))
    _insert(connection, people.Employee, staff)
    wants_mail = {OFFICE_MANAGER: True, DEREK: True, ALMA: False}
    _insert(connection, notifications.NotificationPreference, _named("user_id email_enabled", wants_mail.items()))


def _insert_projects(connection: Connection, clock: Clock) -> None:
    def day(distance: int | None) -> date | None:
        return None if distance is None else clock.today() + timedelta(days=distance)

    sites = ((*row[:3], day(-row[3]), day(row[4]), number == ARCHIVED) for number, row in enumerate(PROJECTS, 1))
    _insert(connection, projects.Project, _named("name client address start_date end_date is_archived", sites))
    # Alma wants to hear nothing of project 6; who has left has no access any more.
    accesses = ((user, project, project != 6, user != FORMER) for user, project in EXTERNAL_MANAGERS)
    names = "user_id project_id receive_notifications is_active"
    _insert(connection, projects.ClientProjectAccess, _named(names, accesses, role="external_pm"))
    managers = _named("pm_id project_id", MANAGERS, role="project_manager", created_at=clock.now())
    _insert(connection, projects.ProjectManagerAssignment, managers)


def _invoices(clock: Clock) -> list[Row]:
    bills: list[Row] = [
        {
            "project_id": project,
            "date_issued": (day := clock.today() + timedelta(days=10 if due is None else due)) - timedelta(days=30),
            "due_date": None if due is None else day,
            "total_amount": Decimal(total),
            "status": status,
            "paid_date": _moment(day - timedelta(days=4), 10, clock) if status == "PAID" else None,
            "amount_paid": Decimal(paid),
            "retention_amount": total * RETENTION.get(project, ZERO),
        }
        for status, group in INVOICES
        for project, due, total, paid in group
    ]
    bills.sort(key=lambda bill: bill["date_issued"])
    return [{**bill, "invoice_number": f"{bill['date_issued']:%Y}-{n}"} for n, bill in enumerate(bills, 101)]


def _insert_stock(connection: Connection) -> None:
    names = "name category unit low_stock_threshold default_threshold active no_threshold"
    stock = ((item, place, n) for item, row in enumerate(ITEMS, 1) for place, n in enumerate(row[7], 1) if n)
    _insert(connection, inventory.InventoryItem, _named(names, (row[:7] for row in ITEMS)))
    _insert(connection, inventory.InventoryLocation, _named("name project_id is_storage", LOCATIONS))
    _insert(connection, inventory.ProjectInventory, _named("item_id location_id quantity", stock))


def _insert_tasks(connection: Connection, clock: Clock) -> None:
    names, now = "project_id status priority title", clock.now()
    for model, more, rows in ((work.Task, " is_touchup", TASKS), (work.TouchUp, "", PINNED_TOUCHUPS)):
        made = ({"created_at": now - timedelta(days=2 + number * 5 % 17)} for number in range(len(rows)))
        named = _named(names + more, rows)
        _insert(connection, model, [row | when for row, when in zip(named, made, strict=True)])


def _plans(clock: Clock) -> list[Row]:
    plans = (
        (status, project, DEREK if project in (1, 2, 5, 8) else ALMA, clock.today() + timedelta(days=day))
        for status, dates in PLANS
        for project, day in dates
    )
    return [
        {**plan, "completion_deadline": _moment(plan["plan_date"] - timedelta(days=1), 17, clock)}
        for plan in _named("status project_id created_by_id plan_date", plans)
    ]


def _notifications(clock: Clock) -> list[Row]:
    """Return notices from now back to four months ago; most are read."""
    names = "notification_type title message related_object_type related_object_id link_url project_id"
    return [
        {
            **notice,
            "user_id": (OFFICE_MANAGER, DEREK, ALMA)[number // 3 % 3],
            "is_read": number > 3 and number % 7 != 0,
            "created_at": clock.now() - timedelta(days=2 * number, minutes=20),
        }
        for number, notice in enumerate(_named(names, NOTICES * 20))
    ]
