"""taxis: trips of the services whose vehicles have meters."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from devtools.generator import spellings
from devtools.generator.services import Taxis, habits
from devtools.generator.trips import JFK, SPEED_BY_HOUR, ZONES, Trips
from include.nyc_taxi import Month

if TYPE_CHECKING:
    from devtools.generator.trips import Values
    from include.nyc_taxi import TripFile

PLACES = ("pickup_longitude", "pickup_latitude", "dropoff_longitude", "dropoff_latitude")

_NEW_TARIFF = Month(2023, 1)
_PLACES_UNTIL = Month(2016, 7)  # the publisher replaced coordinates by zones
_FAR_MILES = 13.0  # longer trips probably use a tunnel or bridge with a toll
_RATE_TO_JFK = 2
_NIGHT = np.isin(np.arange(24), (20, 21, 22, 23, 0, 1, 2, 3, 4, 5))
_RUSH_HOUR = np.isin(np.arange(24), (16, 17, 18, 19))
_CBD_FEE_UNKNOWN = (Month(2025, 1), Month(2025, 2))
_UNKNOWN_WITHOUT_METER = (
    "passenger_count",
    "rate_code_id",
    "store_and_fwd_flag",
    "congestion_surcharge",
    "airport_fee",
)
_UNKNOWN_OUTSIDE_OFFICIAL = ("vendor_id", "payment_type")
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


class MeteredTrips(Trips):
    """Trips of taxis."""

    def __init__(self, file: TripFile, first: int, count: int, of: int, kind: str) -> None:
        fleet = habits(file.service).fleet
        if not isinstance(fleet, Taxis):
            raise TypeError(f"{file}: the generator's row of {file.service} has no taxis")
        self.fleet = fleet
        self.tariff = _TARIFF_2012 if file.month < _NEW_TARIFF else _TARIFF_2022
        super().__init__(file, first, count, of, kind)

    def make_dirty(self, nobody: int) -> None:
        """Add what is wrong in the publisher's files; `nobody` trips have a passenger_count of 0."""
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
            columns[column][candidates[1_000::20_000]] *= -1  # these reverse no charge
        columns["passenger_count"][self.random.choice(candidates, nobody, replace=False)] = 0

    def forget_the_meter(self, source: str) -> None:
        """Turn the trips into those of the null block, which dispatchers report with empty columns."""
        columns = self.columns
        for column in ("pickup_datetime", "dropoff_datetime"):
            columns[column] = columns[column] // 60 * 60
        columns["fare_amount"] = np.round(columns["fare_amount"] * self.random.uniform(1.1, 1.7, self.count), 2)
        columns["payment_type"][:] = 0
        self._make_absurd(one_in=8_000)
        unknown = {*_UNKNOWN_WITHOUT_METER, *self.fleet.unknown}
        if source != "official":
            unknown |= set(_UNKNOWN_OUTSIDE_OFFICIAL)
            for column in self.fleet.mirrored:
                columns[column][:] = 0
                unknown.remove(column)
        if self.file.month in _CBD_FEE_UNKNOWN:
            unknown.add("cbd_congestion_fee")
        self._total(tuple(column for column in _MONEY[:-1] if column not in unknown))
        for column in unknown:
            del columns[column]

    def age(self) -> None:
        """Add what only early files have: a third vendor, missing taxes, coordinates in place of zones."""
        super().age()
        columns, month = self.columns, self.file.month
        if month < Month(2011, 1):
            columns["vendor_id"][self._some(one_in=12)] = spellings.DDS
        if month < Month(2010, 1):
            columns["mta_tax"] = np.ma.masked_where(columns["vendor_id"] != spellings.DDS, columns["mta_tax"])
        if month < _PLACES_UNTIL:
            columns |= self._places()

    def _places(self) -> dict[str, Values]:
        """Return coordinates near the middle of the zones; a few are unknown, which is written 0."""
        middles = np.random.Generator(np.random.PCG64(ZONES)).uniform((-74.02, 40.6), (-73.8, 40.85), (ZONES + 1, 2))
        random = np.random.Generator(np.random.PCG64([zlib.crc32(f"{self.file} places".encode()), self.first]))
        ends = [self.columns[name] for name in ("pickup_location_id", "dropoff_location_id")]
        places = np.hstack([middles[zones] + random.normal(0, 0.004, (self.count, 2)) for zones in ends])
        places[random.random(self.count) < 0.015] = 0  # noqa: PLR2004 - a share of dirt
        narrow = self.file.month >= self.fleet.narrow_places
        places = places.astype(np.float32).astype(np.float64) if narrow else np.round(places, 6)
        return dict(zip(PLACES, places.T, strict=True))

    def _ride(self, positions: Values) -> None:
        pickup = self._pickups(positions)
        hour = pickup % 86_400 // 3_600
        pickup_zone, dropoff_zone = self._zones(self.fleet.zones, 0.9), self._zones(self.fleet.zones, 0.6)
        rate_code = np.where((pickup_zone == JFK) & self._chance(0.5), _RATE_TO_JFK, 1)
        rate_code[self._some(one_in=200)] = 5
        miles: Values = self.random.lognormal(np.log(self.fleet.median_miles), 0.85, self.count)
        miles = np.where(rate_code == _RATE_TO_JFK, self.random.normal(17.5, 1.5, self.count), miles)
        miles = np.round(np.clip(miles, 0.01, 80.0), 2)
        speed = SPEED_BY_HOUR[hour] * self.random.lognormal(0.0, 0.25, self.count)
        seconds = np.clip(miles / speed * 3_600, 30, 4 * 3_600).astype(np.int64)
        vendor = self._choice((1, 2), self.fleet.vendor_shares)
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
        surcharge = self._since(Month(2019, 2), self.fleet.congestion_surcharge)
        congestion = np.where(self._chance(self.fleet.congestion_share), surcharge, 0.0)
        at_jfk = columns["pickup_location_id"] == JFK
        extra = np.select([_NIGHT[hour], _RUSH_HOUR[hour]], [tariff.night, tariff.rush_hour], 0.0)
        # The meters of vendor 1 add the congestion surcharge to the extras as well.
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
            "airport_fee": np.where(at_jfk, self._since(Month(2022, 4), self.fleet.airport_fee), 0.0),
            "cbd_congestion_fee": np.where((congestion > 0) & (rate_code == 1), self._since(Month(2025, 1), 0.75), 0.0),
            "ehail_fee": zeros,
        }
        self._total(_MONEY[:-1])

    def _total(self, of: tuple[str, ...]) -> None:
        # The passenger pays once what vendor 1 counts twice.
        twice = np.where(self.columns["vendor_id"] == 1, self.columns["congestion_surcharge"], 0.0)
        self.columns["total_amount"] = np.round(sum(self.columns[column] for column in of) - twice, 2)

    def _make_absurd(self, one_in: int) -> None:
        trips = self._some(one_in)
        self.columns["trip_distance"][trips] = np.round(self.random.uniform(10_000, 260_000, len(trips)), 2)

    def _reverse(self, one_in: int) -> Values:
        """Let a few charges be followed by their reversal, the same trip with negative amounts; return both trips."""
        charges = self.random.choice(self.count // 2, self.count // 2 // one_in, replace=False) * 2
        self.columns["vendor_id"][charges] = 2
        self._total(_MONEY[:-1])
        for column, values in self.columns.items():
            values[charges + 1] = -values[charges] if column in _MONEY else values[charges]
        return np.concatenate([charges, charges + 1])
