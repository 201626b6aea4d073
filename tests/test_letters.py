"""What a person gets outside the application: the text of an e-mail or an SMS, and the e-mail on the wire."""

import re
from datetime import UTC, datetime
from email import message_from_bytes, policy
from email.headerregistry import Address
from email.message import EmailMessage
from html import unescape
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from kibray_ops.delivery import Message, Refused
from kibray_ops.delivery.mime import as_email, mailbox
from kibray_ops.delivery.phone import GSM_7, GSM_7_EXTENDED, e164, segments
from kibray_ops.messages import Texts, en, es, letter
from kibray_ops.messages.letter import LONGEST_SMS, SHORTEST_TITLE, Notice, absolute
from kibray_ops.text import LONGEST_MAIL_ADDRESS, is_mail_address, printable

SITE = "https://kibray.example.com"
NOON = datetime(2025, 11, 24, 19, tzinfo=UTC)
OFFICE = Address("Kibray, Inc.", addr_spec="office@example.com")
ANYTHING = st.text(st.characters(exclude_categories=()), max_size=250)
"""Lone surrogates too."""


def notice(title: str = "Low stock", message: str = "Tape: 0 of 4", link: str = "/inventory/") -> Notice:
    return Notice.of(title, message, link, SITE)


def mail(subject: str = "Low stock", *, to: str = "ana@example.com", **parts: str) -> EmailMessage:
    """Return the e-mail as it is handed over."""
    return as_email(
        Message(**{"recipient": to, "id": "<1@example.com>", "text": "Hello,\n", "subject": subject, "html": "<p>"}
                | parts),
        sender=OFFICE, at=NOON,
    )  # fmt: skip


def received(email: EmailMessage) -> Any:
    """Return the e-mail as somebody reads it off the wire."""
    return message_from_bytes(email.as_bytes(), policy=policy.default)


def body(email: Any, kind: str) -> str:
    found = email.get_body((kind,))
    assert found is not None
    return str(found.get_content()).replace("\r\n", "\n")


# ---- notices


def test_a_notice_has_no_control_characters_and_no_empty_lines_at_its_end() -> None:
    found = Notice.of(" Low\r\nstock \x1b[31m\0", "Tape:\t0\n\n\x07Caulk\r\nGlue\u2028Rope\n \n\n", "/a/", SITE)
    assert found.title == "Low stock [31m"
    assert found.lines == ("Tape: 0", "", "Caulk", "Glue", "Rope")
    assert found.link == f"{SITE}/a/"


def test_a_notice_of_nothing() -> None:
    assert Notice.of("", "", "", "") == Notice("", (), "")


def test_an_emoji_of_several_stays_one() -> None:
    assert Notice.of("👩‍🎨 paints", "", "", "").title == "👩‍🎨 paints"


@pytest.mark.parametrize(
    ("link", "leads_to"),
    [
        ("/inventory/", f"{SITE}/inventory/"),
        (" /inventory/?a=1&b=2#top\n", f"{SITE}/inventory/?a=1&b=2#top"),
        ("/a b/", f"{SITE}/a%20b/"),
        ('/a"b/', f"{SITE}/a%22b/"),
        ("/a<b>/", f"{SITE}/a%3Cb%3E/"),
        ("/año/", f"{SITE}/a%C3%B1o/"),
        ("/a%20b/", f"{SITE}/a%20b/"),
        ("/a\r\nBcc: x@y.z", f"{SITE}/a%20Bcc:%20x@y.z"),
        ("/\\evil.example", f"{SITE}/%5Cevil.example"),
        ("https://other.example/x y", "https://other.example/x%20y"),
        ("http://other.example", "http://other.example"),
        ("//evil.example/", ""),
        ("///evil.example/", ""),
        ("javascript:alert(1)", ""),
        (" javascript:alert(1)", ""),
        ("JavaScript://x/%0Aalert(1)", ""),
        ("data:text/html,x", ""),
        ("\\\\evil.example", ""),
        ("ftp://evil.example", ""),
        ("inventory/", ""),
        ("", ""),
    ],
)
def test_where_a_link_leads(link: str, leads_to: str) -> None:
    assert absolute(link, SITE) == leads_to


