"""Datasets, tables and partitions: one DuckDB file, which holds what was said about them beside the rows."""

from __future__ import annotations

import json
import secrets
import time
from contextlib import contextmanager
from threading import RLock
from typing import TYPE_CHECKING, Any, NamedTuple

import duckdb

from devtools.emulators.bigquery.errors import Refused, not_found
from devtools.emulators.bigquery.fields import duckdb_type, fields_of, normalised, quoted, sql_type
from devtools.emulators.bigquery.partitions import Partitioning

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from duckdb import DuckDBPyConnection

    from devtools.emulators.bigquery.fields import Field

Resource = dict[str, Any]

MEMORY_LIMIT = "1GB"  # of DuckDB's buffers; what is larger spills to the folder
ANYWHERE = "US"  # where a dataset lies that names no location
EMPTY = "WRITE_EMPTY"
TRUNCATE = "WRITE_TRUNCATE"

SETUP = """
SET GLOBAL autoinstall_known_extensions = false;
SET GLOBAL TimeZone = 'UTC';
SET GLOBAL default_null_order = 'NULLS_FIRST';
CREATE SCHEMA IF NOT EXISTS "local cloud";
CREATE TABLE IF NOT EXISTS "local cloud".resources (kind VARCHAR, name VARCHAR, body JSON, PRIMARY KEY (kind, name));
CREATE OR REPLACE MACRO current_datetime() AS now() AT TIME ZONE 'UTC';
ATTACH IF NOT EXISTS ':memory:' AS results;
"""


class TableId(NamedTuple):
    """A table, or with a decorator one of its partitions."""

    project: str
    dataset: str
    table: str
    decorator: str = ""

    @classmethod
    def of(cls, reference: Resource, project: str = "") -> TableId:
        """The table that a tableReference names, as in `{"datasetId": "d", "tableId": "t$202401"}`."""
        table, _, decorator = reference["tableId"].partition("$")
        return cls(reference.get("projectId", project), reference["datasetId"], table, decorator)

    @property
    def sql(self) -> str:
        """The table's name in DuckDB."""
        return f"tables.{quoted(self.dataset)}.{quoted(self.table)}"

    def __str__(self) -> str:
        return f"{self.project}:{self.dataset}.{self.table}"


class Rows(NamedTuple):
    """Rows that are to be written."""

    sql: str  # a SELECT of DuckDB's that gives them
    fields: list[Field]  # what they are to be
    has_schema: bool = True  # whether the fields were asked for, rather than found in the rows


