"""Run a sample job as a process of its own: `python -m tests.driver VERB KIND TRIGGER AT [OPTION=VALUE…]`."""

import sys
from datetime import datetime

from kibray_ops import settings
from kibray_ops.clock import Clock
from kibray_ops.registry import Kind
from kibray_ops.report import Trigger
from kibray_ops.runner import execute
from tests.sample_jobs import sample

if __name__ == "__main__":
    verb, kind, trigger, at, *words = sys.argv[1:]
    found = settings.load().checked()
    clock = Clock(found.zone) if at == "now" else Clock(found.zone).at(datetime.fromisoformat(at))
    pairs = (word.partition("=") for word in words)
    options = {name: (int if value.isdigit() else float)(value) for name, _, value in pairs}
    job = sample(verb, Kind(kind), cron="0 7 * * *")
    report = execute(job, settings=found, clock=clock, trigger=Trigger(trigger), options=options)
    print(report.status, report.error.message if report.error else "", flush=True)
    sys.exit(report.exit_code)
