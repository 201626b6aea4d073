"""Settings: where they come from, all problems at once, no secret anywhere."""

import os
from pathlib import Path

import pytest

from kibray_ops import settings
from kibray_ops.errors import SettingsInvalid

PG = "postgresql://kibray:hunter22@db.example.com:5432/kibray"


def load(tmp_path: Path, /, **environ: str) -> settings.Settings:
    return settings.load(environ={"HOME": str(tmp_path), "KIBRAY_OPS_TIMEZONE": "America/Denver", **environ})


def test_defaults(tmp_path: Path) -> None:
    found = load(tmp_path).checked()
    assert found["PAYROLL_STATUS"] == "pending"
    assert found["PAYROLL_OVERTIME"] == "weekly40"
    assert found.time_limit("SOFT", "generate-weekly-payroll") == 1500
    assert found.is_embedded
    assert found.database_url.startswith("sqlite:////")


def test_the_environment_wins_over_the_file_and_both_over_djangos_names(tmp_path: Path) -> None:
    file = tmp_path / "env"
    file.write_text("# ours\nexport KIBRAY_OPS_EMAIL_HOST='mail.example.com'\nKIBRAY_OPS_EMAIL_PORT=587\nOTHER=1\n")
    file.chmod(0o600)
    found = load(
        tmp_path, KIBRAY_OPS_ENV_FILE=str(file), KIBRAY_OPS_EMAIL_PORT="465", EMAIL_HOST="django", EMAIL_HOST_USER="me"
    ).checked()
    assert (found["EMAIL_HOST"], found["EMAIL_PORT"], found["EMAIL_HOST_USER"]) == ("mail.example.com", 465, "me")
    assert found.sources["EMAIL_HOST"] == str(file)
    assert found.sources["EMAIL_PORT"] == "environment"
    assert found.sources["EMAIL_HOST_USER"] == "environment, EMAIL_HOST_USER"
    assert found.warnings == ()


def test_kibrays_database_url_is_taken(tmp_path: Path) -> None:
    assert load(tmp_path, DATABASE_URL=PG).checked().database_url == PG
    ours = load(tmp_path, DATABASE_URL=PG, KIBRAY_OPS_DATABASE_URL="sqlite:///x.sqlite3").checked()
    assert ours.database_url == "sqlite:///x.sqlite3"
    assert load(tmp_path, DATABASE_URL="postgres://u@h/d").checked().database_url == "postgres://u@h/d"


def test_all_problems_together_each_with_its_reason_and_no_secret(tmp_path: Path) -> None:
    found = load(
        tmp_path,
        KIBRAY_OPS_EMAIL_PORT="many",
        KIBRAY_OPS_PAYROLL_STATUS="approved",
        KIBRAY_OPS_TIMEZONE="Denver",
        KIBRAY_OPS_PAYROLL_OVERTIM="none",
        KIBRAY_OPS_DATABASE_URL="mysql://kibray:hunter22@db/kibray",
        KIBRAY_OPS_QUIET_HOURS="8pm",
        KIBRAY_OPS_SITE_URL="kibray.example.com",
        KIBRAY_OPS_SOFT_TIME_LIMIT="4000",
    )
    with pytest.raises(SettingsInvalid) as caught:
        found.checked()
    assert len(caught.value.problems) == 8
    text = str(caught.value)
    assert "did you mean KIBRAY_OPS_PAYROLL_OVERTIME?" in text
    assert "must be a whole number from 1 to 65535, not 'many'" in text
    assert "hunter22" not in text
    assert caught.value.exit_code == 78


@pytest.mark.parametrize(
    "url", ["sqlite://", "sqlite:///:memory:", "postgresql://host", "nonsense", "postgresql://h:port/d"]
)
def test_urls_that_cannot_be_meant(tmp_path: Path, url: str) -> None:
    assert len(load(tmp_path, KIBRAY_OPS_DATABASE_URL=url).problems) == 1


def test_a_file_that_others_can_read_is_warned_of_and_a_broken_line_named(tmp_path: Path) -> None:
    file = tmp_path / "env"
    file.write_text("KIBRAY_OPS_EMAIL_HOST=x\nthis is not it\n")
    file.chmod(0o644)
    found = load(tmp_path, KIBRAY_OPS_ENV_FILE=str(file))
    assert "chmod 600" in found.warnings[0]
    assert "line 2" in found.problems[0]
    assert "does not exist" in load(tmp_path, KIBRAY_OPS_ENV_FILE=str(tmp_path / "none")).problems[0]


def test_the_default_file_is_read(tmp_path: Path) -> None:
    file = tmp_path / ".config" / "kibray-ops" / "env"
    file.parent.mkdir(parents=True)
    file.write_text("KIBRAY_OPS_PAYROLL_STATUS=draft\n")
    assert load(tmp_path)["PAYROLL_STATUS"] == "draft"


def test_an_empty_variable_is_not_set(tmp_path: Path) -> None:
    assert load(tmp_path, KIBRAY_OPS_PAYROLL_STATUS="").checked()["PAYROLL_STATUS"] == "pending"


