"""Notifications: 200,000 of the last nine months, most of them read, and 1,000 of the last hour that wait to be mailed.

Sending is set against a bare loop of smtplib and the database's driver that sends the same messages to the same server,
a process of its own on loopback, and commits before and after each.
"""

import smtplib
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from email import policy
from email.parser import BytesParser
from pathlib import Path
from typing import Any

from tests.bench.seed import FIRST_WORKER, Seed
from tests.bench.work import DAY, Dialect, Work, by_sql
from tests.world import World

NOTIFICATIONS, NEW, SPAN = 200_000, 1_000, 24_000_000
"""How many there are, how many of them wait, and the seconds over which they were written."""
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
controller = UnthreadedController(Sink(), hostname="127.0.0.1", port=0, loop=loop)
controller.begin()
print(controller.server.sockets[0].getsockname()[1], flush=True)
loop.run_forever()
"""


@contextmanager
def mail_server(directory: Path) -> Iterator[dict[str, str]]:
    """Run a mail server as a process of its own that keeps what it takes; yield the settings that lead there."""
    command = [sys.executable, "-c", SERVER, str(directory / "taken")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield {
                "KIBRAY_OPS_EMAIL_BACKEND": "smtp",
                "KIBRAY_OPS_EMAIL_HOST": "127.0.0.1",
                "KIBRAY_OPS_EMAIL_PORT": process.stdout.readline().strip(),
                "KIBRAY_OPS_SITE_URL": "https://kibray.example.com",
            }
        finally:
            process.terminate()


def taken(world: World) -> dict[str, bytes]:
    """Return the messages that the server took since it was asked last, by recipient."""
    path = world.directory / "taken"
    data, found, at = path.read_bytes(), {}, 0
    path.unlink()
    while at < len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        found[data[at + 4 : at + 68].decode().strip()] = data[at + 68 : at + 68 + size]
        at += 68 + size
    return found


def seed(seed: Seed) -> None:
    """Tell everybody many things, and some of them something new."""
    world, say, total, new = seed.world, seed.say, seed.count(NOTIFICATIONS), seed.count(NEW)
    world.notify(1, "model", "2025-01-01T12:00", is_read=True)
    seed.copies(
        "core_notification",
        total - new - 1,
        user_id=f"1 + i % {FIRST_WORKER + seed.employees - 1}",
        title="'Notice ' || i",
        message="'Something happened to invoice ' || i || ' and somebody was told of it.'",
        is_read="i % 4 <> 0",
        created_at=say.moment("2025-11-21 12:00:00", f"-i * {SPAN // total}"),
    )
    seed.copies(
        "core_notification",
        new,
        user_id=f"{FIRST_WORKER - 1} + i",
        notification_type="'alert'",
        title="'Invoice ' || i || ' is 7 days overdue: $1,200.00, Elm St'",
        message="'$1,200.00 of invoice ' || i || ' (Elm St) has been due since 2025-11-17, 7 days ago.'",
        link_url="'/invoices/' || i || '/'",
        is_read="false",
        created_at=say.moment(f"{DAY} 13:30:00"),
    )
    world.sql("UPDATE kibray_ops_state SET value = '2025-11-22T00:00:00+00:00' WHERE key = 'baseline'")


# ---- the archive

COLUMNS = (
    "id", "user_id", "project_id", "notification_type", "title", "message", "related_object_type", "related_object_id",
    "link_url", "is_read", "created_at",
)  # fmt: skip


def archive(say: Dialect) -> Sequence[str]:
    old = f"is_read AND created_at < {say.moment('2025-10-24 09:00:00')}"
    target = "INSERT INTO kibray_ops_notification_archive (id, user_id, created_at, content, archived_at, run_id)"
    if say.engine == "postgresql":
        return (
            f"WITH d AS (DELETE FROM core_notification WHERE {old} RETURNING *) "
            f"{target} SELECT id, user_id, created_at, to_jsonb(d), now(), 0 FROM d",
        )
    content = f"json_object({', '.join(f'{name!r}, {name}' for name in COLUMNS)})"
    return (
        f"{target} SELECT id, user_id, created_at, {content}, {say.now}, 0 FROM core_notification WHERE {old}",
        "DELETE FROM core_notification WHERE id IN (SELECT id FROM kibray_ops_notification_archive)",
    )


def restore(say: Dialect) -> Sequence[str]:
    if say.engine == "postgresql":
        values, source = "r.*", ", jsonb_populate_record(NULL::core_notification, content) r"
        names = ""
    else:
        values, source = ", ".join(f"json_extract(content, '$.{name}')" for name in COLUMNS), ""
        names = f"({', '.join(COLUMNS)})"
    return (
        f"INSERT INTO core_notification {names} SELECT {values} FROM kibray_ops_notification_archive{source}",
        f"UPDATE kibray_ops_notification_archive SET restored_at = {say.now}",
    )


def kept(world: World) -> Any:
    """Return which notifications are where."""
    archived = "SELECT count(*) AS n, sum(id) AS ids, count(restored_at) AS back FROM kibray_ops_notification_archive"
    return world.sql("SELECT count(*) AS n, sum(id) AS ids FROM core_notification"), world.sql(archived)


# ---- sending


def bare_loop(world: World) -> float:
    """Send what our run has sent, message by message."""
    say, mark = Dialect(world.engine), "UPDATE kibray_ops_delivery SET status = '{}' WHERE id = {}"
    messages = {to: BytesParser(policy=policy.SMTP).parsebytes(raw) for to, raw in taken(world).items()}
    begin = time.perf_counter()
    with (
        world.connect() as connection,
        smtplib.SMTP("127.0.0.1", int(world.environment["KIBRAY_OPS_EMAIL_PORT"])) as server,
    ):
        connection.execute(
            "INSERT INTO kibray_ops_delivery (notification_id, channel, user_id, status, attempts, queued_at, "
            f"next_attempt_at, expires_at, address, run_id) SELECT n.id, 'email', u.id, 'pending', 1, {say.now}, "
            f"{say.now}, {say.now}, u.email, 0 FROM core_notification n JOIN auth_user u ON u.id = n.user_id "
            f"WHERE NOT n.is_read AND n.created_at >= {say.moment('2025-11-22 00:00:00')}"
        )
        waiting = connection.execute("SELECT id, address FROM kibray_ops_delivery ORDER BY id").fetchall()
        for row in waiting:
            connection.execute(mark.format("sending", row["id"]))
            server.send_message(messages[row["address"]], "office@example.com", [row["address"]])
            connection.execute(mark.format("sent", row["id"]))
    return time.perf_counter() - begin


def delivered(world: World) -> Any:
    """Return what was sent."""
    return world.sql("SELECT notification_id, status, attempts FROM kibray_ops_delivery ORDER BY 1")


WORKS = (
    Work(("notifications", "send"), f"{DAY}T07:00", bare_loop, delivered),
    Work(("notifications", "cleanup"), "2025-11-23T02:00", by_sql(archive), kept),
    Work(
        ("notifications", "archive", "restore"),
        f"{DAY}T09:00",
        by_sql(restore),
        kept,
        before=(("cleanup-old-notifications", "2025-11-23T02:00"),),
        arguments=("--all",),
        options={"everything": True},
    ),
)
