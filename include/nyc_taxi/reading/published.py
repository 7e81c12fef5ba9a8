"""published: what a file of any format offers to its reader."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import pyarrow as pa

    from include.nyc_taxi.catalog import Column, Era


class PublishedFile(ABC):
    """A file as the publisher wrote it: its column names, and its rows in types near the publisher's.

    `rows` is the number of rows if the format states it, else None.
    """

    name: str
    names: list[str]
    rows: int | None = None

    def type_of(self, name: str) -> str:  # noqa: ARG002 - a CSV file does not state types
        """Return the type of a column in the catalogue's words; text if the format does not state it."""
        return "text"

    @abstractmethod
    def batches(self, columns: Mapping[str, Column], era: Era) -> Iterator[pa.RecordBatch]:
        """Read the rows. Each batch has the given columns under their published names, and may have others.

        Args:
            columns: the columns to read, by their published names.
            era: the era that the file is read as.

        Raises:
            DamagedFile: the file cannot be read to its end.
            SchemaMismatch: a row does not have the columns of the header.
        """
