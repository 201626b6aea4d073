"""What is sent again."""

from typing import TYPE_CHECKING

from kibray_ops.cli.render import counted
from kibray_ops.cli.views.outbox import CSV_DELIVERY, show_changed

if TYPE_CHECKING:
    from rich.console import Console

    from kibray_ops.report import Report

CSV_COLUMNS = CSV_DELIVERY


def show(told: "Report", out: "Console") -> None:
    """Print what the next run sends again, as it was until now."""
    again = "would be sent again" if told.dry_run else "to be sent again"
    count = counted(told.result["retried"], "delivery", "deliveries")
    show_changed(told, "Outbox: retry", f"{count} {again} by the next `kibray-ops notifications send`.", out)
