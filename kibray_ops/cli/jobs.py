"""Turn every registered job into its command: the job's own options from its signature, and the shared ones."""

import inspect
import re
import sys
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperArgument, TyperCommand, TyperGroup, TyperOption
from typer.main import get_command

from kibray_ops import registry, settings
from kibray_ops.cli import log, render
from kibray_ops.cli.sheet import prepare
from kibray_ops.clock import Clock, real_now
from kibray_ops.errors import DONE, FAILED, KibrayOpsError, UsageError
from kibray_ops.registry import Job

if TYPE_CHECKING:
    from kibray_ops.job import Progress
    from kibray_ops.report import Report
    from kibray_ops.runner import JobFunction

SHARED: dict[str, Any] = {
    "dry_run": Annotated[bool, typer.Option("--dry-run", "-n", help="Show what would be done; write nothing.")],
    "as_json": Annotated[bool, typer.Option("--json", help="Print one JSON object.")],
    "as_of": Annotated[
        str | None, typer.Option("--as-of", metavar="WHEN", help="Work as if it were this date or moment.")
    ],
    "csv": Annotated[
        Path | None, typer.Option("--csv", metavar="FILE", help="Write the report's lines to a CSV file, - for stdout.")
    ],
    "quiet": Annotated[bool, typer.Option("--quiet", "-q", help="Print errors only.")],
    "verbose": Annotated[bool, typer.Option("--verbose", "-v", help="Log more, and show tracebacks.")],
}
"""The options of every job."""


class JobCommand(TyperCommand):
    """A command in which an option whose metavar stands in brackets may stand bare, which means its default.

    Typer has no optional option values: it would take the next word, or miss one. And it takes a negative number for an
    option.
    """

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        names = {name for option in self.params if option.name in _may_be_bare(self) for name in option.opts}
        words = _without_bare(args, names)
        if any(isinstance(param, TyperArgument) for param in self.params):
            options = (param for param in self.params if isinstance(param, TyperOption) and not param.is_flag)
            words = _numbers_last(words, {name for option in options for name in option.opts})
        return super().parse_args(ctx, words)


def _may_be_bare(command: Any) -> set[str]:
    return {option.name for option in command.params if str(getattr(option, "metavar", "")).startswith("[")}


def _without_bare(words: list[str], may_be_bare: set[str]) -> list[str]:
    kept: list[str] = []
    for position, word in enumerate(words):
        if word == "--":
            return kept + words[position:]
        followed = words[position + 1 : position + 2]
        if word not in may_be_bare or (followed and not followed[0].startswith("-")):
            kept.append(word)
    return kept


def _numbers_last(words: list[str], takes_value: set[str]) -> list[str]:
    """Return words in an order in which -104.99 is no option: options first, and what stands at its place last."""
    options: list[str] = []
    places: list[str] = []
    rest = iter(words)
    for word in rest:
        if word == "--":
            places += rest
        elif word.startswith("-") and not re.match(r"-\.?[0-9]", word):
            options += [word, *islice(rest, word in takes_value)]
        else:
            places.append(word)
    return [*options, "--", *places]


class Unloaded(TyperCommand):
    """A job's place in the list of commands: its module is imported only when the job is asked for."""

    def __init__(self, job: Job, name: str = "") -> None:
        super().__init__(name or job.command[-1], help=job.summary)
        self.job = job


class JobGroup(TyperGroup):
    """The jobs whose command begins with the group's name."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        for job in registry.in_group(self.name or ""):
            self.add_command(Unloaded(job))

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        name, command, rest = super().resolve_command(ctx, args)
        return name, command_of(command.job) if isinstance(command, Unloaded) else command, rest


def command_of(job: Job) -> TyperCommand:
    """Return a job's command, its options included."""
    single = typer.Typer(add_completion=False)
    single.command(job.command[-1], cls=JobCommand, help=_help(job))(_callback(job))
    command = get_command(single)
    assert isinstance(command, TyperCommand)  # noqa: S101 - for the type checker; one command makes no group
    return command


def _help(job: Job) -> str:
    # The docstring is written for the person at the terminal, but for its last paragraph: what it raises.
    paragraphs = (inspect.getdoc(_function(job)) or job.summary).split("\n\n")
    return "\n\n".join(" ".join(text.split()) for text in paragraphs if not text.startswith("Raises"))


