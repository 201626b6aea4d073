"""Daily plans that are still drafts past their deadline."""

from datetime import timedelta
from typing import TYPE_CHECKING

from kibray_ops.cli.render import counted, heading, show_problems
from kibray_ops.cli.table import MOST_LINES, Column, print_table
from kibray_ops.cli.views.told import TOLD_NOTE, told_column, told_whom
from kibray_ops.messages import en

if TYPE_CHECKING:
    from rich.console import Console

    from kibray_ops.report import Report

CSV_COLUMNS = {
    "plan_id": "Plan ID",
    "project_id": "Project ID",
    "project": "Project",
    "plan_date": "Plan date",
    "completion_deadline": "Deadline",
    "late_minutes": "Late, minutes",
    "created_by": "Created by",
    "repeats": "Told daily",
    "told_to": "Told to",
}
COLUMNS = (
    Column("Plan for", lambda row: str(row["plan_date"]), is_text=True),
    Column("Project", lambda row: row["project"], is_text=True, may_be_cut=True),
    Column("Deadline", lambda row: f"{row['completion_deadline']:%Y-%m-%d %H:%M}", least_width=80, is_text=True),
    Column("Late", lambda row: en.lasting(timedelta(minutes=row["late_minutes"]))),
    Column("Created by", lambda row: row["created_by"], least_width=80, is_text=True, may_be_cut=True),
    told_column(),
    Column("Again", lambda row: "daily" if row["repeats"] else "never", least_width=60, is_text=True),
)


def show(told: "Report", out: "Console") -> None:
    """Print one line per late plan, who is told, and what needs a look."""
    result = told.result
    out.print(heading(told, f"Daily plans past their deadline on {result['date']}"))
    out.print(f"{counted(result['late'], 'late draft')}; {told_whom(told)}.")
    silent = (
        (result["told_before"], "whose day has passed, told before"),
        (result["left_alone"], "of projects that have ended or are archived"),
    )
    if said := "; ".join(f"{counted(count, 'draft')} {words}" for count, words in silent if count):
        out.print(f"[dim]Left alone: {said}.[/]")
    if told.rows:
        out.print()
        print_table(out, COLUMNS, told.rows, most=MOST_LINES)
        out.print(f"\n[dim]{TOLD_NOTE} Again: daily until the plan's day has passed.[/]")
    show_problems(told.problems, out)