class Warehouse:
    """All that persists. Any number of threads may use it; those that write take turns.

    Args:
        folder: where the DuckDB file and what spills from memory lie.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        settings: dict[str, str | bool | int | float | list[str]] = {
            "memory_limit": MEMORY_LIMIT,
            "temp_directory": str(folder / "spill"),
        }
        self._connection = duckdb.connect(str(folder / "tables.duckdb"), config=settings)
        self._connection.execute(SETUP)
        self._turn = RLock()
        self._is_writing = False

    def close(self) -> None:
        """Write everything to the file and let go of it."""
        self._connection.close()

    def cursor(self) -> DuckDBPyConnection:
        """A connection of one's own, which sees what is committed."""
        return self._connection.cursor()

    @contextmanager
    def writing(self, cursor: DuckDBPyConnection) -> Iterator[None]:
        """A transaction while nobody else writes; within another of the same thread, a part of it."""
        with self._turn:
            if self._is_writing:
                yield
                return
            self._is_writing = True
            cursor.begin()
            try:
                yield
            except BaseException:
                cursor.rollback()
                raise
            else:
                cursor.commit()
            finally:
                self._is_writing = False

    # What is known of datasets, tables and jobs

    def find(self, cursor: DuckDBPyConnection, kind: str, name: str) -> Resource | None:
        """The resource of this name, if there is one."""
        query = 'SELECT body FROM tables."local cloud".resources WHERE kind = ? AND name = ?'
        row = cursor.execute(query, [kind, name]).fetchone()
        return json.loads(row[0]) if row else None

    def every(self, cursor: DuckDBPyConnection, kind: str, prefix: str = "") -> list[Resource]:
        """All resources of a kind, by name."""
        query = """SELECT body FROM tables."local cloud".resources
                   WHERE kind = ? AND starts_with(name, ?) ORDER BY name"""
        return [json.loads(row[0]) for row in cursor.execute(query, [kind, prefix]).fetchall()]

    def keep(self, cursor: DuckDBPyConnection, kind: str, name: str, body: Resource) -> None:
        """Set the resource of this name."""
        query = 'INSERT OR REPLACE INTO tables."local cloud".resources VALUES (?, ?, ?)'
        cursor.execute(query, [kind, name, json.dumps(body)])

    def forget(self, cursor: DuckDBPyConnection, kind: str, name: str) -> None:
        """Delete the resource of this name."""
        cursor.execute('DELETE FROM tables."local cloud".resources WHERE kind = ? AND name = ?', [kind, name])

    # Datasets

    def create_dataset(self, cursor: DuckDBPyConnection, project: str, body: Resource) -> Resource:
        """Make a dataset of the resource that a client sends."""
        name = body["datasetReference"]["datasetId"]
        with self.writing(cursor):
            if self.find(cursor, "dataset", name):
                raise Refused("duplicate", f"Already Exists: Dataset {project}:{name}")
            resource = body | {
                "kind": "bigquery#dataset",
                "id": f"{project}:{name}",
                "datasetReference": {"projectId": project, "datasetId": name},
                "location": (body.get("location") or ANYWHERE),
                "creationTime": _now(),
            }
            cursor.execute(f"CREATE SCHEMA IF NOT EXISTS tables.{quoted(name)}")
            return self._save(cursor, "dataset", name, resource)

    def dataset(self, cursor: DuckDBPyConnection, project: str, name: str, location: str | None = None) -> Resource:
        """The dataset.

        Raises:
            Refused: it is not there, or not in that location.
        """
        found = self.find(cursor, "dataset", name)
        if found is None or (location and location.upper() != found["location"].upper()):
            raise not_found("Dataset", f"{project}:{name}", location)
        return found

    def patch_dataset(
        self, cursor: DuckDBPyConnection, project: str, name: str, changes: Resource, etag: str | None
    ) -> Resource:
        """Change what is said about a dataset."""
        with self.writing(cursor):
            resource = self.dataset(cursor, project, name)
            _check_etag(resource, etag)
            return self._save(cursor, "dataset", name, _merged(resource, changes))

    def delete_dataset(self, cursor: DuckDBPyConnection, project: str, name: str, *, with_tables: bool) -> None:
        """Delete a dataset; one with tables only where that is asked for."""
        with self.writing(cursor):
            self.dataset(cursor, project, name)
            tables = self.every(cursor, "table", f"{name}.")
            if tables and not with_tables:
                raise Refused("resourceInUse", f"Dataset {project}:{name} is still in use")
            for table in tables:
                self.forget(cursor, "table", f"{name}.{table['tableReference']['tableId']}")
            cursor.execute(f"DROP SCHEMA IF EXISTS tables.{quoted(name)} CASCADE")
            self.forget(cursor, "dataset", name)

    # Tables

    def create_table(
        self, cursor: DuckDBPyConnection, table: TableId, body: Resource, *, view_sql: str | None = None
    ) -> Resource:
        """Make a table or view of the resource that a client sends.

        Args:
            cursor: the caller's.
            table: what it is to be called.
            body: its schema, partitioning and so on.
            view_sql: a view's query in DuckDB's words.
        """
        with self.writing(cursor):
            dataset = self.dataset(cursor, table.project, table.dataset)
            if self.find(cursor, "table", f"{table.dataset}.{table.table}"):
                raise Refused("duplicate", f"Already Exists: Table {table}")
            schema = {"fields": [normalised(field) for field in body.get("schema", {}).get("fields", [])]}
            if view_sql is not None:
                schema["fields"] = fields_of(cursor, view_sql)
                cursor.execute(f"CREATE VIEW {table.sql} AS {view_sql}")
            resource = body | {
                "kind": "bigquery#table",
                "id": str(table),
                "tableReference": {"projectId": table.project, "datasetId": table.dataset, "tableId": table.table},
                "type": "TABLE" if view_sql is None else "VIEW",
                "schema": schema,
                "location": dataset["location"],
                "creationTime": _now(),
            }
            Partitioning.of(resource)
            if view_sql is None:
                self._create_columns(cursor, table, schema["fields"])
            return self._save(cursor, "table", f"{table.dataset}.{table.table}", resource)

    def table(self, cursor: DuckDBPyConnection, table: TableId, location: str | None = None) -> Resource:
        """The table's resource, with the count of its rows.

        Raises:
            Refused: the table or its dataset is not there, or not in that location.
        """
        resource = self.known_table(cursor, table, location)
        if resource["type"] == "VIEW":
            return resource
        rows = cursor.execute(f"SELECT count(*) FROM {table.sql}").fetchone() if resource["schema"]["fields"] else None
        return resource | {"numRows": str(rows[0] if rows else 0), "numBytes": "0"}

    def known_table(self, cursor: DuckDBPyConnection, table: TableId, location: str | None = None) -> Resource:
        """What is said about a table, without a look at its rows; errors as of `table`."""
        dataset = self.dataset(cursor, table.project, table.dataset, location)
        found = self.find(cursor, "table", f"{table.dataset}.{table.table}")
        if found is None:
            raise not_found("Table", str(table), dataset["location"])
        return found

    def where(self, table: TableId, resource: Resource) -> str:
        """The condition that the table's decorator makes, if it has one, with its WHERE."""
        return f" WHERE {self._partitioning(table, resource).condition(table.decorator)}" if table.decorator else ""

    def patch_table(
        self, cursor: DuckDBPyConnection, table: TableId, changes: Resource, etag: str | None = None
    ) -> Resource:
        """Change what is said about a table: descriptions, labels, new columns, modes that are relaxed."""
        with self.writing(cursor):
            resource = self.known_table(cursor, table)
            _check_etag(resource, etag)
            if changes.get("schema"):
                fields = [normalised(field) for field in changes["schema"]["fields"]]
                self._evolve(cursor, table, resource, fields, {"ADDITION", "RELAXATION"})
                names = {field["name"].lower() for field in fields}
                for field in resource["schema"]["fields"]:
                    if field["name"].lower() not in names:
                        raise _mismatch(table, f"Field {field['name']} is missing in new schema")
                changes = changes | {"schema": {"fields": fields}}
            if "timePartitioning" in changes:
                before = resource.get("timePartitioning", {})
                after = changes["timePartitioning"] or {}
                if (before.get("type"), before.get("field")) != (after.get("type"), after.get("field")):
                    raise Refused("invalid", "Cannot change partitioning or clustering spec for a partitioned table")
            return self._save(cursor, "table", f"{table.dataset}.{table.table}", _merged(resource, changes))

    def delete_table(self, cursor: DuckDBPyConnection, table: TableId) -> None:
        """Delete a table, a view, or the rows of one partition."""
        with self.writing(cursor):
            resource = self.known_table(cursor, table)
            if table.decorator:
                condition = self._partitioning(table, resource).condition(table.decorator)
                cursor.execute(f"DELETE FROM {table.sql} WHERE {condition}")
                return
            cursor.execute(f"DROP {resource['type']} IF EXISTS {table.sql}")
            self.forget(cursor, "table", f"{table.dataset}.{table.table}")

    def touch(self, cursor: DuckDBPyConnection, table: TableId) -> None:
        """Note that the table's rows have changed."""
        name = f"{table.dataset}.{table.table}"
        self._save(cursor, "table", name, self.known_table(cursor, table))

    # Rows

    def write(self, cursor: DuckDBPyConnection, table: TableId, rows: Rows, settings: Resource, *, default: str) -> int:
        """Write rows to a table or to one of its partitions, and say how many.

        Args:
            cursor: the caller's; readers see all of it at once, or nothing where it fails.
            table: where they go.
            rows: what is written.
            settings: of the job: dispositions, schemaUpdateOptions, and what a new table is to be.
            default: the writeDisposition where the job names none.
        """
        disposition = settings.get("writeDisposition") or default
        updates = _schema_updates(table, disposition, settings)
        with self.writing(cursor):
            self.dataset(cursor, table.project, table.dataset)
            found = self.find(cursor, "table", f"{table.dataset}.{table.table}")
            if found is None and settings.get("createDisposition") == "CREATE_NEVER":
                raise not_found("Table", str(table))
            partitioning = self._partitioning(table, found or settings) if table.decorator else None
            if found and disposition == TRUNCATE and not partitioning:
                cursor.execute(f"DROP TABLE {table.sql}")
                self._create_columns(cursor, table, rows.fields)
                found["schema"] = {"fields": rows.fields}
                Partitioning.of(found)
            elif found:
                self._evolve(cursor, table, found, rows.fields, updates, check_modes=rows.has_schema)
            else:
                new = {key: settings[key] for key in ("timePartitioning", "clustering") if settings.get(key)}
                about = settings.get("destinationTableProperties", {})
                found = self.create_table(cursor, table, about | new | {"schema": {"fields": rows.fields}})
            if disposition in {EMPTY, TRUNCATE}:
                condition = partitioning.condition(table.decorator) if partitioning else "true"
                self._clear(cursor, table, condition, refuse=disposition == EMPTY)
            written = self._insert(cursor, table, rows, found["schema"]["fields"], partitioning)
            self._save(cursor, "table", f"{table.dataset}.{table.table}", found)
            return written

    def _insert(
        self,
        cursor: DuckDBPyConnection,
        table: TableId,
        rows: Rows,
        columns: list[Field],
        partitioning: Partitioning | None,
    ) -> int:
        types = {field["name"].lower(): duckdb_type(field) for field in columns}
        values = ", ".join(
            f"CAST({quoted(field['name'])} AS {types[field['name'].lower()]}) AS {quoted(field['name'])}"
            for field in rows.fields
        )
        source = f"SELECT {values} FROM ({rows.sql})"
        if partitioning:
            others = f"NOT coalesce({partitioning.condition(table.decorator)}, false)"
            if cursor.execute(f"SELECT 1 FROM ({source}) WHERE {others} LIMIT 1").fetchone():
                destination = f"{table}${table.decorator}"
                raise Refused(
                    "invalid",
                    f"Some rows belong to different partitions rather than destination partition {destination}",
                )
        try:
            inserted = cursor.execute(f"INSERT INTO {table.sql} BY NAME {source}").fetchone()
        except duckdb.ConstraintException as error:
            raise Refused("invalid", f"Required field cannot be null: {error}") from error
        return int(inserted[0]) if inserted else 0

    def _clear(self, cursor: DuckDBPyConnection, table: TableId, condition: str, *, refuse: bool) -> None:
        if refuse:
            if cursor.execute(f"SELECT 1 FROM {table.sql} WHERE {condition} LIMIT 1").fetchone():
                raise Refused("duplicate", f"Already Exists: Table {table}")
            return
        cursor.execute(f"DELETE FROM {table.sql} WHERE {condition}")

    def _evolve(
        self,
        cursor: DuckDBPyConnection,
        table: TableId,
        resource: Resource,
        fields: list[Field],
        updates: set[str],
        *,
        check_modes: bool = True,
    ) -> None:
        """Make the table take rows of these fields, as far as the updates allow."""
        known = {field["name"].lower(): field for field in resource["schema"]["fields"]}
        if not known:
            self._create_columns(cursor, table, fields)
            resource["schema"]["fields"] = fields
            return
        for field in fields:
            name, before = field["name"], known.get(field["name"].lower())
            if before is None:
                if "ADDITION" not in updates:
                    raise _mismatch(table, f"Cannot add fields (field: {name})")
                if field["mode"] == "REQUIRED":
                    raise _mismatch(table, f"Cannot add required fields to an existing schema. (field: {name})")
                cursor.execute(f"ALTER TABLE {table.sql} ADD COLUMN {quoted(name)} {duckdb_type(field)}")
                resource["schema"]["fields"].append(field)
            elif sql_type(before) != sql_type(field):
                raise _mismatch(table, f"Field {name} has changed type from {before['type']} to {field['type']}")
            elif check_modes and before["mode"] != field["mode"] and field["mode"] == "NULLABLE":
                if "RELAXATION" not in updates:
                    raise _mismatch(table, f"Field {name} has changed mode from REQUIRED to NULLABLE")
                cursor.execute(f"ALTER TABLE {table.sql} ALTER COLUMN {quoted(name)} DROP NOT NULL")
                before["mode"] = "NULLABLE"
            elif check_modes and before["mode"] != field["mode"]:
                raise _mismatch(table, f"Field {name} has changed mode from {before['mode']} to {field['mode']}")

    def _create_columns(self, cursor: DuckDBPyConnection, table: TableId, fields: list[Field]) -> None:
        columns = ", ".join(
            f"{quoted(field['name'])} {duckdb_type(field)} {'NOT NULL' if field['mode'] == 'REQUIRED' else ''}"
            for field in fields
        )
        if columns:  # a table without a schema gets its columns with its first rows
            cursor.execute(f"CREATE TABLE {table.sql} ({columns})")

    def _partitioning(self, table: TableId, resource: Resource) -> Partitioning:
        found = Partitioning.of(resource)
        if found is None:
            raise Refused(
                "invalid", f"Cannot read or write a partition of {table}, ${table.decorator}: it is not partitioned"
            )
        return found

    def _save(self, cursor: DuckDBPyConnection, kind: str, name: str, resource: Resource) -> Resource:
        changed = resource | {"etag": secrets.token_urlsafe(12), "lastModifiedTime": _now()}
        self.keep(cursor, kind, name, changed)
        return changed


