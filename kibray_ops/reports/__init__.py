"""Read-only views that are no jobs."""
