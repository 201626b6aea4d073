"""Measure sending 5,000 e-mails and archiving 100,000 notifications on PostgreSQL, whole process.

`python -m tests.bench.notifications`. Sending is set against a bare loop of smtplib and psycopg that sends the same
messages to the same server, a process of its own on loopback, and commits before and after each; target: at least 0.6
of its rate. Archiving is set against the plain statement that moves the rows into a table with the same columns and a
key; target: at most 3 times as long, beside the 0.9 s that a process may take.
"""

import smtplib
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from email import policy
from email.parser import BytesParser

import psycopg

from tests.bench import ALLOWANCE, postgresql, whole_process
from tests.world import World

MAILS, ARCHIVED, ROUNDS = 5_000, 100_000, 3
SEND = ("notifications", "send", "--as-of", "2025-11-24T07:00")
CLEANUP = ("notifications", "cleanup", "--as-of", "2025-11-23T02:00")
SERVER = """
import asyncio, sys
from aiosmtpd.controller import UnthreadedController
class Sink:
    async def handle_DATA(self, server, session, envelope):
        with open(sys.argv[1], "ab") as file:
            to, content = envelope.rcpt_tos[0].encode().ljust(64), envelope.content
            file.write(len(content).to_bytes(4, "big") + to + content)
        return "250 OK"
loop = asyncio.new_event_loop()
controller = UnthreadedController(Sink(), hostname="127.0.0.1", port=int(sys.argv[2]), loop=loop)
controller.begin()
print("ready", flush=True)
loop.run_forever()
"""


