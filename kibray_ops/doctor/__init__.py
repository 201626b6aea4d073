"""Look at everything that has to be right for the jobs to work, and say of each thing what to do about it."""

import os
from collections.abc import Iterator
from dataclasses import replace

from kibray_ops.clock import machine_zone
from kibray_ops.doctor import cron
from kibray_ops.doctor.finding import Finding, ok, problem, warning
from kibray_ops.settings import Settings


def examine(settings: Settings, *, online: bool) -> Iterator[Finding]:
    """Yield what is found, thing by thing, without the secrets that services repeat; they are asked only `online`.

    Raises nothing that it can tell of.
    """
    for finding in _everything(settings, online=online):
        yield replace(finding, message=settings.redact(finding.message))


def _everything(settings: Settings, *, online: bool) -> Iterator[Finding]:
    yield from _settings(settings)
    yield from _time_zone(settings)
    if settings["TIMEZONE"] is not None:
        yield from _schedule(settings)
    if settings.problems:
        return
    from kibray_ops.doctor import services, storage

    yield from services.mail(settings, online=online)
    yield from services.sms(settings, online=online)
    yield from services.weather(settings, online=online)
    yield from services.alarms(settings, online=online)
    yield from storage.database(settings)


def _schedule(settings: Settings) -> Iterator[Finding]:
    """Yield whether cron starts the jobs here, or something else does: another engine, or another host's cron."""
    place = cron.place_of_block()
    if not settings.problems and not cron.has_block(place):
        from kibray_ops.doctor import storage

        if (started := storage.started_elsewhere(settings)) is not None:
            yield ok("schedule", f"this machine's cron starts nothing, and need not: {started} by a schedule")
            return
    yield from cron.findings(settings, place)


# ---- settings and time


def _settings(settings: Settings) -> Iterator[Finding]:
    for said in settings.problems:
        yield problem("settings", said, "Correct it; `kibray-ops config show` tells where it is set.")
    if not settings.problems:
        source = settings.raw["ENV_FILE"] or "no env file"
        yield ok("settings", f"all can be read ({source} and the environment)")
    for said in settings.warnings:
        words, _, command = said.partition(": ")
        yield warning("env file", words, f"Run `{command}`.")
    if settings.raw["ENV_FILE"] and not settings.warnings:
        yield ok("env file", f"nobody else can read {settings.raw['ENV_FILE']}")


def _time_zone(settings: Settings) -> Iterator[Finding]:
    try:
        here = machine_zone(os.environ.get("TZ"))
    except LookupError as error:
        yield problem("time zone", str(error), "Set this machine's: `timedatectl set-timezone America/Denver`.")
        return
    business = settings["TIMEZONE"]
    if business is None:
        return  # told as a problem of the settings
    if business.key == here:
        yield ok("time zone", f"{here}, for the business and this machine")
    else:
        yield ok("time zone", f"{business.key} for the business, {here} for this machine: the crontab allows for it")
