"""Two weeks of an office where people come and go, held every day against books that plain Python keeps."""

import random
from collections import Counter
from datetime import date, datetime, time, timedelta
from decimal import Decimal as D
from typing import Any
from zoneinfo import ZoneInfo

from tests.world import ZONE, World

STOCK, TOUCHUPS, PLANS = "check-inventory-shortages", "alert-high-priority-touchups", "alert-incomplete-daily-plans"
START, DAYS = date(2025, 11, 20), 14
MOST = 2
"""Above this many notices somebody gets a summary."""
CLOSED = {"Pendiente": "Completada", "Pending": "Completed", "open": "closed"}
STARTED = {"Pendiente": "En Progreso", "Pending": "In Progress", "open": "review"}
Told = Counter[tuple[int, int | None]]


class Office:
    """The database, and beside it the same things as plain rows, changed together."""

    def __init__(self, world: World, chance: random.Random) -> None:
        self.world, self.chance = world, chance
        self.is_new = world.version == "2026-06"
        self.users = [{"id": world.user(f"u{n}", staff=n < 2), "is_staff": n < 2, "is_active": True} for n in range(6)]
        self.projects: list[dict[str, Any]] = []
        for number in range(14):
            end = chance.choice([None, None, START + timedelta(days=chance.randrange(-2, DAYS))])
            self.projects.append(
                {"id": world.project(f"P{number}", end_date=end), "end_date": end, "is_archived": False}
            )
        self.managers: list[dict[str, Any]] = []
        for user in self.users:
            for project in chance.sample(self.projects, 4):
                role = chance.choice(["external_pm", "external_pm", "viewer"])
                access = {"is_active": chance.random() < 0.8, "receive_notifications": chance.random() < 0.8}
                world.manages(user["id"], project["id"], role=role, **access)
                counts = role == "external_pm" and (all(access.values()) or not self.is_new)
                self.managers += [{"user": user["id"], "project": project["id"]}] * counts
                if self.is_new and chance.random() < 0.2:
                    world.add("core_projectmanagerassignment", project_id=project["id"], pm_id=user["id"])
                    self.managers.append({"user": user["id"], "project": project["id"]})
        self.touchups: list[dict[str, Any]] = []
        self.plans: list[dict[str, Any]] = []
        self.items: list[dict[str, Any]] = []
        for number in range(4):
            low, default = chance.choice([None, D(0), D(8)]), chance.choice([None, D(5)])
            item = world.item(f"I{number}", None if low is None else str(low), "6", default_threshold=default)
            self.items.append({"id": item, "need": low or default, "have": D(6)})
        self.known_plans: set[int] = set()
        self.told: set[tuple[str, date, int, int]] = set()

    def change(self, table: str, row: dict[str, Any], **values: Any) -> None:
        """Change a row in the books and in the database."""
        row.update(values)
        sets = ", ".join(f"{name} = ?" for name in values)
        self.world.sql(f"UPDATE {table} SET {sets} WHERE id = ?", *values.values(), row["id"])

    # ---- what happens on a day

    def live(self, today: date) -> None:
        chance = self.chance
        for _ in range(chance.randrange(2, 7)):
            project, priority = chance.choice(self.projects), chance.choice(["high", "urgent", "urgent", "low"])
            is_pin = self.is_new and chance.random() < 0.3
            status = "open" if is_pin else chance.choice(["Pendiente", "Pending"])
            values = {"project_id": project["id"], "status": status, "priority": priority, "title": "T"}
            table = "core_touchup" if is_pin else "core_task"
            key = self.world.add(table, **values, **({} if is_pin else {"is_touchup": True}))
            self.touchups.append({"id": key, "table": table, "is_open": True, **values})
        for touchup in self.touchups:
            if touchup["is_open"] and chance.random() < 0.08:
                new = chance.choice([CLOSED, STARTED]).get(touchup["status"], "Completed")
                new = "closed" if touchup["table"] == "core_touchup" and new == "Completed" else new
                is_open = new in STARTED.values()
                self.change(touchup["table"], touchup, status=new)
                touchup["is_open"] = is_open
        for project in chance.sample(self.projects, 2):
            day = today + timedelta(days=chance.randrange(-4, 4))
            if any(plan["project_id"] == project["id"] and plan["plan_date"] == day for plan in self.plans):
                continue
            creator = chance.choice([*(user["id"] for user in self.users), None])
            due = datetime.combine(day - timedelta(days=1), time(17), ZoneInfo(ZONE))
            key = self.world.plan(project["id"], day.isoformat(), creator)
            plan = {"id": key, "project_id": project["id"], "plan_date": day, "creator": creator, "due": due}
            self.plans.append({**plan, "status": "DRAFT"})
        for plan in self.plans:
            if chance.random() < 0.1:
                self.change("core_dailyplan", plan, status="PUBLISHED")
        for item in self.items:
            have = D(chance.randrange(0, 1200)) / 100
            self.world.sql("UPDATE core_projectinventory SET quantity = ? WHERE item_id = ?", have, item["id"])
            item["have"] = have
        if chance.random() < 0.3:
            user = chance.choice(self.users[1:])
            self.change("auth_user", user, is_active=not user["is_active"])
        if self.is_new and chance.random() < 0.2:
            self.change("core_project", chance.choice(self.projects), is_archived=chance.random() < 0.7)

    # ---- what the jobs should tell

    def expect(self, kind: str, today: date, now: datetime) -> Told:
        notices = {STOCK: self.stock, TOUCHUPS: self.sites, PLANS: self.late}[kind](today, now)
        admins = {user["id"] for user in self.users if user["is_staff"]}
        active = {user["id"] for user in self.users if user["is_active"]}
        news: dict[int, list[int]] = {}
        for subject, others in notices:
            for person in (admins | others) & active:
                if (kind, today, subject, person) not in self.told:
                    self.told.add((kind, today, subject, person))
                    news.setdefault(person, []).append(subject)
                    if kind == PLANS:
                        self.known_plans.add(subject)
        told: Told = Counter()
        for person, subjects in news.items():
            told.update([(person, None)] if len(subjects) > MOST else [(person, s or None) for s in subjects])
        return told

    def is_active(self, project_id: int, today: date) -> bool:
        (project,) = [project for project in self.projects if project["id"] == project_id]
        return (project["end_date"] is None or project["end_date"] >= today) and not project["is_archived"]

    def stock(self, _today: date, _now: datetime) -> list[tuple[int, set[int]]]:
        return [(0, set())] if any(item["need"] and item["have"] < item["need"] for item in self.items) else []

    def sites(self, today: date, _now: datetime) -> list[tuple[int, set[int]]]:
        counts = Counter(t["project_id"] for t in self.touchups if t["is_open"] and t["priority"] != "low")
        return [
            (project, {pair["user"] for pair in self.managers if pair["project"] == project})
            for project, count in counts.items()
            if count >= 3 and self.is_active(project, today)
        ]

    def late(self, today: date, now: datetime) -> list[tuple[int, set[int]]]:
        return [
            (plan["id"], {plan["creator"]} - {None})
            for plan in self.plans
            if plan["status"] == "DRAFT" and plan["due"] < now and self.is_active(plan["project_id"], today)
            if plan["plan_date"] >= today or plan["id"] not in self.known_plans
        ]


def test_two_weeks(world: World) -> None:
    world.environment["KIBRAY_OPS_NOTIFY_MAX_PER_RECIPIENT"] = str(MOST)
    office = Office(world, random.Random(1))
    seen, kinds = 0, set()
    for offset in range(DAYS):
        today = START + timedelta(days=offset)
        office.live(today)
        jobs = [(STOCK, "08:00"), (TOUCHUPS, "09:00"), (PLANS, "17:15")]
        again = office.chance.choice(jobs)
        for job, hour in [*jobs, (again[0], "18:00")]:
            now = datetime.combine(today, time.fromisoformat(hour), ZoneInfo(ZONE))
            expected = office.expect(job, today, now)
            report = world.execute(job, at=f"{today}T{hour}")
            assert report.exit_code == 0, report.traceback
            rows = world.rows("core_notification")[seen:]
            seen += len(rows)
            assert Counter((row["user_id"], row["related_object_id"]) for row in rows) == expected, (job, today)
            kinds |= {(job, row["related_object_id"] is None) for row in rows}
    assert kinds == {(STOCK, True), *((job, is_summary) for job in (TOUCHUPS, PLANS) for is_summary in (True, False))}
