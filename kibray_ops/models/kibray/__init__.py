"""Kibray's tables, in both schema versions: only the columns that we use.

The classes hold what both versions have. Columns and tables that only the later version has stand under
`Optional`; they are looked up when connecting (`catalog.py`), and statements name only what exists.
Never mapped: `password`, `social_security_number`.
"""
