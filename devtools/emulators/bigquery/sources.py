"""The files of a load job: found in the GCS stand-in or uploaded, and read by DuckDB as BigQuery would."""

from __future__ import annotations

import os
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

import httpx

from devtools.emulators.bigquery.errors import Refused, not_found
from devtools.emulators.bigquery.fields import duckdb_type, fields_of, normalised, quoted, sql_type
from devtools.emulators.bigquery.warehouse import Rows

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from duckdb import DuckDBPyConnection

    from devtools.emulators.bigquery.fields import Field

STORAGE_HOST = "STORAGE_EMULATOR_HOST"
BLOCK_BYTES = 1 << 20

# What a parquet type may become besides itself.
COERCIONS = {
    ("BYTES", "STRING"),
    ("DATETIME", "TIMESTAMP"),
    ("INTEGER", "BIGNUMERIC"),
    ("INTEGER", "NUMERIC"),
    ("NUMERIC", "BIGNUMERIC"),
    ("STRING", "BYTES"),
    ("STRING", "JSON"),
    ("TIMESTAMP", "DATETIME"),
}


def download(uris: Sequence[str], folder: Path) -> tuple[list[Path], set[str]]:
    """Copy the objects of gs:// addresses, `*` standing for any text, into a folder.

    Returns:
        The files, and the locations of their buckets.

    Raises:
        Refused: nothing is there, or no storage is known.
    """
    host = os.environ.get(STORAGE_HOST)
    if not host:
        raise Refused("invalid", f"local cloud: {STORAGE_HOST} is not set, expected the address of the GCS stand-in")
    files: list[Path] = []
    locations: set[str] = set()
    with httpx.Client(base_url=f"{host}/storage/v1/b/", timeout=60, trust_env=False) as client:
        for uri in uris:
            address = urlsplit(uri)
            if address.scheme != "gs":
                raise Refused("invalid", f"Source URI {uri} is invalid, expected gs://bucket/object")
            bucket, pattern = address.netloc, uri.removeprefix(f"gs://{address.netloc}/")
            found = client.get(bucket)
            if found.status_code == httpx.codes.NOT_FOUND:
                raise not_found("URI", uri)
            locations.add(found.json()["location"].upper())
            for name in _names(client, bucket, pattern, uri):
                path = folder / str(len(files))
                with client.stream("GET", f"{bucket}/o/{quote(name, safe='')}", params={"alt": "media"}) as response:
                    if response.status_code == httpx.codes.NOT_FOUND:
                        raise not_found("URI", uri)
                    response.raise_for_status()
                    with path.open("wb") as file:
                        for block in response.iter_bytes(BLOCK_BYTES):
                            file.write(block)
                files.append(path)
    return files, locations


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


def rows_of(
    cursor: DuckDBPyConnection, files: Sequence[Path], settings: dict[str, Any], table_fields: list[Field]
) -> Rows:
    """The rows of files, as a load job with these settings reads them.

    Args:
        cursor: where they are looked at.
        files: of one format.
        settings: the job's: sourceFormat, schema, and how CSV is written.
        table_fields: of the table that they go to, if it is there and keeps its schema.
    """
    given = [normalised(field) for field in (settings.get("schema") or {}).get("fields", [])]
    names = "[" + ", ".join("'" + str(file).replace("'", "''") + "'" for file in files) + "]"
    match settings.get("sourceFormat", "CSV"):
        case "PARQUET":
            return _parquet_rows(cursor, names, given, table_fields)
        case "CSV":
            reader = _csv_reader(names, settings)
        case "NEWLINE_DELIMITED_JSON":
            reader = f"read_json({names}, format = 'newline_delimited'"
        case other:
            raise Refused("notImplemented", f"local cloud: no source format {other}")
    fields = given or table_fields
    if not fields:
        if not settings.get("autodetect"):
            raise Refused("invalid", "No schema specified on job or table.")
        sql = f"SELECT * FROM {reader})"
        return Rows(sql, fields_of(cursor, sql), has_schema=False)
    # BYTES are base64 in text, and names of these types hold no quote.
    columns = ", ".join(
        f"{_text(field['name'])}: '{duckdb_type(field | {'type': 'STRING'} if _is_bytes(field) else field)}'"
        for field in fields
    )
    values = ", ".join(
        f"from_base64({quoted(field['name'])}) AS {quoted(field['name'])}"
        if _is_bytes(field)
        else quoted(field["name"])
        for field in fields
    )
    return Rows(f"SELECT {values} FROM {reader}, columns = {{{columns}}})", fields, has_schema=bool(given))


def _parquet_rows(cursor: DuckDBPyConnection, names: str, given: list[Field], table_fields: list[Field]) -> Rows:
    source = f"SELECT * FROM read_parquet({names})"
    in_file = {field["name"].lower(): field for field in fields_of(cursor, source)}
    wanted = {field["name"].lower(): field for field in given or table_fields}
    if given and not in_file.keys() <= wanted.keys():
        extra = ", ".join(field["name"] for key, field in in_file.items() if key not in wanted)
        raise Refused("invalid", f"local cloud: the parquet file has columns beside those of the schema: {extra}")
    fields = given or [wanted.get(key, field) for key, field in in_file.items()]
    values = []
    for field in fields:
        found, name = in_file.get(field["name"].lower()), quoted(field["name"])
        if found is None:
            values.append(f"CAST(NULL AS {duckdb_type(field)}) AS {name}")
            continue
        if sql_type(found) != sql_type(field) and (found["type"], field["type"]) not in COERCIONS:
            raise Refused(
                "invalid",
                f"Error while reading data, error message: Parquet column '{field['name']}' has type {found['type']} "
                f"which does not match the target type {field['type']}",
            )
        values.append(f"CAST({name} AS {duckdb_type(field)}) AS {name}")
    return Rows(f"SELECT {', '.join(values)} FROM ({source})", fields, has_schema=bool(given))


def _csv_reader(names: str, settings: dict[str, Any]) -> str:
    skip = int(settings.get("skipLeadingRows") or 0)
    header = settings.get("autodetect") and not settings.get("schema")
    options = {
        "delim": _text(settings.get("fieldDelimiter", ",").replace("tab", "\t").replace("\\t", "\t")),
        "quote": _text(settings.get("quote", '"')),
        "escape": _text(settings.get("quote", '"')),
        "nullstr": _text(settings.get("nullMarker", "")),
        "header": str(bool(header)).lower(),
        "skip": str(max(skip - bool(header), 0)),
        "null_padding": str(bool(settings.get("allowJaggedRows"))).lower(),
    }
    if not header:
        options["auto_detect"] = "false"
    return f"read_csv({names}, " + ", ".join(f"{name} = {value}" for name, value in options.items())


def _is_bytes(field: Field) -> bool:
    return bool(field["type"] == "BYTES") and field["mode"] != "REPEATED"


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"
