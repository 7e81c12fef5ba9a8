"""cars: trips of the services whose vehicles have no meters: for-hire vehicles, hailed by app or not."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import numpy as np

from devtools.generator.services import Cars, habits
from devtools.generator.trips import BASES, JFK, SPEED_BY_HOUR, Trips
from include.nyc_taxi import Month

if TYPE_CHECKING:
    from devtools.generator.trips import Values
    from include.nyc_taxi import TripFile

_JUNO, _UBER, _VIA, _LYFT = range(4)
_BASE_OF_LICENCE = np.array([9, 6, 7, 4])


class HiredTrips(Trips):
    """Trips of for-hire vehicles."""

    def __init__(self, file: TripFile, first: int, count: int, of: int, kind: str) -> None:
        fleet = habits(file.service).fleet
        if not isinstance(fleet, Cars):
            raise TypeError(f"{file}: the generator's row of {file.service} has no cars")
        self.fleet = fleet
        super().__init__(file, first, count, of, kind)

    def make_dirty(self, nobody: int) -> None:
        """Add what is wrong in the publisher's files, which have no passenger_count."""
        columns, far_future = self.columns, int(datetime(3019, 2, 3, tzinfo=UTC).timestamp())
        if nobody:
            raise ValueError(
                f"{self.file}: has no passenger_count, so {nobody} trips without passengers are impossible"
            )
        columns["dropoff_datetime"][self._some(one_in=20_000)] = far_future
        backwards = self._some(one_in=20_000)
        columns["dropoff_datetime"][backwards] = columns["pickup_datetime"][backwards] - 67
        self._misplace(one_in=400_000)
        columns["pickup_location_id"][self._some(one_in=150)] = 264
        columns["dropoff_location_id"][self._some(one_in=150)] = 265
        for column, share in self.fleet.lost.items():
            columns[column] = np.ma.masked_where(self._chance(share), columns[column])
        if self.fleet.have_fares:
            columns["trip_distance"][self._some(one_in=120)] = 0.0
            reversed_ = self._some(one_in=2_000)
            columns["driver_pay"][reversed_] = -columns["driver_pay"][reversed_]
            of_uber = columns["hvfhs_license_num"] == _UBER
            for column in ("on_scene_datetime", "originating_base_num"):
                columns[column] = np.ma.masked_where(~of_uber, columns[column])

    def _ride(self, positions: Values) -> None:
        pickup = self._pickups(positions)
        miles = np.round(np.clip(self.random.lognormal(np.log(3.0), 0.9, self.count), 0.01, 120.0), 2)
        speed = SPEED_BY_HOUR[pickup % 86_400 // 3_600] * self.random.lognormal(0.1, 0.25, self.count)
        seconds = np.clip(miles / speed * 3_600, 60, 5 * 3_600).astype(np.int64)
        waited = self.random.integers(60, 900, self.count)
        licence = self._choice((_JUNO, _UBER, _VIA, _LYFT), (0.02, 0.72, 0.04, 0.22))
        base = self.random.integers(0, len(BASES), self.count)
        if self.fleet.have_fares:
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
            "pickup_location_id": self._zones(self.fleet.zones, 0.6),
            "dropoff_location_id": self._zones(self.fleet.zones, 0.5),
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
        at_jfk = (columns["pickup_location_id"] == JFK) | (columns["dropoff_location_id"] == JFK)
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
