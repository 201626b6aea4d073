"""Runs, the state of the installation, and which rows we made."""

import sqlalchemy as sa
from alembic import op

from kibray_ops.models.types import BigKey, Document, Moment

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Create the first tables."""
    op.create_table(
        "kibray_ops_run",
        sa.Column("id", BigKey, sa.Identity(), primary_key=True),
        sa.Column("job", sa.String(80), nullable=False),
        sa.Column("slot", sa.String(40)),
        sa.Column("business_date", sa.Date, nullable=False),
        sa.Column("trigger", sa.String(20), nullable=False),
        sa.Column("host", sa.String(255), nullable=False),
        sa.Column("pid", sa.Integer, nullable=False),
        sa.Column("version", sa.String(40), nullable=False),
        sa.Column("arguments", Document, nullable=False),
        sa.Column("as_of", Moment),
        sa.Column("started_at", Moment, nullable=False),
        sa.Column("finished_at", Moment),
        sa.Column("status", sa.String(20), nullable=False),
        sa.Column("result", Document),
        sa.Column("problems", Document, nullable=False),
        sa.Column("error", sa.Text),
        sqlite_autoincrement=True,
    )
    claiming = sa.text("status IN ('running', 'succeeded', 'partial')")
    # Claiming a slot: two hosts, a doubled cron line or the repeated hour end in one execution.
    op.create_index(
        "kibray_ops_run_slot",
        "kibray_ops_run",
        ["job", "slot"],
        unique=True,
        postgresql_where=claiming,
        sqlite_where=claiming,
    )
    # Freeing what died, the holder of a lock, and whether a manual run satisfies a slot.
    op.create_index("kibray_ops_run_job_status", "kibray_ops_run", ["job", "status", "business_date"])
    # `runs list`: the newest runs.
    op.create_index("kibray_ops_run_started", "kibray_ops_run", ["started_at"])
    op.create_table(
        "kibray_ops_state",
        sa.Column("key", sa.String(80), primary_key=True),
        sa.Column("value", sa.Text, nullable=False),
    )
    op.create_table(
        "kibray_ops_provenance",
        sa.Column("table_name", sa.String(80), primary_key=True),
        sa.Column("row_id", BigKey, primary_key=True, autoincrement=False),
        sa.Column("run_id", BigKey, nullable=False),
        sa.Column("fingerprint", sa.String(64), nullable=False),
    )
