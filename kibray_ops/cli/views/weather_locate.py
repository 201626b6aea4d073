"""Where a project is, and was."""

from typing import TYPE_CHECKING

from kibray_ops.cli.render import heading, show_problems

if TYPE_CHECKING:
    from rich.console import Console

    from kibray_ops.report import Report

CSV_COLUMNS = {
    "project_id": "Project ID",
    "project": "Project",
    "latitude": "Latitude",
    "longitude": "Longitude",
    "before": "Before",
    "before_source": "Before, source",
}
SOURCES = {
    "census": "found by its address",
    "zip": "the centre of its ZIP code",
    "city": "the centre of its city",
    "manual": "set by hand",
    "absent": "not found by its address",
    "ambiguous": "its address fits several places",
}


def show(told: "Report", out: "Console") -> None:
    """Print where the project is from now on, and where it was."""
    from rich.markup import escape

    row = told.result
    out.print(heading(told, f"Place of {escape(row['project'])} (project {row['project_id']})"))
    now = "by its address, at the next run"
    if row["latitude"] is not None:
        now = f"{row['latitude']:f}, {row['longitude']:f}, set by hand; it holds until the address changes"
    before = ", ".join(filter(None, (row["before"], SOURCES.get(row["before_source"] or "", "not known"))))
    out.print(f"  Now:    {now}\n  Before: {before}")
    out.print("[dim]`kibray-ops weather fetch-snapshots` fetches the weather there.[/]")
    show_problems(told.problems, out)
