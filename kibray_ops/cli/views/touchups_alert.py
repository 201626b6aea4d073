"""Projects with many urgent touch-ups, the most urgent first."""

from typing import TYPE_CHECKING, Any

from kibray_ops.cli.render import counted, heading, show_problems
from kibray_ops.cli.table import INDENT, MOST_LINES, Column, print_table, summed
from kibray_ops.cli.views.told import TOLD_NOTE, told_column, told_whom

if TYPE_CHECKING:
    from rich.console import Console

    from kibray_ops.report import Report

CSV_COLUMNS = {
    "project_id": "Project ID",
    "project": "Project",
    "touchups": "Touch-ups",
    "urgent": "Urgent",
    "high": "High",
    "oldest_days": "Oldest, days",
    "managers": "Managers",
    "told_to": "Told to",
}


def _count(value: Any) -> str:
    return f"{value:,}" if value else "·"


COLUMNS = (
    Column("Project", lambda row: row["project"], lambda _: "Total", is_text=True, may_be_cut=True),
    summed("Touch-ups", "touchups", _count),
    summed("Urgent", "urgent", _count),
    summed("High", "high", _count),
    Column("Oldest", lambda row: counted(row["oldest_days"], "day")),
    Column("Managers", lambda row: _count(row["managers"]), least_width=70),
    told_column(60),
)


def show(told: "Report", out: "Console") -> None:
    """Print one line per project with its most urgent touch-ups, who is told, and what needs a look."""
    result = told.result
    out.print(heading(told, f"Urgent and high-priority touch-ups on {result['date']}"))
    sites = counted(result["projects"], "project")
    have = "has" if result["projects"] == 1 else "have"
    out.print(f"{sites} {have} {result['threshold']} or more open; {told_whom(told)}.")
    if told.rows:
        out.print()
        print_table(out, COLUMNS, told.rows, below=_first, most=MOST_LINES)
        out.print(f"\n[dim]{TOLD_NOTE}[/]")
    show_problems(told.problems, out)


def _first(row: dict[str, Any], width: int) -> str:
    """Return as many of the most urgent touch-ups as the line holds, and how many more there are."""
    from rich.cells import cell_len

    said, named = INDENT, 0
    for touchup in row["first"]:
        more = f"{'; ' if named else ''}{touchup['priority']}, {counted(touchup['days'], 'day')}: {touchup['title']}"
        if named and cell_len(said + more) > width - len("; 999 more"):
            break
        said, named = said + more, named + 1
    left = row["touchups"] - named
    return f"{said}; {left} more" if left else said
