"""bigquery: put one landed month into its partition by a load job, which a reader sees all of or nothing of.

The job reads the lake's own file: straight from gs://, or uploaded from a local lake. It replaces the partition that
its decorator names (`green_trips$202401`), costs no query, and may be repeated. The ledger row follows it; where a run
dies between the two, the next one loads the month again.
"""

from __future__ import annotations

import io
import json
import logging
import re
import time
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

import pyarrow as pa
from google.api_core import exceptions as api
from google.auth import exceptions as auth
from google.cloud import bigquery as bq
from pyarrow import parquet
from requests import exceptions as web

from include.nyc_taxi import catalog, landing
from include.nyc_taxi.errors import CountMismatch, LakeChanged, WarehouseBusy, WarehouseRefused
from include.nyc_taxi.lake import data_key
from include.nyc_taxi.progress import Progress
from include.nyc_taxi.targets import ledger
from include.nyc_taxi.targets.ledger import Loaded, Run
from include.nyc_taxi.targets.sql_files import sql_file

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

    from google.cloud.bigquery.table import Row, RowIterator

    from include.nyc_taxi.lake import Lake
    from include.nyc_taxi.trip_file import TripFile

log = logging.getLogger(__name__)

WriteMode = Literal["replace", "append"]
DEFAULT_DATASET = "nyc_taxi"
LEDGER = "load_ledger"

_TYPES = {"int16": "INT64", "int32": "INT64", "float64": "FLOAT64", "timestamp": "DATETIME", "text": "STRING"}
_CLUSTERED_BY = ("pickup_location_id", "pickup_datetime")
_DEFAULT_LOCATION = "US"
# The notes append by so many rows at a time.
_APPENDED_ROWS = 500_000
_TABLE = re.compile(r"(?:(?P<project>[a-z][a-z0-9-]*)\.)?(?P<dataset>\w+)\.(?P<name>[\w-]+)", re.ASCII)
_HEALS = (
    api.ServerError,
    api.TooManyRequests,
    api.RetryError,
    auth.TransportError,
    web.ConnectionError,
    web.Timeout,
)


@dataclass(frozen=True)
class Table:
    """The name of a table, as people write it: `dataset.table` or `project.dataset.table`.

    >>> print(Table.parse("dezoomcamp.trips"))
    dezoomcamp.trips
    """

    dataset: str
    name: str
    project: str | None = None

    @classmethod
    def parse(cls, text: str) -> Table:
        """Read `dataset.table` or `project.dataset.table`."""
        match = _TABLE.fullmatch(text)
        if match is None:
            raise ValueError(f"table name {text!r} is not dataset.table or project.dataset.table")
        return cls(match["dataset"], match["name"], match["project"])

    @classmethod
    def of_service(cls, service: str, dataset: str = DEFAULT_DATASET) -> Table:
        """Where a service's trips go by default."""
        return cls.parse(f"{dataset}.{service}_trips")

    def reference(self, client: bq.Client, name: str | None = None) -> bq.TableReference:
        """The table, or another one of its dataset, as the client names it."""
        return bq.DatasetReference(self.project or client.project, self.dataset).table(name or self.name)

    def __str__(self) -> str:
        return ".".join(filter(None, (self.project, self.dataset, self.name)))


def replace_month(
    client: bq.Client,
    file: TripFile,
    lake: Lake,
    *,
    table: Table | None = None,
    run: Run | None = None,
    force: bool = False,
) -> Loaded:
    """Make the month's partition hold just the rows that data/ holds, and write that down in the dataset's ledger.

    What is missing is created: dataset, table, columns, ledger. Where the ledger says that these very rows were loaded,
    and the partition still holds as many, nothing is done; `force` does it anyway.

    Raises:
        NotInLake: the month is not in data/.
        WarehouseBusy: BigQuery or the way there failed; another try may succeed.
        WarehouseRefused: a right is missing, the locations differ, or the name is that of another kind of table or of
            another service's.
        LakeChanged: another run landed the month anew meanwhile.
        CountMismatch: the partition does not hold the rows of the lake's file.
    """
    return _Load(client, file, lake, table or Table.of_service(file.service), run or Run()).replace(force=force)


