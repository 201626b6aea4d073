"""kibray-ops demo: a contractor's office in one file, with last week's payroll, what clients owe, and the alerts."""

import os
import shlex
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated
from urllib.parse import quote
from zoneinfo import ZoneInfo

import typer

from kibray_ops import registry, settings
from kibray_ops.cli import invoices, render
from kibray_ops.clock import Clock, machine_zone
from kibray_ops.errors import UsageError
from kibray_ops.text import printable

if TYPE_CHECKING:
    from kibray_ops.registry import Job
    from kibray_ops.report import Report

ZONE = "America/Denver"
"""Where the demo's contractor works; used when the machine does not tell its own zone."""
_JOBS = {job.name: job for job in registry.JOBS}
SHOWN = tuple(
    _JOBS[name]
    for name in (
        "generate-weekly-payroll",
        "check-overdue-invoices",
        "check-inventory-shortages",
        "alert-high-priority-touchups",
        "alert-incomplete-daily-plans",
    )
)
WORTH_TRYING = (
    ("payroll generate --week --dry-run", "the report again; nothing is written"),
    ("payroll generate --week --csv payroll.csv", "for a spreadsheet"),
    ("invoices aging --by client", "who owes what for how long"),
    ("invoices check-overdue", "nobody is told anything twice"),
    ("touchups alert --threshold 1 --dry-run", "every project with even one"),
    ("invoices update-statuses --dry-run", "what else would change"),
    ("weather fetch-snapshots --dry-run", "asks Open-Meteo and the US Census; writes nothing"),
    ("weather locate 9 39.7392 -104.9903", "a project without an address"),
    ("payroll discard --week --dry-run", "what could be taken back"),
    ("notifications send", "the alerts as e-mails: .eml files in EMAIL_DIR"),
    ("notifications outbox list", "who got what, who did not, and why"),
    ("notifications cleanup", "old notifications that were read, into the archive"),
    ("status", "how every job stands, and what comes next"),
    ("runs list", "what ran, and how it ended"),
    ("crontab generate", "the lines with which cron starts the jobs"),
    ("doctor", "what is right, what is not, and what to do"),
)


def demo(
    file: Annotated[
        Path, typer.Option("--file", metavar="NAME", help="The file to make; one that exists is never touched.")
    ] = Path("kibray-demo.sqlite3"),
) -> None:
    """Make a demo database in the current directory; run last week's payroll and the alerts on it."""
    from kibray_ops.cli.views.invoices_ageing import show
    from kibray_ops.limits import terminable
    from kibray_ops.report import explained

    try:
        path = file.absolute()
        if os.path.lexists(path):
            raise _exists(path)
        # Made in a hidden directory, named when complete: nothing is left of a demo that was interrupted.
        with terminable(), TemporaryDirectory(prefix=".kibray-demo-", dir=path.parent) as directory:
            unfinished = Path(directory) / path.name
            found = _settings(path, nowhere=directory)
            unnamed = _settings(unfinished, nowhere=directory)
            told = _build(unnamed)
            owed = invoices.read(unnamed)
            _name(unfinished, path)
    except OSError as error:
        raise UsageError(
            f"The demo database {printable(str(file))} cannot be made: {error.strerror}.",
            hint="Change to a directory that you may write in, or name a file in one with --file.",
        ) from error
    except UnicodeEncodeError as error:
        raise UsageError(
            f"The demo database {printable(str(file))} cannot be made: its name is not UTF-8.",
            hint="Choose another name with --file.",
        ) from error
    except KeyboardInterrupt as error:
        raise explained(error) from error  # else Typer ends the command without a word, a SIGTERM with 130
    out = render.console()
    for job, report in told:
        render.report(job, report, found, render.Output(), to_stdout=False)
        out.print()
    show(owed, out)
    _show_way_on(path, found)


def _exists(path: Path) -> UsageError:
    return UsageError(
        f"{printable(str(path))} exists already.",
        hint="Use it as it is, delete it, or choose another name with --file.",
    )


def _settings(path: Path, *, nowhere: str) -> settings.Settings:
    """Return settings for a file; of the user's own they hold the time zone, and `nowhere` no env file lies."""
    environ = {
        "KIBRAY_OPS_DATABASE_URL": f"sqlite:///{quote(str(path))}",
        "XDG_CONFIG_HOME": nowhere,
        **_zone(),
    }
    return settings.load(environ=environ).checked()


def _zone() -> dict[str, str]:
    """Return what says which zone it is: the user's own setting, or this machine's, on which nobody has decided."""
    with suppress(LookupError, ValueError, OSError):
        return {"KIBRAY_OPS_TIMEZONE": ZoneInfo(os.environ.get("KIBRAY_OPS_TIMEZONE", "").strip()).key}
    with suppress(LookupError, ValueError, OSError):
        ZoneInfo(machine_zone(os.environ.get("TZ")))
        return {"TZ": os.environ.get("TZ", "")}
    return {"KIBRAY_OPS_TIMEZONE": ZONE}


def _build(found: settings.Settings) -> "list[tuple[Job, Report]]":
    """Make the database, fill it and run the jobs that are shown; return their reports."""
    from kibray_ops import provision, runner
    from kibray_ops.database import Database, translated
    from kibray_ops.demo import fill

    clock, database = Clock(found.zone), Database(found)
    provision.init(database, standalone=True, baseline=None, now=clock.now())
    with translated(), database.connect() as connection:
        fill(connection, clock)
        connection.commit()
    told = []
    for job in SHOWN:
        report = runner.execute(job, settings=found, clock=clock)
        if report.error is not None:
            raise report.error
        told.append((job, report))
    return told


def _name(unfinished: Path, path: Path) -> None:
    """Give the file its name, unless something has that name by now."""
    try:
        path.hardlink_to(unfinished)
    except FileExistsError:
        raise _exists(path) from None
    except OSError:
        # A file system without hard links, such as a USB stick's: take the name first, then put the file there.
        path.touch(exist_ok=False)
        unfinished.replace(path)


def _show_way_on(path: Path, found: settings.Settings) -> None:
    from rich.text import Text

    exports = {"KIBRAY_OPS_DATABASE_URL": found.database_url}
    if settings.load()["TIMEZONE"] != found.zone:
        # The next commands would work in another zone, or complain that they find none.
        exports["KIBRAY_OPS_TIMEZONE"] = found.zone.key
    exports |= {
        "KIBRAY_OPS_EMAIL_BACKEND": "file",
        "KIBRAY_OPS_EMAIL_DIR": str(path.with_name(f"{path.stem}-mail")),
        "KIBRAY_OPS_EMAIL_FROM": "Kibray <office@example.com>",
        "KIBRAY_OPS_SITE_URL": "https://kibray.example.com",
    }
    lines = [
        f"\nThe demo database is {path}. To go on with it:\n",
        *(f"  export {name}={shlex.quote(value)}" for name, value in exports.items()),
        *(f"  kibray-ops {words:<42} # {what}" for words, what in WORTH_TRYING),
    ]
    # Text: nothing in a path is markup. Soft-wrapped: a line that is broken cannot be pasted.
    render.console().print(Text("\n".join(lines)), soft_wrap=True)
