"""Addresses in the United States, and points on the earth."""

import hashlib
import re
import unicodedata
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from typing import Any, NamedTuple

FIVE_PLACES = Decimal("0.00001")
"""Of a degree: one metre, and what Kibray's columns hold."""

CENSUS, ZIP, CITY, MANUAL = "census", "zip", "city", "manual"
"""How a place was found: by its address, by the centre of its ZIP code or city, or by hand."""
ABSENT, AMBIGUOUS = "absent", "ambiguous"
"""Why it was not: nothing fits the address, or several places do."""

STATES = {
    "AL": "Alabama", "AK": "Alaska", "AZ": "Arizona", "AR": "Arkansas", "CA": "California", "CO": "Colorado",
    "CT": "Connecticut", "DE": "Delaware", "DC": "District of Columbia", "FL": "Florida", "GA": "Georgia",
    "HI": "Hawaii", "ID": "Idaho", "IL": "Illinois", "IN": "Indiana", "IA": "Iowa", "KS": "Kansas", "KY": "Kentucky",
    "LA": "Louisiana", "ME": "Maine", "MD": "Maryland", "MA": "Massachusetts", "MI": "Michigan", "MN": "Minnesota",
    "MS": "Mississippi", "MO": "Missouri", "MT": "Montana", "NE": "Nebraska", "NV": "Nevada", "NH": "New Hampshire",
    "NJ": "New Jersey", "NM": "New Mexico", "NY": "New York", "NC": "North Carolina", "ND": "North Dakota",
    "OH": "Ohio", "OK": "Oklahoma", "OR": "Oregon", "PA": "Pennsylvania", "RI": "Rhode Island",
    "SC": "South Carolina", "SD": "South Dakota", "TN": "Tennessee", "TX": "Texas", "UT": "Utah", "VT": "Vermont",
    "VA": "Virginia", "WA": "Washington", "WV": "West Virginia", "WI": "Wisconsin", "WY": "Wyoming",
}  # fmt: skip
_CODES = {name.upper(): code for code, name in STATES.items() if code != "WA"} | {code: code for code in STATES}
"""As they are written; the word Washington may be the city."""
_STATE = "|".join(sorted(map(re.escape, _CODES), key=len, reverse=True))
_COUNTRY = re.compile(r"[\s,]+(?:USA|U\.S\.A\.|US|U\.S\.|UNITED STATES(?: OF AMERICA)?)$", re.IGNORECASE)
_ENDING = re.compile(
    rf"(?:^|(?P<before>.*?)[\s,]+)(?P<state>{_STATE})\.?(?:[\s,]+(?P<zip>[0-9]{{5}})(?:-[0-9]{{4}})?)?$", re.IGNORECASE
)
_BARE_ZIP = re.compile(r"(?:^|.*,\s*)(?P<zip>[0-9]{5})(?:-[0-9]{4})?$")


class Point(NamedTuple):
    """A point on the earth, in degrees, to a metre."""

    latitude: Decimal
    longitude: Decimal

    def __str__(self) -> str:
        return f"{self.latitude:f}, {self.longitude:f}"

    def is_near(self, other: "Point", degrees: float) -> bool:
        """Tell whether another point is within some degrees of latitude and of longitude."""
        return all(abs(one - two) <= degrees for one, two in zip(self, other, strict=True))


def point(latitude: Any, longitude: Any) -> Point:
    """Return a point from two numbers; raises ValueError for what is no point on the earth."""
    north, east = (_degrees(given, most) for given, most in ((latitude, 90), (longitude, 180)))
    return Point(north, east)


def _degrees(given: Any, most: int) -> Decimal:
    if isinstance(given, bool) or not isinstance(given, int | float | Decimal):
        raise ValueError("a coordinate is no number")
    degrees = Decimal(str(given))
    if not degrees.is_finite() or abs(degrees) > most:
        raise ValueError(f"a {'latitude' if most == 90 else 'longitude'} lies between -{most} and {most}")
    return degrees.quantize(FIVE_PLACES, ROUND_HALF_UP) + 0  # never -0


def is_american(where: Point) -> bool:
    """Tell whether a point lies in the box around the United States, Alaska, Hawaii and Puerto Rico.

    Swapped coordinates, and a longitude without its minus, do not.
    """
    return 17 <= where.latitude <= 72 and -180 <= where.longitude <= -64


@dataclass(frozen=True)
class Match:
    """Where a place is, how that was found, and what the finder calls it."""

    point: Point
    source: str
    text: str


@dataclass(frozen=True)
class Miss:
    """Why no place was found: ABSENT or AMBIGUOUS."""

    source: str


@dataclass(frozen=True)
class Area:
    """What the end of an address tells of where it is."""

    city: str = ""
    state: str = ""
    """Two letters."""
    zip: str = ""


def area(address: str) -> Area:
    """Return the city, state and ZIP code at the end of an address, as far as they are told.

    Five digits count as a ZIP code after a state, after a comma, or alone: else they may be the number of a road.
    """
    text = _COUNTRY.sub("", " ".join(address.split())).rstrip(" ,.")
    if found := _ENDING.match(text):
        before = found["before"] or ""
        city = before.rpartition(",")[2].strip() if "," in before else ""
        if not any(letter.isdigit() for letter in before):
            city = city or before.strip()
        return Area(city, _CODES[found["state"].upper()], found["zip"] or "")
    if found := _BARE_ZIP.match(text):
        return Area(zip=found["zip"])
    return Area()


def fingerprint(address: str) -> str:
    """Return a digest by which a changed address is known; case, spaces and punctuation do not change it."""
    plain = unicodedata.normalize("NFKC", address).casefold()
    return hashlib.sha256(" ".join(re.findall(r"\w+", plain)).encode("utf-8", "surrogatepass")).hexdigest()
