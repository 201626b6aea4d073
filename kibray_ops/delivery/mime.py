"""A message as the e-mail that goes over the wire."""

from datetime import datetime
from email import policy
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import format_datetime

from kibray_ops.delivery import Message, Refused
from kibray_ops.text import is_mail_address, printable


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
    email = EmailMessage(policy=policy.SMTPUTF8 if not message.recipient.isascii() else policy.SMTP)
    email["From"] = sender
    email["To"] = message.recipient
    email["Subject"] = printable(message.subject)
    email["Date"] = format_datetime(at)
    email["Message-ID"] = message.id
    email["Auto-Submitted"] = "auto-generated"
    email.set_content(message.text)
    email.add_alternative(message.html, subtype="html")
    return email
