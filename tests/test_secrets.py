"""No secret in anything that is said, written, sent or started: secrets are planted, and all is searched for them."""

import json
import re
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus, urlsplit

import pytest
from aiosmtpd.smtp import AuthResult
from psycopg import sql

import kibray_ops
from kibray_ops import settings
from kibray_ops.clock import real_now
from kibray_ops.delivery.smtp import SMTP
from kibray_ops.delivery.twilio import Twilio
from kibray_ops.exports import TARGETS
from kibray_ops.text import masked
from kibray_ops.weather.service import Service
from tests.post import PostOffice, post_office
from tests.sky import Question, Reply, Sky, answering
from tests.test_contract import ALL, WORDS, fill
from tests.typed import Said, commands, typed
from tests.world import World

CORE = "hunter22"
"""What every planted secret begins and ends with: no way to write one leaves it out, but for base64."""
AWKWARD = "@:/?#%&'\"$ <\\+="
"""What is written otherwise in URLs, in JSON, in Python, in HTML, in a shell or in an env file."""
SECRETS = [setting for setting in settings.DECLARED if setting.secret]


def secret(name: str, *, ascii_only: bool = False) -> str:
    return f"{CORE}-{name}{AWKWARD}{'' if ascii_only else 'ü'}{CORE}"


def _in_base64(core: bytes) -> set[str]:
    """Return what base64 makes of a text wherever it stands: the letters that depend on nothing beside it."""
    return {b64encode(bytes(before) + core).decode()[4 * bool(before) : 12] for before in range(3)}


TRACES = re.compile("|".join([CORE, *map(re.escape, sorted(_in_base64(CORE.encode())))]), re.I)


def leaks(text: str) -> list[str]:
    """Return the places of a text that hold a secret, with a little of what is around them."""
    return [text[max(0, found.start() - 60) : found.end() + 20] for found in TRACES.finditer(text)]


FORMS: tuple[Callable[[str], str], ...] = (
    str, lambda s: quote(s, safe=""), quote, quote_plus,
    lambda s: re.sub("%..", lambda found: found[0].lower(), quote(s, safe="")),
    json.dumps, lambda s: json.dumps(s, ensure_ascii=False), repr, ascii, escape, lambda s: s.replace(" ", "   "),
    lambda s: b64encode(s.encode()).decode(), lambda s: b64encode(f"\0me\0{s}".encode()).decode(),
    lambda s: b64encode(f"AC1:{s}:".encode()).decode(),
)  # fmt: skip
"""How others may repeat a secret."""


@pytest.mark.parametrize("form", range(len(FORMS)))
def test_a_secret_is_masked_however_it_is_spelt(form: int) -> None:
    for name in ("KEY", "a-KEY", "ab-KEY"):
        planted = secret(name)
        assert leaks(FORMS[form](planted)), "the search would miss it"
        assert not leaks(masked(f"said: {FORMS[form](planted)} and no more", [planted, secret("OTHER")]))


def test_what_is_innocent_is_left_as_it_is() -> None:
    said = "The server answered 400: pas de chance, code dHJ1, 22 hunters; true is not trueish."
    assert masked(said, [secret("KEY"), "", "abc"]) == said
    assert masked(said, ["true"]) == said.replace("true", "*" * 8)
    assert masked("abcd abc", ["abc"]) == f"abcd {'*' * 8}"


def test_a_secret_that_a_service_repeats_is_masked_before_its_words_are_cut() -> None:
    """The half of a secret at the end of a shortened sentence could not be told from other words any more."""
    planted = secret("KEY")
    for length in range(100, 320, 7):
        words = f"{'x' * length} {planted}"
        smtp = SMTP("mail", 25, sender=None, clock=None, password=planted)  # type: ignore[arg-type]
        twilio = Twilio(None, "", "AC1", planted, "+1")  # type: ignore[arg-type]
        service = Service("it", None, "", {"apikey": planted})  # type: ignore[arg-type]
        said = (smtp._words(words), str(twilio._error(401, {"message": words})), service._reason({"reason": words}))
        assert not leaks(" ".join(said))


# ---- services that refuse everything and repeat what they know


@dataclass
class Parrot:
    """A service that answers everything with one status and repeats the secret that it knows, in all forms by turns."""

    secret: str
    status: int
    forms: int = 4
    url: str = ""
    asked: list[Question] = field(default_factory=list)
    bodies: list[str] = field(default_factory=list)

    def words(self) -> str:
        """Return a few of the forms, so many that the last is cut off somewhere."""
        turn = len(self.asked)
        return " ".join(FORMS[(turn + number) % len(FORMS)](self.secret) for number in range(self.forms))

    def reply(self, question: Question) -> Reply:
        self.asked.append(question)
        self.bodies.append(json.dumps(question.fields) if question.method == "POST" else "")
        said = f"{self.words()} {question.url} {question.headers.get('Authorization')}"
        told = {"error": True, "reason": said, "message": said, "code": 20003, "sid": said, "status": "queued"}
        return Reply(json.dumps(told).encode(), self.status)


