"""TripFile: one published month of one service, the noun that every step takes."""

from __future__ import annotations

import re
from dataclasses import dataclass

from include.nyc_taxi import catalog
from include.nyc_taxi.month import Month

_NAME = re.compile(r"(?P<service>[a-z]+)_tripdata_(?P<month>\d{4}-\d{2})(?:\..*)?", re.ASCII)


@dataclass(frozen=True, order=True)
class TripFile:
    """The trip records of one service for one month, whoever publishes them in whatever format.

    >>> TripFile.parse("green_tripdata_2024-01.parquet")
    TripFile(service='green', month=Month(year=2024, month=1))
    """

    service: str
    month: Month

    def __post_init__(self) -> None:
        catalog.service(self.service)
        if not isinstance(self.month, Month):
            raise TypeError(f"month {self.month!r} is not a Month; Month.parse reads YYYY-MM")

    @classmethod
    def parse(cls, name: str) -> TripFile:
        """Read a published file name, with or without its suffix."""
        match = _NAME.fullmatch(name)
        if match is None:
            raise ValueError(f"file name {name!r} is not {{service}}_tripdata_{{YYYY-MM}}")
        return cls(match["service"], Month.parse(match["month"]))

    @classmethod
    def parse_key(cls, key: str) -> TripFile:
        """Read the key or path of an object that is named after the file, such as a lake's."""
        return cls.parse(key.rpartition("/")[2])

    @property
    def name(self) -> str:
        """The publisher's name of the file, without suffix."""
        return f"{self.service}_tripdata_{self.month}"

    def __str__(self) -> str:
        return self.name
