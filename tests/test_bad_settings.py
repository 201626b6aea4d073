"""Bad settings: whatever stands in the environment or the env file, two lines a problem, no traceback, no secret."""

import json
import os
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st

from kibray_ops import settings
from kibray_ops.text import fit_to_print, is_plain
from tests import here
from tests.world import World

SECRET = "hunter22-hunter22"
BAD = (
    "\udc80", "a\udcffb", "\x01", "\x1b[31m", "a\nb", "\r\n", "-", "x" * 100_000, "9" * 5_000, "nan", "inf", "-1", "0",
    "1e3", "٣", "²", "1_000", "http://[", "https://[::1", "http://a:99999999", "http://\udc80", "http://a b",
    "https://u:p@h:port", "//", "sqlite:///\udc80", "sqlite:////", "sqlite:///.", "sqlite:///%00", "sqlite:////dev/full",
    "sqlite:///" + "x" * 5_000, "postgresql://h/d?x=\udc80", "postgresql://[::1/d", "postgresql+foo://h/d",
    "postgresql://h/\x01d", "../../etc/passwd", "America/../UTC", "/etc/passwd", "a@b\x00"[:-1], "a@" + "b" * 300,
    "\udc80@b.c", "24:00-01:00", "99:99-1:1", "20:00-\udc80", ",,,", "all,\udc80", "/", "/dev/null", ".", "[/]",
    "[red]", "%s", "{}", "\u202e", "=?x?=",
)  # fmt: skip
"""What somebody may have put there; NUL cannot be in an environment."""
NAMES = tuple(setting.variable for setting in settings.DECLARED)
VIEWS = (("config", "show"), ("config", "show", "--json"), ("config", "check"), ("config", "check", "--json"))
COMMANDS = (*VIEWS, ("doctor", "--json"), ("status",), ("invoices", "update-statuses", "--json"), ("schedule", "list"))
FILES: dict[str, tuple[bytes, int, str]] = {
    "binary": (bytes(range(256)), 78, "it is not UTF-8 text"),
    "UTF-16": ("KIBRAY_OPS_EMAIL_PORT=25\n".encode("utf-16"), 78, "it is not UTF-8 text"),
    "Latin-1": (b'KIBRAY_OPS_EMAIL_FROM="Jos\xe9 <a@b.c>"\n', 78, "it is not UTF-8 text"),
    "lone surrogate": (b"KIBRAY_OPS_EMAIL_HOST=\xed\xa0\x80\n", 78, "it is not UTF-8 text"),
    "10 MB": (b"KIBRAY_OPS_EMAIL_HOST=" + b"x" * 10_000_000, 78, "longer than a MiB"),
    "10 MB of lines": (b"# x\n" * 2_500_000, 78, "longer than a MiB"),
    "NUL": (b"KIBRAY_OPS_EMAIL_HOST=a\0b\n", 78, "EMAIL_HOST ({file}) must be text without control characters"),
    "NUL in a name": (b"KIBRAY_OPS_\0=1\n", 78, "is not a setting"),
    "no line of ours": (f"garbage {SECRET}\n".encode(), 78, "line 1: not of the form NAME=value"),
    "no end": (f'KIBRAY_OPS_EMAIL_HOST_PASSWORD="{SECRET}\n'.encode(), 78, "line 1: not of the form NAME=value"),
    "CRLF": (b"KIBRAY_OPS_EMAIL_HOST=x\r\nKIBRAY_OPS_EMAIL_PORT=26\r\n", 0, ""),
    "byte order mark": (b"\xef\xbb\xbfKIBRAY_OPS_EMAIL_HOST=x\nKIBRAY_OPS_EMAIL_PORT=26\n", 0, ""),
    "export": (b"export KIBRAY_OPS_EMAIL_HOST=x\nexport KIBRAY_OPS_EMAIL_PORT=26\n", 0, ""),
    "twice": (b"KIBRAY_OPS_EMAIL_HOST=x\nKIBRAY_OPS_EMAIL_PORT=25\nKIBRAY_OPS_EMAIL_PORT=26\n", 0, ""),
}


def load(**environ: str) -> settings.Settings:
    return settings.load(environ={"HOME": "/nonexistent", "TZ": "America/Denver", **environ})


def run(world: World, *words: str, **environ: str) -> CompletedProcess[str]:
    """Run a command, and see that it ends as documented, in words that a person and a terminal can take."""
    done = here.run(words, {**world.environ, **environ}, world.directory)
    said = done.stdout + done.stderr
    assert done.returncode in (0, 1, 3, 75, 78), said
    assert "Traceback" not in said
    assert "that it does not know" not in said, said[:1000]
    assert SECRET not in said
    assert len(said) < 400_000
    if "--json" in words:
        assert isinstance(json.loads(done.stdout), dict)
    elif done.returncode == 78:
        problems = [line for line in done.stderr.splitlines() if line.startswith("  - ")]
        assert len(done.stderr.splitlines()) == 2 + len(problems)
        assert is_plain(done.stderr.replace("\n", ""))
    return done


