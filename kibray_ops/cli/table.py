"""A table as plain lines of text: a Rich table takes a millisecond for each line, and there may be thousands."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

Row = dict[str, Any]
ROOMY = 120
"""Columns of the terminal from which cells stand two apart."""
MOST_LINES = 100
"""Lines of a table that somebody still reads."""
EIGHTHS = " ▏▎▍▌▋▊▉"
INDENT = "    "
"""What a further line of a row begins with."""
NARROWEST = 8
"""Columns below which no text is cut."""


@dataclass(frozen=True)
class Column:
    """A column: its title, its cell in a line, and its cell in the line of totals."""

    title: str
    cell: Callable[[Row], str]
    total: Callable[[Sequence[Row]], str] = lambda _: ""
    least_width: int = 0
    """It is shown where the terminal has at least so many columns."""
    is_text: bool = False
    """Text stands at the left, figures at the right."""
    may_be_cut: bool = False
    """It gives way where there is no room."""


def money(value: Decimal) -> str:
    """Return an amount with its cents."""
    return f"{value:,.2f}"


def bar(share: Decimal, longest: int) -> str:
    """Return a bar for a share of 1, so many columns long at most; what is not 0 shows."""
    eighths = round(share * longest * 8)
    return "█" * (eighths // 8) + EIGHTHS[eighths % 8].strip() or ("▏" if share else "")


def summed(title: str, name: str, shown: Callable[[Decimal], str] = money, least_width: int = 0) -> Column:
    """Return a column of figures that add up."""
    return Column(
        title,
        lambda row: shown(row[name]),
        lambda rows: shown(sum((row[name] for row in rows), Decimal(0))),
        least_width,
    )


def print_table(
    out: "Console",
    columns: Sequence[Column],
    rows: Sequence[Row],
    *,
    below: Callable[[Row, int], str] = lambda *_: "",
    most: int | None = None,
) -> None:
    """Print lines, a rule and the totals, which count all rows also where only the first `most` are shown.

    `below` gives a further line for a row and so many columns; nothing wraps.
    """
    from rich.cells import cell_len, set_cell_size

    width = out.width
    shown = [column for column in columns if width >= column.least_width]
    lines = [[column.cell(row) for column in shown] for row in rows[:most]]
    heads = [column.title for column in shown]
    totals = [column.total(rows) for column in shown]
    gap = "  " if width >= ROOMY else " "
    widths = [max(map(cell_len, cells)) for cells in zip(heads, totals, *lines, strict=True)]
    yielding = [number for number, column in enumerate(shown) if column.may_be_cut]
    while yielding and sum(widths) + len(gap) * (len(widths) - 1) > width:
        widest = max(yielding, key=lambda number: widths[number])
        if widths[widest] <= NARROWEST:
            break
        widths[widest] -= 1

    def cell(text: str, number: int) -> str:
        if not shown[number].is_text:
            return text.rjust(widths[number])
        fits = cell_len(text) <= widths[number]
        return set_cell_size(text if fits else f"{set_cell_size(text, widths[number] - 1)}…", widths[number])

    def line(cells: Sequence[str]) -> str:
        return gap.join(cell(text, number) for number, text in enumerate(cells)).rstrip()

    def body(cells: Sequence[str], row: Row) -> str:
        more = below(row, width)
        if cell_len(more) > width:
            more = f"{set_cell_size(more, width - 1)}…"
        return f"{line(cells)}\n{more}" if more else line(cells)

    rule = "─" * (sum(widths) + len(gap) * (len(widths) - 1))
    printed = (body(cells, row) for cells, row in zip(lines, rows[:most], strict=True))
    out.print(line(heads), style="bold", markup=False, soft_wrap=True)
    out.out("\n".join((rule, *printed, rule)), highlight=False)
    if any(totals):
        out.print(line(totals), style="bold", markup=False, soft_wrap=True)
    if most is not None and len(rows) > most:
        out.print(f"The totals include {len(rows) - most:,} more lines; --csv FILE lists them all.", soft_wrap=True)
