"""Files are their owner's: nobody else can read what is made, whatever the umask, but for what others have to read."""

import os
import stat
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from kibray_ops import files
from kibray_ops.clock import real_now
from kibray_ops.exports import TARGETS
from kibray_ops.text import masked
from tests.test_secrets import CRONTAB
from tests.typed import typed
from tests.world import World, done

FOR_OTHERS = {
    "exported": "systemd, kubectl, git and docker read them; they hold no secret",
    "cron.d": "cron reads no file that is otherwise; it holds no secret",
}
"""Directories with files that are for others, and why."""


@pytest.fixture
def no_umask() -> Iterator[None]:
    """Take nothing away by itself: any other umask makes a mode only stricter."""
    before = os.umask(0)
    yield
    os.umask(before)


@pytest.mark.usefixtures("no_umask")
def test_what_is_made_is_for_its_owner_only(tmp_path: Path) -> None:
    for name in ("bin", "cron.d", "exported"):
        (tmp_path / name).mkdir(mode=0o755)
    for name, text in (("crontab", CRONTAB), ("kibray-ops", "#!/bin/sh\n")):
        (tmp_path / "bin" / name).write_text(text)
        (tmp_path / "bin" / name).chmod(0o755)
    (tmp_path / "tab").write_text("0 0 * * * true\n")
    put = set(tmp_path.rglob("*")) | {tmp_path / "started"}
    (tmp_path / ".config" / "kibray-ops").mkdir(parents=True)
    env = tmp_path / ".config" / "kibray-ops" / "env"
    data = tmp_path / ".local" / "share" / "kibray-ops" / "kibray.sqlite3"
    env.write_text("")
    world = World(f"sqlite:///{data}", "sqlite", "2026-06", tmp_path)
    world.environment = {
        "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}", "KIBRAY_OPS_EMAIL_DIR": str(tmp_path / "post" / "out"),
        "KIBRAY_OPS_ALERT_EMAIL": "boss@example.com",
    }  # fmt: skip
    program = str(tmp_path / "bin" / "kibray-ops")
    for words in ("db init --standalone", "demo"):
        assert typed(world, *words.split()).code == 0
    world.url = f"sqlite:///{tmp_path / 'kibray-demo.sqlite3'}"
    ours = {name: value for name, value in world.environ.items() if name.startswith("KIBRAY_OPS_")}
    env.write_text("".join(f"{name}='{value}'\n" for name, value in ours.items()))
    for words in (
        "payroll generate --week --csv pay.csv", "notifications send --csv sent.csv", "notifications cleanup",
        "weather fetch-snapshots", "catch-up", "touchups alert", "plans update-weather --json",
        f"crontab install --program {program}", "crontab remove",
        f"crontab install --system --file cron.d/kibray-ops --user root --program {program}",
        *(f"schedule export --target {target} --output exported/{target}" for target in TARGETS if target != "systemd"),
        "schedule export --target systemd --output exported/systemd --user kibray",
    ):  # fmt: skip
        told = typed(world, *words.split())
        assert told.code in (0, 3, 78), told
    with world.connect() as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("UPDATE core_project SET name = name")
        found = [path for path in tmp_path.rglob("*") if path not in put and ".config" not in path.parts]
        made = {path: path.stat().st_mode for path in found}
    assert {path.suffix for path in made} >= {".csv", ".eml", ".lock", ".sqlite3", ".timer", ".yaml"}
    assert {path.name for path in made} >= {"kibray.sqlite3", "kibray-ops", "kibray-demo.sqlite3-wal"}
    assert any(path.name.startswith("crontab-") for path in made)
    for path, mode in made.items():
        theirs = FOR_OTHERS.keys() & set(path.parts)
        wanted = (0o755 if theirs else 0o700) if stat.S_ISDIR(mode) else 0o644 if theirs else 0o600
        # The directories that are everybody's, such as ~/.local, are made as ours are.
        assert oct(stat.S_IMODE(mode)) == oct(wanted), path


