"""A timer and a service for every job: systemd.timer(5), systemd.exec(5), systemd.time(7).

A timer leaves out a time that the clocks jump over (systemd issue 5595), so such a job has an hour more; where that is
left out too, as in Dublin, catch-up makes up for it. What a machine that was off has missed is started once when it is
back (`Persistent=`), and the slot decides whether it is worth it.
"""

import re
from dataclasses import replace
from datetime import timedelta
from itertools import groupby
from operator import attrgetter
from pathlib import Path

from kibray_ops.errors import ConfigurationError
from kibray_ops.exports import MARK, NAME, Export, Plan, Start
from kibray_ops.registry import CATCH_UP_NAME
from kibray_ops.schedule import DAYS
from kibray_ops.settings import Settings

PATIENCE = timedelta(minutes=5)
"""What a run is given beyond its own hard limit, before systemd ends it."""

SERVICE = """\
{mark}
[Unit]
Description=kibray-ops: {summary}
Wants=network-online.target
After=network-online.target postgresql.service

[Service]
Type=oneshot
User={user}
{environment}ExecStart={command}
TimeoutStartSec={limit}
UMask=0077
NoNewPrivileges=yes
CapabilityBoundingSet=
ProtectSystem=strict
ProtectHome=read-only
{writable}PrivateTmp=yes
PrivateDevices=yes
ProtectClock=yes
ProtectControlGroups=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectProc=invisible
LockPersonality=yes
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
"""
TIMER = """\
{mark}
[Unit]
Description=kibray-ops: when {name} is due
PartOf={all}.target

[Timer]
{calendar}
AccuracySec=1s
Persistent={persistent}
"""
TARGET = """\
{mark}
[Unit]
Description=kibray-ops: all timers
Wants={timers}

[Install]
WantedBy=timers.target
"""


def export(plan: Plan) -> Export:
    """Return a service and a timer for every job, and a target that starts and stops all timers."""
    plan = replace(plan, program=replace(plan.program, env_file=plan.env_file))
    files = {}
    for _, same in groupby(plan.starts(), key=attrgetter("words")):
        starts = list(same)
        unit = f"{NAME}-{starts[0].name}"
        files[f"{unit}.service"] = _service(plan, starts[0])
        files[f"{unit}.timer"] = _timer(starts)
    timers = " ".join(name for name in files if name.endswith(".timer"))
    files[f"{NAME}.target"] = TARGET.format(mark=MARK, timers=timers)
    steps = (
        f"# the jobs read {plan.env_file}, which {plan.program.user} owns, mode 600",
        f"sudo install -m 644 {{directory}}/{NAME}*.service {{directory}}/{NAME}*.timer {{directory}}/{NAME}.target"
        " /etc/systemd/system/",
        "sudo systemctl daemon-reload",
        f"sudo systemctl enable --now {NAME}.target",
        f"systemctl list-timers '{NAME}-*'",
    )
    return Export(files, steps)


def calendar(start: Start) -> str:
    """Return when something starts, as OnCalendar= has it."""
    minute, hour, _, _, weekday = start.times.split()
    day = "" if weekday == "*" else f"{DAYS[int(weekday)][:3]} "
    return f"{day}*-*-* {_two_digits(hour)}:{_two_digits(minute)}:00 {start.zone}"


def _two_digits(numbers: str) -> str:
    return ",".join(number.rjust(2, "0") if number.isdigit() else number for number in numbers.split(","))


def _timer(starts: list[Start]) -> str:
    name = starts[0].name
    return TIMER.format(
        mark=MARK,
        name=name,
        all=NAME,
        calendar="\n".join(f"OnCalendar={calendar(start)}" for start in starts),
        # catch-up looks for what was missed whenever it runs.
        persistent="no" if name == CATCH_UP_NAME else "yes",
    )


def _service(plan: Plan, start: Start) -> str:
    return SERVICE.format(
        mark=MARK,
        summary=start.summary,
        user=plan.program.user,
        environment="".join(f"Environment={name}={value}\n" for name, value in plan.pinned.items()),
        command=_command(*plan.program.command(*start.words)),
        limit=int((start.limit + PATIENCE).total_seconds()),
        writable="".join(f"ReadWritePaths=-{_quoted(str(path))}\n" for path in _writable(plan.settings)),
    )


def _writable(settings: Settings) -> list[Path]:
    """Return the directories in which jobs write: of a SQLite database, and of mail that goes into files."""
    found = []
    if (file := settings.sqlite_file) is not None:
        found += [file.parent, file.resolve().parent]  # locks lie beside a link, the journal beside the file
    if settings["EMAIL_BACKEND"] == "file" and settings["EMAIL_DIR"]:
        found.append(Path(settings["EMAIL_DIR"]))
    return list(dict.fromkeys(found))


def _command(program: str, *words: str) -> str:
    """Return a command line: systemd.service(5). The program stands for itself, in words a $ begins a variable."""
    if re.search(r"""["'\\]""", program):
        raise _unfit(program, "a quotation mark or a backslash")
    return " ".join((_quoted(program), *(_quoted(word).replace("$", "$$") for word in words)))


def _quoted(word: str) -> str:
    """Return a word as a line of a unit has it: systemd.syntax(7), and for % systemd.unit(5)."""
    if not word.isprintable():
        raise _unfit(word, "a control character")
    escaped = word.replace("%", "%%")
    if re.fullmatch(r"[\w@%+=:,./$-]+", escaped):
        return escaped
    escaped = escaped.replace("\\", r"\\").replace('"', r"\"")
    return f'"{escaped}"'


def _unfit(word: str, what: str) -> ConfigurationError:
    return ConfigurationError(
        f"No unit can say {word!r}: there is {what} in it.",
        hint="Install kibray-ops, or put the env file, where the path has plain letters only.",
    )
