"""kibray-ops catch-up: make up for what was missed."""

from typing import TYPE_CHECKING, Annotated

import typer

from kibray_ops import errors, settings
from kibray_ops.cli import log, render
from kibray_ops.clock import Clock
from kibray_ops.errors import ConfigurationError, TryAgainLater, UsageError

if TYPE_CHECKING:
    from kibray_ops.report import Report


def catch_up(
    context: typer.Context,
    dry_run: Annotated[bool, typer.Option("--dry-run", "-n", help="Show what would be run; run nothing.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log more, and show tracebacks.")] = False,
) -> int:
    """Run the latest slot of each job that was missed or has failed, within its deadline and its tries.

    A slot is at least ten minutes old then. One that failed is tried again after 15 minutes, an hour and four hours;
    what needs somebody to change something first is not.
    """
    from kibray_ops import catchup
    from kibray_ops.cli.progress import watched

    found = settings.load().checked()
    clock, cron = Clock(found.zone), context.obj.cron
    if dry_run:
        if cron:
            raise UsageError("--cron and --dry-run exclude each other.", hint="cron is for real runs.")
        return _show_debts(found, clock, as_json=as_json)
    log.configure(found, verbose=verbose, held=cron)
    output = render.Output(as_json=as_json, verbose=verbose, cron=cron)
    reports: list[Report] = []
    try:
        with watched(quiet=as_json or cron) as progress:
            for job, report in catchup.catch_up(found, clock, progress):
                reports.append(report)
                if not as_json and not (cron and report.exit_code == TryAgainLater.exit_code):
                    render.report(job, report, found, output, to_stdout=False)
    except (TryAgainLater, ConfigurationError) as error:
        # Whatever keeps catch-up from starting keeps the jobs from starting, and they say so at their own times.
        if cron and not reports:
            return error.exit_code
        raise
    if as_json:
        rows = [render.envelope(report, found) for report in reports]
        render.print_json({"schema": 1, "exit_code": _code(reports), "runs": rows})
    elif not reports and not cron:
        render.console().print("Nothing to catch up.")
    if _code(reports) not in (errors.DONE, TryAgainLater.exit_code):
        log.release()
    return _code(reports)


def _code(reports: "list[Report]") -> int:
    """Return the one code of what did not work; 1 where several did not, each in its own way."""
    codes = {report.exit_code for report in reports} - {errors.DONE}
    if len(codes) > 1:
        codes -= {TryAgainLater.exit_code}
    return codes.pop() if len(codes) == 1 else (errors.FAILED if codes else errors.DONE)


def _show_debts(found: settings.Settings, clock: Clock, *, as_json: bool) -> int:
    from kibray_ops import catchup

    debts = [(one.job, one.debt) for one in catchup.read(found, clock) if one.debt is not None]
    if as_json:
        rows = [
            {"job": job.name, "slot": debt.slot.key, "tries": len(debt.tries), "at": debt.at, "why_not": debt.why_not}
            for job, debt in debts
        ]
        render.print_json({"schema": 1, "dry_run": True, "slots": rows})
        return errors.DONE
    out = render.console()
    if not debts:
        out.print("Nothing to catch up.")
        return errors.DONE
    table = render.table("Job", "Slot", "Tries", "What happens", right=("Tries",))
    for job, debt in debts:
        if debt.at is None:
            what = f"{debt.why_not}"
        elif debt.at <= clock.now():
            what = "would run now"
        else:
            what = f"from {clock.local(debt.at):%a %H:%M} on"
        table.add_row(job.name, debt.slot.key.replace("T", " "), str(len(debt.tries)), what)
    out.print(table)
    return errors.DONE
