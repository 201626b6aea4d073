"""Whether cron starts our lines, whether they are right, and whether a job of cron finds its settings."""

import os
from collections.abc import Iterator
from pathlib import Path

from kibray_ops import crontab, deployment, host
from kibray_ops.clock import Clock, machine_zone
from kibray_ops.doctor.finding import Finding, ok, problem, warning, wrong
from kibray_ops.errors import KibrayOpsError
from kibray_ops.settings import Settings


def findings(settings: Settings, place: host.Place) -> Iterator[Finding]:
    """Yield whether cron lives, whether our lines are there and right, and whether jobs see their settings."""
    yield from _daemon()
    try:
        text = place.read()
        block = crontab.own(text)
    except KibrayOpsError as error:
        yield wrong("crontab", error)
        return
    try:
        before = "" if place.is_system else text.partition(block)[0] if block else text
        deployment.require_settings(settings, _user_of(block, place), before)
    except KibrayOpsError as error:
        yield wrong("cron's settings", error)
    if not block:
        hint = "Run `kibray-ops crontab install`, or let another engine start the jobs: `kibray-ops schedule export`."
        yield problem("crontab", f"there is no block of kibray-ops in {place}", hint)
        return
    found = crontab.entries(block, system=place.is_system)
    yield from _lines(found)
    yield from _is_current(settings, place, block, found)
    yield from _surroundings(text, block, place)
    if isinstance(place, host.SystemFile) and place.path.parent == host.SYSTEM_CRONTAB.parent:
        yield from _mode(place)


def _user_of(block: str, place: host.Place) -> str:
    return next((entry.user for entry in crontab.entries(block, system=True)), "") if place.is_system else ""


def place_of_block() -> host.Place:
    """Return where our lines stand: in the user's own crontab, unless they stand in /etc/cron.d only."""
    if not has_block(host.UserCrontab()) and host.SYSTEM_CRONTAB.exists():
        return host.SystemFile(host.SYSTEM_CRONTAB)
    return host.UserCrontab()


def has_block(place: host.Place) -> bool:
    """Tell whether there are lines of ours, as far as they can be read."""
    try:
        return bool(crontab.own(place.read()))
    except KibrayOpsError:
        return False


def _daemon() -> Iterator[Finding]:
    try:
        daemon = host.cron_daemon()
    except LookupError as error:
        yield warning("cron", f"{error}", "See for yourself whether a cron daemon runs.")
        return
    if daemon is None:
        yield problem("cron", "no cron daemon runs", "Start it: `systemctl enable --now cron` (or crond).")
        return
    if daemon.missed_zone_change:
        words = "this machine's time zone was set after cron was started"
        yield warning("cron", words, "Run `systemctl restart cron`.")
    its, here = _zone(daemon.zone), _zone(os.environ.get("TZ"))
    if its != here:
        yield problem(
            "cron",
            f"cron itself works in the zone {its}, and this shell in {here}",
            "Run this with the same TZ as cron: the lines have the times of this shell's zone.",
        )
    else:
        yield ok("cron", f"{daemon.name} runs, process {daemon.pid}, since {daemon.started_at:%Y-%m-%d %H:%M} UTC")


def _zone(tz: str | None) -> str:
    try:
        return machine_zone(tz)
    except LookupError:
        return ""


def _lines(found: list[crontab.Entry]) -> Iterator[Finding]:
    again = "Run `kibray-ops crontab install` again."
    for command in crontab.unknown(found):
        yield problem("crontab", f"a line starts {command!r}, which does not exist", again)
    for path in dict.fromkeys(entry.words[0] for entry in found if entry.words):
        try:
            deployment.require_program(path)
        except KibrayOpsError as error:
            yield problem("crontab", error.message, again)
            continue
        if (here := host.started_as()) is not None and not Path(here).samefile(path):
            yield warning("crontab", f"cron starts {path}, and this is {here}", again)


def _mode(place: host.SystemFile) -> Iterator[Finding]:
    status = place.path.stat()
    if status.st_uid != 0 or status.st_mode & 0o022 or place.path.is_symlink():
        words = f"cron passes over {place}: it has to be root's own, no link, and writable by root alone"
        yield problem("crontab", words, f"Run `chown root {place} && chmod 644 {place}`.")


def _is_current(settings: Settings, place: host.Place, block: str, found: list[crontab.Entry]) -> Iterator[Finding]:
    path = next((entry.words[0] for entry in found if entry.words), "")
    try:
        now = deployment.generated(settings, Clock(settings.zone).today(), path=path, user=_user_of(block, place))
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
    for name in (
        "HOME",
        "SHELL",
        *(name for name in before if name.startswith(("KIBRAY_OPS_", "EMAIL_", "DATABASE_"))),
    ):
        if name in before:
            words = f"a line {name}= stands before the block, and holds for every job behind it"
            yield warning("crontab", words, "Put it behind the block; settings belong into the env file.")
    if "TZ" in before:
        words = f"the line TZ={before['TZ']} stands before the block, and is the time zone of every job behind it"
        yield warning("crontab", words, "Put it behind the block.")
    if before.get("MAILTO") == "":
        yield warning("crontab", "MAILTO is empty, so nobody reads what a failing job prints", "Name somebody.")
