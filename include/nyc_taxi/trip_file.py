"""trip_file: TripFile, one published month of one service, which every step takes."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache

from include.nyc_taxi import catalog
from include.nyc_taxi.month import Month


@dataclass(frozen=True, order=True)
class TripFile:
    """Names the trip records of one service for one month, from any source and in any format.

    >>> TripFile.parse("green_tripdata_2024-01.parquet")
    TripFile(service='green', month=Month(year=2024, month=1))

    Raises:
        ValueError: the catalogue does not have the service.
        TypeError: the month is not a Month.
    """

    service: str
    month: Month

    def __post_init__(self) -> None:
        catalog.service(self.service)
        if not isinstance(self.month, Month):
            raise TypeError(f"month {self.month!r} is not a Month; Month.parse reads YYYY-MM")

    @classmethod
    def parse(cls, name: str) -> TripFile:
        """Read a published file name, with or without its suffix.

        Raises:
            ValueError: the name is not a service's and a month's.
        """
        match = _names().fullmatch(name)
        if match is None:
            services = sorted(catalog.services())
            raise ValueError(f"file name {name!r} is not {{service}}_tripdata_{{YYYY-MM}} of a service of {services}")
        return cls(match["service"], Month.parse(match["month"]))

    @classmethod
    def parse_key(cls, key: str) -> TripFile:
        """Read the key or path of an object that is named after a trip file, such as ``data/green/...``.

        Raises:
            ValueError: its last part is not the name of a trip file.
        """
        return cls.parse(key.rpartition("/")[2])

    @property
    def name(self) -> str:
        """The publisher's name of the file, without suffix."""
        return f"{self.service}_tripdata_{self.month}"

    def __str__(self) -> str:
        return self.name


@cache
def _names() -> re.Pattern[str]:
    services = "|".join(map(re.escape, catalog.services()))
    return re.compile(rf"(?P<service>{services})_tripdata_(?P<month>\d{{4}}-\d{{2}})(?:\..*)?", re.ASCII)