def _function(job: Job) -> "JobFunction":
    from kibray_ops.runner import load

    return load(job)


def _callback(job: Job) -> Callable[..., int]:
    declared = inspect.signature(_function(job), eval_str=True).parameters.values()
    own = [parameter.replace(kind=parameter.KEYWORD_ONLY) for parameter in declared if parameter.name != "run"]

    def call(context: typer.Context, **words: Any) -> int:
        options = {p.name: words[p.name] for p in own if words[p.name] != p.default}
        if context.obj.cron and (named := options.keys() & _may_be_bare(context.command)):
            raise UsageError(
                f"--cron works for its slot, so --{min(named)} takes no value then.", hint="Leave the value out."
            )
        shared = {name: words[name] for name in SHARED}
        return _start(job, options, cron=context.obj.cron, **shared)

    shared = [
        inspect.Parameter(
            name, inspect.Parameter.KEYWORD_ONLY, annotation=kind, default=None if name in ("as_of", "csv") else False
        )
        for name, kind in SHARED.items()
    ]
    context = inspect.Parameter("context", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=typer.Context)
    parameters = [context, *own, *shared]
    call.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    call.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return call


def _start(
    job: Job,
    options: dict[str, Any],
    *,
    cron: bool,
    dry_run: bool,
    as_json: bool,
    as_of: str | None,
    csv: Path | None,
    quiet: bool,
    verbose: bool,
) -> int:
    from kibray_ops.cli.progress import watched
    from kibray_ops.report import Report, Trigger

    trigger = Trigger.CRON if cron else Trigger.MANUAL
    output = render.Output(as_json=as_json, quiet=quiet, verbose=verbose, cron=cron)
    report = Report(job.name, dry_run, trigger, real_now())
    found = settings.load()
    sheet = None
    try:
        sheet = prepare(csv, as_json=as_json, database=found.sqlite_file)
        with watched(quiet=quiet or as_json or cron) as progress:
            report = _execute(job, options, found, trigger, progress, as_of=as_of, dry_run=dry_run, verbose=verbose)
    except KibrayOpsError as error:
        report.fail(error)
        report.finished_at = real_now()
        if cron and job.cron and found["PING_URL"]:
            from kibray_ops.heartbeat import Heartbeat

            Heartbeat(found["PING_URL"], job).ended(report)
    try:
        if sheet is not None and report.has_outcome:
            sheet.write(getattr(render.view_of(job), "CSV_COLUMNS", {}), report.rows)
    except BrokenPipeError:
        render.abandon_stdout()
    except OSError as error:
        report.error, report.exit_code = _unwritten(report, error), FAILED
    if report.exit_code != DONE:
        log.release()
    try:
        render.report(job, report, found, output, to_stdout=sheet is not None and sheet.is_stdout)
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader has gone (`| head`): the work is done all the same, and its exit code counts.
        render.abandon_stdout()
    except OSError as error:
        render.abandon_stdout()
        render.print_error(_unwritten(report, error), found)
        return report.exit_code or FAILED
    return report.exit_code


def _unwritten(report: "Report", error: OSError) -> KibrayOpsError:
    shown = f"; `kibray-ops runs show {report.run_id}` has it" if report.run_id else ""
    return KibrayOpsError(
        f"The report could not be written: {error.strerror}.",
        hint=f"The run itself is done ({report.status}){shown}.",
    )


def _execute(
    job: Job,
    options: dict[str, Any],
    found: settings.Settings,
    trigger: Any,
    progress: "Progress",
    *,
    as_of: str | None,
    dry_run: bool,
    verbose: bool,
) -> "Report":
    from kibray_ops.report import Trigger
    from kibray_ops.runner import execute
    from kibray_ops.schedule import parse_as_of

    log.configure(found, verbose=verbose, held=trigger is Trigger.CRON)
    clock = Clock(found.checked().zone)
    if as_of is not None:
        clock = clock.at(parse_as_of(as_of, job, clock.zone))
    return execute(
        job, settings=found, clock=clock, trigger=trigger, dry_run=dry_run, options=options, progress=progress
    )
