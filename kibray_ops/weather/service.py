"""Ask a web service a question and get JSON, within a time-out and a few tries.

ServiceError            there is no answer
├── Unavailable         asking again may help: a time-out, a 5xx, a body that is no JSON or was cut
├── Misunderstood       the answer is not what was asked for
├── Refused             400: asking this again is no use
└── Closed              asking anything is no use for now
    ├── Denied          404 and what else says that we are at the wrong address
    │   └── KeyDenied   401, 403, and 400 where it tells of a key
    └── LimitReached    429: we have asked too often
        └── MinuteLimit over in a minute
"""

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx

from kibray_ops.patience import within
from kibray_ops.text import masked, printable

TRIES = 3
MINUTE = 61.0
"""Seconds after which a limit per minute is over."""
LARGEST_ANSWER = 50_000_000
"""Bytes; a thousand forecasts are less than one million."""
LONGEST_REASON = 200


class ServiceError(Exception):
    """There is no answer; the message says why, as part of a sentence, without what was asked."""


class Unavailable(ServiceError):
    """Asking again may help."""


class Misunderstood(ServiceError):
    """The answer is not what was asked for."""


class Refused(ServiceError):
    """Asking this again is no use."""


class Closed(ServiceError):
    """Asking anything is no use for now."""


class Denied(Closed):
    """We must not ask, or ask at the wrong address."""


class KeyDenied(Denied):
    """We need a key, or another one."""


class LimitReached(Closed):
    """We have asked too often."""


class MinuteLimit(LimitReached):
    """We have asked too often in this minute."""


@dataclass(frozen=True)
class Service:
    """A web service that answers in JSON; may be asked from several threads."""

    name: str
    """What to call it: "the geocoder"."""
    client: httpx.Client
    base_url: str
    secrets: Mapping[str, str] = field(default_factory=dict)
    """Fields that go with every question and are never repeated."""
    timeout: float = 30.0
    """Seconds after which a try is given up, whatever is going on."""
    sleep: Callable[[float], None] = time.sleep

    def ask(self, path: str, fields: Mapping[str, str], *, post: bool = False) -> Any:
        """Return the JSON value that the service answers; raises ServiceError.

        What is Unavailable is tried three times, with jitter. A limit per minute is waited for, once.
        """
        try:
            return self._try(path, fields, post)
        except MinuteLimit:
            self.sleep(MINUTE)
            return self._try(path, fields, post)

    def _try(self, path: str, fields: Mapping[str, str], post: bool) -> Any:
        from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_random_exponential

        tries = Retrying(
            stop=stop_after_attempt(TRIES),
            wait=wait_random_exponential(),  # 0 to 1 s before the second try, 0 to 2 s before the third
            retry=retry_if_exception_type(Unavailable),
            sleep=self.sleep,
            reraise=True,
        )
        return tries(self._once, path, fields, post)

    def _once(self, path: str, fields: Mapping[str, str], post: bool) -> Any:
        said = {**fields, **self.secrets}
        how: dict[str, Any] = {"method": "POST", "data": said} if post else {"method": "GET", "params": said}
        try:
            status, body = within(self.timeout, lambda: self._exchange(path, how))
        except (TimeoutError, httpx.TimeoutException):
            raise Unavailable(f"{self.name} did not answer within {self.timeout:g} s") from None
        except (httpx.InvalidURL, httpx.UnsupportedProtocol, UnicodeError) as error:
            raise Denied(f"{self.name} has an address that cannot be used; see its _BASE_URL") from error
        except httpx.HTTPError as error:
            raise Unavailable(f"{self.name} cannot be reached ({type(error).__name__})") from error
        if status != httpx.codes.OK:
            raise self._error(status, body)
        value = self._value(body)
        if isinstance(value, dict) and value.get("error") is True:
            raise Refused(f"{self.name} answered with an error: {self._reason(value)}")
        return value

    def _exchange(self, path: str, how: Mapping[str, Any]) -> tuple[int, bytes]:
        """Return the status and the body of an answer."""
        with self.client.stream(url=self.base_url + path, timeout=self.timeout, **how) as answer:
            body = bytearray()
            for part in answer.iter_bytes():
                body += part
                if len(body) > LARGEST_ANSWER:
                    raise Misunderstood(f"{self.name} answered with more than {LARGEST_ANSWER:,} bytes")
            return answer.status_code, bytes(body)

    def _value(self, body: bytes) -> Any:
        try:
            value = json.loads(body)
            # What a database would not take: NaN, infinity, half of a surrogate pair, NUL.
            text = json.dumps(value, ensure_ascii=False, allow_nan=False)
            text.encode()
        except (ValueError, RecursionError):
            raise Unavailable(f"{self.name} answered with something that is no JSON") from None
        if "\\u0000" in text:
            raise Misunderstood(f"{self.name} answered with a text that holds NUL")
        return value

    def _error(self, status: int, body: bytes) -> ServiceError:
        try:
            reason = self._reason(json.loads(body))
        except (ValueError, RecursionError):
            reason = ""  # a page of HTML tells people nothing
        said = f"{self.name} answered {status}" + (f": {reason}" if reason else "")
        if status == httpx.codes.TOO_MANY_REQUESTS:
            words = reason.lower()
            if "concurrent" in words:
                return Unavailable(said)
            return LimitReached(said) if "hourly" in words or "daily" in words else MinuteLimit(said)
        if status >= 500 or status == httpx.codes.REQUEST_TIMEOUT:
            return Unavailable(said)
        if status in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN) or "api key" in reason.lower():
            return KeyDenied(said)
        return Refused(said) if status == httpx.codes.BAD_REQUEST else Denied(said)

    def _reason(self, value: Any) -> str:
        """Return the words of an error on one line, without the secrets that were asked with."""
        if isinstance(value, dict):
            value = value.get("reason") or value.get("errors") or ""
        if isinstance(value, list):
            value = "; ".join(map(str, value))
        return masked(printable(str(value)), self.secrets.values())[:LONGEST_REASON].rstrip(".")