def test_without_the_address_of_the_site_only_whole_links_lead_anywhere() -> None:
    assert absolute("/inventory/", "") == ""
    assert absolute("https://other.example/", "") == "https://other.example/"


@settings(deadline=None)  # under load, the first one takes its time
@given(st.text(max_size=100))
def test_no_link_leads_off_the_site_by_a_relative_path_or_breaks_out(link: str) -> None:
    found = absolute(link, SITE)
    assert not found or found.startswith((f"{SITE}/", "http://", "https://"))
    assert not found.startswith(f"{SITE}//")
    assert not set(found) & set('"<> \r\n\t\\')
    assert found.isascii()


# ---- e-mails


@pytest.mark.parametrize(
    ("texts", "words"),
    [
        (en, ("Hello Ana,", "Open in Kibray", "replies are not read", 'lang="en"')),
        (es, ("Ana", es.see_it(), es.sender_note(), 'lang="es"')),
    ],
)
def test_a_letter_of_one_notice(texts: Texts, words: tuple[str, ...]) -> None:
    told = letter.letter(texts, "Ana", [notice("Low stock", "Tape: 0 of 4\nCaulk: 1 of 3")], SITE)
    assert told.subject == "Low stock"
    for part in (told.text, unescape(told.html)):
        for word in (*words[:3], texts.greeting("Ana"), "Low stock", "Tape: 0 of 4", "Caulk: 1 of 3"):
            assert word in part
        assert f"{SITE}/inventory/" in part
        assert texts.news(1) not in part
    assert words[3] in told.html
    assert "Tape: 0 of 4\nCaulk: 1 of 3\n" in told.text
    assert "Tape: 0 of 4<br>\nCaulk: 1 of 3</p>" in told.html


def test_the_whole_text_of_a_letter() -> None:
    several = [notice("Low stock", "Tape: 0 of 4\n\nand more"), notice("Plan", "", "")]
    assert letter.letter(en, "", several, SITE).text == (
        "Hello,\n\n2 new notifications.\n\nLow stock\nTape: 0 of 4\n\nand more\n"
        f"Open in Kibray: {SITE}/inventory/\n\nPlan\n\n-- \n"
        f"Kibray sent this automatically; replies are not read.\n{SITE}\n"
    )


@pytest.mark.parametrize(
    ("texts", "subject"), [(en, "1,200 new notifications: Notice 0"), (es, f"{es.news(1200)}: Notice 0")]
)
def test_a_letter_of_several_notices_has_all_of_them_in_order(texts: Texts, subject: str) -> None:
    told = letter.letter(texts, "Ana", [notice(f"Notice {number}", f"Body {number}") for number in range(1200)], SITE)
    assert told.subject == subject
    for part in (told.text, told.html):
        assert texts.news(1200) in part
        assert [int(found) for found in re.findall(r"Body (\d+)", part)] == list(range(1200))


def test_without_a_title_the_subject_says_that_there_is_news() -> None:
    assert letter.letter(en, "", [notice("")], "").subject == "1 new notification"
    assert letter.letter(es, "", [notice(" \n")], "").subject == es.news(1)
    assert letter.letter(en, "", [notice(""), notice("x")], "").subject == "2 new notifications"


def test_without_an_address_of_the_site_there_are_no_links() -> None:
    told = letter.letter(en, "Ana", [Notice.of("Low stock", "x", "/inventory/", "")], "")
    for part in (told.text, told.html):
        assert "http" not in part
        assert "href" not in part
        assert "Open in Kibray" not in part


def test_what_people_wrote_is_no_html() -> None:
    script = "<script>alert(1)</script>"
    told = letter.letter(en, script, [notice(script, f"{script}\n<b>&amp;'\"", '/"><script>/')] * 2, SITE)
    assert "<script" not in told.html
    assert "<b>&amp;'" not in told.html
    assert told.html.count("&lt;script&gt;alert(1)&lt;/script&gt;") == 6  # name, <title>, and two each of two
    assert "&lt;b&gt;&amp;amp;&#39;&#34;" in told.html
    assert set(re.findall(r'href="([^"]*)"', told.html)) == {f"{SITE}/%22%3E%3Cscript%3E/", SITE}
    assert f"\n{script}\n{script}\n<b>&amp;'\"\n" in told.text


