"""kibray-ops crontab: the lines with which cron starts the jobs."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from kibray_ops import crontab, deployment, errors, host, settings
from kibray_ops.cli import render
from kibray_ops.cli.plain import PlainCommand, PlainGroup
from kibray_ops.clock import Clock, real_now
from kibray_ops.doctor import cron
from kibray_ops.errors import ConfigurationError, UsageError

app = typer.Typer(cls=PlainGroup, help="The lines with which cron starts the jobs.", no_args_is_help=True)
System = Annotated[bool, typer.Option("--system", help="A file for /etc/cron.d, instead of your own crontab.")]
File = Annotated[
    str | None,
    typer.Option("--file", metavar="FILE", help=f"The file for --system; default: {host.SYSTEM_CRONTAB}."),
]
User = Annotated[
    str | None, typer.Option("--user", metavar="NAME", help="Who runs the jobs, for --system; default: you.")
]
ProgramPath = Annotated[
    str | None, typer.Option("--program", metavar="PATH", help="The kibray-ops program; default: this one.")
]
AsJSON = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


def _generated(found: settings.Settings, place: host.Place, user: str | None, program: str | None) -> str:
    today = Clock(found.zone).today()
    who = (user or host.user_name()) if place.is_system else ""
    return deployment.generated(found, today, path=program or "", user=who)


def _place(system: bool, file: str | None, user: str | None = None) -> host.Place:
    if not system and (file is not None or user is not None):
        raise UsageError("--file and --user are for --system.", hint="Your own crontab has neither.")
    return host.SystemFile(Path(file) if file else host.SYSTEM_CRONTAB) if system else host.UserCrontab()


@app.command(cls=PlainCommand)
def generate(system: System = False, file: File = None, user: User = None, program: ProgramPath = None) -> None:
    """Print the lines for this machine, one or more for every job, and write nothing."""
    sys.stdout.write(_generated(settings.load().checked(), _place(system, file, user), user, program))


@app.command(cls=PlainCommand)
def install(system: System = False, file: File = None, user: User = None, program: ProgramPath = None) -> None:
    """Put the lines into your crontab; nothing but the block of kibray-ops is changed, after a backup."""
    found, place = settings.load().checked(), _place(system, file, user)
    new = _generated(found, place, user, program)
    before = place.read()
    after = crontab.replaced(before, new)
    who = (user or "") if place.is_system else ""
    deployment.require_settings(found, who, "" if place.is_system else after.partition(new)[0])
    deployment.require_program(crontab.entries(new, system=place.is_system)[0].words[0])
    out = render.console()
    if after == before:
        out.print(f"Nothing to do: the lines in {place} are as they should be.", soft_wrap=True)
        return
    _write(place, before, after)
    count = len(crontab.entries(new, system=place.is_system))
    out.print(f"{count} lines are in {place}. `kibray-ops doctor` looks at all the rest.", soft_wrap=True)


@app.command(cls=PlainCommand)
def diff(system: System = False, file: File = None, user: User = None, program: ProgramPath = None) -> int:
    """Show what `install` would change; exit 1 when it would change something."""
    found, place = settings.load().checked(), _place(system, file, user)
    changed = crontab.difference(crontab.own(place.read()), _generated(found, place, user, program))
    sys.stdout.write(changed)
    return errors.FAILED if changed else errors.DONE


@app.command(cls=PlainCommand)
def check(system: System = False, file: File = None, as_json: AsJSON = False) -> int:
    """Check that cron is alive and our lines are there, current, and start what exists; exit 1 when not."""
    from kibray_ops.cli.doctor import show

    return show(list(cron.findings(settings.load().checked(), _place(system, file))), as_json=as_json)


@app.command(cls=PlainCommand)
def remove(system: System = False, file: File = None) -> None:
    """Take our block out of your crontab, after a backup; everything else stays."""
    place = _place(system, file)
    before = place.read()
    out = render.console()
    if not crontab.own(before):
        out.print(f"Nothing to do: there is no block of kibray-ops in {place}.", soft_wrap=True)
        return
    _write(place, before, crontab.replaced(before, ""))
    out.print(f"The lines of kibray-ops are out of {place}: cron starts no job any more.", soft_wrap=True)


def _write(place: host.Place, before: str, after: str) -> None:
    """Replace a crontab, keep the old one, and make sure that what is there now is what was meant."""
    from platformdirs import user_state_path

    out = render.console()
    if before:
        kept = host.back_up(before, user_state_path("kibray-ops", appauthor=False), real_now())
        out.print(f"The crontab as it was is kept in {kept}.", soft_wrap=True)
    place.write(after)
    if place.read() != after:
        raise ConfigurationError(
            f"{str(place)[:1].upper()}{str(place)[1:]} does not hold what was written into it.",
            hint="Somebody may have changed it just now; look at it with `crontab -l` and install again.",
        )
