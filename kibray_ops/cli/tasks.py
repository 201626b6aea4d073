"""kibray-ops jobs: the jobs by their documented names."""

from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from kibray_ops import registry, settings
from kibray_ops.cli import render
from kibray_ops.cli.connection import writing
from kibray_ops.cli.jobs import Unloaded, command_of
from kibray_ops.cli.plain import PlainCommand, PlainGroup
from kibray_ops.clock import Clock
from kibray_ops.errors import UsageError
from kibray_ops.registry import Job

if TYPE_CHECKING:
    from datetime import datetime

app = typer.Typer(
    cls=PlainGroup, help="The jobs by their documented names: list, run, pause, resume.", no_args_is_help=True
)
Name = Annotated[str, typer.Argument(metavar="NAME", help="Its documented name, or the Celery function's.")]


def job_named(name: str) -> Job:
    """Return a job by its documented name or that of the function it replaces; raises UsageError."""
    if (job := registry.named(name)) is not None:
        return job
    from difflib import get_close_matches

    names = [job.name for job in registry.JOBS]
    word = name.removeprefix(registry.FUNCTIONS).replace("_", "-")
    close = [known for known in names if word and word in known] or get_close_matches(word, names, n=1)
    hint = f"Did you mean {close[0]}?" if close else "`kibray-ops jobs list` names them."
    raise UsageError(f"There is no job {name!r}.", hint=hint)


@app.command("list", cls=PlainCommand)
def list_jobs(as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False) -> None:
    """List the jobs: documented name, command, schedule, and how much of the work is committed at a time."""
    from kibray_ops.schedule import described, spelled

    rows = [
        {
            "job": job.name,
            "function": registry.FUNCTIONS + job.function,
            "command": job.typed,
            "summary": job.summary,
            "schedule": described(job.cron or ""),
            "cron": job.cron,
            "kind": job.kind,
            "deadline": None if job.deadline is None else spelled(job.deadline),
        }
        for job in registry.JOBS
    ]
    if as_json:
        render.print_json({"schema": 1, "jobs": rows})
        return
    table = render.table("Job", "Command", "When", "Kind")
    for row in rows:
        table.add_row(row["job"], row["command"], row["schedule"], row["kind"])
    render.console().print(table)


class _ByName(TyperGroup):
    """The jobs as commands, under each of their names."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        for job in registry.JOBS:
            self.add_command(Unloaded(job, job.name))

    def resolve_command(self, _: Any, args: list[str]) -> Any:
        job = job_named(args[0])
        return job.name, command_of(job), args[1:]


_run = typer.Typer(cls=_ByName, help="Run a job by its documented name; its own options follow.", no_args_is_help=True)
_run.callback()(lambda: None)
app.add_typer(_run, name="run")


@app.command()
def pause(
    name: Name,
    until: Annotated[
        str | None,
        typer.Option("--until", metavar="DATE", help="It runs again from this date or moment on; else until `resume`."),
    ] = None,
) -> None:
    """Keep cron and catch-up from running a job; by hand it still runs."""
    job, found = job_named(name), settings.load().checked()
    from kibray_ops import pauses
    from kibray_ops.schedule import parse_moment

    clock = Clock(found.zone)
    end = None if until is None else parse_moment(until, found.zone, option="--until")
    if end is not None and end <= clock.now():
        raise UsageError(f"--until {until} is past.", hint="Name a date to come, or leave --until out.")
    with writing(found) as connection:
        pauses.pause(connection, job, now=clock.now(), until=end)
    lasts = "until `kibray-ops jobs resume`" if end is None else f"until {_written(clock.local(end))}"
    render.console().print(f"{job.name} is paused {lasts}. What is due meanwhile is not made up for.", soft_wrap=True)


@app.command()
def resume(name: Name) -> None:
    """Let cron run a paused job again, from its next slot on."""
    job, found = job_named(name), settings.load().checked()
    from kibray_ops import pauses
    from kibray_ops.schedule import slot_after
    from kibray_ops.standing import standings

    clock = Clock(found.zone)
    with writing(found) as connection:
        was_paused = pauses.resume(connection, job, now=clock.now())
        (now,) = standings(connection, found, clock, [job])
    following = _written(clock.local(slot_after(job, clock.now(), clock.zone).moment))
    words = "is no longer paused" if was_paused else "was not paused"
    out = render.console()
    out.print(f"{job.name} {words}. It runs next on {following}.", soft_wrap=True)
    if now.missed is not None and now.missed.at is not None:
        out.print(f"{now.missed.slot.key.replace('T', ' ')} is still owed: the next catch-up runs it.", soft_wrap=True)


def _written(moment: "datetime") -> str:
    return f"{moment:%a %Y-%m-%d %H:%M}"