@pytest.mark.parametrize(
    "url",
    [
        PG,
        "postgresql://kibray:p%40ss%2Fw0rd@h/d",
        "postgresql://kibray:p@ssw0rd@h/d",
        "postgresql://h/d?user=u&password=hunter22",
    ],
)
def test_passwords_are_masked_everywhere(tmp_path: Path, url: str) -> None:
    found = load(tmp_path, KIBRAY_OPS_DATABASE_URL=url, KIBRAY_OPS_TWILIO_AUTH_TOKEN="tok3n")
    shown = " ".join(found.shown(setting) for setting in settings.DECLARED)
    leaked = ("hunter22", "p%40ss%2Fw0rd", "ssw0rd", "tok3n")
    assert not any(secret in shown for secret in leaked)
    told = found.redact("failed: hunter22 p@ss/w0rd p%40ss%2Fw0rd tok3n") if "hunter22" in url else ""
    assert "hunter22" not in told
    assert "tok3n" not in told


def test_a_short_password_does_not_garble_words(tmp_path: Path) -> None:
    found = load(tmp_path, KIBRAY_OPS_EMAIL_HOST_PASSWORD="a")
    assert found.redact("a database: a") == f"{settings.MASK} database: {settings.MASK}"


def test_a_utc_host_with_postgresql_must_say_its_zone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "UTC")
    environ = {"HOME": str(tmp_path), "TZ": "UTC"}
    assert "UTC" in settings.load(environ={**environ, "DATABASE_URL": PG}).problems[0]
    assert settings.load(environ={**environ, "DATABASE_URL": "sqlite:///x"}).problems == ()
    assert settings.load(environ={**environ, "DATABASE_URL": PG, "KIBRAY_OPS_TIMEZONE": "UTC"}).problems == ()
    # That of the environment which is asked about, not of this process.
    elsewhere = {**environ, "TZ": "America/Phoenix", "DATABASE_URL": PG}
    assert settings.load(environ=elsewhere).checked().zone.key == "America/Phoenix"
    assert os.environ["TZ"] == "UTC"


def test_limits_of_one_job(tmp_path: Path) -> None:
    found = load(tmp_path, KIBRAY_OPS_SOFT_TIME_LIMIT_GENERATE_WEEKLY_PAYROLL="60").checked()
    assert found.time_limit("SOFT", "generate-weekly-payroll") == 60
    assert found.time_limit("SOFT", "check-overdue-invoices") == 1500


def test_every_setting_of_the_specification_is_there() -> None:
    """SPEC §5, and LOCK_TIMEOUT."""
    text = """DATABASE_URL TIMEZONE ENV_FILE LOG_FORMAT LOG_LEVEL SITE_URL EMAIL_BACKEND EMAIL_HOST EMAIL_PORT
    EMAIL_USE_TLS EMAIL_USE_SSL EMAIL_HOST_USER EMAIL_HOST_PASSWORD EMAIL_FROM EMAIL_DIR EMAIL_TYPES EMAIL_AUDIENCE
    EMAIL_REDIRECT_TO ALERT_EMAIL TWILIO_ACCOUNT_SID TWILIO_AUTH_TOKEN TWILIO_FROM TWILIO_BASE_URL SMS_TYPES
    QUIET_HOURS NOTIFY_MAX_PER_RECIPIENT ACCOUNTING_GROUP WEATHER_BASE_URL WEATHER_API_KEY GEOCODER_BASE_URL
    PLACES_BASE_URL PAYROLL_STATUS PAYROLL_OVERTIME TOUCHUP_THRESHOLD ARCHIVE_AFTER_DAYS RUNS_KEEP_DAYS PING_URL
    SOFT_TIME_LIMIT HARD_TIME_LIMIT LOCK_TIMEOUT"""
    declared = {name for name in settings.BY_NAME if "TIME_LIMIT_" not in name}
    assert declared == set(text.split())


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        ("EMAIL_FROM", ("a@b.c", "Kibray <a@b.c>", "Kibray, Inc. <a@b.c>", '"Ñ" <a@b.c>'),
         ("a..b@c.d", ".a@b.c", "a@b.c.", "a@b.c, d@e.f", "ñ@b.c", "Kibray <a@b.c", "a b@c.d", "x")),
        ("EMAIL_REDIRECT_TO", ("a@b.c",), ("Kibray <a@b.c>", "a@b@c", "a@b\x0bc")),
        ("QUIET_HOURS", ("20:00-07:00", "20:00 - 07:00"), ("20:00Z-07:00Z", "20-7-1", "8pm-7am", "20:00")),
    ],
)  # fmt: skip
def test_settings_of_messages(tmp_path: Path, name: str, good: tuple[str, ...], bad: tuple[str, ...]) -> None:
    for value in good:
        assert load(tmp_path, **{f"KIBRAY_OPS_{name}": value}).problems == (), value
    for value in bad:
        assert len(load(tmp_path, **{f"KIBRAY_OPS_{name}": value}).problems) == 1, value


def test_two_kinds_of_encryption_exclude_each_other(tmp_path: Path) -> None:
    both = {"KIBRAY_OPS_EMAIL_USE_TLS": "true", "EMAIL_USE_SSL": "true"}
    assert "exclude each other" in load(tmp_path, **both).problems[0]
