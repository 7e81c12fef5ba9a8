"""generator: trip files of our own making, in the publisher's shapes and with the publisher's dirt.

No row is copied from anywhere. The same file comes out the same, byte by byte, whenever it is made; the source decides
only the format, so both editions of a month hold the same trips.
"""

from __future__ import annotations

import gzip
import zlib
from abc import ABC, abstractmethod
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple, cast

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import compute, parquet
from pyarrow import csv as arrow_csv

from devtools.generator import spellings as editions
from include.nyc_taxi import Month, catalog

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from include.nyc_taxi import TripFile

Values = NDArray[Any]

_CHUNK_ROWS = 1 << 17
_ROW_GROUP_ROWS = 6_000_000
_GZIP_PARQUET_LEVEL = 1
_GZIP_CSV_LEVEL = 4

# The file of the notes: yellow 2021-01 of the CSV mirror. Every file has its shares of dirt.
_NOTES_ROWS = 1_369_765
_NOTES_WITHOUT_PASSENGERS = 26_726
_NOTES_NULL_BLOCK = 98_352

_ROWS = {
    ("yellow", "2021-01", "official"): _NOTES_ROWS + 4,
    ("yellow", "2021-01", "csv_mirror"): _NOTES_ROWS,
}
_USUAL_ROWS = {"yellow": 300_000, "green": 60_000, "fhv": 100_000, "fhvhv": 300_000}

_ZSTD = Month(2023, 2)  # from here on the publisher compresses with it; before, with gzip
_NEW_TARIFF = Month(2023, 1)
_FAR_MILES = 13.0  # beyond, a tunnel or bridge is likely

_YELLOW_ZONES = (237, 236, 161, 186, 162, 170, 48, 142, 239, 234, 141, 230, 79, 238, 163, 68, 107, 140, 263, 132, 138)
_GREEN_ZONES = (74, 75, 41, 42, 166, 244, 95, 97, 7, 82, 43, 116, 181, 129, 25, 65, 66, 33, 130, 226, 152)
_APP_ZONES = (61, 79, 37, 76, 42, 230, 132, 138, 231, 161, 48, 234, 89, 39, 244, 225, 17, 265, 188, 186, 62)
_ZONES = 265
_JFK = 132
_RATE_TO_JFK = 2

_TRIPS_BY_HOUR = np.array([9, 6, 4, 3, 3, 5, 13, 22, 27, 27, 28, 30, 32, 33, 36, 38, 39, 41, 40, 33, 27, 24, 20, 14])
_TRIPS_BY_WEEKDAY = np.array([13, 14, 15, 15, 16, 14, 13])
_SPEED_BY_HOUR = np.array(
    [19, 20, 21, 22, 23, 21, 17, 13, 12, 12, 12, 12, 12, 12, 11, 11, 12, 11, 12, 13, 14, 15, 16, 18]
)
_NIGHT = np.isin(np.arange(24), (20, 21, 22, 23, 0, 1, 2, 3, 4, 5))
_RUSH_HOUR = np.isin(np.arange(24), (16, 17, 18, 19))

# Words by number. What the publisher writes as request_source is not known here: those words are ours.
_NO_YES = ("N", "Y")
_BASES = ("B00001", "B00013", "B00254", "B01259", "B02510", "B02682", "B02764", "B02800", "B02872", "B02914", "b00056")
_LICENCES = ("HV0002", "HV0003", "HV0004", "HV0005")
_JUNO, _UBER, _VIA, _LYFT = range(4)
_BASE_OF_LICENCE = np.array([9, 6, 7, 4])
_WORDS = {
    "store_and_fwd_flag": _NO_YES,
    "request_source": ("app", "street"),
    "hvfhs_license_num": _LICENCES,
    "dispatching_base_num": _BASES,
    "originating_base_num": _BASES,
    # The publisher fills some of these up with blanks.
    "affiliated_base_number": (*(base + " " * 9 for base in _BASES[:4]), *_BASES[4:]),
    "shared_request_flag": _NO_YES,
    "shared_match_flag": _NO_YES,
    "access_a_ride_flag": (" ", "N", "Y"),
    "wav_request_flag": _NO_YES,
    "wav_match_flag": _NO_YES,
}

