"""kibray-ops touchups alert: which projects have many touch-ups that should not wait, told once a day."""

from collections.abc import Sequence
from datetime import date, datetime
from typing import Annotated, Any

import typer
from sqlalchemy import BigInteger, Select, Subquery, case, func, select, union_all
from sqlmodel import col

from kibray_ops import alerts, projects
from kibray_ops.alerts import Notice, Recipient, Topic
from kibray_ops.bulk import given
from kibray_ops.catalog import table_of
from kibray_ops.job import Outcome, Problem, Run, printable, warnings
from kibray_ops.messages import NAMED, TouchUp, TouchUps
from kibray_ops.models.kibray import work
from kibray_ops.models.kibray.people import User
from kibray_ops.projects import PROJECTS

TASKS, PINS = table_of(work.Task), table_of(work.TouchUp)
URGENT, HIGH = "urgent", "high"
OPEN_TASK = ("Pendiente", "En Progreso", "Pending", "In Progress")
OTHER_TASK = ("Completada", "Cancelada", "Under Review", "Completed", "Cancelled")
OPEN_PIN = ("open", "in_progress", "review")
OTHER_PIN = ("closed",)
TOPIC: Topic[TouchUps] = Topic(
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
        typer.Option(metavar="COUNT", min=1, max=10_000, help="So many make an alert; default: TOUCHUP_THRESHOLD."),
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
        problems=[*missing, *warnings("no_manager", unmanaged, "projects"), *_unknown(run)],
    )


def _pressing(run: Run, *, is_open: bool) -> Subquery:
    """Return the touch-ups of urgent or high priority: those that are open, or those in a state that Kibray has not."""

    def of(table: Any, states: tuple[str, ...], others: tuple[str, ...]) -> Select[Any]:
        columns = (table.c[name] for name in ("id", "project_id", "title", "priority", "status", "created_at"))
        known = table.c.status.in_(states) if is_open else table.c.status.not_in((*states, *others))
        return select(*columns).where(known, table.c.priority.in_((URGENT, HIGH)))

    each: list[Select[Any]] = [of(TASKS, OPEN_TASK, OTHER_TASK).where(TASKS.c.is_touchup)]
    if run.catalog.has(PINS.name):
        each.append(of(PINS, OPEN_PIN, OTHER_PIN))
    return union_all(*each).subquery("touchup")


def _read(run: Run, least: int) -> list[TouchUps]:
    """Return the active projects that reach the threshold, the most urgent first."""
    touchup = _pressing(run, is_open=True)
    is_urgent = case((touchup.c.priority == URGENT, 1), else_=0)
    sites = run.session.execute(
        select(
            PROJECTS.c.id,
            PROJECTS.c.name,
            func.count().label("total"),
            func.sum(is_urgent).label("urgent"),
            func.min(touchup.c.created_at).label("oldest"),
        )
        .join(touchup, touchup.c.project_id == PROJECTS.c.id)
        .where(projects.is_active(run.catalog, run.business_date))
        .group_by(PROJECTS.c.id, PROJECTS.c.name)
        .having(func.count() >= least)
    ).all()
    first = _first(run, [site.id for site in sites])
    found = [
        TouchUps(
            site.id,
            projects.called(site.name, site.id),
            site.total,
            site.urgent,
            _days(run, site.oldest),
            tuple(first.get(site.id, ())),
        )
        for site in sites
    ]
    return sorted(found, key=lambda site: (-site.urgent, -site.total, -site.oldest, site.project_id))


def _first(run: Run, ids: Sequence[int]) -> dict[int, list[TouchUp]]:
    """Return the few touch-ups of each project that a text names: urgent ones first, then the oldest."""
    touchup = _pressing(run, is_open=True)
    order = (case((touchup.c.priority == URGENT, 0), else_=1), touchup.c.created_at, touchup.c.id)
    place = func.row_number().over(partition_by=touchup.c.project_id, order_by=order).label("place")
    ranked = select(*touchup.c, place).where(touchup.c.project_id.in_(_given(run, ids))).subquery("ranked")
    first: dict[int, list[TouchUp]] = {}
    statement = select(ranked).where(ranked.c.place <= NAMED).order_by(ranked.c.project_id, ranked.c.place)
    for row in run.session.execute(statement):
        title = printable(row.title) or f"touch-up {row.id}"
        first.setdefault(row.project_id, []).append(TouchUp(title, row.priority, _days(run, row.created_at)))
    return first


def _managers(run: Run, ids: Sequence[int]) -> dict[int, dict[int, Recipient]]:
    """Return the active managers of projects, by project and by id."""
    manager = projects.managers(run.catalog)
    people = alerts.recipients(run, col(User.id).in_(select(manager.c.user_id)))
    found: dict[int, dict[int, Recipient]] = {}
    statement = select(manager).where(manager.c.project_id.in_(_given(run, ids)))
    for project_id, user_id in run.session.execute(statement):
        if user_id in people:
            found.setdefault(project_id, {})[user_id] = people[user_id]
    return found


def _given(run: Run, ids: Sequence[int]) -> Select[Any]:
    return select(given(run.session, {"id": BigInteger()}, [{"id": key} for key in ids]).c.id)


def _days(run: Run, since: datetime) -> int:
    return max((run.now - since).days, 0)


def _notice(site: TouchUps, people: dict[int, Recipient], on: date) -> Notice[TouchUps]:
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
    touchup = _pressing(run, is_open=False)
    statement = (
        select(PROJECTS.c.id, PROJECTS.c.name, touchup.c.title, touchup.c.status)
        .join(touchup, touchup.c.project_id == PROJECTS.c.id)
        .where(projects.is_active(run.catalog, run.business_date))
        .order_by(PROJECTS.c.id, touchup.c.id)
    )
    odd = [
        (
            f"{projects.called(row.name, row.id)}: {printable(row.title)}",
            f"has the status {printable(row.status)!r}, which Kibray does not know; it is not counted",
        )
        for row in run.session.execute(statement)
    ]
    return warnings("unknown_status", odd, "touch-ups")
