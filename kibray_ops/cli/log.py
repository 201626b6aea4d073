"""Where the log goes: stderr, as text or as JSON lines."""

import json
import logging
import sys
from datetime import UTC, datetime

from kibray_ops.settings import Settings


def configure(settings: Settings, *, verbose: bool) -> None:
    """Set the log's level and form; --verbose wins over LOG_LEVEL."""
    level = "debug" if verbose else settings.values.get("LOG_LEVEL") or "warning"
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_JSONLines() if settings.values.get("LOG_FORMAT") == "json" else _Text())
    handler.addFilter(_Redacted(settings))
    logger = logging.getLogger("kibray_ops")
    logger.handlers[:] = [handler]
    logger.setLevel(level.upper())
    logger.propagate = False


class _Redacted(logging.Filter):
    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self.settings = settings

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = self.settings.redact(record.getMessage()), ()
        return True


class _Text(logging.Formatter):
    def __init__(self) -> None:
        super().__init__("%(levelname)s %(name)s: %(message)s")


class _JSONLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        moment = datetime.fromtimestamp(record.created, UTC).isoformat()
        line = {"time": moment, "level": record.levelname.lower(), "logger": record.name, "message": record.message}
        return json.dumps(line)

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - the library's name
        return record.message
