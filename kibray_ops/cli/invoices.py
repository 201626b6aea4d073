"""kibray-ops invoices aging: the receivables' report."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kibray_ops import settings
from kibray_ops.cli import render
from kibray_ops.cli.sheet import prepare
from kibray_ops.clock import Clock
from kibray_ops.errors import KibrayOpsError, UsageError

if TYPE_CHECKING:
    from kibray_ops.reports.invoices_ageing import Ageing

BY = ("project", "client", "invoice")
"""What `reports/invoices_ageing.py` can group by; it is not imported for a --help."""


def aging(
    by: Annotated[
        str, typer.Option("--by", metavar="GROUP", help="A line for each project, client or invoice.")
    ] = "project",
    as_of: Annotated[
        str | None, typer.Option("--as-of", metavar="DATE", help="Count the days to this date; balances are today's.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    csv: Annotated[
        Path | None, typer.Option("--csv", metavar="FILE", help="Write the report's lines to a CSV file, - for stdout.")
    ] = None,
) -> None:
    """Show who owes what for how long, the most urgent first.

    Current is what is due today, later, or at no date. Retention and credit stand beside and are not subtracted.
    """
    if by not in BY:
        raise UsageError(f"--by {by!r} is no group.", hint=f"Write {', '.join(BY)}.")
    found = settings.load().checked()
    sheet = prepare(csv, as_json=as_json, database=found.sqlite_file)
    told = read(found, by=by, as_of=as_of)
    if sheet is not None:
        from kibray_ops.cli.views.invoices_ageing import csv_columns, lines

        try:
            sheet.write(csv_columns(told), lines(told))
        except BrokenPipeError:
            raise
        except OSError as error:
            raise KibrayOpsError(f"The CSV file: {error.strerror}.", hint="Name another file.") from error
    if as_json:
        report = {"schema": 1, "report": "invoices-aging", "as_of": told.as_of, "by": told.by, "balances": "present"}
        problems = render.as_dicts(told.problems, found)
        render.print_json({**report, "result": told.result, "rows": told.rows, "problems": problems})
    elif sheet is None or not sheet.is_stdout:
        from kibray_ops.cli.views.invoices_ageing import show

        show(told, render.console(), is_dated=as_of is not None)


def read(found: settings.Settings, *, by: str = "project", as_of: str | None = None) -> "Ageing":
    """Return the report as the database has it now."""
    from kibray_ops.catalog import read_catalog
    from kibray_ops.database import Database
    from kibray_ops.legible import reading
    from kibray_ops.registry import AGEING
    from kibray_ops.reports.invoices_ageing import ageing
    from kibray_ops.schedule import parse_as_of

    clock = Clock(found.zone)
    if as_of is not None:
        clock = clock.at(parse_as_of(as_of, None, found.zone))
    with reading(Database(found), AGEING) as connection:
        catalog = read_catalog(connection, own=False)
        catalog.require(AGEING)
        return ageing(connection, catalog, clock.today(), by=by)
