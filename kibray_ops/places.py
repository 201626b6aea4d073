"""Where projects are: asked once for each address, remembered in `kibray_ops_place` until the address changes.

A project whose place is not known has no weather; it never gets somebody else's.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import cached_property
from multiprocessing.pool import ThreadPool
from random import shuffle
from typing import Any

from sqlalchemy import Text, and_, or_, select

from kibray_ops.bulk import given, upsert
from kibray_ops.catalog import table_of
from kibray_ops.job import Problem, Run, called, failures, warnings
from kibray_ops.models.operations import PlaceRecord
from kibray_ops.text import printable
from kibray_ops.weather import census, open_meteo
from kibray_ops.weather.place import ABSENT, AMBIGUOUS, MANUAL, Match, Miss, Point, area, fingerprint
from kibray_ops.weather.service import Closed, ServiceError, Unavailable

PLACES = table_of(PlaceRecord)
MOST_ASKED = 500
"""New addresses that one run asks for."""
AT_A_TIME = 4
"""Addresses that are asked for at once."""
GROUP = 8
"""Addresses after which what was found is committed, and other runs have their turn."""
LONGEST_TEXT = 255
"""Of what a place is called; as long as an address."""
MISS_HOLDS = timedelta(days=7)
"""How long an address that leads nowhere is not asked for again."""
WHY = {
    ABSENT: "no place was found for its address",
    AMBIGUOUS: "its address fits several places",
}


@dataclass(frozen=True)
class Site:
    """A project and its address."""

    project_id: int
    name: str
    address: str

    @classmethod
    def of(cls, project_id: int, name: str | None, address: str | None) -> "Site":
        """Return the site of a row of Kibray's."""
        return cls(project_id, called(name, project_id), printable(address or ""))

    @cached_property
    def fingerprint(self) -> str:
        """Return the digest of the address."""
        return fingerprint(self.address)


@dataclass(frozen=True)
class NoWeather:
    """Why a site has no weather; a failure where something kept us from asking."""

    reason: str
    is_failure: bool = False


Finding = Match | Miss


def locate(run: Run, sites: Sequence[Site]) -> Iterator[dict[int, Match | NoWeather]]:
    """Yield where projects are: first those that are known, then those whose new addresses had to be asked for.

    Asking may take long, and the time of the run may be up before it ends; it commits after every group of addresses.
    Runs that need the same addresses take turns, so that none is asked for twice.
    """
    began = run.now
    known = remembered(run, sites)
    run.commit_item()
    new = [site for site in sites if site.address and site.project_id not in known]
    waiting = {site.project_id for site in new}
    yield {site.project_id: _where(site, known, {}) for site in sites if site.project_id not in waiting}
    if new:
        by_address: dict[str, list[Site]] = {}
        for site in new:
            by_address.setdefault(site.fingerprint, []).append(site)
        # In any order: addresses that fail every day must not stand in the way of the others every day.
        shuffle(addresses := list(by_address.values()))
        found, failed = _ask(run, addresses[:MOST_ASKED], began)
        yield {site.project_id: _where(site, found, failed) for site in new}


def _where(site: Site, known: Mapping[int, Finding], failed: Mapping[str, str]) -> Match | NoWeather:
    finding = known.get(site.project_id)
    if isinstance(finding, Match):
        return finding
    if site.fingerprint in failed:
        return NoWeather(failed[site.fingerprint], is_failure=True)
    if finding is None and site.address:
        return NoWeather(f"a run asks for {MOST_ASKED} new addresses; its own waits for the next run")
    reason = WHY[finding.source] if isinstance(finding, Miss) else "it has no address"
    return NoWeather(f"{reason}; `kibray-ops weather locate {site.project_id} LAT LON` gives it a place")


def problems(sites: Sequence[Site], lacking: Mapping[int, NoWeather]) -> list[Problem]:
    """Return a failure or a warning for each site without weather."""
    named = [(site.name, lacking[site.project_id]) for site in sites if site.project_id in lacking]
    failed = [(name, why.reason) for name, why in named if why.is_failure]
    skipped = [(name, why.reason) for name, why in named if not why.is_failure]
    return [
        *failures("no_forecast", failed, "projects without a forecast"),
        *warnings("no_place", skipped, "projects without a place"),
    ]


def reported(place: Match | NoWeather | None) -> dict[str, Any]:
    """Return what a report tells of a place."""
    known = place if isinstance(place, Match) else None
    return {
        "place": known and known.text,
        "place_source": known and known.source,
        "latitude": known and known.point.latitude,
        "longitude": known and known.point.longitude,
    }


# ---- what is remembered


def remembered(run: Run, sites: Sequence[Site]) -> dict[int, Finding]:
    """Return what is known of the places of projects, by their present addresses.

    What was found for the same address of another project counts too, unless it was set by hand. That an address leads
    nowhere is known for a week.
    """
    if not sites or not run.catalog.has(PLACES.name):
        return {}  # a dry run before `db init` knows nothing
    wanted = given(run.session, {"hash": Text()}, [{"hash": key} for key in {site.fingerprint for site in sites}])
    holds = or_(PLACES.c.latitude.is_not(None), PLACES.c.located_at > run.now - MISS_HOLDS)
    own: dict[tuple[int, str], Finding] = {}
    anybodys: dict[str, Finding] = {}
    for row in run.session.execute(select(PLACES).join(wanted, wanted.c.hash == PLACES.c.address_hash).where(holds)):
        own[row.project_id, row.address_hash] = _finding(row)
        if row.source != MANUAL:
            anybodys[row.address_hash] = _finding(row)
    found = {
        site.project_id: own.get((site.project_id, site.fingerprint))
        or (anybodys.get(site.fingerprint) if site.address else None)
        for site in sites
    }
    return {project_id: finding for project_id, finding in found.items() if finding is not None}


