"""quality: accept or reject each row of a trip file by a table of rules; a rejected row has a reason."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import pyarrow as pa
from pyarrow import compute

from include.nyc_taxi import catalog
from include.nyc_taxi.errors import PermanentError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from include.nyc_taxi.catalog import Column
    from include.nyc_taxi.trip_file import TripFile

_FORMATS = {pa.int16(): "h", pa.float64(): "d", pa.timestamp("us"): "q"}
NO_VALUES = "no_values"
NO_PASSENGERS = "no_passengers"
DOES_NOT_FIT = "does_not_fit"
LONE_NEGATIVE = "lone_negative_amount"
_FARTHEST_MILES = 1000.0
_HIGHEST_DOLLARS = 5000.0
_LAST_ZONE = 265
# The columns that identify a trip: a charge and its reversal agree in them.
_TRIP = (
    "vendor_id",
    "hvfhs_license_num",
    "pickup_datetime",
    "dropoff_datetime",
    "pickup_location_id",
    "dropoff_location_id",
)
MOST_NEGATIVES = 1_000_000

LookThrough = Callable[[Sequence[str]], Iterable[pa.RecordBatch]]


@dataclass(frozen=True)
class Rule:
    """Finds rows that are wrong in one way.

    `description` is one clause for people. It is part of a month's recipe: another text lands the month again in every
    profile that rejects by the rule. `columns` are those that `hits` reads. `hits` returns true for each row that is
    wrong; null, where a value is absent, counts as false.
    """

    name: str
    description: str
    columns: tuple[str, ...]
    hits: Callable[[pa.RecordBatch, TripFile], pa.BooleanArray]

    def applies_to(self, service: str) -> bool:
        """Whether the service has the columns that the rule reads."""
        return set(self.columns) <= {column.name for column in catalog.service(service).columns}


def _constant(value: float, type_: pa.DataType) -> pa.Scalar:
    # pa.scalar imports pandas where it is installed, which costs every task a second of CPU.
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
    # A NaN is neither less nor greater, so ask what is inside and invert it.
    above = compute.greater_equal(column, _constant(low, column.type))
    return compute.invert(compute.and_(above, compute.less_equal(column, _constant(high, column.type))))


def _no_values(trips: pa.RecordBatch, _file: TripFile) -> pa.BooleanArray:
    if any(column.null_count == 0 for column in trips.columns):
        return pa.repeat(_FALSE, trips.num_rows)
    empty = trips.column(0).is_null()
    for column in trips.columns[1:]:
        empty = compute.and_(empty, column.is_null())
    return empty


def _no_passengers(trips: pa.RecordBatch, _file: TripFile) -> pa.BooleanArray:
    return compute.equal(trips["passenger_count"], _NOBODY)


def _pickup_outside_month(trips: pa.RecordBatch, file: TripFile) -> pa.BooleanArray:
    return _outside(trips["pickup_datetime"], file.month.first_microsecond, (file.month + 1).first_microsecond - 1)


def _dropoff_before_pickup(trips: pa.RecordBatch, _file: TripFile) -> pa.BooleanArray:
    return compute.less(trips["dropoff_datetime"], trips["pickup_datetime"])


def _absurd_distance(trips: pa.RecordBatch, _file: TripFile) -> pa.BooleanArray:
    return _outside(trips["trip_distance"], 0.0, _FARTHEST_MILES)


def _absurd_amount(charge: str) -> Rule:
    def hits(trips: pa.RecordBatch, _file: TripFile) -> pa.BooleanArray:
        return _outside(trips[charge], -_HIGHEST_DOLLARS, _HIGHEST_DOLLARS)

    return Rule(
        "absurd_amount",
        f"{charge} is under -{_HIGHEST_DOLLARS:,.0f} dollars, over {_HIGHEST_DOLLARS:,.0f} dollars, or not a number",
        (charge,),
        hits,
    )


def _negative_amount(charge: str) -> Rule:
    def hits(trips: pa.RecordBatch, _file: TripFile) -> pa.BooleanArray:
        return compute.less(trips[charge], _NO_DOLLARS)

    return Rule("negative_amount", f"{charge} is negative, whether it reverses a charge or not", (charge,), hits)


def _unknown_value(column: Column) -> Rule:
    """Return the rule that the publisher's dictionary explains every value of a column."""

    def hits(trips: pa.RecordBatch, _file: TripFile) -> pa.BooleanArray:
        values = trips[column.name]
        return compute.and_(values.is_valid(), compute.invert(compute.is_in(values, value_set=_values(column))))

    known = ", ".join(map(str, column.values))
    return Rule(f"unknown_{column.name}", f"{column.name} is not one of {known}", (column.name,), hits)


@cache
def _values(coded: Column) -> pa.Array:
    """Return the known values in the column's type."""
    builder = pa.lib.StringBuilder()
    builder.append_values([str(value) for value in coded.values])
    return builder.finish().cast(pa.string() if coded.type == "text" else pa.int16())


def _unknown_zone(trips: pa.RecordBatch, _file: TripFile) -> pa.BooleanArray:
    pickup, dropoff = (_outside(trips[name], 1, _LAST_ZONE) for name in ("pickup_location_id", "dropoff_location_id"))
    return compute.or_kleene(pickup, dropoff)


_CHARGES = tuple(dict.fromkeys(service.charge for service in catalog.services().values() if service.charge))

