"""A warehouse with 17 years of every service: ledger, partitions and summaries of made-up trips.

Row counts are those of the published files. The partitions are empty, because the page does not read them.
"""

from __future__ import annotations

from collections import Counter
from datetime import date
from math import cos, exp, pi, sin
from random import Random
from typing import TYPE_CHECKING, Any

from psycopg import sql

from include.nyc_taxi import Month, TripFile, catalog, targets
from include.nyc_taxi.targets.ledger import FIELDS
from include.nyc_taxi.targets.postgres import ledger
from include.nyc_taxi.targets.postgres.server import text

if TYPE_CHECKING:
    from collections.abc import Iterator

    import psycopg

    from include.nyc_taxi.targets.postgres.table import Table

_ZONES = 263
_LAST = Month(2025, 12)
_FIRST_WITH_ZONES = Month(2011, 1)
_MANHATTAN = {
    *(4, 12, 13, 24, 41, 42, 43, 45, 48, 50, 68, 74, 75, 79, 87, 88, 90, 100, 107, 113, 114, 116, 125, 137, 140, 141),
    *(142, 143, 144, 148, 151, 152, 158, 161, 162, 163, 164, 166, 170, 186, 209, 211, 224, 229, 230, 231, 232, 233),
    *(234, 236, 237, 238, 239, 246, 249, 261, 262, 263),
}
_AIRPORTS = {132, 138}
# What sets the services apart, as rows: the mean fare, the months' rows where no file was counted, the share of trips
# without a meter record since mid-2019, and how often cars stop in Manhattan, compared with a quiet zone.
_FARE = {"yellow": 14.0, "green": 13.0, "fhvhv": 21.0}
_ROWS = {"yellow": 3.6e6, "green": 5.3e4, "fhv": 1.9e6, "fhvhv": 2e7}
_WITHOUT_METER = {"yellow": 0.05, "green": 0.3}
NOT_GIVEN = {each.name: None for each in FIELDS if not each.is_required}
_FIRST_WITHOUT_METER = Month(2019, 6)
_IN_MANHATTAN = {"yellow": 60.0, "green": 0.2}


def files() -> Iterator[TripFile]:
    """Yield every file of the history."""
    for service in catalog.services().values():
        for month in Month.range(service.eras["official"][0].since, _LAST):
            yield TripFile(service.name, month)


def write(connection: psycopg.Connection[Any]) -> None:
    """Fill an empty warehouse with the history, and commit."""
    with connection.transaction():
        ledger.create(connection)
        for service in catalog.services():
            query = (
                "CREATE TABLE {} (pickup_datetime timestamp, file_month date NOT NULL) PARTITION BY LIST (file_month)"
            )
            connection.execute(sql.SQL(query).format(_table(service).identifier))
        for number, file in enumerate(files()):
            _write_month(connection, file, Random(number))  # noqa: S311 - no secret


def _table(service: str) -> Table:
    table: Table = targets.get("postgres").default_table(service)
    return table


def _write_month(connection: psycopg.Connection[Any], file: TripFile, random: Random) -> None:
    table = _table(file.service)
    partition = table.beside(f"{file.month.year:04d}_{file.month.month:02d}")
    connection.execute(
        sql.SQL("CREATE TABLE {} PARTITION OF {} FOR VALUES IN ({})").format(
            partition.identifier, table.identifier, sql.Literal(file.month.first_day)
        )
    )
    key = {"service": file.service, "month": str(file.month), "target": "postgres", "target_table": str(table)}
    read = _rows(file, random)
    rejected = int(read * random.uniform(0.006, 0.021)) if catalog.service(file.service).has_meter else 0
    entry = _ledger_entry(file, read, rejected, random)
    ledger.write(connection, key | entry)
    _write_summary(connection, key, file, read - rejected, random)


