"""What was taken back, and what stays."""

from decimal import Decimal
from typing import TYPE_CHECKING

from kibray_ops.cli.render import counted, heading, show_problems
from kibray_ops.job import trimmed

if TYPE_CHECKING:
    from rich.console import Console

    from kibray_ops.report import Report

CSV_COLUMNS = {
    "employee_id": "Employee ID",
    "employee": "Employee",
    "total_hours": "Total hours",
    "gross_pay": "Gross pay",
    "action": "Record",
    "record_id": "Record ID",
}


def show(told: "Report", out: "Console") -> None:
    """Print the records that go, and why the others stay."""
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    result = told.result
    out.print(heading(told, f"Payroll records of the week {result['week']}"))
    verb = "would be discarded" if told.dry_run else "discarded"
    period = f" The empty period {result['period_id']} goes with them." if result["period_id"] else ""
    out.print(f"{counted(result['discarded'], 'record')} {verb}, {result['kept']} kept.{period}\n")
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, show_footer=True, pad_edge=False)
    gone = [row for row in told.rows if row["action"] == "discarded"]
    table.add_column("Record", "", justify="right")
    table.add_column("Employee", "Total", overflow="ellipsis", no_wrap=True)
    table.add_column("Hours", trimmed(sum((row["total_hours"] for row in gone), Decimal(0))), justify="right")
    table.add_column("Gross", f"{sum((row['gross_pay'] for row in gone), Decimal(0)):,.2f}", justify="right")
    for row in gone:
        table.add_row(
            str(row["record_id"]), escape(row["employee"]), trimmed(row["total_hours"]), f"{row['gross_pay']:,.2f}"
        )
    if gone:
        out.print(table)
        week = result["week"][:10]
        out.print(f"\ncron does not make this week again: kibray-ops payroll generate --week {week}", soft_wrap=True)
    show_problems(told.problems, out)
