"""The payroll as the office manager reads it."""

from decimal import Decimal
from typing import TYPE_CHECKING, Any

from kibray_ops.cli.render import counted, heading, show_problems
from kibray_ops.cli.table import Column, money, print_table, summed
from kibray_ops.job import trimmed
from kibray_ops.messages import en

if TYPE_CHECKING:
    from rich.console import Console

    from kibray_ops.report import Report

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
CSV_COLUMNS = {
    "employee_id": "Employee ID",
    "employee": "Employee",
    **{day: day.capitalize() for day in DAYS},
    "total_hours": "Total hours",
    "regular_hours": "Regular hours",
    "overtime_hours": "Overtime hours",
    "hourly_rate": "Rate",
    "gross_pay": "Gross pay",
    "change": "Change",
    "flags": "Flags",
    "action": "Record",
    "record_id": "Record ID",
}
CODES = {
    "not_paid": "XX", "open_entry": "OP", "overlap": "OV", "negative_hours": "NG", "over_24_hours": "24",
    "zero_length": "ZL", "no_hours": "NH", "clock_change": "CC", "mixed_rates": "MR", "no_rate": "R0",
    "low_multiplier": "LM", "hours_changed": "HC", "duplicate_record": "DR", "no_period": "NP", "other_period": "PP",
    "no_project_hours": "PH", "inactive": "IN", "zero_hours": "-", "missing_days": "MD",
}  # fmt: skip
"""Flag → its code in the table; the words of the legend are those of the messages."""


def _hours(value: Decimal) -> str:
    return trimmed(value) if value else "·"


def _change(value: Decimal | None) -> str:
    if value is None:
        return "new"
    return f"{value:+,.2f}" if value else "="


COLUMNS = (
    Column("Employee", lambda row: row["employee"], lambda _: "Total", is_text=True, may_be_cut=True),
    *(summed(day.capitalize(), day, _hours, 96) for day in DAYS),
    summed("Reg", "regular_hours", _hours),
    summed("OT", "overtime_hours", _hours),
    Column("Rate", lambda row: f"{row['hourly_rate']:.2f}", least_width=60),
    summed("Gross", "gross_pay"),
    Column("Change", lambda row: _change(row["change"]), least_width=60),
    Column("Flags", lambda row: " ".join(CODES[flag] for flag in row["flags"]), is_text=True),
)


def show(told: "Report", out: "Console") -> None:
    """Print one line per employee, the totals, and what needs a look."""
    result = told.result
    out.print(heading(told, f"Payroll for the week {result['week']}"))
    out.print(_summary(result, dry_run=told.dry_run))
    out.print()
    if told.rows:
        print_table(out, COLUMNS, told.rows)
        if used := [flag for flag in CODES if any(flag in row["flags"] for row in told.rows)]:
            out.print(f"\n[dim]{'  '.join(f'{CODES[flag]} {en.FLAGS[flag]}' for flag in used)}[/]")
    _show_refreshed(told, out)
    show_problems(told.problems, out)


def _summary(result: dict[str, Any], *, dry_run: bool) -> str:
    made = f"{counted(result['records'], 'record')} {'would be made' if dry_run else 'made'}"
    parts = [made]
    if result["existing"]:
        parts.append(f"{result['existing']} there before")
    if result["refreshed"]:
        parts.append(f"{result['refreshed']} {'would be recomputed' if dry_run else 'recomputed'}")
    period = f"Period {result['period_id']}" if result["period_id"] else "A new period"
    summary = f"{period}, status {result['period_status']}: {', '.join(parts)}."
    if people := result["recipients"]:
        verb = "would be" if dry_run else "was" if people == 1 else "were"
        summary += f" {counted(people, 'person', 'people')} {verb} told that it is ready for review."
    return summary


def _show_refreshed(told: "Report", out: "Console") -> None:
    from rich.markup import escape

    refreshed = [row for row in told.rows if row["action"] == "refreshed"]
    if not refreshed:
        return
    out.print("\n[bold]Recomputed[/]")
    for row in refreshed:
        was = row["was"]
        hours = f"{trimmed(was['total_hours'])} h → {trimmed(row['total_hours'])} h" if "total_hours" in was else ""
        gross = f"{money(was['gross_pay'])} → {money(row['gross_pay'])}" if "gross_pay" in was else ""
        what = ", ".join(filter(None, (hours, gross))) or ", ".join(sorted(was)).replace("_", " ")
        out.print(f"  [bold]{escape(row['employee'])}[/]: {what}")
