"""A day's weather in a line: the same in the report of every job that fetches it."""

from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING

from kibray_ops.cli.render import show_problems
from kibray_ops.cli.table import MOST_LINES, Column, Row, print_table
from kibray_ops.forecasts import fahrenheit
from kibray_ops.job import trimmed

if TYPE_CHECKING:
    from rich.console import Console

    from kibray_ops.report import Report

NOTHING = "–"
"""What stands where nothing is known: 0 mm is another thing."""
CSV_PLACE = {
    "place": "Place",
    "place_source": "Source",
    "latitude": "Latitude",
    "longitude": "Longitude",
}
CSV_WEATHER = {
    "temperature_max": "High, °C",
    "temperature_min": "Low, °C",
    "precipitation_mm": "Rain, mm",
    "wind_kph": "Wind, km/h",
    "humidity_percent": "Humidity, %",
    "conditions": "Conditions",
    "action": "Action",
    "reason": "Why not",
}
CREDIT = "Weather data by Open-Meteo.com (CC BY 4.0). Rain in mm, wind in km/h, humidity in %."


def _range(row: Row, shown: Callable[[Decimal], str]) -> str:
    ends = (row["temperature_max"], row["temperature_min"])
    return NOTHING if ends == (None, None) else "/".join(NOTHING if end is None else shown(end) for end in ends)


def _figure(name: str) -> Callable[[Row], str]:
    return lambda row: NOTHING if row[name] is None else trimmed(Decimal(row[name]))


def _place(row: Row) -> str:
    return row["place"] or (NOTHING if row["latitude"] is None else f"{row['latitude']:f}, {row['longitude']:f}")


PLACE = (
    Column("Place", _place, least_width=100, is_text=True, may_be_cut=True),
    Column("Source", lambda row: row["place_source"] or NOTHING, least_width=80, is_text=True),
)
WEATHER = (
    Column("High/low °F", lambda row: _range(row, lambda celsius: str(fahrenheit(celsius)))),
    Column("°C", lambda row: _range(row, trimmed), least_width=120),
    Column("Rain", _figure("precipitation_mm")),
    Column("Wind", _figure("wind_kph")),
    Column("Humid", _figure("humidity_percent"), least_width=70),
    Column("Conditions", lambda row: row["conditions"] or NOTHING, is_text=True, may_be_cut=True),
)


def show_lines(told: "Report", out: "Console", columns: Sequence[Column]) -> None:
    """Print the lines of a report, whose data they are, and what needs a look."""
    if told.rows:
        out.print()
        print_table(out, columns, told.rows, most=MOST_LINES)
        out.print(f"\n[dim]{CREDIT}[/]")
    show_problems(told.problems, out)
