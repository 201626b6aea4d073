"""kibray-ops db: set kibray-ops up in a database, compare, grant."""

import sys
from typing import Annotated

import typer

from kibray_ops import errors, settings
from kibray_ops.cli import render
from kibray_ops.clock import Clock, show_the_same

app = typer.Typer(help="Set kibray-ops up in Kibray's database.", no_args_is_help=True)
AsJSON = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


@app.command()
def init(
    standalone: Annotated[
        bool, typer.Option("--standalone", help="Also make Kibray's tables, in an empty database only.")
    ] = False,
    baseline: Annotated[
        str | None,
        typer.Option(
            "--baseline", metavar="MOMENT", help="When kibray-ops goes live; default: now. Nothing before it is due."
        ),
    ] = None,
) -> None:
    """Make or upgrade the kibray_ops_* tables; no table of Kibray's is touched."""
    from kibray_ops import provision
    from kibray_ops.database import Database
    from kibray_ops.models.operations import HEAD
    from kibray_ops.schedule import parse_moment

    found = settings.load().checked()
    clock = Clock(found.zone)
    moment = None if baseline is None else parse_moment(baseline, found.zone, option="--baseline")
    database = Database(found)
    done = provision.init(database, standalone=standalone, baseline=moment, now=clock.now())
    out = render.console()
    where = database.path if database.is_sqlite else found.shown(settings.BY_NAME["DATABASE_URL"])
    if done.kibray_tables_made:
        out.print(f"Made a standalone database: {where}", soft_wrap=True)
    verb = (
        "are up to date"
        if done.revision_before == HEAD
        else "were made"
        if done.revision_before is None
        else "were upgraded"
    )
    out.print(f"The kibray_ops_* tables {verb} (revision {HEAD}) in {where}.", soft_wrap=True)
    live = done.baseline.astimezone(found.zone)
    out.print(f"Baseline: {live:%Y-%m-%d %H:%M %Z}. What was due before it is not made up for.")
    if done.zone is not None:
        out.print(f"The schedule keeps the times of {done.zone}, on every host.")
        if not show_the_same(found.zone, done.zone, clock.now()):
            out.print(f"Here TIMEZONE is {found.zone.key}: set the same, or see `kibray-ops runs baseline --help`.")


@app.command()
def check(as_json: AsJSON = False) -> int:
    """Name every table and column that is missing, and what does not work without it."""
    from kibray_ops import provision
    from kibray_ops.catalog import read_catalog
    from kibray_ops.database import Database, translated

    found = settings.load().checked()
    with translated(), Database(found).connect(read_only=True) as connection:
        catalog = read_catalog(connection)
    gaps = provision.gaps(catalog)
    later = all(catalog.has(table) for table in provision.LATER_TABLES)
    own: errors.KibrayOpsError | None = None
    try:
        catalog.require_own()
    except errors.ConfigurationError as error:
        own = error
    code = errors.ConfigurationError.exit_code if gaps or own else errors.DONE
    if as_json:
        rows = [{"name": gap.name, "commands": list(gap.commands), "note": gap.note} for gap in gaps]
        render.print_json(
            {"schema": 1, "gaps": rows, "revision": catalog.revision, "own_tables": own.message if own else "ok"}
        )
        return code
    out = render.console()
    for gap in gaps:
        out.print(
            f"[red]✗[/] {gap.name} {gap.note or 'is missing'}: {', '.join(gap.commands) or 'nothing'} cannot work"
        )
    if not gaps:
        version = "2026-06 or later" if later else "2025-11"
        out.print(f"[green]✓[/] Kibray's tables have everything that the jobs need (schema {version}).")
    if own:
        out.print(f"[red]✗[/] {own.message} {own.hint}", soft_wrap=True)
    else:
        out.print(f"[green]✓[/] The kibray_ops_* tables are at revision {catalog.revision}.")
    return code


@app.command()
def grants(
    role: Annotated[str, typer.Argument(metavar="ROLE", help="The PostgreSQL role that runs the jobs.")],
) -> None:
    """Print the GRANTs of a role that may do what the jobs do, and no more."""
    from kibray_ops import provision
    from kibray_ops.catalog import read_catalog
    from kibray_ops.database import Database, translated

    found = settings.load().checked()
    catalog = place = None
    database = Database(found)
    if not database.is_sqlite:
        with translated(), database.connect(read_only=True) as connection:
            catalog, place = read_catalog(connection), provision.place_of(connection)
    sys.stdout.write(provision.grants(role, catalog, place))
