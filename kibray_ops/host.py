"""What this machine has: a cron daemon, crontabs, and what cron lets a job see."""

import os
import pwd
import re
import shutil
import stat
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from kibray_ops import files
from kibray_ops.errors import ConfigurationError

DAEMONS = ("cron", "crond", "fcron")
PROCESSES = Path("/proc")
LOCAL_TIME = Path("/etc/localtime")
ENVIRONMENT = Path("/etc/environment")
"""Debian's cron lets PAM read it for every job (pam_env)."""
SYSTEM_CRONTAB = Path("/etc/cron.d/kibray-ops")


# ---- the daemon


@dataclass(frozen=True)
class Daemon:
    """A cron daemon that runs."""

    pid: int
    name: str
    started_at: datetime
    zone: str
    """Its own TZ; empty where it has none, or may not be asked."""

    @property
    def missed_zone_change(self) -> bool:
        """Tell whether the machine's zone was changed after it started: it works in the old one."""
        try:
            changed = LOCAL_TIME.lstat().st_mtime
        except OSError:
            return False
        return not self.zone and changed > self.started_at.timestamp()


def cron_daemon() -> Daemon | None:
    """Return the cron daemon of this machine; raises LookupError where the machine does not tell of its processes."""
    if not (PROCESSES / "self" / "comm").exists():
        raise LookupError("this system does not tell which processes run")
    for directory in PROCESSES.iterdir():
        if not directory.name.isdigit():
            continue
        try:
            name = (directory / "comm").read_text().strip()
            if name in DAEMONS:
                return Daemon(int(directory.name), name, _started_at(directory), _zone(directory))
        except (OSError, ValueError):
            continue  # it has ended meanwhile
    return None


def _started_at(directory: Path) -> datetime:
    """Return when a process started, from the ticks since the machine did (proc(5))."""
    ticks = int((directory / "stat").read_text().rpartition(")")[2].split()[19])
    (booted,) = re.findall(r"^btime (\d+)", (PROCESSES / "stat").read_text(), re.M)
    return datetime.fromtimestamp(int(booted) + ticks / os.sysconf("SC_CLK_TCK"), UTC)


def _zone(directory: Path) -> str:
    try:
        variables = (directory / "environ").read_bytes().split(b"\0")
    except OSError:
        return ""
    return next((word[3:].decode(errors="replace") for word in variables if word.startswith(b"TZ=")), "")


# ---- crontabs


@dataclass(frozen=True)
class UserCrontab:
    """The crontab of the user who runs this."""

    is_system = False

    def __str__(self) -> str:
        return f"the crontab of {user_name()}"

    def read(self) -> str:
        """Return the crontab, empty where there is none; raises ConfigurationError."""
        done = _crontab("-l")
        if done.returncode == 0:
            return _text(done.stdout)
        if b"no crontab for" in done.stderr:
            return ""
        raise self._refused(done.stderr)

    def write(self, text: str) -> None:
        """Replace the crontab as a whole, which `crontab` does in one step; an empty one is taken away."""
        done = _crontab("-", given=_bytes(text)) if text else _crontab("-r")
        if done.returncode != 0:
            raise self._refused(done.stderr)

    def _refused(self, said: bytes) -> ConfigurationError:
        words = " ".join(_text(said).split()) or "no reason was given"
        return ConfigurationError(f"`crontab` refuses: {words}.", hint="The crontab is as it was; see crontab(1).")


@dataclass(frozen=True)
class SystemFile:
    """A file in /etc/cron.d."""

    path: Path
    is_system = True

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[A-Za-z0-9_-]+", self.path.name):
            raise ConfigurationError(
                f"cron would ignore a file called {self.path.name!r}, without a word.",
                hint="A name in /etc/cron.d has letters, digits, - and _ only: no dot.",
            )

    def __str__(self) -> str:
        return str(self.path)

    def read(self) -> str:
        """Return the file's text, empty where there is none; raises ConfigurationError."""
        try:
            return _text(self.path.read_bytes())
        except FileNotFoundError:
            return ""
        except OSError as error:
            raise self._refused(error) from error

    def write(self, text: str) -> None:
        """Replace the file in one step, readable by all and writable by its owner, as cron wants it."""
        try:
            if text:
                files.replace(self.path, _bytes(text), files.FOR_ALL)  # a dot keeps cron away from what is unfinished
            else:
                self.path.unlink(missing_ok=True)
        except OSError as error:
            raise self._refused(error) from error

    def _refused(self, error: OSError) -> ConfigurationError:
        return ConfigurationError(
            f"{self.path} cannot be used: {error.strerror}.", hint="Run this as root, or leave --system out."
        )


