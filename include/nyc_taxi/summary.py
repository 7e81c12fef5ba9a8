"""summary: count a month's trips by hour of the week and by zone while they are loaded, so that no page scans them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from include.nyc_taxi import catalog
from include.nyc_taxi.buffers import numbers

if TYPE_CHECKING:
    import pyarrow as pa

    from include.nyc_taxi.buffers import Numbers
    from include.nyc_taxi.trip_file import TripFile

_ZONES = 266  # 1 to 265; 0 collects trips with an unknown zone or none
_HOURS_A_DAY, _HOURS_A_WEEK = 24, 168
_MICROSECONDS_AN_HOUR = 3_600_000_000
_EPOCH_IN_ITS_WEEK = 3 * _HOURS_A_DAY  # 1970-01-01 was a Thursday
# Some files have a fare of 400,000 dollars, which would hide every other fare in the mean of a zone.
_HIGHEST_DOLLARS = 5000.0
_NO_TIME = np.iinfo(np.int64).min


class Summary:
    """Counts and sums the trips of one month.

    Trips `without_meter` have no record of a meter: their passenger count is null. Fares and tips are in US dollars, of
    trips whose fare is known and at most 5,000 dollars either way; files have tips by card only.
    """

    def __init__(self, file: TripFile) -> None:
        service = catalog.service(file.service)
        self.has_meter, self._fare = service.has_meter, service.fare
        self.trips = self.without_meter = self.outside_month = 0
        self._first, self._end = file.month.first_microsecond, (file.month + 1).first_microsecond
        self._by_hour = np.zeros(_HOURS_A_WEEK, np.int64)
        self._pickups, self._dropoffs, self._fares = (np.zeros(_ZONES, np.int64) for _ in range(3))
        self._fare_sum, self._tip_sum = np.zeros(_ZONES), np.zeros(_ZONES)

    def add(self, trips: pa.RecordBatch) -> None:
        """Count a batch of the service's rows. A missing column counts as null in every row."""
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
        if self._fare in columns:
            self._sum_fares(pickups, columns[self._fare], columns.get("tip_amount"))

    def _count_hours(self, times: pa.Array) -> None:
        pickup = numbers(times, np.int64, null=_NO_TIME)
        pickup = pickup[pickup != _NO_TIME]
        self.outside_month += int(np.count_nonzero((pickup < self._first) | (pickup >= self._end)))
        hours = pickup // _MICROSECONDS_AN_HOUR
        self._by_hour += np.bincount((hours + _EPOCH_IN_ITS_WEEK) % _HOURS_A_WEEK, minlength=_HOURS_A_WEEK)

    def _sum_fares(self, pickups: Numbers, fares: pa.Array, tips: pa.Array | None) -> None:
        fare = numbers(fares, np.float64, null=np.nan)
        usable = np.abs(fare) <= _HIGHEST_DOLLARS  # false where it is null
        zones = pickups[usable]
        self._fares += np.bincount(zones, minlength=_ZONES)
        self._fare_sum += np.bincount(zones, fare[usable], _ZONES)
        if tips is not None:
            self._tip_sum += np.bincount(zones, numbers(tips, np.float64, null=0)[usable], _ZONES)

    def by_month(self) -> dict[str, Any]:
        """Return the counts and sums of the whole month, by name; `without_meter` is None without meters."""
        return {
            "trips": self.trips,
            "without_meter": self.without_meter if self.has_meter else None,
            "outside_month": self.outside_month,
            "fares": int(self._fares.sum()),
            "fare_sum": float(self._fare_sum.sum()),
            "tip_sum": float(self._tip_sum.sum()),
        }

    def by_hour(self) -> dict[str, list[Any]]:
        """Return three columns of 168 rows: weekday from 1 (Monday) to 7, hour of the day, trips that began then."""
        hours = np.arange(_HOURS_A_WEEK)
        return {
            "weekday": (hours // _HOURS_A_DAY + 1).tolist(),
            "hour": (hours % _HOURS_A_DAY).tolist(),
            "trips": self._by_hour.tolist(),
        }

    def by_zone(self) -> dict[str, list[Any]]:
        """Return a row, in columns, for each zone of a pickup or dropoff; fares and tips are of trips from there."""
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
    """Return location ids as numbers; 0 is no zone or an unknown one."""
    if location_ids is None:
        return np.zeros(rows, np.int64)
    ids = numbers(location_ids, np.int16, null=0)
    return np.where((ids > 0) & (ids < _ZONES), ids, 0)
