"""What comes back from the archive."""

from typing import TYPE_CHECKING

from kibray_ops.cli.render import counted, heading, show_problems
from kibray_ops.cli.table import MOST_LINES, Column, print_table

if TYPE_CHECKING:
    from rich.console import Console

    from kibray_ops.report import Report

CSV_COLUMNS = {
    "notification_id": "Notification ID",
    "user_id": "User ID",
    "title": "Title",
    "created_at": "Written",
    "action": "Action",
    "reason": "Why not",
}
COLUMNS = (
    Column("ID", lambda row: str(row["notification_id"])),
    Column("User", lambda row: str(row["user_id"])),
    Column("Notification", lambda row: row["title"], is_text=True, may_be_cut=True),
    Column("Written", lambda row: f"{row['created_at']:%Y-%m-%d}", is_text=True),
    Column("Action", lambda row: row["action"], is_text=True),
)


def show(told: "Report", out: "Console") -> None:
    """Print what is restored, and what could not be."""
    out.print(heading(told, "Notifications from the archive"))
    verb = "would be restored" if told.dry_run else "restored"
    out.print(f"{counted(told.result['restored'], 'notification')} {verb}.")
    if told.rows:
        print_table(out, COLUMNS, told.rows, most=MOST_LINES)
    show_problems(told.problems, out)
