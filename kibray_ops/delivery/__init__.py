"""Messages and the transports that take them away. No database, no clock.

A transport tells the fate of a message by returning, or by raising one of these:

DeliveryError
├── Refused         for good: the address, or the message itself
│   └── Unwanted    the recipient has asked for no more
├── Deferred        not now: another try later may do
│   ├── Faltering   the service broke off before it had the message, which may be why or not
│   └── Unreachable the service is not there, and other messages fare no better
└── Uncertain       it may have arrived: only a person can decide to send it again

What an operator has to change first is a ConfigurationError; nothing was handed over then either.
"""

from dataclasses import dataclass
from typing import Protocol

EMAIL, SMS = "email", "sms"
"""The channels."""


@dataclass(frozen=True)
class Message:
    """What one recipient gets on one channel; the subject and the HTML are for e-mail only."""

    recipient: str
    """An e-mail address, or a number in E.164."""
    id: str
    """The Message-ID of an e-mail: the same at every try."""
    text: str
    subject: str = ""
    html: str = ""


class Transport(Protocol):
    """A way to send messages, open for a whole run."""

    @property
    def name(self) -> str:
        """Return what to call it, as part of a sentence."""

    def open(self) -> None:
        """Get ready to send; raises Unreachable or ConfigurationError."""

    def send(self, message: Message) -> str:
        """Hand a message over and return what the service calls it; raises DeliveryError or ConfigurationError."""

    def close(self) -> None:
        """Say goodbye; raises nothing."""


class DeliveryError(Exception):
    """A message was not handed over; the error's text says why, as part of a sentence."""


class Refused(DeliveryError):
    """It will never be taken."""


class Unwanted(Refused):
    """The recipient has asked for no more."""


class Deferred(DeliveryError):
    """It was not taken now."""


class Faltering(Deferred):
    """The service broke off before it had the message; others may fare better."""


class Unreachable(Deferred):
    """The service is not there: nothing was handed over, and no other message would be."""


class Uncertain(DeliveryError):
    """It may have arrived."""
