"""kibray-ops notifications outbox cancel: messages that shall not be sent."""

from typing import Annotated

import typer

from kibray_ops import deliveries
from kibray_ops.errors import UsageError
from kibray_ops.job import Outcome, Run
from kibray_ops.models.operations import CANCELLED, PENDING, UNKNOWN

CANCELLABLE = (PENDING, UNKNOWN)


def cancel(
    run: Run,
    ids: Annotated[
        list[int] | None, typer.Argument(metavar="ID...", min=1, max=2**63 - 1, help="Numbers of the outbox.")
    ] = None,
    status: Annotated[str | None, typer.Option("--status", metavar="STATUS", help=f"All that are {PENDING}.")] = None,
) -> Outcome:
    """Keep messages that wait in the outbox from being sent.

    It may be used while a run is sending: what that has not begun is not sent. A number stands for its whole message.
    One whose fate is unknown is settled by it.

    Raises UsageError for a number that is not in the outbox, and for another status.
    """
    if status not in (None, PENDING):
        raise UsageError(f"--status {status!r} cannot be cancelled as a whole.", hint=f"Write {PENDING}.")
    found = deliveries.picked(run, ids, status)
    rows = [row for row in found if row["status"] in CANCELLABLE]
    if rows and not run.dry_run:
        values = {"status": CANCELLED, "last_error": "an operator cancelled it", "ended_at": run.now}
        rows = deliveries.change(run, rows, CANCELLABLE, values)
    return Outcome(
        result={"cancelled": len(rows)},
        rows=rows,
        problems=deliveries.unchanged(found, rows, ids, "not_cancelled"),
    )
