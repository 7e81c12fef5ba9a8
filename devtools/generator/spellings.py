"""spellings: how the publisher wrote its files in each year, beyond what the catalogue has.

The types of Parquet columns and the words in place of codes are rows of data here; what is special about a
service is in `services`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, TypeVar

import pyarrow as pa

from devtools.generator.services import PLAIN, habits
from include.nyc_taxi import Month, catalog

if TYPE_CHECKING:
    from collections.abc import Mapping

    from devtools.generator.services import Dialect
    from include.nyc_taxi import TripFile

_Row = TypeVar("_Row")
Spellings = dict[int, tuple[str, ...]]

# The first month in which a source's files of taxis end with rows without a record of a meter.
NULL_BLOCK = {"official": Month(2011, 1), "csv_mirror": Month(2019, 1), "csv_archive": Month(2019, 1)}

# The words that files had before codes, each in several spellings, by their first month; "" is a field without a value.
DDS = 3
_VENDORS: Spellings = {1: ("CMT",), 2: ("VTS",), DDS: ("DDS",)}
SPELLED: dict[Month, dict[str, Spellings]] = {
    Month(2009, 1): {
        "vendor_id": _VENDORS,
        "payment_type": {1: ("Credit", "CREDIT"), 2: ("CASH", "Cash"), 3: ("No Charge",), 4: ("Dispute",)},
        "store_and_fwd_flag": {0: ("0", "", ""), 1: ("1",)},
    },
    Month(2010, 1): {
        "vendor_id": _VENDORS,
        "payment_type": {1: ("CRE", "Cre", "CRD"), 2: ("CAS", "Cas", "CSH"), 3: ("NOC", "No", "NA"), 4: ("Dis", "DIS")},
        "store_and_fwd_flag": {0: ("0", "", "*"), 1: ("1",)},
    },
    Month(2011, 1): {
        "vendor_id": _VENDORS,
        "payment_type": {1: ("CRD",), 2: ("CSH",), 3: ("NOC",), 4: ("DIS", "UNK")},
        "store_and_fwd_flag": {0: ("N", ""), 1: ("Y",)},
    },
}


class _Retyped(NamedTuple):
    """A change of types: from a month on, Parquet files of some services have these columns in another type."""

    since: Month
    services: str
    columns: str
    type: str


_ARROW_TYPES = {
    "null": pa.null(),
    "int32": pa.int32(),
    "int64": pa.int64(),
    "double": pa.float64(),
    "string": pa.string(),
    "large_string": pa.large_string(),
    "timestamp[us]": pa.timestamp("us"),
}
# pandas wrote integers with nulls as double, and a column without a value as null.
_PARQUET_TYPES = {
    "int16": "double",
    "int32": "int64",
    "float64": "double",
    "timestamp": "timestamp[us]",
    "text": "string",
}
_IDS = "vendor_id pickup_location_id dropoff_location_id"
_COUNTS = "passenger_count rate_code_id payment_type trip_type"
_FLAGS = "shared_request_flag shared_match_flag access_a_ride_flag wav_request_flag wav_match_flag"
_RETYPED = (
    _Retyped(Month(2009, 1), "yellow", "pickup_datetime dropoff_datetime vendor_id payment_type", "string"),
    _Retyped(Month(2009, 1), "yellow", "passenger_count", "int64"),
    _Retyped(Month(2009, 1), "yellow", "store_and_fwd_flag", "double"),
    _Retyped(Month(2010, 1), "yellow", "rate_code_id store_and_fwd_flag", "string"),
    _Retyped(Month(2010, 2), "yellow", "rate_code_id", "int64"),
    _Retyped(Month(2010, 4), "yellow", "rate_code_id", "string"),
    _Retyped(Month(2011, 1), "yellow", "pickup_datetime dropoff_datetime", "timestamp[us]"),
    _Retyped(Month(2011, 1), "yellow", f"{_IDS} passenger_count rate_code_id payment_type", "int64"),
    _Retyped(Month(2011, 1), "yellow", "congestion_surcharge airport_fee", "null"),
    _Retyped(Month(2014, 1), "green", _IDS, "int64"),
    _Retyped(Month(2014, 1), "green", "congestion_surcharge", "null"),
    _Retyped(Month(2014, 8), "yellow", "improvement_surcharge", "null"),
    _Retyped(Month(2014, 9), "yellow", "improvement_surcharge", "double"),
    _Retyped(Month(2018, 7), "yellow", "passenger_count rate_code_id", "double"),
    _Retyped(Month(2019, 1), "yellow green", "congestion_surcharge", "double"),
    _Retyped(Month(2019, 2), "fhvhv", "pickup_location_id dropoff_location_id", "int64"),
    _Retyped(Month(2019, 2), "fhvhv", "airport_fee wav_match_flag", "null"),
    _Retyped(Month(2019, 3), "fhv", "sr_flag", "null"),
    _Retyped(Month(2019, 4), "fhvhv", "wav_match_flag", "string"),
    _Retyped(Month(2019, 5), "fhv", "pickup_location_id dropoff_location_id", "int64"),
    _Retyped(Month(2019, 7), "fhv", "pickup_location_id dropoff_location_id", "double"),
    _Retyped(Month(2019, 7), "fhvhv", "airport_fee", "double"),
    _Retyped(Month(2019, 9), "green", "ehail_fee", "null"),
    _Retyped(Month(2020, 4), "fhvhv", "airport_fee", "null"),
    _Retyped(Month(2020, 5), "fhvhv", "airport_fee", "double"),
    _Retyped(Month(2020, 7), "fhv", "dropoff_location_id", "int64"),
    _Retyped(Month(2020, 8), "fhv", "dropoff_location_id", "double"),
    _Retyped(Month(2020, 8), "yellow", "airport_fee", "double"),
    _Retyped(Month(2020, 10), "yellow fhvhv", "airport_fee", "null"),
    _Retyped(Month(2020, 11), "yellow fhvhv", "airport_fee", "double"),
    _Retyped(Month(2023, 2), "yellow green fhvhv", _IDS, "int32"),
    _Retyped(Month(2023, 2), "yellow green", _COUNTS, "int64"),
    _Retyped(Month(2023, 2), "yellow green", "store_and_fwd_flag request_source", "large_string"),
    _Retyped(Month(2023, 2), "green", "ehail_fee", "double"),
    _Retyped(Month(2023, 2), "fhv", "pickup_location_id dropoff_location_id sr_flag", "int64"),
    _Retyped(Month(2023, 2), "fhv", "dispatching_base_num affiliated_base_number", "large_string"),
    _Retyped(Month(2023, 2), "fhvhv", "hvfhs_license_num dispatching_base_num originating_base_num", "large_string"),
    _Retyped(Month(2023, 2), "fhvhv", _FLAGS, "large_string"),
)


def latest(by_month: Mapping[Month, _Row], month: Month) -> _Row:
    """Return the row of the last month that is not later than the given one."""
    return by_month[max(since for since in by_month if since <= month)]


def dialect(file: TripFile, source: str) -> Dialect:
    """Return how the source wrote the lines of the CSV file."""
    return latest(habits(file.service).archived, file.month) if source == "csv_archive" else PLAIN


def schema_of(file: TripFile, source: str) -> pa.Schema:
    """Return the era's columns under their published names and in their published types."""
    service = catalog.service(file.service)
    era = service.era(source, file.month)
    fields = []
    for name in (*era.columns, *era.ignored):
        column = service.column_published_as(name, era)
        if column is None and name not in era.ignored:
            raise ValueError(f"{file}: column {name!r} of era {era.name} is not in the columns of {service.name}")
        fields.append(_field(name, column, file, source))
    return pa.schema(fields)


