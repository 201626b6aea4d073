"""Notifications as a person gets them outside the application: an e-mail, or an SMS."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING
from urllib.parse import quote

from kibray_ops.messages import Texts, es
from kibray_ops.text import printable

if TYPE_CHECKING:
    from jinja2 import Environment

LONGEST_SMS = 320
"""Letters beyond which many phones and carriers do not follow; Twilio takes 1,600."""
SHORTEST_TITLE = 60
"""What a title is left, however long the link."""
SAFE_IN_LINKS = "/:?#[]@!$&'()*+,;=%-._~"


@dataclass(frozen=True)
class Notice:
    """A notification as it is read: no control characters, a link that leads somewhere or nowhere."""

    title: str
    lines: tuple[str, ...]
    link: str

    @classmethod
    def of(cls, title: str, message: str, link: str, site: str) -> "Notice":
        """Return the notice of a row of Kibray's; `site` makes its link absolute."""
        lines = [printable(line) for line in message.splitlines()]
        while lines and not lines[-1]:
            lines.pop()
        return cls(printable(title), tuple(lines), absolute(link, site))


@dataclass(frozen=True)
class Letter:
    """An e-mail's subject, and its text twice."""

    subject: str
    text: str
    html: str


def absolute(link: str, site: str) -> str:
    """Return where a link of the application leads; nothing where that is unknown, or no place in the web."""
    link = quote(printable(link), safe=SAFE_IN_LINKS)
    if link.startswith(("http://", "https://")):
        return link
    return f"{site}{link}" if site and link.startswith("/") and not link.startswith("//") else ""


def subject(texts: Texts, notices: Sequence[Notice]) -> str:
    """Return the title of a notice, or how many there are and the title of the first."""
    title = notices[0].title
    return title or texts.news(1) if len(notices) == 1 else ": ".join(filter(None, (texts.news(len(notices)), title)))


def letter(texts: Texts, name: str, notices: Sequence[Notice], site: str) -> Letter:
    """Return the e-mail that brings somebody their notices."""
    words = {
        "texts": texts,
        "language": "es" if texts is es else "en",
        "name": name,
        "notices": notices,
        "site": site,
        "subject": (title := subject(texts, notices)),
    }
    text, html = (_templates().get_template(f"letter.{kind}").render(words) for kind in ("txt", "html"))
    return Letter(title, text, html)


def sms(texts: Texts, notices: Sequence[Notice], site: str) -> str:
    """Return the SMS that brings somebody their notices: one and its link, or the titles of as many as have room."""
    if len(notices) == 1:
        (notice,) = notices
        return _shortened(notice.title or texts.news(1), notice.link)
    lines = [f"{texts.news(len(notices))}:"]
    for number, notice in enumerate(notices):
        left = len(notices) - number
        rest = "\n".join(filter(None, (texts.more(left), site)))
        with_this = "\n".join((*lines, f"- {notice.title}", rest))
        if len(with_this) > LONGEST_SMS:
            return _shortened("\n".join((*lines, texts.more(left))), site)
        lines.append(f"- {notice.title}")
    return _shortened("\n".join(lines), site)


def _shortened(text: str, link: str) -> str:
    room = max(LONGEST_SMS - len(link) - 1, SHORTEST_TITLE)
    if len(text) > room:
        text = f"{text[: room - 3].rstrip()}..."  # an ellipsis of one letter would more than double the segments
    return f"{text}\n{link}" if link else text


@cache
def _templates() -> "Environment":
    from jinja2 import Environment, PackageLoader, select_autoescape

    return Environment(
        loader=PackageLoader("kibray_ops.messages"),
        autoescape=select_autoescape(["html"]),
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