def append_month(
    client: bq.Client, file: TripFile, lake: Lake, *, table: Table | None = None, run: Run | None = None
) -> Loaded:
    """Append the month's rows in chunks, as the notes did, whatever the table holds already.

    Not safe to repeat: a second run doubles the month, and one that dies half way leaves a part of it. It raises what
    `replace_month` does; where BigQuery fails half way, a CountMismatch, so that nobody tries it again unseen.
    """
    return _Load(client, file, lake, table or Table.of_service(file.service), run or Run()).append()


def check(client: bq.Client, lake: Lake, table: Table) -> str:
    """See that bucket and the table's dataset can be reached and may work together; returns the dataset's location.

    A dataset that is not there is no error: it will be made in the bucket's location.

    Raises:
        WarehouseRefused: credentials, a right or the bucket is missing, or the locations differ.
        WarehouseBusy: the way there failed.
    """
    dataset = bq.DatasetReference(table.project or client.project, table.dataset)
    name = f"{dataset.project}.{dataset.dataset_id}"
    with errors_told(f"dataset {name}"):
        wanted = _bucket_location(lake)
        try:
            found = str(client.get_dataset(dataset).location)
        except api.NotFound:
            log.info("dataset %s is not there yet: it will be made in %s", name, wanted)
            return wanted or _DEFAULT_LOCATION
        if wanted is not None and not _may_load(wanted, found):
            raise WarehouseRefused(
                f"dataset {name} is in {found} and the bucket of {lake.url('')} in {wanted}: "
                "a load job needs both in one location"
            )
        log.info("dataset %s is in %s", name, found)
        return found


def last_loads(client: bq.Client, dataset: str) -> list[dict[str, Any]]:
    """The ledger's newest row of every service, month and table, those of the services' own tables last."""
    table = Table(dataset, LEDGER)
    with errors_told(str(table)):
        try:
            rows = client.query_and_wait(_statement("latest_loads", client, table))
        except api.NotFound:
            return []
        loads = [dict(row.items()) for row in rows]
    return sorted(loads, key=lambda load: load["target_table"] == str(Table.of_service(load["service"], dataset)))


@contextmanager
def errors_told(what: str) -> Iterator[None]:
    """Say of Google's errors whether another try may succeed."""
    try:
        yield
    except _HEALS as error:
        raise WarehouseBusy(f"{what}: {error}") from error
    except auth.GoogleAuthError as error:
        raise WarehouseRefused(f"{what}: no valid credentials: {error}") from error
    except api.Forbidden as error:
        if any(reason.get("reason") in ("rateLimitExceeded", "jobRateLimitExceeded") for reason in error.errors):
            raise WarehouseBusy(f"{what}: {error}") from error
        raise WarehouseRefused(f"{what}: a right is missing: {error}") from error
    except api.ClientError as error:
        raise WarehouseRefused(f"{what}: {error}") from error


