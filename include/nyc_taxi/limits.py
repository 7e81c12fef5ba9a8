"""limits: how large a published file may be, so that one that means harm ends with an error and not with a worker.

Each limit is that of the largest file that the catalogue knows, times a factor. The environment variable
TAXI_LIMIT_FACTOR raises or lowers it.
"""

from __future__ import annotations

import os
from functools import cache
from typing import TYPE_CHECKING

from include.nyc_taxi import catalog
from include.nyc_taxi.errors import TooLarge

if TYPE_CHECKING:
    from collections.abc import Sequence

FACTOR_VARIABLE = "TAXI_LIMIT_FACTOR"
_DEFAULT_FACTOR = 8.0
_LARGEST_SHAPES = 2 << 20
"""The shapes of the zones, inflated: the largest file besides those of trips."""
_PAGES_IN_MEMORY = 32 << 20
MOST_COLUMNS = 1_000
MOST_CHARACTERS_OF_A_NAME = 1_000
"""No factor raises these two: no schema of the publisher is near them."""


def factor() -> float:
    """Return the factor that the limits are raised by.

    Raises:
        ValueError: TAXI_LIMIT_FACTOR is not a positive number.
    """
    text = os.environ.get(FACTOR_VARIABLE, "") or str(_DEFAULT_FACTOR)
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < float("inf"):
        raise ValueError(f"{FACTOR_VARIABLE} is {text!r}; expected a positive number such as {_DEFAULT_FACTOR:g}")
    return number


def most_bytes() -> int:
    """Return the most bytes of a trip file, as published and inflated."""
    return int(factor() * _largest_file()[0])


def most_rows() -> int:
    """Return the most rows of a trip file."""
    return int(factor() * _largest_file()[1])


def most_bytes_of_zones() -> int:
    """Return the most bytes of a file about the zones, as published and inflated: they are read whole."""
    return int(factor() * _LARGEST_SHAPES)


def most_bytes_of_pages() -> int:
    """Return the most bytes of Parquet pages that are inflated at the same time, one of each column."""
    return int(factor() * _PAGES_IN_MEMORY)


def check(found: int, most: int, what: str) -> None:
    """Refuse what is more than a limit; `what` names the file and the unit.

    Raises:
        TooLarge: it is more.
    """
    if found > most:
        raise TooLarge(
            f"{what}: {found:,} are more than the {most:,} that are allowed; "
            f"if the file is right, raise {FACTOR_VARIABLE} ({factor():g} now)"
        )


def check_columns(names: Sequence[str], file: str) -> None:
    """Refuse too many columns, or one with too long a name.

    Raises:
        TooLarge: there are.
    """
    check(len(names), MOST_COLUMNS, f"{file}: columns")
    longest = max(map(len, names), default=0)
    check(longest, MOST_CHARACTERS_OF_A_NAME, f"{file}: characters of a column's name")


@cache
def _largest_file() -> tuple[int, int]:
    known = catalog.expectations().values()
    return max(file.bytes for file in known), max(file.rows for file in known)
