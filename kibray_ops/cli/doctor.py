"""kibray-ops doctor: what is right, what is not, and what to do about it."""

from collections import Counter
from typing import TYPE_CHECKING, Annotated

import typer

from kibray_ops import errors, settings
from kibray_ops.cli import render

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kibray_ops.doctor.finding import Finding

MARKS = {"ok": ("✓", "green"), "warning": ("!", "yellow"), "problem": ("✗", "red")}


def doctor(
    online: Annotated[
        bool, typer.Option("--online", help="Also log in at the mail server, and ask the SMS and weather services.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> int:
    """Look at everything that has to be right for the jobs to work; exit 1 when something is not."""
    from kibray_ops.doctor import examine

    found = settings.load()
    return show(list(examine(found, online=online)), as_json=as_json)


def show(findings: "Sequence[Finding]", *, as_json: bool) -> int:
    """Show what was found, and return the exit code."""
    counts = Counter(finding.level for finding in findings)
    code = errors.FAILED if counts["problem"] else errors.DONE
    if as_json:
        rows = [finding.as_dict() for finding in findings]
        render.print_json({"schema": 1, "problems": counts["problem"], "warnings": counts["warning"], "findings": rows})
        return code
    from rich.markup import escape
    from rich.table import Table

    table = Table.grid(padding=(0, 1, 0, 0))
    table.add_column()
    table.add_column(no_wrap=True, style="bold")
    table.add_column(overflow="fold")
    for finding in findings:
        mark, style = MARKS[finding.level]
        hint = f"\n[dim]→ {escape(finding.hint)}[/]" if finding.hint else ""
        table.add_row(f"[{style}]{mark}[/]", escape(finding.subject), f"{escape(finding.message)}{hint}")
    out = render.console()
    out.print(table)
    told = [render.counted(counts[level], level) for level in ("problem", "warning") if counts[level]]
    out.print(f"\n{' and '.join(told)}." if told else "\nAll is well.")
    return code
