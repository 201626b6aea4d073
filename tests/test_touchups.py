"""Projects with many urgent touch-ups: which, who hears of them, and how often."""

from datetime import UTC, date, datetime
from typing import Any

import pytest

from kibray_ops.report import Report
from tests.here import here
from tests.world import AWKWARD, World, done, told

TOUCHUPS = "alert-high-priority-touchups"
TODAY = "2025-11-24T09:00"


def kinds(report: Report) -> list[tuple[str, str]]:
    return [(problem.kind, problem.subject) for problem in report.problems]


def site(world: World, touchups: int = 3, name: str = "Elm St", **columns: Any) -> int:
    project = world.project(name, **columns)
    for _ in range(touchups):
        world.touchup(project)
    return project


def pin(world: World, project: int, status: str = "open", priority: str = "high") -> None:
    values = {"title": "Pin", "created_at": datetime(2025, 11, 1, tzinfo=UTC)}
    world.add("core_touchup", project_id=project, status=status, priority=priority, **values)


# ---- which projects


def test_every_project_at_the_threshold_alerts(world: World) -> None:
    owner = world.office()
    sites = [site(world, count, f"P{count}") for count in (5, 2, 3, 0, 4, 1)]
    report = done(world.execute(TOUCHUPS, at=TODAY))
    reached = [sites[0], sites[2], sites[4]]
    assert told(world) == [(owner, project) for project in sorted(reached)]
    assert report.result == {
        "date": date(2025, 11, 24), "alerts_sent": 3, "threshold": 3, "projects": 3, "touchups": 12,
        "notifications": 3, "summaries": 0, "recipients": 1,
    }  # fmt: skip
    assert [(row["project"], row["touchups"]) for row in report.rows] == [("P5", 5), ("P4", 4), ("P3", 3)]


def test_which_tasks_count(world: World) -> None:
    """Every project has two that count, and one in question."""
    world.office()
    counting = [
        *({"status": word} for word in ("Pendiente", "En Progreso", "Pending", "In Progress")),
        *({"priority": word} for word in ("high", "urgent")),
    ]
    others = [
        *({"status": word} for word in ("Completada", "Cancelada", "Under Review", "Completed", "Cancelled")),
        *({"priority": word} for word in ("low", "medium")),
        {"is_touchup": False},
    ]
    for columns in (*counting, *others):
        world.touchup(site(world, 2, str(columns)), **columns)
    report = done(world.execute(TOUCHUPS, at=TODAY))
    assert {row["project"] for row in report.rows} == set(map(str, counting))
    assert "unknown_status" not in [kind for kind, _ in kinds(report)]


def test_touchups_of_the_later_schema_count_beside_tasks(newest: World) -> None:
    newest.office()
    counts = {
        **{(status, "urgent"): True for status in ("open", "in_progress", "review")},
        ("closed", "urgent"): False,
        ("open", "low"): False,
        ("open", "medium"): False,
    }
    for status, priority in counts:
        pin(newest, site(newest, 2, f"{status} {priority}"), status, priority)
    report = done(newest.execute(TOUCHUPS, at=TODAY))
    assert {row["project"] for row in report.rows} == {" ".join(pinned) for pinned, does in counts.items() if does}
    for row in report.rows:
        assert (row["touchups"], row["urgent"], row["high"], row["oldest_days"]) == (3, 1, 2, 24)


def test_a_project_that_has_ended_does_not_alert(world: World) -> None:
    world.office()
    goes_on = [site(world, 3, end_date=end) for end in (None, date(2025, 11, 24), date(2026, 1, 1))]
    site(world, 3, end_date=date(2025, 11, 23))
    report = done(world.execute(TOUCHUPS, at=TODAY))
    assert sorted(row["project_id"] for row in report.rows) == goes_on


def test_an_archived_project_does_not_alert(newest: World) -> None:
    newest.office()
    site(newest, 3, is_archived=True)
    report = done(newest.execute(TOUCHUPS, at=TODAY))
    assert (report.rows, told(newest)) == ([], [])


def test_the_threshold_comes_from_the_option_or_the_settings(newest: World) -> None:
    newest.office()
    for count in (2, 4):
        site(newest, count)
    assert done(newest.execute(TOUCHUPS, dry_run=True)).result["projects"] == 1
    assert done(newest.execute(TOUCHUPS, dry_run=True, threshold=1)).result["projects"] == 2
    newest.environment["KIBRAY_OPS_TOUCHUP_THRESHOLD"] = "5"
    assert done(newest.execute(TOUCHUPS, dry_run=True)).result["projects"] == 0
    assert done(newest.execute(TOUCHUPS, dry_run=True, threshold=4)).result["threshold"] == 4


