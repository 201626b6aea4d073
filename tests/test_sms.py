"""SMS by Twilio's API: to whom, when, and what becomes of what got no clear answer."""

import json
from datetime import UTC, datetime, time
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from kibray_ops.clock import Clock
from kibray_ops.dispatch import quiet_until
from kibray_ops.report import Report
from tests.here import here
from tests.post import ACCOUNT, NUMBER, TOKEN, Carrier, PostOffice, trouble
from tests.sky import Reply, answer
from tests.world import ZONE, World, done

SEND = "send-pending-notifications"
NOON = "2025-11-24T12:00"
NO_MAIL = {"KIBRAY_OPS_EMAIL_TYPES": "nothing", "KIBRAY_OPS_SITE_URL": "https://k.example.com"}


def worker(world: World, name: str, phone: str = "303-555-0111", **employee: Any) -> int:
    """Add a user who is an employee with a phone."""
    user = world.user(name, staff=False)
    world.employee(name, user_id=user, phone=phone, **employee)
    return user


def send(world: World, phones: Carrier, code: int = 0, *, at: str = NOON, **environment: str) -> Report:
    world.environment |= {**NO_MAIL, **phones.environment, **environment}
    return done(world.execute(SEND, at=at), code)


def statuses(world: World) -> list[str]:
    return [row["status"] for row in world.outbox() if row["channel"] == "sms"]


def words(report: Report) -> str:
    return "\n".join(f"{problem.severity} {problem.subject}: {problem.message}" for problem in report.problems)


def test_an_employee_gets_the_types_of_the_settings_once(world: World, phones: Carrier) -> None:
    ana = worker(world, "ana", "(303) 555-0111")
    world.notify(ana, "5 items are low in stock", at="2025-11-24T06:00")
    world.notify(ana, "Hello", notification_type="chat")
    report = send(world, phones)
    assert phones.taken == [
        {"To": "+13035550111", "From": NUMBER, "Body": "5 items are low in stock\nhttps://k.example.com/inventory/"}
    ]
    (row,) = [row for row in report.rows if row["channel"] == "sms"]
    assert (row["status"], row["segments"], row["address"]) == ("sent", 1, "+13035550111")
    (delivery,) = world.outbox()
    assert (delivery["channel"], delivery["status"], delivery["provider_id"][:2]) == ("sms", "sent", "SM")
    assert delivery["message_id"] is None
    assert send(world, phones, at="2025-11-24T13:00").result["sent"] == 0
    assert len(phones.asked) == 1


def test_e_mail_and_sms_are_two_deliveries(newest: World, post: PostOffice, phones: Carrier) -> None:
    newest.notify(worker(newest, "ana"))
    report = send(newest, phones, **post.environment, KIBRAY_OPS_EMAIL_TYPES="all")
    assert (report.result["sent"], report.result["messages"]) == (2, 2)
    assert sorted(row["channel"] for row in newest.outbox()) == ["email", "sms"]
    assert (len(post.taken), len(phones.taken)) == (1, 1)


def test_several_are_one_message(newest: World, phones: Carrier) -> None:
    ana = worker(newest, "ana")
    newest.add("core_profile", user_id=ana, language="es", role="employee")
    for number in range(40):
        newest.notify(ana, f"Aviso número {number}")
    report = send(newest, phones)
    (sent,) = phones.taken
    assert sent["Body"].startswith("40 avisos nuevos:\n- Aviso número 0\n")
    assert sent["Body"].endswith("\nhttps://k.example.com")
    assert len(sent["Body"]) <= 320
    (row,) = report.rows
    assert (row["notifications"], row["segments"]) == (40, 5)  # ú is no letter of GSM-7
    shown = here(newest, "notifications", "outbox", "list", "--channel", "sms").stdout
    assert shown.count("ana") == 30


@pytest.mark.parametrize("missing", ["TWILIO_ACCOUNT_SID", "TWILIO_AUTH_TOKEN", "TWILIO_FROM", "SMS_TYPES"])
def test_it_is_off_until_all_is_set(newest: World, phones: Carrier, missing: str) -> None:
    newest.notify(worker(newest, "ana"))
    report = send(newest, phones, **{f"KIBRAY_OPS_{missing}": ""})
    assert (newest.outbox(), phones.asked) == ([], [])
    assert f"warning SMS: no SMS are sent: KIBRAY_OPS_{missing} not set" in words(report)