def _finding(row: Any) -> Finding:
    if row.latitude is None or row.longitude is None:
        return Miss(row.source)
    return Match(Point(row.latitude, row.longitude), row.source, row.matched_text or "")


def remember(run: Run, findings: Mapping[Site, Finding], *, began: datetime) -> None:
    """Write where sites are. What was set by hand stays: for the same address, or since the run began to ask."""
    rows = [
        {
            "project_id": site.project_id,
            "address_hash": site.fingerprint,
            "latitude": finding.point.latitude if isinstance(finding, Match) else None,
            "longitude": finding.point.longitude if isinstance(finding, Match) else None,
            "source": finding.source,
            "matched_text": finding.text if isinstance(finding, Match) else None,
        }
        for site, finding in findings.items()
    ]

    def is_better(new: Any) -> Any:
        holds = or_(PLACES.c.address_hash == new.address_hash, PLACES.c.located_at >= began)
        return ~and_(PLACES.c.source == MANUAL, holds, new.source != MANUAL)

    same = {"located_at": run.now}
    run.session.execute(upsert(run.session, PLACES, rows, key=["project_id"], same=same, where=is_better))


# ---- asking


def _ask(run: Run, addresses: Sequence[Sequence[Site]], began: datetime) -> tuple[dict[int, Finding], dict[str, str]]:
    """Ask where addresses are; each has the sites that share it.

    Return what was found, by project, and why there is no answer for others, by the address's fingerprint. A geocoder
    that answers for nobody in a group is not asked any more.
    """
    finder = _Finder(run)
    found: dict[int, Finding] = {}
    failed: dict[str, str] = {}
    stopped = ""
    for start in range(0, len(addresses), GROUP):
        run.progress("Locating addresses", start, len(addresses))
        group = addresses[start : start + GROUP]
        if stopped:
            failed |= {sites[0].fingerprint: f"not asked for, because {stopped}" for sites in group}
            continue
        new, errors = _ask_group(run, finder, [site for sites in group for site in sites], began)
        found |= new
        failed |= {key: run.settings.redact(str(error)) for key, error in errors.items()}
        is_down = not new and all(isinstance(error, Unavailable) for error in errors.values())
        stopped = next((failed[key] for key, error in errors.items() if is_down or isinstance(error, Closed)), "")
    run.progress("Locating addresses", len(addresses), len(addresses))
    return found, failed


def _ask_group(
    run: Run, finder: "_Finder", sites: Sequence[Site], began: datetime
) -> tuple[dict[int, Finding], dict[str, ServiceError]]:
    """Ask where some sites are, unless another run has asked meanwhile, and commit what is found."""
    with run.turn("places"):
        there = remembered(run, sites)
        run.commit_item()
        left = [site for site in sites if site.project_id not in there]
        answers = finder.find({site.fingerprint: site.address for site in left})
        new = {site: answer for site in left if isinstance(answer := answers[site.fingerprint], Match | Miss)}
        found = there | {site.project_id: finding for site, finding in new.items()}
        if new and not run.dry_run:
            remember(run, new, began=began)
            found |= remembered(run, list(new))  # somebody may have set one by hand meanwhile
        run.commit_item()
    return found, {key: answer for key, answer in answers.items() if isinstance(answer, ServiceError)}


class _Finder:
    """Ask the geocoder, and where it knows nothing, for the ZIP code or the city."""

    def __init__(self, run: Run) -> None:
        client, settings = run.web(), run.settings
        self.geocoder = census.geocoder(client, settings["GEOCODER_BASE_URL"])
        self.gazetteer = open_meteo.gazetteer(client, settings["PLACES_BASE_URL"], settings["WEATHER_API_KEY"])
        self.closed: ServiceError | None = None
        """Why the gazetteer is not asked any more."""

    def find(self, addresses: Mapping[str, str]) -> dict[str, Finding | ServiceError]:
        """Return what is found for each address, or why there is no answer; a few are asked for at once."""
        # Its threads are daemons: Ctrl-C and SIGTERM wait for none of them.
        with ThreadPool(AT_A_TIME) as pool:
            return dict(zip(addresses, pool.map(self._one, addresses.values(), chunksize=1), strict=True))

    def _one(self, address: str) -> Finding | ServiceError:
        try:
            found = census.locate(self.geocoder, address)
        except ServiceError as error:
            return error
        if isinstance(found, Miss):
            try:
                nearby = self._nearby(address)
            except ServiceError as error:
                return ServiceError(str(error))  # of another kind: the geocoder goes on
            # Where its city is not known either, what the geocoder says of the address tells more.
            found = nearby if isinstance(nearby, Match) else found
        return replace(found, text=printable(found.text)[:LONGEST_TEXT]) if isinstance(found, Match) else found

    def _nearby(self, address: str) -> Finding:
        if self.closed:
            raise self.closed
        try:
            return open_meteo.search(self.gazetteer, area(address))
        except Closed as error:
            self.closed = error
            raise
