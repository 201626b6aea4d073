"""Invoices whose state changes, or should."""

from typing import TYPE_CHECKING

from kibray_ops.cli.render import heading, show_problems
from kibray_ops.cli.table import MOST_LINES, print_table
from kibray_ops.cli.views.receivables import BALANCE, CSV_COLUMNS, DAYS, DUE, INVOICE, PROJECT, STATUS

if TYPE_CHECKING:
    from rich.console import Console

    from kibray_ops.report import Report

__all__ = ["CSV_COLUMNS", "show"]
COLUMNS = (INVOICE, PROJECT, DUE, DAYS, BALANCE, STATUS)


def show(told: "Report", out: "Console") -> None:
    """Print one line per invoice that changes, and what needs a look."""
    result = told.result
    changing = [row for row in told.rows if row["new_status"]]
    out.print(heading(told, f"Invoice statuses on {result['date']}"))
    would = "would become" if told.dry_run else "became"
    reopened = f"; {result['reopened']:,} no longer past due" if result["reopened"] else ""
    out.print(f"{result['updated']:,} {would} OVERDUE, {result['paid']:,} PAID{reopened}.")
    if changing:
        out.print()
        print_table(out, COLUMNS, changing, most=MOST_LINES)
    show_problems(told.problems, out)
