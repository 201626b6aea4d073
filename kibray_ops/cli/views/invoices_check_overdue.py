"""Overdue invoices, the most urgent first, and who is told of them."""

from typing import TYPE_CHECKING

from kibray_ops.cli.render import counted, heading, show_problems
from kibray_ops.cli.table import MOST_LINES, money, print_table, summed
from kibray_ops.cli.views import receivables
from kibray_ops.cli.views.receivables import BALANCE, DAYS, DUE, INVOICE, PROJECT, STATUS
from kibray_ops.cli.views.told import TOLD_NOTE, told_column, told_whom

if TYPE_CHECKING:
    from rich.console import Console

    from kibray_ops.report import Report

CSV_COLUMNS = {**receivables.CSV_COLUMNS, "stage": "Stage", "told_to": "Told to"}
COLUMNS = (
    INVOICE,
    PROJECT,
    DUE,
    DAYS,
    BALANCE,
    summed("Priority", "priority", lambda value: f"{value:,.0f}", 80),
    STATUS,
    told_column(70),
)


def show(told: "Report", out: "Console") -> None:
    """Print one line per overdue invoice, the totals, who is told, and what needs a look."""
    result = told.result
    overdue = [row for row in told.rows if row["told_to"] is not None]
    out.print(heading(told, f"Overdue invoices on {result['date']}"))
    out.print(f"{counted(len(overdue), 'invoice')} past due, {money(result['balance'])} in all.")
    out.print(_done(told))
    if overdue:
        ages = "  ".join(f"{name} days {money(total)}" for name, total in result["buckets"].items() if total)
        out.print(f"[dim]{ages}[/]\n")
        print_table(out, COLUMNS, overdue, most=MOST_LINES)
        out.print(f"\n[dim]Priority: balance × days past due. {TOLD_NOTE}[/]")
    show_problems(told.problems, out)


def _done(told: "Report") -> str:
    result = told.result
    verb = "would be" if told.dry_run else "was" if result["updated"] == 1 else "were"
    return f"{result['updated']:,} {verb} marked OVERDUE; {told_whom(told)}."
