"""Daily plans that are drafts past their deadline: who hears of which, daily or once ever."""

from datetime import UTC, date, datetime, timedelta

import pytest

from tests.here import here
from tests.world import AWKWARD, World, done, told

PLANS = "alert-incomplete-daily-plans"
NOW = "2025-11-24T17:15"
TOMORROW = "2025-11-25"


# ---- which plans


def test_a_deadline_is_a_moment(world: World) -> None:
    """17:15 in Denver is 00:15 of the next day in UTC: a comparison of dates would be a day off."""
    world.office()
    project = world.project()
    plans = {}
    for day, (hour, minute) in enumerate(((0, 0), (17, 14), (17, 15), (17, 16)), 25):
        due = datetime(2025, 11, 24, hour, minute, tzinfo=UTC) + timedelta(hours=7)
        plans[world.plan(project, f"2025-11-{day}", completion_deadline=due)] = (hour, minute)
    report = done(world.execute(PLANS, at=NOW))
    assert [plans[row["plan_id"]] for row in report.rows] == [(0, 0), (17, 14)]


def test_only_drafts(world: World) -> None:
    world.office()
    states = ("DRAFT", "PUBLISHED", "IN_PROGRESS", "COMPLETED", "SKIPPED")
    plans = [world.plan(world.project(), TOMORROW, status=status) for status in states]
    assert [row["plan_id"] for row in done(world.execute(PLANS, at=NOW)).rows] == plans[:1]


def test_projects_that_have_ended_are_left_alone(world: World) -> None:
    world.office()
    world.plan(world.project("Ended", end_date=date(2025, 11, 23)), "2025-11-20")
    world.plan(world.project("Ends", end_date=date(2025, 11, 24)), TOMORROW)
    left = 1
    if world.version == "2026-06":
        world.plan(world.project("Archived", is_archived=True), TOMORROW)
        left = 2
    report = done(world.execute(PLANS, at=NOW))
    assert [row["project"] for row in report.rows] == ["Ends"]
    assert (report.result["left_alone"], report.result["late"]) == (left, 1)


# ---- who


def test_the_creator_and_admins_are_told_each_once(world: World) -> None:
    admin, planner = world.user("admin"), world.user("planner")
    foreman, left = world.user("foreman", staff=False), world.user("left", staff=False, active=False)
    world.add("core_profile", user_id=foreman, language="es")
    world.user("painter", staff=False)
    world.sql("UPDATE auth_user SET first_name = 'Fay', last_name = 'Orr' WHERE id = ?", foreman)
    creators = {
        world.plan(world.project(f"P{n}"), TOMORROW, who): who for n, who in enumerate((foreman, planner, left, None))
    }
    report = done(world.execute(PLANS, at=NOW))
    expected = [(user, plan) for plan in creators for user in (admin, planner)]
    (of_foreman,) = [plan for plan, who in creators.items() if who == foreman]
    assert told(world) == sorted([*expected, (foreman, of_foreman)])
    assert (report.result["alerted"], report.result["notifications"], report.result["recipients"]) == (4, 9, 3)
    assert report.problems == []
    assert [row["created_by"] for row in report.rows] == ["Fay Orr", "planner", "left", ""]
    (row,) = [row for row in world.rows("core_notification") if row["user_id"] == foreman]
    assert row["title"] == "El plan diario del 2025-11-25 sigue en borrador: P0"
    assert row["message"] == (
        "El plan de P0 para el 2025-11-25 debía completarse a más tardar el 2025-11-24 a las 17:00, hace 15 minutos."
    )
    (row,) = [
        row
        for row in world.rows("core_notification")
        if (row["user_id"], row["related_object_id"]) == (admin, of_foreman)
    ]
    assert row["title"] == "The daily plan for 2025-11-25 is still a draft: P0"
    assert row["message"] == (
        "The plan of P0 for 2025-11-25 should have been complete by 2025-11-24 17:00, 15 minutes ago."
    )
    fixed = {
        "notification_type": "alert", "related_object_type": "daily_plan", "is_read": False,
        "link_url": f"/daily-plan/{of_foreman}/edit/",
    }  # fmt: skip
    fixed |= {"project_id": 1} if world.version == "2026-06" else {}
    assert {name: row[name] for name in fixed} == fixed


