"""quality: which rows of a trip file are kept, by rules that are rows of a table; a rejected row keeps its reason."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING

import pyarrow as pa
from pyarrow import compute

from include.nyc_taxi import catalog
from include.nyc_taxi.errors import PermanentError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from include.nyc_taxi.catalog import Column
    from include.nyc_taxi.month import Month
    from include.nyc_taxi.trip_file import TripFile

_FORMATS = {pa.int16(): "h", pa.float64(): "d", pa.timestamp("us"): "q"}
NO_PASSENGERS = "no_passengers"
DOES_NOT_FIT = "does_not_fit"
LONE_NEGATIVE = "lone_negative_amount"
_FARTHEST_MILES = 1000.0
_HIGHEST_DOLLARS = 5000.0
_LAST_ZONE = 265
# What a row charges altogether, in each service that says it, and the trip that it charges for.
_CHARGES = ("total_amount", "base_passenger_fare")
_TRIP = (
    "vendor_id",
    "hvfhs_license_num",
    "pickup_datetime",
    "dropoff_datetime",
    "pickup_location_id",
    "dropoff_location_id",
)
_MOST_NEGATIVES = 1_000_000
_MICROSECONDS = 1_000_000

LookThrough = Callable[[Sequence[str]], Iterable[pa.RecordBatch]]


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


def _word(text: str) -> pa.Scalar:
    packed = text.encode()
    offsets = pa.py_buffer(struct.pack("=ii", 0, len(packed)))
    return pa.Array.from_buffers(pa.string(), 1, [None, offsets, pa.py_buffer(packed)])[0]


_NOBODY = _constant(0, pa.int16())
_NO_DOLLARS = _constant(0, pa.float64())
_FALSE = compute.equal(_NOBODY, _constant(1, pa.int16()))


def _outside(column: pa.Array, low: float, high: float) -> pa.BooleanArray:
    # Not less or greater: what is no number (NaN) is neither.
    above = compute.greater_equal(column, _constant(low, column.type))
    return compute.invert(compute.and_(above, compute.less_equal(column, _constant(high, column.type))))


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


def _absurd_amount(charge: str) -> Rule:
    def hits(trips: pa.RecordBatch, _file: TripFile) -> pa.BooleanArray:
        return _outside(trips[charge], -_HIGHEST_DOLLARS, _HIGHEST_DOLLARS)

    return Rule(
        "absurd_amount",
        f"{charge} is beyond {_HIGHEST_DOLLARS:,.0f} dollars, either way, or no number",
        (charge,),
        hits,
    )


def _negative_amount(charge: str) -> Rule:
    def hits(trips: pa.RecordBatch, _file: TripFile) -> pa.BooleanArray:
        return compute.less(trips[charge], _NO_DOLLARS)

    return Rule("negative_amount", f"{charge} is negative, be it a reversal or alone", (charge,), hits)


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
        f"trip_distance is negative, over {_FARTHEST_MILES:,.0f} miles, or no number",
        ("trip_distance",),
        _absurd_distance,
    ),
    Rule(
        "unknown_zone",
        f"a location id is not one of 1..{_LAST_ZONE}",
        ("pickup_location_id", "dropoff_location_id"),
        _unknown_zone,
    ),
    *map(_absurd_amount, _CHARGES),
    *map(_negative_amount, _CHARGES),
    *(_unknown_value(column) for column in catalog.columns() if column.values),
)
# A negative amount may be half of a reversal, so it is counted only.
_REJECTING = tuple(dict.fromkeys(rule.name for rule in RULES if rule.name != "negative_amount"))

PROFILES: dict[str, tuple[str, ...]] = {
    "none": (),
    "notes": (NO_PASSENGERS,),
    "strict": (*_REJECTING, LONE_NEGATIVE),
}


def rules(service: str) -> tuple[Rule, ...]:
    """The rules that apply to a service and look at each row alone, in the order in which they claim rows."""
    return tuple(rule for rule in RULES if rule.applies_to(service))


def whole_file_rules(service: str, profile: str, look_through: LookThrough) -> tuple[Rule, ...]:
    """The rules of a profile that need a look at the whole file, which takes time: other profiles do not count them.

    `look_through` gives the rows of the file in the named columns, each time anew.
    """
    names = {column.name for column in catalog.service(service).columns}
    charge = next((charge for charge in _CHARGES if charge in names), None)
    if charge is None or LONE_NEGATIVE not in rejecting(profile):
        return ()
    return (_lone_negative(charge, _lone(charge, lambda: look_through((*_TRIP, charge)))),)


def _lone_negative(charge: str, lone: pa.StringArray) -> Rule:
    """The rule that a negative amount reverses a charge of the file."""

    def hits(trips: pa.RecordBatch, _file: TripFile) -> pa.BooleanArray:
        negative = compute.fill_null(compute.less(trips[charge], _NO_DOLLARS), _FALSE)
        alone = compute.is_in(_charged(trips.filter(negative), charge), value_set=lone)
        return compute.replace_with_mask(negative, negative, alone)

    says = f"{charge} is negative, and the file has no such charge for the same trip"
    return Rule(LONE_NEGATIVE, says, (charge,), hits)


def _lone(charge: str, look_through: Callable[[], Iterable[pa.RecordBatch]]) -> pa.StringArray:
    """The keys of the negative amounts that no row of the file charges; the memory is that of the negative ones."""
    keys, pickups, count = [pa.nulls(0, pa.string())], [pa.nulls(0, pa.timestamp("us"))], 0
    for trips in look_through():
        negative = trips.filter(compute.less(trips[charge], _NO_DOLLARS))
        count += negative.num_rows
        if count > _MOST_NEGATIVES:
            raise PermanentError(
                f"more than {_MOST_NEGATIVES:,} rows have a negative {charge}: reversals of so many cannot be told; "
                "a quality profile that does not reject by them can"
            )
        if negative.num_rows:
            keys.append(_charged(negative, charge))
            pickups.append(negative["pickup_datetime"])
    alone, at = pa.concat_arrays(keys), pa.concat_arrays(pickups).unique()
    for trips in look_through() if count else ():
        charged = compute.and_(compute.greater(trips[charge], _NO_DOLLARS), compute.is_in(trips["pickup_datetime"], at))
        there = _charged(trips.filter(charged), charge)
        if len(there):
            alone = alone.filter(compute.invert(compute.is_in(alone, value_set=there)))
    return alone


def _charged(trips: pa.RecordBatch, charge: str) -> pa.StringArray:
    """A key of the trip and of what was charged for it or paid back, which a charge and its reversal share."""
    parts = [trips[name] for name in _TRIP if name in trips.schema.names]
    parts = [part.cast(pa.int64()) if pa.types.is_timestamp(part.type) else part for part in parts]
    texts = [part.cast(pa.string()) for part in (*parts, compute.abs(trips[charge]))]
    return compute.binary_join_element_wise(*texts, _word("|"), null_handling="replace", null_replacement="")


def rejecting(profile: str) -> tuple[str, ...]:
    """The names of the rules that reject rows in a profile; an unknown one is a ValueError that lists the known."""
    if profile not in PROFILES:
        raise ValueError(f"quality profile {profile!r} is not one of {sorted(PROFILES)}")
    return PROFILES[profile]


def rejects_schema(schema: pa.Schema) -> pa.Schema:
    """The schema of rejected rows: all their columns, the name of the rule that rejected them, what does not fit."""
    return schema.append(pa.field("reason", pa.string(), nullable=False)).append(pa.field("misfit", pa.string()))


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


def with_reason(rejected: pa.RecordBatch, reason: str, values: Sequence[str | None] | None = None) -> pa.RecordBatch:
    """Rejected rows with the reason beside each, and with the values that do not fit, if that is the reason."""
    builder = pa.lib.StringBuilder()
    builder.append_values(values or [None] * rejected.num_rows)
    columns = [*rejected.columns, pa.repeat(_word(reason), rejected.num_rows), builder.finish()]
    return pa.RecordBatch.from_arrays(columns, schema=rejects_schema(rejected.schema))
