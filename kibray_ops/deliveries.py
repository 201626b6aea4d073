"""The outbox as operators see it, and what they choose in it."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Select, and_, func, or_, select, update

from kibray_ops.bulk import among
from kibray_ops.catalog import some, table_of
from kibray_ops.errors import UsageError
from kibray_ops.job import Problem, Run, called, warnings
from kibray_ops.models.kibray.notifications import Notification
from kibray_ops.models.kibray.people import User
from kibray_ops.models.operations import PENDING, SENDING
from kibray_ops.outbox import DELIVERIES, STATUSES
from kibray_ops.text import printable

NOTIFICATIONS, USERS = table_of(Notification), table_of(User)


def _described() -> Select[Any]:
    """Return the query of deliveries with their titles and recipients."""
    return (
        select(
            DELIVERIES,
            NOTIFICATIONS.c.title,
            NOTIFICATIONS.c.id.is_(None).label("is_gone"),
            USERS.c.username,
            USERS.c.first_name,
            USERS.c.last_name,
        )
        .outerjoin(NOTIFICATIONS, NOTIFICATIONS.c.id == DELIVERIES.c.notification_id)
        .outerjoin(USERS, USERS.c.id == DELIVERIES.c.user_id)
    )


def _as_row(row: Any) -> dict[str, Any]:
    """Return what is shown of a row of `_described`."""
    name = printable(f"{row.first_name or ''} {row.last_name or ''}") or called(row.username, row.user_id)
    return {
        "delivery_id": row.id,
        "channel": row.channel,
        "user_id": row.user_id,
        "recipient": name,
        "address": row.address and printable(row.address),
        "notification_id": row.notification_id,
        "title": printable(row.title or ""),
        "is_gone": row.is_gone,
        "status": row.status,
        "attempts": row.attempts,
        "queued_at": row.queued_at,
        "next_attempt_at": row.next_attempt_at if row.status == PENDING else None,
        "ended_at": row.ended_at,
        "message_id": row.message_id,
        "provider_id": row.provider_id,
        "reason": row.last_error,
    }


def picked(run: Run, ids: Sequence[int] | None, status: str | None) -> list[dict[str, Any]]:
    """Return the deliveries with some numbers and all that share a message with them, or all in a state.

    Raises UsageError for a number that is not in the outbox, and unless it is either numbers or a state.
    """
    hint = "`kibray-ops notifications outbox list` shows the numbers."
    if bool(ids) == (status is not None):
        raise UsageError("Name the deliveries, or a --status.", hint=hint)
    if not run.catalog.has(DELIVERIES.name):
        raise UsageError("The outbox is empty.", hint="kibray-ops has not been set up here: `kibray-ops db init`.")
    condition = DELIVERIES.c.status == status
    if ids:
        named = DELIVERIES.c.id.in_(among(run.session, ids))
        condition = or_(named, DELIVERIES.c.batch.in_(select(DELIVERIES.c.batch).where(named)))
    found = [_as_row(row) for row in run.session.execute(_described().where(condition).order_by(DELIVERIES.c.id))]
    if missing := sorted(set(ids or ()) - {row["delivery_id"] for row in found}):
        raise UsageError(f"Not in the outbox: {some([str(key) for key in missing])}.", hint=hint)
    return found


def change(
    run: Run, rows: Sequence[dict[str, Any]], while_in: Sequence[str], values: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """Change the deliveries of rows that are still in certain states, and return the rows of those.

    A run may be sending: what it has claimed meanwhile is not changed.
    """
    picked_ones = DELIVERIES.c.id.in_(among(run.session, [row["delivery_id"] for row in rows]))
    condition = and_(picked_ones, DELIVERIES.c.status.in_(while_in))
    statement = update(DELIVERIES).where(condition).values(values).returning(DELIVERIES.c.id)
    changed = set(run.session.execute(statement).scalars())
    return [row for row in rows if row["delivery_id"] in changed]


def unchanged(
    found: Sequence[dict[str, Any]], rows: Sequence[dict[str, Any]], ids: Sequence[int] | None, kind: str
) -> list[Problem]:
    """Return a warning for each delivery that an operator named and that was not changed."""
    changed, named = {row["delivery_id"] for row in rows}, set(ids or ())
    odd = [
        (f"delivery {row['delivery_id']}", _obstacle(row))
        for row in found
        if row["delivery_id"] in named and row["delivery_id"] not in changed
    ]
    return warnings(kind, odd, "deliveries that were left as they are")


def _obstacle(row: Mapping[str, Any]) -> str:
    if row["is_gone"]:
        return "its notification is gone"
    return "it is being sent" if row["status"] in (PENDING, SENDING) else f"it is {row['status']}"


def counts(connection: Connection) -> dict[str, int]:
    """Return how many deliveries are in each state."""
    found = connection.execute(select(DELIVERIES.c.status, func.count()).group_by(DELIVERIES.c.status))
    by_status = {row.status: row[1] for row in found}
    return {status: by_status[status] for status in STATUSES if status in by_status}


def newest(connection: Connection, *, status: str | None, channel: str | None, limit: int) -> list[dict[str, Any]]:
    """Return the newest deliveries, newest first."""
    statement = _described().order_by(DELIVERIES.c.id.desc()).limit(limit)
    if status is not None:
        statement = statement.where(DELIVERIES.c.status == status)
    if channel is not None:
        statement = statement.where(DELIVERIES.c.channel == channel)
    return [_as_row(row) for row in connection.execute(statement)]
