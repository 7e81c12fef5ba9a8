"""Datasets, tables and rows, in one DuckDB file that also holds their descriptions."""

from __future__ import annotations

import json
import secrets
import time
from contextlib import contextmanager
from threading import RLock
from typing import TYPE_CHECKING

import duckdb

from devtools.emulators.bigquery.errors import Refused, not_found, not_supported
from devtools.emulators.bigquery.fields import duckdb_type, fields_of, normalised, quoted, text
from devtools.emulators.bigquery.partitions import Partitioning
from devtools.emulators.bigquery.tables import (
    APPEND,
    TRUNCATE,
    check_field,
    check_new_field,
    check_none_missing,
    check_partition,
    may_add_columns,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from duckdb import DuckDBPyConnection

    from devtools.emulators.bigquery.fields import Field
    from devtools.emulators.bigquery.tables import Resource, Rows, TableId

MEMORY_LIMIT = "1GB"  # of DuckDB's buffers; larger data spills to the folder
ANYWHERE = "US"  # the location of a dataset that names none

SETUP = """
SET GLOBAL autoinstall_known_extensions = false;
SET GLOBAL python_enable_replacements = false;
SET GLOBAL TimeZone = 'UTC';
SET GLOBAL default_null_order = 'NULLS_FIRST';
CREATE SCHEMA IF NOT EXISTS "local cloud";
CREATE TABLE IF NOT EXISTS "local cloud".resources (kind VARCHAR, name VARCHAR, body JSON, PRIMARY KEY (kind, name));
CREATE OR REPLACE MACRO current_datetime() AS now() AT TIME ZONE 'UTC';
ATTACH IF NOT EXISTS ':memory:' AS results;
"""
# The last statements that may change a setting: from here on DuckDB opens its own files and those of load jobs.
CONFINE = """
SET GLOBAL allowed_directories = [{uploads}];
SET GLOBAL enable_external_access = false;
SET GLOBAL lock_configuration = true;
"""


class Warehouse:
    """Everything that persists. Any number of threads may use it; writers take turns.

    Args:
        folder: holds the DuckDB file, and data that spills from memory.
        uploads: the only folder that statements can read files from.
    """

    def __init__(self, folder: Path, uploads: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        settings: dict[str, str | bool | int | float | list[str]] = {
            "memory_limit": MEMORY_LIMIT,
            "temp_directory": str(folder / "spill"),
        }
        self._connection = duckdb.connect(str(folder / "tables.duckdb"), config=settings)
        self._connection.execute(SETUP)
        self._connection.execute(CONFINE.format(uploads=text(f"{uploads}/")))
        self._turn = RLock()
        self._is_writing = False

    def close(self) -> None:
        """Write everything to the file and close it."""
        self._connection.close()

    def cursor(self) -> DuckDBPyConnection:
        """Open a connection that sees what is committed."""
        return self._connection.cursor()

    @contextmanager
    def writing(self, cursor: DuckDBPyConnection) -> Iterator[None]:
        """Run the block as a transaction while no other thread writes; a nested block joins the outer one."""
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

    # Resources: the descriptions of datasets, tables and jobs

    def find(self, cursor: DuckDBPyConnection, kind: str, name: str) -> Resource | None:
        """Return the resource of this name, if there is one."""
        query = 'SELECT body FROM tables."local cloud".resources WHERE kind = ? AND name = ?'
        row = cursor.execute(query, [kind, name]).fetchone()
        return json.loads(row[0]) if row else None

    def every(self, cursor: DuckDBPyConnection, kind: str, prefix: str = "") -> list[Resource]:
        """Return all resources of a kind, by name."""
        query = """SELECT body FROM tables."local cloud".resources
                   WHERE kind = ? AND starts_with(name, ?) ORDER BY name"""
        return [json.loads(row[0]) for row in cursor.execute(query, [kind, prefix]).fetchall()]

    def keep(self, cursor: DuckDBPyConnection, kind: str, name: str, body: Resource) -> None:
        """Store the resource of this name."""
        query = 'INSERT OR REPLACE INTO tables."local cloud".resources VALUES (?, ?, ?)'
        cursor.execute(query, [kind, name, json.dumps(body)])

    def forget(self, cursor: DuckDBPyConnection, kind: str, name: str) -> None:
        """Delete the resource of this name."""
        cursor.execute('DELETE FROM tables."local cloud".resources WHERE kind = ? AND name = ?', [kind, name])

    # Datasets

    def create_dataset(self, cursor: DuckDBPyConnection, project: str, body: Resource) -> Resource:
        """Create a dataset from the resource that a client sends."""
        name = body["datasetReference"]["datasetId"]
        with self.writing(cursor):
            if self.find(cursor, "dataset", name):
                raise Refused("duplicate", f"Already Exists: Dataset {project}:{name}")
            resource = body | {
                "kind": "bigquery#dataset",
                "id": f"{project}:{name}",
                "datasetReference": {"projectId": project, "datasetId": name},
                "location": (body.get("location") or ANYWHERE),
                "creationTime": now(),
            }
            cursor.execute(f"CREATE SCHEMA IF NOT EXISTS tables.{quoted(name)}")
            return self._save(cursor, "dataset", name, resource)

    def dataset(self, cursor: DuckDBPyConnection, project: str, name: str, location: str | None = None) -> Resource:
        """Return the dataset.

        Raises:
            Refused: there is none of this name, or not in that location.
        """
        found = self.find(cursor, "dataset", name)
        if found is None or (location and location.upper() != found["location"].upper()):
            raise not_found("Dataset", f"{project}:{name}", location)
        return found

    def patch_dataset(
        self, cursor: DuckDBPyConnection, project: str, name: str, changes: Resource, etag: str | None
    ) -> Resource:
        """Change the description of a dataset."""
        with self.writing(cursor):
            resource = self.dataset(cursor, project, name)
            _check_etag(resource, etag)
            return self._save(cursor, "dataset", name, _merged(resource, changes))

    def delete_dataset(self, cursor: DuckDBPyConnection, project: str, name: str, *, with_tables: bool) -> None:
        """Delete a dataset; refuse one that has tables unless `with_tables`."""
        with self.writing(cursor):
            self.dataset(cursor, project, name)
            tables = self.every(cursor, "table", f"{name}.")
            if tables and not with_tables:
                raise Refused("resourceInUse", f"Dataset {project}:{name} is still in use")
            for table in tables:
                self._forget_table(cursor, f"{name}.{table['tableReference']['tableId']}")
            cursor.execute(f"DROP SCHEMA IF EXISTS tables.{quoted(name)} CASCADE")
            self.forget(cursor, "dataset", name)

    # Tables

    def create_table(
        self, cursor: DuckDBPyConnection, table: TableId, body: Resource, *, view_sql: str | None = None
    ) -> Resource:
        """Create a table or view from the resource that a client sends.

        Args:
            cursor: of the caller.
            table: its name.
            body: its schema, partitioning and so on.
            view_sql: the query of a view, translated for DuckDB.
        """
        with self.writing(cursor):
            dataset = self.dataset(cursor, table.project, table.dataset)
            if self.find(cursor, "table", table.key):
                raise Refused("duplicate", f"Already Exists: Table {table}")
            fields = [normalised(field) for field in body.get("schema", {}).get("fields", [])]
            if view_sql is not None:
                fields = fields_of(cursor, view_sql)
                cursor.execute(f"CREATE VIEW {table.sql} AS {view_sql}")
            else:
                self._create_columns(cursor, table, fields)
            resource = body | {
                "kind": "bigquery#table",
                "id": str(table),
                "tableReference": {"projectId": table.project, "datasetId": table.dataset, "tableId": table.table},
                "type": "TABLE" if view_sql is None else "VIEW",
                "schema": {"fields": fields},
                "location": dataset["location"],
                "creationTime": now(),
            }
            Partitioning.of(resource)
            return self._save(cursor, "table", table.key, resource)

    def tables(self, cursor: DuckDBPyConnection, project: str, dataset: str) -> list[Resource]:
        """Return the resources of a dataset's tables and views, without their schemas and queries.

        Raises:
            Refused: the dataset does not exist.
        """
        self.dataset(cursor, project, dataset)
        listed = ("kind", "id", "tableReference", "type", "timePartitioning", "clustering", "labels", "creationTime")
        return [
            {name: resource[name] for name in listed if name in resource}
            for resource in self.every(cursor, "table", f"{dataset}.")
        ]

    def table(self, cursor: DuckDBPyConnection, table: TableId) -> Resource:
        """Return the resource of a table, with its row count.

        Raises:
            Refused: the table or its dataset does not exist.
        """
        resource = self.known_table(cursor, table)
        if resource["type"] == "VIEW":
            return resource
        rows = cursor.execute(f"SELECT count(*) FROM {table.sql}").fetchone() if resource["schema"]["fields"] else None
        return resource | {"numRows": str(rows[0] if rows else 0), "numBytes": "0"}

    def known_table(self, cursor: DuckDBPyConnection, table: TableId) -> Resource:
        """Return the resource of a table without counting its rows; raises as `table` does."""
        dataset = self.dataset(cursor, table.project, table.dataset)
        found = self.find(cursor, "table", table.key)
        if found is None:
            raise not_found("Table", str(table), dataset["location"])
        return found

    def patch_table(
        self,
        cursor: DuckDBPyConnection,
        table: TableId,
        changes: Resource,
        etag: str | None = None,
        *,
        view_sql: str | None = None,
    ) -> Resource:
        """Change the description of a table, add columns to it, or give a view another query."""
        with self.writing(cursor):
            resource = self.known_table(cursor, table)
            _check_etag(resource, etag)
            if view_sql is not None:
                if resource["type"] != "VIEW":
                    raise Refused("invalid", f"Cannot change the type of {table} to VIEW")
                cursor.execute(f"CREATE OR REPLACE VIEW {table.sql} AS {view_sql}")
                changes = changes | {"schema": {"fields": fields_of(cursor, view_sql)}}
            elif changes.get("schema"):
                fields = [normalised(field) for field in changes["schema"]["fields"]]
                self._add_columns(cursor, table, resource, fields, may_add=True)
                check_none_missing(table, resource, fields)
                changes = changes | {"schema": {"fields": fields}}
            if "timePartitioning" in changes and _partitioned_by(changes) != _partitioned_by(resource):
                raise Refused("invalid", "Cannot change partitioning or clustering spec for a partitioned table")
            return self._save(cursor, "table", table.key, _merged(resource, changes))

    def delete_table(self, cursor: DuckDBPyConnection, table: TableId) -> None:
        """Delete a table or a view."""
        if table.decorator:
            raise not_supported("no partition can be deleted by its name, only by DELETE ... WHERE")
        with self.writing(cursor):
            resource = self.known_table(cursor, table)
            cursor.execute(f"DROP {resource['type']} IF EXISTS {table.sql}")
            self._forget_table(cursor, table.key)

    def touch(self, cursor: DuckDBPyConnection, table: TableId) -> None:
        """Record that a statement has changed rows of the table, of any partition."""
        resource = self._save(cursor, "table", table.key, self.known_table(cursor, table))
        partitioning = Partitioning.of(resource)
        if partitioning:
            self._touch_partitions(cursor, table, self._partition_ids(cursor, table.sql, partitioning))

    def partition_times(self, cursor: DuckDBPyConnection, table: TableId) -> dict[str, int]:
        """Return when each partition last changed, in milliseconds since 1970."""
        return self.find(cursor, "partitions", table.key) or {}

    # Rows

    def write(self, cursor: DuckDBPyConnection, table: TableId, rows: Rows, settings: Resource) -> int:
        """Write rows to a table or to one of its partitions, and return how many.

        Args:
            cursor: of the caller; readers see all rows at once, or none if it fails.
            table: the destination.
            rows: what to write.
            settings: of the job: dispositions, schemaUpdateOptions, and the description of a new table.
        """
        disposition = settings.get("writeDisposition") or APPEND
        may_add = may_add_columns(table, disposition, settings)
        with self.writing(cursor):
            found = self._destination(cursor, table, rows, settings, may_add=may_add)
            partitioning = self._partitioning(table, found) if table.decorator else None
            if disposition == TRUNCATE:
                condition = partitioning.condition(table.decorator) if partitioning else "true"
                cursor.execute(f"DELETE FROM {table.sql} WHERE {condition}")
            written = self._insert(cursor, table, rows, found["schema"]["fields"], partitioning)
            self._save(cursor, "table", table.key, found)
            changed = [table.decorator] if partitioning else self._changed_partitions(cursor, found, rows)
            self._touch_partitions(cursor, table, changed)
            return written

    def _destination(
        self, cursor: DuckDBPyConnection, table: TableId, rows: Rows, settings: Resource, *, may_add: bool
    ) -> Resource:
        """Return the table, created if it may be, and with columns for the rows."""
        self.dataset(cursor, table.project, table.dataset)
        found = self.find(cursor, "table", table.key)
        if found is None and settings.get("createDisposition") == "CREATE_NEVER":
            raise not_found("Table", str(table))
        if found is None:
            new = {key: settings[key] for key in ("timePartitioning", "clustering") if settings.get(key)}
            about = settings.get("destinationTableProperties", {})
            return self.create_table(cursor, table, about | new | {"schema": {"fields": rows.fields}})
        if settings.get("writeDisposition") == TRUNCATE and not table.decorator:
            cursor.execute(f"DROP TABLE {table.sql}")
            self._create_columns(cursor, table, rows.fields)
            found["schema"] = {"fields": rows.fields}
            Partitioning.of(found)
            return found
        self._add_columns(cursor, table, found, rows.fields, may_add=may_add)
        return found

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
            check_partition(cursor, table, source, partitioning)
        try:
            inserted = cursor.execute(f"INSERT INTO {table.sql} BY NAME {source}").fetchone()
        except duckdb.ConstraintException as error:
            raise Refused("invalid", f"Required field cannot be null: {error}") from error
        return int(inserted[0]) if inserted else 0

    def _add_columns(
        self, cursor: DuckDBPyConnection, table: TableId, resource: Resource, fields: list[Field], *, may_add: bool
    ) -> None:
        """Check that rows of these fields fit the table, and add its missing columns if `may_add`."""
        known = {field["name"].lower(): field for field in resource["schema"]["fields"]}
        if not known:
            self._create_columns(cursor, table, fields)
            resource["schema"]["fields"] = fields
            return
        for field in fields:
            before = known.get(field["name"].lower())
            if before is None:
                check_new_field(table, field, may_add=may_add)
                cursor.execute(f"ALTER TABLE {table.sql} ADD COLUMN {quoted(field['name'])} {duckdb_type(field)}")
                resource["schema"]["fields"].append(field)
            else:
                check_field(table, before, field)

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
            raise Refused("invalid", f"Cannot write partition ${table.decorator} of {table}: it is not partitioned")
        return found

    def _changed_partitions(self, cursor: DuckDBPyConnection, resource: Resource, rows: Rows) -> list[str]:
        partitioning = Partitioning.of(resource)
        return self._partition_ids(cursor, f"({rows.sql})", partitioning) if partitioning else []

    def _partition_ids(self, cursor: DuckDBPyConnection, source: str, partitioning: Partitioning) -> list[str]:
        return [row[0] for row in cursor.execute(f"SELECT DISTINCT {partitioning.id_sql} FROM {source}").fetchall()]

    def _touch_partitions(self, cursor: DuckDBPyConnection, table: TableId, ids: Iterable[str]) -> None:
        times = self.partition_times(cursor, table) | dict.fromkeys(ids, int(now()))
        self.keep(cursor, "partitions", table.key, times)

    def _forget_table(self, cursor: DuckDBPyConnection, key: str) -> None:
        for kind in ("table", "partitions"):
            self.forget(cursor, kind, key)

    def _save(self, cursor: DuckDBPyConnection, kind: str, name: str, resource: Resource) -> Resource:
        changed = resource | {"etag": secrets.token_urlsafe(12), "lastModifiedTime": now()}
        self.keep(cursor, kind, name, changed)
        return changed


def now() -> str:
    """Return the time as the REST interface writes it: milliseconds since 1970."""
    return str(int(time.time() * 1000))


def _partitioned_by(resource: Resource) -> tuple[str | None, str | None]:
    spec = resource.get("timePartitioning") or {}
    return spec.get("type"), spec.get("field")


def _merged(resource: Resource, changes: Resource) -> Resource:
    """Return the resource with the changes; a value of None deletes, among labels too."""
    result = resource | changes
    labels = (resource.get("labels") or {}) | (changes.get("labels") or {})
    if "labels" in changes:
        result["labels"] = {key: value for key, value in labels.items() if value is not None}
    return {key: value for key, value in result.items() if value is not None}


def _check_etag(resource: Resource, etag: str | None) -> None:
    if etag is not None and etag != resource["etag"]:
        raise Refused("conditionNotMet", f"Precondition check failed: etag is {resource['etag']}, expected {etag}")
