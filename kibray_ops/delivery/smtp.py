"""E-mail by SMTP, over one connection for a whole run.

The conversation is held here, not by `smtplib.SMTP.send_message`, because everything depends on how far it went: until
the final dot is written the server has no message, after it only its reply tells (RFC 5321, 4.1.1.4 and 6.1).
"""

import re
import smtplib
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from email.headerregistry import Address
from email.message import EmailMessage

from kibray_ops.delivery import Deferred, Faltering, Message, Refused, Uncertain, Unreachable
from kibray_ops.delivery.mime import as_email
from kibray_ops.errors import ConfigurationError
from kibray_ops.text import masked, printable

TIMEOUT = 30.0
"""Seconds to wait for each answer of the server; the reply to a whole message gets longer."""
PATIENCE = 300.0
"""Seconds to wait for the reply to the final dot: RFC 5321 allows ten minutes, a run has less."""
LONGEST_REPLY = 300
TAKEN, FORWARDED, GO_ON, CLOSING, LOGIN_NEEDED, GARBLED = 250, 251, 354, 421, 530, -1
"""Codes of answers; the last is smtplib's for what has none."""
HINT = "Correct KIBRAY_OPS_EMAIL_…; `kibray-ops config show` tells where each value came from. The messages wait."


@dataclass
class SMTP:
    """A mail server and how to talk to it."""

    host: str
    port: int
    sender: Address
    """The From of every message, and the envelope's sender."""
    clock: Callable[[], datetime]
    user: str = ""
    password: str = ""
    use_tls: bool = False
    """STARTTLS."""
    use_ssl: bool = False
    """TLS from the first byte."""
    timeout: float = TIMEOUT
    patience: float = PATIENCE
    _connection: smtplib.SMTP | None = None

    @property
    def name(self) -> str:
        """Return what to call the server."""
        return f"the mail server {self.host}:{self.port}"

    def _words(self, said: bytes | str) -> str:
        """Return what the server said on one line, without the login, which some servers repeat."""
        words = printable(said if isinstance(said, str) else said.decode("utf-8", "replace"))
        return masked(words, [self.password])[:LONGEST_REPLY]

    def _reply(self, code: int, said: bytes | str) -> str:
        words = self._words(said)
        return f"{code} {words}".rstrip(" .") if code > 0 else f"what is no answer: {words}"

    # ---- the connection

    def open(self) -> None:
        """Connect and log in, unless that is done; raises Unreachable or ConfigurationError."""
        if self._connection is not None:
            return
        try:
            connection = self._connect()
        except smtplib.SMTPResponseException as error:
            raise Unreachable(f"{self.name} answered {self._reply(error.smtp_code, error.smtp_error)}") from None
        except ssl.SSLError as error:
            raise self._no_tls(error) from None
        except (OSError, UnicodeError) as error:
            raise Unreachable(f"{self.name} cannot be reached: {_reason(error)}") from None
        try:
            self._greet(connection)
        except BaseException:
            connection.close()
            raise
        if connection.sock is not None:
            # The final dot is a packet of its own: it must not wait until the one before is acknowledged.
            connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._connection = connection

    def _connect(self) -> smtplib.SMTP:
        if self.use_ssl:
            context = ssl.create_default_context()
            return smtplib.SMTP_SSL(self.host, self.port, timeout=self.timeout, context=context)
        return smtplib.SMTP(self.host, self.port, timeout=self.timeout)

    def _greet(self, connection: smtplib.SMTP) -> None:
        try:
            connection.ehlo_or_helo_if_needed()
            if self.use_tls:
                connection.starttls(context=ssl.create_default_context())
                connection.ehlo_or_helo_if_needed()
            if self.user:
                connection.login(self.user, self.password)
        except smtplib.SMTPNotSupportedError:
            missing = "STARTTLS" if self.use_tls and not isinstance(connection.sock, ssl.SSLSocket) else "a login"
            raise ConfigurationError(f"{_upper(self.name)} does not offer {missing}.", hint=HINT) from None
        except smtplib.SMTPAuthenticationError as error:
            said = self._reply(error.smtp_code, error.smtp_error)
            if error.smtp_code < 500:
                raise Unreachable(f"{self.name} does not take the login now: {said}") from None
            raise ConfigurationError(
                f"{_upper(self.name)} refuses the login of {self.user}: {said}.",
                hint="Correct KIBRAY_OPS_EMAIL_HOST_USER and KIBRAY_OPS_EMAIL_HOST_PASSWORD; "
                "the messages wait in the outbox.",
            ) from None
        except UnicodeError:
            raise ConfigurationError(
                "The user or password of the mail server has letters that a login cannot have.", hint=HINT
            ) from None
        except smtplib.SMTPResponseException as error:
            raise Unreachable(f"{self.name} answered {self._reply(error.smtp_code, error.smtp_error)}") from None
        except ssl.SSLError as error:
            raise self._no_tls(error) from None
        except smtplib.SMTPServerDisconnected as error:
            raise Unreachable(f"{self.name} hung up: {_reason(error)}") from None
        except smtplib.SMTPException as error:
            raise ConfigurationError(f"{_upper(self.name)}: {_reason(error)}.", hint=HINT) from None
        except OSError as error:
            raise Unreachable(f"{self.name} cannot be reached: {_reason(error)}") from None

    def _no_tls(self, error: ssl.SSLError) -> Exception:
        if isinstance(error, ssl.SSLCertVerificationError):
            return ConfigurationError(
                f"The certificate of {self.name} is not valid: {error.verify_message}.",
                hint="Nothing was sent. KIBRAY_OPS_EMAIL_HOST must be the name in the certificate, and this machine "
                "must trust who signed it.",
            )
        if isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError):
            return Unreachable(f"{self.name} hung up while encryption was agreed on")
        return ConfigurationError(
            f"{_upper(self.name)} does not speak TLS as it should: {error.reason or _reason(error)}.",
            hint="KIBRAY_OPS_EMAIL_USE_TLS is STARTTLS, mostly port 587; KIBRAY_OPS_EMAIL_USE_SSL is TLS from the "
            "first byte, mostly port 465.",
        )

    def close(self) -> None:
        """Say goodbye to the server."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(OSError):  # every error of smtplib is one
                connection.quit()
            connection.close()

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    # ---- a message

    def send(self, message: Message) -> str:
        """Hand a message over; a connection that the server has closed meanwhile is opened anew, once.

        Returns the server's answer. Raises DeliveryError, or ConfigurationError when the server wants another sender
        or a login.
        """
        email = as_email(message, sender=self.sender, at=self.clock())
        try:
            try:
                return self._converse(message.recipient, email)
            except _Gone:
                self._drop()
                return self._converse(message.recipient, email)
        except _Gone as gone:
            self._drop()
            raise Faltering(f"{self.name} broke off: {gone}") from None
        except KeyboardInterrupt:
            self._drop()  # the server owes an answer: a goodbye would wait for it
            raise

    def _converse(self, recipient: str, email: EmailMessage) -> str:
        self.open()
        connection = self._connection
        assert connection is not None  # noqa: S101 - for the type checker: open() has made it
        try:
            self._announce(connection, recipient)
            connection.send(_stuffed(email.as_bytes()))
        except smtplib.SMTPResponseException as error:  # an answer without end
            raise _Gone(self._reply(error.smtp_code, error.smtp_error)) from None
        except OSError as error:  # as every other error of smtplib
            raise _Gone(_reason(error)) from None
        return self._conclude(connection)

    def _announce(self, connection: smtplib.SMTP, recipient: str) -> None:
        """Say who writes to whom, up to where the server wants the message."""
        options = []
        if not recipient.isascii():
            if not connection.has_extn("smtputf8"):
                raise Refused(f"{self.name} takes no address with such letters")
            options = ["SMTPUTF8"]
        code, said = self._heard(connection.mail(self.sender.addr_spec, options))
        if code >= 500 and not options:  # else it may be the recipient's letters that it does not take
            raise ConfigurationError(
                f"{_upper(self.name)} refuses the sender {self.sender.addr_spec}: {self._reply(code, said)}.",
                hint="Correct KIBRAY_OPS_EMAIL_FROM, or the login; the messages wait in the outbox.",
            )
        if code != TAKEN:
            raise self._refusal(code, said)
        code, said = self._heard(connection.rcpt(recipient))
        if code not in (TAKEN, FORWARDED):
            raise self._refusal(code, said)
        code, said = self._heard(connection.docmd("DATA"))
        if code != GO_ON:
            raise self._refusal(code, said)

    def _heard(self, answer: tuple[int, bytes]) -> tuple[int, bytes]:
        """Return an answer from before the message; raises _Gone when it is the last one."""
        code, said = answer
        if code in (CLOSING, GARBLED):
            raise _Gone(self._reply(code, said))
        return answer

    def _conclude(self, connection: smtplib.SMTP) -> str:
        """Write the final dot and hear what became of the message."""
        try:
            _within(connection, self.patience)
            connection.send(b".\r\n")
            code, said = connection.getreply()
            _within(connection, self.timeout)
        except OSError as error:
            self._drop()
            raise Uncertain(f"{self.name} had it all and then was silent ({_reason(error)})") from None
        if 200 <= code < 300:
            return self._words(said)
        if 400 <= code < 600:
            raise self._refusal(code, said)
        self._drop()
        raise Uncertain(f"{self.name} had it all and answered {self._reply(code, said)}")

    def _refusal(self, code: int, said: bytes) -> Exception:
        """Return what a refusal means, and leave the message behind."""
        if self._connection is not None:
            with suppress(OSError):  # it shows with the next message
                self._connection.rset()
        words = f"{self.name} answered {self._reply(code, said)}"
        if code == LOGIN_NEEDED:
            return ConfigurationError(
                f"{_upper(words)}.", hint="Set KIBRAY_OPS_EMAIL_HOST_USER and KIBRAY_OPS_EMAIL_HOST_PASSWORD."
            )
        return Refused(words) if code >= 500 else Deferred(words)


class _Gone(Exception):
    """The connection has ended before the server had the message."""


def _stuffed(email: bytes) -> bytes:
    """Return an e-mail as it goes over the wire: a line that begins with a dot has another one."""
    return re.sub(rb"(?m)^\.", b"..", email)


def _within(connection: smtplib.SMTP, seconds: float) -> None:
    if connection.sock is not None:
        connection.sock.settimeout(seconds)


def _reason(error: BaseException) -> str:
    words = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return printable(words)[:LONGEST_REPLY].rstrip(".")


def _upper(words: str) -> str:
    return words[0].upper() + words[1:]
