"""kibray-ops notifications outbox list, and archive list."""

from typing import Annotated

import typer

from kibray_ops import registry, settings
from kibray_ops.cli import render
from kibray_ops.cli.connection import connected, showing
from kibray_ops.errors import UsageError

STATUSES = ("pending", "sending", "sent", "failed", "unknown", "expired", "suppressed", "cancelled")
CHANNELS = ("email", "sms")
Limit = Annotated[int, typer.Option("--limit", min=1, max=100_000, help="How many, newest first.")]
AsJSON = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


def list_outbox(
    status: Annotated[
        str | None, typer.Option("--status", metavar="STATUS", help=f"Only {', '.join(STATUSES)}.")
    ] = None,
    channel: Annotated[
        str | None, typer.Option("--channel", metavar="CHANNEL", help=f"Only {' or '.join(CHANNELS)}.")
    ] = None,
    limit: Limit = 30,
    as_json: AsJSON = False,
) -> None:
    """List the messages of the outbox, and what became of them."""
    for word, words, option in ((status, STATUSES, "status"), (channel, CHANNELS, "channel")):
        if word is not None and word not in words:
            raise UsageError(f"There is no {option} {word!r}.", hint=f"Write {', '.join(words)}.")
    from kibray_ops import deliveries

    found = settings.load().checked()
    with connected(found, registry.OUTBOX) as connection:
        rows = deliveries.newest(connection, status=status, channel=channel, limit=limit)
        counts = deliveries.counts(connection)
    with showing(found, registry.OUTBOX):
        if as_json:
            render.print_json({"schema": 1, "report": registry.OUTBOX.name, "counts": counts, "rows": rows})
            return
        from kibray_ops.cli.views.outbox import show_outbox

        show_outbox(rows, counts, found.zone, render.console())


def list_archive(limit: Limit = 30, as_json: AsJSON = False) -> None:
    """List the archived notifications."""
    from kibray_ops import archive

    found = settings.load().checked()
    with connected(found, registry.ARCHIVE) as connection:
        rows = archive.newest(connection, limit=limit)
        total = archive.total(connection)
    with showing(found, registry.ARCHIVE):
        if as_json:
            render.print_json({"schema": 1, "report": registry.ARCHIVE.name, "total": total, "rows": rows})
            return
        from kibray_ops.cli.views.outbox import show_archive

        show_archive(rows, total, found.zone, render.console())
