"""What other people wrote, made fit to print: whether it is an address, and what of it is secret."""

import json
import re
from binascii import b2a_base64
from collections.abc import Iterable
from functools import cache
from unicodedata import category
from urllib.parse import quote, unquote, unquote_plus

ATOM = r"""[^@\s<>()\[\],;:\\".]+"""
MAIL_ADDRESS = re.compile(rf"(?!.*=\?){ATOM}(\.{ATOM})*@{ATOM}(\.{ATOM})*")
"""Dots stand between; quoted local parts and comments are nobody's, and =? would begin an encoded word (RFC 2047)."""
LONGEST_MAIL_ADDRESS = 254

LONGEST_LINE = 2_000
"""Of a message of ours: what it repeats of an argument or of a database may have no end."""

MASK = "********"
"""What stands for a secret."""
IN_HTML = {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#x27;"}
SHORTEST_SECRET = 4
"""Letters; a shorter one may be part of an innocent word."""
SHORTEST_CODE = 6
"""Letters of base64; fewer may be part of an innocent word."""
JOINER = "\N{ZERO WIDTH JOINER}"
"""Makes one emoji of several."""


def printable(text: str) -> str:
    """Return a text on one line, without the control characters that a terminal or a mail header would obey."""
    return " ".join(tame(text).split())


def tame(text: str) -> str:
    """Return a text without the control characters that a terminal would obey; its lines stay."""
    if text.isprintable():
        return text
    return "".join(letter if letter.isprintable() or letter in ("\n", JOINER) else " " for letter in text)


def is_plain(text: str) -> bool:
    """Tell whether a text has neither control characters nor bytes that are no UTF-8 (lone surrogates)."""
    return not any(category(letter) in ("Cc", "Cs") for letter in text)


def fit_to_print(text: str) -> str:
    """Return lines without the control characters that a terminal would obey, each no longer than somebody reads."""
    return "\n".join(line[:LONGEST_LINE] + "…" * (len(line) > LONGEST_LINE) for line in tame(text).split("\n"))


def is_mail_address(text: str) -> bool:
    """Tell whether a text is one e-mail address, and nothing else that a mail server would obey."""
    return len(text) <= LONGEST_MAIL_ADDRESS and text.isprintable() and MAIL_ADDRESS.fullmatch(text) is not None


def passwords(url: str) -> set[str]:
    """Return the passwords in a URL, as written and as decoded."""
    in_front = re.findall(r"://[^/@]*?:(.*)@", url)
    behind = re.findall(r"[?&](?:password|passfile|sslpassword)=([^&]*)", url)
    decoded = [*map(unquote, (*in_front, *behind)), *map(unquote_plus, behind)]
    return {password for password in (*in_front, *behind, *decoded) if password}


def masked_url(url: str) -> str:
    """Return a URL with its passwords masked."""
    for password in sorted(passwords(url), key=len, reverse=True):
        url = url.replace(f":{password}@", f":{MASK}@").replace(f"={password}", f"={MASK}")
    return url


def masked(text: str, secrets: Iterable[str]) -> str:
    """Return a text with secrets masked, however they are spelt: in a URL, in JSON, in Python, in HTML, in base64.

    A single mark hides nothing, and would take itself out of all that is said.
    """
    found = _spelt(frozenset(secret for secret in secrets if len(mark := secret.strip()) > 1 or mark.isalnum()))
    return found.sub(MASK, text) if found else text


@cache
def _spelt(secrets: frozenset[str]) -> re.Pattern[str] | None:
    """Return the pattern of secrets, the longest first."""
    ordered = sorted(secrets, key=lambda secret: (-len(secret), secret))
    spelt = [spelling for secret in ordered for spelling in (_in_letters(secret), *map(re.escape, _in_base64(secret)))]
    return re.compile("|".join(spelt)) if spelt else None


def _in_letters(secret: str) -> str:
    pattern = "".join(map(_letter, " ".join(secret.split())))
    return pattern if len(secret) >= SHORTEST_SECRET else rf"(?<!\w){pattern}(?!\w)"


def _letter(letter: str) -> str:
    """Return the pattern of a letter and what others write in its place."""
    if letter.isascii() and letter.isalnum():
        return letter
    in_url = quote(letter, safe="", errors="surrogateescape")
    in_json, in_python = json.dumps(letter)[1:-1], ascii(letter)[1:-1]
    forms = {letter, in_url, in_url.lower(), in_json, in_python, f"\\{letter}", IN_HTML.get(letter, letter)}
    if letter == " ":
        forms |= {"+"}
    several = r"|\s+" if letter == " " else ""
    return f"(?:{'|'.join(re.escape(form) for form in sorted(forms, key=len, reverse=True))}{several})"


def _in_base64(secret: str) -> set[str]:
    """Return what base64 makes of a secret, whatever stands before and behind it: a login stands with its user."""
    found = set()
    for before in range(3):
        code = (
            b2a_base64(bytes(before) + (given := secret.encode("utf-8", "surrogateescape")), newline=False)
            .decode()
            .rstrip("=")
        )
        whole = code[(0, 2, 3)[before] : -1 if (before + len(given)) % 3 else None]
        found |= {whole, whole.translate({ord("+"): "-", ord("/"): "_"})}
    return {code for code in found if len(code) >= SHORTEST_CODE}
