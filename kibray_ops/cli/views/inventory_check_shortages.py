"""What is short in stock, the emptiest first."""

from typing import TYPE_CHECKING, Any

from kibray_ops.cli.render import counted, heading, show_problems
from kibray_ops.cli.table import MOST_LINES, Column, bar, print_table
from kibray_ops.cli.views.told import told_whom
from kibray_ops.job import trimmed

if TYPE_CHECKING:
    from rich.console import Console

    from kibray_ops.report import Report

LONGEST_BAR = 20
CSV_COLUMNS = {
    "item_id": "Item ID",
    "item": "Item",
    "category": "Category",
    "have": "Have",
    "need": "Need",
    "short": "Short",
    "unit": "Unit",
}


def _bar(row: dict[str, Any]) -> str:
    return bar(max(row["have"], 0) / row["need"], LONGEST_BAR).ljust(LONGEST_BAR, "░")


COLUMNS = (
    Column("Item", lambda row: row["item"], is_text=True, may_be_cut=True),
    Column("Category", lambda row: row["category"], least_width=90, is_text=True, may_be_cut=True),
    Column("Have", lambda row: trimmed(row["have"])),
    Column("Need", lambda row: trimmed(row["need"])),
    Column("Short", lambda row: trimmed(row["short"])),
    Column("Unit", lambda row: row["unit"], is_text=True, may_be_cut=True),
    Column("In stock", _bar, least_width=70, is_text=True),
)


def show(told: "Report", out: "Console") -> None:
    """Print one line per item that is short, who is told, and what needs a look."""
    result = told.result
    out.print(heading(told, f"Stock below its threshold on {result['date']}"))
    checked, are = counted(result["items_checked"], "item"), "is" if result["low_stock_count"] == 1 else "are"
    out.print(f"{result['low_stock_count']:,} of {checked} with a threshold {are} short; {told_whom(told)}.")
    if told.rows:
        out.print()
        print_table(out, COLUMNS, told.rows, most=MOST_LINES)
    show_problems(told.problems, out)
