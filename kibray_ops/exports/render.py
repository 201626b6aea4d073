"""A cron service for every job in a Blueprint of Render: https://render.com/docs/blueprint-spec.

Render's cron knows UTC only, so a job stands at all hours that its local time can fall on; the slot, the deadline and
the claim keep the right one. A run that is started by hand there ends one that is under way: that one is tried again.
"""

from kibray_ops.exports import MARK, NAME, Export, Plan, Start

HEAD = """\
{mark}
# Settings are an environment group called {name}, made in the dashboard: DATABASE_URL at the least.
# Add `region:` to every service where the database is not in Render's default region.
services:
"""
SERVICE = """\
  # {summary}
  - type: cron
    name: {name}-{job}
    runtime: python
    plan: starter
    schedule: "{times}"
    buildCommand: pip install .
    startCommand: {command}
    envVars:
      - fromGroup: {name}
      - key: KIBRAY_OPS_TIMEZONE
        value: {zone}
"""


def export(plan: Plan) -> Export:
    """Return the Blueprint."""
    services = "".join(_service(plan, start) for start in plan.starts(only_utc=True))
    steps = (
        "# beside pyproject.toml, in the repository that Render builds:",
        "cp {directory}/render.yaml .",
        f"# make the environment group {NAME} in Render's dashboard, then a Blueprint of the repository",
    )
    return Export({"render.yaml": HEAD.format(mark=MARK, name=NAME) + services}, steps)


def _service(plan: Plan, start: Start) -> str:
    return SERVICE.format(
        summary=start.summary,
        name=NAME,
        job=start.name,
        times=start.times,
        command=" ".join((NAME, "--cron", *start.words)),
        zone=plan.zone,
    )
