"""schedule export: what it refuses, what it writes, and what it says to type next."""

import os
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest

from kibray_ops import __version__, exports
from kibray_ops.cli.app import main
from kibray_ops.errors import ConfigurationError
from tests.test_exports import value

Told = Callable[[str], tuple[int, str, str]]


@pytest.fixture
def told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Told:
    """Run the command, and return its exit code and what it told."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("KIBRAY_OPS_TIMEZONE", "America/Denver")
    monkeypatch.setenv("KIBRAY_OPS_DATABASE_URL", "postgresql://kibray:hunter22@db/kibray")

    def run(words: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main(["schedule", "export", *shlex.split(words)])
        streams = capsys.readouterr()
        assert isinstance(ended.value.code, int)
        return ended.value.code, streams.out, streams.err

    return run


def test_the_command_writes_and_says_what_to_do_next(
    told: Told, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = tmp_path / "two words"
    words = "--target systemd --output 'two words' --user kibray --program '/opt/Kibray Ops/kibray-ops'"
    code, out, err = told(words)
    assert (code, err) == (0, "")
    assert out.startswith(f"23 files for systemd in {directory}, by the times of America/Denver. Then:\n")
    assert "  # set in this shell only, and the jobs will need it too: KIBRAY_OPS_DATABASE_URL\n" in out
    names = " ".join(
        f"'{directory}'/{name}" for name in ("kibray-ops*.service", "kibray-ops*.timer", "kibray-ops.target")
    )
    assert out.splitlines()[-5:] == [
        "  # the jobs read /etc/kibray-ops/env, which kibray owns, mode 600",
        f"  sudo install -m 644 {names} /etc/systemd/system/",
        "  sudo systemctl daemon-reload",
        "  sudo systemctl enable --now kibray-ops.target",
        "  systemctl list-timers 'kibray-ops-*'",
    ]
    assert len(list(directory.iterdir())) == 23
    service = (directory / "kibray-ops-catch-up.service").read_text()
    assert value(service, "ExecStart") == '"/opt/Kibray Ops/kibray-ops" --env-file /etc/kibray-ops/env --cron catch-up'

    monkeypatch.setenv("KIBRAY_OPS_TIMEZONE", "US/Pacific")
    assert told(words)[0] == 0
    assert "America/Denver" not in "".join(path.read_text() for path in directory.iterdir())


def test_the_settings_that_were_found_are_named(told: Told, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    env_file = tmp_path / ".config" / "kibray-ops" / "env"
    env_file.parent.mkdir(parents=True)
    env_file.write_text("KIBRAY_OPS_PAYROLL_STATUS=draft\n")
    monkeypatch.delenv("XDG_CONFIG_HOME")
    for target, name in (("celery", "Procfile"), ("systemd", "kibray-ops-catch-up.service")):
        program = "--program /k --user kibray" if target == "systemd" else ""
        assert told(f"--target {target} --output . {program}")[0] == 0
        text = (tmp_path / name).read_text()
        assert str(env_file) in text
        assert "KIBRAY_OPS_TIMEZONE=America/Denver" in text  # the file does not have it
    env_file.write_text("KIBRAY_OPS_TIMEZONE=US/Pacific\n")
    monkeypatch.delenv("KIBRAY_OPS_TIMEZONE")
    assert "by the times of US/Pacific" in told("--target systemd --output . --program /k --user kibray")[1]
    assert "TIMEZONE" not in (tmp_path / "kibray-ops-catch-up.service").read_text()  # the file rules
    assert told("--target kubernetes --output .")[0] == 0
    assert f"--from-file=env={env_file}" in (tmp_path / "cronjobs.yaml").read_text()


@pytest.mark.parametrize(("target", "is_warned"), [("kubernetes", True), ("render", True), ("systemd", False)])
def test_no_pod_has_the_file_of_a_database(
    told: Told, monkeypatch: pytest.MonkeyPatch, target: str, is_warned: bool
) -> None:
    monkeypatch.setenv("KIBRAY_OPS_DATABASE_URL", "sqlite:////srv/kibray.sqlite3")
    program = "--program /k --user kibray" if target == "systemd" else ""
    code, out, _ = told(f"--target {target} --output x {program}")
    assert (code, "has to be a PostgreSQL server" in out) == (0, is_warned)


@pytest.mark.parametrize(
    ("target", "here", "code"),
    [
        ("render", "Etc/UTC", 78),
        ("render", "Europe/Berlin", 78),
        ("celery", "Etc/UTC", 78),
        ("celery", "US/Mountain", 0),
    ],
)
def test_the_zone_of_a_machine_decides_for_that_machine_only(
    told: Told, monkeypatch: pytest.MonkeyPatch, target: str, here: str, code: int
) -> None:
    monkeypatch.delenv("KIBRAY_OPS_TIMEZONE")
    monkeypatch.setenv("KIBRAY_OPS_DATABASE_URL", "sqlite:////srv/kibray.sqlite3")
    monkeypatch.setenv("TZ", here)
    ended, _, err = told(f"--target {target} --output x")
    assert (ended, "Set KIBRAY_OPS_TIMEZONE" in err) == (code, code != 0)


@pytest.mark.skipif(os.getuid() != 0, reason="only root would run them as root")
def test_root_is_not_taken_for_granted(told: Told) -> None:
    assert "Name who is to run them" in told("--target systemd --output x --program /k")[2]
    assert told("--target systemd --output x --program /k --user root")[0] == 0


def test_the_steps_of_a_cluster(told: Told, tmp_path: Path) -> None:
    code, out, _ = told("--target kubernetes --output deep/down --image registry.example.com/k:1")
    directory = tmp_path / "deep" / "down"
    assert (code, out.splitlines()[-5:]) == (
        0,
        [
            "  # where pyproject.toml is:",
            f"  docker build --file {directory}/Dockerfile --tag registry.example.com/k:1 .",
            "  docker push registry.example.com/k:1",
            "  kubectl create secret generic kibray-ops --from-file=env=/etc/kibray-ops/env"
            " --dry-run=client --output=yaml | kubectl apply --filename=-",
            f"  kubectl apply --filename {directory}/cronjobs.yaml",
        ],
    )
    assert 'image: "registry.example.com/k:1"' in (directory / "cronjobs.yaml").read_text()
    _, out, _ = told("--target kubernetes --output deep/down")
    assert "docker push" not in out
    assert f'image: "kibray-ops:{__version__}"' in (directory / "cronjobs.yaml").read_text()


def test_the_env_file_that_the_units_will_read_decides(
    told: Told, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody has to name /etc/kibray-ops/env; here it stands elsewhere."""
    expected = tmp_path / "env"
    expected.write_text(
        "KIBRAY_OPS_DATABASE_URL=sqlite:////srv/office.sqlite3\nKIBRAY_OPS_TIMEZONE=US/Pacific\nKIBRAY_OPS_HARD_TIME_LIMIT=3000\n"
    )
    monkeypatch.setattr(exports, "ENV_FILE", str(expected))
    for name in ("KIBRAY_OPS_DATABASE_URL", "KIBRAY_OPS_TIMEZONE"):
        monkeypatch.delenv(name)
    assert "by the times of US/Pacific" in told("--target systemd --output . --program /k --user kibray")[1]
    service = (tmp_path / "kibray-ops-check-overdue-invoices.service").read_text()
    assert value(service, "ReadWritePaths") == "-/srv"
    assert value(service, "TimeoutStartSec") == "3300"


