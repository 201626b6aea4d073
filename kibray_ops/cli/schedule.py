"""kibray-ops schedule: when the jobs run, and what starts them where no cron does."""

import shlex
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import typer

from kibray_ops import deployment, exports, registry, settings
from kibray_ops.cli import render
from kibray_ops.cli.plain import PlainCommand, PlainGroup
from kibray_ops.clock import Clock
from kibray_ops.errors import UsageError

app = typer.Typer(cls=PlainGroup, help="When the jobs run: list, next, export.", no_args_is_help=True)
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


OF_TARGET = {"systemd": ("program", "user"), "kubernetes": ("image",), "render": (), "celery": ()}
"""The options that mean something to each engine."""


@app.command(cls=PlainCommand)
def export(
    target: Annotated[str, typer.Option("--target", metavar="|".join(exports.TARGETS), help="The engine.")],
    output: Annotated[str, typer.Option("--output", metavar="DIR", help="Where the files are written.")],
    program: Annotated[
        str | None, typer.Option("--program", metavar="PATH", help="systemd: the program; default: this one.")
    ] = None,
    user: Annotated[
        str | None,
        typer.Option("--user", metavar="NAME", help="systemd: who runs the jobs; default: you, unless you are root."),
    ] = None,
    image: Annotated[
        str | None, typer.Option("--image", metavar="NAME", help="kubernetes: the image; default: kibray-ops:VERSION.")
    ] = None,
) -> None:
    """Write the schedule for another engine than this machine's cron; nothing is started by it.

    The files start the same commands at the same times, in the zone of the business.
    """
    if target not in exports.TARGETS:
        raise UsageError(f"There is no target {target!r}.", hint=f"The targets are {', '.join(exports.TARGETS)}.")
    for name, value in (("program", program), ("user", user), ("image", image)):
        if value is not None and name not in OF_TARGET[target]:
            raise UsageError(f"--{name} means nothing to {target}.", hint="Leave it out.")
    if not output:
        raise UsageError("--output names no directory.", hint="`.` is the current one.")
    plan = deployment.plan(target, path=program or "", user=user or "", image=image or "")
    made = exports.export(target, plan)
    directory = Path(output).absolute()
    exports.write(made, directory)
    count = render.counted(len(made.files), "file")
    remarks = []
    if target in exports.ELSEWHERE and plan.settings.sqlite_file is not None:
        remarks.append("# a SQLite file is on one machine: there it has to be a PostgreSQL server")
    if lacking := plan.only_here:
        remarks.append(f"# set in this shell only, and the jobs will need it too: {', '.join(lacking)}")
    out = render.console()
    out.print(f"{count} for {target} in {directory}, by the times of {plan.zone}. Then:", soft_wrap=True, markup=False)
    for step in (*remarks, *made.steps):
        words = step.replace("{directory}", shlex.quote(str(directory)))
        out.print(f"  {words}", soft_wrap=True, markup=False)
