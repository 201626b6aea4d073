"""E-mail that is sent by processes of its own: killed, at the same time, encrypted, limited in time."""

import os
import signal
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from email.headerregistry import Address
from pathlib import Path
from threading import Event, Thread

import pytest
import trustme

from kibray_ops.delivery import Deferred, Faltering, Message, Refused, Uncertain, Unreachable
from kibray_ops.delivery.smtp import SMTP
from kibray_ops.errors import ConfigurationError
from tests.here import here
from tests.post import OK, Mail, PostOffice, post_office
from tests.world import World, done

SEND = ("notifications", "send", "--as-of", "2025-11-24T07:00")
JOB = "send-pending-notifications"


def until(condition: object, seconds: float = 30) -> None:
    """Wait until a condition holds."""
    assert callable(condition)
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never came to that"
        time.sleep(0.02)


@contextmanager
def held(world: World) -> Iterator[None]:
    """Keep everybody from writing the outbox as long as the block lasts."""
    with world.connect() as connection:
        connection.execute("BEGIN IMMEDIATE" if world.engine == "sqlite" else "BEGIN")
        if world.engine == "postgresql":
            connection.execute("LOCK TABLE kibray_ops_delivery IN EXCLUSIVE MODE")
        yield
        connection.execute("ROLLBACK")


def statuses(world: World) -> list[str]:
    return [row["status"] for row in world.outbox()]


# ---- kill -9


def test_killed_between_the_servers_250_and_our_commit(world: World, post: PostOffice) -> None:
    """The server has said yes and we could not write it down: nobody may send it again, and somebody must hear."""
    for name in ("ana", "bob", "zoe"):
        world.notify(world.user(name))
    world.environment |= post.environment
    answered, holding = Event(), Event()

    def hold(mail: Mail) -> None:
        if mail.recipient == "bob@example.com":

            def keep() -> None:
                with held(world):
                    holding.set()
                    answered.wait()

            Thread(target=keep, daemon=True).start()
            assert holding.wait(30)

    post.on_data = hold
    with world.fork(*SEND) as process:
        until(lambda: "bob@example.com" in post.recipients)
        assert holding.wait(30)
        time.sleep(0.5)  # for the 250 to arrive; we wait for the lock then
        process.kill()
        process.communicate()
    answered.set()
    until(lambda: statuses(world) == ["sent", "sending", "pending"])
    report = done(world.execute(JOB, at="2025-11-24T08:00"), 3)
    assert post.recipients == ["ana@example.com", "bob@example.com", "zoe@example.com"]
    assert statuses(world) == ["sent", "unknown", "sent"]
    (failure,) = [problem for problem in report.problems if problem.severity == "failure"]
    assert (failure.subject, "was killed" in failure.message) == ("bob", True)
    assert [run["status"] for run in world.runs()] == ["interrupted", "partial"]
    post.on_data = lambda _: None
    done(world.execute("retry-deliveries", at="2025-11-24T08:30", ids=[world.outbox()[1]["id"]]))
    done(world.execute(JOB, at="2025-11-24T09:00"))
    first, second = post.to("bob@example.com")
    assert first.content["Message-ID"] == second.content["Message-ID"]
    assert statuses(world) == ["sent"] * 3


@pytest.mark.parametrize("moment", range(6))
def test_killed_anywhere_nothing_is_lost_and_nothing_is_sent_twice(
    newest: World, post: PostOffice, moment: int
) -> None:
    for number in range(12):
        newest.notify(newest.user(f"u{number}"))
    newest.environment |= post.environment
    with newest.fork(*SEND) as process:
        until(lambda: len(post.taken) > moment * 2)
        time.sleep(moment / 300)
        process.kill()
        process.communicate()
    # PostgreSQL may hold the lock a moment longer than the client lives.
    until(lambda: newest.execute(JOB, at="2025-11-24T08:00").exit_code != 75)
    assert len(set(post.recipients)) == len(post.recipients)
    by_user = {row["user_id"]: row["status"] for row in newest.outbox()}
    assert len(by_user) == 12
    assert set(by_user.values()) <= {"sent", "unknown"}
    assert list(by_user.values()).count("unknown") <= 1
    got = {mail.recipient for mail in post.taken}
    for user, status in by_user.items():
        name = newest.rows("auth_user", "id = ?", user)[0]["username"]
        assert status == "unknown" or f"{name}@example.com" in got