def test_a_relative_env_file_is_named_as_a_whole(told: Told, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "env").write_text("KIBRAY_OPS_TIMEZONE=America/Denver\n")
    monkeypatch.setenv("KIBRAY_OPS_ENV_FILE", "env")
    assert told("--target systemd --output . --program /k --user kibray")[0] == 0
    service = (tmp_path / "kibray-ops-catch-up.service").read_text()
    assert value(service, "ExecStart") == f"/k --env-file {tmp_path}/env --cron catch-up"
    monkeypatch.delenv("KIBRAY_OPS_TIMEZONE")
    assert told("--target systemd --output . --program /k --user kibray")[0] == 0
    assert "TIMEZONE" not in (tmp_path / "kibray-ops-catch-up.service").read_text()  # the file has it


def test_what_a_path_and_an_image_may_hold(told: Told, tmp_path: Path) -> None:
    """Braces and brackets mean something to what formats and prints."""
    code, out, err = told("--target celery --output '{nv}[/b][red]x'")
    assert (code, err) == (0, "")
    assert f"in {tmp_path}/{{nv}}[/b][red]x, by" in out
    assert f"--procfile '{tmp_path}/{{nv}}[/b][red]x'/Procfile" in out


def test_files_are_replaced_all_or_none(told: Told, tmp_path: Path) -> None:
    """Of two files one cannot be made anew: the other stays as it was."""
    assert told("--target kubernetes --output .")[0] == 0
    before = (tmp_path / "cronjobs.yaml").read_text()
    nowhere = "missing/job.yaml"
    with pytest.raises(ConfigurationError, match="cannot be written"):
        exports.write(exports.Export({"cronjobs.yaml": exports.MARK, nowhere: exports.MARK}, ()), tmp_path)
    assert (tmp_path / "cronjobs.yaml").read_text() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["Dockerfile", "cronjobs.yaml"]


