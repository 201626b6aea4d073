"""What people have written into names and texts does nothing where it is shown: a terminal, a mail, a spreadsheet."""

import csv
import io
import json
import logging
import re
from datetime import timedelta
from decimal import Decimal
from email import message_from_bytes
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from kibray_ops.cli.log import configure
from kibray_ops.cli.sheet import Sheet
from kibray_ops.clock import real_now
from kibray_ops.text import JOINER
from tests.post import PostOffice
from tests.test_contract import ALL, WORDS, fill
from tests.test_sql import spoil
from tests.typed import Said, typed
from tests.world import World

TERMINAL = (
    "\x1b[31m", "\x1b]8;;http://evil\x1b\\", "\x07", "\x9b2J", "\x90q", "\r\n", "\x08", "\x7f", "\u202e", "\u2066",
    "\u200b", "\ufeff", "\u2028",
)  # fmt: skip
"""Colours, links, bells, C1 codes, line ends, overwriting, right-to-left, and what has no width."""
NASTY = f"=[red]<b>{''.join(TERMINAL)}:x:"
FORMULAS = ("=1+1", "+1", "-1+1", "@x", "\t=1", "\r=1", "\n=1", "＝1", "-cmd|' /C calc'!A0")
REPORTS = (
    "invoices aging", "invoices aging --by client", "invoices aging --by invoice", "notifications outbox list",
    "notifications archive list", "runs list", "status", "doctor", "catch-up --dry-run", "db check",
)  # fmt: skip


def told(said: Said) -> Said:
    """Return what a command said, in which nothing is that a terminal would obey."""
    text = said.all.replace("\r\n", "\n")  # as a sheet's lines end
    obeyed = {letter for letter in text if not letter.isprintable() and letter not in ("\n", JOINER)}
    assert not obeyed, (said.words, obeyed)
    return said


def test_no_name_does_anything_to_a_terminal_a_sheet_or_json(newest: World) -> None:
    fill(newest, 3)
    spoil(newest, NASTY)
    shown, seen = "", 0
    for job in ALL:
        words = (*job.command, *(("1", "39.7", "-105.0") if job.name == "locate-project" else WORDS.get(job.name, ())))
        at = ("--as-of", "2025-11-24T17:15")
        shown += told(typed(newest, *words, "-n", *at)).out
        for line in csv.reader(io.StringIO(told(typed(newest, *words, "-n", "--csv", "-", *at)).out)):
            seen += sum("[red]" in cell for cell in line)
            assert not [cell for cell in line if cell.startswith(tuple("=+-@\t\r")) and not is_number(cell)]
        assert json.loads(told(typed(newest, *words, *at, "--json")).out)["exit_code"] in (0, 3)
    spoil_ours(newest)
    for run in [row["id"] for row in newest.runs()]:
        shown += told(typed(newest, "runs", "show", str(run))).out
    for words in REPORTS:
        for more in ([], ["--json"]):
            said = told(typed(newest, *words.split(), *more))
            shown += said.out * (not more)
    assert shown.count("[red]<b>") > 20, "it is no markup, and it is shown"
    assert shown.count(":x:") > 5, "nor an emoji"
    assert seen > 20


def is_number(cell: str) -> bool:
    return re.fullmatch(r"-?\d+(\.\d+)?", cell) is not None


def spoil_ours(world: World) -> None:
    """Let what was recorded by somebody else, or by an older version, be nasty too."""
    mark = "?" if world.engine == "sqlite" else "?::jsonb"
    problems = json.dumps([{"subject": NASTY, "message": NASTY, "severity": "warning", "code": "x"}])
    world.sql("UPDATE kibray_ops_run SET error = ?, host = ?, version = ?", NASTY, NASTY, NASTY[:40])
    world.sql(f"UPDATE kibray_ops_run SET problems = {mark}, result = {mark}", problems, json.dumps({"a": NASTY}))
    world.sql("UPDATE kibray_ops_run SET status = 'failed' WHERE id > 5")
    world.sql("UPDATE kibray_ops_delivery SET last_error = ?", NASTY)