def test_what_people_wrote_is_no_template() -> None:
    told = letter.letter(en, "{{ 7 * 7 }}", [notice("{% raw %}", "{{ site }}")], SITE)
    for part in (told.text, told.html):
        assert "{{ 7 * 7 }}" in part
        assert "{% raw %}" in part
        assert "{{ site }}" in part


@settings(deadline=None)
@given(ANYTHING, ANYTHING, st.integers(1, 3))
def test_no_subject_has_a_line_break(title: str, message: str, count: int) -> None:
    told = letter.letter(en, "Ana", [notice(title, message)] * count, SITE)
    assert told.subject
    assert len(told.subject.splitlines()) == 1
    assert printable(told.subject) == told.subject


# ---- SMS


def test_an_sms_of_one_notice_is_its_title_and_its_link() -> None:
    assert letter.sms(en, [notice()], SITE) == f"Low stock\n{SITE}/inventory/"
    assert letter.sms(en, [notice(link="")], SITE) == "Low stock"
    assert letter.sms(es, [notice("", link="")], SITE) == es.news(1)


def test_a_long_title_gives_way_to_its_link() -> None:
    told = letter.sms(en, [notice("x" * 400)], SITE)
    assert len(told) == LONGEST_SMS
    assert told.endswith(f"x...\n{SITE}/inventory/")
    exact = "x" * (LONGEST_SMS - len(f"\n{SITE}/inventory/"))
    assert letter.sms(en, [notice(exact)], SITE) == f"{exact}\n{SITE}/inventory/"


def test_a_title_is_left_something_however_long_the_link() -> None:
    link = "/" + "a" * 400
    told = letter.sms(en, [notice("x" * 200, link=link)], SITE)
    assert told == f"{'x' * (SHORTEST_TITLE - 3)}...\n{SITE}{link}"


@pytest.mark.parametrize(("over", "is_named"), [(0, True), (1, False)])
def test_the_last_letter_of_an_sms(over: int, is_named: bool) -> None:
    """There must be room for saying how many are left out, too."""
    rest = len(f"2 new notifications:\n- first\n- \nand 1 more.\n{SITE}")
    last = "x" * (LONGEST_SMS - rest + over)
    told = letter.sms(en, [notice("first"), notice(last)], SITE)
    assert (f"- {last}\n" in told, "and 1 more." in told) == (is_named, not is_named)


def test_an_sms_of_several_notices_names_as_many_as_have_room() -> None:
    few = [notice(f"Notice {number}") for number in range(3)]
    assert letter.sms(en, few, SITE) == f"3 new notifications:\n- Notice 0\n- Notice 1\n- Notice 2\n{SITE}"
    many = [notice(f"Notice {number:03} {'x' * 40}") for number in range(100)]
    told = letter.sms(en, many, SITE)
    *lines, rest, site = told.splitlines()
    assert lines[0] == "100 new notifications:"
    assert lines[1:] == [f"- {n.title}" for n in many[: len(lines) - 1]]
    assert rest == f"and {100 - (len(lines) - 1)} more."
    assert site == SITE
    assert len(lines) > 3
    assert LONGEST_SMS - 60 < len(told) <= LONGEST_SMS


