"""The payroll as the office manager reads it."""

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from kibray_ops.cli.render import heading, show_problems
from kibray_ops.payroll import trimmed

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
FLAGS = {
    "not_paid": ("XX", "NOT PAID"),
    "open_entry": ("OP", "open entry"),
    "overlap": ("OV", "overlapping entries"),
    "negative_hours": ("NG", "negative hours"),
    "over_24_hours": ("24", "more than 24 hours"),
    "zero_length": ("ZL", "zero-length entry"),
    "no_hours": ("NH", "entry without hours"),
    "clock_change": ("CC", "clock change"),
    "mixed_rates": ("MR", "several rates"),
    "no_rate": ("R0", "rate of 0"),
    "low_multiplier": ("LM", "low overtime multiplier"),
    "hours_changed": ("HC", "hours changed since"),
    "duplicate_record": ("DR", "duplicate record"),
    "no_period": ("NP", "record without period"),
    "other_period": ("PP", "record of another period"),
    "no_project_hours": ("PH", "no project hours"),
    "inactive": ("IN", "inactive employee"),
    "zero_hours": ("-", "no hours"),
    "missing_days": ("MD", "days without an entry"),
}
"""Flag → its code in the table and its words in the legend."""
ROOMY = 120
"""Columns from which figures stand two apart."""


@dataclass(frozen=True)
class _Column:
    """A column of the table, shown where the terminal has at least so many columns."""

    title: str
    cell: Callable[[dict[str, Any]], str]
    total: Callable[[list[dict[str, Any]]], str] = lambda _: ""
    least_width: int = 0


def _hours(value: Decimal) -> str:
    return trimmed(value) if value else "·"


def _money(value: Decimal) -> str:
    return f"{value:,.2f}"


def _change(value: Decimal | None) -> str:
    if value is None:
        return "new"
    return f"{value:+,.2f}" if value else "="


def _summed(title: str, name: str, shown: Callable[[Decimal], str], least_width: int = 0) -> _Column:
    return _Column(
        title,
        lambda row: shown(row[name]),
        lambda rows: shown(sum((row[name] for row in rows), Decimal(0))),
        least_width,
    )


COLUMNS = (
    _Column("Employee", lambda row: " ".join(row["employee"].split()), lambda _: "Total"),
    *(_summed(day.capitalize(), day, _hours, 96) for day in DAYS),
    _summed("Reg", "regular_hours", _hours),
    _summed("OT", "overtime_hours", _hours),
    _Column("Rate", lambda row: f"{row['hourly_rate']:.2f}", least_width=60),
    _summed("Gross", "gross_pay", _money),
    _Column("Change", lambda row: _change(row["change"]), least_width=60),
    _Column("Flags", lambda row: " ".join(FLAGS[flag][0] for flag in row["flags"])),
)


def show(told: "Report", out: "Console") -> None:
    """Print one line per employee, the totals, and what needs a look."""
    result = told.result
    out.print(heading(told, f"Payroll for the week {result['week']}"))
    out.print(_summary(result, dry_run=told.dry_run))
    out.print()
    if told.rows:
        _print_table(told.rows, out)
        if used := [FLAGS[flag] for flag in FLAGS if any(flag in row["flags"] for row in told.rows)]:
            out.print(f"\n[dim]{'  '.join(f'{code} {words}' for code, words in used)}[/]")
    _show_refreshed(told, out)
    show_problems(told.problems, out)


def _summary(result: dict[str, Any], *, dry_run: bool) -> str:
    count = result["records"]
    made = f"{count} record{'' if count == 1 else 's'} {'would be made' if dry_run else 'made'}"
    parts = [made]
    if result["existing"]:
        parts.append(f"{result['existing']} there before")
    if result["refreshed"]:
        parts.append(f"{result['refreshed']} {'would be recomputed' if dry_run else 'recomputed'}")
    period = f"Period {result['period_id']}" if result["period_id"] else "A new period"
    return f"{period}, status {result['period_status']}: {', '.join(parts)}."


def _print_table(rows: list[dict[str, Any]], out: "Console") -> None:
    """Print the lines as plain text: a Rich table takes a millisecond for each, and there may be two thousand."""
    from rich.cells import cell_len, set_cell_size

    width = out.width
    shown = [column for column in COLUMNS if width >= column.least_width]
    lines = [[column.cell(row) for column in shown] for row in rows]
    heads = [column.title for column in shown]
    totals = [column.total(rows) for column in shown]
    gap = "  " if width >= ROOMY else " "
    widths = [max(map(cell_len, cells)) for cells in zip(heads, totals, *lines, strict=True)]
    # Figures are never cut: the names get what is left.
    widths[0] = min(widths[0], max(8, width - sum(len(gap) + w for w in widths[1:])))

    def line(cells: list[str]) -> str:
        name = cells[0] if cell_len(cells[0]) <= widths[0] else f"{set_cell_size(cells[0], widths[0] - 1)}…"
        figures = (cell.rjust(w) for cell, w in zip(cells[1:-1], widths[1:-1], strict=True))
        return gap.join((set_cell_size(name, widths[0]), *figures, cells[-1])).rstrip()

    rule = "─" * (sum(widths) + len(gap) * (len(widths) - 1))
    out.print(line(heads), style="bold", markup=False, soft_wrap=True)
    out.out("\n".join((rule, *map(line, lines), rule)), highlight=False)
    out.print(line(totals), style="bold", markup=False, soft_wrap=True)


def _show_refreshed(told: "Report", out: "Console") -> None:
    from rich.markup import escape

    refreshed = [row for row in told.rows if row["action"] == "refreshed"]
    if not refreshed:
        return
    out.print("\n[bold]Recomputed[/]")
    for row in refreshed:
        was = row["was"]
        hours = f"{trimmed(was['total_hours'])} h → {trimmed(row['total_hours'])} h" if "total_hours" in was else ""
        gross = f"{_money(was['gross_pay'])} → {_money(row['gross_pay'])}" if "gross_pay" in was else ""
        what = ", ".join(filter(None, (hours, gross))) or ", ".join(sorted(was)).replace("_", " ")
        out.print(f"  [bold]{escape(row['employee'])}[/]: {what}")