@contextmanager
def mail_server(world: World) -> Iterator[int]:
    """Run a mail server as a process of its own that keeps what it takes."""
    port, kept = 20_025, world.directory / "taken"
    command = [sys.executable, "-c", SERVER, str(kept), str(port)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        try:
            yield port
        finally:
            process.terminate()


def taken(world: World) -> list[tuple[str, bytes]]:
    """Return the recipients and messages that the server took since it was asked last."""
    path = world.directory / "taken"
    data, found, at = path.read_bytes(), [], 0
    path.unlink()
    while at < len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        found.append((data[at + 4 : at + 68].decode().strip(), data[at + 68 : at + 68 + size]))
        at += 68 + size
    return found


def fill_mails(world: World) -> None:
    """Tell 5,000 people something each."""
    world.user("model")
    kept = [name for name in world.rows("auth_user")[0] if name not in ("id", "username", "email")]
    world.sql(
        f"INSERT INTO auth_user (username, email, {', '.join(kept)}) "
        f"SELECT 'u' || i, 'u' || i || '@example.com', {', '.join('m.' + name for name in kept)} "
        f"FROM auth_user m, generate_series(1, {MAILS - 1}) i"
    )
    world.sql(
        "INSERT INTO core_notification "
        "(user_id, notification_type, title, message, related_object_type, link_url, is_read, created_at) "
        "SELECT id, 'alert', 'Invoice ' || id || ' is 7 days overdue: $1,200.00, Elm St', "
        "'$1,200.00 of invoice ' || id || ' (Elm St) has been due since 2025-11-17, 7 days ago.', 'invoice', "
        "'/invoices/' || id || '/', false, '2025-11-24 06:00-07' FROM auth_user"
    )
    world.sql("VACUUM ANALYZE")


def forget_mails(world: World) -> None:
    for table in ("kibray_ops_delivery", "kibray_ops_run"):
        world.sql(f"DELETE FROM {table}")
        world.sql(f"VACUUM {table}")


def bare_loop(world: World, port: int, messages: list[tuple[str, bytes]]) -> float:
    """Return the seconds that smtplib and psycopg take to send the same messages, with a commit before and after."""
    parsed = [(to, BytesParser(policy=policy.SMTP).parsebytes(raw)) for to, raw in messages]
    world.sql("CREATE TABLE bare (id int PRIMARY KEY, status text)")
    world.sql(f"INSERT INTO bare SELECT i, 'pending' FROM generate_series(1, {MAILS}) i")
    begin = time.perf_counter()
    with smtplib.SMTP("127.0.0.1", port) as server, psycopg.connect(world.url) as connection:
        for number, (to, message) in enumerate(parsed, 1):
            connection.execute("UPDATE bare SET status = 'sending' WHERE id = %s", (number,))
            connection.commit()
            server.send_message(message, "office@example.com", [to])
            connection.execute("UPDATE bare SET status = 'sent' WHERE id = %s", (number,))
            connection.commit()
    seconds = time.perf_counter() - begin
    world.sql("DROP TABLE bare")
    return seconds


def send(world: World) -> None:
    fill_mails(world)
    ours, bare = [], []
    with mail_server(world) as port:
        world.environment |= {
            "KIBRAY_OPS_EMAIL_BACKEND": "smtp",
            "KIBRAY_OPS_EMAIL_HOST": "127.0.0.1",
            "KIBRAY_OPS_EMAIL_PORT": str(port),
            "KIBRAY_OPS_SITE_URL": "https://kibray.example.com",
        }
        for _ in range(ROUNDS):
            forget_mails(world)
            ours.append(whole_process(world, *SEND))
            messages = taken(world)
            assert len({to for to, _ in messages}) == len(messages) == MAILS
            bare.append(bare_loop(world, port, messages))
            assert len(taken(world)) == MAILS
    mine, loop = statistics.median(ours), statistics.median(bare)
    print(f"{MAILS:,} e-mails   whole process {mine:.2f} s ({MAILS / mine:.0f}/s)")
    print(f"                bare loop     {loop:.2f} s ({MAILS / loop:.0f}/s)")
    print(f"rate {loop / mine:.2f} of the bare loop's, target at least 0.6")


def fill_archive(world: World) -> None:
    """Let 100,000 old notifications have been read."""
    world.sql(
        "INSERT INTO core_notification "
        "(user_id, notification_type, title, message, related_object_type, link_url, is_read, created_at) "
        "SELECT 1, 'alert', 'Notice ' || i, 'Something happened, long ago, and was read.', 'invoice', '/invoices/1/', "
        f"true, timestamptz '2025-01-01' + i * interval '1 minute' FROM generate_series(1, {ARCHIVED}) i"
    )
    world.sql("VACUUM ANALYZE core_notification")


def archive(world: World) -> None:
    world.sql("DELETE FROM core_notification")
    world.sql("CREATE TABLE plain (LIKE core_notification, PRIMARY KEY (id))")
    ours, bare = [], []
    for _ in range(ROUNDS):
        fill_archive(world)
        ours.append(whole_process(world, *CLEANUP))
        assert world.sql("SELECT count(*) AS n FROM kibray_ops_notification_archive") == [{"n": ARCHIVED}]
        world.sql("TRUNCATE kibray_ops_notification_archive")
        fill_archive(world)
        with psycopg.connect(world.url) as connection:
            begin = time.perf_counter()
            connection.execute(
                "WITH d AS (DELETE FROM core_notification WHERE is_read AND created_at < '2025-10-24' RETURNING *) "
                "INSERT INTO plain SELECT * FROM d"
            )
            connection.commit()
            bare.append(time.perf_counter() - begin)
        world.sql("TRUNCATE plain")
    mine, plain = statistics.median(ours), statistics.median(bare)
    print(f"{ARCHIVED:,} archived   whole process {mine:.2f} s, plain statement {plain:.2f} s")
    print(f"{mine / (3 * plain + ALLOWANCE):.2f} of (3 x plain + {ALLOWANCE} s)")


def main() -> None:
    """Measure in turns and print medians and ratios of one run."""
    with postgresql() as world:
        send(world)
        archive(world)


if __name__ == "__main__":
    main()
