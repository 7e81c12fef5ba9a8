"""months: the editions of a generated month that the publisher of a campaign offers.

Every row of an edition has its number as total amount, so that whoever reads a month knows which edition each row is
of; and each edition has more rows than the one before it.
"""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import format_datetime
from functools import cache
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, NamedTuple

import pyarrow as pa
from pyarrow import compute, parquet

from devtools.generator import write_month, zone_files
from devtools.servers.misbehaving import Published
from include.nyc_taxi import Month, TripFile, catalog
from include.nyc_taxi import zones as core_zones

if TYPE_CHECKING:
    from collections.abc import Mapping

FILE = TripFile("green", Month(2024, 1))
SOURCE = "official"
PATH = f"/{catalog.source(SOURCE).path_of(FILE)}"
KNOWN_URL = catalog.source(SOURCE).known_url(FILE.service, "http://publisher").removeprefix("http://publisher")
MARK = "total_amount"
_ROWS, _MORE = 20_000, 40  # two batches of a COPY, so that there is a middle
_MOST = 9
_LARGE = 20
_NO_PLACES = ("264", "265")
_STRIDE = 7919  # a prime


class Held(NamedTuple):
    """What a reader finds of a month: how many rows, and of which edition, the lowest and the highest."""

    rows: int
    lowest: float | None = None
    highest: float | None = None


NOTHING = Held(0)


@dataclass(frozen=True)
class Edition:
    """A state of a file as the publisher offers it, and what a right load makes of it.

    `path` is where it is. `beside` are files that belong to it, by their paths.
    """

    number: int
    content: bytes
    rows: int
    rejected: int
    path: str = PATH
    beside: Mapping[str, bytes] = field(default_factory=dict)

    @property
    def accepted(self) -> int:
        """The rows that the profile `notes` accepts."""
        return self.rows - self.rejected

    @property
    def held(self) -> Held:
        """What a reader of the loaded month finds."""
        return Held(self.accepted, float(self.number), float(self.number))

    @property
    def rejects(self) -> Held:
        """What a reader of its rejected rows finds."""
        return Held(self.rejected, float(self.number), float(self.number))

    @property
    def sha256(self) -> str:
        """The digest of its bytes."""
        return sha256(self.content).hexdigest()

    @property
    def files(self) -> dict[str, Published]:
        """Its files, as the server offers them."""
        changed = format_datetime(datetime(2024, 3, self.number, tzinfo=UTC), usegmt=True)
        files = {self.path: self.content, **self.beside}
        return {
            path: Published(content, f'"{sha256(content).hexdigest()[:8]}"', changed) for path, content in files.items()
        }

    @property
    def published(self) -> Published:
        """Its first file, as the server offers it."""
        return self.files[self.path]


@cache
def edition(number: int) -> Edition:
    """Return the edition with this number, from 1 to 9."""
    table = trips(_ROWS + _MORE * number)
    return of_table(number, marked(table, number))


@cache
def large(number: int) -> Edition:
    """Return an edition with twenty times as many rows."""
    return of_table(number, marked(pa.concat_tables([trips(_ROWS)] * _LARGE), number))


@cache
def zones(number: int) -> Edition:
    """Return an edition of the taxi zones, whose boroughs have its number; no zone is rejected."""
    header, *rows = zone_files.zone_rows()
    named = [[row[0], f"Borough {number}", *row[2:]] if row[0] not in _NO_PLACES else row for row in rows]
    shapes = {f"/{core_zones.SHAPES}": zone_files.shapes_bytes()}
    content = zone_files.lookup_bytes([header, *named])
    return Edition(number, content, len(rows), 0, f"/{core_zones.LOOKUP}", shapes)


def of_table(number: int, table: pa.Table) -> Edition:
    """Return the edition that has these rows."""
    file = io.BytesIO()
    parquet.write_table(table, file)
    nobody = compute.sum(compute.equal(table["passenger_count"], 0)).as_py() or 0
    return Edition(number, file.getvalue(), table.num_rows, nobody)


def marked(table: pa.Table, number: int) -> pa.Table:
    """Return the rows with the edition's number as total amount."""
    place = table.column_names.index(MARK)
    return table.set_column(place, table.schema.field(place), pa.repeat(float(number), table.num_rows))


def trips(rows: int) -> pa.Table:
    """Return the first rows of the generated month."""
    return _month().slice(0, rows)


@cache
def _month() -> pa.Table:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "month"
        write_month(FILE, path, rows=_ROWS + _MORE * _MOST)
        table = parquet.read_table(path)
    # The rows without a meter's record come last in a file: scattered, every edition has its share of them.
    return table.take(pa.array([row * _STRIDE % table.num_rows for row in range(table.num_rows)]))
