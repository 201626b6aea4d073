"""Who was told what."""

import sqlalchemy as sa
from alembic import op

from kibray_ops.models.types import BigKey, Moment

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Create the ledger of alerts."""
    op.create_table(
        "kibray_ops_alert",
        # In this order it answers: has this person been told of this subject, at this stage or a later one?
        sa.Column("kind", sa.String(40), primary_key=True),
        sa.Column("subject_id", BigKey, primary_key=True, autoincrement=False),
        sa.Column("subject_date", sa.Date, primary_key=True),
        sa.Column("recipient_id", BigKey, primary_key=True, autoincrement=False),
        sa.Column("stage", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("told_at", Moment, nullable=False),
        sa.Column("run_id", BigKey, nullable=False),
    )
