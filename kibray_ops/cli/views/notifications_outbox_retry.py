"""What is sent again."""

from typing import TYPE_CHECKING

from kibray_ops.cli.render import counted, heading, show_problems
from kibray_ops.cli.table import MOST_LINES, print_table
from kibray_ops.cli.views.outbox import CSV_DELIVERY, DELIVERY

if TYPE_CHECKING:
    from rich.console import Console

    from kibray_ops.report import Report

CSV_COLUMNS = CSV_DELIVERY


def show(told: "Report", out: "Console") -> None:
    """Print what the next run sends again, as it was until now."""
    out.print(heading(told, "Outbox: retry"))
    again = "would be sent again" if told.dry_run else "to be sent again"
    out.print(
        f"{counted(told.result['retried'], 'delivery', 'deliveries')} {again} by the next "
        "`kibray-ops notifications send`."
    )
    if told.rows:
        print_table(out, DELIVERY, told.rows, most=MOST_LINES)
    show_problems(told.problems, out)
