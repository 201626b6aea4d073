"""Our own tables, made and upgraded by Alembic."""