def test_without_an_admin_the_creator_hears_and_nothing_is_lost(world: World) -> None:
    foreman = world.user("foreman", staff=False)
    mine, nobodys = (world.plan(world.project(), TOMORROW, who) for who in (foreman, None))
    report = done(world.execute(PLANS, at=NOW))
    assert [(problem.kind, problem.subject) for problem in report.problems] == [("no_admins", "daily plans")]
    assert told(world) == [(foreman, mine)]
    assert report.result["alerted"] == 1
    admin = world.user("admin")
    done(world.execute(PLANS, at=NOW))
    assert told(world) == sorted([(foreman, mine), (admin, mine), (admin, nobodys)])


# ---- how often


def test_daily_until_its_day_has_passed(world: World) -> None:
    owner = world.office()
    plan = world.plan(world.project(), "2025-11-26")
    days = (
        ("24T17:15", 0), ("25T17:00", 0), ("25T17:15", 1), ("25T23:59", 1), ("26T00:10", 2), ("26T17:15", 2),
        ("27T00:10", 2), ("27T17:15", 2), ("28T17:15", 2),
    )  # fmt: skip
    for at, count in days:
        report = done(world.execute(PLANS, at=f"2025-11-{at}"))
        assert told(world) == [(owner, plan)] * count, at
    assert (report.result["told_before"], report.rows) == (1, [])


def test_an_old_draft_is_told_once_ever_and_only_if_nobody_was_told(world: World) -> None:
    owner = world.office()
    foreman = world.user("foreman", staff=False)
    plan = world.plan(world.project(), "2025-11-20", foreman)
    for day in (24, 24, 25, 26):
        done(world.execute(PLANS, at=f"2025-11-{day}T17:15"))
        assert told(world) == [(owner, plan), (foreman, plan)]
    world.user("new admin")
    assert done(world.execute(PLANS, at="2025-11-27T17:15")).result["alerted"] == 0
    # Its day is moved to the future: it is an open plan again.
    due = datetime(2025, 11, 28, tzinfo=UTC)
    world.sql("UPDATE core_dailyplan SET plan_date = ?, completion_deadline = ?", date(2025, 11, 29), due)
    assert done(world.execute(PLANS, at="2025-11-28T17:15")).result["notifications"] == 3


def test_the_first_run_on_an_old_database_gives_each_one_summary(world: World) -> None:
    owner, spanish, few = world.office(), world.user("paz", staff=False), world.user("few", staff=False)
    world.add("core_profile", user_id=spanish, language="es")
    project = world.project()
    model = world.plan(project, "2020-01-01", spanish)
    columns = [name for name in world.rows("core_dailyplan")[0] if name not in ("id", "plan_date", "project_id")]
    day = {"sqlite": "date('2020-01-01', '+' || n.i || ' days')", "postgresql": "date '2020-01-01' + n.i"}[world.engine]
    world.sql(
        f"INSERT INTO core_dailyplan (plan_date, project_id, {', '.join(columns)}) WITH RECURSIVE n(i) AS (SELECT 1 "
        f"UNION ALL SELECT i + 1 FROM n WHERE i < 1999) SELECT {day}, {project}, "
        f"{', '.join('c.' + name for name in columns)} FROM core_dailyplan c, n WHERE c.id = {model}"
    )
    mine = world.plan(project, TOMORROW, few)
    dry = done(world.execute(PLANS, at=NOW, dry_run=True))
    report = done(world.execute(PLANS, at=NOW))
    assert (dry.result, dry.rows) == (report.result, report.rows)
    assert (report.result["notifications"], report.result["summaries"], report.result["alerted"]) == (3, 2, 2001)
    assert told(world) == sorted([(owner, 0), (spanish, 0), (few, mine)])
    rows = {row["user_id"]: row for row in world.rows("core_notification")}
    assert rows[owner]["title"] == "2,001 daily plans are still drafts, past their deadline"
    assert "\n- 2025-11-25 Elm St: 15 minutes late\n- 2025-06-22 Elm St: 2,1" in rows[owner]["message"]
    assert rows[owner]["message"].count("\n- ") == 5
    assert rows[owner]["message"].endswith("\nand 1,996 more.")
    assert "\n- 2025-06-21 Elm St: 2,155 días de retraso\n" in rows[spanish]["message"]
    assert rows[spanish]["title"] == "2,000 planes diarios siguen en borrador con el plazo vencido"
    assert rows[owner]["link_url"] == "/planning/list/"
    again = done(world.execute(PLANS, at=NOW))
    assert (again.result["notifications"], again.result["told_before"]) == (0, 2000)
    later = done(world.execute(PLANS, at="2025-11-25T17:15"))
    assert (later.result["notifications"], later.result["alerted"]) == (2, 1)


