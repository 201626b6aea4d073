"""Kibray's back office as one command-line tool, started by cron."""

__version__ = "0.1.0"
