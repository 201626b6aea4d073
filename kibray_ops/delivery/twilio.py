"""SMS by Twilio's Messages API (https://www.twilio.com/docs/messaging/api/message-resource)."""

import json
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import httpx

from kibray_ops.delivery import DeliveryError, Faltering, Message, Refused, Uncertain, Unreachable, Unwanted
from kibray_ops.errors import ConfigurationError
from kibray_ops.text import masked, printable

TIMEOUT = 30.0
"""Seconds to wait for each step of an exchange."""
STOPPED = 21610
"""Twilio's code for a number that has answered STOP."""
NOT_THE_MESSAGES_FAULT = frozenset({20003, 21212, 21603, 21606, 21659, 21660})
"""Twilio's codes for a login, or a sender, that it does not take."""
NEVER_SENT = ("failed", "undelivered", "canceled")
LONGEST_REASON = 200


@dataclass
class Twilio:
    """An account of Twilio's, and the number or messaging service that it sends from."""

    client: httpx.Client
    base_url: str
    account: str
    token: str
    sender: str
    """A number in E.164, or the id of a messaging service (MG…)."""
    timeout: float = TIMEOUT

    @property
    def name(self) -> str:
        """Return what to call it."""
        return "Twilio"

    def open(self) -> None:
        """Do nothing: every message is an exchange of its own."""

    def look_up(self) -> None:
        """Ask for the account itself, which sends nothing; raises Unreachable, DeliveryError or ConfigurationError."""
        url = f"{self.base_url}/2010-04-01/Accounts/{quote(self.account, safe='')}.json"
        try:
            answer = self.client.get(url, auth=(self.account, self.token), timeout=self.timeout)
        except (httpx.HTTPError, httpx.InvalidURL, UnicodeError) as error:
            raise Unreachable(f"Twilio cannot be reached ({type(error).__name__})") from error
        if not answer.is_success:
            raise self._error(answer.status_code, _told(answer))

    def send(self, message: Message) -> str:
        """Hand a message over and return Twilio's id for it; that it was delivered is not known then.

        Twilio has no key that keeps a repeated message from being sent twice: what got no clear answer is Uncertain.
        429 is never processed. Raises DeliveryError, or ConfigurationError when the login or the sender is refused.
        """
        who = "MessagingServiceSid" if self.sender.startswith("MG") else "From"
        fields = {"To": message.recipient, who: self.sender, "Body": message.text}
        url = f"{self.base_url}/2010-04-01/Accounts/{quote(self.account, safe='')}/Messages.json"
        try:
            answer = self.client.post(url, data=fields, auth=(self.account, self.token), timeout=self.timeout)
        except (httpx.InvalidURL, httpx.UnsupportedProtocol, UnicodeError) as error:
            raise ConfigurationError(
                "Twilio has an address that cannot be used.", hint="Correct KIBRAY_OPS_TWILIO_BASE_URL."
            ) from error
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
            raise Unreachable(f"Twilio cannot be reached ({type(error).__name__})") from error
        except httpx.HTTPError as error:
            raise Uncertain(f"Twilio was asked and did not answer ({type(error).__name__})") from error
        told = _told(answer)
        if answer.is_success and (sid := printable(str(told.get("sid") or ""))):
            if told.get("status") in NEVER_SENT:
                raise Refused(f"Twilio took it and did not send it (error {told.get('error_code')})")
            return sid[:255]
        raise self._error(answer.status_code, told)

    def _error(self, status: int, told: dict[str, Any]) -> DeliveryError | ConfigurationError:
        words = printable(str(told.get("message") or told.get("detail") or told.get("title") or ""))
        words = masked(words, [self.token])  # before it is cut
        code = told.get("code")
        said = f"Twilio answered {status}" + (f" (error {code})" if isinstance(code, int) else "")
        said += f": {words[:LONGEST_REASON].rstrip('.')}" if words else ""
        if status == httpx.codes.TOO_MANY_REQUESTS:
            return Faltering(said)
        denied = (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN, httpx.codes.NOT_FOUND)
        if status in denied or code in NOT_THE_MESSAGES_FAULT:
            return ConfigurationError(
                f"{said}.",
                hint="Correct KIBRAY_OPS_TWILIO_ACCOUNT_SID, _AUTH_TOKEN and _FROM; the messages wait in the outbox.",
            )
        if 300 <= status < 400:
            return ConfigurationError(f"{said}, which leads elsewhere.", hint="Correct KIBRAY_OPS_TWILIO_BASE_URL.")
        if 400 <= status < 500 and status != httpx.codes.REQUEST_TIMEOUT:
            return Unwanted(said) if code == STOPPED else Refused(said)
        return Uncertain(said)

    def close(self) -> None:
        """Do nothing: the client is the run's."""


def _told(answer: httpx.Response) -> dict[str, Any]:
    """Return the fields of an answer; none where it is no JSON object."""
    try:
        value = json.loads(answer.content)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}
