"""kibray-ops status: did it run, when next, is it late, and why."""

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from kibray_ops import errors, settings
from kibray_ops.cli import render
from kibray_ops.clock import Clock

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from kibray_ops.standing import Standing

HALF_A_YEAR = timedelta(days=180)
BARS = "▁▂▃▄▅▆▇█"
ROOMY = 100
"""Columns from which weekdays and durations are shown."""


def status(as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False) -> int:
    """Show how every job stands; exit 1 when one is late."""
    from kibray_ops import catchup, standing

    found = settings.load().checked()
    clock = Clock(found.zone)
    standings = catchup.read(found, clock)
    late = [one.job.name for one in standings if one.is_late]
    if as_json:
        rows = [standing.as_dict(one, clock, found.redact) for one in standings]
        about = {"schema": 1, "at": clock.local(clock.now()), "zone": clock.zone.key, "late": late}
        render.print_json({**about, "jobs": rows})
    else:
        _show(standings, clock, found)
    return errors.FAILED if late else errors.DONE


def _show(standings: "Sequence[Standing]", clock: Clock, found: settings.Settings) -> None:
    from rich.markup import escape

    out = render.console()
    out.print(f"[bold]{clock.local(clock.now()):%A %Y-%m-%d %H:%M}[/], {clock.zone.key}\n")
    is_roomy = out.width >= ROOMY
    written = _Moments(clock, "%a %m-%d %H:%M" if is_roomy else "%m-%d %H:%M")
    more = ("Took", "Recent") if is_roomy else ()
    table = render.table("Job", "Last success", "Last result", *more, "Next run", right=("Took",), yields="Last result")
    for one in standings:
        spent = (_took(one), sparkline(one.durations)) if is_roomy else ()
        table.add_row(one.job.name, _last_success(one, written), _result(one, written), *spent, _next(one, written))
    out.print(table)
    late = [one for one in standings if one.is_late]
    for one in late:
        why = escape(found.redact(f"{one.why_late(clock)}."))
        out.print(f"\n[red]✗ late[/] [bold]{one.job.name}[/]: {why}", soft_wrap=True)
        out.print(f"  [dim]→ {escape(one.hint(clock))}[/]", soft_wrap=True)
    if not late:
        out.print("\nNothing is late.")
    if live := standings[0].waits_until:
        out.print(f"Before the baseline, {clock.local(live):%Y-%m-%d %H:%M}, no job runs by itself.")


@dataclass(frozen=True)
class _Moments:
    """How moments are written: in the business zone, as short as the terminal wants it."""

    clock: Clock
    form: str

    def __call__(self, moment: "datetime") -> str:
        local = self.clock.local(moment)
        is_near = local.year == self.clock.local(self.clock.now()).year or abs(moment - self.clock.now()) < HALF_A_YEAR
        return f"{local:{self.form}}" if is_near else f"{local:%Y-%m-%d}"


def sparkline(values: "Sequence[float]") -> str:
    """Return a bar for each value, the highest for the largest."""
    largest = max(values, default=0) or 1
    # A clock that was put back makes a run end before it began.
    return "".join(BARS[min(int(max(value, 0) / largest * len(BARS)), len(BARS) - 1)] for value in values)


def _last_success(one: "Standing", written: _Moments) -> str:
    return "[dim]never[/]" if one.last_success is None else written(one.last_success["started_at"])


def _result(one: "Standing", written: _Moments) -> str:
    if one.pause is not None:
        short = _Moments(written.clock, "%m-%d %H:%M")
        return f"[yellow]paused[/]{f' until {short(one.pause.until)}' if one.pause.until else ''}"
    if one.running is not None:
        return f"[cyan]running[/] since {written.clock.local(one.running['started_at']):%H:%M}"
    last = one.last
    if last is None:
        return "[red]late[/]" if one.is_late else "[dim]none[/]"
    words = f"[{render.STYLES.get(last['status'], 'red')}]{last['status'].replace('_', ' ')}[/]"
    if one.is_late:
        words = f"[red]late[/], {words}"
    for severity in ("failure", "warning"):
        if count := sum(problem["severity"] == severity for problem in last["problems"]):
            words += f", {render.counted(count, severity)}"
    return words


def _took(one: "Standing") -> str:
    from kibray_ops import history

    return render.took(history.duration(one.last)) if one.last is not None else ""


def _next(one: "Standing", written: _Moments) -> str:
    is_open = one.pause is not None and one.pause.until is None
    return "[dim]when resumed[/]" if is_open else written(one.next.moment)