def test_a_sheet_that_others_may_read_stays_so(sqlite_world: World) -> None:
    sqlite_world.employee()
    sheet = sqlite_world.directory / "pay.csv"
    sheet.touch()
    sheet.chmod(0o640)
    assert typed(sqlite_world, "payroll", "generate", "--csv", "pay.csv").code == 0
    assert (stat.S_IMODE(sheet.stat().st_mode), sheet.stat().st_size > 9) == (0o640, True)


def test_a_lock_is_for_those_who_may_use_the_database(sqlite_world: World) -> None:
    """Whoever can open it can hold the jobs up; whoever may run them must be able to open it."""
    Path(sqlite_world.path).chmod(0o660)
    assert typed(sqlite_world, "inventory", "check-shortages").code == 0
    (lock,) = sqlite_world.directory.glob("*.lock")
    assert stat.S_IMODE(lock.stat().st_mode) == 0o660


@pytest.mark.parametrize("trap", ["mail", "export", "cron.d", "lock"])
def test_a_link_that_somebody_has_laid_leads_nowhere(sqlite_world: World, tmp_path: Path, trap: str) -> None:
    """In a directory where others may write, the names of files to be can be taken before us."""
    victim, place = tmp_path / "victim", tmp_path / "shared"
    victim.write_text("mine")
    place.mkdir()
    sqlite_world.environment["KIBRAY_OPS_EMAIL_DIR"] = str(place)
    sqlite_world.notify(sqlite_world.user(), created_at=real_now() - timedelta(hours=1))
    words = {
        "mail": "notifications send",
        "export": "schedule export --target celery --output shared",
        "cron.d": "crontab install --system --file shared/kibray-ops --user root",
        "lock": "inventory check-shortages",
    }[trap].split()
    names = ("Procfile", ".Procfile.new", ".kibray-ops.new")
    for link in (*(place / name for name in names), Path(f"{sqlite_world.path}.check-inventory-shortages.lock")):
        if trap != "export" or link.name != "Procfile":
            link.symlink_to(victim)
    if trap == "mail":
        assert typed(sqlite_world, *words).code == 0
        (letter,) = place.glob("*.eml")
        letter.unlink()
        letter.symlink_to(victim)
        letter.with_suffix(".tmp").symlink_to(victim)
        sqlite_world.sql("UPDATE kibray_ops_delivery SET status = 'failed'")
        assert typed(sqlite_world, "notifications", "outbox", "retry", "--status", "failed").code == 0
    typed(sqlite_world, *words)
    assert victim.read_text() == "mine"
    assert victim.stat().st_size == 4
    if trap == "mail":
        assert not letter.is_symlink(), "it was sent again"


def test_what_cannot_be_put_in_place_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    with pytest.raises(OSError, match="directory"):
        files.replace(tmp_path / "there", b"words")
    assert [path.name for path in tmp_path.iterdir()] == ["there"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")
def test_what_replaces_a_file_is_its_owners_and_groups(tmp_path: Path) -> None:
    path = tmp_path / "wages.csv"
    path.touch()
    os.chown(path, 1234, 2345)
    files.replace(path, b"new", 0o640)
    found = path.stat()
    assert (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)) == (1234, 2345, 0o640)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may make files of others")
def test_a_lock_is_for_the_group_of_its_database(sqlite_world: World) -> None:
    """A member of the group makes it; the owner of the database has to be able to open it."""
    os.chown(sqlite_world.path, 1234, 2345)
    Path(sqlite_world.path).chmod(0o660)
    done(sqlite_world.execute("update-invoice-statuses"))
    (lock,) = Path(sqlite_world.path).parent.glob("*.lock")
    assert (lock.stat().st_uid, lock.stat().st_gid, stat.S_IMODE(lock.stat().st_mode)) == (1234, 2345, 0o660)


@pytest.mark.parametrize("secret", [" ", "    ", "płsswort\udc80"])
def test_odd_secrets_mask_nothing_else(secret: str) -> None:
    assert masked("hello, world", [secret]) == "hello, world"
