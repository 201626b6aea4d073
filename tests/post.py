"""A mail server and a carrier of SMS on loopback: they take messages, and do on demand whatever goes wrong."""

import asyncio
import base64
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, Session

from tests.sky import Question, Reply, answer, answering

USER, PASSWORD = "office@example.com", "hunter22-smtp"
ACCOUNT, TOKEN, NUMBER = "AC0123456789", "hunter22-twilio", "+13035550100"
OK = "250 2.0.0 Ok: queued as 4F2A"
HANG_UP = "hang up"
"""A fault that is no answer: the connection is gone."""


@dataclass
class Mail:
    """What the server has taken."""

    sender: str
    recipient: str
    raw: bytes

    @property
    def content(self) -> EmailMessage:
        content = message_from_bytes(self.raw, policy=policy.default)
        assert isinstance(content, EmailMessage)
        return content

    @property
    def text(self) -> str:
        return self._part("plain")

    @property
    def html(self) -> str:
        return self._part("html")

    def _part(self, kind: str) -> str:
        part = self.content.get_body((kind,))
        assert part is not None
        text = part.get_content()
        assert isinstance(text, str)
        return text.replace("\r\n", "\n")


@dataclass
class PostOffice:
    """The mail server: what it took, and what it does to whom."""

    port: int = 0
    taken: list[Mail] = field(default_factory=list)
    connections: int = 0
    commands: list[str] = field(default_factory=list)
    greeting_fault: str = ""
    """What EHLO and HELO are answered."""
    sender_fault: str = ""
    """What MAIL is answered."""
    international_fault: str = ""
    """What MAIL is answered where it asks for letters beyond ASCII."""
    recipient_faults: dict[str, list[str]] = field(default_factory=dict)
    """Address → what RCPT is answered, in turns; after the last, it is taken."""
    data_faults: dict[str, list[str]] = field(default_factory=dict)
    """Address → what the final dot is answered; `HANG_UP` takes the message and says nothing."""
    cut: set[str] = field(default_factory=set)
    """Addresses at whose message the server hangs up in the middle."""
    hang_up_after: int = 0
    """So many messages in one connection; then it is closed, as servers do. 0: any number."""
    on_data: Callable[[Mail], None] = lambda mail: None
    """What happens when a message is taken, before the server says so."""
    on_greeting: Callable[[object], None] = lambda _: None
    """What happens when somebody calls, before the server says anything."""
    environment: dict[str, str] = field(default_factory=dict)

    # ---- aiosmtpd's hooks

    async def handle_EHLO(
        self, server: Any, session: Session, envelope: Envelope, hostname: str, responses: list[str]
    ) -> list[str]:
        session.host_name = hostname  # type: ignore[assignment]
        session.mails = 0  # type: ignore[attr-defined]
        self.connections += 1
        await asyncio.get_running_loop().run_in_executor(None, self.on_greeting, session)
        return [self.greeting_fault] if self.greeting_fault else responses

    async def handle_HELO(self, server: Any, session: Session, envelope: Envelope, hostname: str) -> str:
        return self.greeting_fault or "250 localhost"

    async def handle_MAIL(
        self, server: Any, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if self.hang_up_after and session.mails >= self.hang_up_after:  # type: ignore[attr-defined]
            server.transport.abort()
            return "421 4.4.2 too many messages"
        if fault := self.sender_fault or (self.international_fault if "SMTPUTF8" in options else ""):
            return fault
        envelope.mail_from = address
        return "250 OK"

    async def handle_RCPT(
        self, server: Any, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if faults := self.recipient_faults.get(address):
            fault = faults.pop(0)
            if fault == HANG_UP:
                server.transport.abort()
            return fault
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Any, session: Session, envelope: Envelope) -> str:
        mail = Mail(envelope.mail_from or "", envelope.rcpt_tos[0], envelope.content or b"")  # type: ignore[arg-type]
        faults = self.data_faults.get(mail.recipient)
        fault = faults.pop(0) if faults else ""
        if fault in ("", HANG_UP):
            self.taken.append(mail)
            await asyncio.get_running_loop().run_in_executor(None, self.on_data, mail)
        if fault == HANG_UP:
            server.transport.abort()
        session.mails += 1  # type: ignore[attr-defined]
        return fault if fault and fault != HANG_UP else OK

    # ---- what tests ask

    def to(self, address: str) -> list[Mail]:
        """Return what an address got."""
        return [mail for mail in self.taken if mail.recipient == address]

    @property
    def recipients(self) -> list[str]:
        return [mail.recipient for mail in self.taken]


@contextmanager
def post_office(
    *, login: bool = False, tls: ssl.SSLContext | None = None, at_once: bool = False, **options: Any
) -> Iterator[PostOffice]:
    """Run a mail server as long as the block lasts; `tls` is offered by STARTTLS, or spoken `at_once`."""
    office = PostOffice()

    class Server(SMTP):
        async def smtp_DATA(self, arg: str) -> None:
            envelope = self.envelope
            assert envelope is not None
            if office.cut & set(envelope.rcpt_tos):
                await self.push("354 End data with <CR><LF>.<CR><LF>")
                await self._reader.readline()
                self.transport.abort()  # type: ignore[union-attr]
                return
            await super().smtp_DATA(arg)

    class Here(Controller):
        def factory(self) -> SMTP:
            return Server(self.handler, **self.SMTP_kwargs)

    def is_welcome(server: Any, session: Any, envelope: Any, mechanism: str, data: Any) -> AuthResult:
        return AuthResult(success=(data.login, data.password) == (USER.encode(), PASSWORD.encode()), handled=False)

    if login:
        options |= {"authenticator": is_welcome, "auth_required": True, "auth_require_tls": False}
    if tls is not None:
        options |= {"ssl_context": tls} if at_once else {"tls_context": tls, "require_starttls": True}
    controller = Here(office, hostname="127.0.0.1", port=_free_port(), enable_SMTPUTF8=True, **options)
    controller.start()
    office.port = controller.port
    office.environment = {
        "KIBRAY_OPS_EMAIL_BACKEND": "smtp",
        "KIBRAY_OPS_EMAIL_HOST": "localhost" if tls else "127.0.0.1",
        "KIBRAY_OPS_EMAIL_PORT": str(office.port),
    }
    if login:
        office.environment |= {"KIBRAY_OPS_EMAIL_HOST_USER": USER, "KIBRAY_OPS_EMAIL_HOST_PASSWORD": PASSWORD}
    if tls is not None:
        office.environment |= {f"KIBRAY_OPS_EMAIL_USE_{'SSL' if at_once else 'TLS'}": "true"}
    try:
        yield office
    finally:
        controller.stop()


def _free_port() -> int:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@dataclass
class Carrier:
    """Twilio's Messages API: what it took, and how it is to answer."""

    url: str = ""
    asked: list[Question] = field(default_factory=list)
    taken: list[dict[str, str]] = field(default_factory=list)
    faults: list[Reply | None] = field(default_factory=list)
    """Answers to the next messages, whatever they are; None is the proper one. It takes none that it faults."""
    stopped: set[str] = field(default_factory=set)
    """Numbers that have answered STOP."""

    @property
    def environment(self) -> dict[str, str]:
        return {
            "KIBRAY_OPS_TWILIO_BASE_URL": self.url,
            "KIBRAY_OPS_TWILIO_ACCOUNT_SID": ACCOUNT,
            "KIBRAY_OPS_TWILIO_AUTH_TOKEN": TOKEN,
            "KIBRAY_OPS_TWILIO_FROM": NUMBER,
            "KIBRAY_OPS_SMS_TYPES": "task_alert",
        }

    def reply(self, question: Question) -> Reply:
        """Answer as Twilio documents it."""
        self.asked.append(question)
        if self.faults and (fault := self.faults.pop(0)):
            return fault
        login = base64.b64encode(f"{ACCOUNT}:{TOKEN}".encode()).decode()
        if question.headers.get("Authorization") != f"Basic {login}":
            return trouble(401, 20003, "Authenticate")
        if (question.method, question.path) == ("GET", f"/2010-04-01/Accounts/{ACCOUNT}.json"):
            return answer({"sid": ACCOUNT, "status": "active", "friendly_name": "Kibray"})
        if question.method != "POST" or question.path != f"/2010-04-01/Accounts/{ACCOUNT}/Messages.json":
            return trouble(404, 20404, "The requested resource was not found")
        if question.fields["To"] in self.stopped:
            return trouble(400, 21610, "Attempt to send to unsubscribed recipient")
        self.taken.append(question.fields)
        return answer({"sid": f"SM{len(self.taken):032}", "status": "queued", "num_segments": "1"}, 201)


def trouble(status: int, code: int, message: str) -> Reply:
    """Return an error as Twilio puts it."""
    more = f"https://www.twilio.com/docs/errors/{code}"
    return answer({"code": code, "message": message, "more_info": more, "status": status}, status)


@contextmanager
def carrier() -> Iterator[Carrier]:
    """Serve on loopback as long as the block lasts."""
    service = Carrier()
    with answering(service):
        yield service