def test_sigterm_ends_the_run_and_the_next_one_goes_on(newest: World, post: PostOffice) -> None:
    for number in range(6):
        newest.notify(newest.user(f"u{number}"))
    newest.environment |= post.environment
    waiting, go = Event(), Event()

    def wait(mail: Mail) -> None:
        if mail.recipient == "u2@example.com":
            waiting.set()
            go.wait(30)

    post.on_data = wait
    with newest.fork(*SEND) as process:
        assert waiting.wait(30)
        os.kill(newest.runs()[-1]["pid"], signal.SIGTERM)
        out, err = process.communicate(timeout=30)
    go.set()
    assert (process.returncode, out, "SIGTERM" in err) == (143, "", True)
    assert statuses(newest) == ["sent", "sent", "sending", "pending", "pending", "pending"]
    done(newest.execute(JOB, at="2025-11-24T08:00"), 3)
    assert statuses(newest) == ["sent", "sent", "unknown", "sent", "sent", "sent"]
    assert len(post.taken) == 6


# ---- at the same time


def test_a_second_sender_at_the_same_time_sends_nothing(world: World, post: PostOffice) -> None:
    for number in range(4):
        world.notify(world.user(f"u{number}"))
    world.environment |= post.environment
    waiting, go = Event(), Event()

    def wait(_mail: Mail) -> None:
        waiting.set()
        go.wait(60)

    post.on_data = wait
    with world.fork(*SEND) as first:
        assert waiting.wait(30)
        second = here(world, *SEND)
        cron = here(world, "--cron", "notifications", "send")
        go.set()
        first.communicate(timeout=60)
    assert (first.returncode, second.returncode, cron.returncode) == (0, 75, 0)
    assert "is already running on" in second.stderr
    assert sorted(post.recipients) == [f"u{number}@example.com" for number in range(4)]
    assert statuses(world) == ["sent"] * 4


def test_others_can_write_while_we_wait_for_the_server(newest: World, post: PostOffice) -> None:
    newest.notify(newest.user("ana"))
    newest.environment |= post.environment
    written = []

    def write(_mail: Mail) -> None:
        newest.sql("UPDATE core_notification SET message = 'changed'")
        written.append(newest.notify(newest.user("bob"), at="2025-11-24T06:59"))

    post.on_data = write
    assert here(newest, *SEND).returncode == 0
    assert len(written) == 1
    assert statuses(newest) == ["sent"]


# ---- limits


def test_the_soft_limit_ends_between_two_messages_and_tells_what_was_done(newest: World, post: PostOffice) -> None:
    for number in range(5):
        newest.notify(newest.user(f"u{number}"))
    newest.environment |= {**post.environment, "KIBRAY_OPS_SOFT_TIME_LIMIT": "2", "KIBRAY_OPS_HARD_TIME_LIMIT": "60"}
    post.on_data = lambda mail: time.sleep(2.2 if mail.recipient == "u1@example.com" else 0)
    report = newest.execute(JOB, at="2025-11-24T07:00")
    assert (report.exit_code, report.status) == (124, "timed_out")
    assert (report.result["sent"], report.result["waiting"]) == (2, 3)
    assert statuses(newest) == ["sent", "sent", "pending", "pending", "pending"]
    assert [row["attempts"] for row in newest.outbox()] == [1, 1, 0, 0, 0]
    assert newest.runs()[0]["status"] == "timed_out"
    newest.environment["KIBRAY_OPS_SOFT_TIME_LIMIT"] = "60"
    assert done(newest.execute(JOB, at="2025-11-24T08:00")).result["sent"] == 3
    assert len(set(post.recipients)) == len(post.taken) == 5