@pytest.mark.parametrize("kind", ["link", "pipe", "directory"])
def test_what_is_no_file_is_not_written(told: Told, tmp_path: Path, kind: str) -> None:
    path = tmp_path / "Procfile"
    if kind == "link":
        path.symlink_to(tmp_path / "nowhere")
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.mkdir()
    assert "was not made by kibray-ops" in told("--target celery --output .")[2]
    assert not (tmp_path / "nowhere").exists()


def test_the_command_replaces_no_file_of_others(told: Told, tmp_path: Path) -> None:
    theirs = tmp_path / "Dockerfile"
    theirs.write_text("# mine\n")
    assert told("--target kubernetes --output .") == (
        78,
        "",
        f"kibray-ops: {theirs} exists, and was not made by kibray-ops.\n"
        "  Nothing was written. Name another directory with --output.\n",
    )
    assert theirs.read_text() == "# mine\n"
    assert not (tmp_path / "cronjobs.yaml").exists()


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ("--target windows --output x", 2, "There is no target 'windows'."),
        ("--target render --output x --user ana", 2, "--user means nothing to render."),
        ("--target celery --output x --user ana", 2, "--user means nothing to celery."),
        ("--target kubernetes --output x --program /k", 2, "--program means nothing to kubernetes."),
        ("--target systemd --output x --image i", 2, "--image means nothing to systemd."),
        ("--target systemd --output x --program k --user ana", 78, "needs the absolute path"),
        ("--target systemd --output x --program /k --user 'a b'", 78, "no user's name"),
        ("--target render --output taken/x", 78, "cannot be written: Not a directory."),
        ("--target render", 2, "Missing option '--output'."),
        ("--target render --output ''", 2, "names no directory"),
        ("--target systemd --output x --program /k --user ana", 78, "embedded database"),
        ("--target systemd --output x --program /k", 78, "EMAIL_DIR"),
        ("--target systemd --output x --program /k", 78, "Write the whole path"),
    ],
)
def test_wrong_words(
    told: Told, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: str, code: int, said: str
) -> None:
    if "whole path" in said:
        monkeypatch.setenv("KIBRAY_OPS_DATABASE_URL", "sqlite:///kibray.sqlite3")
    elif "embedded" in said:
        monkeypatch.delenv("KIBRAY_OPS_DATABASE_URL")
    elif "EMAIL_DIR" in said:
        monkeypatch.setenv("KIBRAY_OPS_EMAIL_BACKEND", "file")
        monkeypatch.setenv("KIBRAY_OPS_EMAIL_DIR", "mails")
    (tmp_path / "taken").touch()
    ended, out, err = told(words)
    assert (ended, out) == (code, "")
    assert said in err
    assert len(err.splitlines()) == 2
    assert not (tmp_path / "x").exists()