@settings(deadline=None)
@given(
    st.lists(st.tuples(ANYTHING, st.text(max_size=80)), min_size=1, max_size=12),
    st.sampled_from(["", SITE, f"https://{'k' * 60}.example.com"]),
    st.sampled_from([en, es]),
)
def test_an_sms_is_never_too_long(written: list[tuple[str, str]], site: str, texts: Texts) -> None:
    """Titles of up to 200 letters, links of up to 255: only a link that fills the SMS makes it longer."""
    notices = [Notice.of(title[:200], "", f"/{path}", site) for title, path in written]
    told = letter.sms(texts, notices, site)
    longest = max(LONGEST_SMS, SHORTEST_TITLE + 1 + max(len(notice.link) for notice in notices))
    assert 0 < len(told) <= longest
    assert len(notices) == 1 or len(told) <= LONGEST_SMS


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("", 1), ("a" * 160, 1), ("a" * 161, 2), ("a" * 306, 2), ("a" * 307, 3), ("a" * 459, 3), ("a" * 460, 4),
        ("ω" * 70, 1), ("ω" * 71, 2), ("ω" * 134, 2), ("ω" * 135, 3), ("ω" * 201, 3), ("ω" * 202, 4),
        ("a" * 158 + "€", 1), ("a" * 159 + "€", 2), ("[" * 80, 1), ("[" * 81, 2), ("a" * 158 + "~", 1),
        ("é" * 160, 1), ("ñ" * 160, 1), ("ü" * 160, 1), ("\n" * 160, 1),
        ("a" * 69 + "é", 1), ("a" * 70 + "é", 1),
        ("a" * 69 + "á", 1), ("a" * 70 + "á", 2), ("a" * 70 + "í", 2), ("a" * 70 + "ó", 2), ("a" * 70 + "ú", 2),
        ("🎨" * 35, 1), ("🎨" * 36, 2), ("a" * 68 + "🎨", 1), ("a" * 69 + "🎨", 2),
        ("a" * 70 + "…", 2), ("a" * 70 + "’", 2), ("a" * 70 + "`", 2), ("a" * 70 + "\t", 2),
    ],
)  # fmt: skip
def test_how_many_segments_a_text_takes(text: str, count: int) -> None:
    assert segments(text) == count


def test_the_letters_of_gsm_7_are_those_of_the_standard() -> None:
    assert (len(GSM_7), len(GSM_7_EXTENDED)) == (127, 10)  # 128 without the escape, which is no letter; 10 behind it
    assert not GSM_7 & GSM_7_EXTENDED
    assert not GSM_7 & set("áíóúÁÍÓÚç`êâôŸ")
    assert set("àèéìòùñÑüÜöÖäÄåÅæÆøØßÇÉ¿¡§@£$¥_ \r\n") <= GSM_7


@pytest.mark.parametrize(
    ("written", "called"),
    [
        ("303-555-0123", "+13035550123"),
        (" (303) 555.0123 ", "+13035550123"),
        ("1 303 555 0123", "+13035550123"),
        ("+1 (303) 555-0123", "+13035550123"),
        ("303-555-0123 ext. 5", "+13035550123"),
        ("303-555-0123x5", "+13035550123"),
        ("+52 55 1234 5678", "+525512345678"),
        ("011 52 55 1234 5678", "+525512345678"),
        ("+44 20 7946 0958", "+442079460958"),
        ("tel:+1-303-555-0123", "+13035550123"),
        ("", None), (" ", None), ("-", None), ("none", None), ("call Ana", None),
        ("555-0123", None), ("12345", None), ("911", None), ("+", None), ("+1", None), ("0", None),
        ("303-555-01234567890123", None), ("+999 123 4567", None), ("303-555-0123 303-555-0124", None),
    ],
)  # fmt: skip
def test_numbers_that_can_be_called(written: str, called: str | None) -> None:
    assert e164(written) == called


@settings(deadline=None)
@given(st.text(max_size=60))
def test_a_number_is_in_e164_or_none(written: str) -> None:
    found = e164(written)
    assert found is None or re.fullmatch(r"\+[1-9][0-9]{1,14}", found)


# ---- the e-mail on the wire


def test_the_headers_of_an_email() -> None:
    email = mail()
    assert email["Date"] == "Mon, 24 Nov 2025 19:00:00 +0000"
    assert email["Message-ID"] == "<1@example.com>"
    assert email["Auto-Submitted"] == "auto-generated"
    assert email["To"] == "ana@example.com"
    assert email["From"] == '"Kibray, Inc." <office@example.com>'
    (address,) = received(email)["From"].addresses
    assert (address.display_name, address.addr_spec) == ("Kibray, Inc.", "office@example.com")
    assert sorted(email.keys()) == sorted(set(email.keys()))
    assert email.get_content_type() == "multipart/alternative"
    assert [part.get_content_type() for part in email.iter_parts()] == ["text/plain", "text/html"]


def test_an_email_is_the_same_at_every_try_but_for_its_boundary() -> None:
    first, second = (re.sub(rb"={15}\d+==", b"", mail().as_bytes()) for _ in range(2))
    assert first == second


