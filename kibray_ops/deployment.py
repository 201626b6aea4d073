"""How this machine's cron, or another engine, has to start us so that the jobs find the settings that we have found."""

import os
import re
from datetime import date
from pathlib import Path
from zoneinfo import ZoneInfo

from kibray_ops import __version__, crontab, exports, host
from kibray_ops import settings as configuration
from kibray_ops.clock import UTC_NAMES, Clock, machine_zone
from kibray_ops.errors import ConfigurationError
from kibray_ops.settings import Settings


def require_program(path: str) -> None:
    """Raise ConfigurationError where a path is no program."""
    if not (Path(path).is_file() and os.access(path, os.X_OK)):
        raise ConfigurationError(
            f"{path} is no program that can be started.", hint="Name the kibray-ops program with --program."
        )


def require_settings(settings: Settings, user: str = "", before: str = "") -> None:
    """Raise ConfigurationError when a job of cron, of another user where one is named, would find other settings.

    `before` is what stands before our lines in the crontab: its variables are the jobs' too.
    """
    try:
        environment = {**host.cron_environment(user), **crontab.variables(before)}
    except LookupError as error:
        raise ConfigurationError(
            f"cron would pass over the lines: {error}.", hint="Name a user of this machine with --user."
        ) from error
    path = _env_file(settings, user)
    if path and user and not host.can_read(user, Path(path)):
        raise ConfigurationError(
            f"The user {user} may not read {path}, where the settings are.",
            hint=f"Let it be that user's file: `chown {user} {path}`, mode 600.",
        )
    _require_whole_path(settings)
    seen = configuration.load(Path(path) if path else None, environ=environment)
    lacking = [
        setting.variable
        for setting in configuration.DECLARED
        if setting.name != "ENV_FILE" and seen.raw[setting.name] != settings.raw[setting.name]
    ]
    if settings.is_embedded and os.environ.get("XDG_DATA_HOME") != environment.get("XDG_DATA_HOME"):
        lacking.append("XDG_DATA_HOME")
    if lacking:
        raise ConfigurationError(
            f"cron's jobs would not have {', '.join(lacking)} as this shell has: cron knows nothing of it.",
            hint=f"Set what they need in {configuration.default_env_file(environment)}, mode 600.",
        )


def generated(settings: Settings, today: date, *, path: str = "", user: str = "") -> str:
    """Return the crontab for this machine: with a user a file for /etc/cron.d, else a block. Raises KibrayOpsError."""
    try:
        schedule = crontab.Schedule(settings.zone, ZoneInfo(machine_zone(os.environ.get("TZ"))), today)
    except (LookupError, ValueError) as error:
        raise ConfigurationError(
            f"A crontab has the times of this machine, and {error}.",
            hint="Set its zone, or TZ, to a name such as America/Denver.",
        ) from error
    how = crontab.Program(path or host.program_path() or "", _env_file(settings, user), user)
    return crontab.system_file(how, schedule) if user else crontab.block(how, schedule)


def _require_whole_path(settings: Settings) -> None:
    if re.match(r"sqlite(\+\w+)?:///[^/]", str(settings["DATABASE_URL"] or "")):
        raise ConfigurationError(
            "DATABASE_URL names its file from the current directory, and the jobs are started in another one.",
            hint="Write the whole path: sqlite:////srv/kibray/db.sqlite3.",
        )
    if settings["EMAIL_BACKEND"] == "file" and not Path(settings["EMAIL_DIR"] or "/").is_absolute():
        raise ConfigurationError(
            "EMAIL_DIR is named from the current directory, and the jobs are started in another one.",
            hint="Write the whole path.",
        )


def plan(target: str, *, path: str = "", user: str = "", image: str = "") -> exports.Plan:
    """Return what an export for another engine is made of. Raises KibrayOpsError."""
    settings = configuration.load()
    if target == "systemd" and not settings.raw["ENV_FILE"] and Path(exports.ENV_FILE).exists():
        settings = configuration.load(Path(exports.ENV_FILE))  # what the units will read
    settings.checked()
    _require_whole_path(settings)
    if not settings.has_chosen_zone and (target in exports.ELSEWHERE or settings.zone.key in UTC_NAMES):
        raise ConfigurationError(
            f"TIMEZONE is not set, and that of this machine, {settings.zone.key}, need not be that of the business.",
            hint="Set KIBRAY_OPS_TIMEZONE, for example to America/Denver.",
        )
    if target == "systemd":
        _require_user(settings, user)
        user = user or host.user_name()
    env_file = str(Path(settings.raw["ENV_FILE"]).absolute()) if settings.raw["ENV_FILE"] else ""
    program = crontab.Program(path or host.program_path() or "", env_file, user)
    return exports.Plan(settings, Clock(settings.zone).today(), program, image or f"{exports.NAME}:{__version__}")


def _require_user(settings: Settings, user: str) -> None:
    if not user and host.user_name() == "root":
        raise ConfigurationError(
            "The jobs would run as root, who may do everything.", hint="Name who is to run them: --user kibray."
        )
    if settings.is_embedded and user not in ("", host.user_name()):
        raise ConfigurationError(
            f"The embedded database is in a directory of {host.user_name()}, and the jobs would run as {user}.",
            hint="Name the database that they are to use: KIBRAY_OPS_DATABASE_URL.",
        )


def _env_file(settings: Settings, user: str) -> str:
    """Return the env file that the lines have to name: none where the job finds it by itself."""
    found = settings.raw["ENV_FILE"]
    if not found:
        return ""
    path = Path(found).absolute()
    try:
        is_default = path == configuration.default_env_file(host.cron_environment(user))
    except LookupError:
        is_default = False
    return "" if is_default else str(path)
