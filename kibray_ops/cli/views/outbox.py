"""Deliveries and archived notifications, a line each."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from kibray_ops.cli.render import counted, heading, show_problems
from kibray_ops.cli.table import MOST_LINES, Column, Row, print_table

if TYPE_CHECKING:
    from rich.console import Console

    from kibray_ops.report import Report

CSV_DELIVERY = {
    "delivery_id": "ID",
    "channel": "Channel",
    "user_id": "User ID",
    "recipient": "Recipient",
    "address": "Address",
    "notification_id": "Notification ID",
    "title": "Notification",
    "status": "Status",
    "attempts": "Tries",
    "queued_at": "Queued",
    "next_attempt_at": "Next try",
    "ended_at": "Ended",
    "message_id": "Message-ID",
    "provider_id": "Provider's ID",
    "reason": "Reason",
}
DELIVERY = (
    Column("ID", lambda row: str(row["delivery_id"])),
    Column("By", lambda row: row["channel"], is_text=True),
    Column("To", lambda row: row["recipient"], is_text=True, may_be_cut=True),
    Column("Address", lambda row: row["address"] or "", least_width=140, is_text=True, may_be_cut=True),
    Column("Notification", lambda row: row["title"] or "(gone)", is_text=True, may_be_cut=True),
    Column("Status", lambda row: row["status"], is_text=True),
    Column("Tries", lambda row: str(row["attempts"] or ""), least_width=80),
)


def moment(value: datetime | None, zone: ZoneInfo) -> str:
    """Return a moment in the business zone, to the minute."""
    return "" if value is None else f"{value.astimezone(zone):%Y-%m-%d %H:%M}"


def show_outbox(rows: Sequence[Row], counts: Mapping[str, int], zone: ZoneInfo, out: "Console") -> None:
    """Print deliveries, why they stand as they do, and how many there are in each state."""
    if not rows:
        out.print("Nothing of that kind is in the outbox." if counts else "The outbox is empty.")
    else:
        when = Column("When", lambda row: _when(row, zone), is_text=True)
        print_table(out, (*DELIVERY, when), rows, below=lambda row, _: f"    {row['reason']}" if row["reason"] else "")
    if counts:
        out.print(", ".join(f"{status} {count:,}" for status, count in counts.items()))


def _when(row: Row, zone: ZoneInfo) -> str:
    if row["next_attempt_at"] is not None:
        return f"next {moment(row['next_attempt_at'], zone)}"
    return moment(row["ended_at"] or row["queued_at"], zone)


def show_changed(told: "Report", title: str, sentence: str, out: "Console") -> None:
    """Print deliveries that an operator has changed, as they were until now, and those that stay as they are."""
    out.print(heading(told, title))
    out.print(sentence)
    if told.rows:
        print_table(out, DELIVERY, told.rows, most=MOST_LINES)
    show_problems(told.problems, out)


def show_archive(rows: Sequence[Row], total: int, zone: ZoneInfo, out: "Console") -> None:
    """Print archived notifications, and how many there are."""
    columns = (
        Column("ID", lambda row: str(row["notification_id"])),
        Column("User", lambda row: row["user"], is_text=True, may_be_cut=True),
        Column("Notification", lambda row: row["title"], is_text=True, may_be_cut=True),
        Column("Written", lambda row: moment(row["created_at"], zone), is_text=True),
        Column("Archived", lambda row: moment(row["archived_at"], zone), is_text=True),
    )
    if rows:
        print_table(out, columns, rows)
    out.print(f"{counted(total, 'notification')} in the archive.")