@pytest.mark.parametrize("word", ["0", "-1", "many", "10001", "3.5", ""])
def test_a_threshold_that_is_none_is_refused(word: str, sqlite_world: World) -> None:
    refused = here(sqlite_world, "touchups", "alert", f"--threshold={word}")
    assert refused.returncode == 2
    assert len(refused.stderr.splitlines()) == 2
    assert refused.stdout == ""


# ---- who


def test_managers_and_admins_are_told_each_once(world: World) -> None:
    admin = world.user("admin")
    both = world.user("both")
    manager, spanish, gone = (world.user(name, staff=False) for name in ("pm", "jefe", "viewer"))
    left = world.user("left", staff=False, active=False)
    world.add("core_profile", user_id=spanish, language="es")
    elm, oak = site(world, 3, "Elm"), site(world, 3, "Oak")
    for user in (both, manager, left):
        world.manages(user, elm)
    world.manages(spanish, oak)
    world.manages(gone, elm, role="viewer")
    world.add("core_clientprojectaccess", user_id=world.user("owner", staff=False), project_id=oak, role="owner")
    expected = [(admin, elm), (admin, oak), (both, elm), (both, oak), (manager, elm), (spanish, oak)]
    if world.version == "2026-06":
        assigned = world.user("assigned", staff=False)
        for user in (assigned, manager, admin, left):
            world.add("core_projectmanagerassignment", project_id=elm, pm_id=user)
        expected.append((assigned, elm))
    report = done(world.execute(TOUCHUPS, at=TODAY))
    assert told(world) == sorted(expected)
    assert report.problems == []
    assert report.result["alerts_sent"] == len(expected)
    rows = {(row["user_id"], row["related_object_id"]): row for row in world.rows("core_notification")}
    assert rows[manager, elm]["title"] == "3 high-priority touch-ups open: Elm"
    assert rows[spanish, oak]["title"] == "3 retoques prioritarios sin terminar: Oak"
    spoken = "Urgentes: 0, de prioridad alta: 3; el más antiguo lleva 4 días abierto.\n- Drip (alta, 4 días)\n"
    assert rows[spanish, oak]["message"].startswith(spoken)
    for (_, project), row in rows.items():
        fixed = {
            "notification_type": "task_alert", "related_object_type": "project", "is_read": False,
            "link_url": f"/projects/{project}/touchups/",
        }  # fmt: skip
        fixed |= {"project_id": project} if world.version == "2026-06" else {}
        assert {name: row[name] for name in fixed} == fixed


@pytest.mark.parametrize("off", ["is_active", "receive_notifications"])
def test_an_access_that_is_off_or_silent_does_not_count(off: str, newest: World) -> None:
    admin = newest.user("admin")
    quiet, assigned = newest.user("quiet", staff=False), newest.user("assigned", staff=False)
    elm = site(newest)
    newest.manages(quiet, elm, **{off: False})
    newest.manages(admin, elm, **{off: False})
    report = done(newest.execute(TOUCHUPS, at=TODAY))
    assert told(newest) == [(admin, elm)]
    assert kinds(report) == [("no_manager", "Elm St")]
    newest.add("core_projectmanagerassignment", project_id=elm, pm_id=assigned)
    report = done(newest.execute(TOUCHUPS, at=TODAY))
    assert told(newest) == [(admin, elm), (assigned, elm)]
    assert report.problems == []


def test_no_admin_and_no_manager_are_named(world: World) -> None:
    elm, oak = site(world, 3, "Elm"), site(world, 3, "Oak")
    manager = world.user("pm", staff=False)
    world.manages(manager, elm)
    report = done(world.execute(TOUCHUPS, at=TODAY))
    assert kinds(report) == [("no_admins", "touch-ups"), ("no_manager", "Oak")]
    assert told(world) == [(manager, elm)]
    admin = world.user("admin")
    done(world.execute(TOUCHUPS, at=TODAY))
    assert told(world) == sorted([(manager, elm), (admin, elm), (admin, oak)])


# ---- how often


def test_once_a_day(world: World) -> None:
    owner = world.office()
    elm = site(world)
    for at, count in (("24T09:00", 1), ("24T23:30", 1), ("25T00:30", 2), ("25T09:00", 2)):
        world.touchup(elm)
        done(world.execute(TOUCHUPS, at=f"2025-11-{at}"))
        assert told(world) == [(owner, elm)] * count


def test_a_project_that_reaches_the_threshold_later_on_the_day_is_told(newest: World) -> None:
    owner = newest.office()
    elm, oak = site(newest, 3), site(newest, 2)
    done(newest.execute(TOUCHUPS, at=TODAY))
    newest.touchup(oak)
    done(newest.execute(TOUCHUPS, at=TODAY))
    assert told(newest) == [(owner, elm), (owner, oak)]


