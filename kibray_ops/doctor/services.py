"""Whether mail, SMS and the weather can be had, and whether anybody hears of failures."""

from collections.abc import Iterator
from dataclasses import replace

from kibray_ops import settings as configuration
from kibray_ops.clock import Clock
from kibray_ops.doctor.finding import Finding, ok, problem, warning, wrong
from kibray_ops.errors import KibrayOpsError
from kibray_ops.settings import PREFIX, Settings

PATIENCE = 10.0
"""Seconds to wait for a service."""
CAPITOL, ADDRESS, CITY = (39.7392, -104.9848), "200 E Colfax Ave, Denver, CO 80203", "Denver, CO"
"""Colorado's state capitol: where services are asked about something that is nobody's secret."""


def mail(settings: Settings, *, online: bool) -> Iterator[Finding]:
    from kibray_ops import channels
    from kibray_ops.delivery import DeliveryError

    try:
        channels.require_email(settings)
        clock = Clock(settings.zone)
        transport = channels.email(settings, lambda: clock.local(clock.now()), timeout=PATIENCE)
        if online:
            try:
                transport.open()
            finally:
                transport.close()
    except KibrayOpsError as error:
        yield wrong("mail", error)
    except DeliveryError as error:
        yield problem("mail", str(error), "Until it can be reached, messages wait in the outbox.")
    else:
        yield ok(
            "mail", f"goes by {transport.name}" + (", which lets us in" if online else "; not asked (--online asks)")
        )
    for odd in channels.odd_settings(settings):
        yield warning(
            "mail" if odd.subject != "SMS" else "SMS", odd.message, "`kibray-ops config show` shows the settings."
        )


def sms(settings: Settings, *, online: bool) -> Iterator[Finding]:
    from kibray_ops import channels
    from kibray_ops.delivery import DeliveryError

    if not channels.is_sms_on(settings):
        yield ok("SMS", "off")
        return
    if not online:
        yield ok("SMS", f"on, for {', '.join(settings['SMS_TYPES'])}; not asked (--online asks)")
        return
    import httpx

    with httpx.Client(timeout=PATIENCE) as client:
        try:
            channels.sms(settings, client).look_up()
        except KibrayOpsError as error:
            yield wrong("SMS", error)
        except DeliveryError as error:
            yield problem("SMS", str(error), "Until it can be reached, messages wait in the outbox.")
        else:
            yield ok("SMS", "Twilio knows the account")


def weather(settings: Settings, *, online: bool) -> Iterator[Finding]:
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
    import httpx

    from kibray_ops.weather import census, open_meteo
    from kibray_ops.weather.place import area, point
    from kibray_ops.weather.service import Service, ServiceError

    today, capitol = Clock(settings.zone).today(), point(*CAPITOL)

    def forecast(service: Service) -> None:
        answer = open_meteo.forecasts(service, [capitol], today, today)[capitol]
        if isinstance(answer, ServiceError):
            raise answer

    key = settings["WEATHER_API_KEY"]
    with httpx.Client() as client:
        questions = (
            (open_meteo.forecaster(client, settings["WEATHER_BASE_URL"], key), forecast),
            (census.geocoder(client, settings["GEOCODER_BASE_URL"]), lambda it: census.locate(it, ADDRESS)),
            (
                open_meteo.gazetteer(client, settings["PLACES_BASE_URL"], key),
                lambda it: open_meteo.search(it, area(CITY)),
            ),
        )
        for service, ask in questions:
            try:
                ask(replace(service, timeout=PATIENCE, sleep=lambda _: None))
            except ServiceError as error:
                said = settings.redact(str(error))
                yield problem("weather", said, f"See {PREFIX}WEATHER_… and the machine's way to the internet.")
            else:
                yield ok("weather", f"{service.name} answers")


def alarms(settings: Settings) -> Iterator[Finding]:
    told = [words for name, words in (("PING_URL", "pings"), ("ALERT_EMAIL", "e-mails")) if settings[name]]
    if told:
        yield ok("alarms", f"failures are told by {' and '.join(told)}")
    else:
        yield warning(
            "alarms",
            "nobody is told when a job fails, but by cron's own mail",
            f"Set {PREFIX}ALERT_EMAIL; {PREFIX}PING_URL also notices when this whole machine is gone.",
        )
