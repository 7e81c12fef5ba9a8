"""trips: what trips of every service have in common: when and where they are, and chance."""

from __future__ import annotations

import zlib
from abc import ABC, abstractmethod
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from devtools.generator.services import habits

if TYPE_CHECKING:
    from devtools.generator.spellings import Spellings
    from include.nyc_taxi import Month, TripFile

Values = NDArray[Any]

ZONES = 265
JFK = 132
SPEED_BY_HOUR = np.array(
    [19, 20, 21, 22, 23, 21, 17, 13, 12, 12, 12, 12, 12, 12, 11, 11, 12, 11, 12, 13, 14, 15, 16, 18]
)
BASES = ("B00001", "B00013", "B00254", "B01259", "B02510", "B02682", "B02764", "B02800", "B02872", "B02914", "b00056")
LICENCES = ("HV0002", "HV0003", "HV0004", "HV0005")

_TRIPS_BY_HOUR = np.array([9, 6, 4, 3, 3, 5, 13, 22, 27, 27, 28, 30, 32, 33, 36, 38, 39, 41, 40, 33, 27, 24, 20, 14])
_TRIPS_BY_WEEKDAY = np.array([13, 14, 15, 15, 16, 14, 13])
_NO_YES = ("N", "Y")
# Text columns hold numbers of these words. The publisher does not explain request_source, so its words are invented.
_WORDS = {
    "store_and_fwd_flag": _NO_YES,
    "request_source": ("app", "street"),
    "hvfhs_license_num": LICENCES,
    "dispatching_base_num": BASES,
    "originating_base_num": BASES,
    # The publisher pads some of these with blanks.
    "affiliated_base_number": (*(base + " " * 9 for base in BASES[:4]), *BASES[4:]),
    "shared_request_flag": _NO_YES,
    "shared_match_flag": _NO_YES,
    "access_a_ride_flag": (" ", "N", "Y"),
    "wav_request_flag": _NO_YES,
    "wav_match_flag": _NO_YES,
}


class Trips(ABC):
    """Some consecutive trips of a month, without dirt at first; a column is an array under its canonical name.

    Args:
        file: the file that the trips are for.
        first: the number of the first trip among those of its kind.
        count: how many trips these are.
        of: how many trips of this kind the file has.
        kind: the name of the kind, which seeds chance.
    """

    def __init__(self, file: TripFile, first: int, count: int, of: int, kind: str) -> None:
        self.file = file
        self.first = first
        self.count = count
        self.random = np.random.Generator(np.random.PCG64([zlib.crc32(f"{file} {kind}".encode()), first]))
        self.columns: dict[str, Values] = {"__index_level_0__": np.arange(first, first + count)}
        self.words: dict[str, tuple[str, ...]] = dict(_WORDS)
        self._ride((np.arange(first, first + count) + 0.5) / of)
        self._pay()

    @abstractmethod
    def make_dirty(self, nobody: int) -> None:
        """Add what is wrong in the publisher's files; `nobody` trips have a passenger_count of 0."""

    def age(self) -> None:
        """Empty the columns that the publisher did not record yet."""
        for column, until in habits(self.file.service).empty_until.items():
            if self.file.month < until:
                self.columns.pop(column)

    def spell(self, spelled: dict[str, Spellings]) -> None:
        """Turn codes into words, each code into its spellings in turn."""
        for column, spellings in spelled.items():
            spans = {code: len(words) for code, words in spellings.items()}
            starts = dict(zip(spans, np.cumsum([0, *spans.values()]), strict=False))
            start, span = (np.vectorize(of.get, otypes=[int])(self.columns[column]) for of in (starts, spans))
            self.columns[column] = start + np.arange(self.first, self.first + self.count) % span
            self.words[column] = tuple(word for words in spellings.values() for word in words)

    @abstractmethod
    def _ride(self, positions: Values) -> None:
        """Add times, places and vehicles; positions are the trips' places in the month, from 0 to 1."""

    @abstractmethod
    def _pay(self) -> None:
        """Add what the trips cost, in US dollars."""

    def _since(self, month: Month, fee: float) -> float:
        """Return the fee if the file is of the month or later, else 0."""
        return fee if self.file.month >= month else 0.0

    def _pickups(self, positions: Values) -> Values:
        """Return seconds since 1970 in New York wall time, roughly in the order of the positions (0 to 1)."""
        start, end = (
            int(datetime(month.year, month.month, 1, tzinfo=UTC).timestamp())
            for month in (self.file.month, self.file.month + 1)
        )
        hours = np.arange(start // 3_600, end // 3_600)
        weekday = (hours // 24 + 3) % 7  # 1970 began on a Thursday
        busy = np.cumsum(_TRIPS_BY_HOUR[hours % 24] * _TRIPS_BY_WEEKDAY[weekday])
        seconds = np.interp(positions, np.concatenate([[0], busy / busy[-1]]), np.arange(start, end + 1, 3_600))
        # The jitter also moves some trips at both ends of the month into the next or the last one.
        return seconds.astype(np.int64) + self.random.integers(-900, 900, self.count)

    def _zones(self, common: tuple[int, ...], concentration: float) -> Values:
        weights = np.full(ZONES, (1 - concentration) / ZONES)
        weights[np.array(common) - 1] += concentration * np.linspace(2, 0.4, len(common)) / (1.2 * len(common))
        weights[263:] = 0  # 264 and 265 mean an unknown zone
        return self._choice(np.arange(1, ZONES + 1), weights / weights.sum())

    def _choice(self, values: Values | tuple[int, ...], weights: Values | tuple[float, ...]) -> Values:
        bounds = np.cumsum(weights)[:-1]
        return np.array(values)[np.searchsorted(bounds, self.random.random(self.count), side="right")]

    def _chance(self, probability: float) -> Values:
        """Return true for about this share of the trips."""
        return self.random.random(self.count) < probability

    def _some(self, one_in: int) -> Values:
        """Return the indices of a few different trips, at least one."""
        return self.random.choice(self.count, -(-self.count // one_in), replace=False)

    def _misplace(self, one_in: int) -> None:
        """Give a few trips the dates of a clock that was never set."""
        for never_set in (datetime(2008, 12, 31, 23, tzinfo=UTC), datetime(2009, 1, 1, tzinfo=UTC)):
            trips = self._some(one_in)
            lasted = self.columns["dropoff_datetime"][trips] - self.columns["pickup_datetime"][trips]
            pickup = int(never_set.timestamp()) + self.random.integers(0, 3_600, len(trips))
            self.columns["pickup_datetime"][trips] = pickup
            self.columns["dropoff_datetime"][trips] = pickup + lasted
