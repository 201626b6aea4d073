"""The ageing of receivables as the office reads it: a bar for each bucket, then who owes."""

from collections.abc import Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from kibray_ops.cli.render import counted, show_problems
from kibray_ops.cli.table import INDENT, MOST_LINES, Column, bar, money, print_table, summed

if TYPE_CHECKING:
    from rich.console import Console

    from kibray_ops.reports.invoices_ageing import Ageing

BUCKETS = {"current": "Current", "1-30": "1-30", "31-60": "31-60", "61-90": "61-90", "over 90": "Over 90"}
"""Ageing bucket, in days past due → its title."""
STYLES = {"current": "green", "1-30": "yellow", "31-60": "dark_orange", "61-90": "red", "over 90": "bold red"}
LEVELS = "▁▂▃▄▅▆▇█"
LONGEST_BAR = 40


def show(told: "Ageing", out: "Console", *, is_dated: bool = False) -> None:
    """Print the buckets with their bars, one line per group with its reasons, and what needs a look."""
    result = told.result
    out.print(f"[bold]Ageing of receivables on {told.as_of}[/]")
    owed, invoices = money(result["outstanding"]), counted(result["invoices"], "invoice")
    out.print(f"{owed} outstanding in {invoices}.{' Ages as of that day, balances of now.' if is_dated else ''}\n")
    _show_buckets(result, out)
    if told.rows:
        out.print()
        print_table(out, _columns(told.by), lines(told), below=_reasons, most=MOST_LINES)
        out.print("\n[dim]The most urgent first: balance × days past due, added up. Retention is part of the total.[/]")
    show_problems(told.problems, out)


def _show_buckets(result: dict[str, Any], out: "Console") -> None:
    total, amounts = result["outstanding"], result["buckets"]
    beside = (
        ("Retention", result["retention"], "held back by clients, part of the above"),
        ("Credit", result["credit"], "paid too much, not subtracted"),
    )
    width = max(len(money(amount)) for amount in (*amounts.values(), result["retention"], result["credit"]))
    longest = min(LONGEST_BAR, max(out.width - width - 22, 4))
    for name, amount in amounts.items():
        title = BUCKETS[name] if name == "current" else f"{BUCKETS[name]} days"
        share = amount / total if total else Decimal(0)
        out.print(f"{title:<13}{money(amount):>{width}} {share:>4.0%}  [{STYLES[name]}]{bar(share, longest)}[/]")
    for title, amount, words in beside:
        if amount:
            out.print(f"[dim]{title:<13}{money(amount):>{width}}       {words}[/]", soft_wrap=True)


def _columns(by: str) -> Sequence[Column]:
    return (
        Column(by.capitalize(), lambda row: row[by], lambda _: "Total", is_text=True, may_be_cut=True),
        *(summed(title, bucket, _amount, 70) for bucket, title in BUCKETS.items()),
        summed("Total", "outstanding"),
        summed("Retention", "retention", _amount, 50),
        Column("Ages", _levels, is_text=True),
    )


def _amount(value: Decimal) -> str:
    return money(value) if value else "·"


def _levels(row: dict[str, Any]) -> str:
    """Return a bar for each bucket, the highest for the largest."""
    amounts = list(row["buckets"].values())
    highest = max(amounts)
    return "".join(LEVELS[int(7 * amount / highest)] if amount else "·" for amount in amounts)


def _reasons(row: dict[str, Any], width: int) -> str:
    """Return why a group stands where it stands: as many of its most urgent invoices as the line holds."""
    from rich.cells import cell_len

    said, named = f"{INDENT}{row['priority']:,.0f} =", Decimal(0)
    for reason in row["reasons"]:
        partly = " (partly paid)" if reason["partly_paid"] else ""
        days = counted(reason["days_past_due"], "day")
        more = f"{' +' if named else ''} {reason['invoice']}: {money(reason['balance'])} × {days}{partly}"
        if named and cell_len(said + more) > width - len(" + …"):
            break
        said, named = said + more, named + reason["balance"] * reason["days_past_due"]
    if not named:
        return ""
    return said if named == row["priority"] else f"{said} + …"


def csv_columns(told: "Ageing") -> dict[str, str]:
    """Return the columns of the CSV file: the key of each line, the buckets, what stands beside."""
    names = {
        "project": {"project_id": "Project ID", "project": "Project", "client": "Client"},
        "client": {"client": "Client"},
        "invoice": {
            "invoice_id": "Invoice ID", "invoice": "Invoice", "project": "Project", "client": "Client",
            "status": "Status", "due_date": "Due",
        },
    }[told.by]  # fmt: skip
    figures = {"outstanding": "Total", "retention": "Retention", "credit": "Credit"}
    rest = {"invoices": "Invoices", "days_past_due": "Days past due", "priority": "Priority", "flags": "Flags"}
    return {**names, **BUCKETS, **figures, **rest}


def lines(told: "Ageing") -> list[dict[str, Any]]:
    """Return the lines of the table and of the CSV file, each bucket a column."""
    return [{**row, **row["buckets"]} for row in told.rows]
