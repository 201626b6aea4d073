"""A message as the e-mail that goes over the wire."""

from datetime import datetime
from email.header import Header
from email.headerregistry import Address, BaseHeader, HeaderRegistry
from email.message import EmailMessage
from email.policy import EmailPolicy
from email.utils import format_datetime
from typing import Any

from kibray_ops.delivery import Message, Refused
from kibray_ops.text import is_mail_address, printable

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
    """How e-mails are written: bodies in seven bits, for servers that take no more."""

    def fold_binary(self, name: str, value: Any) -> bytes:
        """Return a header's lines; the new folding of the standard library puts a second space into some subjects."""
        if name != "Subject":
            return super().fold_binary(name, value)
        text = str(value)
        is_plain = text.isascii() and max(map(len, text.split()), default=0) < LONGEST_WORD
        folded = Header(text, "us-ascii" if is_plain else "utf-8", header_name=name).encode(linesep="\r\n")
        return f"{name}: {folded}\r\n".encode()


ASCII = _Policy(linesep="\r\n", cte_type="7bit", header_factory=_Headers())
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
    email = EmailMessage(policy=ASCII if message.recipient.isascii() else INTERNATIONAL)
    email["From"] = sender
    email["To"] = message.recipient
    # What looks like an encoded word would be decoded here, line breaks and all (RFC 2047).
    email["Subject"] = printable(message.subject.replace("=?", "= ?"))
    email["Date"] = format_datetime(at)
    email["Message-ID"] = message.id
    email["Auto-Submitted"] = "auto-generated"
    email.set_content(message.text)
    email.add_alternative(message.html, subtype="html")
    return email
