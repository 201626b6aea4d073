"""Pings to a Healthchecks server: the only thing that notices that cron itself is dead.

The protocol is https://healthchecks.io/docs/http_api/: the slug of a check is the job's documented name. A ping never
fails a job: whatever goes wrong is logged.
"""

import logging
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from uuid import NAMESPACE_URL, uuid5

from kibray_ops.errors import TryAgainLater
from kibray_ops.models.operations import SKIPPED
from kibray_ops.patience import within
from kibray_ops.registry import Job
from kibray_ops.report import Report
from kibray_ops.web import web_client

if TYPE_CHECKING:
    import httpx

TIMEOUT = 5.0
"""Seconds for each try."""
MOST_REDIRECTS = 3
PAUSES = (0.5, 1.0)
"""Seconds before each further try."""

log = logging.getLogger(__name__)


@dataclass
class Heartbeat:
    """Tell a server how the runs of a job go; without a base URL it tells nobody."""

    base: str | None
    job: Job
    _run: str = field(default="", init=False)
    """What ties the end of a run to its start: derived from the run's id, so that the undertaker finds it too."""

    def begun(self, run_id: int) -> None:
        """Say that a run begins to work."""
        self.knows(run_id)
        self._ping("/start")

    def knows(self, run_id: int) -> None:
        """Note whose end will be told."""
        self._run = str(uuid5(NAMESPACE_URL, f"{self.base}/{self.job.name}/{run_id}"))

    def skipped(self, reason: str) -> None:
        """Say that a run gave way, which changes nothing about the check."""
        self._ping("/log", reason)

    def ended(self, report: Report) -> None:
        """Say how a run ended. Where it has to be tried again nothing has failed yet: the check's own grace decides."""
        if report.status == SKIPPED:
            return
        if report.exit_code == TryAgainLater.exit_code:
            self._ping("/log", "It will be tried again.")
        else:
            self.exited(report.exit_code)

    def exited(self, exit_code: int) -> None:
        """Say with which code a run ended."""
        self._ping(f"/{exit_code}")

    def reach(self) -> tuple[bool, str]:
        """Write into the check's log, once; return whether nobody answers, and why it did not arrive, if so."""
        return self._try("/log", "kibray-ops doctor")

    def _ping(self, suffix: str, words: str = "") -> None:
        if not self.base:
            return
        reason = ""
        for pause in (0.0, *PAUSES):
            time.sleep(pause)
            again, reason = self._try(suffix, words)
            if not again:
                break
        if reason:
            log.warning("the ping %s did not arrive: %s", suffix, reason)

    def _try(self, suffix: str, words: str) -> tuple[bool, str]:
        """Send one ping; return whether another try may help, and why it did not arrive, if so."""
        import httpx

        try:
            base = httpx.URL(self.base or "")
            address = base.copy_with(path=f"{base.path.rstrip('/')}/{self.job.name}{suffix}")
            if self._run:
                address = address.copy_merge_params({"rid": self._run})
            return _knock(address, words)
        except (httpx.InvalidURL, UnicodeError, ImportError, ValueError):
            return False, "its address, or the proxy, cannot be used; see KIBRAY_OPS_PING_URL"


def _knock(address: "httpx.URL", words: str) -> tuple[bool, str]:
    import httpx

    def send() -> int:
        with (
            web_client(timeout=TIMEOUT, follow_redirects=True, max_redirects=MOST_REDIRECTS) as client,
            client.stream("POST", address, content=words) as answer,
        ):
            return answer.status_code  # whatever else it says, nobody waits for it

    try:
        status = within(TIMEOUT, send)
    except (TimeoutError, httpx.TimeoutException):
        return True, f"no answer within {TIMEOUT:g} s"
    except (httpx.UnsupportedProtocol, httpx.TooManyRedirects) as error:
        return False, f"its address cannot be used ({type(error).__name__}); see KIBRAY_OPS_PING_URL"
    except httpx.HTTPError as error:
        return True, type(error).__name__
    if status < 400:
        return False, ""
    return status >= 500 or status in (408, 429), f"the server answered {status}"