def _field(name: str, column: catalog.Column | None, file: TripFile, source: str) -> pa.Field:
    if column is None:
        return pa.field(name, pa.int64(), metadata={"canonical": name})
    era = catalog.service(file.service).era(source, file.month)
    type_ = _parquet_type(file, column) if source == "official" else _csv_type(column, worded=era.worded)
    return pa.field(name, type_, metadata={"canonical": column.name})


def _csv_type(column: catalog.Column, *, worded: bool) -> pa.DataType:
    if column.name == "ehail_fee":
        return pa.null()
    if worded and column.codes:
        return pa.string()
    types = {
        "int16": pa.int64(),
        "int32": pa.int64(),
        "float64": pa.float64(),
        "timestamp": pa.timestamp("s"),
        "text": pa.string(),
    }
    return types[column.type]


def _parquet_type(file: TripFile, column: catalog.Column) -> pa.DataType:
    """Return the type that the publisher's tools gave the column at the time."""
    retyped = [
        change.type
        for change in _RETYPED
        if change.since <= file.month
        and file.service in change.services.split()
        and column.name in change.columns.split()
    ]
    return _ARROW_TYPES[[_PARQUET_TYPES[column.type], *retyped][-1]]


def has_words_for_codes(schema: pa.Schema) -> bool:
    """Return whether the file has words in place of codes, such as the names of vendors."""
    return any(field.metadata[b"canonical"] == b"vendor_id" and pa.types.is_string(field.type) for field in schema)
