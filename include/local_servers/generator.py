"""generator: trip files of our own making, in the publisher's shapes and with the publisher's dirt.

No row is copied from anywhere. The same file comes out the same, byte by byte, whenever it is made; the source decides
only the format, so both editions of a month hold the same trips.
"""

from __future__ import annotations

import gzip
import zlib
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import compute, parquet
from pyarrow import csv as arrow_csv

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
_USUAL_ROWS = {"yellow": 300_000, "green": 60_000}

_SPLIT_TYPES = Month(2023, 2)  # from here on the publisher writes narrower integers and large strings
_NEW_TARIFF = Month(2023, 1)
_FAR_MILES = 13.0  # beyond, a tunnel or bridge is likely

_YELLOW_ZONES = (237, 236, 161, 186, 162, 170, 48, 142, 239, 234, 141, 230, 79, 238, 163, 68, 107, 140, 263, 132, 138)
_GREEN_ZONES = (74, 75, 41, 42, 166, 244, 95, 97, 7, 82, 43, 116, 181, 129, 25, 65, 66, 33, 130, 226, 152)
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

# What the publisher writes as request_source is not known here: these words are ours.
_WORDS = {"store_and_fwd_flag": ("N", "Y"), "request_source": ("app", "street")}
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
    null_block = round(rows * _NOTES_NULL_BLOCK / _NOTES_ROWS)
    promised = Generated(rows, round(rows * _NOTES_WITHOUT_PASSENGERS / _NOTES_ROWS), null_block)
    schema = _schema(file, source)
    batches = _batches(file, source, promised, schema)
    if catalog.source(source).path.endswith(".parquet"):
        _write_parquet(batches, schema, path, "gzip" if file.month < _SPLIT_TYPES else "zstd")
    else:
        _write_csv(batches, schema, path)
    return promised


def _rows(file: TripFile, source: str) -> int:
    return _ROWS.get((file.service, str(file.month), source)) or _USUAL_ROWS[file.service]


def _schema(file: TripFile, source: str) -> pa.Schema:
    """The era's columns under their published names, in their published types."""
    service = catalog.service(file.service)
    fields = []
    for name in service.era(source, file.month).columns:
        column = service.column_published_as(name)
        if column is None:
            raise ValueError(f"{file}: column {name!r} is in an era of {service.name}, but not in its columns")
        type_ = _parquet_type(file, column) if source == "official" else _csv_type(column)
        fields.append(pa.field(name, type_, metadata={"canonical": column.name}))
    return pa.schema(fields)


def _csv_type(column: catalog.Column) -> pa.DataType:
    if column.name == "ehail_fee":
        return pa.null()
    types = {"int16": pa.int64(), "float64": pa.float64(), "timestamp": pa.timestamp("s"), "text": pa.string()}
    return types[column.type]


def _parquet_type(file: TripFile, column: catalog.Column) -> pa.DataType:
    """The type that the publisher's tools of that time made of the column."""
    narrow = file.month >= _SPLIT_TYPES
    if column.type == "timestamp":
        return pa.timestamp("us")
    if column.type == "text":
        return pa.large_string() if narrow else pa.string()
    if column.type == "float64":
        return pa.null() if _is_null_type(file, column.name) else pa.float64()
    if column.name in ("vendor_id", "pickup_location_id", "dropoff_location_id"):
        return pa.int32() if narrow else pa.int64()
    if narrow or (file.service, column.name) == ("yellow", "payment_type"):
        return pa.int64()
    return pa.float64()  # an integer column with nulls, as pandas wrote it


def _is_null_type(file: TripFile, column: str) -> bool:
    """Whether the column had no value at all in that month, so that it had no type either."""
    match column:
        case "ehail_fee":
            return file.month < _SPLIT_TYPES
        case "congestion_surcharge":
            return file.month < Month(2019, 1)
        case "airport_fee":
            return file.month < Month(2020, 8) or file.month == Month(2020, 10)
    return False


