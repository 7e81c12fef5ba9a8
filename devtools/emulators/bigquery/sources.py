"""Read the files of a load job with DuckDB, whether they are uploaded or lie in the emulated GCS."""

from __future__ import annotations

import os
import re
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

import httpx

from devtools.emulators.bigquery.errors import Refused, not_found, not_supported
from devtools.emulators.bigquery.fields import duckdb_type, fields_of, normalised, quoted, text
from devtools.emulators.bigquery.tables import Rows

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from duckdb import DuckDBPyConnection

    from devtools.emulators.bigquery.fields import Field

STORAGE_HOST = "STORAGE_EMULATOR_HOST"
BLOCK_BYTES = 1 << 20
BUCKET = re.compile(r"[a-z0-9][a-z0-9._-]*")

# The types that a parquet column may be loaded as, besides its own.
COERCIONS = {
    ("DATETIME", "TIMESTAMP"),
    ("INTEGER", "NUMERIC"),
    ("STRING", "JSON"),
    ("TIMESTAMP", "DATETIME"),
}


def download(uris: Sequence[str], folder: Path) -> tuple[list[Path], set[str]]:
    """Copy the objects at gs:// addresses into a folder; `*` in an address stands for any text.

    Returns:
        The files, and the locations of their buckets.

    Raises:
        Refused: no object is there, or no storage is known.
    """
    host = os.environ.get(STORAGE_HOST)
    if not host:
        raise Refused("invalid", f"local cloud: {STORAGE_HOST} is not set, expected the address of the emulated GCS")
    files: list[Path] = []
    locations: set[str] = set()
    with httpx.Client(base_url=f"{host}/storage/v1/b/", timeout=60, trust_env=False) as client:
        for uri in uris:
            bucket, pattern = _parts(uri)
            locations.add(_location(client, bucket, uri))
            for name in _names(client, bucket, pattern, uri):
                files.append(folder / str(len(files)))
                _download(client, f"{bucket}/o/{quote(name, safe='')}", files[-1], uri)
    return files, locations


def _parts(uri: str) -> tuple[str, str]:
    address = urlsplit(uri)
    if address.scheme != "gs" or not BUCKET.fullmatch(address.netloc):
        raise Refused("invalid", f"Source URI {uri} is invalid, expected gs://bucket/object")
    return address.netloc, uri.removeprefix(f"gs://{address.netloc}/")


def _location(client: httpx.Client, bucket: str, uri: str) -> str:
    found = client.get(bucket)
    if found.status_code == httpx.codes.NOT_FOUND:
        raise not_found("URI", uri)
    return str(found.json()["location"]).upper()


def _names(client: httpx.Client, bucket: str, pattern: str, uri: str) -> list[str]:
    if "*" not in pattern:
        return [pattern]
    listing = client.get(f"{bucket}/o", params={"prefix": pattern.partition("*")[0]}).json()
    names = [item["name"] for item in listing.get("items", []) if fnmatchcase(item["name"], _as_glob(pattern))]
    if not names:
        raise not_found("URI", uri)
    return sorted(names)


def _as_glob(pattern: str) -> str:
    return pattern.replace("[", "[[]").replace("?", "[?]")


def _download(client: httpx.Client, path: str, into: Path, uri: str) -> None:
    with client.stream("GET", path, params={"alt": "media"}) as response:
        if response.status_code == httpx.codes.NOT_FOUND:
            raise not_found("URI", uri)
        if response.is_error:  # its own message would quote the address, with the key
            raise Refused("invalid", f"local cloud: the emulated GCS answers {response.status_code} for {uri}")
        with into.open("wb") as file:
            for block in response.iter_bytes(BLOCK_BYTES):
                file.write(block)


def rows_of(
    cursor: DuckDBPyConnection, files: Sequence[Path], settings: dict[str, Any], table_fields: list[Field]
) -> Rows:
    """Return the rows of files, as a load job with these settings reads them.

    Args:
        cursor: reads the files.
        files: of one format.
        settings: of the job: sourceFormat and schema.
        table_fields: of the destination, if it exists and keeps its schema.
    """
    given = [normalised(field) for field in (settings.get("schema") or {}).get("fields", [])]
    names = "[" + ", ".join(text(str(file)) for file in files) + "]"
    match settings.get("sourceFormat", "CSV"):
        case "PARQUET":
            return _parquet_rows(cursor, names, given, table_fields)
        case "NEWLINE_DELIMITED_JSON":
            return _json_rows(names, given or table_fields)
        case other:
            raise not_supported(f"source format {other} is not PARQUET or NEWLINE_DELIMITED_JSON")


def _json_rows(names: str, fields: list[Field]) -> Rows:
    if not fields:
        raise Refused("invalid", "No schema specified on job or table.")
    columns = ", ".join(f"{text(field['name'])}: '{duckdb_type(field)}'" for field in fields)
    return Rows(f"SELECT * FROM read_json({names}, format = 'newline_delimited', columns = {{{columns}}})", fields)


def _parquet_rows(cursor: DuckDBPyConnection, names: str, given: list[Field], table_fields: list[Field]) -> Rows:
    source = f"SELECT * FROM read_parquet({names})"
    in_file = {field["name"].lower(): field for field in fields_of(cursor, source)}
    wanted = {field["name"].lower(): field for field in given or table_fields}
    if given and not in_file.keys() <= wanted.keys():
        extra = ", ".join(field["name"] for key, field in in_file.items() if key not in wanted)
        raise Refused("invalid", f"local cloud: the parquet file has columns that the schema lacks: {extra}")
    fields = given or [wanted.get(key, field) for key, field in in_file.items()]
    values = ", ".join(_parquet_value(field, in_file.get(field["name"].lower())) for field in fields)
    return Rows(f"SELECT {values} FROM ({source})", fields)


def _parquet_value(field: Field, found: Field | None) -> str:
    name = quoted(field["name"])
    if found and found["type"] != field["type"] and (found["type"], field["type"]) not in COERCIONS:
        raise Refused(
            "invalid",
            f"Error while reading data, error message: Parquet column '{field['name']}' has type {found['type']} "
            f"which does not match the target type {field['type']}",
        )
    return f"CAST({name if found else 'NULL'} AS {duckdb_type(field)}) AS {name}"
