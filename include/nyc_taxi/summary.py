"""summary: a month's trips by hour of the week and by zone, counted as they stream by, so that pages need no scan."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from datetime import date

    import pyarrow as pa
    from numpy.typing import NDArray

    from include.nyc_taxi.trip_file import TripFile

    Numbers = NDArray[Any]

_ZONES = 266  # 265 of them; 0 gathers what has none, or one that is not known
_HOURS_A_DAY, _HOURS_A_WEEK = 24, 168
_MICROSECONDS_AN_HOUR = 3_600_000_000
_EPOCH_IN_ITS_WEEK = 3 * _HOURS_A_DAY  # 1970-01-01 was a Thursday
# A single fare of 400,000 dollars, such as there are, would be all that a zone's mean tells.
_HIGHEST_DOLLARS = 5000.0
_FARES = ("fare_amount", "base_passenger_fare")
_NO_TIME = np.iinfo(np.int64).min


class Summary:
    """Counts and sums of one month's trips.

    `without_meter` are the trips that have no meter's record: their passenger count is null. Fares and tips are in US
    dollars, of the trips whose fare is known and within 5,000 dollars; only tips paid by card are recorded.
    """

    def __init__(self, file: TripFile) -> None:
        self.has_meter = file.service in ("yellow", "green")
        self.trips = self.without_meter = self.outside_month = 0
        self._first, self._end = (_microseconds(month.first_day) for month in (file.month, file.month + 1))
        self._by_hour = np.zeros(_HOURS_A_WEEK, np.int64)
        self._pickups, self._dropoffs, self._fares = (np.zeros(_ZONES, np.int64) for _ in range(3))
        self._fare_sum, self._tip_sum = np.zeros(_ZONES), np.zeros(_ZONES)

    def add(self, trips: pa.RecordBatch) -> None:
        """Count a batch. A column that it lacks is null in all of its trips."""
        columns = {name: trips.column(name) for name in trips.schema.names}
        self.trips += trips.num_rows
        if self.has_meter:
            passengers = columns.get("passenger_count")
            self.without_meter += trips.num_rows if passengers is None else passengers.null_count
        if "pickup_datetime" in columns:
            self._count_hours(columns["pickup_datetime"])
        pickups = _zones(columns.get("pickup_location_id"), trips.num_rows)
        self._pickups += np.bincount(pickups, minlength=_ZONES)
        self._dropoffs += np.bincount(_zones(columns.get("dropoff_location_id"), trips.num_rows), minlength=_ZONES)
        fares = next((columns[name] for name in _FARES if name in columns), None)
        if fares is not None:
            self._sum_fares(pickups, fares, columns.get("tip_amount"))

    def _count_hours(self, times: pa.Array) -> None:
        pickup = _numbers(times, np.int64, null=_NO_TIME)
        pickup = pickup[pickup != _NO_TIME]
        self.outside_month += int(np.count_nonzero((pickup < self._first) | (pickup >= self._end)))
        hours = pickup // _MICROSECONDS_AN_HOUR
        self._by_hour += np.bincount((hours + _EPOCH_IN_ITS_WEEK) % _HOURS_A_WEEK, minlength=_HOURS_A_WEEK)

    def _sum_fares(self, pickups: Numbers, fares: pa.Array, tips: pa.Array | None) -> None:
        fare = _numbers(fares, np.float64, null=np.nan)
        usable = np.abs(fare) <= _HIGHEST_DOLLARS  # false where it is null
        zones = pickups[usable]
        self._fares += np.bincount(zones, minlength=_ZONES)
        self._fare_sum += np.bincount(zones, fare[usable], _ZONES)
        if tips is not None:
            self._tip_sum += np.bincount(zones, _numbers(tips, np.float64, null=0)[usable], _ZONES)

    def by_month(self) -> dict[str, Any]:
        """The month as a whole."""
        return {
            "trips": self.trips,
            "without_meter": self.without_meter if self.has_meter else None,
            "outside_month": self.outside_month,
            "fares": int(self._fares.sum()),
            "fare_sum": float(self._fare_sum.sum()),
            "tip_sum": float(self._tip_sum.sum()),
        }

    def by_hour(self) -> dict[str, list[Any]]:
        """Columns: weekday from 1, Monday, to 7; hour of the day; trips that began then."""
        hours = np.arange(_HOURS_A_WEEK)
        return {
            "weekday": (hours // _HOURS_A_DAY + 1).tolist(),
            "hour": (hours % _HOURS_A_DAY).tolist(),
            "trips": self._by_hour.tolist(),
        }

    def by_zone(self) -> dict[str, list[Any]]:
        """Columns, of the zones where a trip began or ended: fares and tips are those of trips that began there."""
        touched = np.flatnonzero(self._pickups + self._dropoffs)
        known = touched[touched > 0]
        columns = {
            "location_id": np.arange(_ZONES),
            "pickups": self._pickups,
            "dropoffs": self._dropoffs,
            "fares": self._fares,
            "fare_sum": self._fare_sum,
            "tip_sum": self._tip_sum,
        }
        return {name: values[known].tolist() for name, values in columns.items()}


def _zones(location_ids: pa.Array | None, rows: int) -> Numbers:
    """Location ids as numbers from 0, which stands for none."""
    if location_ids is None:
        return np.zeros(rows, np.int64)
    ids = _numbers(location_ids, np.int16, null=0)
    return np.where((ids > 0) & (ids < _ZONES), ids, 0)


def _numbers(column: pa.Array, type_: type, null: float) -> Numbers:
    """The column's values, with a number for what is null."""
    # Not by to_numpy or fill_null: wherever pandas is installed these import it, for a second of CPU in every task.
    validity, data = column.buffers()
    start, end = column.offset, column.offset + len(column)
    values: Numbers = np.frombuffer(data, type_)[start:end]
    if not column.null_count:
        return values
    valid = np.unpackbits(np.frombuffer(validity, np.uint8), bitorder="little")[start:end]
    return np.where(valid, values, null)


def _microseconds(day: date) -> int:
    start = datetime.combine(day, datetime.min.time(), UTC)
    return int(start.timestamp()) * 1_000_000
