"""quality: which rows of a trip file are kept, by rules that are rows of a table; a rejected row keeps its reason."""

from __future__ import annotations

import struct
from collections.abc import Callable  # noqa: TC003 - a field of a dataclass
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING

import pyarrow as pa
from pyarrow import compute

from include.nyc_taxi import catalog

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from include.nyc_taxi.catalog import Column
    from include.nyc_taxi.files import TripFile
    from include.nyc_taxi.months import Month

_FORMATS = {pa.int16(): "h", pa.float64(): "d", pa.timestamp("us"): "q"}
NO_PASSENGERS = "no_passengers"
_FARTHEST_MILES = 1000.0
_HIGHEST_DOLLARS = 5000.0
_LAST_ZONE = 265
_MICROSECONDS = 1_000_000


@dataclass(frozen=True)
class Rule:
    """Says which rows are wrong. `hits` gives true for those; null, where a value is absent, counts as false."""

    name: str
    says: str
    columns: tuple[str, ...]
    hits: Callable[[pa.RecordBatch, TripFile], pa.BooleanArray]

    def applies_to(self, service: str) -> bool:
        """Whether the service has the columns that the rule looks at."""
        return set(self.columns) <= {column.name for column in catalog.service(service).columns}


def _constant(value: float, type_: pa.DataType) -> pa.Scalar:
    # Not pa.scalar: wherever pandas is installed that imports it, for a second of CPU in every task.
    packed = pa.py_buffer(struct.pack(f"={_FORMATS[type_]}", value))
    return pa.Array.from_buffers(type_, 1, [None, packed])[0]


_NOBODY = _constant(0, pa.int16())
_FALSE = compute.equal(_NOBODY, _constant(1, pa.int16()))


def _outside(column: pa.Array, low: float, high: float) -> pa.BooleanArray:
    below = compute.less(column, _constant(low, column.type))
    return compute.or_(below, compute.greater(column, _constant(high, column.type)))


def _no_passengers(trips: pa.RecordBatch, _file: TripFile) -> pa.BooleanArray:
    return compute.equal(trips["passenger_count"], _NOBODY)


def _pickup_outside_month(trips: pa.RecordBatch, file: TripFile) -> pa.BooleanArray:
    return _outside(trips["pickup_datetime"], _microseconds(file.month), _microseconds(file.month + 1) - 1)


def _microseconds(month: Month) -> int:
    start = datetime.combine(month.first_day, datetime.min.time(), UTC)
    return int(start.timestamp()) * _MICROSECONDS


def _dropoff_before_pickup(trips: pa.RecordBatch, _file: TripFile) -> pa.BooleanArray:
    return compute.less(trips["dropoff_datetime"], trips["pickup_datetime"])


def _absurd_distance(trips: pa.RecordBatch, _file: TripFile) -> pa.BooleanArray:
    return _outside(trips["trip_distance"], 0.0, _FARTHEST_MILES)


def _absurd_amount(trips: pa.RecordBatch, _file: TripFile) -> pa.BooleanArray:
    return _outside(trips["total_amount"], -_HIGHEST_DOLLARS, _HIGHEST_DOLLARS)


def _unknown_value(column: Column) -> Rule:
    """The rule that a column holds only what the publisher's dictionary explains."""

    def hits(trips: pa.RecordBatch, _file: TripFile) -> pa.BooleanArray:
        values = trips[column.name]
        return compute.and_(values.is_valid(), compute.invert(compute.is_in(values, value_set=_values(column))))

    known = ", ".join(map(str, column.values))
    return Rule(f"unknown_{column.name}", f"{column.name} is not one of {known}", (column.name,), hits)


@cache
def _values(coded: Column) -> pa.Array:
    """The known codes, of the column's type."""
    builder = pa.lib.StringBuilder()
    builder.append_values([str(value) for value in coded.values])
    return builder.finish().cast(pa.string() if coded.type == "text" else pa.int16())


