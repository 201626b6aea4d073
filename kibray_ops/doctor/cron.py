"""Whether cron starts our lines, whether they are right, and whether a job of cron finds its settings."""

from collections.abc import Iterator
from datetime import date
from pathlib import Path
from zoneinfo import ZoneInfo

from kibray_ops import crontab, host
from kibray_ops import settings as configuration
from kibray_ops.clock import Clock, machine_zone
from kibray_ops.doctor.finding import Finding, ok, problem, warning, wrong
from kibray_ops.errors import ConfigurationError, KibrayOpsError
from kibray_ops.settings import Settings


def unseen_by_cron(settings: Settings) -> list[str]:
    """Return the variables of settings that this shell has and a job of cron would not have."""
    environment = host.cron_environment()
    path = settings.raw["ENV_FILE"]
    seen = configuration.load(Path(path) if path else None, environ=environment)
    return [
        setting.variable
        for setting in configuration.DECLARED
        if setting.name != "ENV_FILE" and seen.raw[setting.name] != settings.raw[setting.name]
    ]


def program(settings: Settings, *, path: str = "", user: str = "") -> crontab.Program:
    """Return how cron has to call us so that it finds the same settings; raises ConfigurationError."""
    found = path or host.program_path()
    if found is None or not Path(found).is_absolute():
        raise ConfigurationError(
            "cron needs the absolute path of the kibray-ops program.",
            hint="Name it: `kibray-ops crontab generate --program /usr/local/bin/kibray-ops`.",
        )
    env_file = settings.raw["ENV_FILE"]
    if env_file and Path(env_file).absolute() == configuration.default_env_file(host.cron_environment()):
        env_file = ""
    return crontab.Program(found, str(Path(env_file).absolute()) if env_file else "", user)


def generated(settings: Settings, today: date, *, path: str = "", user: str = "") -> str:
    """Return the crontab for this machine: with a user a file for /etc/cron.d, else a block. Raises KibrayOpsError."""
    try:
        schedule = crontab.Schedule(settings.zone, ZoneInfo(machine_zone()), today)
    except (LookupError, ValueError) as error:
        raise ConfigurationError(
            f"A crontab has the times of this machine, and {error}.",
            hint="Set its zone, or TZ, to a name such as America/Denver.",
        ) from error
    how = program(settings, path=path, user=user)
    if user:
        return crontab.system_file(how, schedule, mail_to=settings["ALERT_EMAIL"] or user)
    return crontab.block(how, schedule)


def findings(settings: Settings, place: host.Place) -> Iterator[Finding]:
    """Yield whether cron lives, whether our lines are there and right, and whether jobs see their settings."""
    yield from _daemon()
    if unseen := unseen_by_cron(settings):
        yield problem(
            "cron's settings",
            f"cron's jobs do not have {', '.join(unseen)}, which this shell has",
            f"Put what they need into {configuration.default_env_file(host.cron_environment())}, mode 600.",
        )
    try:
        text = place.read()
        block = crontab.own(text)
    except KibrayOpsError as error:
        yield wrong("crontab", error)
        return
    if not block:
        yield problem("crontab", f"there is no block of kibray-ops in {place}", "Run `kibray-ops crontab install`.")
        return
    found = crontab.entries(block, system=place.is_system)
    yield from _lines(found)
    yield from _is_current(settings, place, block, found)
    yield from _surroundings(text, block, place)


def place_of_block() -> host.Place:
    """Return where our lines stand: in the user's own crontab, unless they stand in /etc/cron.d only."""
    try:
        has_block = bool(crontab.own(host.UserCrontab().read()))
    except KibrayOpsError:
        has_block = False
    if not has_block and host.SYSTEM_CRONTAB.exists():
        return host.SystemFile(host.SYSTEM_CRONTAB)
    return host.UserCrontab()


def _daemon() -> Iterator[Finding]:
    try:
        daemon = host.cron_daemon()
    except LookupError as error:
        yield warning("cron", f"{error}", "See for yourself whether a cron daemon runs.")
        return
    if daemon is None:
        yield problem("cron", "no cron daemon runs", "Start it: `systemctl enable --now cron` (or crond).")
    elif daemon.missed_zone_change:
        yield problem(
            "cron", "this machine's time zone was changed after cron was started", "Run `systemctl restart cron`."
        )
    elif daemon.zone and daemon.zone.lstrip(":") != _zone_here():
        yield problem(
            "cron",
            f"cron itself works in the zone {daemon.zone}, and this shell in {_zone_here()}",
            "Run this with the same TZ as cron, or take TZ out of cron's own environment.",
        )
    else:
        yield ok("cron", f"{daemon.name} runs, process {daemon.pid}, since {daemon.started_at:%Y-%m-%d %H:%M} UTC")


def _zone_here() -> str:
    try:
        return machine_zone()
    except LookupError:
        return ""


def _lines(found: list[crontab.Entry]) -> Iterator[Finding]:
    again = "Run `kibray-ops crontab install` again."
    for command in crontab.unknown(found):
        yield problem("crontab", f"a line starts {command!r}, which does not exist", again)
    for path in dict.fromkeys(entry.words[0] for entry in found if entry.words):
        if not Path(path).is_file():
            yield problem("crontab", f"the program {path} does not exist", again)
        elif (here := host.program_path()) is not None and not Path(here).samefile(path):
            yield warning("crontab", f"cron starts {path}, and this is {here}", again)
    for user in dict.fromkeys(entry.user for entry in found if entry.user):
        if not host.user_exists(user):
            yield problem("crontab", f"there is no user {user}, so cron passes over the lines", again)


def _is_current(settings: Settings, place: host.Place, block: str, found: list[crontab.Entry]) -> Iterator[Finding]:
    path = next((entry.words[0] for entry in found if entry.words), "")
    user = next((entry.user for entry in found), "") if place.is_system else ""
    try:
        now = generated(settings, Clock(settings.zone).today(), path=path, user=user)
    except KibrayOpsError as error:
        yield wrong("crontab", error)
        return
    if crontab.difference(block, now):
        yield problem(
            "crontab",
            f"the lines in {place} are not those that are generated now",
            "`kibray-ops crontab diff` shows what changed, `kibray-ops crontab install` puts them right.",
        )
    else:
        yield ok("crontab", f"all {len(found)} lines in {place} are as they are generated now")


def _surroundings(text: str, block: str, place: host.Place) -> Iterator[Finding]:
    outside = text.replace(block, "", 1)
    others = [entry for entry in crontab.entries(outside, system=place.is_system) if crontab.is_ours(entry)]
    if others:
        yield warning(
            "crontab",
            f"lines outside the block start kibray-ops too: {len(others)}",
            f"Take them out of {place}, unless they are yours.",
        )
    before = crontab.variables(text.partition(block)[0])
    if "CRON_TZ" in before:
        words = "a line CRON_TZ stands before the block; Debian's cron keeps the machine's own times all the same"
        yield warning("crontab", words, "Take it out, or put it behind the block.")
    if "TZ" in before:
        words = f"the line TZ={before['TZ']} stands before the block, and is the time zone of every job behind it"
        yield warning("crontab", words, "Put it behind the block.")
    if before.get("MAILTO") == "":
        yield warning("crontab", "MAILTO is empty, so nobody reads what a failing job prints", "Name somebody.")