@pytest.mark.parametrize(("count", "summed"), [(10, False), (11, True)])
def test_whoever_has_very_many_to_hear_of_gets_a_summary(count: int, summed: bool, world: World) -> None:
    admin, manager = world.user("admin"), world.user("pm", staff=False)
    sites = [site(world, 3, f"Site {number}") for number in range(count)]
    world.manages(manager, sites[0])
    report = done(world.execute(TOUCHUPS, at=TODAY))
    theirs = [(admin, 0)] if summed else [(admin, project) for project in sites]
    assert told(world) == sorted([*theirs, (manager, sites[0])])
    assert report.result["alerts_sent"] == len(theirs) + 1
    assert len(world.rows("kibray_ops_alert")) == count + 1
    if summed:
        (row,) = [row for row in world.rows("core_notification") if row["user_id"] == admin]
        assert row["title"] == "11 projects have 33 high-priority touch-ups open"
        line = "\n- Site 0: 3 high-priority touch-ups (0 urgent), the oldest open for 4 days\n"
        assert line in row["message"]
        assert row["message"].count("\n- Site") == 5
        assert row["message"].endswith("\nand 6 more.")
        assert row["link_url"] == "/projects/"
        assert row.get("project_id") is None
    before = world.rows("core_notification")
    assert done(world.execute(TOUCHUPS, at=TODAY)).result["alerts_sent"] == 0
    assert world.rows("core_notification") == before


def test_a_summary_is_in_the_language_of_its_reader(sqlite_world: World) -> None:
    spanish = sqlite_world.user("jefe", staff=False)
    sqlite_world.add("core_profile", user_id=spanish, language="es")
    sqlite_world.environment["KIBRAY_OPS_NOTIFY_MAX_PER_RECIPIENT"] = "1"
    for count in (3, 1):
        project = site(sqlite_world, count, f"Site {count}")
        sqlite_world.touchup(project, "urgent", created_at=datetime(2025, 11, 20, 12, tzinfo=UTC))
        sqlite_world.manages(spanish, project)
    done(sqlite_world.execute(TOUCHUPS, at=TODAY, threshold=2))
    (row,) = sqlite_world.rows("core_notification")
    assert row["title"] == "2 proyectos tienen 6 retoques prioritarios sin terminar"
    line = "\n- Site 3: 4 retoques prioritarios (urgentes: 1), el más antiguo abierto hace 4 días\n"
    assert line in row["message"]


# ---- what is said


def test_the_text_names_the_most_urgent_five(world: World) -> None:
    """Days are those of the business zone: 06:59 in UTC is still the day before in Denver."""
    world.office()
    elm = site(world, 3)
    world.touchup(elm, "urgent", title="Newest", created_at=datetime(2025, 11, 24, 7, tzinfo=UTC))
    world.touchup(elm, "urgent", title="Newer", created_at=datetime(2025, 11, 24, 6, 59, tzinfo=UTC))
    world.touchup(elm, "urgent", title="Older", created_at=datetime(2025, 11, 2, 12, tzinfo=UTC))
    world.touchup(elm, title="Oldest", created_at=datetime(2025, 10, 25, 12, tzinfo=UTC))
    report = done(world.execute(TOUCHUPS, at=TODAY))
    (row,) = world.rows("core_notification")
    assert row["title"] == "7 high-priority touch-ups open: Elm St"
    assert row["message"] == (
        "3 urgent, 4 high; the oldest has been open for 30 days.\n"
        "- Older (urgent, 22 days)\n- Newer (urgent, 1 day)\n- Newest (urgent, less than a day)\n"
        "- Oldest (high, 30 days)\n- Drip (high, 4 days)\nand 2 more."
    )
    (line,) = report.rows
    assert [touchup["title"] for touchup in line["first"]] == ["Older", "Newer", "Newest", "Oldest", "Drip"]


def test_touchups_of_one_age_come_in_the_order_of_their_ids(newest: World) -> None:
    newest.office()
    elm = newest.project()
    titles = ["C", "A", "B", "D"]
    for key, title in zip((7, 3, 9, 1), titles, strict=True):
        newest.touchup(elm, id=key, title=title)
    (line,) = done(newest.execute(TOUCHUPS, at=TODAY)).rows
    assert [touchup["title"] for touchup in line["first"]] == ["D", "A", "C", "B"]


