"""load: put one landed month into its partition by a load job, of which a reader sees all or nothing.

The job reads the lake's own file: straight from gs://, or uploaded from a lake elsewhere. It replaces the partition
that its decorator names (`green_trips$202401`), costs no query, and may be repeated. The ledger row follows it; if a
run dies between the two, the next one finds the job and adds the row.
"""

from __future__ import annotations

import io
import logging
import uuid
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal, cast

import pyarrow as pa
from google.api_core import exceptions as api
from google.cloud import bigquery as bq
from pyarrow import parquet

from include.nyc_taxi import catalog, landing, seal
from include.nyc_taxi.errors import CountMismatch, LakeChanged, WarehouseBusy, WarehouseRefused
from include.nyc_taxi.lake import data_key
from include.nyc_taxi.precedence import Claim, Run, claim_of
from include.nyc_taxi.progress import Progress
from include.nyc_taxi.targets import ledger as fields
from include.nyc_taxi.targets.bigquery import ledger, published_view
from include.nyc_taxi.targets.bigquery.in_place import is_read_in_place
from include.nyc_taxi.targets.bigquery.jobs import Chain, claim_of_labels, label, labels_of
from include.nyc_taxi.targets.bigquery.location import check
from include.nyc_taxi.targets.bigquery.server import ask, errors_told, have_table
from include.nyc_taxi.targets.ledger import Loaded

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

    from google.cloud.bigquery.table import Row

    from include.nyc_taxi.lake import Lake
    from include.nyc_taxi.landed_rows import Landed
    from include.nyc_taxi.targets.bigquery.jobs import Done
    from include.nyc_taxi.targets.bigquery.table import Table
    from include.nyc_taxi.trip_file import TripFile

log = logging.getLogger(__name__)

_TYPES = {"int16": "INT64", "int32": "INT64", "float64": "FLOAT64", "timestamp": "DATETIME", "text": "STRING"}
_ATTEMPTS = 10
_CLUSTERED_BY = ("pickup_location_id", "pickup_datetime")


def replace_month(
    client: bq.Client,
    file: TripFile,
    lake: Lake,
    *,
    table: Table,
    found: Claim | None = None,
    run: Run | None = None,
    force: bool = False,
) -> Loaded:
    """Make the month's partition hold just the rows that the run has landed, and write that down in the ledger.

    `found` is the claim of the rows that the run has landed or found; without it, whatever data/ holds is loaded. Newer
    rows on the same terms that data/ holds meanwhile are loaded in their place.

    Creates what is missing: dataset, table, columns, view, ledger. Does nothing if the ledger says that these rows are
    loaded and the partition still holds as many, unless `force`.

    Raises:
        NotInLake: the month is not in data/.
        Superseded: a newer edition, or what a person asked for later, is in place; nothing has changed.
        WarehouseBusy: BigQuery or the way there failed; a retry may succeed.
        WarehouseRefused: a right is missing, the locations differ, or the name is that of another kind of table or of
            another service's.
        LakeChanged: another run landed the month meanwhile.
        CountMismatch: the partition does not hold the rows of the lake's file.
    """
    landed = landing.to_load(file, lake, found)
    return _Load(client, file, lake, table, run or Run(), landed=landed).replace(force=force)


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
    landed = landing.whole(file, lake)
    return _Load(client, file, lake, table, run or Run(), landed=landed).append(chunk_rows)


