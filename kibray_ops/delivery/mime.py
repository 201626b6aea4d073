"""A message as the e-mail that goes over the wire."""

from binascii import b2a_qp
from datetime import datetime
from email.header import Header
from email.headerregistry import Address, BaseHeader, HeaderRegistry
from email.message import EmailMessage, MIMEPart
from email.policy import EmailPolicy
from email.utils import format_datetime
from functools import cache
from typing import Any

from kibray_ops.delivery import Message, Refused
from kibray_ops.text import is_mail_address, printable

BOUNDARY = "=_kibray-ops"
"""What no quoted-printable body can hold: there, = begins a code."""
LONGEST_WORD = 60
"""Letters of a word that still fits into a line of a header."""


class _Headers(HeaderRegistry):
    """The kinds of headers, each made once: the standard library makes a class for every single header."""

    def __init__(self) -> None:
        super().__init__()
        self._kinds: dict[str, type[BaseHeader]] = {}

    def __getitem__(self, name: str) -> type[BaseHeader]:
        if name not in self._kinds:
            self._kinds[name] = super().__getitem__(name)
        return self._kinds[name]


class _Policy(EmailPolicy):
    """How e-mails are written."""

    def fold_binary(self, name: str, value: Any) -> bytes:
        """Return a header's lines; the new folding of the standard library puts a second space into some subjects."""
        if name != "Subject":
            return super().fold_binary(name, value)
        text = str(value)
        is_plain = text.isascii() and max(map(len, text.split()), default=0) < LONGEST_WORD
        folded = Header(text, "us-ascii" if is_plain else "utf-8", header_name=name).encode(linesep="\r\n")
        return f"{name}: {folded}\r\n".encode()


ASCII = _Policy(linesep="\r\n", header_factory=_Headers())
INTERNATIONAL = ASCII.clone(utf8=True)
"""For addresses with letters beyond ASCII, which some servers take (RFC 6531)."""


def mailbox(sender: str) -> Address:
    """Return the name and the address of `Kibray, Inc. <office@example.com>`, quoted or not, or of an address alone."""
    name, bracket, address = sender.rpartition("<")
    return Address(name.strip().strip('"'), addr_spec=address.rstrip("> ") if bracket else sender)


def as_email(message: Message, *, sender: Address, at: datetime) -> EmailMessage:
    """Return the e-mail: text and HTML, an id, a date, and the mark of what no person wrote (RFC 3834).

    Nothing in a subject can end its header. Raises Refused when the recipient is no address.
    """
    if not is_mail_address(message.recipient):
        raise Refused(f"{printable(message.recipient)!r} is no e-mail address")
    rules = ASCII if message.recipient.isascii() else INTERNATIONAL
    email = EmailMessage(policy=rules)
    email["From"] = _header("From", str(sender))
    email["To"] = message.recipient
    # What looks like an encoded word would be decoded here, line breaks and all (RFC 2047).
    email["Subject"] = printable(message.subject.replace("=?", "= ?"))
    email["Date"] = format_datetime(at)
    email["Message-ID"] = message.id
    email["Auto-Submitted"] = _header("Auto-Submitted", "auto-generated")
    email["MIME-Version"] = _header("MIME-Version", "1.0")
    email["Content-Type"] = _header("Content-Type", f'multipart/alternative; boundary="{BOUNDARY}"')
    email.set_payload([_part("plain", message.text), _part("html", message.html)])
    return email


def _part(kind: str, text: str) -> MIMEPart:
    part = MIMEPart(policy=ASCII)
    part["Content-Type"] = _header("Content-Type", f'text/{kind}; charset="utf-8"')
    part["Content-Transfer-Encoding"] = _header("Content-Transfer-Encoding", "quoted-printable")
    part.set_payload(b2a_qp(text.encode()).decode("ascii"))
    return part


@cache
def _header(name: str, value: str) -> BaseHeader:
    """Return a header that is the same in all messages: reading it takes long."""
    header: BaseHeader = ASCII.header_factory(name, value)
    return header
