"""The export for Kubernetes: read by its API's schema, and what a job needs of a cluster."""

from datetime import date, timedelta
from pathlib import Path

import kubernetes_validate
import pytest

from kibray_ops import exports, settings
from kibray_ops.crontab import Program
from kibray_ops.errors import ConfigurationError
from kibray_ops.exports import Plan
from kibray_ops.registry import JOBS
from tests.test_exports import cron_jobs, made


@pytest.mark.parametrize("version", ["1.27.0", kubernetes_validate.latest_version()])
def test_kubernetes_takes_the_cron_jobs(version: str) -> None:
    for document in cron_jobs(made("kubernetes")):
        kubernetes_validate.validate(document, version, strict=True)


def test_a_cron_job_says_what_a_job_needs() -> None:
    found = {one["metadata"]["name"]: one["spec"] for one in cron_jobs(made("kubernetes"))}
    assert len(found) == 11
    assert all(len(name) <= 52 for name in found)  # Kubernetes adds eleven characters to the names of Jobs
    payroll = found["kibray-ops-generate-weekly-payroll"]
    assert (payroll["schedule"], payroll["timeZone"]) == ("0 7 * * 1", "America/Denver")
    deadlines = {name.removeprefix("kibray-ops-"): spec["startingDeadlineSeconds"] for name, spec in found.items()}
    assert {job.name: (job.deadline or timedelta(hours=1)).total_seconds() for job in JOBS} | {
        "catch-up": 900
    } == deadlines
    of_kolkata = {one["metadata"]["name"]: one["spec"] for one in cron_jobs(made("kubernetes", "Asia/Kolkata"))}
    assert of_kolkata["kibray-ops-send-pending-notifications"]["schedule"] == "0 * * * *"  # its slots are UTC hours
    hourly = found["kibray-ops-send-pending-notifications"]
    assert (hourly["schedule"], hourly["timeZone"]) == ("0 * * * *", "Etc/UTC")
    for spec in found.values():
        assert spec["concurrencyPolicy"] == "Forbid"
        work = spec["jobTemplate"]["spec"]
        assert (work["backoffLimit"], work["template"]["spec"]["restartPolicy"]) == (0, "Never")
        runs = 10 if spec is found["kibray-ops-catch-up"] else 1
        assert work["activeDeadlineSeconds"] == runs * 1800 + 600  # the run's own limit comes first
        pod = work["template"]["spec"]
        assert pod["securityContext"] == {
            "runAsNonRoot": True, "runAsUser": 10001, "runAsGroup": 10001, "fsGroup": 10001,
            "seccompProfile": {"type": "RuntimeDefault"},
        }  # fmt: skip
        assert (pod["automountServiceAccountToken"], pod["terminationGracePeriodSeconds"]) == (False, 60)
        assert pod["volumes"] == [{"name": "settings", "secret": {"secretName": "kibray-ops", "defaultMode": 0o440}}]
        (only,) = pod["containers"]
        assert only["image"] == "registry.example.com/kibray-ops:1.0"
        assert only["securityContext"] == {
            "readOnlyRootFilesystem": True, "allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]},
        }  # fmt: skip
        assert only["env"] == [{"name": "KIBRAY_OPS_TIMEZONE", "value": "America/Denver"}]
        assert only["volumeMounts"] == [{"name": "settings", "mountPath": "/etc/kibray-ops", "readOnly": True}]
        assert only["resources"] == {
            "requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"memory": "512Mi"},
        }  # fmt: skip


def test_the_image_is_made_of_what_there_is() -> None:
    lines = made("kubernetes").files["Dockerfile"].splitlines()
    instructions = {line.split()[0] for line in lines if line and not line.startswith("#")}
    assert instructions == {"FROM", "COPY", "RUN", "USER", "ENTRYPOINT"}
    root = Path(__file__).parent.parent
    for line in lines:
        if line.startswith("COPY"):
            *sources, _target = line.split()[1:]
            assert all((root / source).exists() for source in sources)
    user = cron_jobs(made("kubernetes"))[0]["spec"]["jobTemplate"]["spec"]["template"]["spec"]["securityContext"]
    assert f"USER {user['runAsUser']}:{user['runAsGroup']}" in lines
    assert lines[-1] == 'ENTRYPOINT ["kibray-ops"]'


@pytest.mark.parametrize("image", ["two words", "a\nb: c", "", "reg;id:1", "-x", "a{b}:1", "é:1"])
def test_what_is_no_image(image: str) -> None:
    found = settings.load(environ={"HOME": "/", "KIBRAY_OPS_TIMEZONE": "America/Denver"})
    with pytest.raises(ConfigurationError):
        exports.export("kubernetes", Plan(found, date(2026, 5, 1), Program("/k"), image))
