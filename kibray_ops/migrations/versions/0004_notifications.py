"""The outbox, who wants nothing more, and archived notifications."""

import sqlalchemy as sa
from alembic import op

from kibray_ops.models.types import BigKey, Document, Moment

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Create the tables of deliveries, suppressed addresses and archived notifications."""
    is_open = sa.text("status IN ('pending', 'sending')")
    op.create_table(
        "kibray_ops_delivery",
        sa.Column("id", BigKey, sa.Identity(), primary_key=True),
        sa.Column("notification_id", BigKey, nullable=False),
        sa.Column("channel", sa.String(10), nullable=False),
        sa.Column("user_id", BigKey, nullable=False),
        sa.Column("status", sa.String(20), nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("queued_at", Moment, nullable=False),
        sa.Column("next_attempt_at", Moment, nullable=False),
        sa.Column("expires_at", Moment, nullable=False),
        sa.Column("batch", sa.String(40)),
        sa.Column("message_id", sa.String(320)),
        sa.Column("address", sa.String(320)),
        sa.Column("provider_id", sa.String(255)),
        sa.Column("last_error", sa.Text),
        sa.Column("ended_at", Moment),
        sa.Column("run_id", BigKey, nullable=False),
        sa.UniqueConstraint("notification_id", "channel", name="kibray_ops_delivery_notification"),
        sqlite_autoincrement=True,  # operators name a delivery by its id
    )
    # Sending: what waits, and what a run that died was about to send.
    op.create_index(
        "kibray_ops_delivery_open", "kibray_ops_delivery", ["status"], postgresql_where=is_open, sqlite_where=is_open
    )
    # `outbox retry` and `outbox cancel`: the deliveries that share a message.
    op.create_index("kibray_ops_delivery_batch", "kibray_ops_delivery", ["batch"])
    op.create_table(
        "kibray_ops_suppression",
        sa.Column("channel", sa.String(10), primary_key=True),
        sa.Column("address", sa.String(320), primary_key=True),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("suppressed_at", Moment, nullable=False),
    )
    op.create_table(
        "kibray_ops_notification_archive",
        sa.Column("id", BigKey, primary_key=True, autoincrement=False),
        sa.Column("user_id", BigKey, nullable=False),
        sa.Column("created_at", Moment, nullable=False),
        sa.Column("content", Document, nullable=False),
        sa.Column("archived_at", Moment, nullable=False),
        sa.Column("restored_at", Moment),
        sa.Column("run_id", BigKey, nullable=False),
    )
