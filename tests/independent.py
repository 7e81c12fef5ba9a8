"""A second reader of published files that shares only the catalogue with the first: slow, naive, easy to check."""

import csv
import gzip
import io
from datetime import datetime
from pathlib import Path

from pyarrow import parquet

from include.nyc_taxi import TripFile, catalog


def read(path: Path, file: TripFile, source: str) -> dict[str, list]:
    """Return the file's columns under their canonical names, with the values that they mean."""
    service = catalog.service(file.service)
    era = service.era(source, file.month)
    published = parquet_columns(path) if source == "official" else csv_columns(path, era.encoding)
    return {
        column.name: [meaning(column, found, worded=era.worded) for found in values]
        for name, values in published.items()
        if name not in era.ignored and (column := service.column_published_as(name, era)) is not None
    }


def parquet_columns(path: Path) -> dict[str, list]:
    """Return the columns of a Parquet file as they are."""
    table = parquet.read_table(path)
    return {name: table[name].to_pylist() for name in table.column_names}


def csv_columns(path: Path, encoding: str = "utf8") -> dict[str, list]:
    """Return the fields of a CSV file, compressed or not, by the names of its header; further fields must be empty."""
    content = path.read_bytes()
    text = (gzip.decompress(content) if content.startswith(b"\x1f\x8b") else content).decode(encoding)
    header, *rows = [row for row in csv.reader(io.StringIO(text.removeprefix("\ufeff"), newline="")) if row]
    assert {"".join(row[len(header) :]) for row in rows} <= {""}
    return {name: [row[index] for row in rows] for index, name in enumerate(header)}


def meaning(column: catalog.Column, found: object, *, worded: bool = False) -> object:
    """Return the value that a field means, however it was written."""
    if found is None or found == "":
        return None
    if column.type == "timestamp":
        return found if isinstance(found, datetime) else datetime.fromisoformat(found.strip())
    if column.codes and (worded or column.type == "text" or isinstance(found, str)):
        word = str(int(found)) if isinstance(found, float) else str(found)
        found = column.codes.get(word.strip().lower(), word)
    if column.type == "text":
        return found or None
    return float(found) if column.type == "float64" else int(float(found))
