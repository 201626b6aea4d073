"""An outcome or an error → a report in the terminal, or one JSON object."""

import errno
import os
import sys
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import TYPE_CHECKING, Any, Literal, TextIO

import typer

from kibray_ops import errors, registry, settings
from kibray_ops.registry import Job
from kibray_ops.text import fit_to_print, printable, tame

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from kibray_ops.job import Problem
    from kibray_ops.report import Report

STYLES = {"succeeded": "green", "running": "cyan", "skipped": "dim", "partial": "yellow"}
"""Colours of the states of a run; the others are red."""
NO_ROOM_LEFT = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""Why a stream takes no more."""
PIPE_WIDTH = 160
"""Columns of a report that nobody wraps: in a pipe or a file."""


@dataclass(frozen=True)
class Invocation:
    """What the words before the command said."""

    cron: bool = False


@dataclass(frozen=True)
class Output:
    """How the report is wanted."""

    as_json: bool = False
    quiet: bool = False
    verbose: bool = False
    cron: bool = False


def report(job: Job, told: "Report", found: settings.Settings, output: Output, *, to_stdout: bool) -> None:
    """Show a run's report; `to_stdout` says that stdout is taken by something else."""
    if output.verbose and told.traceback:
        sys.stderr.write(tame(found.redact(told.traceback)))
    if sys.stderr.isatty():
        for warning in found.warnings:
            sys.stderr.write(f"Warning: {warning}\n")
    if output.as_json:
        print_json(envelope(told, found))
        return
    if told.has_outcome:
        _show_outcome(job, told, output, to_stdout=to_stdout)
    if told.error is not None:
        print_error(told.error, found, run_id=told.run_id)


def _show_outcome(job: Job, told: "Report", output: Output, *, to_stdout: bool) -> None:
    if (output.cron and told.exit_code == errors.DONE) or told.status == "skipped":
        return
    if output.quiet or to_stdout:
        for problem in told.problems:
            if problem.severity == "failure":
                sys.stderr.write(printable(f"{problem.subject}: {problem.message}") + "\n")
        return
    show = getattr(view_of(job), "show", None) or _show_rows
    show(told, console())


def failure(error: BaseException, arguments: list[str]) -> int:
    """Show an error that no run caught, and return its exit code."""
    from kibray_ops.report import explained

    told = explained(error)
    found = settings.load()
    if {"--verbose", "-v"} & set(arguments):
        sys.stderr.write(tame(found.redact("".join(traceback.format_exception(error)))))
    if "--json" in arguments:
        print_json(envelope(_unbegun(arguments, told), found))
    else:
        print_error(told, found)
    return told.exit_code


def usage(error: typer.TyperException, arguments: list[str]) -> int:
    """Show what is wrong with the words of a command, and return the exit code."""
    context = getattr(error, "ctx", None)
    if type(error).__name__ == "NoArgsIsHelpError" and context is not None:
        sys.stdout.write(f"{error.format_message()}\n")  # empty where Rich has printed the help already
        return error.exit_code
    where = context.command_path if context is not None else "kibray-ops"
    told = errors.UsageError(error.format_message(), hint=f"`{where} --help` shows what it takes.")
    return failure(told, arguments)


def envelope(told: "Report", found: settings.Settings) -> dict[str, Any]:
    """Return the one JSON object of a run; its keys are always the same, and no secret is in it.

    Only what others wrote is searched for secrets: a password such as `true` or `2025` must not spoil the rest.
    """
    return {
        "schema": 1,
        "job": told.job,
        "run_id": told.run_id,
        "status": told.status,
        "exit_code": told.exit_code,
        "dry_run": told.dry_run,
        "trigger": told.trigger,
        "slot": told.slot,
        "as_of": told.as_of,
        "started_at": told.started_at,
        "finished_at": told.finished_at,
        "result": told.result,
        "rows": told.rows,
        "problems": as_dicts(told.problems, found),
        "error": None if told.error is None else _error(told.error, found),
    }


def as_dicts(problems: "list[Problem]", found: settings.Settings) -> list[dict[str, Any]]:
    """Return problems as they are printed as JSON."""
    return [{**problem.as_dict(), "message": found.redact(problem.message)} for problem in problems]


def _unbegun(arguments: list[str], error: errors.KibrayOpsError) -> "Report":
    """Return the report of a command that failed before its run began."""
    from kibray_ops.clock import real_now
    from kibray_ops.report import Report, Trigger

    now = real_now()
    job = _job_meant([word for word in arguments if not word.startswith("-")])
    dry_run = bool({"--dry-run", "-n"} & set(arguments))
    trigger = Trigger.CRON if "--cron" in arguments else Trigger.MANUAL
    unbegun = Report(job.name if job else "", dry_run, trigger, now, finished_at=now)
    unbegun.fail(error)
    return unbegun


def _job_meant(words: Sequence[str]) -> Job | None:
    """Return the job that the words of a command line begin with, whatever stands before them: a value of an option."""
    for start in range(len(words)):
        if words[start : start + 2] == ["jobs", "run"]:
            return registry.named("".join(words[start + 2 : start + 3]))
        for job in (*registry.JOBS, *registry.ACTIONS, *registry.REPORTS):
            if words[start : start + len(job.command)] == list(job.command):
                return job
    return None


