"""Where projects are, and their forecasts."""

import sqlalchemy as sa
from alembic import op

from kibray_ops.models.types import Amount, BigKey, Document, Moment

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Create the tables of places and forecasts."""
    op.create_table(
        "kibray_ops_place",
        sa.Column("project_id", BigKey, primary_key=True, autoincrement=False),
        sa.Column("address_hash", sa.String(64), nullable=False),
        sa.Column("latitude", Amount(8, 5)),
        sa.Column("longitude", Amount(8, 5)),
        sa.Column("source", sa.String(20), nullable=False),
        sa.Column("matched_text", sa.Text),
        sa.Column("located_at", Moment, nullable=False),
    )
    op.create_table(
        "kibray_ops_forecast",
        sa.Column("latitude", Amount(8, 5), primary_key=True),
        sa.Column("longitude", Amount(8, 5), primary_key=True),
        sa.Column("answer", Document, nullable=False),
        sa.Column("fetched_at", Moment, nullable=False),
    )