def test_an_error_of_the_outbox_itself_tells_no_lie(newest: World, post: PostOffice) -> None:
    """What stands in the report after a wrong password or a time limit is printed and stored."""
    newest.notify(newest.user("ana"))
    newest.environment |= {**post.environment, "KIBRAY_OPS_SOFT_TIME_LIMIT": "1", "KIBRAY_OPS_HARD_TIME_LIMIT": "60"}
    post.on_data = lambda _: time.sleep(1.2)
    for number in range(2):
        newest.notify(newest.user(f"u{number}"))
    shown = here(newest, *SEND)
    assert shown.returncode == 124
    assert "1 notification sent in 1 message; waiting 2." in shown.stdout
    assert "soft time limit" in shown.stderr
    sheet = newest.directory / "sheet.csv"
    assert here(newest, *SEND, "--csv", str(sheet)).returncode in (0, 124)
    assert sheet.read_text(encoding="utf-8-sig").startswith("Channel,User ID,Recipient")


# ---- encryption


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def server_context(authority: trustme.CA, name: str = "localhost") -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(context)
    return context


@pytest.mark.parametrize("at_once", [False, True])
def test_encrypted_to_a_server_that_is_trusted_and_to_no_other(
    sqlite_world: World, authority: trustme.CA, tmp_path: Path, at_once: bool
) -> None:
    world = sqlite_world
    world.notify(world.user("ana"))
    trusted = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(trusted)
    with post_office(tls=server_context(authority), at_once=at_once, login=True) as office:
        world.environment |= office.environment
        refused = here(world, *SEND)
        assert (refused.returncode, statuses(world), office.taken) == (78, [], [])
        assert "certificate of the mail server localhost" in refused.stderr
        world.environment["SSL_CERT_FILE"] = str(trusted)
        assert here(world, *SEND).returncode == 0
        assert office.recipients == ["ana@example.com"]
    world.notify(world.user("bob"))
    with post_office(tls=server_context(authority, "other.example.com"), at_once=at_once) as office:
        world.environment |= office.environment
        refused = here(world, *SEND)
        assert (refused.returncode, office.taken) == (78, [])
        assert "not valid for 'localhost'" in refused.stderr


def test_encryption_that_is_not_offered_is_not_done_without(newest: World, post: PostOffice) -> None:
    newest.notify(newest.user("ana"))
    for how, words in (("TLS", "does not offer STARTTLS"), ("SSL", "does not speak TLS as it should")):
        newest.environment = {**post.environment, f"KIBRAY_OPS_EMAIL_USE_{how}": "true"}
        report = newest.execute(JOB, at="2025-11-24T07:00")
        assert (report.exit_code, words in str(report.error)) == (78, True), report.error
    assert (post.taken, newest.outbox()) == ([], [])


# ---- the conversation


def smtp(office: PostOffice, **options: float) -> SMTP:
    return SMTP("127.0.0.1", office.port, Address("Kibray", addr_spec="office@example.com"), moment, **options)  # type: ignore[arg-type]


def moment() -> datetime:
    return datetime(2025, 11, 24, 7, tzinfo=UTC)


def message(recipient: str = "ana@example.com", **parts: str) -> Message:
    written = {"text": "Text\n", "subject": "Subject", "html": "<p>Text</p>"} | parts
    return Message(recipient, "<abc@example.com>", **written)


def test_letters_beyond_ascii_in_an_address(post: PostOffice) -> None:
    server = smtp(post)
    assert server.send(message("añá@example.com")) == OK.partition(" ")[2]
    assert post.recipients == ["añá@example.com"]
    assert server.send(message("plain@example.com", subject="ñ" * 200, text="x" * 3000))
    assert post.taken[1].content["Subject"] == "ñ" * 200
    assert post.taken[1].text.strip() == "x" * 3000
    server.close()


