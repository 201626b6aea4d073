"""Where the log goes: stderr, as text or as JSON lines, each with the run that it is about.

Under cron it is held back until it is known whether the run has failed: cron mails whatever is printed.
"""

import json
import logging
import sys
from collections import deque
from datetime import UTC, datetime
from typing import Any

from kibray_ops.settings import Settings
from kibray_ops.text import printable

MOST_HELD = 1_000
"""Lines that are kept; of more, the last ones."""


def configure(settings: Settings, *, verbose: bool, held: bool = False) -> None:
    """Set the log's level and form; --verbose wins over LOG_LEVEL. What is held waits for `release`."""
    level = "debug" if verbose else settings.values.get("LOG_LEVEL") or "warning"
    handler = _Held() if held else logging.StreamHandler(sys.stderr)
    handler.setFormatter(_JSONLines() if settings.values.get("LOG_FORMAT") == "json" else _Text())
    handler.addFilter(_OfTheRun(settings))
    logger = logging.getLogger("kibray_ops")
    logger.handlers[:] = [handler]
    logger.setLevel(level.upper())
    logger.propagate = False


def release() -> None:
    """Print what was held back."""
    for handler in logging.getLogger("kibray_ops").handlers:
        if isinstance(handler, _Held):
            handler.tell()


class _Held(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.lines: deque[str] = deque(maxlen=MOST_HELD)

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))

    def tell(self) -> None:
        while self.lines:
            sys.stderr.write(f"{self.lines.popleft()}\n")


class _OfTheRun(logging.Filter):
    """Take secrets out of a line, keep it one line, and say which run it is about."""

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self.settings = settings

    def filter(self, record: logging.LogRecord) -> bool:
        from kibray_ops.report import current

        record.msg, record.args = printable(self.settings.redact(record.getMessage())), ()
        run = current()
        record.about = {} if run is None else {"job": run.job, "run_id": run.run_id, "slot": run.slot}
        return True


class _Text(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        about: dict[str, Any] = getattr(record, "about", {})
        run = f"run {about['run_id']}" if about.get("run_id") else ""
        slot = f"for {about['slot']}" if about.get("slot") else ""
        where = ", ".join(filter(None, (about.get("job"), run, slot)))
        return f"{record.levelname} {where or record.name}: {record.getMessage()}"


class _JSONLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        moment = datetime.fromtimestamp(record.created, UTC).isoformat()
        line = {"time": moment, "level": record.levelname.lower(), "logger": record.name}
        return json.dumps({**line, **getattr(record, "about", {}), "message": record.getMessage()})