def _ledger_entry(file: TripFile, read: int, rejected: int, random: Random) -> dict[str, Any]:
    trips = read - rejected
    return NOT_GIVEN | {
        "source_url": catalog.source("official").url(file),
        "source_etag": f'"{random.getrandbits(128):032x}-{1 + read // 300_000}"',
        "source_sha256": f"{random.getrandbits(256):064x}",
        "source_bytes": read * 15,
        "rows_read": read,
        "rows_loaded": trips,
        "rows_rejected": rejected,
        "rejected_by_reason": {"no_passengers": rejected} if rejected else {},
        "rule_hits": {"no_passengers": rejected, "pickup_outside_month": read // 4000},
        "rows_expected": read,
        "schema_era": catalog.service(file.service).era("official", file.month).name,
        "quality_profile": "notes",
        "recipe": f"{random.getrandbits(64):016x}",
        "seconds": trips / random.uniform(600_000, 750_000),
        "dag_id": "ingest_data",
        "run_id": f"backfill__{file.month}-01T00:00:00+00:00",
    }


def _write_summary(
    connection: psycopg.Connection[Any], key: dict[str, str], file: TripFile, trips: int, random: Random
) -> None:
    fare = _FARE.get(file.service, 0.0) * (1 + (file.month.year - 2009) * 0.03)
    zones = _by_zone(file, trips, fare, random)
    month = {
        "trips": trips,
        "without_meter": _without_meter(file, trips, random),
        "outside_month": int(trips * random.uniform(0.00004, 0.0004)),
        "fares": sum(zones["fares"]),
        "fare_sum": sum(zones["fare_sum"]),
        "tip_sum": sum(zones["tip_sum"]),
    }
    times = _weekdays(file.month)
    hours = [_busy(weekday, hour) * times[weekday] for weekday in range(7) for hour in range(24)]
    total = sum(hours)
    by_hour = {
        "weekday": [weekday for weekday in range(1, 8) for _ in range(24)],
        "hour": list(range(24)) * 7,
        "trips": [int(trips * share / total) for share in hours],
    }
    for statement, rows in (("insert_month", month), ("insert_hours", by_hour), ("insert_zones", zones)):
        connection.execute(text(statement), key | rows)


def _weekdays(month: Month) -> Counter[int]:
    """How often a month has each weekday; Monday is 0."""
    first, end = month.first_day.toordinal(), (month + 1).first_day.toordinal()
    return Counter(date.fromordinal(day).weekday() for day in range(first, end))


def _rows(file: TripFile, random: Random) -> int:
    seen = catalog.expected(file, "official")
    return seen.rows if seen else int(_ROWS[file.service] * random.uniform(0.9, 1.1))


def _without_meter(file: TripFile, trips: int, random: Random) -> int | None:
    if not catalog.service(file.service).has_meter:
        return None
    share = 0.0 if file.month < _FIRST_WITHOUT_METER else _WITHOUT_METER[file.service]
    return int(trips * share * random.uniform(0.7, 1.3))


def _by_zone(file: TripFile, trips: int, fare: float, random: Random) -> dict[str, list[Any]]:
    if file.month < _FIRST_WITH_ZONES:
        return {name: [] for name in ("location_id", "pickups", "dropoffs", "fares", "fare_sum", "tip_sum")}
    lasting = Random(file.service)  # noqa: S311 - no secret; zones keep their weights from month to month
    weights = [_popular(zone, file.service) * exp(lasting.gauss(0, 0.6)) for zone in range(1, _ZONES + 1)]
    total = sum(weights)
    pickups = [int(trips * weight / total * random.uniform(0.95, 1.05)) for weight in weights]
    fares = [count if fare else 0 for count in pickups]
    means = [fare * lasting.uniform(0.7, 2.2) for _ in range(_ZONES)]
    return {
        "location_id": list(range(1, _ZONES + 1)),
        "pickups": pickups,
        "dropoffs": [int(count * lasting.uniform(0.6, 1.6)) for count in pickups],
        "fares": fares,
        "fare_sum": [count * mean for count, mean in zip(fares, means, strict=True)],
        "tip_sum": [count * mean * lasting.uniform(0.02, 0.22) for count, mean in zip(fares, means, strict=True)],
    }


def _popular(zone: int, service: str) -> float:
    """How often cars of the service stop in the zone, compared with a quiet one."""
    if zone in _MANHATTAN:
        return _IN_MANHATTAN.get(service, 6.0)
    return 50.0 if zone in _AIRPORTS else 1.0


def _busy(weekday: int, hour: int) -> float:
    """How busy an hour of the week is: quiet at four in the morning, busy late on Friday and Saturday."""
    day = 1.1 - cos((hour - 4) / 24 * 2 * pi) * 0.8 + 0.25 * sin((hour - 14) / 12 * pi)
    night = 0.9 if (weekday, hour) in {(4, 22), (4, 23), (5, 22), (5, 23), (5, 0), (5, 1), (6, 0), (6, 1)} else 0.0
    return day + night