_PLACES_UNTIL = Month(2016, 7)  # from here on zones were published in place of coordinates
_FINE_PLACES = Month(2015, 1)  # from here on, and of green taxis ever, coordinates were 32 bits wide
_PLACES = ("pickup_longitude", "pickup_latitude", "dropoff_longitude", "dropoff_latitude")

_UNKNOWN_TO_THE_METER = (
    "passenger_count",
    "rate_code_id",
    "store_and_fwd_flag",
    "congestion_surcharge",
    "airport_fee",
)
_MONEY = (
    "fare_amount",
    "extra",
    "mta_tax",
    "tip_amount",
    "tolls_amount",
    "improvement_surcharge",
    "congestion_surcharge",
    "airport_fee",
    "cbd_congestion_fee",
    "total_amount",
)


@dataclass(frozen=True)
class Generated:
    """What a correct reading of a generated file finds."""

    rows: int
    without_passengers: int
    null_block: int


class _Tariff(NamedTuple):
    """What the meter charges, in US dollars."""

    flag_drop: float
    per_mile: float
    per_minute: float
    step: float
    rush_hour: float
    night: float
    improvement: float
    to_jfk: float


_TARIFF_2012 = _Tariff(2.5, 2.1, 0.22, 0.5, 1.0, 0.5, 0.3, 52.0)
_TARIFF_2022 = _Tariff(3.0, 2.9, 0.32, 0.1, 2.5, 1.0, 1.0, 70.0)


def write_month(file: TripFile, path: Path, *, source: str = "official", rows: int | None = None) -> Generated:
    """Write the file as the source would publish it, and say what is in it.

    Without `rows` it has as many as the publisher's, where that is known here (yellow 2021-01), else a steady number.
    """
    rows = _rows(file, source) if rows is None else rows
    if rows < 1:
        raise ValueError(f"{file}: cannot have {rows} rows, at least 1 was expected")
    promised = _promised(file, source, rows)
    schema = editions.schema_of(file, source)
    batches = _batches(file, source, promised, schema)
    published_as = catalog.source(source).path
    if published_as.endswith(".parquet"):
        _write_parquet(batches, schema, path, "gzip" if file.month < _ZSTD else "zstd")
    else:
        era = catalog.service(file.service).era(source, file.month)
        dialect = editions.dialect(file, source)
        _write_csv(batches, schema, path, dialect, era.padding, gzipped=published_as.endswith(".gz"))
    return promised


def _promised(file: TripFile, source: str, rows: int) -> Generated:
    if "passenger_count" not in {column.name for column in catalog.service(file.service).columns}:
        return Generated(rows, 0, 0)
    in_block = rows if file.month >= editions.NULL_BLOCK[source] else 0
    return Generated(
        rows,
        without_passengers=round(rows * _NOTES_WITHOUT_PASSENGERS / _NOTES_ROWS),
        null_block=round(in_block * _NOTES_NULL_BLOCK / _NOTES_ROWS),
    )


def _rows(file: TripFile, source: str) -> int:
    return _ROWS.get((file.service, str(file.month), source)) or _USUAL_ROWS[file.service]


