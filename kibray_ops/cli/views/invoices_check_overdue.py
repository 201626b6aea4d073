"""Overdue invoices, the most urgent first, and who is told of them."""

from decimal import Decimal
from typing import TYPE_CHECKING, Any

from kibray_ops.cli.render import counted, heading, show_problems
from kibray_ops.cli.table import Column, money, print_table, summed

if TYPE_CHECKING:
    from rich.console import Console

    from kibray_ops.report import Report

MOST_LINES = 100
"""Lines of a table that somebody still reads; the totals count all, and --csv lists all."""
CSV_COLUMNS = {
    "invoice_id": "Invoice ID",
    "invoice": "Invoice",
    "project": "Project",
    "client": "Client",
    "due_date": "Due",
    "days_past_due": "Days past due",
    "bucket": "Bucket",
    "total_amount": "Total",
    "amount_paid": "Paid",
    "balance": "Balance",
    "priority": "Priority",
    "status": "Status",
    "new_status": "New status",
    "stage": "Stage",
    "told_to": "Told to",
    "flags": "Flags",
}


def status(row: dict[str, Any]) -> str:
    """Return an invoice's state, and what it changes to."""
    return f"{row['status']} → {row['new_status']}" if row["new_status"] else row["status"]


INVOICE = Column("Invoice", lambda row: row["invoice"], lambda _: "Total", is_text=True, may_be_cut=True)
PROJECT = Column("Project", lambda row: row["project"], is_text=True, may_be_cut=True)
STATUS = Column("Status", status, is_text=True)
COLUMNS = (
    INVOICE,
    PROJECT,
    Column("Due", lambda row: f"{row['due_date']}", least_width=90),
    Column("Days", lambda row: str(row["days_past_due"])),
    summed("Balance", "balance"),
    summed("Priority", "priority", lambda value: f"{value:,.0f}", 90),
    STATUS,
    Column("Told", lambda row: str(row["told_to"] or ""), least_width=60),
)


def show(told: "Report", out: "Console") -> None:
    """Print one line per overdue invoice, the totals, who is told, and what needs a look."""
    result = told.result
    overdue = [row for row in told.rows if row["told_to"] is not None]
    out.print(heading(told, f"Overdue invoices on {result['date']}"))
    out.print(f"{counted(len(overdue), 'invoice')} past due, {money(result['balance'])} in all. {_told(told)}")
    if overdue:
        ages = ", ".join(f"{name} days {money(total)}" for name, total in result["buckets"].items() if total)
        out.print(f"By days past due: {ages}.\n")
        print_table(out, COLUMNS, overdue, most=MOST_LINES)
        show_rest(overdue, out)
        out.print("\n[dim]Priority: balance × days past due. Told: how many people hear of it now.[/]")
    show_problems(told.problems, out)


def show_rest(rows: list[dict[str, Any]], out: "Console") -> None:
    """Tell how many lines were left out."""
    if len(rows) > MOST_LINES:
        left = sum((row["balance"] for row in rows[MOST_LINES:]), Decimal(0))
        out.print(f"The totals include {len(rows) - MOST_LINES} more invoices, {money(left)}; --csv FILE lists them.")


def _told(told: "Report") -> str:
    result = told.result
    verb = "would be" if told.dry_run else "were" if result["updated"] != 1 else "was"
    marked = f"{result['updated']} {verb} marked OVERDUE"
    if not result["notifications"]:
        return f"{marked}; nobody has anything new to hear."
    written = counted(result["notifications"], "notification")
    summaries = f" ({counted(result['summaries'], 'summary', 'summaries')})" if result["summaries"] else ""
    people = counted(result["recipients"], "person", "people")
    return f"{marked}; {people} {'would get' if told.dry_run else 'got'} {written}{summaries}."