def _error(told: errors.KibrayOpsError, found: settings.Settings) -> dict[str, str]:
    return {"type": type(told).__name__, "message": found.redact(told.message), "hint": found.redact(told.hint)}


def print_json(value: Any) -> None:
    """Print one JSON object."""
    from kibray_ops.database import to_json

    sys.stdout.write(to_json(value) + "\n")


def print_error(told: errors.KibrayOpsError, found: settings.Settings, *, run_id: int | None = None) -> None:
    """Print what happened and what to do next."""
    red, plain = ("\033[1;31m", "\033[0m") if _in_colour() else ("", "")
    where = f" (run {run_id})" if run_id is not None else ""
    message, hint = (fit_to_print(found.redact(words)) for words in (told.message, told.hint))
    sys.stderr.write(f"{red}kibray-ops:{plain} {message}{where}\n  {hint}\n")


def _in_colour() -> bool:
    return sys.stderr.isatty() and not os.environ.get("NO_COLOR")


def nowhere() -> TextIO:
    """Return a stream that forgets what is written to it."""
    return open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123 - lives until the process ends


def abandon_stdout() -> None:
    """Write to stdout no more: nobody reads it, or it takes nothing."""
    sys.stdout = nowhere()


def without_room(error: Exception) -> errors.KibrayOpsError | None:
    """Return what to tell where stdout took no more, and write there no more; None where it was something else."""
    if not isinstance(error, OSError) or error.filename or error.errno not in NO_ROOM_LEFT:
        return None
    abandon_stdout()
    return errors.KibrayOpsError(
        f"The output could not be written: {error.strerror}.", hint="Make room where it goes, or send it elsewhere."
    )


def console() -> "Console":
    """Return the console for stdout; in a pipe it is wide, so that no line is broken."""
    from rich.console import Console

    class Pipe(Console):
        def on_broken_pipe(self) -> None:
            raise BrokenPipeError  # Rich would exit with 1; what that means is for the caller to say

        def render_str(self, text: str, **how: Any) -> "Text":
            return super().render_str(tame(text), **how)  # whoever wrote it, and wherever it is shown

    if sys.stdout.isatty():
        return Pipe(highlight=False, emoji=False)
    columns = os.environ.get("COLUMNS", "")
    return Pipe(highlight=False, emoji=False, width=int(columns) if columns.isdigit() and int(columns) else PIPE_WIDTH)


def table(*columns: str, right: Sequence[str] = (), yields: str = "") -> "Table":
    """Return an empty table for some lines; nothing wraps but the column that yields, else the last one."""
    from rich import box
    from rich.table import Table

    made = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=0)
    for name in columns:
        wraps = name == (yields or columns[-1])
        justify: Literal["left", "right"] = "right" if name in right else "left"
        made.add_column(name, justify=justify, no_wrap=not wraps, overflow="fold" if wraps else "ellipsis")
    return made


def view_of(job: Job) -> ModuleType | None:
    """Return the module that knows how a job's report looks, if there is one."""
    name = f"kibray_ops.cli.views.{job.path.rpartition('.')[2]}"
    return import_module(name) if find_spec(name) else None


def counted(count: int, one: str, many: str = "") -> str:
    """Return a number and its noun: 1 record, 2 records."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def took(seconds: float | None) -> str:
    """Return a length of time as people read it; nothing where nobody knows."""
    if seconds is None:
        return ""
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:,.1f} s"


def heading(told: "Report", title: str) -> str:
    """Return the first line of a report; a dry run says so before anything else."""
    return (
        f"[black on yellow] DRY RUN [/] [bold]{title}[/] [dim](nothing was written)[/]"
        if told.dry_run
        else f"[bold]{title}[/]"
    )


def show_problems(problems: "list[Problem]", out: "Console", *, title: str = "Needs a look") -> None:
    """Print failures first, then warnings, each with its subject."""
    from rich.markup import escape
    from rich.padding import Padding

    ordered = sorted(problems, key=lambda problem: problem.severity)
    if not ordered:
        return
    out.print(f"\n[bold]{title}[/]")
    for problem in ordered:
        mark, style = ("✗", "red") if problem.severity == "failure" else ("!", "yellow")
        line = f"[{style}]{mark}[/] [bold]{escape(problem.subject)}[/]: {escape(problem.message)}"
        out.print(Padding(line, (0, 0, 0, 2), expand=False))


def _show_rows(told: "Report", out: "Console") -> None:
    from rich.table import Table

    out.print(heading(told, told.job))
    if told.rows:
        table = Table(*(name.replace("_", " ") for name in told.rows[0]), box=None)
        for row in told.rows:
            table.add_row(*("" if value is None else str(value) for value in row.values()))
        out.print(table)
    out.print(", ".join(f"{name} {value}" for name, value in told.result.items()))
    show_problems(told.problems, out)
