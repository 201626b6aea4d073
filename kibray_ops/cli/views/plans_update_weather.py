"""The forecast in the daily plans."""

from dataclasses import replace
from typing import TYPE_CHECKING

from kibray_ops.cli.render import counted, heading
from kibray_ops.cli.table import Column
from kibray_ops.cli.views.weather import CSV_PLACE, CSV_WEATHER, PLACE, WEATHER, show_lines

if TYPE_CHECKING:
    from rich.console import Console

    from kibray_ops.report import Report

CSV_COLUMNS = {
    "plan_id": "Plan ID",
    "plan_date": "Plan date",
    "project_id": "Project ID",
    "project": "Project",
    **CSV_PLACE,
    **CSV_WEATHER,
}
SAID = {
    "updated": "new",
    "skipped_recent": "recent",
    "skipped_no_address": "no place",
    "skipped_changed": "overtaken",
    "failed": "failed",
}
COLUMNS = (
    Column("Plan for", lambda row: str(row["plan_date"]), is_text=True),
    Column("Project", lambda row: row["project"], is_text=True, may_be_cut=True),
    Column("Forecast", lambda row: SAID[row["action"]], is_text=True),
    *(replace(column, least_width=130) for column in PLACE),
    *WEATHER,
)


def show(told: "Report", out: "Console") -> None:
    """Print one line per plan of today and tomorrow, and what needs a look."""
    result = told.result
    out.print(heading(told, f"Weather for the daily plans of {result['date']} and the day after"))
    out.print(
        f"{counted(result['updated'], 'plan')} {'would get' if told.dry_run else 'got'} a new forecast; "
        f"{result['skipped_recent']:,} had one of the last two hours, {result['skipped_no_address']:,} have no place, "
        f"{counted(result['errors'], 'failure')}."
    )
    show_lines(told, out, COLUMNS)
