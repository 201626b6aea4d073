"""What the weather codes mean: WMO table 4677, as far as Open-Meteo uses it (its documentation lists these 28)."""

from typing import NamedTuple


class Conditions(NamedTuple):
    """A day's weather in words: a sentence part, one word to decide by, and the name of an icon."""

    text: str
    word: str
    icon: str
    """As OpenWeatherMap names them, which is what Kibray shows."""


NOT_TOLD = Conditions("", "", "")

CODES = {
    0: Conditions("Clear sky", "Clear", "01d"),
    1: Conditions("Mainly clear", "Clear", "02d"),
    2: Conditions("Partly cloudy", "Cloudy", "03d"),
    3: Conditions("Overcast", "Cloudy", "04d"),
    45: Conditions("Fog", "Fog", "50d"),
    48: Conditions("Depositing rime fog", "Fog", "50d"),
    51: Conditions("Light drizzle", "Drizzle", "09d"),
    53: Conditions("Moderate drizzle", "Drizzle", "09d"),
    55: Conditions("Dense drizzle", "Drizzle", "09d"),
    56: Conditions("Light freezing drizzle", "Drizzle", "09d"),
    57: Conditions("Dense freezing drizzle", "Drizzle", "09d"),
    61: Conditions("Slight rain", "Rain", "10d"),
    63: Conditions("Moderate rain", "Rain", "10d"),
    65: Conditions("Heavy rain", "Rain", "10d"),
    66: Conditions("Light freezing rain", "Rain", "13d"),
    67: Conditions("Heavy freezing rain", "Rain", "13d"),
    71: Conditions("Slight snow fall", "Snow", "13d"),
    73: Conditions("Moderate snow fall", "Snow", "13d"),
    75: Conditions("Heavy snow fall", "Snow", "13d"),
    77: Conditions("Snow grains", "Snow", "13d"),
    80: Conditions("Slight rain showers", "Rain", "09d"),
    81: Conditions("Moderate rain showers", "Rain", "09d"),
    82: Conditions("Violent rain showers", "Rain", "09d"),
    85: Conditions("Slight snow showers", "Snow", "13d"),
    86: Conditions("Heavy snow showers", "Snow", "13d"),
    95: Conditions("Thunderstorm, slight or moderate", "Thunderstorm", "11d"),
    96: Conditions("Thunderstorm with slight hail", "Thunderstorm", "11d"),
    99: Conditions("Thunderstorm with heavy hail", "Thunderstorm", "11d"),
}


def conditions(code: int | None) -> Conditions:
    """Return what a day's code means; nothing for none, and its number for one that is not in the table."""
    if code is None:
        return NOT_TOLD
    return CODES.get(code, Conditions(f"WMO code {code}", "", ""))
