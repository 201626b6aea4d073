"""kibray-ops catch-up: make up for what was missed."""

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from kibray_ops import errors, settings
from kibray_ops.cli import log, render
from kibray_ops.clock import Clock
from kibray_ops.errors import ConfigurationError, TryAgainLater, UsageError

if TYPE_CHECKING:
    from kibray_ops.registry import Job
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

    found, cron = settings.load(), context.obj.cron
    if dry_run:
        if cron:
            raise UsageError("--cron and --dry-run exclude each other.", hint="cron is for real runs.")
        return _show_missed(found.checked(), as_json=as_json)
    log.configure(found, verbose=verbose, held=cron)
    output = render.Output(as_json=as_json, verbose=verbose, cron=cron)
    reports: list[Report] = []
    try:
        clock = Clock(found.checked().zone)
        with watched(quiet=as_json or cron) as progress:
            for job, report in catchup.catch_up(found, clock, progress):
                reports.append(report)
                if not as_json and not (cron and report.exit_code == TryAgainLater.exit_code):
                    _show(job, report, found, output)
    except (TryAgainLater, ConfigurationError) as error:
        # Whatever keeps catch-up from starting keeps the jobs from starting, and they say so at their own times.
        if cron and not reports:
            return error.exit_code
        log.release()
        raise
    if as_json:
        rows = [render.envelope(report, found) for report in reports]
        render.print_json({"schema": 1, "exit_code": _code(reports), "runs": rows})
    elif not reports and not cron:
        render.console().print("Nothing to catch up.")
    if _code(reports) not in (errors.DONE, TryAgainLater.exit_code):
        log.release()
    return _code(reports)


def _show(job: "Job", report: "Report", found: settings.Settings, output: render.Output) -> None:
    """Show a report; a reader that has gone, or a full disk, keeps no other job from being run."""
    try:
        render.report(job, report, found, output, to_stdout=False)
        sys.stdout.flush()
    except OSError:
        render.abandon_stdout()


def _code(reports: "list[Report]") -> int:
    """Return the one code of what did not work; 1 where several did not, each in its own way."""
    codes = {report.exit_code for report in reports} - {errors.DONE}
    if len(codes) > 1:
        codes -= {TryAgainLater.exit_code}
    return codes.pop() if len(codes) == 1 else (errors.FAILED if codes else errors.DONE)


def _show_missed(found: settings.Settings, *, as_json: bool) -> int:
    from kibray_ops import catchup

    clock = Clock(found.zone)
    missed_slots = [(one.job, one.missed) for one in catchup.read(found, clock) if one.missed is not None]
    if as_json:
        rows = [
            {
                "job": job.name,
                "slot": missed.slot.key,
                "tries": len(missed.tries),
                "at": missed.at,
                "why_not": missed.why_not,
            }
            for job, missed in missed_slots
        ]
        render.print_json({"schema": 1, "dry_run": True, "slots": rows})
        return errors.DONE
    out = render.console()
    if not missed_slots:
        out.print("Nothing to catch up.")
        return errors.DONE
    table = render.table("Job", "Slot", "Tries", "What happens", right=("Tries",))
    for job, missed in missed_slots:
        if missed.at is None:
            what = missed.why_not
        elif missed.at <= clock.now():
            what = "would run now"
        else:
            what = f"from {clock.local(missed.at):%a %H:%M} on"
        table.add_row(job.name, missed.slot.key.replace("T", " "), str(len(missed.tries)), what)
    out.print(table)
    return errors.DONE
