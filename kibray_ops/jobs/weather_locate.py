"""kibray-ops weather locate: set by hand where a project is."""

import re
from decimal import Decimal
from typing import Annotated, Any

import typer
from sqlalchemy import delete, select

from kibray_ops import places
from kibray_ops.catalog import some
from kibray_ops.errors import UsageError
from kibray_ops.job import WARNING, Outcome, Problem, Run
from kibray_ops.places import PLACES, Site
from kibray_ops.projects import PROJECTS
from kibray_ops.weather.place import MANUAL, Match, Point, is_american, point


def locate(
    run: Run,
    project: Annotated[str, typer.Argument(metavar="PROJECT", help="The project's number, or its name.")],
    latitude: Annotated[str | None, typer.Argument(metavar="LAT", help="Degrees north, as 39.7392.")] = None,
    longitude: Annotated[str | None, typer.Argument(metavar="LON", help="Degrees east, as -104.9903.")] = None,
    forget: Annotated[bool, typer.Option("--forget", help="Let the next run find the place by the address.")] = False,
) -> Outcome:
    """Set by hand where a project is, for its weather.

    The place holds until the project's address changes; then its new address is asked for.

    Raises UsageError when there is no such project, or no such point on the earth.
    """
    where = None if forget else _point(latitude, longitude)
    if forget and (latitude or longitude):
        raise UsageError("--forget takes no coordinates.", hint="Give either LAT and LON, or --forget.")
    site = _site(run, project)
    before = places.remembered(run, [site]).get(site.project_id)
    if not run.dry_run:
        if where is None:
            run.session.execute(delete(PLACES).where(PLACES.c.project_id == site.project_id))
        else:
            places.remember(run, {site: Match(where, MANUAL, "")}, began=run.now)
    change: dict[str, Any] = {
        "project_id": site.project_id,
        "project": site.name,
        "latitude": where and where.latitude,
        "longitude": where and where.longitude,
        "place_source": where and MANUAL,
        "before": str(before.point) if isinstance(before, Match) else None,
        "before_source": before and before.source,
    }
    abroad = "is outside the United States: is a minus missing, or are the two swapped?"
    return Outcome(
        result=change,
        rows=[change],
        problems=[] if where is None or is_american(where) else [Problem(WARNING, "abroad", str(where), abroad)],
    )


def _point(*words: str | None) -> Point:
    """Return a point from two words, or from one with a comma, as maps show it."""
    parts = re.split(r"[\s,]+", " ".join(word for word in words if word).replace("°", "").strip(" ,"))
    example = "Write LAT and LON in degrees: 39.7392 -104.9903"
    if len(parts) != 2:
        raise UsageError("Two coordinates are needed.", hint=example)
    if not all(re.fullmatch(r"[+-]?[0-9]{1,9}(\.[0-9]*)?", part) for part in parts):
        raise UsageError(f"{' '.join(parts)!r} are no degrees.", hint=example)
    try:
        return point(*map(Decimal, parts))
    except ValueError as error:
        raise UsageError(f"No place is at {', '.join(parts)}: {error}.", hint="Are the two swapped?") from None


def _site(run: Run, wanted: str) -> Site:
    columns = select(PROJECTS.c.id, PROJECTS.c.name, PROJECTS.c.address).order_by(PROJECTS.c.id)
    sites = [Site.of(row.id, row.name, row.address) for row in run.session.execute(columns)]
    by_number = [site for site in sites if str(site.project_id) == wanted]
    name = " ".join(wanted.split()).casefold()
    found = by_number or [site for site in sites if site.name.casefold() == name]
    if len(found) == 1:
        return found[0]
    if found:
        numbers = some([str(site.project_id) for site in found])
        raise UsageError(f"{len(found)} projects are called {wanted!r}: {numbers}.", hint="Give the project's number.")
    near = [f"{site.name} ({site.project_id})" for site in sites if name in site.name.casefold()]
    raise UsageError(
        f"There is no project {wanted!r}.",
        hint=f"Do you mean {some(near)}?" if near else "Give its number, as in Kibray's address of the project's page.",
    )
