"""kibray-ops plans alert-incomplete: daily plans that are still drafts past their deadline."""

from collections.abc import Iterable
from datetime import date
from typing import Any

from sqlalchemy import ColumnElement, Executable, Row, Select, and_, func, not_, or_, select
from sqlmodel import col

from kibray_ops import alerts, projects
from kibray_ops.alerts import Notice, Recipient, Topic
from kibray_ops.catalog import table_of
from kibray_ops.job import Outcome, Run, called, warnings
from kibray_ops.messages import LatePlan
from kibray_ops.models.kibray.people import User
from kibray_ops.models.kibray.work import DailyPlan
from kibray_ops.projects import PROJECTS
from kibray_ops.text import printable

PLANS, USERS = table_of(DailyPlan), table_of(User)
DRAFT = "DRAFT"
TOPIC: Topic[LatePlan] = Topic(
    kind="plan_incomplete",
    notification_type="alert",
    related_object_type="daily_plan",
    one=lambda texts, plan: texts.late_plan(plan),
    many=lambda texts, plans: texts.late_plans(plans),
    link="/planning/list/",
)


def alert_incomplete(run: Run) -> Outcome:
    """Tell planners about draft daily plans past their deadline.

    A plan's creator and all admins hear of it every day until its day has passed. Of a draft whose day has passed they
    hear once, unless somebody has heard of it before. Somebody with very many to hear of gets one summary. Plans of
    projects that have ended or are archived are left alone.
    """
    plans = _plans(run, run.session.execute(_late(run)))
    admins, missing = alerts.admins(run, "daily plans")
    creators = alerts.recipients(run, col(User.id).in_(select(PLANS.c.created_by_id).where(_is_late(run))))
    # Many plans share one tuple of people.
    audiences: dict[int | None, tuple[Recipient, ...]] = {
        key: tuple((admins | {key: creator}).values()) for key, creator in creators.items()
    }
    nobody_else = tuple(admins.values())
    notices = [_notice(plan, audiences.get(plan.creator_id, nobody_else), run.business_date) for plan in plans]
    planned = alerts.plan(run, TOPIC, notices)
    told_before, left_alone = run.session.execute(_untold_counts(run)).one()
    if not run.dry_run:
        alerts.tell(run, planned)
    gone = [
        (f"plan {plan.id} for {plan.plan_date}", f"project {plan.project} is gone")
        for plan in plans
        if not plan.project_id
    ]
    return Outcome(
        result={
            "alerted": sum(told_to > 0 for told_to in planned.told_to),
            "time": run.now,
            "date": run.business_date,
            "late": len(plans),
            "told_before": told_before,
            "left_alone": left_alone,
            **planned.counts(),
        },
        rows=[
            {
                "plan_id": plan.id,
                "project_id": plan.project_id,
                "project": plan.project,
                "plan_date": plan.plan_date,
                "completion_deadline": plan.deadline,
                "late_minutes": int(plan.late.total_seconds() // 60),
                "created_by": plan.creator,
                "repeats": plan.plan_date >= run.business_date,
                "told_to": told_to,
            }
            for plan, told_to in zip(plans, planned.told_to, strict=True)
        ],
        problems=[*missing, *warnings("no_project", gone, "plans")],
    )


def _is_late(run: Run) -> ColumnElement[bool]:
    return and_(PLANS.c.status == DRAFT, PLANS.c.completion_deadline < run.now)


def _is_of_active_project(run: Run) -> ColumnElement[bool]:
    """Return the condition for a plan of an active project; of one that is gone nobody can say that it has ended."""
    return or_(PROJECTS.c.id.is_(None), projects.is_active(run.catalog, run.business_date))


def _is_news(run: Run) -> ColumnElement[bool]:
    """Return the condition for a plan whose day is not over, or of which nobody has ever heard."""
    return or_(PLANS.c.plan_date >= run.business_date, not_(alerts.was_told(run, TOPIC, PLANS.c.id)))


def _late(run: Run) -> Select[Any]:
    """Return the statement that reads the plans to be told."""
    return (
        select(
            PLANS.c.id,
            PLANS.c.plan_date,
            PLANS.c.completion_deadline,
            PLANS.c.project_id,
            PROJECTS.c.id.label("its_project"),
            PROJECTS.c.name,
            PLANS.c.created_by_id,
            USERS.c.username,
            USERS.c.first_name,
            USERS.c.last_name,
        )
        .outerjoin(PROJECTS, PROJECTS.c.id == PLANS.c.project_id)
        .outerjoin(USERS, USERS.c.id == PLANS.c.created_by_id)
        .where(_is_late(run), _is_of_active_project(run), _is_news(run))
    )


def _untold_counts(run: Run) -> Executable:
    """Return the statement that counts the late plans of which nobody hears (any more)."""
    is_active = _is_of_active_project(run)
    told_before = func.count().filter(is_active, not_(_is_news(run)))
    left_alone = func.count().filter(not_(is_active))
    return (
        select(told_before, left_alone)
        .select_from(PLANS)
        .outerjoin(PROJECTS, PROJECTS.c.id == PLANS.c.project_id)
        .where(_is_late(run))
    )


def _plans(run: Run, found: Iterable[Row[Any]]) -> list[LatePlan]:
    """Return the plans: those for today and later first, then the newest."""
    plans = [
        LatePlan(
            id=row.id,
            project_id=row.its_project,
            project=called(row.name, row.project_id),
            plan_date=row.plan_date,
            deadline=run.clock.local(row.completion_deadline),
            late=run.now - row.completion_deadline,
            creator_id=row.created_by_id,
            creator=printable(f"{row.first_name or ''} {row.last_name or ''}") or printable(row.username or ""),
        )
        for row in found
    ]
    today = run.business_date
    return sorted(plans, key=lambda plan: (plan.plan_date < today, abs(plan.plan_date - today), plan.id))


def _notice(plan: LatePlan, people: tuple[Recipient, ...], on: date) -> Notice[LatePlan]:
    return Notice(
        recipients=people,
        subject_id=plan.id,
        subject_date=on,
        item=plan,
        link=f"/daily-plan/{plan.id}/edit/",
        project_id=plan.project_id,
    )
