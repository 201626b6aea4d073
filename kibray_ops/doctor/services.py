"""Whether mail, SMS and the weather can be had, and whether anybody hears of failures."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from kibray_ops import settings as configuration
from kibray_ops.clock import Clock
from kibray_ops.doctor.finding import Finding, ok, problem, warning, wrong
from kibray_ops.errors import ConfigurationError, KibrayOpsError
from kibray_ops.heartbeat import Heartbeat
from kibray_ops.registry import JOBS
from kibray_ops.settings import PREFIX, Settings
from kibray_ops.web import web_client

if TYPE_CHECKING:
    import httpx

PATIENCE = 10.0
"""Seconds to wait for a service."""
CAPITOL, ADDRESS, CITY = (39.7392, -104.9848), "200 E Colfax Ave, Denver, CO 80203", "Denver, CO"
"""Colorado's state capitol: where services are asked about something that is nobody's secret."""


def mail(settings: Settings, *, online: bool) -> Iterator[Finding]:
    """Yield whether mail is set up, and `online` whether the server lets us in."""
    from kibray_ops import channels
    from kibray_ops.delivery import DeliveryError

    asks = online and settings["EMAIL_BACKEND"] == "smtp"
    try:
        channels.require_email(settings)
        if settings["EMAIL_BACKEND"] == "file":
            _require_place(Path(settings["EMAIL_DIR"]).absolute())
        clock = Clock(settings.zone)
        transport = channels.email(settings, lambda: clock.local(clock.now()), timeout=PATIENCE)
        if asks:
            try:
                transport.open()
            finally:
                transport.close()
    except KibrayOpsError as error:
        yield wrong("mail", error)
    except DeliveryError as error:
        yield problem("mail", str(error), "Until it can be reached, messages wait in the outbox.")
    else:
        hint = "" if settings["EMAIL_BACKEND"] == "file" else "; not asked (--online asks)"
        yield ok("mail", f"goes by {transport.name}{', which lets us in' if asks else hint}")
    for odd in channels.odd_settings(settings):
        subject = "SMS" if odd.subject == "SMS" else "mail"
        yield warning(subject, odd.message, "Set it in the env file: `kibray-ops config show` tells where that is.")


def _require_place(directory: Path) -> None:
    """Raise ConfigurationError where a directory could not be written, or made; it is not made here."""
    try:
        there = next(path for path in (directory, *directory.parents) if path.exists())
    except OSError as error:
        raise ConfigurationError(
            f"{directory} cannot be used for e-mail: {error.strerror}.", hint="Correct KIBRAY_OPS_EMAIL_DIR."
        ) from error
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        raise ConfigurationError(
            f"{directory} cannot be used for e-mail: {there} is no directory that we may write.",
            hint="Correct KIBRAY_OPS_EMAIL_DIR.",
        )


def sms(settings: Settings, *, online: bool) -> Iterator[Finding]:
    """Yield whether SMS are on, and `online` whether Twilio knows us; nothing is sent."""
    from kibray_ops import channels
    from kibray_ops.delivery import DeliveryError

    if not channels.is_sms_on(settings):
        yield ok("SMS", "off")
        return
    if not online:
        yield ok("SMS", f"on, for {', '.join(settings['SMS_TYPES'])}; not asked (--online asks)")
        return
    try:
        with _client() as client:
            channels.sms(settings, client).look_up()
    except KibrayOpsError as error:
        yield wrong("SMS", error)
    except DeliveryError as error:
        yield problem("SMS", str(error), "Until it can be reached, messages wait in the outbox.")
    else:
        yield ok("SMS", "Twilio knows the account")


def weather(settings: Settings, *, online: bool) -> Iterator[Finding]:
    """Yield whether the forecasts may be used, and `online` whether their services answer."""
    if (
        not settings["WEATHER_API_KEY"]
        and settings["WEATHER_BASE_URL"] == configuration.BY_NAME["WEATHER_BASE_URL"].default
    ):
        yield warning(
            "weather",
            "forecasts come from the free host, which is for non-commercial use",
            f"A business sets {PREFIX}WEATHER_API_KEY.",
        )
    if not online:
        yield ok("weather", "services not asked (--online asks)")
        return
    try:
        with _client() as client:
            yield from _answers(settings, client)
    except KibrayOpsError as error:
        yield wrong("weather", error)


def _answers(settings: Settings, client: "httpx.Client") -> Iterator[Finding]:
    """Ask each service of the weather for one place."""
    from kibray_ops.weather import census, open_meteo
    from kibray_ops.weather.place import area, point
    from kibray_ops.weather.service import Service, ServiceError

    today, capitol = Clock(settings.zone).today(), point(*CAPITOL)

    def forecast(service: Service) -> None:
        answer = open_meteo.forecasts(service, [capitol], today, today)[capitol]
        if isinstance(answer, ServiceError):
            raise answer

    key = settings["WEATHER_API_KEY"]
    questions = (
        ("WEATHER", open_meteo.forecaster(client, settings["WEATHER_BASE_URL"], key), forecast),
        ("GEOCODER", census.geocoder(client, settings["GEOCODER_BASE_URL"]), lambda it: census.locate(it, ADDRESS)),
        (
            "PLACES",
            open_meteo.gazetteer(client, settings["PLACES_BASE_URL"], key),
            lambda it: open_meteo.search(it, area(CITY)),
        ),
    )
    for name, service, ask in questions:
        try:
            ask(replace(service, timeout=PATIENCE, sleep=lambda _: None))
        except ServiceError as error:
            yield problem("weather", str(error), f"See {PREFIX}{name}_BASE_URL and the machine's way to the internet.")
        else:
            yield ok("weather", f"{service.name} answers")


@contextmanager
def _client() -> "Iterator[httpx.Client]":
    """Open an HTTP client; raises ConfigurationError when the machine's proxy is one that it cannot use."""
    try:
        client = web_client(timeout=PATIENCE)
    except (ImportError, ValueError) as error:
        raise ConfigurationError(
            f"The proxy of this shell cannot be used: {error}", hint="Correct ALL_PROXY, HTTPS_PROXY or NO_PROXY."
        ) from error
    with client:
        yield client


