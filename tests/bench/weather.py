"""Weather of 2,000 projects whose places are known, from a server on loopback.

By hand it is one request for 500 places at a time by httpx, and a statement for what was told of them.
"""

import json
import time
from collections.abc import Callable
from typing import Any

import httpx

from kibray_ops.places import Site
from kibray_ops.weather.open_meteo import DAILY
from tests.bench.seed import Seed
from tests.bench.work import DAY, Dialect, Work
from tests.world import World

BATCH = 500
MEASURES = {
    "temperature_max": "temperature_2m_max",
    "temperature_min": "temperature_2m_min",
    "precipitation_mm": "precipitation_sum",
    "wind_kph": "wind_speed_10m_max",
    "humidity_percent": "relative_humidity_2m_mean",
}
"""Kibray's columns, and what Open-Meteo calls them."""


def seed(seed: Seed) -> None:
    """Note where the projects are."""
    rows = seed.world.sql("SELECT id, name, address FROM core_project")
    places = [
        {
            "id": row["id"],
            "hash": Site.of(row["id"], row["name"], row["address"]).fingerprint,
            "north": 36 + row["id"] % 97 * 0.05,
            "east": -120 + row["id"] % 89 * 0.25,
        }
        for row in rows
    ]
    seed.world.sql(
        "INSERT INTO kibray_ops_place (project_id, address_hash, latitude, longitude, source, matched_text, located_at)"
        f" SELECT {cell('id', 'bigint')}, {cell('hash', 'text')}, {cell('north', 'numeric')}, "
        f"{cell('east', 'numeric')}, 'census', '', {seed.say.now} FROM {given(seed.say)}",
        json.dumps(places),
    )


def given(say: Dialect) -> str:
    """Return rows that a parameter holds as a JSON array."""
    return "jsonb_array_elements(?::jsonb) AS t(value)" if say.engine == "postgresql" else "json_each(?) AS t"


def cell(name: str, kind: str) -> str:
    """Return a value of such a row, in words that both engines know."""
    return f"CAST(t.value ->> '{name}' AS {kind})"


def by_hand(statement: Callable[[Dialect], str]) -> Callable[[World], float]:
    """Return what asks for the forecasts and executes a statement for each answer."""

    def execute(world: World) -> float:
        say = Dialect(world.engine)
        write = statement(say) if world.engine == "sqlite" else statement(say).replace("?", "%s")
        places = world.sql("SELECT project_id, latitude, longitude FROM kibray_ops_place ORDER BY 1")
        url = f"{world.environment['KIBRAY_OPS_WEATHER_BASE_URL']}/v1/forecast"
        days = {"start_date": "2025-11-23", "end_date": "2025-11-26", "timezone": "auto", "daily": ",".join(DAILY)}
        begin = time.perf_counter()
        with httpx.Client() as client, world.connect() as connection:
            for start in range(0, len(places), BATCH):
                batch = places[start : start + BATCH]
                columns = {name: ",".join(str(place[name]) for place in batch) for name in ("latitude", "longitude")}
                told = client.post(url, data={**columns, **days}).json()
                rows = [
                    {"id": place["project_id"], **{name: one["daily"][name][1] for name in DAILY}, "raw": one}
                    for place, one in zip(batch, told if len(batch) > 1 else [told], strict=True)
                ]
                connection.execute(write, (json.dumps(rows),))
        return time.perf_counter() - begin

    return execute


def snapshots(say: Dialect) -> str:
    values = ", ".join(cell(name, "numeric") for name in MEASURES.values())
    return (
        f"INSERT INTO core_weathersnapshot (project_id, date, source, conditions_text, fetched_at, provider_url, "
        f"{', '.join(MEASURES)}, raw_json) SELECT {cell('id', 'bigint')}, {say.day()}, 'open-meteo', '', {say.now}, "
        f"'', {values}, t.value -> 'raw' FROM {given(say)}"
    )


def plans(say: Dialect) -> str:
    return (
        f"UPDATE core_dailyplan SET weather_fetched_at = {say.now}, weather_data = t.value -> 'raw' FROM {given(say)} "
        f"WHERE project_id = {cell('id', 'bigint')} AND status IN ('DRAFT', 'PUBLISHED', 'IN_PROGRESS') "
        f"AND plan_date IN ({say.day()}, {say.day(1)})"
    )


def measured(world: World) -> Any:
    """Return the weather of each project."""
    return world.sql(f"SELECT project_id, date, {', '.join(MEASURES)} FROM core_weathersnapshot ORDER BY 1, 2")


def planned(world: World) -> Any:
    """Return the plans that have a weather."""
    return world.sql("SELECT id FROM core_dailyplan WHERE weather_fetched_at IS NOT NULL ORDER BY id")


WORKS = (
    Work(("weather", "fetch-snapshots"), f"{DAY}T05:00", by_hand(snapshots), measured),
    Work(("plans", "update-weather"), f"{DAY}T05:00", by_hand(plans), planned),
)
