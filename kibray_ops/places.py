"""Where projects are: asked once for each address, remembered in `kibray_ops_place` until the address changes.

A project whose place is not known has no weather; it never gets somebody else's.
"""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from typing import Any

from sqlalchemy import BigInteger, and_, or_, select

from kibray_ops.bulk import given, upsert
from kibray_ops.catalog import table_of
from kibray_ops.job import FAILURE, Problem, Run, called, printable, warnings
from kibray_ops.models.operations import PlaceRecord
from kibray_ops.weather import census, open_meteo
from kibray_ops.weather.place import ABSENT, AMBIGUOUS, MANUAL, Match, Miss, Point, area, fingerprint
from kibray_ops.weather.service import LimitReached, Refused, ServiceError

PLACES = table_of(PlaceRecord)
MOST_ASKED = 500
"""New addresses that one run asks for."""
AT_A_TIME = 4
"""Addresses that are asked for at once."""
GROUP = 8
"""Addresses after which what was found is committed, and other runs have their turn."""
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


def locate(run: Run, sites: Sequence[Site]) -> dict[int, Match | NoWeather]:
    """Return where each project is; new addresses are asked for. Commits after every group of them.

    Runs that need the same addresses take turns, so that none is asked for twice.
    """
    known = remembered(run, sites)
    run.commit_item()
    new: dict[str, list[Site]] = {}
    for site in sites:
        if site.address and site.project_id not in known:
            new.setdefault(site.fingerprint, []).append(site)
    failed: dict[str, str] = {}
    if new:
        found, failed = _ask(run, list(new.values())[:MOST_ASKED])
        known |= found
    return {site.project_id: _where(site, known, failed) for site in sites}


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
        *warnings("no_forecast", failed, "projects without a forecast", FAILURE),
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
    """Return what is known of projects at their present addresses; that an address leads nowhere, for a week."""
    if not sites or not run.catalog.has(PLACES.name):
        return {}  # a dry run before `db init` knows nothing
    addresses = {site.project_id: site.fingerprint for site in sites}
    wanted = given(run.session, {"id": BigInteger()}, [{"id": key} for key in addresses])
    holds = or_(PLACES.c.latitude.is_not(None), PLACES.c.located_at > run.now - MISS_HOLDS)
    statement = select(PLACES).join(wanted, wanted.c.id == PLACES.c.project_id).where(holds)
    return {
        row.project_id: _finding(row)
        for row in run.session.execute(statement)
        if row.address_hash == addresses[row.project_id]
    }


def _finding(row: Any) -> Finding:
    if row.latitude is None or row.longitude is None:
        return Miss(row.source)
    return Match(Point(row.latitude, row.longitude), row.source, row.matched_text or "")


def remember(run: Run, findings: Mapping[Site, Finding]) -> None:
    """Write where sites are. What was set by hand is not changed by what others find for the same address."""
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
        return ~and_(PLACES.c.source == MANUAL, PLACES.c.address_hash == new.address_hash, new.source != MANUAL)

    same = {"located_at": run.now}
    run.session.execute(upsert(run.session, PLACES, rows, key=["project_id"], same=same, where=is_better))


# ---- asking


def _ask(run: Run, addresses: Sequence[Sequence[Site]]) -> tuple[dict[int, Finding], dict[str, str]]:
    """Ask where addresses are; each has the sites that share it.

    Return what was found, by project, and why there is no answer for others, by the address's fingerprint.
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
        with run.turn("places"):
            sites = [site for sites in group for site in sites]
            there = remembered(run, sites)  # another run may have asked
            run.commit_item()
            answers = finder.find({site.fingerprint: site.address for site in sites if site.project_id not in there})
            errors = {key: answer for key, answer in answers.items() if isinstance(answer, ServiceError)}
            new = {
                site: answer
                for site in sites
                if not isinstance(answer := answers.get(site.fingerprint), ServiceError | None)
            }
            if new and not run.dry_run:
                remember(run, new)
            run.commit_item()
        found |= there | {site.project_id: finding for site, finding in new.items()}
        failed |= {key: run.settings.redact(str(error)) for key, error in errors.items()}
        is_down = len(errors) == len(answers) >= AT_A_TIME
        stopped = next((failed[key] for key, error in errors.items() if is_down or _is_for_all(error)), "")
    run.progress("Locating addresses", len(addresses), len(addresses))
    return found, failed


def _is_for_all(error: ServiceError) -> bool:
    """Tell whether there would be no answer for other addresses either."""
    return isinstance(error, LimitReached) or (isinstance(error, Refused) and not error.is_about_the_question)


class _Finder:
    """Ask the geocoder, and where it knows nothing, for the ZIP code or the city."""

    def __init__(self, run: Run) -> None:
        client, settings = run.web(), run.settings
        self.geocoder = census.geocoder(client, settings["GEOCODER_BASE_URL"])
        self.gazetteer = open_meteo.gazetteer(client, settings["PLACES_BASE_URL"], settings["WEATHER_API_KEY"])

    def find(self, addresses: Mapping[str, str]) -> dict[str, Finding | ServiceError]:
        """Return what is found for each address, or why there is no answer; a few are asked for at once."""
        pool = ThreadPoolExecutor(AT_A_TIME)
        try:
            return dict(zip(addresses, pool.map(self._one, addresses.values()), strict=True))
        except BaseException:
            # Ctrl-C or SIGTERM: nothing more is asked, and what is under way is not waited for.
            for service in (self.geocoder, self.gazetteer):
                service.halt.set()
            raise
        finally:
            pool.shutdown(wait=False, cancel_futures=True)

    def _one(self, address: str) -> Finding | ServiceError:
        try:
            found = census.locate(self.geocoder, address)
            if isinstance(found, Miss):
                # Where its city is not known either, what the geocoder says of the address tells more.
                nearby = open_meteo.search(self.gazetteer, area(address))
                found = nearby if isinstance(nearby, Match) else found
        except ServiceError as error:
            return error
        return Match(found.point, found.source, printable(found.text)) if isinstance(found, Match) else found