def _schema_updates(table: TableId, disposition: str, settings: Resource) -> set[str]:
    options = settings.get("schemaUpdateOptions") or []
    if options and disposition != "WRITE_APPEND" and not (disposition == TRUNCATE and table.decorator):
        raise Refused(
            "invalid",
            "Schema update options should only be specified with WRITE_APPEND disposition, "
            "or with WRITE_TRUNCATE disposition on a table partition.",
        )
    return {option.removeprefix("ALLOW_FIELD_") for option in options}


def _merged(resource: Resource, changes: Resource) -> Resource:
    """The resource with the changes; None deletes, and so it does in the labels."""
    result = resource | changes
    labels = (resource.get("labels") or {}) | (changes.get("labels") or {})
    if "labels" in changes:
        result["labels"] = {key: value for key, value in labels.items() if value is not None}
    return {key: value for key, value in result.items() if value is not None}


def _check_etag(resource: Resource, etag: str | None) -> None:
    if etag is not None and etag != resource["etag"]:
        raise Refused("conditionNotMet", f"Precondition check failed: etag is {resource['etag']}, expected {etag}")


def _mismatch(table: TableId, what: str) -> Refused:
    return Refused("invalid", f"Provided Schema does not match Table {table}. {what}")


def _now() -> str:
    return str(int(time.time() * 1000))
