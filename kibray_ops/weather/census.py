"""The US Census Bureau's geocoder: where a street address in the United States is.

Geocoding_Services_API, 07/2024: no key; number and street are needed; no match is an empty list; x is the longitude.
"""

from collections.abc import Mapping
from typing import Any

import httpx

from kibray_ops.weather.place import ABSENT, AMBIGUOUS, CENSUS, Match, Miss, area, is_american, point
from kibray_ops.weather.service import Misunderstood, Refused, Service

TIMEOUT = 20.0
"""Seconds. Half of its answers take more than 7.5 s."""


def geocoder(client: httpx.Client, base_url: str) -> Service:
    """Return the geocoder as a service."""
    return Service("the geocoder", client, base_url, timeout=TIMEOUT)


def locate(geocoder: Service, address: str) -> Match | Miss:
    """Return where an address is; several matches are none. Raises ServiceError.

    A match in another state than the address names is none either.
    """
    fields = {"address": address, "benchmark": "Public_AR_Current", "format": "json"}
    try:
        answer = geocoder.ask("/geocoder/locations/onelineaddress", fields)
    except Refused as refused:
        if any(word in str(refused).lower() for word in ("address", "street", "house")):
            return Miss(ABSENT)  # it has no number or no street, or is too long
        raise
    try:
        found = [_match(one, area(address).state) for one in answer["result"]["addressMatches"]]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise Misunderstood(f"{geocoder.name} answered in a form that is not its own") from error
    matches = list(dict.fromkeys(match for match in found if match is not None))
    if len(matches) == 1:
        return matches[0]
    return Miss(AMBIGUOUS if matches else ABSENT)


def _match(one: Mapping[str, Any], state: str) -> Match | None:
    where = point(one["coordinates"]["y"], one["coordinates"]["x"])
    its_state = one["addressComponents"].get("state") or state
    is_elsewhere = (state and its_state.upper() != state) or not is_american(where)
    return None if is_elsewhere else Match(where, CENSUS, str(one["matchedAddress"]))
