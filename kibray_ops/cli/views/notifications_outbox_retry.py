"""What is sent again."""

from typing import TYPE_CHECKING

from kibray_ops.cli.render import counted
from kibray_ops.cli.views.outbox import CSV_DELIVERY, show_changed

if TYPE_CHECKING:
    from rich.console import Console

    from kibray_ops.report import Report

CSV_COLUMNS = CSV_DELIVERY


def show(told: "Report", out: "Console") -> None:
    """Print what is put back for the next run, as it was until now."""
    back = "would be put back" if told.dry_run else "put back"
    count = counted(told.result["retried"], "delivery", "deliveries")
    show_changed(told, "Outbox: retry", f"{count} {back} for the next `kibray-ops notifications send`.", out)
