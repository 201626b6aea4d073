"""Settings: environment variables and one env file, read once into one frozen object.

Every problem is reported together; no value of a secret is ever shown. Only the standard library is imported here
(and python-dotenv when there is a file to read), because settings load before anything heavy.
"""

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import time
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any
from urllib.parse import quote, unquote, urlsplit
from zoneinfo import ZoneInfo

from kibray_ops import envfile, registry
from kibray_ops.clock import UTC_NAMES, machine_zone
from kibray_ops.errors import SettingsInvalid
from kibray_ops.text import MASK, is_mail_address, is_plain, masked, masked_url, passwords, printable

PREFIX = "KIBRAY_OPS_"
MACHINE = "this machine"
"""The source of a time zone that nobody has set."""
Texts = dict[str, str]
SHORTEST_KEY = 8
"""Letters of a word in an address that may be a key; a shorter one is an innocent `ping`."""
DATABASE_SCHEMES = ("postgres", "postgresql", "sqlite")
MOST_SHOWN = 80
"""Characters of a wrong value that its problem repeats."""


# Readers: text in, value out, ValueError with the reason. They never repeat the text: it may be a secret.
def _text(value: str) -> str:
    return value


def _one_of(*words: str) -> Callable[[str], str]:
    def read(value: str) -> str:
        if value.lower() not in words:
            raise ValueError(f"must be one of {', '.join(words)}")
        return value.lower()

    return read


def _whole(least: int, most: int) -> Callable[[str], int]:
    def read(value: str) -> int:
        if not re.fullmatch(r"-?\d{1,12}", value) or not least <= int(value) <= most:
            raise ValueError(f"must be a whole number from {least} to {most}")
        return int(value)

    return read


def _yes_or_no(value: str) -> bool:
    words = {"true": True, "1": True, "yes": True, "on": True, "false": False, "0": False, "no": False, "off": False}
    if value.lower() not in words:
        raise ValueError("must be true or false")
    return words[value.lower()]


