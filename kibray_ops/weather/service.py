"""Ask a web service a question and get JSON, within a time-out and a few tries.

ServiceError            there is no answer
├── Unavailable         asking again may help: a time-out, a 5xx, a body that is no JSON or was cut
├── Refused             asking again is no use: 400, 401, 403 …
├── LimitReached        429: we have asked too often; the next ones would only make it worse
│   └── MinuteLimit     over in a minute
└── Misunderstood       the answer is not what was asked for
"""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from threading import Event
from typing import Any, NoReturn

import httpx

TRIES = 3
MINUTE = 61.0
"""Seconds after which a limit per minute is over."""
LONGEST_PAUSE = 8.0
"""Seconds; the pause before the second try is drawn from 0 to 1, before the third from 0 to 2."""
CONNECT_TIMEOUT = 10.0
LARGEST_ANSWER = 50_000_000
"""Bytes; a thousand forecasts are less than one million."""
LONGEST_REASON = 200


class ServiceError(Exception):
    """There is no answer; the message says why, as part of a sentence, without what was asked."""


class Unavailable(ServiceError):
    """Asking again may help."""


class Refused(ServiceError):
    """Asking again is no use."""

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status

    @property
    def is_about_the_question(self) -> bool:
        """Tell whether another question may be answered."""
        return self.status == httpx.codes.BAD_REQUEST

    @property
    def is_about_the_key(self) -> bool:
        """Tell whether somebody with another key, or with one, may be answered."""
        return self.status in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN)


class LimitReached(ServiceError):
    """We have asked too often."""


class MinuteLimit(LimitReached):
    """We have asked too often in this minute."""


class Misunderstood(ServiceError):
    """The answer is not what was asked for."""


@dataclass(frozen=True)
class Service:
    """A web service that answers in JSON; may be asked from several threads."""

    name: str
    """What to call it: "the geocoder"."""
    client: httpx.Client
    base_url: str
    fields: Mapping[str, str] = field(default_factory=dict)
    """What goes with every question."""
    timeout: float = 30.0
    """Seconds after which a try that goes on is given up."""
    halt: Event = field(default_factory=Event)
    """Once set, no pause is waited for and nothing more is asked."""

    def ask(self, path: str, fields: Mapping[str, str], *, post: bool = False) -> Any:
        """Return the JSON value that the service answers; raises ServiceError.

        What is Unavailable is tried three times, with jitter. A limit per minute is waited for, once.
        """
        try:
            return self._try(path, fields, post)
        except MinuteLimit:
            self.halt.wait(MINUTE)
            return self._try(path, fields, post)

    def _try(self, path: str, fields: Mapping[str, str], post: bool) -> Any:
        from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_random_exponential

        tries = Retrying(
            stop=stop_after_attempt(TRIES),
            wait=wait_random_exponential(max=LONGEST_PAUSE),
            retry=retry_if_exception_type(Unavailable),
            sleep=self._pause,
            reraise=True,
        )
        return tries(self._once, path, fields, post)

    def _pause(self, seconds: float) -> None:
        self.halt.wait(seconds)

    def _once(self, path: str, fields: Mapping[str, str], post: bool) -> Any:
        if self.halt.is_set():
            raise Refused("was not asked: the run has ended")
        said = {**fields, **self.fields}
        how: dict[str, Any] = {"method": "POST", "data": said} if post else {"method": "GET", "params": said}
        timeout = httpx.Timeout(self.timeout, connect=min(CONNECT_TIMEOUT, self.timeout))
        end = time.monotonic() + self.timeout
        try:
            with self.client.stream(url=self.base_url + path, timeout=timeout, **how) as answer:
                body = self._read(answer, end)
        except httpx.TimeoutException:
            self._too_slow()
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise Unavailable(f"{self.name} cannot be reached ({type(error).__name__})") from error
        if answer.status_code == httpx.codes.OK:
            return self._value(body)
        raise self._error(answer.status_code, body)

    def _read(self, answer: httpx.Response, end: float) -> bytes:
        """Return the body; what trickles in is cut off at the time-out, what never ends at a size."""
        parts, size = [], 0
        for part in answer.iter_bytes():
            parts.append(part)
            size += len(part)
            if time.monotonic() > end:
                self._too_slow()
            if size > LARGEST_ANSWER:
                raise Misunderstood(f"{self.name} answered with more than {LARGEST_ANSWER:,} bytes")
        return b"".join(parts)

    def _too_slow(self) -> NoReturn:
        raise Unavailable(f"{self.name} did not answer within {self.timeout:g} s")

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
        reason = _reason(body)
        said = f"{self.name} answered {status}" + (f": {reason}" if reason else "")
        if status == httpx.codes.TOO_MANY_REQUESTS:
            words = reason.lower()
            if "concurrent" in words:
                return Unavailable(said)
            return LimitReached(said) if "hourly" in words or "daily" in words else MinuteLimit(said)
        if status >= 500 or status == httpx.codes.REQUEST_TIMEOUT:
            return Unavailable(said)
        return Refused(said, status)


def _reason(body: bytes) -> str:
    """Return the words of an error in JSON, on one line; nothing of an HTML page."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return ""
    if isinstance(value, dict):
        value = value.get("reason") or value.get("errors") or ""
    if isinstance(value, list):
        value = "; ".join(map(str, value))
    text = " ".join("".join(letter if letter.isprintable() else " " for letter in str(value)).split())
    return text[:LONGEST_REASON].rstrip(".")
