"""quality: which rows of a trip file are kept, by rules that are rows of a table; a rejected row keeps its reason."""

from __future__ import annotations

import struct
from collections.abc import Callable  # noqa: TC003 - a field of a dataclass
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pyarrow as pa
from pyarrow import compute

from include.nyc_taxi import catalog

if TYPE_CHECKING:
    from collections.abc import Sequence

    from include.nyc_taxi.files import TripFile
    from include.nyc_taxi.months import Month

_FORMATS = {pa.int16(): "h", pa.float64(): "d", pa.timestamp("us"): "q"}
_FARTHEST_MILES = 1000.0
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


def _unknown_zone(trips: pa.RecordBatch, _file: TripFile) -> pa.BooleanArray:
    pickup, dropoff = (_outside(trips[name], 1, _LAST_ZONE) for name in ("pickup_location_id", "dropoff_location_id"))
    return compute.or_kleene(pickup, dropoff)


RULES = (
    Rule("no_passengers", "passenger_count is 0", ("passenger_count",), _no_passengers),
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
)

PROFILES: dict[str, tuple[str, ...]] = {
    "none": (),
    "notes": ("no_passengers",),
    "strict": tuple(rule.name for rule in RULES),
}


def rules(profile: str, service: str) -> tuple[Rule, ...]:
    """The rules of a profile that apply to a service, in the order in which they claim rows."""
    if profile not in PROFILES:
        raise ValueError(f"quality profile {profile!r} is not one of {sorted(PROFILES)}")
    return tuple(rule for rule in RULES if rule.name in PROFILES[profile] and rule.applies_to(service))


def rejects_schema(schema: pa.Schema) -> pa.Schema:
    """The schema of rejected rows: all their columns, and the name of the rule that rejected them."""
    return schema.append(pa.field("reason", pa.string(), nullable=False))


def split(
    trips: pa.RecordBatch, file: TripFile, by: Sequence[Rule]
) -> tuple[pa.RecordBatch, dict[str, pa.RecordBatch]]:
    """The accepted rows, and the rejected ones by the first rule that hits them."""
    rejected: dict[str, pa.RecordBatch] = {}
    for rule in by:
        hits = compute.fill_null(rule.hits(trips, file), _FALSE)
        if hits.true_count:
            rejected[rule.name] = trips.filter(hits)
            trips = trips.filter(compute.invert(hits))
    return trips, rejected


def with_reason(rejected: pa.RecordBatch, reason: str) -> pa.RecordBatch:
    """Rejected rows with the reason beside each."""
    text = reason.encode()
    offsets = pa.py_buffer(struct.pack("=ii", 0, len(text)))
    value = pa.Array.from_buffers(pa.string(), 1, [None, offsets, pa.py_buffer(text)])[0]
    reasons = pa.repeat(value, rejected.num_rows)
    return pa.RecordBatch.from_arrays([*rejected.columns, reasons], schema=rejects_schema(rejected.schema))


def without_passengers(trips: pa.RecordBatch) -> int:
    """How many rows say that nobody rode; 0 for a service that does not count passengers."""
    if "passenger_count" not in trips.schema.names:
        return 0
    return int(compute.equal(trips["passenger_count"], _NOBODY).true_count)