def _refused(words: str) -> Any:
    """Return an authenticator that repeats secrets."""
    lines = f"535 5.7.8 no: {words}".encode("ascii", "replace").decode()[:480]
    return lambda *_: AuthResult(success=False, handled=False, message=lines)


@dataclass
class Planted:
    """A world in which every secret setting holds a secret, and what was said in it."""

    world: World
    post: PostOffice
    parrots: list[Parrot]
    said: list[Said] = field(default_factory=list)

    def type(self, *words: str) -> Said:
        told = typed(self.world, *words)
        self.said.append(told)
        return told

    def everything(self) -> Iterator[tuple[str, str]]:
        """Yield whatever was said, written or sent, with a name for it."""
        for told in self.said:
            yield " ".join(told.words), told.all
        for table, rows in self.world.dump().items():
            yield table, repr(rows) + "\n".join(value for row in rows for value in row)
        for path in self.world.directory.rglob("*"):
            if path.is_file() and path.name != "env":
                yield str(path), path.read_bytes().decode("utf-8", "replace")
        for mail in self.post.taken:
            yield f"mail to {mail.recipient}", f"{mail.content['Subject']}\n{mail.text}\n{mail.html}"
        for parrot in self.parrots:
            yield "a message", "\n".join(parrot.bodies)


CRONTAB = """#!/bin/sh
{ env; cat /proc/$$/cmdline; } >> "$HOME/started"
if [ "$1" = -l ]; then cat "$HOME/tab" 2>/dev/null || { echo "no crontab for you" >&2; exit 1; }; fi
if [ "$1" = - ]; then cat > "$HOME/tab"; fi
if [ "$1" = -r ]; then rm "$HOME/tab"; fi
"""


@pytest.fixture
def guarded(pg_world: World) -> Iterator[World]:
    """A database whose server wants the planted password of a role."""
    with pg_world.connect() as connection:
        hba = Path(connection.execute("SHOW hba_file").fetchone()["hba_file"])
        before = hba.read_text()
        hba.write_text(f"local all guarded scram-sha-256\n{before}")
        connection.execute("SELECT pg_reload_conf()")
        password = sql.Literal(secret("DATABASE_URL"))
        connection.execute(sql.SQL("CREATE ROLE guarded LOGIN SUPERUSER PASSWORD {}").format(password))
    yield pg_world
    with pg_world.connect() as connection:
        connection.execute("DROP ROLE guarded")
        hba.write_text(before)
        connection.execute("SELECT pg_reload_conf()")


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """A `crontab` that notes with which words and in which environment it was started."""
    path = tmp_path / "bin" / "crontab"
    path.parent.mkdir()
    path.write_text(CRONTAB)
    path.chmod(0o755)
    return path.parent


STATES = ("well", "refused", "redirected", "unencrypted", "wrong password", "gone")


def url_of(world: World, state: str, password: str) -> str:
    """Return the database's URL with its password, in one of the two places where it may stand."""
    socket = urlsplit(world.url)
    written = quote(password + "!" * (state == "wrong password"), safe="")
    if state == "gone":
        return f"postgresql://guarded@127.0.0.1:9{socket.path}?password={written}"
    if state == "redirected":
        return f"postgresql://guarded@{socket.path}?{socket.query}&password={written}"
    return f"postgresql://guarded:{written}@{socket.path}?{socket.query}"


