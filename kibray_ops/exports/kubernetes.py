"""A CronJob for every job, and a Dockerfile: https://kubernetes.io/docs/concepts/workloads/controllers/cron-jobs/.

The controller leaves out a time that the clocks jump over and starts one that repeats twice, and "two Jobs might be
created, or no Job": the slot, the claim and catch-up are made for that. Settings are the env file of any other machine,
as one Secret, so that it reads the same everywhere.
"""

import json
import re
import shlex
from datetime import timedelta

from kibray_ops.errors import ConfigurationError
from kibray_ops.exports import ENV_FILE, MARK, NAME, Export, Plan, Start

PATIENCE = timedelta(minutes=10)
"""What a pod is given beyond the run's own hard limit: the image has to be pulled first."""
USER_ID = 10001

HEAD = """\
{mark}
# Settings are one Secret with the env file in it:
#   {secret}
"""
CRON_JOB = """\
---
# {summary}
apiVersion: batch/v1
kind: CronJob
metadata:
  name: {name}-{job}
  labels:
    app.kubernetes.io/name: {name}
    app.kubernetes.io/component: {job}
spec:
  schedule: "{times}"
  timeZone: {zone}
  concurrencyPolicy: Forbid
  startingDeadlineSeconds: {worth}
  successfulJobsHistoryLimit: 1
  failedJobsHistoryLimit: 3
  jobTemplate:
    spec:
      backoffLimit: 0
      activeDeadlineSeconds: {limit}
      template:
        metadata:
          labels:
            app.kubernetes.io/name: {name}
            app.kubernetes.io/component: {job}
        spec:
          restartPolicy: Never
          automountServiceAccountToken: false
          enableServiceLinks: false
          terminationGracePeriodSeconds: 60
          securityContext:
            runAsNonRoot: true
            runAsUser: {user}
            runAsGroup: {user}
            fsGroup: {user}
            seccompProfile:
              type: RuntimeDefault
          containers:
            - name: {name}
              image: {image}
              args: {args}
              env:
                - name: KIBRAY_OPS_TIMEZONE
                  value: {business}
              resources:
                requests:
                  cpu: 100m
                  memory: 128Mi
                limits:
                  memory: 512Mi
              securityContext:
                allowPrivilegeEscalation: false
                readOnlyRootFilesystem: true
                capabilities:
                  drop: [ALL]
              volumeMounts:
                - name: settings
                  mountPath: {directory}
                  readOnly: true
          volumes:
            - name: settings
              secret:
                secretName: {name}
                defaultMode: 0440
"""
DOCKERFILE = """\
{mark}
# Build it where pyproject.toml is: docker build --tag {image} --file WHERE-THIS-IS/Dockerfile .
FROM python:3.12-slim
COPY pyproject.toml README.md /src/
COPY kibray_ops /src/kibray_ops/
RUN pip install --no-cache-dir /src && rm -r /src && useradd --uid {user} kibray
USER {user}:{user}
ENTRYPOINT ["kibray-ops"]
"""


def export(plan: Plan) -> Export:
    """Return the CronJobs, and the Dockerfile of the image that they run."""
    if not re.fullmatch(r"[a-z0-9][\w.:/-]*(@sha256:[0-9a-f]{64})?", plan.image, re.ASCII):
        raise ConfigurationError(
            f"{plan.image!r} is no image of a container.", hint="Write it as registry.example.com/kibray-ops:1.0."
        )
    secret = f"kubectl create secret generic {NAME} --from-file=env={shlex.quote(plan.env_file)}"
    head = HEAD.format(mark=MARK, secret=secret)
    files = {
        "cronjobs.yaml": head + "".join(_cron_job(plan, start) for start in plan.starts()),
        "Dockerfile": DOCKERFILE.format(mark=MARK, image=plan.image, user=USER_ID),
    }
    steps = (
        "# where pyproject.toml is:",
        f"docker build --file {{directory}}/Dockerfile --tag {plan.image} .",
        *([f"docker push {plan.image}"] if "/" in plan.image else []),
        f"{secret} --dry-run=client --output=yaml | kubectl apply --filename=-",
        "kubectl apply --filename {directory}/cronjobs.yaml",
    )
    return Export(files, steps)


def _cron_job(plan: Plan, start: Start) -> str:
    return CRON_JOB.format(
        summary=start.summary,
        name=NAME,
        job=start.name,
        times=start.times,
        zone=start.zone,
        business=plan.zone,
        worth=int(start.worth.total_seconds()),
        limit=int((start.limit + PATIENCE).total_seconds()),
        user=USER_ID,
        image=json.dumps(plan.image),
        args=json.dumps(["--env-file", ENV_FILE, "--cron", *start.words]),
        directory=ENV_FILE.rpartition("/")[0],
    )
