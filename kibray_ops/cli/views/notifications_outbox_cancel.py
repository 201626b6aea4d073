"""What is not sent."""

from typing import TYPE_CHECKING

from kibray_ops.cli.render import counted
from kibray_ops.cli.views.outbox import CSV_DELIVERY, show_changed

if TYPE_CHECKING:
    from rich.console import Console

    from kibray_ops.report import Report

CSV_COLUMNS = CSV_DELIVERY


def show(told: "Report", out: "Console") -> None:
    """Print what is cancelled, as it was until now."""
    will = "would be cancelled" if told.dry_run else "cancelled"
    count = counted(told.result["cancelled"], "delivery", "deliveries")
    show_changed(told, "Outbox: cancel", f"{count} {will}.", out)