def test_a_server_that_is_silent_about_the_message(post: PostOffice) -> None:
    post.on_data = lambda _: time.sleep(1)
    server = smtp(post, patience=0.3)
    with pytest.raises(Uncertain, match="had it all and then was silent"):
        server.send(message())
    assert len(post.taken) == 1
    server.close()


def test_a_server_that_is_silent_before_it_has_the_message() -> None:
    """It takes the connection and says nothing."""
    import socket

    with socket.create_server(("127.0.0.1", 0)) as mute:
        server = SMTP("127.0.0.1", mute.getsockname()[1], Address(addr_spec="a@b.c"), moment, timeout=0.3)
        with pytest.raises(Unreachable, match="timed out"):
            server.send(message())


@pytest.mark.parametrize(
    ("script", "error"),
    [
        ([b"554 5.7.1 Your address is on a list\r\n"], Unreachable),
        ([b"220 hi\r\n", b"250 hi\r\n", b"421 4.3.2 Shutting down\r\n"], Faltering),
        ([b"220 hi\r\n", b"250 hi\r\n", b"250 ok\r\n", b"421 4.3.2 Shutting down\r\n"], Faltering),
        ([b"220 hi\r\n", b"250 hi\r\n", b"250 ok\r\n", b"250 ok\r\n", b""], Faltering),
        ([b"220 hi\r\n", b"250 hi\r\n", b"250 ok\r\n", b"250 ok\r\n", b"354 go\r\n", b"nonsense\r\n"], Uncertain),
        ([b"220 hi\r\n", b"250 hi\r\n", b"250 ok\r\n", b"250 ok\r\n", b"354 go\r\n", b"354 go\r\n"], Uncertain),
        ([b"220 hi\r\n", b"250 hi\r\n", b"250 ok\r\n", b"250 ok\r\n", b"354 go\r\n", b"2"], Uncertain),
        ([b"220 hi\r\n", b"250 hi\r\n", b"250 ok\r\n", b"250 ok\r\n", b"354 go\r\n", b"421 4.3.2 no\r\n"], Deferred),
        ([b"220 hi\r\n", b"250 hi\r\n", b"250 ok\r\n", b"250 ok\r\n", b"354 go\r\n", b"554 5.7.1 no\r\n"], Refused),
        ([b"220 hi\r\n", b"250 hi\r\n", b"250 ok\r\n", b"251 ok\r\n", b"354 go\r\n", b"250 ok\r\n"], None),
        ([b"220 hi\r\n", b"250 hi\r\n", b"250 ok\r\n", b"530 5.7.0 who?\r\n", b"250 ok\r\n"], ConfigurationError),
        ([b"220 hi\r\n", b"250 hi\r\n", b"451 4.7.1 later\r\n", b"250 ok\r\n"], Deferred),
        ([b"220 hi\r\n", b"250 hi\r\n", b"550 5.7.1 not you\r\n", b"250 ok\r\n"], ConfigurationError),
    ],
)
def test_a_server_with_a_script(script: list[bytes], error: type[Exception] | None) -> None:
    import socket

    def play(server: socket.socket) -> None:
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            with connection, suppress(OSError):  # who asked may have gone
                connection.settimeout(5)
                for number, line in enumerate(script):
                    if number:
                        received = b""
                        end = b"\r\n.\r\n" if script[number - 1].startswith(b"354") and number == 5 else b"\r\n"
                        while not received.endswith(end):
                            if not (part := connection.recv(65536)):
                                break
                            received += part
                    connection.sendall(line)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        Thread(target=play, args=(listener,), daemon=True).start()
        server = SMTP("127.0.0.1", listener.getsockname()[1], Address(addr_spec="a@b.c"), moment, timeout=3, patience=3)
        if error is None:
            assert server.send(message()) == "ok"
        else:
            with pytest.raises(error) as raised:
                server.send(message())
            assert type(raised.value) is error
            with pytest.raises(Refused if len(script) > 1 else Unreachable):
                server.send(message("ñ@example.com"))  # nothing is said of SMTPUTF8
        server.close()
        listener.shutdown(socket.SHUT_RDWR)
