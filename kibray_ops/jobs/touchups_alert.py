"""kibray-ops touchups alert: which projects have many touch-ups that should not wait, told once a day."""

from collections.abc import Sequence
from datetime import date, datetime
from itertools import groupby
from operator import attrgetter
from typing import Annotated, Any

import typer
from sqlalchemy import BigInteger, Row, Select, Subquery, Table, case, false, func, select, true, union_all
from sqlmodel import col

from kibray_ops import alerts, projects
from kibray_ops.alerts import Notice, Recipient, Topic
from kibray_ops.bulk import given
from kibray_ops.catalog import table_of
from kibray_ops.job import Outcome, Problem, Run, called, warnings
from kibray_ops.messages import NAMED, ProjectTouchUps, TouchUp
from kibray_ops.models.kibray import work
from kibray_ops.models.kibray.people import User
from kibray_ops.projects import PROJECTS
from kibray_ops.text import printable

TASKS, PINS = table_of(work.Task), table_of(work.TouchUp)
URGENT, HIGH = "urgent", "high"
OPEN_TASK = ("Pendiente", "En Progreso", "Pending", "In Progress")
OTHER_TASK = ("Completada", "Cancelada", "Under Review", "Completed", "Cancelled")
OPEN_PIN = ("open", "in_progress", "review")
OTHER_PIN = ("closed",)
TOPIC: Topic[ProjectTouchUps] = Topic(
    kind="touchups",
    notification_type="task_alert",
    related_object_type="project",
    one=lambda texts, found: texts.touchups(found),
    many=lambda texts, found: texts.touchups_of_projects(found),
    link="/projects/",
)


def alert(
    run: Run,
    threshold: Annotated[
        int | None,
        typer.Option(
            metavar="COUNT", min=1, max=10_000, help="Touch-ups that make an alert; default: TOUCHUP_THRESHOLD."
        ),
    ] = None,
) -> Outcome:
    """Tell managers about projects with many urgent touch-ups.

    Open touch-ups of urgent or high priority count, in every active project. The project's managers and all admins hear
    of a project that reaches the threshold, once a day; somebody with very many to hear of gets one summary.
    """
    least: int = threshold or run.settings["TOUCHUP_THRESHOLD"]
    found = _read(run, least)
    admins, missing = alerts.admins(run, "touch-ups")
    managers = _managers(run, [site.project_id for site in found])
    odd = [*_unknown(run), *_orphaned(run)]
    notices = [_notice(site, admins | managers.get(site.project_id, {}), run.business_date) for site in found]
    planned = alerts.plan(run, TOPIC, notices)
    if not run.dry_run:
        alerts.tell(run, planned)
    counts = planned.counts()
    unmanaged = [
        (site.project, "has no manager to be told, only admins are")
        for site in found
        if site.project_id not in managers
    ]
    return Outcome(
        result={
            "date": run.business_date,
            "alerts_sent": counts["notifications"],
            "threshold": least,
            "projects": len(found),
            "touchups": sum(site.total for site in found),
            **counts,
        },
        rows=[
            {
                "project_id": site.project_id,
                "project": site.project,
                "touchups": site.total,
                "urgent": site.urgent,
                "high": site.high,
                "oldest_days": site.oldest,
                "managers": len(managers.get(site.project_id, {})),
                "told_to": told_to,
                "first": [touchup._asdict() for touchup in site.first],
            }
            for site, told_to in zip(found, planned.told_to, strict=True)
        ],
        problems=[*missing, *warnings("no_manager", unmanaged, "projects"), *odd],
    )


def _pressing(run: Run) -> Subquery:
    """Return all touch-ups of urgent or high priority; `is_open` is NULL for those in a state that Kibray has not."""

    def of(table: Table, opened: tuple[str, ...], others: tuple[str, ...]) -> Select[Any]:
        columns = (table.c[name] for name in ("id", "project_id", "title", "priority", "status", "created_at"))
        is_open = case((table.c.status.in_(opened), true()), (table.c.status.in_(others), false()))
        return select(*columns, is_open.label("is_open")).where(table.c.priority.in_((URGENT, HIGH)))

    each = [of(TASKS, OPEN_TASK, OTHER_TASK).where(TASKS.c.is_touchup)]
    if run.catalog.has(PINS.name):
        each.append(of(PINS, OPEN_PIN, OTHER_PIN))
    return union_all(*each).subquery("touchup")