def test_an_email_keeps_the_rules_of_the_wire() -> None:
    raw = mail("ñ" * 200, text="x" * 5000 + "\n.\nñ\n", html="<p>" + "y" * 5000).as_bytes()
    assert raw.isascii()
    assert raw.count(b"\n") == raw.count(b"\r\n")
    assert max(map(len, raw.split(b"\r\n"))) <= 998
    assert body(received(mail(text="x" * 5000 + "\n.\nFrom x\nñ\n")), "plain") == "x" * 5000 + "\n.\nFrom x\nñ\n"


@pytest.mark.parametrize(
    ("title", "read"),
    [
        ("a\r\nBcc: x@y.z", "a Bcc: x@y.z"),
        ("a\nBcc: x@y.z\n\nbody", "a Bcc: x@y.z body"),
        ("a\rb\x0bc\x0cd\x1ce\x85f\u2028g\u2029h", "a b c d e f g h"),
        ("x" * 200, "x" * 200),
        ("x " * 100, ("x " * 100).strip()),
        ("👩‍🎨" * 50, "👩‍🎨" * 50),
        ("🎨" * 100, "🎨" * 100),
        ("áéíóúñ" * 33, "áéíóúñ" * 33),
        ("", ""),
        ("\x00\x01\x1b[31m\x7f", "[31m"),
        ("a\ud800b\udfff", "a b"),
        ("a, b; c: <d@e.f> (g) \"h\" 'i' \\j", "a, b; c: <d@e.f> (g) \"h\" 'i' \\j"),
        ("100% = ?", "100% = ?"),
        ("Re: =?", "Re: = ?"),
    ],
)
def test_no_title_ends_its_header(title: str, read: str) -> None:
    found = received(mail(title))
    assert str(found["Subject"]).strip() == read  # folding may begin with a blank, which every reader drops
    assert [len(found.get_all(name, [])) for name in ("From", "To", "Subject", "Bcc", "Date")] == [1, 1, 1, 0, 1]
    assert body(found, "plain") == "Hello,\n"
    assert not found.defects


@pytest.mark.parametrize(
    "title",
    ["=?utf-8?q?a=0D=0ABcc:_x=40y.z?=", "=?utf-8?b?YQ0KQmNjOiB4QHkueg==?=", "see =?utf-8?q?=0A=0Abody?= there"],
)
def test_what_looks_like_an_encoded_word_smuggles_nothing(title: str) -> None:
    raw = mail(title).as_bytes()
    found = message_from_bytes(raw, policy=policy.compat32)
    assert [len(found.get_all(name, [])) for name in ("From", "To", "Subject", "Bcc")] == [1, 1, 1, 0]
    assert raw.count(b"\r\n\r\n") == mail("plain").as_bytes().count(b"\r\n\r\n")


@pytest.mark.parametrize("title", ["=?utf-8?q?hi?=", "=?utf-8?q?a=0D=0ABcc:_x=40y.z?=", "a =?x?= =?utf-8?b?aGk=?= b"])
def test_what_looks_like_an_encoded_word_is_not_decoded(title: str) -> None:
    """A blank keeps every reader from it."""
    assert str(received(mail(title))["Subject"]) == title.replace("=?", "= ?")


@settings(deadline=None)
@given(ANYTHING, ANYTHING, st.text(max_size=40), st.text(max_size=60), st.sampled_from([en, es]))
@example("a\r\nBcc: x@y.z", "\r\n.\r\nFrom x", "a\nb", "/a", es)
@example("👩‍🎨" * 60, "ñ" * 3000, "", "", en)
@example(f"{'x' * 77} ñ {'y' * 80}", "", "", "", en)
def test_a_message_is_read_as_it_was_written(title: str, message: str, name: str, link: str, texts: Texts) -> None:
    told = letter.letter(texts, printable(name), [notice(title, message, link)], SITE)
    found = received(mail(told.subject, text=told.text, html=told.html))
    for header, value in (
        ("From", str(OFFICE)), ("To", "ana@example.com"),
        ("Subject", told.subject.replace("=?", "= ?")), ("Message-ID", "<1@example.com>"),
    ):  # fmt: skip
        # Folding may put a blank before the first word, which every reader drops.
        assert [str(each).strip() for each in found.get_all(header)] == [value]
    assert "Bcc" not in found
    assert len(found.keys()) == 8
    assert body(found, "plain") == told.text
    assert body(found, "html").rstrip("\n") == told.html.rstrip("\n")


