"""Invoices whose state changes, or should."""

from typing import TYPE_CHECKING

from kibray_ops.cli.render import heading, show_problems
from kibray_ops.cli.table import Column, print_table, summed
from kibray_ops.cli.views.invoices_check_overdue import CSV_COLUMNS as OVERDUE_COLUMNS
from kibray_ops.cli.views.invoices_check_overdue import INVOICE, MOST_LINES, PROJECT, STATUS, show_rest

if TYPE_CHECKING:
    from rich.console import Console

    from kibray_ops.report import Report

CSV_COLUMNS = {name: title for name, title in OVERDUE_COLUMNS.items() if name not in ("stage", "told_to")}
COLUMNS = (
    INVOICE,
    PROJECT,
    Column("Due", lambda row: f"{row['due_date'] or ''}"),
    Column("Days", lambda row: str(row["days_past_due"] or ""), least_width=70),
    summed("Balance", "balance"),
    STATUS,
)


def show(told: "Report", out: "Console") -> None:
    """Print one line per invoice that changes, and what needs a look."""
    result = told.result
    changing = [row for row in told.rows if row["new_status"]]
    out.print(heading(told, f"Invoice statuses on {result['date']}"))
    would = "would become" if told.dry_run else "became"
    reopened = f", {result['reopened']} no longer past due" if result["reopened"] else ""
    out.print(f"{result['updated']} {would} OVERDUE, {result['paid']} PAID{reopened}.")
    if changing:
        out.print()
        print_table(out, COLUMNS, changing, most=MOST_LINES)
        show_rest(changing, out)
    show_problems(told.problems, out)