class _Load:
    """One month on its way into its partition."""

    def __init__(
        self, client: bq.Client, file: TripFile, lake: Lake, table: Table, run: Run, *, landed: Landed
    ) -> None:
        self.client = client
        self.file = file
        self.lake = lake
        self.table = table
        self.run = run
        self.key = fields.key(file, "bigquery", table)
        self.landed = landed
        self.claim = claim_of_labels(labels_of(fields.claim(landed, run)))
        self.progress = Progress(file.name, "rows", self.landed.rows_accepted)

    def replace(self, *, force: bool) -> Loaded:
        location = check(self.client, self.lake, self.table, self.file.service)
        with errors_told(f"{self.file} into {self.table}"):
            self._prepare(location)
            chain = Chain(self.client, self.table, self.file.month, location)
            for _ in range(_ATTEMPTS):
                last = ledger.last_load(self.client, self.table, self.key)
                number, done = chain.last(last.load_id if last else 0)
                rows = self._count()
                there = _claim_there(last, done, rows)
                if not force and there and self.claim.is_met_by(there) and rows == self.landed.rows_accepted:
                    return self._unchanged(done)
                self.claim.check(there, f"{self.file}: {self.table}")
                if self._load_as(chain, number + 1):
                    log.info(self.progress.outcome("loaded", str(self.table)))
                    return self._loaded("replaced")
        raise WarehouseBusy(f"{self.file}: other runs loaded {self.table} {_ATTEMPTS} times meanwhile")

    def _unchanged(self, done: Done | None) -> Loaded:
        if done is not None:
            log.info("%s: adding the ledger row that load job number %d lacks", self.file, done.number)
            self._write_ledger(done.number)
        log.info("%s: %s is up to date with %s rows", self.file, self.table, f"{self.landed.rows_accepted:,}")
        return self._loaded("unchanged")

    def _load_as(self, chain: Chain, number: int) -> bool:
        """Load the month by the job with this number; false if another run took the number, or has gone over it."""
        if not self._load_partition(chain.job_id(number), chain.location):
            return False
        rows = self._count()
        if chain.last(number)[0] > number:
            return False
        if rows != self.landed.rows_accepted:  # the job loaded all of them
            raise WarehouseBusy(
                f"{self.file}: {self.table} holds {rows:,} rows, the lake's file has {self.landed.rows_accepted:,}: "
                "another session changed it meanwhile; the next try loads it again"
            )
        self._write_ledger(number)
        return True

    def append(self, chunk_rows: int) -> Loaded:
        location = check(self.client, self.lake, self.table, self.file.service)
        onto = f"{self.file} onto {self.table}"
        with errors_told(onto):
            self._prepare(location)
        rows = 0
        with seal.intact(self.lake, data_key(self.file)) as opened, landing.reader(opened) as data:
            try:
                with errors_told(onto):
                    for chunk in _chunks(data, chunk_rows):
                        rows += self._run(self._upload(chunk, self.table.reference(self.client), "WRITE_APPEND"))
                    self._check_count(rows)
                    last = ledger.last_load(self.client, self.table, self.key)
                    self._write_ledger(last.load_id + 1 if last else 1)
            except WarehouseBusy as error:
                raise CountMismatch(
                    f"{error}. At least {rows:,} rows were appended, and a retry would append them again: "
                    "remove them first"
                ) from error
        log.info("%s: appended %s rows to %s", self.file, f"{rows:,}", self.table)
        return self._loaded("appended")

    def _prepare(self, location: str) -> None:
        """Create what is missing of dataset, ledger, table, columns and view; refuse what is in the way."""
        reference = self.table.reference(self.client)
        dataset = bq.Dataset(bq.DatasetReference(reference.project, reference.dataset_id))
        dataset.location = location
        self.client.create_dataset(dataset, exists_ok=True)
        have_table(self.client, bq.Table(ledger.of_table(self.table).reference(self.client), ledger.schema()))
        have_table(self.client, self._as_it_should_be(reference), self._check_table)
        published_view.keep(self.client, self.table, self.file.service)

    def _check_table(self, table: bq.Table) -> None:
        """Refuse a table that is something else, or that holds another service, whatever its months.

        Raises:
            WarehouseRefused: it is, or does.
        """
        partitioning = table.time_partitioning
        if partitioning is None or (partitioning.field, partitioning.type_) != (landing.FILE_MONTH, "MONTH"):
            raise WarehouseRefused(
                f"{self.table} exists and is not partitioned by month on {landing.FILE_MONTH}: name another table"
            )
        ledger.check_service(self.client, self.table, table, self.file.service)

    def _as_it_should_be(self, reference: bq.TableReference) -> bq.Table:
        table = bq.Table(reference, _schema(self.file.service))
        table.description = catalog.service(self.file.service).description
        table.time_partitioning = bq.TimePartitioning("MONTH", landing.FILE_MONTH)
        table.clustering_fields = [name for name in _CLUSTERED_BY if name in {field.name for field in table.schema}]
        table.labels = {"service": self.file.service, "source": "nyc-tlc"}
        return table

    def _load_partition(self, job_id: str, location: str) -> bool:
        """Run the job of this id; false if another run has taken the id."""
        partition = self.table.reference(self.client, f"{self.table.name}${str(self.file.month).replace('-', '')}")
        config = self._job_config("WRITE_TRUNCATE")
        with self._source() as source:
            try:
                job = self._start(source, partition, job_config=config, job_id=job_id, location=location)
            except api.Conflict:
                # The answer to our own request may have been lost: then the job is ours.
                job = cast("bq.LoadJob", self.client.get_job(job_id, location=location))
                if job.labels.get("attempt") != config.labels["attempt"]:
                    log.info("%s: another run is replacing the month in %s", self.file, self.table)
                    return False
            rows = self._run(job)
        self._check_count(rows)
        self.progress.advance(rows)
        return True

    def _start(self, source: BinaryIO | str, partition: bq.TableReference, **options: Any) -> bq.LoadJob:  # noqa: ANN401
        if isinstance(source, str):
            return self.client.load_table_from_uri(source, partition, **options)
        return self.client.load_table_from_file(source, partition, rewind=True, **options)

    @contextmanager
    def _source(self) -> Iterator[BinaryIO | str]:
        """Give the lake's file, or the URL of a copy in its bucket: whoever replaces it, these rows are loaded.

        Raises:
            LakeChanged: it is no longer the one that this load began with.
        """
        key = data_key(self.file)
        if not is_read_in_place(self.lake):
            with seal.intact(self.lake, key) as data:
                self._check_same(data)
                log.info("%s: uploading %s, as BigQuery reads gs:// only", self.file, self.lake.url(key))
                data.seek(0)
                yield data
            return
        state = self.lake.stamp(key)
        with self.lake.open(key) as data:
            self._check_same(data)
        if state is None:
            raise FileNotFoundError(self.lake.url(key))
        with self.lake.frozen(key, state) as url:
            yield url

    def _check_same(self, data: BinaryIO) -> None:
        if landing.described(landing.reader(data)) != self.landed:
            raise LakeChanged(f"{self.file}: {data_key(self.file)} was replaced by another run since this load began")

    def _upload(self, data: BinaryIO, to: bq.TableReference, write: str) -> bq.LoadJob:
        return self.client.load_table_from_file(data, to, job_config=self._job_config(write), rewind=True)

    def _run(self, job: bq.LoadJob) -> int:
        log.info("%s: started load job %s in %s", self.file, job.job_id, job.location)
        job.result()
        return int(job.output_rows or 0)

    def _job_config(self, write: str) -> bq.LoadJobConfig:
        labels = {"service": self.file.service, "month": str(self.file.month), "attempt": uuid.uuid4().hex}
        labels |= labels_of(self.claim)
        if self.run.dag_id is not None:
            labels["dag"] = label(self.run.dag_id)
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

    def _count(self) -> int:
        (row,) = ask(self.client, "count_month", self.table, month=self.file.month.first_day)
        return int(row[0])

    def _check_count(self, rows: int) -> None:
        if rows != self.landed.rows_accepted:
            raise CountMismatch(
                f"{self.file}: {self.table} holds {rows:,} rows, the lake's file has {self.landed.rows_accepted:,}"
            )

    def _write_ledger(self, load_id: int) -> None:
        entry = self.key | fields.row(self.landed, self.run, self.progress.seconds)
        ledger.write(self.client, self.table, load_id, entry)

    def _loaded(self, outcome: Literal["replaced", "appended", "unchanged"]) -> Loaded:
        return Loaded(outcome, self.table, self.landed, self.landed.rows_accepted, self.progress.seconds)


def _claim_there(last: Row | None, done: Done | None, rows: int) -> Claim | None:
    """The claim of the rows that the partition holds, as a job spells it; None if they were removed by hand."""
    if done is not None:
        return done.claim if rows or not done.rows else None
    if last is None or (last.rows_loaded and not rows):
        return None
    return claim_of_labels(labels_of(claim_of(dict(last.items()))))


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