def _web_address(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("must be an address such as https://example.com")
    return value.rstrip("/")


def _mail_address(value: str) -> str:
    if not (value.isascii() and is_mail_address(value)):
        raise ValueError("must be an e-mail address")
    return value


def _sender(value: str) -> str:
    name, bracket, address = value.rpartition("<")
    if not value.isprintable() or "<" in name or not (value.endswith(">") if bracket else True):
        raise ValueError("must look like office@example.com or Kibray <office@example.com>")
    _mail_address(address.removesuffix(">"))
    return value


def _zone(value: str) -> ZoneInfo:
    try:
        return ZoneInfo(value)
    except (KeyError, ValueError, OSError):
        raise ValueError("is not a time zone; write it as America/Denver") from None


def _quiet_hours(value: str) -> tuple[time, time]:
    try:
        begin, end = (time.fromisoformat(word.strip()) for word in value.split("-"))
    except ValueError:
        raise ValueError("must look like 20:00-07:00") from None
    if begin.tzinfo or end.tzinfo:
        raise ValueError("must be times of the business zone, like 20:00-07:00")
    return begin, end


def _words(value: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in value.split(",") if word.strip())


def _database_url(value: str) -> str:
    scheme = value.partition(":")[0].partition("+")[0].lower()
    if scheme not in DATABASE_SCHEMES or "://" not in value:
        raise ValueError("must begin with postgresql://, postgres:// or sqlite:///")
    if scheme == "sqlite" and not re.fullmatch(r"sqlite(\+\w+)?:///[^?]+", value):
        raise ValueError("must name a file: sqlite:///relative.sqlite3 or sqlite:////absolute/path.sqlite3")
    if scheme == "sqlite" and ":memory:" in value:
        raise ValueError("must name a file: a database in memory is gone when the command ends")
    if scheme != "sqlite":
        try:
            parts = urlsplit(value)
            _ = parts.port
        except ValueError:
            raise ValueError("has a port or host that cannot be read; write special characters as %XX") from None
        if parts.netloc.count("@") > 1:
            raise ValueError("has an @ in its password; write special characters as %XX")
        if not parts.path.strip("/"):
            raise ValueError("names no database: postgresql://USER:PASSWORD@HOST:5432/DATABASE")
    return value


@dataclass(frozen=True)
class Setting:
    """Declare one setting: its name without the prefix, how it is read, its default, what it means."""

    name: str
    read: Callable[[str], Any]
    default: str
    meaning: str
    fallback: str = ""
    """Django's own name, as Kibray sets it."""
    secret: bool = False

    @property
    def variable(self) -> str:
        """Return the name of the environment variable."""
        return PREFIX + self.name


DECLARED: tuple[Setting, ...] = (
    Setting(
        "DATABASE_URL",
        _database_url,
        "",
        "Kibray's database; empty: the embedded SQLite file",
        fallback="DATABASE_URL",
        secret=True,
    ),
    Setting("TIMEZONE", _zone, "", "business time zone; empty: this machine's"),
    Setting("ENV_FILE", _text, "", "file with further settings"),
    Setting("LOG_FORMAT", _one_of("text", "json"), "text", "text or json"),
    Setting(
        "LOG_LEVEL",
        _one_of("debug", "info", "warning", "error"),
        "warning",
        "least level that is logged: debug, info, warning or error",
    ),
    Setting("LOCK_TIMEOUT", _whole(1, 3600), "30", "seconds to wait for rows that the application holds"),
    Setting("SITE_URL", _web_address, "", "Kibray's own address; makes links in messages absolute"),
    Setting("EMAIL_BACKEND", _one_of("smtp", "file"), "smtp", "smtp, or file for .eml files"),
    Setting("EMAIL_HOST", _text, "", "mail server", fallback="EMAIL_HOST"),
    Setting("EMAIL_PORT", _whole(1, 65535), "25", "its port", fallback="EMAIL_PORT"),
    Setting("EMAIL_USE_TLS", _yes_or_no, "false", "STARTTLS", fallback="EMAIL_USE_TLS"),
    Setting("EMAIL_USE_SSL", _yes_or_no, "false", "TLS from the first byte", fallback="EMAIL_USE_SSL"),
    Setting("EMAIL_HOST_USER", _text, "", "login", fallback="EMAIL_HOST_USER"),
    Setting("EMAIL_HOST_PASSWORD", _text, "", "password", fallback="EMAIL_HOST_PASSWORD", secret=True),
    Setting("EMAIL_FROM", _sender, "", "sender", fallback="DEFAULT_FROM_EMAIL"),
    Setting("EMAIL_DIR", _text, "", "directory of the file backend"),
    Setting("EMAIL_TYPES", _words, "all", "notification types that are mailed: all, or some, as in alert,task_alert"),
    Setting("EMAIL_AUDIENCE", _one_of("all", "staff"), "all", "who gets mail: all or staff"),
    Setting("EMAIL_REDIRECT_TO", _mail_address, "", "send everything here instead (a staging copy)"),
    Setting("ALERT_EMAIL", _mail_address, "", "who hears of failures and recoveries"),
    Setting("TWILIO_ACCOUNT_SID", _text, "", "SMS account"),
    Setting("TWILIO_AUTH_TOKEN", _text, "", "SMS token", secret=True),
    Setting("TWILIO_FROM", _text, "", "SMS sender"),
    Setting("TWILIO_BASE_URL", _web_address, "https://api.twilio.com", "SMS service"),
    Setting("SMS_TYPES", _words, "", "notification types that go by SMS"),
    Setting("QUIET_HOURS", _quiet_hours, "20:00-07:00", "no SMS between these times"),
    Setting("NOTIFY_MAX_PER_RECIPIENT", _whole(1, 10_000), "10", "above this, one summary"),
    Setting("ACCOUNTING_GROUP", _text, "Accounting", "auth group that is told about money"),
    Setting("WEATHER_BASE_URL", _web_address, "https://api.open-meteo.com", "forecast service"),
    Setting("WEATHER_API_KEY", _text, "", "its key (the free host is for non-commercial use)", secret=True),
    Setting("GEOCODER_BASE_URL", _web_address, "https://geocoding.geo.census.gov", "address search"),
    Setting("PLACES_BASE_URL", _web_address, "https://geocoding-api.open-meteo.com", "ZIP and city search"),
    Setting(
        "PAYROLL_STATUS",
        _one_of("pending", "draft", "under_review"),
        "pending",
        "status of a new period: pending, draft or under_review",
    ),
    Setting("PAYROLL_OVERTIME", _one_of("weekly40", "none"), "weekly40", "overtime policy: weekly40 or none"),
    Setting("TOUCHUP_THRESHOLD", _whole(1, 10_000), "3", "urgent touch-ups that make an alert"),
    Setting("ARCHIVE_AFTER_DAYS", _whole(1, 36_500), "30", "age at which read notifications are archived"),
    Setting("RUNS_KEEP_DAYS", _whole(1, 36_500), "400", "how long run records are kept"),
    Setting("PING_URL", _web_address, "", "base of a Healthchecks server", secret=True),
    Setting("SOFT_TIME_LIMIT", _whole(1, 86_400), "1500", "seconds after which a run stops by itself"),
    Setting("HARD_TIME_LIMIT", _whole(1, 86_400), "1800", "seconds after which a run is ended"),
    *(
        Setting(f"{limit}_TIME_LIMIT_{job.name.replace('-', '_').upper()}", _whole(1, 86_400), "", f"for {job.name}")
        for limit in ("SOFT", "HARD")
        for job in registry.JOBS
    ),
)
BY_NAME = MappingProxyType({setting.name: setting for setting in DECLARED})


@dataclass(frozen=True)
class Settings:
    """Hold every setting's value, where it came from, and what is wrong with them."""

    values: Mapping[str, Any]
    raw: Mapping[str, str]
    sources: Mapping[str, str]
    problems: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    def __getitem__(self, name: str) -> Any:
        return self.values[name]

    def checked(self) -> "Settings":
        """Return the settings, or raise SettingsInvalid with every problem at once."""
        if self.problems:
            raise SettingsInvalid(self.problems)
        return self

    @cached_property
    def zone(self) -> ZoneInfo:
        """Return the business time zone."""
        zone: ZoneInfo = self.values["TIMEZONE"]
        return zone

    @property
    def has_chosen_zone(self) -> bool:
        """Tell whether somebody has decided on the business time zone; else it is only this machine's."""
        return self.sources["TIMEZONE"] != MACHINE

    @cached_property
    def database_url(self) -> str:
        """Return the database's URL, the embedded default included."""
        if url := self.values["DATABASE_URL"]:
            return str(url)
        return f"sqlite:///{quote(str(embedded_database()))}"

    @cached_property
    def sqlite_file(self) -> Path | None:
        """Return the file of a SQLite database; %XX in the URL stands for a character. None for PostgreSQL."""
        scheme, _, name = self.database_url.partition(":///")
        return Path(unquote(name)).absolute() if scheme.startswith("sqlite") else None

    @property
    def is_embedded(self) -> bool:
        """Tell whether the database is the embedded default."""
        return not self.values["DATABASE_URL"]

    def time_limit(self, which: str, job: str) -> int:
        """Return the SOFT or HARD limit of a job, in seconds."""
        own = self.values.get(f"{which}_TIME_LIMIT_{job.replace('-', '_').upper()}")
        return int(own or self.values[f"{which}_TIME_LIMIT"])

    @cached_property
    def _secrets(self) -> frozenset[str]:
        found: set[str] = set()
        for setting in DECLARED:
            value = self.raw.get(setting.name, "")
            if "://" in value:
                found |= passwords(value)
            if setting.secret and setting.name != "DATABASE_URL":
                found |= {value, *_keys(value)}
        return frozenset(found)

    def redact(self, text: str) -> str:
        """Return a text in which no secret of these settings stands, however it is spelt."""
        return masked(text, self._secrets)

    def shown(self, setting: Setting) -> str:
        """Return a setting's value as `config show` may print it."""
        value = self.raw.get(setting.name, "")
        if setting.name == "DATABASE_URL" and self.values["DATABASE_URL"] is not None:
            return masked_url(value)  # one that cannot be read is masked as a whole, below
        # A secret may stand in another setting too, by mistake or as part of an address.
        return MASK if setting.secret and value else self.redact(masked_url(value))


def _keys(address: str) -> set[str]:
    """Return the long words in the path of a secret address, which a server may repeat by themselves."""
    # Taken apart by hand: an address that nobody can read may hold one too.
    path = re.sub(r"[?#].*", "", address.partition("://")[2].partition("/")[2])
    return {word for word in unquote(path).split("/") if len(word) >= SHORTEST_KEY}


def embedded_database() -> Path:
    """Return where the embedded database lies: in the user's data directory."""
    from platformdirs import user_data_path

    return user_data_path("kibray-ops", appauthor=False) / "kibray.sqlite3"


def default_env_file(environ: Mapping[str, str]) -> Path:
    """Return the env file that is read when no other is named."""
    config_home = environ.get("XDG_CONFIG_HOME") or (Path(environ.get("HOME") or Path.home()) / ".config")
    return Path(config_home) / "kibray-ops" / "env"


def load(env_file: Path | None = None, environ: Mapping[str, str] = os.environ) -> Settings:
    """Read the environment and the env file; the environment wins.

    Never raises for a wrong setting: the problems stand in the result, and `checked()` raises them.
    """
    problems: list[str] = []
    warnings: list[str] = []
    named = env_file or (Path(environ[f"{PREFIX}ENV_FILE"]) if environ.get(f"{PREFIX}ENV_FILE") else None)
    path = named or default_env_file(environ)
    from_file = envfile.read(path, must_exist=named is not None, problems=problems, warnings=warnings)
    layers = ((environ, "environment"), (from_file, envfile.shown(path)))

    for names, source in layers:
        for name in sorted(names):
            if name.startswith(PREFIX) and name.removeprefix(PREFIX) not in BY_NAME:
                shown = printable(_cut(name))
                close = get_close_matches(shown, [setting.variable for setting in DECLARED], n=1)
                maybe = f"; did you mean {close[0]}?" if close else ""
                problems.append(f"{shown} ({source}) is not a setting{maybe}")

    values: dict[str, Any] = {}
    raw: dict[str, str] = {}
    sources: dict[str, str] = {}
    for setting in DECLARED:
        text, source = _look_up(setting, layers)
        raw[setting.name], sources[setting.name] = text, source
        values[setting.name] = None
        if not text and not setting.default:
            continue
        try:
            if not is_plain(text):
                raise ValueError("must be text without control characters")
            values[setting.name] = setting.read(text or setting.default)
        except ValueError as error:
            shown = "" if setting.secret else f", not {_cut(text)!r}"
            problems.append(f"{setting.variable} ({source}) {error}{shown}")
    raw["ENV_FILE"] = str(path) if from_file or named else ""
    _decide_zone(values, sources, raw, problems, environ.get("TZ"))
    _check_limits(values, problems)
    if values["EMAIL_USE_TLS"] and values["EMAIL_USE_SSL"]:
        problems.append(f"{PREFIX}EMAIL_USE_TLS and {PREFIX}EMAIL_USE_SSL exclude each other: STARTTLS, or TLS at once")
    return Settings(MappingProxyType(values), raw, sources, tuple(problems), tuple(warnings))


def _cut(text: str) -> str:
    return text if len(text) <= MOST_SHOWN else f"{text[:MOST_SHOWN]}…"


def _look_up(setting: Setting, layers: tuple[tuple[Mapping[str, str], str], ...]) -> tuple[str, str]:
    """Return a setting's text and where it came from; an empty variable counts as not set."""
    for name in filter(None, (setting.variable, setting.fallback)):
        for names, source in layers:
            if text := names.get(name, "").strip():
                return text, source if name == setting.variable else f"{source}, {name}"
    return setting.default, "default"


def _decide_zone(values: dict[str, Any], sources: Texts, raw: Texts, problems: list[str], tz: str | None) -> None:
    if values["TIMEZONE"] is not None or raw["TIMEZONE"]:
        return
    try:
        name = machine_zone(tz)
        values["TIMEZONE"] = _zone(name)
    except (LookupError, ValueError) as error:
        problems.append(f"{PREFIX}TIMEZONE is not set, and {error}; set it, for example to America/Denver")
        return
    sources["TIMEZONE"], raw["TIMEZONE"] = MACHINE, name
    if name in UTC_NAMES and not str(values["DATABASE_URL"] or "sqlite").startswith("sqlite"):
        problems.append(
            f"{PREFIX}TIMEZONE is not set and this machine runs on UTC, so every business date could be a day off; "
            "set it to the zone of the business, for example America/Denver"
        )


def _check_limits(values: dict[str, Any], problems: list[str]) -> None:
    for suffix in ("", *(f"_{job.name.replace('-', '_').upper()}" for job in registry.JOBS)):
        soft = values.get(f"SOFT_TIME_LIMIT{suffix}") or values.get("SOFT_TIME_LIMIT")
        hard = values.get(f"HARD_TIME_LIMIT{suffix}") or values.get("HARD_TIME_LIMIT")
        own = values.get(f"SOFT_TIME_LIMIT{suffix}") or values.get(f"HARD_TIME_LIMIT{suffix}")
        if own and soft and hard and soft > hard:
            problems.append(f"{PREFIX}SOFT_TIME_LIMIT{suffix} ({soft} s) is above the hard limit ({hard} s)")
