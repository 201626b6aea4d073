"""kibray-ops schedule: when the jobs run."""

from itertools import islice
from typing import Annotated, Any

import typer

from kibray_ops import registry, settings
from kibray_ops.cli import render
from kibray_ops.cli.plain import PlainCommand, PlainGroup
from kibray_ops.clock import Clock

app = typer.Typer(cls=PlainGroup, help="When the jobs run.", no_args_is_help=True)
AsJSON = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


@app.command("list", cls=PlainCommand)
def list_schedule(as_json: AsJSON = False) -> None:
    """List every job's times in the business zone, and when it runs next."""
    from kibray_ops.schedule import described, slot_after, spelled

    clock = Clock(settings.load().checked().zone)
    rows: list[dict[str, Any]] = [
        {
            "job": job.name,
            "command": job.typed,
            "cron": job.cron,
            "schedule": described(job.cron or ""),
            "deadline": None if job.deadline is None else spelled(job.deadline),
            "next": clock.local(slot_after(job, clock.now(), clock.zone).moment),
        }
        for job in registry.JOBS
    ]
    if as_json:
        render.print_json({"schema": 1, "zone": clock.zone.key, "catch_up": registry.CATCH_UP, "jobs": rows})
        return
    out = render.console()
    table = render.table("When", "Command", "Made up for", "Next")
    for row in rows:
        until = f"within {row['deadline']}" if row["deadline"] else "the next hour"
        table.add_row(row["schedule"], row["command"], until, f"{row['next']:%a %Y-%m-%d %H:%M}")
    out.print(f"[bold]Schedule[/], times of {clock.zone.key}\n")
    out.print(table)


@app.command("next")
def show_next(
    count: Annotated[
        int | None, typer.Option("--count", min=1, max=10_000, help="So many runs; otherwise the next one of each job.")
    ] = None,
    as_json: AsJSON = False,
) -> None:
    """Show what runs next, in the order of time."""
    from kibray_ops.schedule import planned, slot_after, spelled

    clock = Clock(settings.load().checked().zone)
    now = clock.now()
    if count is None:
        each = [(slot_after(job, now, clock.zone), job) for job in registry.JOBS]
        coming = sorted(each, key=lambda pair: pair[0].moment)
    else:
        coming = list(islice(planned(registry.JOBS, now, clock.zone), count))
    if as_json:
        rows = [{"job": job.name, "slot": slot.key, "at": clock.local(slot.moment)} for slot, job in coming]
        render.print_json({"schema": 1, "zone": clock.zone.key, "runs": rows})
        return
    table = render.table("At", "UTC", "In", "Command")
    for slot, job in coming:
        table.add_row(
            f"{clock.local(slot.moment):%a %Y-%m-%d %H:%M %Z}",
            f"{slot.moment:%a %H:%M}",
            spelled(slot.moment - now),
            job.typed,
        )
    render.console().print(table)