def test_it_is_off_while_all_goes_to_one_address(newest: World, post: PostOffice, phones: Carrier) -> None:
    newest.notify(worker(newest, "ana"))
    send(newest, phones, **post.environment, KIBRAY_OPS_EMAIL_TYPES="all", KIBRAY_OPS_EMAIL_REDIRECT_TO="t@example.com")
    assert (phones.asked, len(post.taken)) == ([], 1)


def test_numbers_that_are_none(world: World, phones: Carrier) -> None:
    world.notify(world.user("clerk"))
    for name, phone in (("ana", ""), ("bob", "call me"), ("eve", "123")):
        world.notify(worker(world, name, phone))
    world.notify(worker(world, "left", active=False))
    report = send(world, phones)
    assert (statuses(world), phones.asked) == (["suppressed"] * 5, [])
    found = {row["last_error"] for row in world.outbox()}
    assert found == {"has no phone number", "has 'call me' for a phone number", "has '123' for a phone number"}
    assert [problem.subject for problem in report.problems] == ["bob", "eve"]


@pytest.mark.parametrize(
    ("hours", "at", "until"),
    [
        ("20:00-07:00", "2025-11-24T06:59", "07:00"),
        ("20:00-07:00", "2025-11-24T07:00", None),
        ("20:00-07:00", "2025-11-24T19:59", None),
        ("20:00-07:00", "2025-11-24T20:00", "07:00"),
        ("12:00-13:00", "2025-11-24T12:00", "13:00"),
        ("12:00-13:00", "2025-11-24T13:00", None),
        ("00:00-00:00", "2025-11-24T03:00", None),
        ("20:00-07:00", "2025-11-02T01:30", "07:00"),
        ("20:00-07:00", "2025-03-09T03:30", "07:00"),
    ],
)
def test_quiet_hours(sqlite_world: World, phones: Carrier, hours: str, at: str, until: str | None) -> None:
    world = sqlite_world
    world.notify(worker(world, "ana"), at=at)
    report = send(world, phones, at=at, KIBRAY_OPS_QUIET_HOURS=hours)
    assert statuses(world) == ["sent" if until is None else "pending"]
    if until is not None:
        assert [row["reason"] for row in report.rows] == [f"quiet hours until {until}"]
        assert world.outbox()[0]["attempts"] == 0


def test_quiet_hours_do_not_hold_e_mail_and_the_sms_goes_out_after_them(
    newest: World, post: PostOffice, phones: Carrier
) -> None:
    newest.notify(worker(newest, "ana"), at="2025-11-24T21:00")
    send(newest, phones, at="2025-11-24T22:00", **post.environment, KIBRAY_OPS_EMAIL_TYPES="all")
    assert (len(post.taken), len(phones.taken)) == (1, 0)
    send(newest, phones, at="2025-11-25T07:00")
    assert (len(post.taken), len(phones.taken)) == (1, 1)


# ---- what Twilio answers


def test_429_was_never_processed_and_is_tried_again(newest: World, phones: Carrier) -> None:
    newest.notify(worker(newest, "ana"))
    phones.faults = [trouble(429, 20429, "Too Many Requests")]
    report = send(newest, phones)
    assert (statuses(newest), newest.outbox()[0]["attempts"]) == (["pending"], 1)
    assert "warning ana: Twilio answered 429 (error 20429): Too Many Requests; it is tried again from" in words(report)
    assert send(newest, phones, at="2025-11-24T13:00").result["sent"] == 1


@pytest.mark.parametrize(
    "fault",
    [
        trouble(500, 20500, "Internal Server Error"),
        Reply(b"<html>Bad gateway</html>", 502, "text/html"),
        trouble(503, 20503, "Service unavailable"),
        Reply(b'{"sid": "SM1", "sta', 201, missing=100),
        Reply(b"<html>Welcome to the airport</html>", 200, "text/html"),
        answer({"status": "queued"}, 201),
        trouble(408, 0, "Request Timeout"),
    ],
)
def test_what_may_have_been_sent_is_unknown(newest: World, phones: Carrier, fault: Reply) -> None:
    newest.notify(worker(newest, "ana"))
    phones.faults = [fault]
    report = send(newest, phones, 3)
    assert statuses(newest) == ["unknown"]
    assert "failure ana: Twilio" in words(report)
    assert send(newest, phones, at="2025-11-24T13:00").result["sent"] == 0
    assert len(phones.asked) == 1
    key = newest.outbox()[0]["id"]
    done(newest.execute("retry-deliveries", at="2025-11-24T13:00", ids=[key]))
    assert send(newest, phones, at="2025-11-24T14:00").result["sent"] == 1


