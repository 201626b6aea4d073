"""What is archived and pruned."""

from typing import TYPE_CHECKING

from kibray_ops.cli.render import counted, heading, show_problems
from kibray_ops.cli.table import MOST_LINES, Column, print_table

if TYPE_CHECKING:
    from rich.console import Console

    from kibray_ops.report import Report

CSV_COLUMNS = {
    "user_id": "User ID",
    "user": "User",
    "notifications": "Notifications",
    "oldest": "Oldest",
    "newest": "Newest",
}
COLUMNS = (
    Column("User", lambda row: row["user"], is_text=True, may_be_cut=True),
    Column("Notifications", lambda row: f"{row['notifications']:,}"),
    Column("Oldest", lambda row: f"{row['oldest']:%Y-%m-%d}", is_text=True),
    Column("Newest", lambda row: f"{row['newest']:%Y-%m-%d}", is_text=True),
)
PRUNED = {
    "pruned_runs": ("run record", ""),
    "pruned_ledger": ("ledger entry", "ledger entries"),
    "pruned_deliveries": ("delivery", "deliveries"),
    "pruned_forecasts": ("forecast", ""),
    "pruned_places": ("place", ""),
    "pruned_restored": ("mark of a restored notification", "marks of restored notifications"),
    "purged": ("archived notification", ""),
}


def show(told: "Report", out: "Console") -> None:
    """Print how many notifications of whom are moved, and what else goes."""
    result = told.result
    out.print(heading(told, f"Notifications read and older than {result['older_than_days']} days"))
    count = counted(result["archived"], "notification")
    if told.dry_run:
        out.print(f"{count} would be archived.")
    else:
        out.print(f"{count} archived; `kibray-ops notifications archive list` shows the newest.")
    if gone := [counted(result[name], *words) for name, words in PRUNED.items() if result.get(name)]:
        out.print(f"{'Would be deleted' if told.dry_run else 'Deleted'}: {', '.join(gone)}.")
    if told.rows:
        out.print()
        print_table(out, COLUMNS, told.rows, most=MOST_LINES)
    show_problems(told.problems, out)