@pytest.mark.parametrize(
    "address",
    [
        "a b@x", "a@b,c@d", "a@b, c@d", "a@b;c@d", "a@b\r\nBcc: x", "a@b\n", "\na@b", "<a@b>", "Ana <a@b>", "a", "",
        "@", "a@", "@b", "a@b@c", "a@b c", '"a b"@c', "a(x)@b", "a@[127.0.0.1]", "a\\@b", "a:b@c", "a@b\0", "a@b\u2028",
        "a\u200b@b", f"{'a' * 250}@b.cd", "a..b@c", ".a@b", "a.@b", "a@b..c", "=?utf-8?q?a?=@b.c",
    ],
)  # fmt: skip
def test_what_is_no_address_is_refused(address: str) -> None:
    assert not is_mail_address(address)
    with pytest.raises(Refused) as refused:
        mail(to=address)
    assert "is no e-mail address" in str(refused.value)
    assert len(str(refused.value).splitlines()) == 1


@pytest.mark.parametrize(
    "address", ["a@b", "ana.ruiz+kibray@example.co", "o'hara@example.com", "a_-!#$%&*/?=^`{|}~@b.c"]
)
def test_what_is_an_address(address: str) -> None:
    assert is_mail_address(address)
    found = received(mail(to=address))
    assert [each.addr_spec for each in found["To"].addresses] == [address]


def test_the_longest_address() -> None:
    longest = f"{'a' * 64}@{'b.' * 100}"[: LONGEST_MAIL_ADDRESS - 2] + "cd"
    assert len(longest) == LONGEST_MAIL_ADDRESS
    assert str(received(mail(to=longest))["To"]) == longest
    assert not is_mail_address(longest + "e")


def test_an_address_with_other_letters() -> None:
    email = mail(to="josé@example.com")
    raw = email.as_bytes()
    assert "To: josé@example.com\r\n".encode() in raw
    assert str(message_from_bytes(raw, policy=policy.SMTPUTF8)["To"]) == "josé@example.com"


@pytest.mark.parametrize("length", [10, 60, 70, 80, 120, 240])
def test_a_message_id_survives_whatever_its_length(length: int) -> None:
    """It names the message at the next try and in the outbox: folded it may be, changed it may not."""
    domain = ".".join(["d" * 50] * 5)[-length:].strip(".")
    key = f"<20251124.{'0' * 32}@{domain}>"
    raw = mail(id=key).as_bytes()
    assert b"=?" not in raw.partition(b"Message-ID")[2].partition(b"Auto-Submitted")[0]
    for how in (policy.default, policy.compat32):
        assert str(message_from_bytes(raw, policy=how)["Message-ID"]).replace("\r\n", "").strip() == key


@pytest.mark.parametrize(
    ("written", "name", "address"),
    [
        ("Kibray, Inc. <a@b.c>", "Kibray, Inc.", "a@b.c"),
        ('"Kibray, Inc." <a@b.c>', "Kibray, Inc.", "a@b.c"),
        ("Kibray <a@b.c>", "Kibray", "a@b.c"),
        ("<a@b.c>", "", "a@b.c"),
        ("a@b.c", "", "a@b.c"),
        ("Pinturas Ñandú <a@b.c>", "Pinturas Ñandú", "a@b.c"),
        ("塗装 🎨 <a@b.c>", "塗装 🎨", "a@b.c"),
        ("Kibray (office) @ Denver <a@b.c>", "Kibray (office) @ Denver", "a@b.c"),
        (f"{'Long Name ' * 20}<a@b.c>", ("Long Name " * 20).strip(), "a@b.c"),
    ],
)
def test_the_sender(written: str, name: str, address: str) -> None:
    sender = mailbox(written)
    assert (sender.display_name, sender.addr_spec) == (name, address)
    message = Message("ana@example.com", "<1@example.com>", "Hello,\n", "Low stock", "<p>")
    email = as_email(message, sender=sender, at=NOON)
    assert email.as_bytes().isascii()
    (found,) = received(email)["From"].addresses
    assert (found.display_name, found.addr_spec) == (name, address)