def test_a_time_out_after_sending_is_unknown(newest: World, phones: Carrier, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kibray_ops.delivery.twilio.Twilio.timeout", 0.5)
    monkeypatch.setattr("kibray_ops.delivery.twilio.Twilio.__init__.__defaults__", (0.5,))
    newest.notify(worker(newest, "ana"))
    phones.faults = [Reply(b"{}", 201, delay=2)]
    send(newest, phones, 3)
    assert statuses(newest) == ["unknown"]


def test_nobody_there_leaves_all_waiting(newest: World, phones: Carrier) -> None:
    for name in ("ana", "bob"):
        newest.notify(worker(newest, name))
    report = send(newest, phones, 3, KIBRAY_OPS_TWILIO_BASE_URL="http://127.0.0.1:9")
    assert statuses(newest) == ["pending"] * 2
    assert {row["attempts"] for row in newest.outbox()} == {0}
    assert "failure SMS: Twilio cannot be reached (ConnectError); 2 messages wait" in words(report)


def test_stop_suppresses_the_number_for_good(world: World, phones: Carrier) -> None:
    ana, bob = worker(world, "ana", "303 555 0111"), worker(world, "bob", "303 555 0122")
    for user in (ana, bob):
        world.notify(user)
    phones.stopped = {"+13035550111"}
    report = send(world, phones)
    assert statuses(world) == ["suppressed", "sent"]
    assert "warning ana: Twilio answered 400 (error 21610)" in words(report)
    world.notify(ana, at="2025-11-25T06:00")
    world.notify(bob, at="2025-11-25T06:00")
    send(world, phones, at="2025-11-25T12:00")
    assert statuses(world) == ["suppressed", "sent", "suppressed", "sent"]
    asked = [question.fields["To"] for question in phones.asked]
    assert asked.count("+13035550111") == 1
    last = world.outbox()[2]
    assert (last["address"], last["last_error"]) == ("+13035550111", "+13035550111 has answered STOP")
    # Only an operator lifts it, for one message by name.
    phones.stopped = set()
    assert world.execute("retry-deliveries", at="2025-11-25T12:30", status="suppressed").exit_code == 2
    done(world.execute("retry-deliveries", at="2025-11-25T12:30", ids=[last["id"]]))
    assert send(world, phones, at="2025-11-25T13:00").result["sent"] == 1


def test_two_people_with_one_number_that_wants_no_more(newest: World, phones: Carrier) -> None:
    for name in ("ana", "bob"):
        newest.notify(worker(newest, name))
    phones.stopped = {"+13035550111"}
    send(newest, phones)
    assert statuses(newest) == ["suppressed"] * 2
    assert len(newest.sql("SELECT * FROM kibray_ops_suppression")) == 1


def test_only_the_number_that_is_retried_is_written_to_again(newest: World, phones: Carrier) -> None:
    for name, phone in (("ana", "303 555 0111"), ("bob", "303 555 0122"), ("eve", "")):
        newest.notify(worker(newest, name, phone))
    phones.stopped = {"+13035550111", "+13035550122"}
    send(newest, phones)
    ids = {row["user_id"]: row["id"] for row in newest.outbox()}
    ana, eve = ids[newest.user("ana")], ids[newest.user("eve")]
    done(newest.execute("retry-deliveries", at="2025-11-24T13:00", ids=[eve]))
    assert len(newest.sql("SELECT * FROM kibray_ops_suppression")) == 2
    done(newest.execute("retry-deliveries", at="2025-11-24T13:00", ids=[ana]))
    assert [row["address"] for row in newest.sql("SELECT * FROM kibray_ops_suppression")] == ["+13035550122"]


def test_sms_that_are_turned_on_later_go_out_beside_the_e_mail(
    newest: World, post: PostOffice, phones: Carrier
) -> None:
    newest.notify(worker(newest, "ana"))
    mail = {**post.environment, "KIBRAY_OPS_EMAIL_TYPES": "all"}
    send(newest, phones, KIBRAY_OPS_SMS_TYPES="", **mail)
    assert (len(post.taken), len(phones.taken)) == (1, 0)
    send(newest, phones, **mail)
    assert (len(post.taken), len(phones.taken)) == (1, 1)


@pytest.mark.parametrize(
    ("at", "end"),
    [
        ("2025-11-24T22:00", "2025-11-25T07:00:00-07:00"),
        ("2025-11-25T02:00", "2025-11-25T07:00:00-07:00"),
        ("2025-11-01T23:00", "2025-11-02T07:00:00-07:00"),
        ("2025-11-25T07:00", None),
    ],
)
def test_when_quiet_hours_end(at: str, end: str | None) -> None:
    clock = Clock(ZoneInfo(ZONE)).at(datetime.fromisoformat(at))
    found = quiet_until(clock, (time(20), time(7)))
    assert (found and found.isoformat()) == end


@pytest.mark.parametrize(
    "fault",
    [
        trouble(403, 20403, "Forbidden"),
        trouble(404, 20404, "Not found"),
        Reply(b"", 301, "text/html"),
    ],
)
def test_what_an_operator_has_to_change_fails_no_message(newest: World, phones: Carrier, fault: Reply) -> None:
    newest.notify(worker(newest, "ana"))
    phones.faults = [fault]
    assert str(fault.status) in str(send(newest, phones, 78).error)
    assert (statuses(newest), newest.outbox()[0]["attempts"]) == (["pending"], 0)


def test_a_number_that_twilio_refuses_fails_and_stops_nobody(newest: World, phones: Carrier) -> None:
    for name in ("ana", "bob"):
        newest.notify(worker(newest, name))
    phones.faults = [trouble(400, 21211, "Invalid 'To' Phone Number: +1303555XXXX")]
    report = send(newest, phones, 3)
    assert statuses(newest) == ["failed", "sent"]
    assert "failure ana: Twilio answered 400 (error 21211): Invalid 'To' Phone Number" in words(report)


def test_a_wrong_token_stops_the_run_and_loses_nothing(newest: World, post: PostOffice, phones: Carrier) -> None:
    for name in ("ana", "bob"):
        newest.notify(worker(newest, name))
    everything = {**post.environment, "KIBRAY_OPS_EMAIL_TYPES": "all"}
    report = send(newest, phones, 78, KIBRAY_OPS_TWILIO_AUTH_TOKEN="hunter22-wrong", **everything)
    assert "Twilio answered 401 (error 20003): Authenticate" in str(report.error)
    assert "hunter22" not in json.dumps(newest.runs(), default=str)
    assert set(statuses(newest)) == {"pending"}
    assert report.result["sent"] == len(post.taken) == 2  # the e-mails go out all the same
    report = send(newest, phones, at="2025-11-24T13:00", KIBRAY_OPS_TWILIO_AUTH_TOKEN=TOKEN)
    assert (len(phones.taken), len(post.taken)) == (2, 2)
    assert {row["status"] for row in newest.outbox()} == {"sent"}


def test_a_messaging_service_sends_in_place_of_a_number(newest: World, phones: Carrier) -> None:
    newest.notify(worker(newest, "ana"))
    send(newest, phones, KIBRAY_OPS_TWILIO_FROM="MG0123")
    assert phones.taken[0]["MessagingServiceSid"] == "MG0123"
    assert "From" not in phones.taken[0]
    assert phones.asked[0].path == f"/2010-04-01/Accounts/{ACCOUNT}/Messages.json"


def test_sms_that_wait_when_it_is_turned_off_are_not_lost(newest: World, phones: Carrier) -> None:
    newest.notify(worker(newest, "ana"), at="2025-11-24T06:00")
    send(newest, phones, at="2025-11-24T06:30")
    off = {"KIBRAY_OPS_SMS_TYPES": ""}
    report = send(newest, phones, at="2025-11-24T12:00", **off)
    assert [row["reason"] for row in report.rows] == ["SMS are off"]
    report = send(newest, phones, 3, at="2025-11-27T06:00", **off)
    assert statuses(newest) == ["expired"]
    assert newest.outbox()[0]["expires_at"] in (
        datetime(2025, 11, 27, 13, tzinfo=UTC), "2025-11-27 13:00:00"
    )  # fmt: skip


@pytest.mark.parametrize("code", [21606, 21212, 20003])
def test_a_sender_that_twilio_does_not_take_fails_no_message(newest: World, phones: Carrier, code: int) -> None:
    newest.notify(worker(newest, "ana"))
    phones.faults = [trouble(400, code, "The 'From' phone number is not valid")]
    assert f"(error {code})" in str(send(newest, phones, 78).error)
    assert (statuses(newest), newest.outbox()[0]["attempts"]) == (["pending"], 0)


def test_taken_and_not_sent_is_a_failure(newest: World, phones: Carrier) -> None:
    newest.notify(worker(newest, "ana"))
    phones.faults = [answer({"sid": "SM1", "status": "failed", "error_code": 30007}, 201)]
    assert "30007" in words(send(newest, phones, 3))
    assert statuses(newest) == ["failed"]
