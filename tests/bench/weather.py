"""Measure the weather jobs on 2,000 located projects, whole process, on PostgreSQL, against a server on loopback.

`python -m tests.bench.weather`. The same work by hand is four requests of 500 places each by httpx and one INSERT of
the snapshots. Targets: at most 4 requests for forecasts, 3 s for the whole process, and no request of the geocoder.
"""

import json
import statistics
import time

import httpx
import psycopg

from kibray_ops.places import Site
from kibray_ops.weather.open_meteo import DAILY
from tests.bench import ALLOWANCE, ROUNDS, postgresql, ways, whole_process
from tests.sky import Sky, serving
from tests.world import World

PROJECTS, BATCH, DAY = 2_000, 500, "2025-11-24"
TARGET = 3.0


def fill(world: World) -> None:
    """Open two thousand projects, with a plan of the day each, and note where they are."""
    project = world.project("model", address="model")
    world.plan(project, DAY, status="PUBLISHED")
    for table, new in (
        (
            "core_project",
            {"project_code": "'C' || i", "name": "'Project ' || i", "address": "i || ' Elm St, Denver, CO'"},
        ),
        ("core_dailyplan", {"project_id": "i + 1"}),
    ):
        kept = [name for name in world.rows(table)[0] if name not in ("id", *new)]
        world.sql(
            f"INSERT INTO {table} ({', '.join((*new, *kept))}) SELECT {', '.join(new.values())}, "
            f"{', '.join('m.' + name for name in kept)} "
            f"FROM {table} m, generate_series(1, {PROJECTS - 1}) i WHERE m.id = 1"
        )
    with psycopg.connect(world.url) as connection:
        sites = [Site.of(row["id"], row["name"], row["address"]) for row in world.rows("core_project")]
        connection.cursor().executemany(
            "INSERT INTO kibray_ops_place "
            "VALUES (%s, %s, 36 + mod(%s, 97) * 0.05, -120 + mod(%s, 89) * 0.25, 'census', '', now())",
            [(site.project_id, site.fingerprint, site.project_id, site.project_id) for site in sites],
        )
    world.sql("VACUUM ANALYZE")


def restore(world: World) -> None:
    """Let nobody know the weather."""
    for table in ("kibray_ops_forecast", "kibray_ops_run", "core_weathersnapshot"):
        world.sql(f"DELETE FROM {table}")
        world.sql(f"VACUUM {table}")
    world.sql("UPDATE core_dailyplan SET weather_data = NULL, weather_fetched_at = NULL")
    world.sql("VACUUM core_dailyplan")


def by_hand(world: World, sky: Sky) -> float:
    """Return the seconds that the same work takes with httpx and SQL alone, imports aside."""
    places = world.sql("SELECT project_id, latitude, longitude FROM kibray_ops_place ORDER BY 1")
    begin = time.perf_counter()
    with httpx.Client() as client, psycopg.connect(world.url) as connection:
        for start in range(0, PROJECTS, BATCH):
            batch = places[start : start + BATCH]
            columns = {name: ",".join(str(place[name]) for place in batch) for name in ("latitude", "longitude")}
            days = {"start_date": "2025-11-23", "end_date": "2025-11-26", "timezone": "auto", "daily": ",".join(DAILY)}
            told = client.post(f"{sky.url}/v1/forecast", data={**columns, **days}).json()
            rows = [
                {"project_id": place["project_id"], **{name: one["daily"][name][1] for name in DAILY}, "raw": one}
                for place, one in zip(batch, told, strict=True)
            ]
            connection.execute(
                f"INSERT INTO core_weathersnapshot (project_id, date, source, conditions_text, fetched_at, "
                f"provider_url, temperature_max, temperature_min, precipitation_mm, wind_kph, humidity_percent, "
                f"raw_json) "
                f"SELECT project_id, '{DAY}', 'open-meteo', '', now(), '', temperature_2m_max, temperature_2m_min, "
                f"precipitation_sum, wind_speed_10m_max, relative_humidity_2m_mean, raw "
                f"FROM jsonb_to_recordset(%s::jsonb) AS t (project_id bigint, temperature_2m_max numeric, "
                f"temperature_2m_min numeric, precipitation_sum numeric, wind_speed_10m_max numeric, "
                f"relative_humidity_2m_mean int, raw jsonb)",
                (json.dumps(rows),),
            )
            connection.commit()
    return time.perf_counter() - begin


def main() -> None:
    """Measure in turns and print medians and ratios of one run."""
    with postgresql() as world, serving() as sky:
        world.environment |= sky.environment
        fill(world)
        jobs = {
            "fetch-snapshots": ("weather", "fetch-snapshots", "--as-of", DAY),
            "update-weather": ("plans", "update-weather", "--as-of", DAY),
        }
        found: dict[str, list[float]] = {}
        asked: dict[str, set[tuple[int, int]]] = {}

        def measure(title: str, words: tuple[str, ...]) -> None:
            sky.questions.clear()
            found.setdefault(title, []).append(whole_process(world, *words))
            asked.setdefault(title, set()).add((len(sky.forecasts), len(sky.geocoded)))

        hand = []
        for _ in range(ROUNDS):
            for name, words in jobs.items():
                for way, command in ways(words).items():
                    restore(world)
                    measure(f"{name}, {way}", command)
            restore(world)
            whole_process(world, *jobs["fetch-snapshots"])
            measure("update-weather after fetch-snapshots", jobs["update-weather"])
            measure("fetch-snapshots again", jobs["fetch-snapshots"])
            restore(world)
            hand.append(by_hand(world, sky))
        base = statistics.median(hand) + ALLOWANCE
        print(f"{PROJECTS:,} located projects, {ROUNDS} rounds; by hand {statistics.median(hand):.3f} s")
        for title, seconds in found.items():
            median = statistics.median(seconds)
            ((forecasts, geocoded),) = asked[title]
            print(
                f"{title:<38} {median:6.3f} s, target {TARGET:g}   {median / base:.2f} x (by hand + {ALLOWANCE} s)   "
                f"{forecasts} requests for forecasts, {geocoded} of the geocoder"
            )


if __name__ == "__main__":
    main()
