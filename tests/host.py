"""A host with a name of its own: `python -m tests.host NAME` reads when to run what, runs it, and says how it ended."""

import socket
import sys
from datetime import datetime

from kibray_ops import settings
from kibray_ops.registry import named
from kibray_ops.report import Trigger
from kibray_ops.runner import execute
from tests.world import Simulated

if __name__ == "__main__":
    name = sys.argv[1]
    socket.gethostname = lambda: name
    found = settings.load().checked()
    for line in sys.stdin:
        at, words = line.split()
        job = named(words)
        assert job is not None, words
        clock = Simulated(found.zone, moment=datetime.fromisoformat(at))
        report = execute(job, settings=found, clock=clock, trigger=Trigger.CRON)
        print(report.exit_code, report.status, flush=True)
        if report.error is not None:
            print(report.error, report.traceback, file=sys.stderr, flush=True)
