"""load: put one landed month into its partition by a load job, of which a reader sees all or nothing.

The job reads the lake's own file: straight from gs://, or uploaded from a local lake. It replaces the partition that
its decorator names (`green_trips$202401`), costs no query, and may be repeated. The ledger row follows it; if a run
dies between the two, the next one loads the month again.
"""

from __future__ import annotations

import io
import logging
import re
from typing import TYPE_CHECKING, Literal

import pyarrow as pa
from google.cloud import bigquery as bq
from pyarrow import parquet

from include.nyc_taxi import catalog, landing
from include.nyc_taxi.errors import CountMismatch, LakeChanged, WarehouseBusy, WarehouseRefused
from include.nyc_taxi.lake import data_key
from include.nyc_taxi.progress import Progress
from include.nyc_taxi.targets import ledger as fields
from include.nyc_taxi.targets.bigquery import ledger
from include.nyc_taxi.targets.bigquery.location import check
from include.nyc_taxi.targets.bigquery.server import ask, errors_told, have_table
from include.nyc_taxi.targets.ledger import Loaded, Run

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

    from google.cloud.bigquery.table import Row

    from include.nyc_taxi.lake import Lake
    from include.nyc_taxi.targets.bigquery.table import Table
    from include.nyc_taxi.trip_file import TripFile

log = logging.getLogger(__name__)

_TYPES = {"int16": "INT64", "int32": "INT64", "float64": "FLOAT64", "timestamp": "DATETIME", "text": "STRING"}
_CLUSTERED_BY = ("pickup_location_id", "pickup_datetime")


def replace_month(
    client: bq.Client, file: TripFile, lake: Lake, *, table: Table, run: Run | None = None, force: bool = False
) -> Loaded:
    """Make the month's partition hold just the rows that data/ holds, and write that down in the dataset's ledger.

    Creates what is missing: dataset, table, columns, ledger. Does nothing if the ledger says that these rows are loaded
    and the partition still holds as many, unless `force`.

    Raises:
        NotInLake: the month is not in data/.
        WarehouseBusy: BigQuery or the way there failed; a retry may succeed.
        WarehouseRefused: a right is missing, the locations differ, or the name is that of another kind of table or of
            another service's.
        LakeChanged: another run landed the month meanwhile.
        CountMismatch: the partition does not hold the rows of the lake's file.
    """
    return _Load(client, file, lake, table, run or Run()).replace(force=force)


def append_month(
    client: bq.Client,
    file: TripFile,
    lake: Lake,
    *,
    table: Table,
    run: Run | None = None,
    chunk_rows: int = 500_000,
) -> Loaded:
    """Append the month's rows in chunks, whatever the table holds.

    Not safe to repeat: a second run doubles the month, and one that dies half way leaves a part of it. It raises what
    `replace_month` does; if BigQuery fails half way, a CountMismatch, so that no retry appends the rows again.
    """
    return _Load(client, file, lake, table, run or Run()).append(chunk_rows)


class _Load:
    """One month on its way into its partition."""

    def __init__(self, client: bq.Client, file: TripFile, lake: Lake, table: Table, run: Run) -> None:
        self.client = client
        self.file = file
        self.lake = lake
        self.table = table
        self.run = run
        self.key = fields.key(file, "bigquery", table)
        self.landed = landing.whole(file, lake)
        self.progress = Progress(file.name, "rows", self.landed.rows_accepted)

    def replace(self, *, force: bool) -> Loaded:
        location = check(self.client, self.lake, self.table)
        with errors_told(f"{self.file} into {self.table}"):
            self._prepare(location)
            last = ledger.last_load(self.client, self.table, self.key)
            if last is not None and last.service != self.file.service and self._count():
                raise WarehouseRefused(
                    f"{self.file}: {self.table} holds this month of {last.service}: load into another table"
                )
            if not force and self._is_in_place(last):
                log.info("%s: %s is up to date with %s rows", self.file, self.table, f"{self.landed.rows_accepted:,}")
                return self._loaded("unchanged")
            self._load_partition()
            self._check_lake()
            self._check_count(self._count())
            self._write_ledger()
        log.info(self.progress.outcome("loaded", str(self.table)))
        return self._loaded("replaced")

    def append(self, chunk_rows: int) -> Loaded:
        location = check(self.client, self.lake, self.table)
        onto = f"{self.file} onto {self.table}"
        with errors_told(onto):
            self._prepare(location)
        rows = 0
        with self.lake.local(data_key(self.file)) as path, parquet.ParquetFile(path, pre_buffer=False) as data:
            try:
                with errors_told(onto):
                    for chunk in _chunks(data, chunk_rows):
                        rows += self._run(self._upload(chunk, self.table.reference(self.client), "WRITE_APPEND"))
                    self._check_count(rows)
                    self._write_ledger()
            except WarehouseBusy as error:
                raise CountMismatch(
                    f"{error}. At least {rows:,} rows were appended, and a retry would append them again: "
                    "remove them first"
                ) from error
        log.info("%s: appended %s rows to %s", self.file, f"{rows:,}", self.table)
        return self._loaded("appended")

    def _prepare(self, location: str) -> None:
        """Create what is missing of the dataset, the table, its columns and the ledger; refuse what is in the way."""
        reference = self.table.reference(self.client)
        dataset = bq.Dataset(bq.DatasetReference(reference.project, reference.dataset_id))
        dataset.location = location
        self.client.create_dataset(dataset, exists_ok=True)
        partitioning = have_table(self.client, self._as_it_should_be(reference)).time_partitioning
        if partitioning is None or (partitioning.field, partitioning.type_) != (landing.FILE_MONTH, "MONTH"):
            raise WarehouseRefused(
                f"{self.table} exists and is not partitioned by month on {landing.FILE_MONTH}: name another table"
            )
        have_table(self.client, bq.Table(ledger.of_table(self.table).reference(self.client), ledger.schema()))

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
        log.info("%s: started load job %s in %s", self.file, job.job_id, job.location)
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

    def _is_in_place(self, last: Row | None) -> bool:
        """Whether the last load put these rows there, and they are still there."""
        wanted = (self.file.service, self.landed.recipe, self.landed.rows_accepted)
        if last is None or (last.service, last.recipe, last.rows_loaded) != wanted:
            return False
        return self._count() == self.landed.rows_accepted

    def _count(self) -> int:
        (row,) = ask(self.client, "count_month", self.table, month=self.file.month.first_day)
        return int(row[0])

    def _check_count(self, rows: int) -> None:
        if rows != self.landed.rows_accepted:
            raise CountMismatch(
                f"{self.file}: {self.table} holds {rows:,} rows, the lake's file has {self.landed.rows_accepted:,}"
            )

    def _check_lake(self) -> None:
        """Two runs may load a month at once: the one that ends later makes sure that the newer file wins."""
        if landing.landed(self.lake, self.file) != self.landed:
            raise LakeChanged(f"{self.file}: another run landed the month while {self.table} took it")

    def _write_ledger(self) -> None:
        entry = self.key | fields.row(self.landed, self.run, self.progress.seconds)
        ledger.write(self.client, self.table, entry)

    def _loaded(self, outcome: Literal["replaced", "appended", "unchanged"]) -> Loaded:
        return Loaded(outcome, self.table, self.landed, self.landed.rows_accepted, self.progress.seconds)


def _chunks(data: parquet.ParquetFile, rows: int) -> Iterator[io.BytesIO]:
    """The rows of a parquet file as parquet files with at most `rows` rows each."""
    for batch in data.iter_batches(rows):
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
