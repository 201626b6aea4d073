"""Exit codes of runs, paused jobs, and of which jobs somebody was told that they fail."""

import sqlalchemy as sa
from alembic import op

from kibray_ops.models.types import Moment

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Add the exit code to runs; create the tables of pauses and alarms."""
    op.add_column("kibray_ops_run", sa.Column("exit_code", sa.Integer))
    op.create_table(
        "kibray_ops_pause",
        sa.Column("job", sa.String(80), primary_key=True),
        sa.Column("since", Moment, primary_key=True),
        sa.Column("until", Moment),
    )
    op.create_table(
        "kibray_ops_alarm",
        sa.Column("job", sa.String(80), primary_key=True),
        sa.Column("since", Moment, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("told_at", Moment),
        sa.Column("ended_at", Moment),
    )