def _batches(file: TripFile, source: str, promised: Generated, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """All rows: those with a meter's record by time of day, then the null block."""
    metered = promised.rows - promised.null_block
    kind = _MeteredTrips if file.service in ("yellow", "green") else _HiredTrips
    for first in range(0, metered, _CHUNK_ROWS):
        count = min(_CHUNK_ROWS, metered - first)
        before, after = (promised.without_passengers * row // metered for row in (first, first + count))
        trips = kind(file, first, count, metered, "metered")
        trips.make_dirty(nobody=after - before)
        trips.age()
        if editions.has_words_for_codes(schema):
            trips.spell(editions.latest(editions.SPELLED, file.month))
        yield _record_batch(trips, schema)
    for first in range(0, promised.null_block, _CHUNK_ROWS):
        count = min(_CHUNK_ROWS, promised.null_block - first)
        block = _MeteredTrips(file, first, count, promised.null_block, "null block")
        block.forget_the_meter(source)
        yield _record_batch(block, schema)


class _Trips(ABC):
    """Some consecutive trips of a month, clean at first; a column is an array under its canonical name."""

    def __init__(self, file: TripFile, first: int, count: int, of: int, kind: str) -> None:
        self.file = file
        self.first = first
        self.count = count
        self.random = np.random.Generator(np.random.PCG64([zlib.crc32(f"{file} {kind}".encode()), first]))
        self.columns: dict[str, Values] = {"__index_level_0__": np.arange(first, first + count)}
        self.words: dict[str, tuple[str, ...]] = dict(_WORDS)
        self._ride((np.arange(first, first + count) + 0.5) / of)
        self._pay()

    @abstractmethod
    def make_dirty(self, nobody: int) -> None:
        """Add what is wrong in the publisher's files; just so many trips have a passenger_count of 0."""

    def age(self) -> None:
        """Leave empty what was not recorded in those days."""
        for column, until in editions.EMPTY[self.file.service].items():
            if self.file.month < until:
                self.columns.pop(column)

    def spell(self, spelled: dict[str, editions.Spellings]) -> None:
        """Turn codes into words, each into its spellings in turn."""
        for column, spellings in spelled.items():
            spans = {code: len(words) for code, words in spellings.items()}
            starts = dict(zip(spans, np.cumsum([0, *spans.values()]), strict=False))
            start, span = (np.vectorize(of.get, otypes=[int])(self.columns[column]) for of in (starts, spans))
            self.columns[column] = start + np.arange(self.first, self.first + self.count) % span
            self.words[column] = tuple(word for words in spellings.values() for word in words)

    @abstractmethod
    def _ride(self, positions: Values) -> None:
        """Add where and when: positions are the trips' places in the month, from 0 to 1."""

    @abstractmethod
    def _pay(self) -> None:
        """Add what the trips cost."""

    def _since(self, month: Month, fee: float) -> float:
        """The fee, in a file of the month in which it came or of a later one."""
        return fee if self.file.month >= month else 0.0

    def _pickups(self, positions: Values) -> Values:
        """Seconds since 1970 in New York wall time, in about the order of the positions (0 to 1) in the month."""
        start, end = (
            int(datetime(month.year, month.month, 1, tzinfo=UTC).timestamp())
            for month in (self.file.month, self.file.month + 1)
        )
        hours = np.arange(start // 3_600, end // 3_600)
        weekday = (hours // 24 + 3) % 7  # 1970 began on a Thursday
        busy = np.cumsum(_TRIPS_BY_HOUR[hours % 24] * _TRIPS_BY_WEEKDAY[weekday])
        seconds = np.interp(positions, np.concatenate([[0], busy / busy[-1]]), np.arange(start, end + 1, 3_600))
        # The order is rough, which at both ends of the month brings in some trips of its neighbours.
        return seconds.astype(np.int64) + self.random.integers(-900, 900, self.count)

    def _zones(self, common: tuple[int, ...], concentration: float) -> Values:
        weights = np.full(_ZONES, (1 - concentration) / _ZONES)
        weights[np.array(common) - 1] += concentration * np.linspace(2, 0.4, len(common)) / (1.2 * len(common))
        weights[263:] = 0  # 264 and 265 are no zones: they are dirt
        return self._choice(np.arange(1, _ZONES + 1), weights / weights.sum())

    def _choice(self, values: Values | tuple[int, ...], weights: Values | tuple[float, ...]) -> Values:
        bounds = np.cumsum(weights)[:-1]
        return np.array(values)[np.searchsorted(bounds, self.random.random(self.count), side="right")]

    def _chance(self, probability: float) -> Values:
        """True for about that share of the trips."""
        return self.random.random(self.count) < probability

    def _some(self, one_in: int) -> Values:
        """A few different trips, at least one."""
        return self.random.choice(self.count, -(-self.count // one_in), replace=False)

    def _misplace(self, one_in: int) -> None:
        """Give a few trips the date of a clock that was never set."""
        for never_set in (datetime(2008, 12, 31, 23, tzinfo=UTC), datetime(2009, 1, 1, tzinfo=UTC)):
            trips = self._some(one_in)
            lasted = self.columns["dropoff_datetime"][trips] - self.columns["pickup_datetime"][trips]
            pickup = int(never_set.timestamp()) + self.random.integers(0, 3_600, len(trips))
            self.columns["pickup_datetime"][trips] = pickup
            self.columns["dropoff_datetime"][trips] = pickup + lasted


class _MeteredTrips(_Trips):
    """Trips of yellow and green taxis."""

    def __init__(self, file: TripFile, first: int, count: int, of: int, kind: str) -> None:
        self.green = file.service == "green"
        self.tariff = _TARIFF_2012 if file.month < _NEW_TARIFF else _TARIFF_2022
        super().__init__(file, first, count, of, kind)

    def make_dirty(self, nobody: int) -> None:
        """Add what is wrong in the publisher's files; just so many trips have a passenger_count of 0."""
        columns = self.columns
        columns["rate_code_id"][self._some(one_in=900)] = 99
        columns["trip_distance"][self._some(one_in=120)] = 0.0
        self._misplace(one_in=400_000)
        self._make_absurd(one_in=60_000)
        backwards = self._some(one_in=20_000)
        columns["dropoff_datetime"][backwards] = columns["pickup_datetime"][backwards] - 67
        for column, unknown in (("pickup_location_id", 264), ("dropoff_location_id", 265)):
            columns[column][self._some(one_in=150)] = unknown
        reversed_ = self._reverse(one_in=300)
        candidates = np.delete(np.arange(self.count), reversed_)
        for column in _MONEY:
            columns[column][candidates[1_000::20_000]] *= -1  # a reversal of nothing
        columns["passenger_count"][self.random.choice(candidates, nobody, replace=False)] = 0

    def forget_the_meter(self, source: str) -> None:
        """Make the trips of the null block, which come from dispatchers and leave columns empty."""
        columns = self.columns
        for column in ("pickup_datetime", "dropoff_datetime"):
            columns[column] = columns[column] // 60 * 60
        columns["fare_amount"] = np.round(columns["fare_amount"] * self.random.uniform(1.1, 1.7, self.count), 2)
        columns["payment_type"][:] = 0
        self._make_absurd(one_in=8_000)
        unknown = set(_UNKNOWN_TO_THE_METER)
        if self.green:
            unknown |= {"payment_type", "trip_type"}
        if source != "official":
            unknown |= {"vendor_id", "payment_type"}
            if not self.green:  # the one column of the block that the mirror's yellow files fill in
                columns["congestion_surcharge"][:] = 0
                unknown.remove("congestion_surcharge")
        if self.file.month in (Month(2025, 1), Month(2025, 2)):
            unknown.add("cbd_congestion_fee")
        self._total(tuple(column for column in _MONEY[:-1] if column not in unknown))
        for column in unknown:
            del columns[column]

    def age(self) -> None:
        """As the first years had it: a third vendor, words in place of codes, taxes left out, places for zones."""
        super().age()
        columns, month = self.columns, self.file.month
        if month < Month(2011, 1):
            columns["vendor_id"][self._some(one_in=12)] = editions.DDS
        if month < Month(2010, 1):
            columns["mta_tax"] = np.ma.masked_where(columns["vendor_id"] != editions.DDS, columns["mta_tax"])
        if month < _PLACES_UNTIL:
            columns |= self._places()

    def _places(self) -> dict[str, Values]:
        """Coordinates near the middle of the zones, some of them unknown, which was written 0."""
        middles = np.random.Generator(np.random.PCG64(_ZONES)).uniform((-74.02, 40.6), (-73.8, 40.85), (_ZONES + 1, 2))
        random = np.random.Generator(np.random.PCG64([zlib.crc32(f"{self.file} places".encode()), self.first]))
        ends = [self.columns[name] for name in ("pickup_location_id", "dropoff_location_id")]
        places = np.hstack([middles[zones] + random.normal(0, 0.004, (self.count, 2)) for zones in ends])
        places[random.random(self.count) < 0.015] = 0  # noqa: PLR2004 - a share of dirt
        fine = self.green or self.file.month >= _FINE_PLACES
        places = places.astype(np.float32).astype(np.float64) if fine else np.round(places, 6)
        return dict(zip(_PLACES, places.T, strict=True))

    def _ride(self, positions: Values) -> None:
        pickup = self._pickups(positions)
        hour = pickup % 86_400 // 3_600
        common = _GREEN_ZONES if self.green else _YELLOW_ZONES
        pickup_zone, dropoff_zone = self._zones(common, 0.9), self._zones(common, 0.6)
        rate_code = np.where((pickup_zone == _JFK) & self._chance(0.5), _RATE_TO_JFK, 1)
        rate_code[self._some(one_in=200)] = 5
        median = 2.2 if self.green else 1.75
        miles: Values = self.random.lognormal(np.log(median), 0.85, self.count)
        miles = np.where(rate_code == _RATE_TO_JFK, self.random.normal(17.5, 1.5, self.count), miles)
        miles = np.round(np.clip(miles, 0.01, 80.0), 2)
        speed = _SPEED_BY_HOUR[hour] * self.random.lognormal(0.0, 0.25, self.count)
        seconds = np.clip(miles / speed * 3_600, 30, 4 * 3_600).astype(np.int64)
        vendor = self._choice((1, 2), (0.1, 0.9) if self.green else (0.33, 0.67))
        self.columns |= {
            "vendor_id": vendor,
            "pickup_datetime": pickup,
            "dropoff_datetime": pickup + seconds,
            "passenger_count": self._choice((1, 2, 3, 4, 5, 6), (0.75, 0.15, 0.035, 0.015, 0.03, 0.02)),
            "trip_distance": miles,
            "rate_code_id": rate_code,
            "store_and_fwd_flag": self._choice((0, 1), (0.994, 0.006)),
            "pickup_location_id": pickup_zone,
            "dropoff_location_id": dropoff_zone,
            "trip_type": self._choice((1, 2), (0.97, 0.03)),
            "request_source": self._choice((0, 1), (0.2, 0.8)),
        }

    def _pay(self) -> None:
        columns, tariff = self.columns, self.tariff
        miles, rate_code = columns["trip_distance"], columns["rate_code_id"]
        minutes = (columns["dropoff_datetime"] - columns["pickup_datetime"]) / 60
        hour = columns["pickup_datetime"] % 86_400 // 3_600
        meter = np.round((miles * tariff.per_mile + minutes * tariff.per_minute) / tariff.step) * tariff.step
        fare = np.where(rate_code == _RATE_TO_JFK, tariff.to_jfk, tariff.flag_drop + meter)
        surcharge = self._since(Month(2019, 2), 2.75 if self.green else 2.5)
        congestion = np.where(self._chance(0.25 if self.green else 0.92), surcharge, 0.0)
        at_jfk = columns["pickup_location_id"] == _JFK
        extra = np.select([_NIGHT[hour], _RUSH_HOUR[hour]], [tariff.night, tariff.rush_hour], 0.0)
        # The meters of vendor 1 count the congestion surcharge among the extras as well.
        extra = np.where(columns["vendor_id"] == 1, extra + congestion, extra)
        payment = self._choice((1, 2, 3, 4), (0.73, 0.255, 0.01, 0.005))
        tip = np.where(payment == 1, fare * self.random.choice([0.0, 0.18, 0.2, 0.22, 0.25, 0.3], self.count), 0.0)
        through = (miles > _FAR_MILES) & self._chance(0.6)
        zeros = np.zeros(self.count)
        columns |= {
            "payment_type": payment,
            "fare_amount": np.round(fare, 2),
            "extra": extra,
            "mta_tax": np.full(self.count, 0.5),
            "tip_amount": np.round(tip, 2),
            "tolls_amount": np.where(through, 6.12, 0.0),
            "improvement_surcharge": zeros + self._since(Month(2015, 1), tariff.improvement),
            "congestion_surcharge": congestion,
            "airport_fee": np.where(at_jfk, 0.0 if self.green else self._since(Month(2022, 4), 1.25), 0.0),
            "cbd_congestion_fee": np.where((congestion > 0) & (rate_code == 1), self._since(Month(2025, 1), 0.75), 0.0),
            "ehail_fee": zeros,
        }
        self._total(_MONEY[:-1])

    def _total(self, of: tuple[str, ...]) -> None:
        # What vendor 1 counts twice is paid once.
        twice = np.where(self.columns["vendor_id"] == 1, self.columns["congestion_surcharge"], 0.0)
        self.columns["total_amount"] = np.round(sum(self.columns[column] for column in of) - twice, 2)

    def _make_absurd(self, one_in: int) -> None:
        trips = self._some(one_in)
        self.columns["trip_distance"][trips] = np.round(self.random.uniform(10_000, 260_000, len(trips)), 2)

    def _reverse(self, one_in: int) -> Values:
        """Follow a few charges by their reversal, the same trip with negative amounts; returns the trips of pairs."""
        charges = self.random.choice(self.count // 2, self.count // 2 // one_in, replace=False) * 2
        self.columns["vendor_id"][charges] = 2
        self._total(_MONEY[:-1])
        for column, values in self.columns.items():
            values[charges + 1] = -values[charges] if column in _MONEY else values[charges]
        return np.concatenate([charges, charges + 1])


class _HiredTrips(_Trips):
    """Trips of for-hire vehicles, of the apps (fhvhv) or of others (fhv)."""

    def make_dirty(self, nobody: int) -> None:
        """Add what is wrong in the publisher's files, which know nothing of passengers."""
        columns, far_future = self.columns, int(datetime(3019, 2, 3, tzinfo=UTC).timestamp())
        if nobody:
            raise ValueError(f"{self.file}: has no passenger_count that could be 0")
        columns["dropoff_datetime"][self._some(one_in=20_000)] = far_future
        backwards = self._some(one_in=20_000)
        columns["dropoff_datetime"][backwards] = columns["pickup_datetime"][backwards] - 67
        self._misplace(one_in=400_000)
        columns["pickup_location_id"][self._some(one_in=150)] = 264
        columns["dropoff_location_id"][self._some(one_in=150)] = 265
        self._lose("sr_flag", 0.8)
        if self.file.service == "fhv":
            self._lose("pickup_location_id", 0.6)
            self._lose("dropoff_location_id", 0.4)
            self._lose("affiliated_base_number", 0.05)
        else:
            columns["trip_distance"][self._some(one_in=120)] = 0.0
            reversed_ = self._some(one_in=2_000)
            columns["driver_pay"][reversed_] = -columns["driver_pay"][reversed_]
            of_uber = columns["hvfhs_license_num"] == _UBER
            for column in ("on_scene_datetime", "originating_base_num"):
                columns[column] = np.ma.masked_where(~of_uber, columns[column])

    def _lose(self, column: str, share: float) -> None:
        self.columns[column] = np.ma.masked_where(self._chance(share), self.columns[column])

    def _ride(self, positions: Values) -> None:
        pickup = self._pickups(positions)
        miles = np.round(np.clip(self.random.lognormal(np.log(3.0), 0.9, self.count), 0.01, 120.0), 2)
        speed = _SPEED_BY_HOUR[pickup % 86_400 // 3_600] * self.random.lognormal(0.1, 0.25, self.count)
        seconds = np.clip(miles / speed * 3_600, 60, 5 * 3_600).astype(np.int64)
        waited = self.random.integers(60, 900, self.count)
        licence = self._choice((_JUNO, _UBER, _VIA, _LYFT), (0.02, 0.72, 0.04, 0.22))
        base = self.random.integers(0, len(_BASES), self.count)
        if self.file.service == "fhvhv":
            base = _BASE_OF_LICENCE[licence]
        shared = self._chance(0.2).astype(np.int64)
        self.columns |= {
            "hvfhs_license_num": licence,
            "dispatching_base_num": base,
            "originating_base_num": base.copy(),
            "affiliated_base_number": np.where(self._chance(0.9), base, 0),
            "request_datetime": pickup - waited,
            "on_scene_datetime": pickup - waited // 3,
            "pickup_datetime": pickup,
            "dropoff_datetime": pickup + seconds,
            "pickup_location_id": self._zones(_APP_ZONES, 0.6),
            "dropoff_location_id": self._zones(_APP_ZONES, 0.5),
            "sr_flag": np.ones(self.count),
            "trip_distance": miles,
            "trip_time": seconds,
            "shared_request_flag": shared,
            "shared_match_flag": shared & self._chance(0.5),
            "access_a_ride_flag": np.where(licence == _UBER, 0, 1),
            "wav_request_flag": self._chance(0.002).astype(np.int64),
            "wav_match_flag": self._chance(0.06).astype(np.int64),
        }

    def _pay(self) -> None:
        columns = self.columns
        fare = np.round(2.55 + 1.75 * columns["trip_distance"] + columns["trip_time"] / 60 * 0.35, 2)
        at_jfk = (columns["pickup_location_id"] == _JFK) | (columns["dropoff_location_id"] == _JFK)
        in_centre = self._chance(0.4)
        columns |= {
            "base_passenger_fare": fare,
            "tolls_amount": np.where(self._chance(0.08), 6.55, 0.0),
            "bcf": np.round(fare * 0.03, 2),
            "sales_tax": np.round(fare * 0.08875, 2),
            "congestion_surcharge": np.where(in_centre, 2.75, 0.0),
            "airport_fee": np.where(at_jfk, 2.5, 0.0),
            "cbd_congestion_fee": np.where(in_centre, self._since(Month(2025, 1), 1.5), 0.0),
            "tip_amount": np.where(self._chance(0.2), np.round(fare * 0.15, 2), 0.0),
            "driver_pay": np.round(fare * 0.78, 2),
        }


def _record_batch(trips: _Trips, schema: pa.Schema) -> pa.RecordBatch:
    """The trips in a file's schema; a column that they have not is empty."""
    return pa.RecordBatch.from_arrays([_array(trips, field) for field in schema], schema=schema)


def _array(trips: _Trips, field: pa.Field) -> pa.Array:
    name = field.metadata[b"canonical"].decode()
    values = trips.columns.get(name)
    if values is None or pa.types.is_null(field.type):
        return pa.nulls(trips.count, field.type)
    if name in trips.words:
        return _words(trips.words[name], values).cast(field.type)
    type_ = field.type
    if pa.types.is_string(type_):
        type_ = pa.timestamp("s") if name.endswith("_datetime") else pa.int64()
    if pa.types.is_timestamp(type_):
        values = values * (1_000_000 if type_.unit == "us" else 1)
    return _numbers(values, type_).cast(field.type)


def _numbers(values: Values, type_: pa.DataType) -> pa.Array:
    # Not pa.array: wherever pandas is installed that imports it, for a second of CPU.
    dtype = f"{'f' if pa.types.is_floating(type_) else 'i'}{type_.bit_width // 8}"
    there = None
    if isinstance(values, np.ma.MaskedArray):
        there = pa.py_buffer(np.packbits(~np.ma.getmaskarray(values), bitorder="little"))
        values = values.filled(0)
    return pa.Array.from_buffers(type_, len(values), [there, pa.py_buffer(np.ascontiguousarray(values, dtype))])


def _words(words: tuple[str, ...], values: Values) -> pa.Array:
    """The words by number; the empty one is none."""
    ends = np.cumsum([0, *map(len, words)], dtype=np.int32)
    text = pa.Array.from_buffers(
        pa.string(), len(words), [None, pa.py_buffer(ends), pa.py_buffer("".join(words).encode())]
    )
    if "" in words:
        values = np.ma.masked_where(np.isin(values, [number for number, word in enumerate(words) if not word]), values)
    return text.take(_numbers(values, pa.int32()))


def _write_parquet(batches: Iterable[pa.RecordBatch], schema: pa.Schema, path: Path, compression: str) -> None:
    """One row group, as the publisher's files are, unless that would take more memory than a laptop spares."""
    schema = pa.schema([field.remove_metadata() for field in schema])
    level = _GZIP_PARQUET_LEVEL if compression == "gzip" else None
    with parquet.ParquetWriter(path, schema, compression=compression, compression_level=level) as writer:
        waiting: list[pa.RecordBatch] = []
        for batch in batches:
            waiting.append(batch)
            if sum(some.num_rows for some in waiting) >= _ROW_GROUP_ROWS:
                _write_row_group(writer, waiting, schema)
                waiting = []
        if waiting:
            _write_row_group(writer, waiting, schema)


def _write_row_group(writer: parquet.ParquetWriter, batches: list[pa.RecordBatch], schema: pa.Schema) -> None:
    table = pa.Table.from_batches([pa.RecordBatch.from_arrays(batch.columns, schema=schema) for batch in batches])
    writer.write_table(table, row_group_size=table.num_rows)


def _write_csv(
    batches: Iterable[pa.RecordBatch],
    schema: pa.Schema,
    path: Path,
    dialect: editions.Dialect,
    padding: int,
    *,
    gzipped: bool,
) -> None:
    options = arrow_csv.WriteOptions(
        include_header=False, quoting_style="all_valid" if dialect.quoted else "none", eol="\r\n"
    )
    with ExitStack() as stack:
        file: BinaryIO = stack.enter_context(path.open("wb"))
        if gzipped:
            file = cast("BinaryIO", stack.enter_context(gzip.GzipFile("", "wb", _GZIP_CSV_LEVEL, file, mtime=0)))
        file.write(_header(schema.names, dialect))
        for batch in batches:
            arrow_csv.write_csv(_as_text(batch, dialect, padding), file, options)


def _header(names: list[str], dialect: editions.Dialect) -> bytes:
    quote = '"' if dialect.quoted else ""
    published = [f"{quote}{name.replace(*dialect.renamed)}{quote}" for name in names]
    end = "\n\r\n" if dialect.blank_line else "\r\n"
    return (dialect.between_names.join(published) + dialect.after_names + end).encode()


def _as_text(batch: pa.RecordBatch, dialect: editions.Dialect, padding: int) -> pa.RecordBatch:
    """As in the publisher's files: a distance under a mile has no digit before the point, coordinates have too many."""
    columns = dict(zip(batch.schema.names, batch.columns, strict=True))
    for field in batch.schema:
        canonical = field.metadata[b"canonical"].decode()
        if canonical in _PLACES or (dialect.long_decimals and pa.types.is_floating(field.type)):
            columns[field.name] = _long_decimals(columns[field.name])
        elif canonical == "trip_distance":
            columns[field.name] = _distances(columns[field.name])
        if dialect.quoted:
            columns[field.name] = columns[field.name].cast(pa.string()).fill_null("")
    columns |= {f"padding {number}": pa.nulls(batch.num_rows) for number in range(padding)}
    return pa.RecordBatch.from_arrays(list(columns.values()), names=list(columns))


def _long_decimals(numbers: pa.Array) -> pa.Array:
    """All the digits that a float needs, though fewer would do."""
    builder = pa.lib.StringBuilder()
    builder.append_values([None if number is None else f"{number:.17g}" for number in numbers.to_pylist()])
    return builder.finish()


def _distances(miles: pa.Array) -> pa.Array:
    text = miles.cast(pa.decimal128(18, 2), safe=False).cast(pa.string())
    return compute.replace_substring_regex(text, r"^0\.", ".")