def test_whatever_a_setting_says_it_is_read_or_refused(long: bool) -> None:
    """Every problem names the variable and none repeats a secret, however it came."""
    text = st.text(st.characters(exclude_characters="\0"), max_size=60) | st.sampled_from(BAD)
    text |= st.integers().map(str) | st.floats().map(str)
    environs = st.dictionaries(st.sampled_from(NAMES), text, min_size=1, max_size=6)

    @examples(max_examples=5_000 if long else 150, derandomize=True, database=None, deadline=None,
              suppress_health_check=[HealthCheck.too_slow])  # fmt: skip
    @given(environs)
    def check(environ: dict[str, str]) -> None:
        environ.pop("KIBRAY_OPS_ENV_FILE", None)
        open_ones = [text for name, text in environ.items() if not settings.BY_NAME[name[len("KIBRAY_OPS_") :]].secret]
        found = load(**environ)
        assert all(problem.startswith("KIBRAY_OPS_") for problem in found.problems), found.problems
        for setting in settings.DECLARED:
            value = environ.get(setting.variable, "").strip()
            told = [problem for problem in found.problems if problem.startswith(f"{setting.variable} (environment)")]
            assert not (told and found[setting.name] is not None)
            assert len(told) <= 1
            if setting.secret and len(value) >= 8 and value not in map(str.strip, open_ones):
                assert not any(value in problem for problem in found.problems)
        if not found.problems:
            assert found.zone.key
            assert found.database_url
            assert found.redact("nothing") is not None

    check()


@pytest.mark.parametrize("value", ["a\udcff", "a\x1bb", "a\nb"], ids=ascii)
def test_control_characters_and_lone_surrogates_are_no_value_of_any_setting(value: str) -> None:
    """One would end in the middle of a mail header, a URL or a statement of the database."""
    names = set(NAMES) - {"KIBRAY_OPS_ENV_FILE"}
    found = load(**dict.fromkeys(names, value)).problems
    refused = "(environment) must be text without control characters"
    assert {problem.split()[0] for problem in found if refused in problem} == names


def test_all_bad_settings_are_told_together_and_shortly() -> None:
    environ = {name: "\x01" + "x" * 1_000_000 for name in NAMES if name != "KIBRAY_OPS_ENV_FILE"}
    found = load(**environ, **{"KIBRAY_OPS_" + "y" * 1_000_000: "1"})
    assert len(found.problems) == len(NAMES)
    assert max(map(len, found.problems)) < 300


@pytest.mark.parametrize("kind", FILES)
def test_whatever_stands_in_the_env_file(sqlite_world: World, kind: str) -> None:
    content, code, words = FILES[kind]
    file = sqlite_world.directory / "env"
    file.write_bytes(content)
    for view in VIEWS:
        done = run(sqlite_world, *view, KIBRAY_OPS_ENV_FILE=str(file))
        assert done.returncode == (code if view[1] == "check" else 0)
    assert words.format(file=file) in run(sqlite_world, "config", "check", KIBRAY_OPS_ENV_FILE=str(file)).stderr
    if not code:
        shown = json.loads(run(sqlite_world, "config", "show", "--json", KIBRAY_OPS_ENV_FILE=str(file)).stdout)
        values: dict[str, Any] = {row["name"]: row["value"] for row in shown["settings"]}
        assert (values["KIBRAY_OPS_EMAIL_HOST"], values["KIBRAY_OPS_EMAIL_PORT"]) == ("x", "26")


@pytest.mark.parametrize(
    "place", [".", "/dev/zero", "/proc/self/mem", "x" * 300, "/nonexistent/\udc80", "a\nb\x1b[31m"]
)
def test_an_env_file_that_is_no_file(sqlite_world: World, place: str) -> None:
    for words in COMMANDS:
        done = run(sqlite_world, *words, KIBRAY_OPS_ENV_FILE=place)
        assert done.returncode == (0 if words[1:2] == ("show",) else {"doctor": 1}.get(words[0], 78))


def test_a_directory_for_mail_whose_name_is_too_long_is_named(sqlite_world: World) -> None:
    assert "File name too long" in run(sqlite_world, "doctor", KIBRAY_OPS_EMAIL_DIR="x" * 5_000).stdout


def test_a_mark_is_no_secret(sqlite_world: World) -> None:
    done = run(sqlite_world, "config", "check", KIBRAY_OPS_PING_URL="-")
    assert done.stderr.splitlines()[1].startswith("  - KIBRAY_OPS_PING_URL")


def test_a_database_whose_name_no_file_can_have_is_not_there(sqlite_world: World) -> None:
    url = "sqlite:///" + "x" * 5_000
    for words, code in ((("status",), 78), (("invoices", "update-statuses"), 78), (("doctor",), 1)):
        done = run(sqlite_world, *words, KIBRAY_OPS_DATABASE_URL=url)
        assert done.returncode == code


def test_an_env_file_that_may_not_be_read(tmp_path: Path) -> None:
    file = tmp_path / "env"
    file.write_text("KIBRAY_OPS_EMAIL_PORT=25\n")
    file.chmod(0)
    found = load(KIBRAY_OPS_ENV_FILE=str(file))
    assert bool(found.problems) == (os.geteuid() != 0)  # root may read everything


def test_a_path_may_look_like_markup(sqlite_world: World) -> None:
    file = sqlite_world.directory / "[" / "red]"
    file.parent.mkdir()
    file.write_text("KIBRAY_OPS_EMAIL_PORT=26\n")
    file.chmod(0o644)
    for words in (("config", "show"), ("config", "check"), ("doctor",)):
        assert "[/red]" in run(sqlite_world, *words, KIBRAY_OPS_ENV_FILE=str(file), COLUMNS="400").stdout


def test_every_command_that_reads_settings_takes_bad_ones(sqlite_world: World, long: bool) -> None:
    every = [(name, value, words) for name in NAMES for value in BAD for words in COMMANDS]
    for name, value, words in every if long else every[:: len(every) // 100]:
        run(sqlite_world, *words, **{"KIBRAY_OPS_EMAIL_HOST_PASSWORD": SECRET, name: value})


def test_what_a_terminal_is_told_is_short_and_obeys_nobody() -> None:
    assert fit_to_print("a\x1b[31mb\nc\udc80") == "a [31mb\nc "
    assert fit_to_print("x" * 3_000 + "\ny") == "x" * 2_000 + "…\ny"
