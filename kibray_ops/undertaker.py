"""Write a run down as timed out. The watchdog of the hard time limit replaces the process by this module."""

import os
import signal
import sys

from kibray_ops import history, settings
from kibray_ops.clock import real_now
from kibray_ops.database import Database
from kibray_ops.errors import TimeLimitReached
from kibray_ops.models.operations import TIMED_OUT

PATIENCE = 30
"""Seconds for writing the record; a database that hangs must not hang us too."""


def main() -> None:
    """Record the run whose id is the first argument, and exit 124."""
    signal.signal(signal.SIGALRM, lambda *_: os._exit(TimeLimitReached.exit_code))
    signal.alarm(PATIENCE)
    print(  # noqa: T201 - nothing else of the program is left to print it
        "The hard time limit was reached and the run was ended.\n"
        "  KIBRAY_OPS_HARD_TIME_LIMIT sets it; `kibray-ops runs list` shows the run.",
        file=sys.stderr,
        flush=True,
    )
    with Database(settings.load()).connect() as connection:
        history.end(
            connection,
            int(sys.argv[1]),
            status=TIMED_OUT,
            now=real_now(),
            error="The hard time limit was reached.",
        )
        connection.commit()
    sys.exit(TimeLimitReached.exit_code)


if __name__ == "__main__":
    main()
