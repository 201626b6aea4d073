"""kibray-ops config: every setting, its value and where it came from."""

from typing import Annotated

import typer

from kibray_ops import settings
from kibray_ops.cli import render
from kibray_ops.text import fit_to_print

app = typer.Typer(help="The settings and where they come from.", no_args_is_help=True)
AsJSON = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


@app.command()
def show(as_json: AsJSON = False) -> None:
    """Show every setting, its value (secrets masked) and where it came from."""
    found = settings.load()
    if as_json:
        rows = [
            {"name": s.variable, "value": found.shown(s), "source": found.sources[s.name]} for s in settings.DECLARED
        ]
        render.print_json({"schema": 1, "settings": rows, "problems": [found.redact(said) for said in found.problems]})
        return
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("Setting", no_wrap=True)
    table.add_column("Value", overflow="fold")
    table.add_column("From", overflow="fold")
    for setting in settings.DECLARED:
        if "TIME_LIMIT_" in setting.name and not found.raw[setting.name]:
            continue
        source = found.sources[setting.name]
        style = "dim" if source == "default" else ""
        table.add_row(
            setting.variable, escape(fit_to_print(found.shown(setting))), escape(fit_to_print(source)), style=style
        )
    out = render.console()
    out.print(table)
    if found.is_embedded and not found.problems:
        out.print(f"No DATABASE_URL is set: the embedded database is {settings.embedded_database()}.")
    for problem in (*found.problems, *found.warnings):
        out.print(f"[yellow]![/] {escape(fit_to_print(found.redact(problem)))}")


@app.command()
def check(as_json: AsJSON = False) -> None:
    """Check every setting and name all problems at once."""
    found = settings.load()
    found.checked()
    if as_json:
        render.print_json({"schema": 1, "problems": [], "warnings": list(found.warnings)})
        return
    from rich.markup import escape

    out = render.console()
    for warning in found.warnings:
        out.print(f"[yellow]![/] {escape(fit_to_print(warning))}", soft_wrap=True)
    out.print(f"The settings are right. Business time zone: {found.zone.key}.")
