"""Write a run down as timed out. The watchdog of the hard time limit replaces the process by this module."""

import os
import signal
import sys

from sqlalchemy import RowMapping

from kibray_ops import alarms, history, registry, settings
from kibray_ops.clock import Clock, real_now
from kibray_ops.database import Database
from kibray_ops.errors import TimeLimitReached
from kibray_ops.heartbeat import Heartbeat
from kibray_ops.models.operations import TIMED_OUT
from kibray_ops.report import Trigger, is_routine

PATIENCE = 30
"""Seconds for writing the record; a database that hangs must not hang us too."""
PATIENCE_TO_TELL = 120
"""Seconds for the ping and the mail, each of which has time-outs of its own."""


def main() -> None:
    """Record the run whose id is the first argument, tell who has to know, and exit 124."""
    signal.signal(signal.SIGALRM, lambda *_: os._exit(TimeLimitReached.exit_code))
    signal.alarm(PATIENCE)
    print(  # noqa: T201 - nothing else of the program is left to print it
        f"kibray-ops: The hard time limit was reached and run {sys.argv[1]} was ended.\n"
        "  KIBRAY_OPS_HARD_TIME_LIMIT_… gives one job more; `kibray-ops runs list` shows the run.",
        file=sys.stderr,
        flush=True,
    )
    found, run_id = settings.load(), int(sys.argv[1])
    said = "The hard time limit was reached."
    with Database(found).connect() as connection:
        history.end(
            connection, run_id, status=TIMED_OUT, exit_code=TimeLimitReached.exit_code, now=real_now(), error=said
        )
        connection.commit()
        run = history.run(connection, run_id)
    try:
        if run is not None:
            _tell(run, said, found)
    finally:
        sys.exit(TimeLimitReached.exit_code)  # whoever could not be told


def _tell(run: RowMapping, said: str, found: settings.Settings) -> None:
    job = registry.named(run["job"])
    if job is None or not is_routine(run["trigger"], run["arguments"], run["as_of"]):
        return
    signal.alarm(PATIENCE_TO_TELL)
    heartbeat = Heartbeat(found["PING_URL"], job)
    heartbeat.knows(run["id"])
    heartbeat.exited(TimeLimitReached.exit_code)
    if run["trigger"] != Trigger.MANUAL:
        reason = f"{said}\nRun {run['id']}, exit code {TimeLimitReached.exit_code}."
        alarms.raise_alarm(job, reason, found, Clock(found.zone))


if __name__ == "__main__":
    main()