def _read(run: Run, least: int) -> list[ProjectTouchUps]:
    """Return the active projects that reach the threshold, the most urgent first.

    Each with the few touch-ups that a text names: urgent ones first, then the oldest.
    """
    touchup = _pressing(run)
    is_urgent = case((touchup.c.priority == URGENT, 1), else_=0)
    order = (is_urgent.desc(), touchup.c.created_at, touchup.c.id)
    site = touchup.c.project_id
    ranked = (
        select(
            touchup,
            PROJECTS.c.name,
            func.count().over(partition_by=site).label("total"),
            func.sum(is_urgent).over(partition_by=site).label("urgent"),
            func.min(touchup.c.created_at).over(partition_by=site).label("oldest"),
            func.row_number().over(partition_by=site, order_by=order).label("place"),
        )
        .join(PROJECTS, PROJECTS.c.id == touchup.c.project_id)
        .where(touchup.c.is_open, projects.is_active(run.catalog, run.business_date))
        .subquery("ranked")
    )
    first = select(ranked).where(ranked.c.total >= least, ranked.c.place <= NAMED)
    rows = run.session.execute(first.order_by(ranked.c.project_id, ranked.c.place))
    found = [_project(run, list(lines)) for _, lines in groupby(rows, attrgetter("project_id"))]
    return sorted(found, key=lambda site: (-site.urgent, -site.total, -site.oldest, site.project_id))


def _project(run: Run, lines: Sequence[Row[Any]]) -> ProjectTouchUps:
    site = lines[0]
    return ProjectTouchUps(
        project_id=site.project_id,
        project=called(site.name, site.project_id),
        total=site.total,
        urgent=site.urgent,
        oldest=_days(run, site.oldest),
        first=tuple(TouchUp(called(line.title, line.id), line.priority, _days(run, line.created_at)) for line in lines),
    )


def _managers(run: Run, ids: Sequence[int]) -> dict[int, dict[int, Recipient]]:
    """Return the active managers of projects, by project and by id."""
    manager = projects.managers(run.catalog)
    people = alerts.recipients(run, col(User.id).in_(select(manager.c.user_id)))
    found: dict[int, dict[int, Recipient]] = {}
    wanted = given(run.session, {"id": BigInteger()}, [{"id": key} for key in ids])
    statement = select(manager).where(manager.c.project_id.in_(select(wanted.c.id)))
    for project_id, user_id in run.session.execute(statement):
        if user_id in people:
            found.setdefault(project_id, {})[user_id] = people[user_id]
    return found


def _days(run: Run, since: datetime) -> int:
    return max((run.business_date - run.clock.local(since).date()).days, 0)


def _notice(site: ProjectTouchUps, people: dict[int, Recipient], on: date) -> Notice[ProjectTouchUps]:
    return Notice(
        recipients=tuple(people.values()),
        subject_id=site.project_id,
        subject_date=on,
        item=site,
        link=f"/projects/{site.project_id}/touchups/",
        project_id=site.project_id,
    )


def _unknown(run: Run) -> list[Problem]:
    """Return the touch-ups in a state that Kibray has not: nobody can tell whether they are open."""
    touchup = _pressing(run)
    statement = (
        select(PROJECTS.c.id, PROJECTS.c.name, touchup.c.id.label("touchup_id"), touchup.c.title, touchup.c.status)
        .join(touchup, touchup.c.project_id == PROJECTS.c.id)
        .where(touchup.c.is_open.is_(None), projects.is_active(run.catalog, run.business_date))
        .order_by(PROJECTS.c.id, touchup.c.id)
    )
    odd = [
        (
            f"{called(row.name, row.id)}: {called(row.title, row.touchup_id)}",
            f"has the status {printable(row.status)!r}, which Kibray does not know; it is not counted",
        )
        for row in run.session.execute(statement)
    ]
    return warnings("unknown_status", odd, "touch-ups")


def _orphaned(run: Run) -> list[Problem]:
    """Return a warning for each project that is gone though touch-ups of it are open, which SQLite lets happen."""
    touchup = _pressing(run)
    statement = (
        select(touchup.c.project_id, func.count())
        .outerjoin(PROJECTS, PROJECTS.c.id == touchup.c.project_id)
        .where(touchup.c.is_open, PROJECTS.c.id.is_(None))
        .group_by(touchup.c.project_id)
        .order_by(touchup.c.project_id)
    )
    gone = [
        (f"project {called(None, project_id)}", f"is gone; nobody hears of its open touch-ups: {count}")
        for project_id, count in run.session.execute(statement)
    ]
    return warnings("no_project", gone, "projects")
