"""kibray-ops notifications outbox retry: messages that were not delivered, sent again by the next run."""

from typing import Annotated

import typer
from sqlalchemy import delete

from kibray_ops import deliveries
from kibray_ops.delivery import SMS
from kibray_ops.errors import UsageError
from kibray_ops.job import Outcome, Run
from kibray_ops.models.operations import CANCELLED, EXPIRED, FAILED, PENDING, SUPPRESSED, UNKNOWN
from kibray_ops.outbox import LIFETIME, SUPPRESSIONS

RETRIED = (FAILED, UNKNOWN, EXPIRED, CANCELLED, SUPPRESSED, PENDING)
IN_BULK = (FAILED, EXPIRED)
"""States of which all may be retried at once; the others need a look at each."""


def retry(
    run: Run,
    ids: Annotated[
        list[int] | None, typer.Argument(metavar="ID...", min=1, max=2**63 - 1, help="Numbers of the outbox.")
    ] = None,
    status: Annotated[
        str | None, typer.Option("--status", metavar="STATUS", help=f"All that are {' or '.join(IN_BULK)}.")
    ] = None,
) -> Outcome:
    """Let messages that were not delivered, or may not have been, be sent again.

    The next run of `notifications send` sends them, with the same Message-ID as before. A number stands for its whole
    message. A phone number that answered STOP is written to again: only do that when its owner wants it.

    Raises UsageError for a number that is not in the outbox, and for a status that needs a look at each message.
    """
    if status is not None and status not in IN_BULK:
        raise UsageError(f"--status {status!r} cannot be retried as a whole.", hint=f"Write {' or '.join(IN_BULK)}.")
    found = deliveries.picked(run, ids, status)
    rows = [row for row in found if row["status"] in RETRIED and not row["is_gone"]]
    if rows and not run.dry_run:
        stopped = {row["address"] for row in rows if (row["channel"], row["status"]) == (SMS, SUPPRESSED)}
        is_lifted = SUPPRESSIONS.c.address.in_(sorted(filter(None, stopped)))
        run.session.execute(delete(SUPPRESSIONS).where(SUPPRESSIONS.c.channel == SMS, is_lifted))
        values = {
            "status": PENDING,
            "attempts": 0,
            "next_attempt_at": run.now,
            "expires_at": run.now + LIFETIME,
            "ended_at": None,
        }
        rows = deliveries.change(run, rows, RETRIED, values)
    return Outcome(
        result={"retried": len(rows)},
        rows=rows,
        problems=deliveries.unchanged(found, rows, ids, "not_retried"),
    )
