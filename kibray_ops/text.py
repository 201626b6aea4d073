"""What other people wrote, made fit to print: whether it is an address, and what of it is secret."""

import re
from urllib.parse import unquote

ATOM = r"""[^@\s<>()\[\],;:\\".]+"""
MAIL_ADDRESS = re.compile(rf"(?!.*=\?){ATOM}(\.{ATOM})*@{ATOM}(\.{ATOM})*")
"""Dots stand between; quoted local parts and comments are nobody's, and =? would begin an encoded word (RFC 2047)."""
LONGEST_MAIL_ADDRESS = 254

MASK = "********"
"""What stands for a secret."""
JOINER = "\N{ZERO WIDTH JOINER}"
"""Makes one emoji of several."""


def printable(text: str) -> str:
    """Return a text on one line, without the control characters that a terminal or a mail header would obey."""
    if not text.isprintable():
        text = "".join(letter if letter.isprintable() or letter == JOINER else " " for letter in text)
    return " ".join(text.split())


def is_mail_address(text: str) -> bool:
    """Tell whether a text is one e-mail address, and nothing else that a mail server would obey."""
    return len(text) <= LONGEST_MAIL_ADDRESS and text.isprintable() and MAIL_ADDRESS.fullmatch(text) is not None


def passwords(url: str) -> set[str]:
    """Return the passwords in a database URL, as written and as decoded."""
    written = re.findall(r"://[^/@]*?:(.*)@", url) + re.findall(r"[?&](?:password|passfile|sslpassword)=([^&]*)", url)
    return {form for password in written for form in (password, unquote(password)) if form}


def masked_url(url: str) -> str:
    """Return a database URL with its passwords masked."""
    for password in passwords(url):
        url = url.replace(f":{password}@", f":{MASK}@").replace(f"={password}", f"={MASK}")
    return url
