"""Who is told what, in words: the same in the report of every job that tells."""

from typing import TYPE_CHECKING

from kibray_ops.cli.render import counted
from kibray_ops.cli.table import Column

if TYPE_CHECKING:
    from kibray_ops.report import Report

TOLD_NOTE = "Told: how many people hear of it now."


def told_column(least_width: int = 0) -> Column:
    """Return the column that tells how many people hear of a row, where the terminal has so many columns."""
    return Column("Told", lambda row: str(row["told_to"] or ""), least_width=least_width)


def told_whom(told: "Report") -> str:
    """Return how many people get how many notifications; without a full stop."""
    result = told.result
    if not result["notifications"]:
        return f"nobody {'would be' if told.dry_run else 'was'} told anything new"
    written = counted(result["notifications"], "notification")
    if summaries := result["summaries"]:
        written += f", {'all' if summaries == result['notifications'] else summaries} of them summaries"
    return f"{counted(result['recipients'], 'person', 'people')} {'would get' if told.dry_run else 'got'} {written}"
