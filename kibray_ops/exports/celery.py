"""A Procfile for Celery: the app is `kibray_ops.celery`, whose tasks and schedule are the registry's."""

import shlex

from kibray_ops.exports import MARK, Export, Plan
from kibray_ops.registry import CATCH_UP, CATCH_UP_NAME, JOBS
from kibray_ops.schedule import described

PROCFILE = """\
{mark}
# Any number of workers, on any hosts; one beat, which sends by the times of {zone}:
{times}
worker: {environment}celery -A kibray_ops worker --loglevel=info
beat: {environment}celery -A kibray_ops beat --loglevel=info
"""


def export(plan: Plan) -> Export:
    """Return the Procfile."""
    settings = dict(plan.pinned)
    if plan.program.env_file:
        settings["KIBRAY_OPS_ENV_FILE"] = plan.program.env_file
    environment = shlex.join(("env", *(f"{name}={value}" for name, value in settings.items()))) + " "
    times = [(described(job.cron or ""), job.name) for job in JOBS]
    times.append(
        ("hourly " + ", ".join(f":{int(minute):02}" for minute in CATCH_UP.split()[0].split(",")), CATCH_UP_NAME)
    )
    shown = "\n".join(f"#   {when:<24} {name}" for when, name in times)
    text = PROCFILE.format(mark=MARK, zone=plan.zone, times=shown, environment=environment)
    steps = (
        "# on every host that works, where pyproject.toml is:",
        "pip install '.[celery]' redis",
        "export CELERY_BROKER_URL=redis://HOST:6379/0",
        "# or with any other program that starts processes:",
        "honcho start --procfile {directory}/Procfile",
    )
    return Export({"Procfile": text}, steps)
