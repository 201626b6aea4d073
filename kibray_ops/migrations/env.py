"""Run the steps on the connection that `provision.py` hands over; the transaction is the caller's."""

from alembic import context

from kibray_ops.models.operations import VERSION_TABLE, Operations

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Operations.metadata,
    version_table=VERSION_TABLE,
    transactional_ddl=True,
)
context.run_migrations()
