"""services: a row per service with what is special about its generated files."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from include.nyc_taxi import Month

if TYPE_CHECKING:
    from collections.abc import Mapping

_YELLOW_ZONES = (237, 236, 161, 186, 162, 170, 48, 142, 239, 234, 141, 230, 79, 238, 163, 68, 107, 140, 263, 132, 138)
_GREEN_ZONES = (74, 75, 41, 42, 166, 244, 95, 97, 7, 82, 43, 116, 181, 129, 25, 65, 66, 33, 130, 226, 152)
_APP_ZONES = (61, 79, 37, 76, 42, 230, 132, 138, 231, 161, 48, 234, 89, 39, 244, 225, 17, 265, 188, 186, 62)


class Dialect(NamedTuple):
    """How the lines of a CSV file are written. Lines end in CR LF, except a header with a blank line below."""

    blank_line: bool = False
    quoted: bool = False
    long_decimals: bool = False
    between_names: str = ","
    after_names: str = ""
    renamed: tuple[str, str] = ("", "")


PLAIN = Dialect()


class Taxis(NamedTuple):
    """What differs between the services whose vehicles have meters. Amounts are US dollars.

    Coordinates are 32 bits wide from `narrow_places` on. `unknown` columns are empty in rows without a meter's record;
    `mirrored` columns have zeros there in the files of other sources than the official one.
    """

    zones: tuple[int, ...]
    median_miles: float
    vendor_shares: tuple[float, float]
    congestion_surcharge: float
    congestion_share: float
    airport_fee: float
    narrow_places: Month
    unknown: tuple[str, ...]
    mirrored: tuple[str, ...] = ()


class Cars(NamedTuple):
    """What differs between the services whose vehicles have no meters.

    `lost` is the share of rows in which a column is empty. Trips that `have_fares` come from apps: each licence has its
    own base.
    """

    lost: Mapping[str, float]
    have_fares: bool
    zones: tuple[int, ...] = _APP_ZONES


class Habits(NamedTuple):
    """What is special about the generated files of a service.

    `rows` are known numbers of rows, by month and source; other files have `usual_rows`. Columns in `empty_until` are
    empty until before a month. `archived` are the dialects of the publisher's own CSV files, by their first month.
    """

    usual_rows: int
    fleet: Taxis | Cars
    empty_until: Mapping[str, Month]
    archived: Mapping[Month, Dialect]
    rows: Mapping[tuple[str, str], int] = {}


# The known file: yellow 2021-01 of the CSV mirror.
KNOWN_ROWS = 1_369_765
KNOWN_WITHOUT_PASSENGERS = 26_726
KNOWN_NULL_BLOCK = 98_352

SERVICES = {
    "yellow": Habits(
        usual_rows=300_000,
        rows={("2021-01", "official"): KNOWN_ROWS + 4, ("2021-01", "csv_mirror"): KNOWN_ROWS},
        fleet=Taxis(
            zones=_YELLOW_ZONES,
            median_miles=1.75,
            vendor_shares=(0.33, 0.67),
            congestion_surcharge=2.5,
            congestion_share=0.92,
            airport_fee=1.25,
            narrow_places=Month(2015, 1),
            unknown=(),
            mirrored=("congestion_surcharge",),
        ),
        empty_until={"rate_code_id": Month(2010, 1)},
        archived={
            Month(2009, 1): Dialect(blank_line=True, long_decimals=True),
            Month(2014, 1): Dialect(blank_line=True, long_decimals=True, between_names=", "),
            Month(2015, 1): PLAIN,
            Month(2015, 7): Dialect(renamed=("RateCodeID", "RatecodeID")),
            Month(2017, 1): Dialect(blank_line=True),
            Month(2019, 1): PLAIN,
        },
    ),
    "green": Habits(
        usual_rows=60_000,
        fleet=Taxis(
            zones=_GREEN_ZONES,
            median_miles=2.2,
            vendor_shares=(0.1, 0.9),
            congestion_surcharge=2.75,
            congestion_share=0.25,
            airport_fee=0.0,
            narrow_places=Month(2013, 8),
            unknown=("payment_type", "trip_type"),
        ),
        empty_until={"trip_type": Month(2014, 1)},
        archived={
            Month(2013, 8): Dialect(blank_line=True, after_names=" "),
            Month(2015, 1): Dialect(after_names=" "),
            Month(2016, 1): Dialect(blank_line=True, after_names=" "),
            Month(2016, 7): Dialect(blank_line=True),
            Month(2019, 1): PLAIN,
        },
    ),
    "fhv": Habits(
        usual_rows=100_000,
        fleet=Cars(
            lost={
                "sr_flag": 0.8,
                "pickup_location_id": 0.6,
                "dropoff_location_id": 0.4,
                "affiliated_base_number": 0.05,
            },
            have_fares=False,
        ),
        empty_until={"dropoff_datetime": Month(2017, 7), "sr_flag": Month(2017, 7)},
        archived={Month(2015, 1): PLAIN, Month(2017, 7): Dialect(quoted=True), Month(2019, 1): PLAIN},
    ),
    "fhvhv": Habits(
        usual_rows=300_000,
        fleet=Cars(lost={"sr_flag": 0.8}, have_fares=True),
        empty_until={"wav_match_flag": Month(2019, 4)},
        archived={Month(2019, 2): PLAIN},
    ),
}


def habits(service: str) -> Habits:
    """Return the service's row."""
    return SERVICES[service]
