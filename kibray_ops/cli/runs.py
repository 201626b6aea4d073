"""kibray-ops runs: what ran, when, and how it ended."""

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kibray_ops import registry, settings
from kibray_ops.cli import render
from kibray_ops.cli.connection import connected, showing, writing
from kibray_ops.clock import Clock
from kibray_ops.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from zoneinfo import ZoneInfo

    from sqlalchemy import RowMapping

app = typer.Typer(help="What ran, when, and how it ended.", no_args_is_help=True)

STATUSES = ("running", "succeeded", "partial", "failed", "timed_out", "interrupted", "skipped")
AsJSON = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


@app.command("list")
def list_runs(
    job: Annotated[str | None, typer.Option("--job", help="Only this job, by its documented name.")] = None,
    status: Annotated[str | None, typer.Option("--status", help=f"Only {', '.join(STATUSES)}.")] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=10_000, help="How many, newest first.")] = 20,
    as_json: AsJSON = False,
) -> None:
    """List the newest runs."""
    names = [known.name for known in (*registry.JOBS, *registry.ACTIONS)]
    if job is not None and job not in names:
        raise UsageError(f"There is no job {job!r}.", hint=f"The jobs are {', '.join(names)}.")
    if status is not None and status not in STATUSES:
        raise UsageError(f"There is no status {status!r}.", hint=f"Write {', '.join(STATUSES)}.")
    from kibray_ops import history

    found = settings.load().checked()
    with connected(found) as connection:
        runs = history.runs(connection, job=job, status=status, limit=limit)
    with showing(found):
        if as_json:
            render.print_json({"schema": 1, "runs": [dict(run) for run in runs]})
            return
        _show(runs, found.zone, none="No such run." if job or status else "No runs yet.")


@app.command("show")
def show_run(
    run_id: Annotated[int, typer.Argument(metavar="ID", min=1, max=2**63 - 1)], as_json: AsJSON = False
) -> None:
    """Show everything about one run."""
    from kibray_ops import history

    found = settings.load().checked()
    with connected(found) as connection:
        run = history.run(connection, run_id)
    if run is None:
        raise UsageError(f"There is no run {run_id}.", hint="`kibray-ops runs list` shows the newest.")
    with showing(found):
        if as_json:
            render.print_json({"schema": 1, "run": dict(run)})
            return
        _show_run(run, found.zone)


@app.command()
def prune(
    older_than: Annotated[
        int | None,
        typer.Option("--older-than", metavar="DAYS", min=1, max=36_500, help="Default: KIBRAY_OPS_RUNS_KEEP_DAYS."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", "-n", help="Count them; delete nothing.")] = False,
    as_json: AsJSON = False,
) -> None:
    """Delete old run records; each job's newest success stays, for `status` to tell of.

    Those of the last 8 days stay too: they tell which slots are done.
    `notifications cleanup` does the same every week.
    """
    from kibray_ops import history

    found = settings.load().checked()
    days = max(older_than or found["RUNS_KEEP_DAYS"], history.LEAST_KEPT_DAYS)
    with connected(found) if dry_run else writing(found) as connection:
        count = history.prune(connection, Clock(found.zone).now(), days, dry_run=dry_run)
    if as_json:
        render.print_json({"schema": 1, "dry_run": dry_run, "older_than_days": days, "pruned": count})
        return
    records = render.counted(count, "run record")
    words = f"{records} would be deleted" if dry_run else f"{records} deleted"
    render.console().print(f"{words}: those that ended more than {days} days ago.")


@app.command()
def baseline(
    moment: Annotated[
        str | None, typer.Argument(metavar="[MOMENT]", help="A date, a moment, or `now`; without it, it is shown.")
    ] = None,
    as_json: AsJSON = False,
) -> None:
    """Show or move the moment of going live: what was due before it is neither missed nor late, nor is it mailed.

    Moving it also notes this TIMEZONE as the one whose times the schedule keeps, on every host.
    """
    from kibray_ops import catalog, provision
    from kibray_ops.database import Database
    from kibray_ops.schedule import parse_moment

    found = settings.load().checked()
    clock = Clock(found.zone)
    if moment is None:
        with connected(found) as connection:
            before = after = catalog.baseline(connection)
    else:
        after = clock.now() if moment == "now" else parse_moment(moment, found.zone, option="MOMENT")
        before = provision.move_baseline(Database(found), after)
    if as_json:
        render.print_json({"schema": 1, "baseline": after, "before": before})
        return
    out = render.console()
    out.print(f"Baseline: {_local(after, found.zone) or 'none'}.")
    if after is not None and after > clock.now():
        out.print("It is to come: until then no job runs by itself, and nothing is mailed.")
    if after and before and after < before:
        out.print(
            "It moved back: `kibray-ops catch-up --dry-run` shows what is owed by now, `kibray-ops notifications send "
            "--dry-run` what would be mailed.",
            soft_wrap=True,
        )


def _show(runs: "Sequence[RowMapping]", zone: "ZoneInfo", *, none: str) -> None:
    out = render.console()
    if not runs:
        out.print(none)
        return
    columns = ("Run", "Job", "Started", "Took", "Status", "For", "Problems")
    table = render.table(*columns, right=("Run", "Took", "Problems"), yields="Job")
    for run in runs:
        table.add_row(
            str(run["id"]),
            run["job"],
            _local(run["started_at"], zone)[:-3],
            _duration(run),
            f"[{_style(run)}]{run['status']}[/]",
            run["slot"] or f"{run['business_date']} ({run['trigger']})",
            str(len(run["problems"]) or ""),
        )
    out.print(table)


def _show_run(run: "RowMapping", zone: "ZoneInfo") -> None:
    out = render.console()
    from rich.markup import escape

    out.print(f"[bold]Run {run['id']}[/]: {run['job']}, [{_style(run)}]{run['status']}[/]")
    facts = {
        "started": _local(run["started_at"], zone),
        "finished": _local(run["finished_at"], zone),
        "took": _duration(run),
        "trigger": run["trigger"],
        "slot": run["slot"],
        "business date": run["business_date"],
        "as of": _local(run["as_of"], zone),
        "on": f"{run['host']}, process {run['pid']}, kibray-ops {run['version']}",
        "options": json.dumps(run["arguments"]) if run["arguments"] else None,
        "exit code": run["exit_code"],
    }
    told = {name: value for name, value in facts.items() if value not in (None, "")}
    for name, value in (run["result"] or {}).items():
        shown = ", ".join(f"{key}: {part}" for key, part in value.items()) if isinstance(value, dict) else value
        told[name.replace("_", " ")] = shown
    width = max(map(len, told))
    for name, value in told.items():
        out.print(f"  {name:<{width}}  {escape(str(value))}", soft_wrap=True)
    render.show_problems([_problem(problem) for problem in run["problems"]], out, title="Problems")
    if run["error"]:
        out.print("\n[bold]Error[/]")
        out.print(escape(run["error"]), style="red")


def _style(run: "RowMapping") -> str:
    return render.STYLES.get(run["status"], "red")


def _local(moment: "datetime | None", zone: "ZoneInfo") -> str:
    return "" if moment is None else f"{moment.astimezone(zone):%Y-%m-%d %H:%M:%S}"


def _duration(run: "RowMapping") -> str:
    from kibray_ops.history import duration

    return render.took(duration(run))


def _problem(stored: dict[str, Any]) -> Any:
    from kibray_ops.job import Problem

    return Problem(**stored)