def test_a_dry_run_before_db_init_tells_of_everything(bare: World) -> None:
    bare.office()
    bare.plan(bare.project(), "2025-11-20")
    assert done(bare.execute(PLANS, at=NOW, dry_run=True)).result["alerted"] == 1


def test_another_alert_of_the_same_number_does_not_silence_a_plan(newest: World) -> None:
    owner = newest.office()
    project = newest.project()
    for _ in range(3):
        newest.touchup(project)
    done(newest.execute("alert-high-priority-touchups", at=NOW))
    plan = newest.plan(project, "2025-11-20")
    assert plan == project
    done(newest.execute(PLANS, at=NOW))
    assert [(row["user_id"], row["related_object_type"]) for row in newest.rows("core_notification")] == [
        (owner, "project"), (owner, "daily_plan")
    ]  # fmt: skip


def test_today_and_later_come_first_then_the_newest(newest: World) -> None:
    newest.office()
    early = datetime(2025, 11, 1, tzinfo=UTC)
    for day in ("2025-11-20", "2025-11-23", "2025-11-27", "2025-11-24"):
        newest.plan(newest.project(), day, completion_deadline=early)
    report = done(newest.execute(PLANS, at=NOW))
    assert [(str(row["plan_date"]), row["repeats"]) for row in report.rows] == [
        ("2025-11-24", True), ("2025-11-27", True), ("2025-11-23", False), ("2025-11-20", False),
    ]  # fmt: skip


def test_a_draft_told_before_whose_project_has_ended_counts_once(world: World) -> None:
    world.office()
    project = world.project()
    world.plan(project, "2025-11-20")
    done(world.execute(PLANS, at=NOW))
    world.sql("UPDATE core_project SET end_date = ?", date(2025, 11, 1))
    report = done(world.execute(PLANS, at=NOW))
    assert (report.result["told_before"], report.result["left_alone"]) == (0, 1)


# ---- what is odd


def test_a_plan_whose_project_is_gone_is_told_and_named(sqlite_world: World) -> None:
    owner = sqlite_world.office()
    plan = sqlite_world.plan(99, TOMORROW)
    report = done(sqlite_world.execute(PLANS, at=NOW))
    assert told(sqlite_world) == [(owner, plan)]
    assert [(p.kind, p.subject, p.message) for p in report.problems] == [
        ("no_project", f"plan {plan} for 2025-11-25", "project #99 is gone")
    ]
    (row,) = sqlite_world.rows("core_notification")
    assert (row["project_id"], row["title"]) == (None, "The daily plan for 2025-11-25 is still a draft: #99")


