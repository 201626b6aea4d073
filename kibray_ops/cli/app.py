"""Build the Typer app and be the one place where an error becomes an exit code."""

import atexit
import gc
import io
import os
import sys
from typing import Annotated, NoReturn

import typer
from typer.main import get_command

from kibray_ops import __version__, errors, registry, settings
from kibray_ops.cli import (
    catchup,
    config,
    crontab,
    database,
    demo,
    doctor,
    invoices,
    notifications,
    render,
    runs,
    schedule,
    status,
    tasks,
)
from kibray_ops.cli.jobs import JobGroup
from kibray_ops.cli.plain import PlainGroup

GROUPS = {
    "payroll": "Weekly payroll.",
    "invoices": "Invoice status, overdue notices, ageing.",
    "notifications": "Delivery and archive of notifications.",
    "weather": "Forecasts for every job site.",
    "plans": "Daily plans.",
    "inventory": "Stock.",
    "touchups": "Touch-ups.",
}
SUBGROUPS = {
    ("notifications", "outbox"): "What is sent, to whom, and what became of it.",
    ("notifications", "archive"): "Read notifications that were moved out of the way.",
}


app = typer.Typer(
    name="kibray-ops",
    cls=PlainGroup,
    help="Run a painting contractor's back office from cron.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["--help", "-h"]},
)
_groups = {name: typer.Typer(cls=JobGroup, help=words, no_args_is_help=True) for name, words in GROUPS.items()}
for _name, _group in _groups.items():
    _group.callback()(lambda: None)
    app.add_typer(_group, name=_name)
for (_name, _inner), _words in SUBGROUPS.items():
    _groups[_inner] = typer.Typer(cls=JobGroup, help=_words, no_args_is_help=True)
    _groups[_inner].callback()(lambda: None)
    _groups[_name].add_typer(_groups[_inner], name=_inner)
_groups["invoices"].command("aging")(invoices.aging)
_groups["outbox"].command("list")(notifications.list_outbox)
_groups["archive"].command("list")(notifications.list_archive)
app.command("status")(status.status)
app.command(registry.CATCH_UP_NAME)(catchup.catch_up)
app.command("doctor")(doctor.doctor)
app.add_typer(tasks.app, name="jobs")
app.add_typer(runs.app, name="runs")
app.add_typer(schedule.app, name="schedule")
app.add_typer(crontab.app, name="crontab")
app.add_typer(database.app, name="db")
app.add_typer(config.app, name="config")
app.command("demo")(demo.demo)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"kibray-ops {__version__}")
        raise typer.Exit


@app.callback()
def root(
    context: typer.Context,
    env_file: Annotated[
        str | None, typer.Option("--env-file", metavar="FILE", help="Read settings from this file.")
    ] = None,
    cron: Annotated[
        bool, typer.Option("--cron", help="As the crontab calls it: work for the latest slot, be silent on success.")
    ] = False,
    verbose: Annotated[  # noqa: ARG001 - the boundary below looks for the word itself
        bool, typer.Option("--verbose", "-v", help="Show tracebacks.")
    ] = False,
    version: Annotated[  # noqa: ARG001 - its callback does the work
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Run a painting contractor's back office from cron."""
    if env_file is not None:
        # The undertaker of the hard time limit reads the settings anew.
        os.environ[f"{settings.PREFIX}ENV_FILE"] = env_file
    context.obj = render.Invocation(cron=cron)


def _mend_streams() -> None:
    """Make sure that what is told cannot spoil what is done: a closed stream, or one that knows few letters."""
    sys.stdout = sys.stdout or render.nowhere()
    sys.stderr = sys.stderr or render.nowhere()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run the command line and exit with the code from the table in errors.py."""
    arguments = sys.argv[1:] if arguments is None else arguments
    # A command lives for a second or two: looking for cycles among what it imports and reads took a tenth of them.
    gc.set_threshold(100_000)
    atexit.register(gc.freeze)  # nor when all of it goes anyway: that took as long again
    _mend_streams()
    try:
        code = get_command(app).main(arguments, prog_name="kibray-ops", standalone_mode=False)
        sys.stdout.flush()
    except typer.TyperException as error:
        code = render.usage(error, arguments)
    except typer.Abort:
        code = errors.Interrupted.exit_code
    except KeyboardInterrupt as error:
        code = render.failure(error, arguments)
    except BrokenPipeError:
        # The reader has gone (`| head`): what was done is done, and nobody is left to tell.
        render.abandon_stdout()
        code = errors.DONE
    except Exception as error:  # noqa: BLE001 - the boundary: whatever it is, two lines and an exit code
        code = render.failure(render.without_room(error) or error, arguments)
    sys.exit(code if isinstance(code, int) else errors.DONE)