@pytest.fixture
def planted(request: Any, guarded: World, sky: Sky, program: Path) -> Iterator[Planted]:
    state, world = request.param, guarded
    fill(world, 2)
    world.sql("DELETE FROM kibray_ops_delivery")
    world.employee("Ana Ruiz", phone="+13035550123", user_id=world.user())
    for user in (world.user(), world.user("reader", staff=False)):
        world.notify(user, created_at=real_now() - timedelta(hours=1))
    values = {setting.name: secret(setting.name) for setting in SECRETS}
    values["PING_URL"] = values["PING_URL"].translate(dict.fromkeys(map(ord, "/?#")))  # it is a word of an address
    values["EMAIL_HOST_PASSWORD"] = secret("EMAIL_HOST_PASSWORD", ascii_only=state != "unencrypted")
    status = {"well": 201, "redirected": 302}.get(state, 400)
    login: dict[str, Any] = {"auth_required": True, "auth_require_tls": False}
    with ExitStack() as stack:
        phones = Parrot(values["TWILIO_AUTH_TOKEN"], status)
        weather = Parrot(values["WEATHER_API_KEY"], status, forms=1)  # it is not told the key, and none is cut off
        checks = Parrot(values["PING_URL"], 404 if status == 400 else status)
        for parrot in (phones, weather, checks):
            stack.enter_context(answering(parrot))
        taken = lambda *_: AuthResult(success=True)  # noqa: E731
        words = " ".join(FORMS[number](values["EMAIL_HOST_PASSWORD"]) for number in (0, 1, 12, 11, 7))
        post = stack.enter_context(post_office(authenticator=taken if state == "well" else _refused(words), **login))
        scheme = "https:" if state == "unencrypted" else "http:"
        sms, sky_url, pings = (one.url.replace("http:", scheme) for one in (phones, weather, checks))
        if state == "well":
            sky.key = values["WEATHER_API_KEY"]
            sky.change = lambda place: {**place, "echo": values["WEATHER_API_KEY"]}
        lines = {
            **post.environment, **values,
            "DATABASE_URL": url_of(world, state, values["DATABASE_URL"]),
            "PING_URL": f"{pings}/{quote(values['PING_URL'])}", "TWILIO_BASE_URL": sms,
            "TWILIO_ACCOUNT_SID": "AC1", "TWILIO_FROM": "+13035550100",
            "SMS_TYPES": "all", "QUIET_HOURS": "00:00-00:00", "ALERT_EMAIL": "boss@example.com", "LOG_LEVEL": "debug",
            "EMAIL_HOST_USER": "office@example.com", "EMAIL_USE_TLS": str(state == "unencrypted"), "LOCK_TIMEOUT": "1",
            **({} if state == "well" else {f"{name}_BASE_URL": sky_url for name in ("WEATHER", "GEOCODER", "PLACES")}),
        }  # fmt: skip
        file = world.directory / ".config" / "kibray-ops" / "env"
        file.parent.mkdir(parents=True)
        quoted = {name: value.replace("\\", "\\\\").replace("'", "\\'") for name, value in lines.items()}
        prefix = settings.PREFIX
        file.write_text("".join(f"{prefix}{n.removeprefix(prefix)}='{v}'\n" for n, v in quoted.items()))
        file.chmod(0o600)
        here = World(world.url, world.engine, world.version, world.directory)
        # An empty variable is none: the env file says it all.
        here.environment = {prefix + name.removeprefix(prefix): "" for name in lines} | {
            "PATH": f"{program}:{world.environ['PATH']}", "TZ": "America/Denver",
            **(sky.environment if state == "well" else {}),
        }  # fmt: skip
        here.environment["KIBRAY_OPS_TWILIO_AUTH_TOKEN"] = values["TWILIO_AUTH_TOKEN"]  # as what we start would find it
        yield Planted(here, post, [phones, weather, checks])
        here.hang_up()


OPERATORS = (
    "status", "status --json", "catch-up --verbose", "catch-up --dry-run --json", "doctor --online", "doctor --json",
    "jobs list", "jobs run send-pending-notifications -v", "jobs pause alert-high-priority-touchups",
    "jobs resume alert-high-priority-touchups", "runs list --json", "runs show 1", "runs show 3 --json",
    "runs prune --dry-run", "runs baseline", "schedule list", "schedule next", "crontab generate",
    "crontab install --program {program}", "crontab install --system --file tab --user root --program {program}",
    "crontab diff", "crontab check", "crontab remove", "db init", "db check", "db check --json -v", "db grants ops",
    "config show", "config show --json", "config check", "config check --json", "invoices aging -v",
    "notifications outbox list", "notifications outbox list --json", "notifications archive list", "demo",
    *(f"schedule export --target {target} --output {target}" for target in TARGETS),
)  # fmt: skip
"""What people type, beside the jobs."""
ASKING = {
    "redirected": ("fetch-weather-snapshots", "send-pending-notifications"),
    "unencrypted": ("send-pending-notifications",),  # the weather would be tried three times
}
"""Where only the services matter, the jobs that ask them; `doctor --online` asks them all."""
ALWAYS = ("doctor", "config", "jobs run", "status", "db check", "runs list")
"""What operators type in every state; the rest where the database can be had."""


def test_no_command_is_forgotten() -> None:
    assert {words for words in commands() if not any(" ".join(words) in typed for typed in OPERATORS)} == set()