def _batches(file: TripFile, source: str, promised: Generated, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """All rows: those with a meter's record by time of day, then the null block."""
    metered = promised.rows - promised.null_block
    for first in range(0, metered, _CHUNK_ROWS):
        count = min(_CHUNK_ROWS, metered - first)
        before, after = (promised.without_passengers * row // metered for row in (first, first + count))
        trips = _Trips(file, first, count, metered, "metered")
        trips.make_dirty(nobody=after - before)
        yield _record_batch(trips.columns, schema)
    for first in range(0, promised.null_block, _CHUNK_ROWS):
        count = min(_CHUNK_ROWS, promised.null_block - first)
        trips = _Trips(file, first, count, promised.null_block, "null block")
        unknown = trips.forget_the_meter(source)
        yield _record_batch({name: values for name, values in trips.columns.items() if name not in unknown}, schema)


class _Trips:
    """Some consecutive trips of a month, clean at first; a column is an array under its canonical name."""

    def __init__(self, file: TripFile, first: int, count: int, of: int, kind: str) -> None:
        self.file = file
        self.count = count
        self.green = file.service == "green"
        self.tariff = _TARIFF_2012 if file.month < _NEW_TARIFF else _TARIFF_2022
        self.random = np.random.Generator(np.random.PCG64([zlib.crc32(f"{file} {kind}".encode()), first]))
        self.columns: dict[str, Values] = {}
        self._ride((np.arange(first, first + count) + 0.5) / of)
        self._pay()

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
        columns["passenger_count"][self.random.choice(candidates, nobody, replace=False)] = 0

    def forget_the_meter(self, source: str) -> set[str]:
        """Make the trips of the null block, which come from dispatchers; returns the columns that they leave empty."""
        columns = self.columns
        for column in ("pickup_datetime", "dropoff_datetime"):
            columns[column] = columns[column] // 60 * 60
        columns["fare_amount"] = np.round(columns["fare_amount"] * self.random.uniform(1.1, 1.7, self.count), 2)
        columns["payment_type"][:] = 0
        self._make_absurd(one_in=8_000)
        unknown = set(_UNKNOWN_TO_THE_METER)
        if self.green:
            unknown |= {"payment_type", "trip_type"}
        if source == "csv_mirror":
            unknown |= {"vendor_id", "payment_type"}
            if not self.green:  # the one column of the block that the mirror's yellow files fill in
                columns["congestion_surcharge"][:] = 0
                unknown.remove("congestion_surcharge")
        if self.file.month in (Month(2025, 1), Month(2025, 2)):
            unknown.add("cbd_congestion_fee")
        self._total(tuple(column for column in _MONEY[:-1] if column not in unknown))
        return unknown

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

    def _since(self, month: Month, fee: float) -> float:
        """The fee, in a file of the month in which it came or of a later one."""
        return fee if self.file.month >= month else 0.0

    def _total(self, of: tuple[str, ...]) -> None:
        # What vendor 1 counts twice is paid once.
        twice = np.where(self.columns["vendor_id"] == 1, self.columns["congestion_surcharge"], 0.0)
        self.columns["total_amount"] = np.round(sum(self.columns[column] for column in of) - twice, 2)

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


def _record_batch(columns: dict[str, Values], schema: pa.Schema) -> pa.RecordBatch:
    """The trips in a file's schema; a column that is not given is empty."""
    count = len(columns["pickup_datetime"])
    arrays = [_array(columns.get(field.metadata[b"canonical"].decode()), field, count) for field in schema]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _array(values: Values | None, field: pa.Field, count: int) -> pa.Array:
    if values is None or pa.types.is_null(field.type):
        return pa.nulls(count, field.type)
    words = _WORDS.get(field.metadata[b"canonical"].decode())
    if words is not None:
        return _text(words).take(_numbers(values, pa.int32())).cast(field.type)
    if pa.types.is_timestamp(field.type):
        return _numbers(values * (1_000_000 if field.type.unit == "us" else 1), field.type)
    return _numbers(values, field.type)


def _numbers(values: Values, type_: pa.DataType) -> pa.Array:
    # Not pa.array: wherever pandas is installed that imports it, for a second of CPU.
    dtype = f"{'f' if pa.types.is_floating(type_) else 'i'}{type_.bit_width // 8}"
    return pa.Array.from_buffers(type_, len(values), [None, pa.py_buffer(np.ascontiguousarray(values, dtype))])


def _text(words: tuple[str, ...]) -> pa.Array:
    ends = np.cumsum([0, *map(len, words)], dtype=np.int32)
    return pa.Array.from_buffers(
        pa.string(), len(words), [None, pa.py_buffer(ends), pa.py_buffer("".join(words).encode())]
    )


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


def _write_csv(batches: Iterable[pa.RecordBatch], schema: pa.Schema, path: Path) -> None:
    """As the mirror's files: lines end in CR LF, a distance under a mile has no digit before the point."""
    options = arrow_csv.WriteOptions(include_header=False, quoting_style="none", eol="\r\n")
    with path.open("wb") as raw, gzip.GzipFile("", "wb", _GZIP_CSV_LEVEL, raw, mtime=0) as file:
        file.write(",".join(schema.names).encode() + b"\r\n")
        for batch in batches:
            arrow_csv.write_csv(_with_distances_as_text(batch), file, options)


def _with_distances_as_text(batch: pa.RecordBatch) -> pa.RecordBatch:
    text = batch["trip_distance"].cast(pa.decimal128(18, 2), safe=False).cast(pa.string())
    text = compute.replace_substring_regex(text, r"^0\.", ".")
    return batch.set_column(batch.schema.get_field_index("trip_distance"), "trip_distance", text)
