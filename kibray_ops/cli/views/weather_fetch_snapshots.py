"""The day's forecast for every job site."""

from typing import TYPE_CHECKING

from kibray_ops.cli.render import counted, heading
from kibray_ops.cli.table import Column
from kibray_ops.cli.views.weather import CSV_PLACE, CSV_WEATHER, NOTHING, PLACE, WEATHER, show_lines

if TYPE_CHECKING:
    from rich.console import Console

    from kibray_ops.report import Report

CSV_COLUMNS = {"project_id": "Project ID", "project": "Project", **CSV_PLACE, "date": "Date", **CSV_WEATHER}
COLUMNS = (
    Column("Project", lambda row: row["project"], is_text=True, may_be_cut=True),
    *PLACE,
    Column("Date", lambda row: str(row["date"] or NOTHING), least_width=120, is_text=True),
    *WEATHER,
)


def show(told: "Report", out: "Console") -> None:
    """Print one line per project: where it is and what the weather will be; then what needs a look."""
    result = told.result
    out.print(heading(told, f"Weather of {result['date']} at the job sites"))
    written = result["created"] + result["updated"]
    have = "would have" if told.dry_run else "have"
    out.print(
        f"{written:,} of {counted(result['total_projects'], 'active project')} {have} a forecast "
        f"({result['created']:,} new, {result['updated']:,} there before); "
        f"{result['without_place']:,} without a place, {counted(len(result['errors']), 'failure')}."
    )
    show_lines(told, out, COLUMNS)