@pytest.mark.parametrize("planted", STATES, indirect=True, ids=STATES)
def test_no_secret_in_anything_that_is_said_written_sent_or_started(
    planted: Planted, request: pytest.FixtureRequest, program: Path
) -> None:
    state = request.node.callspec.id
    known = settings.load(environ=planted.world.environ).checked()
    assert all(known.raw[setting.name] for setting in SECRETS), "it is not planted"
    codes: dict[str, set[int]] = {}
    for job in ALL:
        words = (*job.command, *WORDS.get(job.name, ()))
        if state in ASKING and job.name not in ASKING[state]:
            continue
        told = [planted.type(*words, "--dry-run", "-v", "--csv", f"{job.name}.csv"), planted.type(*words, "--json")]
        if job.cron and state != "gone":
            told.append(planted.type("--cron", *words, "-v"))
        codes[job.name] = {one.code for one in told}
    (program / "kibray-ops").write_text("#!/bin/sh\n")
    (program / "kibray-ops").chmod(0o755)
    for line in OPERATORS:
        if state == "well" or line.startswith(ALWAYS) or (state == "refused" and line != "demo"):
            planted.type(*line.format(program=program / "kibray-ops").split())
    _require(state, codes, planted)
    searched = dict(planted.everything())
    assert {name: leaks(text) for name, text in searched.items() if leaks(text)} == {}


def _require(state: str, codes: dict[str, set[int]], planted: Planted) -> None:
    """Require that everything went as well, or as wrong, as it should: else nothing was tried."""
    if state in ("wrong password", "gone"):
        assert set.union(*codes.values()) - {0} == {78 if state == "wrong password" else 75}
        return
    phones, weather, checks = planted.parrots
    if state != "unencrypted":
        assert checks.asked, "no ping"
        assert phones.asked, "no SMS"
    if state == "well":
        assert set.union(*codes.values()) <= {0, 3}, codes
        assert planted.post.taken, "no mail"
        assert not weather.asked
        assert (planted.world.directory / "started").read_text(), "no crontab"
    else:
        assert codes["send-pending-notifications"] >= {78}, codes
        assert state == "unencrypted" or codes["fetch-weather-snapshots"] & {1, 3, 75, 78}, codes


# ---- other processes


STARTS = {
    ("host.py", "subprocess.run"): "`crontab`, which gets words of our own and a handful of variables",
    ("celery.py", "subprocess.Popen"): "the program itself, with the words of a job; it needs the settings",
    ("limits.py", "os.execve"): "the undertaker in our own place, with the number of the run; it needs the settings",
}
"""Where a process is started, and what it is given. A new place has to be looked at, and tried below or above."""


def test_every_place_that_starts_a_process_is_known() -> None:
    root = Path(kibray_ops.__file__).parent
    starting = re.compile(
        r"\b(?:subprocess|os)\.(?:run|Popen|call|check_\w+|exec\w+|(?:posix_)?spawn\w*|system|popen)(?=\()"
    )
    found = {(path.name, word) for path in root.rglob("*.py") for word in starting.findall(path.read_text())}
    assert found == set(STARTS)


def test_the_undertaker_is_given_no_secret_that_others_can_see(guarded: World, sky: Sky) -> None:
    """Everybody may read the words of a process; its environment is for its own user."""
    guarded.project("Elm St", address="1110 Washington Ave, Golden, CO 80401")
    sky.geocoder_faults = [Reply(b"{}", delay=20)]
    guarded.environment |= {
        f"{settings.PREFIX}{setting.name}": secret(setting.name) for setting in SECRETS if setting.name != "PING_URL"
    } | {
        "KIBRAY_OPS_DATABASE_URL": url_of(guarded, "well", secret("DATABASE_URL")), "KIBRAY_OPS_LOG_LEVEL": "debug",
        "KIBRAY_OPS_SOFT_TIME_LIMIT": "1", "KIBRAY_OPS_HARD_TIME_LIMIT": "1",
    }  # fmt: skip
    with guarded.command("weather", "fetch-snapshots", "--verbose") as process:
        words: set[str] = set()
        while process.poll() is None:
            with suppress(OSError):
                words.add(Path(f"/proc/{process.pid}/cmdline").read_text())
            time.sleep(0.02)
        out, err = process.communicate()
    assert process.returncode == 124
    assert any("undertaker" in one for one in words)
    assert not leaks("\n".join((*words, out, err, repr(guarded.runs()))))


def test_a_secret_that_stands_in_another_setting_too_is_masked_there(sqlite_world: World) -> None:
    password = secret("EMAIL_HOST_PASSWORD")
    sqlite_world.environment |= {
        "KIBRAY_OPS_EMAIL_HOST_PASSWORD": password, "KIBRAY_OPS_EMAIL_PORT": password,
        "KIBRAY_OPS_WEATHER_BASE_URL": f"https://me:{CORE}@proxy.example.com",
    }  # fmt: skip
    for words in ("config show", "config show --json", "config check", "config check --json", "status", "doctor"):
        told = typed(sqlite_world, *words.split())
        assert "EMAIL_PORT" in told.all
        assert not leaks(told.all)
