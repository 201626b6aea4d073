"""kibray-ops notifications send and outbox: who gets what, once, and what becomes of the rest."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from kibray_ops.report import Report
from tests.here import here
from tests.post import HANG_UP, PASSWORD, PostOffice
from tests.world import ZONE, World, done

SEND = "send-pending-notifications"
NOW = "2025-11-24T07:00"


def statuses(world: World) -> list[str]:
    return [row["status"] for row in world.outbox()]


def reasons(report: Report) -> list[str]:
    return [f"{problem.severity} {problem.subject}: {problem.message}" for problem in report.problems]


def send(world: World, post: PostOffice, code: int = 0, *, at: str = NOW, **environment: str) -> Report:
    world.environment |= {"KIBRAY_OPS_SITE_URL": "https://kibray.example.com", **post.environment, **environment}
    return done(world.execute(SEND, at=at), code)


def sent_by(report: Report) -> tuple[int, int]:
    return report.result["sent"], report.result["errors"]


# ---- who gets what


def test_an_unread_notification_is_mailed_once(world: World, post: PostOffice) -> None:
    ana = world.user("ana")
    world.sql("UPDATE auth_user SET first_name = 'Ana', last_name = 'Ruiz'")
    key = world.notify(ana, "5 items are low in stock", message="Caulk: 3 of 10\nTape: 0 of 4")
    report = send(world, post)
    assert sent_by(report) == (1, 0)
    assert report.problems == []
    (mail,) = post.taken
    assert (mail.sender, mail.recipient) == ("office@example.com", "ana@example.com")
    assert mail.content["Subject"] == "5 items are low in stock"
    assert mail.content["From"] == "Kibray <office@example.com>"
    assert mail.content["Auto-Submitted"] == "auto-generated"
    assert mail.content["Date"] == "Mon, 24 Nov 2025 07:00:00 -0700"
    for part in (mail.text, mail.html):
        assert "Hello Ana," in part
        assert "Caulk: 3 of 10" in part
        assert "https://kibray.example.com/inventory/" in part
    (delivery,) = world.outbox()
    assert (delivery["notification_id"], delivery["channel"], delivery["user_id"]) == (key, "email", ana)
    assert (delivery["status"], delivery["attempts"], delivery["address"]) == ("sent", 1, "ana@example.com")
    assert delivery["message_id"] == mail.content["Message-ID"]
    assert delivery["provider_id"] == "2.0.0 Ok: queued as 4F2A"
    assert sent_by(send(world, post)) == (0, 0)
    assert len(post.taken) == 1


def test_several_for_one_are_one_message_in_their_language(newest: World, post: PostOffice) -> None:
    ana, bob = newest.user("ana"), newest.user("bob")
    newest.add("core_profile", user_id=ana, language="es", role="admin")
    for number in range(3):
        newest.notify(ana, f"Aviso {number}", at=f"2025-11-24T05:0{3 - number}")
    newest.notify(bob)
    report = send(newest, post)
    assert (report.result["sent"], report.result["messages"], post.connections) == (4, 2, 1)
    (mail,) = post.to("ana@example.com")
    assert mail.content["Subject"] == "3 avisos nuevos: Aviso 2"
    positions = [mail.text.index(f"Aviso {number}\n") for number in (2, 1, 0)]
    assert positions == sorted(positions)
    assert len({row["batch"] for row in newest.outbox() if row["user_id"] == ana}) == 1
    assert len({row["batch"] for row in newest.outbox()}) == 2


def test_only_what_is_unread_after_the_baseline_and_not_of_the_future(newest: World, post: PostOffice) -> None:
    newest.sql("UPDATE kibray_ops_state SET value = '2025-11-24T12:00:00+00:00' WHERE key = 'baseline'")
    ana = newest.user("ana")
    before = newest.notify(ana, "before", at="2025-11-24T04:59")
    at_it = newest.notify(ana, "at it", at="2025-11-24T05:00")
    newest.notify(ana, "read", is_read=True)
    now = newest.notify(ana, "now", at="2025-11-24T07:00")
    later = newest.notify(ana, "later", at="2025-11-24T07:01")
    assert send(newest, post).result["sent"] == 2
    assert [row["notification_id"] for row in newest.outbox()] == [at_it, now]
    assert send(newest, post, at="2025-11-24T08:00").result["sent"] == 1
    assert [row["notification_id"] for row in newest.outbox()] == [at_it, now, later]
    assert before not in {row["notification_id"] for row in newest.outbox()}


def test_types_and_audience_of_the_settings(world: World, post: PostOffice) -> None:
    admin, worker, boss = world.user("admin"), world.user("worker", staff=False), world.user("boss", staff=False)
    world.sql("UPDATE auth_user SET is_superuser = ? WHERE id = ?", True, boss)
    for user in (admin, worker, boss):
        for kind in ("alert", "task_alert", "chat"):
            world.notify(user, kind, notification_type=kind)
    chosen = {"KIBRAY_OPS_EMAIL_TYPES": "alert, task_alert", "KIBRAY_OPS_EMAIL_AUDIENCE": "staff"}
    assert send(world, post, **chosen).result["sent"] == 4
    assert sorted(post.recipients) == ["admin@example.com", "boss@example.com"]
    assert "chat" not in "".join(mail.text for mail in post.taken)
    everything = {"KIBRAY_OPS_EMAIL_TYPES": "all", "KIBRAY_OPS_EMAIL_AUDIENCE": "all"}
    assert send(world, post, **everything).result["sent"] == 5


def test_who_wants_none_or_cannot_get_any_is_suppressed_and_told_why(world: World, post: PostOffice) -> None:
    for name, address in (("inactive", "i@example.com"), ("none", ""), ("odd", "odd one@example.com"), ("ana", "")):
        world.user(name, active=name != "inactive")
        world.sql("UPDATE auth_user SET email = ? WHERE username = ?", address or f"{name}@example.com", name)
    world.sql("UPDATE auth_user SET email = '' WHERE username = 'none'")
    users = {row["username"]: row["id"] for row in world.rows("auth_user")}
    if world.version != "2025-11":
        world.add("core_notificationpreference", user_id=world.user("mute"), email_enabled=False)
        world.add("core_notificationpreference", user_id=users["ana"], email_enabled=True)
        users["mute"] = world.user("mute")
    for user in users.values():
        world.notify(user)
    report = send(world, post)
    assert post.recipients == ["ana@example.com"]
    found = {row["user_id"]: (row["status"], row["last_error"]) for row in world.outbox()}
    assert found[users["inactive"]] == ("suppressed", "is no active user")
    assert found[users["none"]] == ("suppressed", "has no e-mail address")
    assert found[users["odd"]] == ("suppressed", "has 'odd one@example.com' for an e-mail address")
    if "mute" in users:
        assert found[users["mute"]] == ("suppressed", "wants no e-mail")
    assert [problem.subject for problem in report.problems] == ["none", "odd"]
    assert {problem.severity for problem in report.problems} == {"warning"}
    world.sql("UPDATE auth_user SET is_active = ?, email = 'x@example.com'", True)
    assert send(world, post).result["sent"] == 0  # it was decided then


def test_what_was_decided_before_it_was_sent_is_looked_at_again(world: World, post: PostOffice) -> None:
    """A message waits for its next try; meanwhile the world changes."""
    read, gone, left, old, stays = (world.user(name) for name in ("read", "gone", "left", "old", "stays"))
    keys = {user: world.notify(user, at="2025-11-22T06:00") for user in (read, gone, left, old, stays)}
    for name in ("read", "gone", "left", "old", "stays"):
        post.recipient_faults[f"{name}@example.com"] = ["451 4.7.1 Try again later"]
    assert send(world, post).result["waiting"] == 5
    world.sql("UPDATE core_notification SET is_read = ? WHERE id = ?", True, keys[read])
    world.sql("DELETE FROM core_notification WHERE id = ?", keys[gone])
    world.sql("UPDATE auth_user SET is_active = ? WHERE id = ?", False, left)
    world.sql(
        "UPDATE kibray_ops_delivery SET expires_at = ? WHERE user_id = ?", datetime(2025, 11, 24, 14, tzinfo=UTC), old
    )
    report = send(world, post, 3, at="2025-11-24T08:00")
    found = {row["user_id"]: (row["status"], row["last_error"]) for row in world.outbox()}
    assert found == {
        read: ("cancelled", "it was read in Kibray"),
        gone: ("cancelled", "its notification is gone"),
        left: ("suppressed", "is no active user"),
        old: ("expired", "it could not be sent within 72 hours"),
        stays: ("sent", None),
    }
    assert post.recipients == ["stays@example.com"]
    assert [problem.subject for problem in report.problems if problem.severity == "failure"] == ["old"]


def test_everything_goes_to_one_address_for_a_staging_copy(newest: World, post: PostOffice) -> None:
    for name in ("ana", "bob"):
        newest.notify(newest.user(name), "Low stock")
    send(newest, post, KIBRAY_OPS_EMAIL_REDIRECT_TO="test@example.com")
    assert post.recipients == ["test@example.com"] * 2
    assert [mail.content["To"] for mail in post.taken] == ["test@example.com"] * 2
    subjects = sorted(str(mail.content["Subject"]) for mail in post.taken)
    assert subjects == ["[ana@example.com] Low stock", "[bob@example.com] Low stock"]
    assert {row["address"] for row in newest.outbox()} == {"test@example.com"}


@pytest.mark.parametrize(
    "title",
    [
        "Paid\r\nBcc: thief@example.com",
        "Paid\nX-Evil: 1\n\nbody",
        "Paid\x0bBcc: a@b.c",
        "Paid\u2028Bcc: a@b.c",
        "Paid =?utf-8?q?x=0D=0ABcc:_thief@evil.example=0D=0A=0D=0A<h1>Log_in</h1>?=",
        "Paid =\x01?utf-8?b?DQpCY2M6IGFAYi5j?=",
    ],
)
def test_a_title_cannot_become_a_header(newest: World, post: PostOffice, title: str) -> None:
    newest.notify(newest.user("ana"), title, message=f"{title}\r\n.\r\nMAIL FROM:<x@y.z>")
    send(newest, post)
    (mail,) = post.taken
    assert mail.recipient == "ana@example.com"
    assert mail.content["Bcc"] is None
    assert mail.content["X-Evil"] is None
    assert str(mail.content["Subject"]).startswith("Paid ")
    assert "MAIL FROM:<x@y.z>" in mail.text
    assert mail.content.get_all("Message-ID") == [newest.outbox()[0]["message_id"]]


def test_lines_that_begin_with_a_dot_arrive_as_they_are(newest: World, post: PostOffice) -> None:
    newest.notify(newest.user("ana"), "Dots", message=".\n..\n.hidden\nend")
    send(newest, post)
    assert "\n.\n..\n.hidden\nend\n" in post.taken[0].text


def test_a_dry_run_shows_the_same_and_touches_neither_database_nor_server(world: World, post: PostOffice) -> None:
    for name in ("ana", "bob"):
        for number in range(2):
            world.notify(world.user(name), f"Notice {number}")
    world.notify(world.user("old"), at="2025-11-20T06:00")
    world.environment |= post.environment
    before = world.dump()
    dry = world.execute(SEND, at=NOW, dry_run=True)
    assert (dry.exit_code, world.dump(), post.connections) == (3, before, 0)
    real = send(world, post, 3, KIBRAY_OPS_SITE_URL="")
    assert dry.result == real.result

    def told(report: Report) -> list[dict[str, object]]:
        return [{name: value for name, value in row.items() if name != "deliveries"} for row in report.rows]

    assert told(dry) == told(real)


def test_a_dry_run_before_db_init_has_nothing_to_send(bare: World) -> None:
    bare.notify(bare.user("ana"))
    report = done(bare.execute(SEND, at=NOW, dry_run=True))
    assert (report.rows, report.result["sent"]) == ([], 0)


def test_without_mail_settings_nothing_is_done(newest: World) -> None:
    newest.notify(newest.user("ana"))
    before = newest.dump(own=False)
    for settings, missing in (
        ({"KIBRAY_OPS_EMAIL_BACKEND": "smtp"}, "EMAIL_HOST"),
        ({"KIBRAY_OPS_EMAIL_BACKEND": "file", "KIBRAY_OPS_EMAIL_DIR": ""}, "EMAIL_DIR"),
        ({"KIBRAY_OPS_EMAIL_FROM": ""}, "EMAIL_FROM"),
    ):
        newest.environment = settings
        for dry_run in (True, False):
            report = newest.execute(SEND, at=NOW, dry_run=dry_run)
            assert (report.exit_code, missing in str(report.error)) == (78, True)
    assert (newest.outbox(), newest.dump(own=False)) == ([], before)


# ---- temporary and permanent


def test_a_temporary_refusal_is_tried_again_with_growing_delays_as_the_same_message(
    newest: World, post: PostOffice
) -> None:
    ana = newest.user("ana")
    first = [newest.notify(ana, f"First {number}", at="2025-11-24T06:00") for number in range(2)]
    post.recipient_faults["ana@example.com"] = ["450 4.2.0 Greylisted"] * 7
    moment = datetime(2025, 11, 24, 7, tzinfo=ZoneInfo(ZONE))
    waits = []
    for attempt in range(1, 8):
        report = send(newest, post, at=moment.isoformat())
        rows = [row for row in newest.rows("kibray_ops_delivery") if row["notification_id"] in first]
        assert {row["status"] for row in rows} == {"pending"}
        assert {row["attempts"] for row in rows} == {attempt}
        assert any("450 4.2.0 Greylisted" in words for words in reasons(report))
        assert {problem.severity for problem in report.problems} == {"warning"}
        again = rows[0]["next_attempt_at"]
        if isinstance(again, str):
            again = datetime.fromisoformat(again).replace(tzinfo=UTC)
        waits.append(again - moment)
        newest.sql("UPDATE kibray_ops_delivery SET expires_at = ?", datetime(2025, 12, 20, tzinfo=UTC))
        early = (moment + waits[-1] - timedelta(seconds=1)).isoformat()
        assert send(newest, post, at=early).result["messages"] == 0
        moment += waits[-1]
    minutes = [wait.total_seconds() / 60 for wait in waits]
    assert minutes == [5, 30, 120, 360, 1440, 1440, 1440]
    batch = newest.outbox()[0]["message_id"]
    newest.notify(ana, "Second", at=moment.isoformat())
    send(newest, post, at=moment.isoformat())
    retried, new = post.to("ana@example.com")
    assert retried.content["Message-ID"] == batch
    assert "2 new notifications" in retried.text
    assert "Second" not in retried.text
    assert new.content["Subject"] == "Second"
    assert set(statuses(newest)) == {"sent"}


def test_one_bad_address_stops_nobody(newest: World, post: PostOffice) -> None:
    for name in ("ana", "bad", "full", "spam", "zoe"):
        newest.notify(newest.user(name))
    post.recipient_faults["bad@example.com"] = ["550 5.1.1 No such user here"]
    post.data_faults["full@example.com"] = ["452 4.2.2 Mailbox full"]
    post.data_faults["spam@example.com"] = ["554 5.7.1 Looks like spam"]
    report = send(newest, post, 3)
    assert post.recipients == ["ana@example.com", "zoe@example.com"]
    assert statuses(newest) == ["sent", "failed", "pending", "failed", "sent"]
    assert (report.result["sent"], report.result["errors"], report.result["waiting"]) == (2, 2, 1)
    assert post.connections == 1
    told = "\n".join(reasons(report))
    assert "failure bad: the mail server 127.0.0.1" in told
    assert "550 5.1.1 No such user here" in told
    assert "failure spam:" in told
    assert "warning full:" in told
    assert report.status == "partial"
    assert sent_by(send(newest, post, at="2025-11-24T08:00")) == (1, 0)  # the full one; failed ones stay failed
    assert sent_by(send(newest, post, at="2025-11-24T09:00")) == (0, 0)


def test_what_could_not_be_sent_in_72_hours_is_given_up_and_named_once(newest: World, post: PostOffice) -> None:
    ana = newest.user("ana")
    old = newest.notify(ana, "Old", at="2025-11-21T07:00")
    young = newest.notify(ana, "Young", at="2025-11-21T07:01")
    report = send(newest, post, 3)
    assert (report.result["expired"], report.result["errors"], report.result["sent"]) == (1, 1, 1)
    found = {row["notification_id"]: row["status"] for row in newest.outbox()}
    assert found == {old: "expired", young: "sent"}
    assert "72 hours" in reasons(report)[0]
    assert sent_by(send(newest, post)) == (0, 0)


def test_a_server_that_is_not_there_leaves_everything_waiting(newest: World, post: PostOffice) -> None:
    for name in ("ana", "bob"):
        newest.notify(newest.user(name))
    down = {"KIBRAY_OPS_EMAIL_PORT": "9"}
    report = send(newest, post, 3, **down)
    assert (report.result["sent"], report.result["waiting"], statuses(newest)) == (0, 2, ["pending"] * 2)
    assert {row["attempts"] for row in newest.outbox()} == {0}
    assert [problem.subject for problem in report.problems] == ["e-mail"]
    assert "cannot be reached: Connection refused; 2 messages wait" in reasons(report)[0]
    assert send(newest, post, at="2025-11-24T08:00", KIBRAY_OPS_EMAIL_PORT=str(post.port)).result["sent"] == 2


def test_a_server_that_closes_after_some_messages_is_called_again(newest: World, post: PostOffice) -> None:
    for number in range(7):
        newest.notify(newest.user(f"u{number}"))
    post.hang_up_after = 3
    assert send(newest, post).result["sent"] == 7
    assert (len(set(post.recipients)), len(post.taken), post.connections) == (7, 7, 3)


# ---- the fate that nobody knows


def test_silence_after_the_message_is_unknown_and_never_sent_again_by_itself(world: World, post: PostOffice) -> None:
    for name in ("ana", "bob", "zoe"):
        world.notify(world.user(name))
    post.data_faults["bob@example.com"] = [HANG_UP]
    report = send(world, post, 3)
    assert statuses(world) == ["sent", "unknown", "sent"]
    assert "failure bob:" in reasons(report)[0]
    assert sent_by(send(world, post, at="2025-11-24T09:00")) == (0, 0)
    assert len(post.to("bob@example.com")) == 1
    key = next(row["id"] for row in world.outbox() if row["status"] == "unknown")
    assert done(world.execute("retry-deliveries", at="2025-11-24T09:30", ids=[key])).result == {"retried": 1}
    assert send(world, post, at="2025-11-24T10:00").result["sent"] == 1
    first, second = post.to("bob@example.com")
    assert first.content["Message-ID"] == second.content["Message-ID"]
    assert (first.text, first.html) == (second.text, second.html)
    assert statuses(world) == ["sent", "sent", "sent"]


def test_a_connection_cut_in_the_middle_of_a_message_is_unknown_and_stops_nobody(
    newest: World, post: PostOffice
) -> None:
    for name in ("ana", "bob", "zoe"):
        newest.notify(newest.user(name))
    post.cut = {"bob@example.com"}
    report = send(newest, post, 3)
    assert post.recipients == ["ana@example.com", "zoe@example.com"]
    bob = statuses(newest)[1]
    assert bob in ("unknown", "pending")  # whether the cut was seen before the final dot was written
    assert [bob, report.result["sent"]] in (["unknown", 2], ["pending", 2])


def test_a_server_that_answers_nobody_is_left_alone(newest: World, post: PostOffice) -> None:
    """Else every message of the queue would be in doubt."""
    for number in range(8):
        newest.notify(newest.user(f"u{number}"))
        post.data_faults[f"u{number}@example.com"] = [HANG_UP]
    report = send(newest, post, 3)
    assert statuses(newest) == ["unknown"] * 3 + ["pending"] * 5
    assert {row["attempts"] for row in newest.outbox()[3:]} == {0}
    assert (report.result["unknown"], report.result["waiting"]) == (3, 5)
    assert "3 messages in a row got no clear answer" in reasons(report)[0]


def test_a_poison_address_at_which_the_server_hangs_up_stops_nobody(newest: World, post: PostOffice) -> None:
    for name in ("ana", "poison", "zoe"):
        newest.notify(newest.user(name))
    post.recipient_faults["poison@example.com"] = [HANG_UP] * 2
    report = send(newest, post)
    assert post.recipients == ["ana@example.com", "zoe@example.com"]
    assert statuses(newest) == ["sent", "pending", "sent"]
    assert "broke off" in reasons(report)[0]


# ---- login and sender


def test_a_wrong_password_stops_the_run_before_anything_is_marked(newest: World) -> None:
    from tests.post import post_office

    newest.notify(newest.user("ana"))
    with post_office(login=True) as office:
        wrong = {"KIBRAY_OPS_EMAIL_HOST_PASSWORD": "hunter22-wrong"}
        report = send(newest, office, 78, **wrong)
        assert "refuses the login of office@example.com: 535" in str(report.error)
        assert newest.outbox() == []
        assert "hunter22" not in json.dumps(newest.runs(), default=str)
        report = send(newest, office, KIBRAY_OPS_EMAIL_HOST_PASSWORD=PASSWORD)
        assert (report.result["sent"], len(office.taken)) == (1, 1)
        assert "unencrypted" in reasons(report)[0]


def test_a_login_that_is_wanted_and_not_set_or_not_offered(newest: World, post: PostOffice) -> None:
    from tests.post import post_office

    newest.notify(newest.user("ana"))
    with post_office(login=True) as office:
        report = send(newest, office, 78, KIBRAY_OPS_EMAIL_HOST_USER="", KIBRAY_OPS_EMAIL_HOST_PASSWORD="")
        assert "530" in str(report.error)
        assert statuses(newest) == ["pending"]
        assert newest.outbox()[0]["attempts"] == 0
    user = {"KIBRAY_OPS_EMAIL_HOST_USER": "x", "KIBRAY_OPS_EMAIL_HOST_PASSWORD": "y"}
    assert "does not offer a login" in str(send(newest, post, 78, **user).error)


def test_a_refused_sender_is_a_matter_of_configuration_and_loses_nothing(newest: World, post: PostOffice) -> None:
    for name in ("ana", "bob"):
        newest.notify(newest.user(name))
    post.sender_fault = "553 5.7.1 Sender address rejected: not owned by user"
    report = send(newest, post, 78)
    assert "refuses the sender office@example.com: 553 5.7.1" in str(report.error)
    assert report.result["waiting"] == 2
    assert [(row["status"], row["attempts"], row["batch"]) for row in newest.outbox()] == [("pending", 0, None)] * 2
    post.sender_fault = ""
    assert send(newest, post).result["sent"] == 2


def test_a_login_that_is_refused_later_tells_what_was_done_before(newest: World) -> None:
    from tests.post import post_office

    for number in range(4):
        newest.notify(newest.user(f"u{number}"))
    with post_office() as office:
        office.recipient_faults["u0@example.com"] = ["550 5.1.1 No such user here"]
        office.hang_up_after = 2

        def close_the_account(_mail: object) -> None:
            if len(office.taken) == 2:
                office.sender_fault = "530 5.7.0 Authentication required"

        office.on_data = close_the_account
        report = send(newest, office, 78)
    assert statuses(newest) == ["failed", "sent", "sent", "pending"]
    assert (report.result["sent"], report.result["failed"], report.result["waiting"]) == (2, 1, 1)
    assert any("No such user here" in words for words in reasons(report))
    (run,) = newest.runs()
    assert run["status"] == "failed"
    assert "No such user here" in json.dumps(run["problems"])


# ---- operators


def test_an_id_stands_for_its_whole_message(newest: World, post: PostOffice) -> None:
    ana, bob = newest.user("ana"), newest.user("bob")
    for user in (ana, ana, bob):
        newest.notify(user)
    for name in ("ana", "bob"):
        post.recipient_faults[f"{name}@example.com"] = ["550 5.1.1 No such user here"]
    send(newest, post, 3)
    assert statuses(newest) == ["failed"] * 3
    first = newest.outbox()[0]["id"]
    assert done(newest.execute("retry-deliveries", at="2025-12-24T07:00", ids=[first])).result == {"retried": 2}
    assert statuses(newest) == ["pending", "pending", "failed"]
    send(newest, post, at="2025-12-24T08:00")
    assert [mail.content["Subject"] for mail in post.taken] == ["2 new notifications: Low stock"]
    assert statuses(newest) == ["sent", "sent", "failed"]
    assert done(newest.execute("retry-deliveries", at="2025-12-24T08:00", status="failed")).result == {"retried": 1}
    report = done(newest.execute("retry-deliveries", at="2025-12-24T08:00", ids=[first]))
    assert (report.result, reasons(report)) == ({"retried": 0}, [f"warning delivery {first}: it is sent"])


def test_what_is_cancelled_is_not_sent(newest: World, post: PostOffice) -> None:
    for name in ("ana", "bob"):
        newest.notify(newest.user(name))
        post.recipient_faults[f"{name}@example.com"] = ["450 4.2.0 Greylisted"]
    send(newest, post)
    first = newest.outbox()[0]["id"]
    assert done(newest.execute("cancel-deliveries", at=NOW, ids=[first])).result == {"cancelled": 1}
    assert send(newest, post, at="2025-11-24T08:00").result["sent"] == 1
    assert statuses(newest) == ["cancelled", "sent"]
    assert done(newest.execute("cancel-deliveries", at=NOW, ids=[first])).result == {"cancelled": 0}


def test_numbers_that_are_not_in_the_outbox_change_nothing(newest: World, post: PostOffice) -> None:
    newest.notify(newest.user("ana"))
    post.recipient_faults["ana@example.com"] = ["550 5.1.1 No such user here"]
    send(newest, post, 3)
    before = newest.outbox()
    for verb in ("retry", "cancel"):
        for words in ({"ids": [before[0]["id"], 999]}, {}, {"ids": [1], "status": "failed"}, {"status": "sent"}):
            report = newest.execute(f"{verb}-deliveries", at=NOW, **words)
            assert report.exit_code == 2, words
    assert newest.outbox() == before


def test_cancelled_while_the_run_is_sending(newest: World, post: PostOffice) -> None:
    for number in range(3):
        newest.notify(newest.user(f"u{number}"))
    shown = []

    def cancel(_mail: object) -> None:
        if len(post.taken) == 1:
            last = newest.outbox()[-1]["id"]
            shown.append(here(newest, "notifications", "outbox", "cancel", str(last), "--as-of", NOW))

    post.on_data = cancel
    report = send(newest, post)
    assert shown[0].returncode == 0, shown[0].stderr
    assert post.recipients == ["u0@example.com", "u1@example.com"]
    assert statuses(newest) == ["sent", "sent", "cancelled"]
    assert (report.result["sent"], report.result["cancelled"]) == (2, 1)


def test_the_outbox_is_listed(newest: World, post: PostOffice) -> None:
    for name in ("ana", "bob"):
        newest.notify(newest.user(name), f"For {name}")
    post.recipient_faults["bob@example.com"] = ["550 5.1.1 No such user here"]
    send(newest, post, 3)
    newest.sql("DELETE FROM core_notification WHERE title = 'For ana'")
    shown = here(newest, "notifications", "outbox", "list").stdout
    for part in ("bob", "For bob", "failed", "550 5.1.1 No such user here", "sent 1, failed 1", "(gone)"):
        assert part in shown
    told = json.loads(here(newest, "notifications", "outbox", "list", "--status", "failed", "--json").stdout)
    assert told["counts"] == {"sent": 1, "failed": 1}
    assert [row["title"] for row in told["rows"]] == ["For bob"]
    assert here(newest, "notifications", "outbox", "list", "--channel", "sms").stdout.startswith("Nothing of that kind")


def test_the_file_backend_writes_what_any_mail_program_opens(newest: World, tmp_path: Path) -> None:
    from tests.post import Mail

    newest.notify(newest.user("ana"), "Áéí ✓", message="ñ")
    directory = tmp_path / "new" / "mail"
    newest.environment |= {"KIBRAY_OPS_EMAIL_DIR": str(directory)}
    assert done(newest.execute(SEND, at=NOW)).result["sent"] == 1
    (file,) = directory.iterdir()
    mail = Mail("", "", file.read_bytes())
    assert (file.suffix, mail.content["Subject"], mail.content["To"]) == (".eml", "Áéí ✓", "ana@example.com")
    assert "\nñ\n" in mail.text
    assert newest.outbox()[0]["provider_id"] == file.name
    newest.environment |= {"KIBRAY_OPS_EMAIL_DIR": str(file)}
    newest.notify(newest.user("ana"))
    assert newest.execute(SEND, at=NOW).exit_code == 78


# ---- what hostile users found


def test_addresses_that_no_mail_can_go_to_stop_nobody(newest: World, post: PostOffice) -> None:
    odd = ("=?utf-8?q?a=0Ab?=@x.com", "a..b@example.com", ".a@example.com", "x\x1b[2J@e\nvil.com")
    for number, address in enumerate(odd):
        newest.notify(newest.user(f"u{number}"))
        newest.sql("UPDATE auth_user SET email = ? WHERE username = ?", address, f"u{number}")
    newest.notify(newest.user("ana"))
    report = send(newest, post)
    assert post.recipients == ["ana@example.com"]
    assert statuses(newest) == ["suppressed"] * 4 + ["sent"]
    assert len(report.problems) == 4
    shown = here(newest, "notifications", "outbox", "list").stdout
    assert "\x1b" not in shown


def test_letters_that_the_server_does_not_take_are_the_recipients_fault_alone(newest: World, post: PostOffice) -> None:
    for name in ("jose", "ana"):
        newest.notify(newest.user(name))
    newest.sql("UPDATE auth_user SET email = 'josé@example.com' WHERE username = 'jose'")
    post.international_fault = "550 5.6.7 Non-ASCII addresses not permitted"
    report = send(newest, post, 3)
    assert (statuses(newest), post.recipients) == (["failed", "sent"], ["ana@example.com"])
    assert "550 5.6.7" in reasons(report)[0]


def test_cancelling_what_is_claimed_in_that_instant_does_not_say_cancelled(pg_world: World, post: PostOffice) -> None:
    world = pg_world
    world.notify(world.user("ana"))
    post.recipient_faults["ana@example.com"] = ["450 4.2.0 Greylisted"]
    send(world, post)
    key = world.outbox()[0]["id"]
    for verb in ("cancel", "retry"):
        with world.connect() as connection:
            connection.execute("BEGIN")
            connection.execute(f"UPDATE kibray_ops_delivery SET status = 'sending' WHERE id = {key}")
            process = world.command("notifications", "outbox", verb, str(key), "--json")
            waiting = "SELECT count(*) AS n FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
            while world.sql(waiting)[0]["n"] == 0:
                assert process.poll() is None
            connection.execute("COMMIT")
        told = json.loads(process.communicate(timeout=60)[0])
        assert list(told["result"].values()) == [0], told
        assert told["problems"][0]["message"] == "it is being sent"
        assert statuses(world) == ["sending"]
        world.sql("UPDATE kibray_ops_delivery SET status = 'pending'")


def test_what_a_run_did_not_live_to_tell_is_told_by_the_next_one_once(newest: World, post: PostOffice) -> None:
    for name in ("bad", "ana", "bob"):
        newest.notify(newest.user(name))
    post.recipient_faults["bad@example.com"] = ["550 5.1.1 No such user here"]
    newest.environment |= post.environment

    def die(mail: object) -> None:
        if post.recipients[-1] == "ana@example.com":
            processes[0].kill()

    processes = []
    post.on_data = die
    with newest.command("notifications", "send", "--as-of", NOW) as process:
        processes.append(process)
        process.communicate()
    post.on_data = lambda _: None
    assert statuses(newest) == ["failed", "sending", "pending"]
    dry = newest.execute(SEND, at=NOW, dry_run=True)
    report = send(newest, post, 3)
    assert "No such user here" in "\n".join(reasons(report))
    assert {problem.subject for problem in report.problems if problem.severity == "failure"} == {"bad", "ana"}
    assert (report.result["failed"], report.result["unknown"], report.result["sent"]) == (1, 1, 1)
    assert (dry.result["unknown"], dry.result["failed"], dry.exit_code) == (0, 0, 0)  # it may be alive
    assert "a run is sending it, or was killed" in [row["reason"] for row in dry.rows]
    assert send(newest, post, at="2025-11-24T08:00").problems == []


def test_a_baseline_that_was_moved_holds_for_what_is_queued_too(newest: World, post: PostOffice) -> None:
    newest.notify(newest.user("ana"), at="2025-11-24T06:00")
    send(newest, post, 3, KIBRAY_OPS_EMAIL_PORT="9")
    assert statuses(newest) == ["pending"]
    newest.sql("UPDATE kibray_ops_state SET value = '2025-11-24T13:30:00+00:00' WHERE key = 'baseline'")
    send(newest, post)
    assert (statuses(newest), post.taken) == (["cancelled"], [])
    assert newest.outbox()[0]["last_error"] == "it is from before the baseline"


def test_very_many_and_very_long_notices_are_several_messages(
    newest: World, post: PostOffice, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kibray_ops.dispatch.MOST_NOTICES", 4)
    monkeypatch.setattr("kibray_ops.dispatch.MOST_LETTERS", 1000)
    ana, bob = newest.user("ana"), newest.user("bob")
    for number in range(10):
        newest.notify(ana, f"Notice {number}", at=f"2025-11-24T06:{number:02}")
    for number in range(4):
        newest.notify(bob, f"Long {number}", message="x" * (3000 if number == 2 else 400))
    assert send(newest, post).result["sent"] == 14
    assert [str(mail.content["Subject"]).partition(":")[0] for mail in post.to("ana@example.com")] == [
        "4 new notifications", "4 new notifications", "2 new notifications"
    ]  # fmt: skip
    assert len(post.to("bob@example.com")) == 3
    text = "".join(mail.text for mail in post.to("ana@example.com"))
    assert all(f"\nNotice {number}\n" in text for number in range(10))


def test_what_waits_for_a_server_says_so_in_the_outbox(newest: World, post: PostOffice) -> None:
    for name in ("ana", "bob"):
        newest.notify(newest.user(name))
    send(newest, post, 3, KIBRAY_OPS_EMAIL_PORT="9")
    assert all("cannot be reached: Connection refused" in row["last_error"] for row in newest.outbox())
    send(newest, post)
    assert {row["last_error"] for row in newest.outbox()} == {None}


@pytest.mark.parametrize(
    "title",
    [
        "2 avisos nuevos: Retoques prioritarios sin terminar en la obra: Casa Muñoz",
        "ñ " * 60 + "ñ",
        "x" * 200,
        "Áéí ✓ " + "x" * 150,
        "Reads: a; b, c and a very long line of plain words that has to be folded somewhere in the middle of it all",
    ],
)
def test_a_subject_arrives_as_it_was(newest: World, post: PostOffice, title: str) -> None:
    newest.notify(newest.user("ana"), title)
    send(newest, post)
    assert post.taken[0].content["Subject"] == title
    head = post.taken[0].raw.partition(b"\r\n\r\n")[0]
    assert post.taken[0].raw.isascii()
    assert b" =?utf-8?" not in head or max(map(len, head.split(b"\r\n"))) <= 78


def test_a_login_that_the_server_repeats_is_not_repeated(newest: World) -> None:
    import base64

    from tests.post import USER, post_office

    newest.notify(newest.user("ana"))
    plain = base64.b64encode(f"\0{USER}\0{PASSWORD}".encode()).decode()
    with post_office(login=True) as office:
        office.recipient_faults["ana@example.com"] = [f"550 {'x' * 280} {PASSWORD} {plain}", f"550 {plain} {PASSWORD}"]
        for moment in (NOW, "2025-11-24T08:00"):
            send(newest, office, 3, at=moment)
            done(newest.execute("retry-deliveries", at=moment, status="failed"))
        office.sender_fault = f"553 not you, {PASSWORD}"
        report = send(newest, office, 78, at="2025-11-24T09:00")
    kept = json.dumps([newest.runs(), newest.outbox(), report.rows], default=str)
    assert plain not in kept
    assert PASSWORD[:8] not in kept


# ---- what was claimed together


def test_a_frozen_batch_is_sent_again_whole_while_anything_in_it_is_news(newest: World, post: PostOffice) -> None:
    """One was read meanwhile, one would have expired alone, one is news: what was claimed together stays together."""
    ana = newest.user("ana")
    keys = [newest.notify(ana, f"Notice {day}", at=f"2025-11-{day}T08:00") for day in (21, 22, 23)]
    post.recipient_faults["ana@example.com"] = ["450 4.2.0 Greylisted"] * 2
    send(newest, post)
    (batch,) = {row["batch"] for row in newest.outbox()}
    newest.sql("UPDATE core_notification SET is_read = ? WHERE id = ?", True, keys[1])
    send(newest, post, at="2025-11-24T08:30")
    newest.sql("DELETE FROM core_notification WHERE id = ?", keys[2])
    assert {row["batch"] for row in newest.outbox()} == {batch}
    newest.sql("UPDATE kibray_ops_delivery SET expires_at = ?", datetime(2025, 12, 1, tzinfo=UTC))
    report = send(newest, post, at="2025-11-24T09:30")
    (mail,) = post.taken
    assert "Notice 21" in mail.text
    assert "Notice 22" in mail.text
    assert [(row["status"], row["last_error"]) for row in newest.outbox()] == [
        ("sent", None), ("sent", None), ("cancelled", "its notification is gone")
    ]  # fmt: skip
    assert (report.result["sent"], report.result["cancelled"]) == (2, 1)
    assert all(row["ended_at"] for row in newest.outbox())


def test_a_batch_expires_with_its_last_and_is_cancelled_when_all_is_read(newest: World, post: PostOffice) -> None:
    for name in ("ana", "bob"):
        for day in (22, 23):
            newest.notify(newest.user(name), at=f"2025-11-{day}T06:00")
        post.recipient_faults[f"{name}@example.com"] = ["450 4.2.0 Greylisted"]
    send(newest, post)
    newest.sql("UPDATE core_notification SET is_read = ? WHERE user_id = ?", True, newest.user("bob"))
    send(newest, post, 3, at="2025-11-26T07:00")
    by_user = {row["user_id"]: row["status"] for row in newest.outbox()}
    assert by_user == {newest.user("ana"): "expired", newest.user("bob"): "cancelled"}
    assert post.taken == []


def test_a_claim_that_is_taken_back_keeps_what_was_frozen(newest: World, post: PostOffice) -> None:
    newest.notify(newest.user("ana"))
    post.recipient_faults["ana@example.com"] = ["450 4.2.0 Greylisted"]
    send(newest, post)
    frozen = [(row["batch"], row["message_id"]) for row in newest.outbox()]
    post.sender_fault = "553 5.7.1 Sender address rejected"
    send(newest, post, 78, at="2025-11-24T08:00")
    assert [(row["batch"], row["message_id"]) for row in newest.outbox()] == frozen
    assert newest.outbox()[0]["attempts"] == 1
    post.sender_fault = ""
    send(newest, post, at="2025-11-24T08:00")
    assert post.taken[0].content["Message-ID"] == frozen[0][1]


def test_one_of_several_that_is_cancelled_meanwhile_is_left_out(newest: World, post: PostOffice) -> None:
    first, ana = newest.user("first"), newest.user("ana")
    newest.notify(first, at="2025-11-24T05:00")
    for title in ("Cancelled", "Kept"):
        newest.notify(ana, title)

    def cancel(_mail: object) -> None:
        if len(post.taken) == 1:
            newest.sql("UPDATE kibray_ops_delivery SET status = 'cancelled' WHERE id = ?", newest.outbox()[1]["id"])

    post.on_data = cancel
    report = send(newest, post)
    assert statuses(newest) == ["sent", "cancelled", "sent"]
    assert [mail.content["Subject"] for mail in post.to("ana@example.com")] == ["Kept"]
    assert "Cancelled" not in post.taken[1].text
    assert (report.result["sent"], report.result["cancelled"]) == (2, 1)


def test_a_server_that_goes_away_in_the_middle_leaves_the_rest_waiting(newest: World, post: PostOffice) -> None:
    for number in range(4):
        newest.notify(newest.user(f"u{number}"))
    post.hang_up_after = 1

    def close(_mail: object) -> None:
        post.greeting_fault = "554 5.3.2 Closed for today"

    post.on_data = close
    report = send(newest, post, 3)
    assert statuses(newest) == ["sent", "pending", "pending", "pending"]
    assert [row["attempts"] for row in newest.outbox()] == [1, 0, 0, 0]
    assert "Closed for today; 3 messages wait" in reasons(report)[0]
    assert report.result["waiting"] == 3
    post.greeting_fault, post.hang_up_after, post.on_data = "", 0, lambda _: None
    assert send(newest, post).result["sent"] == 3


def test_only_silence_in_a_row_closes_the_channel(newest: World, post: PostOffice) -> None:
    for number in range(7):
        newest.notify(newest.user(f"u{number}"))
    for number, fault in enumerate((HANG_UP, HANG_UP, "", HANG_UP, "550 5.7.1 spam", HANG_UP, HANG_UP)):
        if fault:
            post.data_faults[f"u{number}@example.com"] = [fault]
    send(newest, post, 3)
    assert statuses(newest) == ["unknown", "unknown", "sent", "unknown", "failed", "unknown", "unknown"]


def test_a_server_that_breaks_off_with_everybody_is_left_alone(newest: World, post: PostOffice) -> None:
    for number in range(6):
        newest.notify(newest.user(f"u{number}"))
        post.recipient_faults[f"u{number}@example.com"] = [HANG_UP] * 2
    send(newest, post, 3)
    assert [row["attempts"] for row in newest.outbox()] == [1, 1, 1, 0, 0, 0]
    assert set(statuses(newest)) == {"pending"}


def test_a_retried_delivery_begins_anew(newest: World, post: PostOffice) -> None:
    newest.notify(newest.user("ana"))
    gone = newest.notify(newest.user("gone"))
    for name in ("ana", "gone"):
        post.recipient_faults[f"{name}@example.com"] = ["450 4.2.0 Greylisted", "550 5.1.1 No such user here"]
    send(newest, post)
    send(newest, post, 3, at="2025-11-24T08:00")
    newest.sql("DELETE FROM core_notification WHERE id = ?", gone)
    first, second = (row["id"] for row in newest.outbox())
    report = done(newest.execute("retry-deliveries", at="2025-11-30T08:00", ids=[first, second]))
    assert (report.result, reasons(report)) == (
        {"retried": 1},
        [f"warning delivery {second}: its notification is gone"],
    )
    row = newest.rows("kibray_ops_delivery")[0]
    assert (row["status"], row["attempts"], row["ended_at"]) == ("pending", 0, None)
    assert str(row["next_attempt_at"])[:19] == "2025-11-30 15:00:00"
    assert str(row["expires_at"])[:19] == "2025-12-03 15:00:00"
    assert send(newest, post, at="2025-11-30T08:00").result["sent"] == 1


def test_an_operator_settles_what_is_unknown_and_retries_it_one_by_one(newest: World, post: PostOffice) -> None:
    newest.notify(newest.user("ana"))
    post.data_faults["ana@example.com"] = [HANG_UP]
    send(newest, post, 3)
    assert newest.execute("retry-deliveries", at=NOW, status="unknown").exit_code == 2
    assert newest.execute("cancel-deliveries", at=NOW, status="unknown").exit_code == 2
    key = newest.outbox()[0]["id"]
    assert done(newest.execute("cancel-deliveries", at=NOW, ids=[key])).result == {"cancelled": 1}
    assert (statuses(newest), send(newest, post).result["sent"]) == (["cancelled"], 0)


def test_without_an_address_of_the_site_the_links_are_left_out(newest: World, post: PostOffice) -> None:
    newest.notify(newest.user("ana"), link_url="/invoices/1/")
    report = send(newest, post, KIBRAY_OPS_SITE_URL="")
    assert "SITE_URL is not set" in reasons(report)[0]
    assert "/invoices/1/" not in post.taken[0].text + post.taken[0].html


def test_a_retry_between_the_reading_and_the_writing_holds(newest: World, post: PostOffice) -> None:
    newest.notify(newest.user("ana"), at="2025-11-24T06:00")
    newest.notify(newest.user("bob"), at="2025-11-26T06:00")
    post.recipient_faults["ana@example.com"] = ["450 4.2.0 Greylisted"]
    send(newest, post)
    key = newest.outbox()[0]["id"]

    def retry(_mail: object) -> None:
        done(newest.execute("retry-deliveries", at="2025-11-27T08:00", ids=[key]))

    post.on_greeting = retry
    assert send(newest, post, at="2025-11-27T08:00").result["sent"] == 1
    assert statuses(newest) == ["pending", "sent"]
    post.on_greeting = lambda _: None
    assert send(newest, post, at="2025-11-27T08:00").result["sent"] == 1


def test_the_words_of_the_command_line_are_the_outboxs() -> None:
    from kibray_ops.cli import notifications
    from kibray_ops.delivery import EMAIL, SMS
    from kibray_ops.outbox import STATUSES

    assert (notifications.STATUSES, notifications.CHANNELS) == (STATUSES, (EMAIL, SMS))


def test_finding_what_is_open_uses_its_index(sqlite_world: World) -> None:
    from sqlalchemy import select
    from sqlalchemy.dialects import sqlite

    from kibray_ops.outbox import DELIVERIES, IS_OPEN

    compiled = (
        select(DELIVERIES.c.id)
        .where(IS_OPEN)
        .compile(dialect=sqlite.dialect(), compile_kwargs={"render_postcompile": True})
    )
    plan = sqlite_world.sql(f"EXPLAIN QUERY PLAN {compiled}")
    assert "kibray_ops_delivery_open" in plan[0]["detail"]