RULES = (
    Rule(NO_VALUES, "no column has a value", (), _no_values),
    Rule(NO_PASSENGERS, "passenger_count is 0", ("passenger_count",), _no_passengers),
    Rule(
        "pickup_outside_month",
        "pickup_datetime is in another month than the file",
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
        f"trip_distance is negative, over {_FARTHEST_MILES:,.0f} miles, or not a number",
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
# A negative amount may reverse a charge, so it is counted and not rejected.
# A row without any value is no trip, so every profile rejects it.
_REJECTING = tuple(dict.fromkeys(rule.name for rule in RULES if rule.name != "negative_amount"))

PROFILES: dict[str, tuple[str, ...]] = {
    "none": (NO_VALUES,),
    "notes": (NO_VALUES, NO_PASSENGERS),
    "strict": (*_REJECTING, LONE_NEGATIVE),
}


def rules(service: str) -> tuple[Rule, ...]:
    """Return the rules of a service that check each row by itself; a row is rejected by the first that hits it."""
    return tuple(rule for rule in RULES if rule.applies_to(service))


def whole_file_rules(
    service: str, profile: str, look_through: LookThrough, *, most_negatives: int = MOST_NEGATIVES
) -> tuple[Rule, ...]:
    """Return the rules of a profile that need a second pass over the whole file; only profiles that reject by one pay.

    Args:
        service: the service of the file.
        profile: the quality profile.
        look_through: reads the named columns of the whole file, from its start at each call.
        most_negatives: how many rows with a negative amount may be held in memory.

    Raises:
        PermanentError: the file has so many negative amounts that they would take too much memory.
    """
    charge = catalog.service(service).charge
    if charge is None or LONE_NEGATIVE not in rejecting(profile):
        return ()
    lone = _lone(charge, lambda: look_through((*_TRIP, charge)), most_negatives)
    return (_lone_negative(charge, lone),)


def _lone_negative(charge: str, lone: pa.StringArray) -> Rule:
    """Return the rule that a negative amount reverses a charge of the file."""

    def hits(trips: pa.RecordBatch, _file: TripFile) -> pa.BooleanArray:
        negative = compute.fill_null(compute.less(trips[charge], _NO_DOLLARS), _FALSE)
        alone = compute.is_in(_charged(trips.filter(negative), charge), value_set=lone)
        return compute.replace_with_mask(negative, negative, alone)

    description = f"{charge} is negative, and the file has no such charge for the same trip"
    return Rule(LONE_NEGATIVE, description, (charge,), hits)


def _lone(charge: str, look_through: Callable[[], Iterable[pa.RecordBatch]], most: int) -> pa.StringArray:
    """Return the keys of the negative amounts that reverse no charge; memory grows with the number of negative rows."""
    keys, pickups, count = [pa.nulls(0, pa.string())], [pa.nulls(0, pa.timestamp("us"))], 0
    for trips in look_through():
        negative = trips.filter(compute.less(trips[charge], _NO_DOLLARS))
        count += negative.num_rows
        if count > most:
            raise PermanentError(
                f"more than {most:,} rows have a negative {charge}, more than can be matched with their charges; "
                f"use a quality profile without {LONE_NEGATIVE}"
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
    """Return a key of the trip and the amount without its sign, which a charge and its reversal share."""
    parts = [trips[name] for name in _TRIP if name in trips.schema.names]
    parts = [part.cast(pa.int64()) if pa.types.is_timestamp(part.type) else part for part in parts]
    texts = [part.cast(pa.string()) for part in (*parts, compute.abs(trips[charge]))]
    return compute.binary_join_element_wise(*texts, _word("|"), null_handling="replace", null_replacement="")


def rejecting(profile: str) -> tuple[str, ...]:
    """Return the names of the rules that reject rows in a profile.

    Raises:
        ValueError: there is no such profile; the message lists them.
    """
    if profile not in PROFILES:
        raise ValueError(f"quality profile {profile!r} is not one of {sorted(PROFILES)}")
    return PROFILES[profile]


def rejects_schema(schema: pa.Schema) -> pa.Schema:
    """Return the schema of rejected rows: their columns, the rule that rejected them, and values that did not fit."""
    return schema.append(pa.field("reason", pa.string(), nullable=False)).append(pa.field("misfit", pa.string()))


def hits(trips: pa.RecordBatch, file: TripFile, by: Sequence[Rule]) -> dict[str, pa.BooleanArray]:
    """Return which rows each rule hits, by the rule's name; never null."""
    return {rule.name: compute.fill_null(rule.hits(trips, file), _FALSE) for rule in by}


def split(
    trips: pa.RecordBatch, hit: Mapping[str, pa.BooleanArray], names: Sequence[str]
) -> tuple[pa.RecordBatch, dict[str, pa.RecordBatch]]:
    """Split rows into the accepted ones and the rejected ones, by the first of the named rules that hits each.

    Args:
        trips: the rows.
        hit: which rows each rule hits, by name.
        names: the rules that reject, in order; those that `hit` does not have are skipped.
    """
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
    """Add to each rejected row its reason and, if given, the texts of the values that did not fit."""
    builder = pa.lib.StringBuilder()
    builder.append_values(values or [None] * rejected.num_rows)
    columns = [*rejected.columns, pa.repeat(_word(reason), rejected.num_rows), builder.finish()]
    return pa.RecordBatch.from_arrays(columns, schema=rejects_schema(rejected.schema))
