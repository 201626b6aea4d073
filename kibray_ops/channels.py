"""Which channels are on, and the transport of each, as the settings say."""

from collections.abc import Callable
from datetime import datetime
from email.headerregistry import Address
from pathlib import Path
from typing import TYPE_CHECKING

from kibray_ops.delivery import EMAIL, SMS, Transport
from kibray_ops.errors import ConfigurationError
from kibray_ops.job import Problem, Run, warnings
from kibray_ops.settings import PREFIX, Settings

if TYPE_CHECKING:
    import httpx

    from kibray_ops.delivery.twilio import Twilio

SMS_NEEDS = ("TWILIO_ACCOUNT_SID", "TWILIO_AUTH_TOKEN", "TWILIO_FROM", "TWILIO_BASE_URL", "SMS_TYPES")


def require_email(settings: Settings) -> None:
    """Raise ConfigurationError unless e-mail can be sent: nobody is to believe that it was."""
    place = "EMAIL_HOST" if settings["EMAIL_BACKEND"] == "smtp" else "EMAIL_DIR"
    if missing := [f"{PREFIX}{name}" for name in (place, "EMAIL_FROM") if not settings[name]]:
        raise ConfigurationError(
            f"E-mail is not set up: {' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} not set.",
            hint=f"Nothing was sent. {PREFIX}EMAIL_BACKEND=file writes .eml files to {PREFIX}EMAIL_DIR, for a trial.",
        )


def is_sms_on(settings: Settings) -> bool:
    """Tell whether SMS are sent: everything is set, and not all messages go to one e-mail address."""
    return all(settings[name] for name in SMS_NEEDS) and not settings["EMAIL_REDIRECT_TO"]


def odd_settings(settings: Settings) -> list[Problem]:
    """Return what is odd about the settings of the channels."""
    found: list[tuple[str, str]] = []
    if not settings["SITE_URL"]:
        found.append(("SITE_URL", f"{PREFIX}SITE_URL is not set, so the messages have no links"))
    is_plain = not (settings["EMAIL_USE_TLS"] or settings["EMAIL_USE_SSL"])
    if settings["EMAIL_BACKEND"] == "smtp" and settings["EMAIL_HOST_PASSWORD"] and is_plain:
        found.append(("EMAIL_USE_TLS", f"without {PREFIX}EMAIL_USE_TLS or _USE_SSL the password goes out unencrypted"))
    missing = [f"{PREFIX}{name}" for name in SMS_NEEDS if not settings[name]]
    if 0 < len(missing) < len(SMS_NEEDS) - 1:  # the base URL has a default
        found.append(("SMS", f"no SMS are sent: {', '.join(missing)} not set"))
    return warnings("settings", found, "settings")


def transports(run: Run) -> dict[str, Transport]:
    """Return the transport of each channel that is on; no transaction may be open."""
    found: dict[str, Transport] = {EMAIL: email(run.settings, run.local_now)}
    if is_sms_on(run.settings):
        found[SMS] = sms(run.settings, run.web())
    return found


def sms(settings: Settings, client: "httpx.Client") -> "Twilio":
    """Return the transport of SMS, where they are on."""
    from kibray_ops.delivery.twilio import Twilio

    names = ("TWILIO_BASE_URL", "TWILIO_ACCOUNT_SID", "TWILIO_AUTH_TOKEN", "TWILIO_FROM")
    base_url, account, token, number = (settings[name] for name in names)
    return Twilio(client, base_url, account, token, number)


def email(settings: Settings, now: Callable[[], datetime], *, timeout: float | None = None) -> Transport:
    """Return the transport of e-mail; `timeout` is how long to wait for each answer, in seconds."""
    from kibray_ops.delivery.file import Files
    from kibray_ops.delivery.smtp import PATIENCE, SMTP, TIMEOUT

    if settings["EMAIL_BACKEND"] == "file":
        return Files(Path(settings["EMAIL_DIR"]).absolute(), sender(settings), now)
    return SMTP(
        settings["EMAIL_HOST"],
        settings["EMAIL_PORT"],
        sender(settings),
        now,
        user=settings["EMAIL_HOST_USER"] or "",
        password=settings["EMAIL_HOST_PASSWORD"] or "",
        use_tls=settings["EMAIL_USE_TLS"],
        use_ssl=settings["EMAIL_USE_SSL"],
        timeout=timeout or TIMEOUT,
        patience=timeout or PATIENCE,
    )


def sender(settings: Settings) -> Address:
    """Return who writes the e-mails."""
    from kibray_ops.delivery.mime import mailbox

    return mailbox(settings["EMAIL_FROM"])