def test_a_creator_who_is_gone_ends_nothing(sqlite_world: World) -> None:
    owner = sqlite_world.office()
    plan = sqlite_world.plan(sqlite_world.project(), TOMORROW, 99)
    done(sqlite_world.execute(PLANS, at=NOW))
    assert told(sqlite_world) == [(owner, plan)]


def test_what_others_wrote_stands_on_one_line(newest: World) -> None:
    newest.office()
    planner = newest.user("plan\x1b[1mner", staff=False)
    newest.plan(newest.project("Elm\x1b[1m\n2"), TOMORROW, planner)
    (row,) = done(newest.execute(PLANS, at=NOW)).rows
    assert (row["project"], row["created_by"]) == ("Elm [1m 2", "plan [1mner")
    newest.sql("UPDATE auth_user SET first_name = ?, last_name = ? WHERE id = ?", "Fay\x1b[1m", "\nOrr", planner)
    (row,) = done(newest.execute(PLANS, at=NOW)).rows
    assert row["created_by"] == "Fay [1m Orr"


def test_minutes_are_whole(newest: World) -> None:
    newest.office()
    newest.plan(newest.project(), TOMORROW, completion_deadline=datetime(2025, 11, 25, 0, 13, 1, tzinfo=UTC))
    (row,) = done(newest.execute(PLANS, at=NOW)).rows
    assert row["late_minutes"] == 1


def test_deadlines_at_the_beginning_of_the_calendar(newest: World) -> None:
    newest.office()
    for deadline in (datetime(1, 1, 1, tzinfo=UTC), datetime(1900, 1, 1, tzinfo=UTC)):
        newest.plan(newest.project(), TOMORROW, completion_deadline=deadline)
    first, second = done(newest.execute(PLANS, at=NOW)).rows
    assert first["late_minutes"] > 1_000_000_000
    assert second["late_minutes"] > 60_000_000


def test_titles_fit_whatever_a_project_is_called(newest: World) -> None:
    newest.office()
    for name in AWKWARD:
        newest.plan(newest.project(name), TOMORROW)
    done(newest.execute(PLANS, at=NOW))
    titles = [row["title"] for row in newest.rows("core_notification")]
    assert len(titles) == len(AWKWARD)
    for title in titles:
        assert len(title) <= 200
        assert title.startswith("The daily plan for 2025-11-25 is still a draft: ")
        assert "\n" not in title
        assert "\x1b" not in title


@pytest.mark.parametrize(
    ("minutes", "words"),
    [(1, "1 minute"), (59, "59 minutes"), (60, "1 hour"), (1439, "23 hours"), (1440, "1 day"), (2880, "2 days")],
)
def test_how_late_is_said_in_whole_units(minutes: int, words: str) -> None:
    from kibray_ops.messages import en

    assert en.lasting(timedelta(minutes=minutes)) == words


def test_the_report_shows_how_late_each_is(sqlite_world: World) -> None:
    foreman = sqlite_world.user("foreman", staff=False)
    sqlite_world.office()
    sqlite_world.plan(sqlite_world.project("Elm [b]"), TOMORROW, foreman)
    sqlite_world.plan(sqlite_world.project("Oak"), "2025-11-20")
    sqlite_world.environment["COLUMNS"] = "100"
    words = ("plans", "alert-incomplete", "--as-of", NOW)
    shown = here(sqlite_world, *words, "--dry-run").stdout
    assert "2 late drafts; 2 people would get 3 notifications." in shown
    lines = [line.split() for line in shown.splitlines() if line.startswith("2025")]
    assert lines == [
        ["2025-11-25", "Elm", "[b]", "2025-11-24", "17:00", "15", "minutes", "foreman", "2", "daily"],
        ["2025-11-20", "Oak", "2025-11-19", "17:00", "5", "days", "1", "never"],
    ]
    here(sqlite_world, *words)
    assert "Left alone: 1 draft whose day has passed, told before." in here(sqlite_world, *words).stdout