def test_no_error_and_no_line_of_the_log_does_anything(sqlite_world: World, capsys: pytest.CaptureFixture[str]) -> None:
    for words in (
        ("weather", "locate", NASTY, "1", "1"), ("jobs", "run", NASTY), ("runs", "list", "--job", NASTY),
        ("payroll", "generate", "--week", NASTY), ("invoices", "aging", "--by", NASTY), (NASTY,),
        ("payroll", "generate", "-v", "--csv", f"{NASTY}/x"), ("runs", "show", "9", NASTY),
    ):  # fmt: skip
        assert told(typed(sqlite_world, *words)).code == 2
        told(typed(sqlite_world, *words, "--json"))
    assert told(typed(sqlite_world, "config", "check", KIBRAY_OPS_TIMEZONE=NASTY, KIBRAY_OPS_X=NASTY)).code == 78
    for form in ("text", "json"):
        sqlite_world.environment["KIBRAY_OPS_LOG_FORMAT"] = form
        configure(sqlite_world.settings, verbose=False)
        logging.getLogger("kibray_ops.test").warning("the server said %s", NASTY)
        said = capsys.readouterr().err
        assert said.count("\n") == 1, "a text of others cannot make a line of its own"
        assert said.rstrip("\n").isprintable()


@pytest.mark.parametrize("text", FORMULAS)
def test_no_text_becomes_a_formula_and_numbers_stay_numbers(text: str, tmp_path: Path) -> None:
    sheet = tmp_path / "x.csv"
    row: dict[str, Any] = {"name": text, "list": [text, "b"], "less": Decimal("-1.50"), "west": "-104.99", "n": -3}
    Sheet(sheet).write({name: name for name in row}, [row])
    with sheet.open(encoding="utf-8-sig", newline="") as file:
        (line,) = csv.DictReader(file)
    assert line == {"name": f"'{text}", "list": f"'{text} b", "less": "-1.50", "west": "-104.99", "n": "-3"}


# ---- mail

INJECTED = "Low stock\r\nBcc: spy@example.com\r\n\r\n<script>alert(1)</script> =?utf-8?q?x=0d=0aBcc:_spy@example.com?="
LINKS = (
    "javascript:alert(1)",
    "JaVaScRiPt:alert(1)",
    "data:text/html,x",
    '/x"onclick="alert(1)',
    "//evil/x",
    "\tjavascript:x",
)


class Links(HTMLParser):
    """What a mail's HTML does beside showing text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.links: list[str] = []
        self.others: set[str] = set()
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.links += [value or "" for name, value in attrs if name == "href"]
        self.others |= {name for name, _ in attrs}


def test_nothing_gets_into_a_mail_but_as_text(sqlite_world: World, post: PostOffice) -> None:
    sqlite_world.environment |= {
        **post.environment, "KIBRAY_OPS_SITE_URL": "https://kibray.example.com",
        "KIBRAY_OPS_EMAIL_FROM": 'Kibray, "Inc." <office@example.com>',
    }  # fmt: skip
    for number, link in enumerate(LINKS):
        user = sqlite_world.user(f"u{number}")
        sqlite_world.notify(user, INJECTED, created_at=real_now() - timedelta(hours=1), message=INJECTED, link_url=link)
    sqlite_world.sql("UPDATE auth_user SET first_name = ?, last_name = ?", INJECTED, INJECTED)
    bad = sqlite_world.user("bad")
    sqlite_world.notify(bad, created_at=real_now() - timedelta(hours=1))
    sqlite_world.sql("UPDATE auth_user SET email = ? WHERE id = ?", "a@b.example\r\nBcc: spy@example.com", bad)
    assert typed(sqlite_world, "notifications", "send").code in (0, 3)
    assert sorted(post.recipients) == [f"u{number}@example.com" for number in range(len(LINKS))]
    for mail in post.taken:
        email = message_from_bytes(mail.raw)
        names = [name for name in email if not name.startswith("X-")]  # aiosmtpd adds its own
        assert sorted(names) == sorted(
            ["From", "To", "Subject", "Date", "Message-ID", "Auto-Submitted", "MIME-Version", "Content-Type"]
        )
        assert mail.content["To"].addresses[0].addr_spec == mail.recipient
        assert mail.content["From"].addresses[0].addr_spec == "office@example.com"
        assert len(mail.content["From"].addresses) == 1
        assert "spy" in mail.content["Subject"]
        html = Links(mail.html)
        assert html.tags <= {"html", "head", "meta", "title", "body", "div", "p", "a", "br"}
        assert html.others <= {"lang", "charset", "name", "content", "style", "href"}
        assert all(link.startswith("https://kibray.example.com") for link in html.links), html.links
        assert "&lt;script&gt;" in mail.html