Place = UserCrontab | SystemFile
OF_A_PROGRAM = ("PATH", "HOME", "USER", "LOGNAME", "TMPDIR", "TZ")
"""What another program may know of our environment."""


def back_up(text: str, directory: Path, now: datetime) -> Path:
    """Keep a crontab that is about to be replaced, for its owner's eyes only; raises ConfigurationError."""
    path = directory / f"crontab-{now:%Y%m%d-%H%M%S-%f}"
    try:
        files.make_directory(directory)
        path.touch(mode=0o600, exist_ok=False)
        path.write_bytes(_bytes(text))
    except OSError as error:
        raise ConfigurationError(
            f"The crontab cannot be backed up to {path}: {error.strerror}.", hint="Nothing was changed."
        ) from error
    return path


def _crontab(*words: str, given: bytes | None = None) -> subprocess.CompletedProcess[bytes]:
    if (program := shutil.which("crontab")) is None:
        raise ConfigurationError(
            "This machine has no `crontab` program.",
            hint="Install cron (on Debian: apt install cron), or print the lines: `kibray-ops crontab generate`.",
        )
    # Another program, and on many machines one with privileges: our settings are none of its business.
    environment = {name: os.environ[name] for name in OF_A_PROGRAM if name in os.environ} | {"LC_ALL": "C"}
    return subprocess.run([program, *words], input=given, capture_output=True, env=environment, check=False, timeout=60)


def _text(stored: bytes) -> str:
    """Return a crontab as text; what is no UTF-8 comes back byte by byte when it is written."""
    return stored.decode("utf-8", "surrogateescape")


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


# ---- who and where we are


def user_name() -> str:
    """Return the name of the user who runs this."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())


def home_of(user: str) -> Path:
    """Return a user's home; raises LookupError where there is no such user, whose lines cron would pass over."""
    try:
        return Path(pwd.getpwnam(user).pw_dir)
    except KeyError:
        raise LookupError(f"there is no user {user}") from None


def can_read(user: str, path: Path) -> bool:
    """Tell whether a user may read a file, as far as its mode tells."""
    entry, status = pwd.getpwnam(user), path.stat()
    if entry.pw_uid in (0, status.st_uid):
        return True
    is_of_group = status.st_gid in os.getgrouplist(user, entry.pw_gid)
    return bool(status.st_mode & (stat.S_IRGRP if is_of_group else stat.S_IROTH))


def program_path() -> str | None:
    """Return the absolute path of the kibray-ops program that is running, if it is installed as one."""
    beside = Path(sys.executable).with_name("kibray-ops")
    return started_as() or (str(beside) if beside.exists() else None)


def started_as() -> str | None:
    """Return the absolute path under which this program was started, unless that was as a module of Python's."""
    found = shutil.which(sys.argv[0]) if Path(sys.argv[0]).name == "kibray-ops" else None
    # A link stays a link: its target may move with a new version.
    return os.path.abspath(found) if found is not None else None  # noqa: PTH100


def cron_environment(user: str = "") -> Mapping[str, str]:
    """Return the variables that a job of cron has, which are few; of another user where one is named."""
    own = os.environ.get("HOME") or str(Path.home())
    found = {"HOME": str(home_of(user)) if user and user != user_name() else own}
    try:
        lines = ENVIRONMENT.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    for line in lines:
        name, equals, value = line.removeprefix("export ").partition("=")
        if equals and not name.startswith("#"):
            found[name.strip()] = value.strip().strip("\"'")
    return found