def _checks(base: str) -> Iterator[Finding]:
    lost = 0
    for job in JOBS:
        nobody_answers, reason = Heartbeat(base, job).reach()
        if nobody_answers:
            yield problem(
                "pings", f"the ping server: {reason}", f"Correct {PREFIX}PING_URL, or see why it is not there."
            )
            return
        if reason:
            lost += 1
            yield problem("pings", f"{job.name}: {reason}", f"Make a check of that name, or correct {PREFIX}PING_URL.")
    if not lost:
        yield ok("pings", f"all {len(JOBS)} checks take them")


def alarms(settings: Settings, *, online: bool) -> Iterator[Finding]:
    """Yield whether anybody hears of failures, and `online` whether each job's check takes a ping."""
    from kibray_ops import channels

    if online and settings["PING_URL"]:
        yield from _checks(settings["PING_URL"])
    if settings["ALERT_EMAIL"]:
        try:
            channels.require_email(settings)
        except ConfigurationError:
            yield warning(
                "alarms",
                "no failure is mailed as long as e-mail is not set up",
                f"See mail, above, or unset {PREFIX}ALERT_EMAIL.",
            )
            return
    told = [words for name, words in (("PING_URL", "pings"), ("ALERT_EMAIL", "e-mails")) if settings[name]]
    if told:
        yield ok("alarms", f"failures are told by {' and '.join(told)}")
    else:
        yield warning(
            "alarms",
            "nobody is told when a job fails, but by cron's own mail",
            f"Set {PREFIX}ALERT_EMAIL; {PREFIX}PING_URL also notices when this whole machine is gone.",
        )
