"""What is not sent."""

from typing import TYPE_CHECKING

from kibray_ops.cli.render import counted, heading, show_problems
from kibray_ops.cli.table import MOST_LINES, print_table
from kibray_ops.cli.views.outbox import CSV_DELIVERY, DELIVERY

if TYPE_CHECKING:
    from rich.console import Console

    from kibray_ops.report import Report

CSV_COLUMNS = CSV_DELIVERY


def show(told: "Report", out: "Console") -> None:
    """Print what is cancelled, as it was until now."""
    out.print(heading(told, "Outbox: cancel"))
    will = "would be cancelled" if told.dry_run else "cancelled"
    out.print(f"{counted(told.result['cancelled'], 'delivery', 'deliveries')} {will}.")
    if told.rows:
        print_table(out, DELIVERY, told.rows, most=MOST_LINES)
    show_problems(told.problems, out)