def test_what_others_wrote_stands_on_one_line(newest: World) -> None:
    """Or is named by its number where nothing is left of it."""
    newest.office()
    elm = newest.project("Elm\x1b[1m\n2")
    for title in ("Door\x1b[1m\n3", "\n"):
        newest.touchup(elm, title=title)
    newest.touchup(elm, status="odd\x1b[1m\n4", title="Sill\x1b[1m\n5")
    newest.touchup(elm, status="odd", title="")
    report = done(newest.execute(TOUCHUPS, at=TODAY, threshold=1))
    assert [touchup["title"] for touchup in report.rows[0]["first"]] == ["Door [1m 3", "#2"]
    unknown, nameless = [problem for problem in report.problems if problem.kind == "unknown_status"]
    assert nameless.subject == "Elm [1m 2: #4"
    assert unknown.subject == "Elm [1m 2: Sill [1m 5"
    assert "'odd [1m 4'" in unknown.message
    (row,) = newest.rows("core_notification")
    assert row["title"] == "2 high-priority touch-ups open: Elm [1m 2"
    assert row["message"].splitlines()[1:] == ["- Door [1m 3 (high, 4 days)", "- #2 (high, 4 days)"]


def test_the_most_urgent_project_comes_first(newest: World) -> None:
    newest.office()
    many, urgent, old, most = (
        site(newest, 5, "Many"),
        site(newest, 2, "Urgent"),
        site(newest, 5, "Old"),
        newest.project(),
    )
    newest.touchup(urgent, "urgent")
    newest.touchup(old, created_at=datetime(2025, 1, 1, tzinfo=UTC))
    for project in (many, most, most, most):
        newest.touchup(project, "urgent" if project == most else "high")
    report = done(newest.execute(TOUCHUPS, at=TODAY))
    assert [row["project_id"] for row in report.rows] == [most, urgent, old, many]


def test_a_status_that_kibray_does_not_know_is_named(world: World) -> None:
    world.office()
    elm = site(world, 2)
    world.touchup(elm, status="pendiente", title="Door")
    world.touchup(site(world, 0, end_date=date(2025, 1, 1)), status="odd")
    report = done(world.execute(TOUCHUPS, at=TODAY))
    assert kinds(report) == [("unknown_status", "Elm St: Door")]
    assert report.rows == []


def test_moments_at_the_ends_of_the_calendar(newest: World) -> None:
    newest.office()
    for created in (datetime(1, 1, 1, 12, tzinfo=UTC), datetime(9999, 12, 30, tzinfo=UTC)):
        newest.touchup(site(newest, 2), created_at=created)
    first, second = done(newest.execute(TOUCHUPS, at=TODAY)).rows
    assert (first["oldest_days"], second["oldest_days"], second["first"][-1]["days"]) == (739578, 4, 0)


def test_titles_fit_whatever_a_project_is_called(newest: World) -> None:
    newest.office()
    names = {site(newest, 3, name): name for name in AWKWARD}
    for project in names:
        newest.touchup(project, title=("👩‍🎨" * 60)[:200])
    done(newest.execute(TOUCHUPS, at=TODAY))
    rows = {row["related_object_id"]: row["title"] for row in newest.rows("core_notification")}
    assert rows.keys() == names.keys()
    for project, title in rows.items():
        assert len(title) <= 200
        assert title.startswith("4 high-priority touch-ups open: ")
        assert "\n" not in title
        assert "\x1b" not in title
        assert names[project] or title.endswith(f": #{project}")


def test_a_touchup_whose_project_is_gone_ends_nothing(sqlite_world: World) -> None:
    owner = sqlite_world.office()
    elm = site(sqlite_world)
    for status in ("Pending", "Pending", "Completed"):
        sqlite_world.touchup(99, status=status)
    report = done(sqlite_world.execute(TOUCHUPS, at=TODAY))
    assert told(sqlite_world) == [(owner, elm)]
    assert [(p.subject, p.message) for p in report.problems if p.kind == "no_project"] == [
        ("project #99", "is gone; nobody hears of its open touch-ups: 2")
    ]


def test_the_report_is_what_a_manager_wants_to_see(sqlite_world: World) -> None:
    sqlite_world.office()
    elm = site(sqlite_world, 2, "Elm [b]")
    sqlite_world.touchup(elm, "urgent", title="Drips on door [7]")
    sqlite_world.environment["COLUMNS"] = "100"
    shown = here(sqlite_world, "touchups", "alert", "--dry-run", "--as-of", "2025-11-24").stdout
    assert "1 project has 3 or more open; 1 person would get 1 notification." in shown
    (line,) = [line for line in shown.splitlines() if line.startswith("Elm")]
    assert line.split() == ["Elm", "[b]", "3", "1", "2", "4", "days", "·", "1"]
    assert "    urgent, 4 days: Drips on door [7]; high, 4 days: Drip; high, 4 days: Drip" in shown
    assert "Elm [b]: has no manager to be told" in shown
