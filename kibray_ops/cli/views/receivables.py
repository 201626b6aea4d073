"""Columns of invoices that more than one report has."""

from typing import Any

from kibray_ops.cli.table import Column, summed

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
    "flags": "Flags",
}


def _status(row: dict[str, Any]) -> str:
    return f"{row['status']} → {row['new_status']}" if row["new_status"] else row["status"]


INVOICE = Column("Invoice", lambda row: row["invoice"], lambda _: "Total", is_text=True, may_be_cut=True)
PROJECT = Column("Project", lambda row: row["project"], is_text=True, may_be_cut=True, least_width=60)
DUE = Column("Due", lambda row: f"{row['due_date'] or ''}", least_width=90)
DAYS = Column("Days", lambda row: f"{row['days_past_due'] or ''}")
BALANCE = summed("Balance", "balance")
STATUS = Column("Status", _status, is_text=True)
