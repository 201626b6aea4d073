"""Who gets which message, and what became of it."""

from typing import TYPE_CHECKING

from kibray_ops.cli.render import counted, heading, show_problems
from kibray_ops.cli.table import MOST_LINES, Column, Row, print_table

if TYPE_CHECKING:
    from rich.console import Console

    from kibray_ops.report import Report

CSV_COLUMNS = {
    "channel": "Channel",
    "user_id": "User ID",
    "recipient": "Recipient",
    "address": "Address",
    "notifications": "Notifications",
    "subject": "Subject",
    "segments": "SMS segments",
    "status": "Status",
    "reason": "Reason",
    "deliveries": "Outbox IDs",
}
COLUMNS = (
    Column("By", lambda row: row["channel"], is_text=True),
    Column("To", lambda row: row["recipient"], is_text=True, may_be_cut=True),
    Column("Address", lambda row: row["address"] or "", least_width=100, is_text=True, may_be_cut=True),
    Column("Notices", lambda row: f"{row['notifications']:,}"),
    Column("Subject", lambda row: row["subject"], is_text=True, may_be_cut=True),
    Column("Segments", lambda row: str(row["segments"] or ""), least_width=80),
)
QUIET = ("pending", "suppressed", "cancelled")
"""States whose reason stands below the line; those of failures stand under what needs a look."""


def show(told: "Report", out: "Console") -> None:
    """Print a line for each message, then for what was not sent and why."""
    result = told.result
    out.print(heading(told, "Notifications"))
    verb = "would be sent" if told.dry_run else "sent"
    out.print(
        f"{counted(result['sent'], 'notification')} {verb} in {counted(result['messages'], 'message')}" + _rest(told)
    )
    if told.rows:
        out.print()
        has_sms = any(row["segments"] for row in told.rows)
        fate = Column("Status", lambda row: _status(row, is_dry=told.dry_run), is_text=True)
        shown = (*(column for column in COLUMNS if has_sms or column.title != "Segments"), fate)
        print_table(out, shown, told.rows, most=MOST_LINES, below=lambda row, _: _reason(row))
    show_problems(told.problems, out)


def _status(row: Row, *, is_dry: bool) -> str:
    return "to be sent" if is_dry and row["status"] == "sent" else str(row["status"])


def _rest(told: "Report") -> str:
    result = told.result
    words = ("failed", "unknown", "expired", "waiting", "suppressed", "cancelled")
    rest = ", ".join(f"{word} {result[word]:,}" for word in words if result[word])
    return f"; {rest}." if rest else "."


def _reason(row: Row) -> str:
    return f"    {row['reason']}" if row["reason"] and row["status"] in QUIET else ""