def _unknown_zone(trips: pa.RecordBatch, _file: TripFile) -> pa.BooleanArray:
    pickup, dropoff = (_outside(trips[name], 1, _LAST_ZONE) for name in ("pickup_location_id", "dropoff_location_id"))
    return compute.or_kleene(pickup, dropoff)


RULES = (
    Rule(NO_PASSENGERS, "passenger_count is 0", ("passenger_count",), _no_passengers),
    Rule(
        "pickup_outside_month",
        "pickup_datetime lies in another month than the file's",
        ("pickup_datetime",),
        _pickup_outside_month,
    ),
    Rule(
        "dropoff_before_pickup",
        "dropoff_datetime is earlier than pickup_datetime",
        ("pickup_datetime", "dropoff_datetime"),
        _dropoff_before_pickup,
    ),
    Rule(
        "absurd_distance",
        f"trip_distance is negative or over {_FARTHEST_MILES:,.0f} miles",
        ("trip_distance",),
        _absurd_distance,
    ),
    Rule(
        "unknown_zone",
        f"a location id is not one of 1..{_LAST_ZONE}",
        ("pickup_location_id", "dropoff_location_id"),
        _unknown_zone,
    ),
    Rule(
        "absurd_amount",
        f"total_amount is beyond {_HIGHEST_DOLLARS:,.0f} dollars; a negative one reverses a charge and stays",
        ("total_amount",),
        _absurd_amount,
    ),
    *(_unknown_value(column) for column in catalog.columns() if column.values),
)

PROFILES: dict[str, tuple[str, ...]] = {
    "none": (),
    "notes": (NO_PASSENGERS,),
    "strict": tuple(rule.name for rule in RULES),
}


def rules(service: str) -> tuple[Rule, ...]:
    """The rules that apply to a service, in the order in which they claim rows."""
    return tuple(rule for rule in RULES if rule.applies_to(service))


def rejecting(profile: str) -> tuple[str, ...]:
    """The names of the rules that reject rows in a profile; an unknown one is a ValueError that lists the known."""
    if profile not in PROFILES:
        raise ValueError(f"quality profile {profile!r} is not one of {sorted(PROFILES)}")
    return PROFILES[profile]


def rejects_schema(schema: pa.Schema) -> pa.Schema:
    """The schema of rejected rows: all their columns, and the name of the rule that rejected them."""
    return schema.append(pa.field("reason", pa.string(), nullable=False))


def hits(trips: pa.RecordBatch, file: TripFile, by: Sequence[Rule]) -> dict[str, pa.BooleanArray]:
    """Which rows each rule hits; never null."""
    return {rule.name: compute.fill_null(rule.hits(trips, file), _FALSE) for rule in by}


def split(
    trips: pa.RecordBatch, hit: Mapping[str, pa.BooleanArray], names: Sequence[str]
) -> tuple[pa.RecordBatch, dict[str, pa.RecordBatch]]:
    """The accepted rows, and the rejected ones by the first of the named rules (those that apply) that hits them."""
    rejected: dict[str, pa.RecordBatch] = {}
    left = None
    for name in filter(hit.__contains__, names):
        claimed = hit[name] if left is None else compute.and_(hit[name], left)
        if claimed.true_count:
            rejected[name] = trips.filter(claimed)
            others = compute.invert(claimed)
            left = others if left is None else compute.and_(left, others)
    return trips if left is None else trips.filter(left), rejected


def with_reason(rejected: pa.RecordBatch, reason: str) -> pa.RecordBatch:
    """Rejected rows with the reason beside each."""
    text = reason.encode()
    offsets = pa.py_buffer(struct.pack("=ii", 0, len(text)))
    value = pa.Array.from_buffers(pa.string(), 1, [None, offsets, pa.py_buffer(text)])[0]
    reasons = pa.repeat(value, rejected.num_rows)
    return pa.RecordBatch.from_arrays([*rejected.columns, reasons], schema=rejects_schema(rejected.schema))