class _Load:
    """One month on its way into its partition."""

    def __init__(self, client: bq.Client, file: TripFile, lake: Lake, table: Table, run: Run) -> None:
        self.client = client
        self.file = file
        self.lake = lake
        self.table = table
        self.run = run
        self.landed = landing.whole(file, lake)
        self.progress = Progress(file.name, "rows", self.landed.rows_accepted)

    def replace(self, *, force: bool) -> Loaded:
        location = check(self.client, self.lake, self.table)
        with errors_told(f"{self.file} into {self.table}"):
            self._prepare(location)
            last = self._last_load()
            if last is not None and last.service != self.file.service and self._count():
                raise WarehouseRefused(
                    f"{self.file}: {self.table} holds this month of {last.service}: load into another table"
                )
            if not force and self._is_in_place(last):
                log.info("%s: %s already holds its %s rows", self.file, self.table, f"{self.landed.rows_accepted:,}")
                return self._loaded("unchanged")
            self._load_partition()
            self._check_lake()
            self._check_count(self._count())
            self._write_ledger()
        log.info(
            "%s: replaced its partition of %s: %s rows in %.1f s (%s rows/s)",
            self.file,
            self.table,
            f"{self.landed.rows_accepted:,}",
            self.progress.seconds,
            f"{self.progress.rate:,.0f}",
        )
        return self._loaded("replaced")

    def append(self) -> Loaded:
        location = check(self.client, self.lake, self.table)
        onto = f"{self.file} onto {self.table}"
        with errors_told(onto):
            self._prepare(location)
        rows = 0
        with self.lake.local(data_key(self.file)) as path, parquet.ParquetFile(path, pre_buffer=False) as data:
            try:
                with errors_told(onto):
                    for chunk in _chunks(data):
                        rows += self._run(self._upload(chunk, self.table.reference(self.client), "WRITE_APPEND"))
                    self._check_count(rows)
                    self._write_ledger()
            except WarehouseBusy as error:
                raise CountMismatch(
                    f"{error}. {rows:,} rows or more were appended, which another try would append again: "
                    "remove them before that"
                ) from error
        log.info("%s: appended %s rows to %s", self.file, f"{rows:,}", self.table)
        return self._loaded("appended")

    def _prepare(self, location: str) -> None:
        """Create what is missing of the dataset, the table, its columns and the ledger; refuse what is in the way."""
        reference = self.table.reference(self.client)
        dataset = bq.Dataset(bq.DatasetReference(reference.project, reference.dataset_id))
        dataset.location = location
        self.client.create_dataset(dataset, exists_ok=True)
        table = self.client.create_table(self._as_it_should_be(reference), exists_ok=True)
        partitioning = table.time_partitioning
        if partitioning is None or (partitioning.field, partitioning.type_) != (landing.FILE_MONTH, "MONTH"):
            raise WarehouseRefused(
                f"{self.table} exists and is not partitioned by month on {landing.FILE_MONTH}: name another table"
            )
        there = {field.name for field in table.schema}
        missing = [field for field in _schema(self.file.service) if field.name not in there]
        if missing:
            table.schema = [*table.schema, *missing]
            self.client.update_table(table, ["schema"])
            log.info("%s: added to %s: %s", self.file, self.table, ", ".join(field.name for field in missing))
        self.client.create_table(bq.Table(self._ledger, _ledger_schema()), exists_ok=True)

    def _as_it_should_be(self, reference: bq.TableReference) -> bq.Table:
        table = bq.Table(reference, _schema(self.file.service))
        table.description = catalog.service(self.file.service).description
        table.time_partitioning = bq.TimePartitioning("MONTH", landing.FILE_MONTH)
        table.clustering_fields = [name for name in _CLUSTERED_BY if name in {field.name for field in table.schema}]
        table.labels = {"service": self.file.service, "source": "nyc-tlc"}
        return table

    def _load_partition(self) -> None:
        partition = self.table.reference(self.client, f"{self.table.name}${str(self.file.month).replace('-', '')}")
        key = data_key(self.file)
        if self.lake.is_local:
            with self.lake.open(key) as data:
                job = self._upload(data, partition, "WRITE_TRUNCATE")
        else:
            job = self.client.load_table_from_uri(
                self.lake.url(key), partition, job_config=self._job_config("WRITE_TRUNCATE")
            )
        rows = self._run(job)
        self._check_count(rows)
        self.progress.advance(rows)

    def _upload(self, data: BinaryIO, to: bq.TableReference, write: str) -> bq.LoadJob:
        return self.client.load_table_from_file(data, to, job_config=self._job_config(write), rewind=True)

    def _run(self, job: bq.LoadJob) -> int:
        log.info("%s: load job %s runs in %s", self.file, job.job_id, job.location)
        job.result()
        return int(job.output_rows or 0)

    def _job_config(self, write: str) -> bq.LoadJobConfig:
        labels = {"service": self.file.service, "month": str(self.file.month), "recipe": self.landed.recipe}
        if self.run.dag_id is not None:
            labels["dag"] = re.sub(r"[^a-z0-9_-]", "-", self.run.dag_id.lower())[:63]
        return bq.LoadJobConfig(
            source_format=bq.SourceFormat.PARQUET,
            schema=_schema(self.file.service),
            write_disposition=write,
            create_disposition="CREATE_NEVER",
            schema_update_options=["ALLOW_FIELD_ADDITION"],
            time_partitioning=bq.TimePartitioning("MONTH", landing.FILE_MONTH),
            clustering_fields=self._as_it_should_be(self.table.reference(self.client)).clustering_fields,
            labels=labels,
        )

    def _last_load(self) -> Row | None:
        of_dataset = Table(self.table.dataset, LEDGER, self.table.project)
        of_partition = {"month": str(self.file.month), "target_table": str(self.table)}
        return next(iter(self._ask("last_load", of_dataset, of_partition)), None)

    def _is_in_place(self, last: Row | None) -> bool:
        """Whether the last load put these very rows there, and they are there still."""
        wanted = (self.file.service, self.landed.recipe, self.landed.rows_accepted)
        if last is None or (last.service, last.recipe, last.rows_loaded) != wanted:
            return False
        return self._count() == self.landed.rows_accepted

    def _count(self) -> int:
        (row,) = self._ask("count_month", self.table, {"month": self.file.month.first_day})
        return int(row[0])

    def _check_count(self, rows: int) -> None:
        if rows != self.landed.rows_accepted:
            raise CountMismatch(
                f"{self.file}: {self.table} took {rows:,} rows, the lake's file has {self.landed.rows_accepted:,}"
            )

    def _check_lake(self) -> None:
        """Two runs of a month may load at once: the later of them to end sees to it that the newer file wins."""
        if landing.landed(self.lake, self.file) != self.landed:
            raise LakeChanged(f"{self.file}: it was landed anew while {self.table} took it")

    def _write_ledger(self) -> None:
        of_now = {"load_id": time.time_ns() // 1000, "target": "bigquery", "loaded_at": datetime.now(UTC).isoformat()}
        entry = self._key | ledger.row(self.landed, self.run, self.progress.seconds) | of_now
        config = bq.LoadJobConfig(schema=_ledger_schema(), write_disposition="WRITE_APPEND")
        self.client.load_table_from_json([entry], self._ledger, job_config=config).result()

    @property
    def _ledger(self) -> bq.TableReference:
        return self.table.reference(self.client, LEDGER)

    @property
    def _key(self) -> dict[str, str]:
        return ledger.key(self.file, self.table)

    def _ask(self, name: str, table: Table, values: dict[str, Any]) -> RowIterator:
        types = {"month": "DATE"} if name == "count_month" else {}
        parameters = [bq.ScalarQueryParameter(key, types.get(key, "STRING"), value) for key, value in values.items()]
        config = bq.QueryJobConfig(query_parameters=parameters)
        return self.client.query_and_wait(_statement(name, self.client, table), job_config=config)

    def _loaded(self, outcome: Literal["replaced", "appended", "unchanged"]) -> Loaded:
        return Loaded(outcome, self.table, self.landed, self.landed.rows_accepted, self.progress.seconds)


def _chunks(data: parquet.ParquetFile) -> Iterator[io.BytesIO]:
    """The rows of a parquet file as parquet files of at most so many rows as the notes append at a time."""
    for batch in data.iter_batches(_APPENDED_ROWS):
        chunk = io.BytesIO()
        parquet.write_table(pa.Table.from_batches([batch]), chunk, compression="zstd")
        yield chunk


def _schema(service: str) -> list[bq.SchemaField]:
    columns = [
        bq.SchemaField(column.name, _TYPES[column.type], description=column.description)
        for column in catalog.service(service).columns
    ]
    months = landing.data_schema(service).field(landing.FILE_MONTH)
    return [*columns, bq.SchemaField(months.name, "DATE", description=months.metadata[b"description"].decode())]


def _ledger_schema() -> list[bq.SchemaField]:
    return [bq.SchemaField.from_api_repr(field) for field in json.loads(_text("ledger.json"))]


def _statement(name: str, client: bq.Client, table: Table) -> str:
    """A statement of sql; its one name was checked when the Table was made."""
    return _text(f"{name}.sql").replace("{table}", f"`{table.reference(client)}`")


def _text(name: str) -> str:
    return sql_file(__package__, name)


def _bucket_location(lake: Lake) -> str | None:
    """Where the lake's bucket is; None for a lake on this machine."""
    if lake.is_local:
        return None
    bucket = lake.root.partition("/")[0]
    try:
        return str(lake.fs.info(bucket)["location"]).upper()
    except (FileNotFoundError, KeyError) as error:
        raise WarehouseRefused(f"bucket {bucket!r} is not there, or taxi_gcp may not see it") from error


def _may_load(bucket: str, dataset: str) -> bool:
    """Whether BigQuery loads from a bucket into a dataset: US takes from anywhere, EU from its regions too.

    Source: https://cloud.google.com/bigquery/docs/loading-data-cloud-storage-parquet#limitations
    """
    bucket, dataset = bucket.upper(), dataset.upper()
    return dataset in ("US", bucket) or (dataset == "EU" and bucket.startswith("EUROPE-"))
