"""load: put one landed month into its partition, in one transaction of which a reader sees all or nothing.

The month is streamed into a new table by binary COPY, indexed, and swapped for the partition that was there; the ledger
row and the month's summary commit with it. Tables are partitioned by `file_month`, the month of the file, because files
hold some trips of other months.
"""

from __future__ import annotations

import logging
import uuid
from dataclasses import dataclass
from time import sleep
from typing import TYPE_CHECKING, Any, Literal

import psycopg
from psycopg import sql

from include.nyc_taxi import landed_rows, seal
from include.nyc_taxi.errors import CountMismatch, LakeChanged, WarehouseBusy
from include.nyc_taxi.lake import data_key
from include.nyc_taxi.precedence import Claim, Run, claim_of
from include.nyc_taxi.progress import Progress
from include.nyc_taxi.summary import Summary
from include.nyc_taxi.targets import ledger as fields
from include.nyc_taxi.targets.ledger import Loaded
from include.nyc_taxi.targets.postgres import copy_binary, ledger, summaries
from include.nyc_taxi.targets.postgres.schema import are_taken, columns_of, definitions, oid_of, partition_of, prepare
from include.nyc_taxi.targets.postgres.server import (
    LOCK_SECONDS,
    end_when_stopped,
    errors_told,
    limit_lock_waits,
    template,
    transaction,
    value,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import BinaryIO

    from pyarrow import parquet

    from include.nyc_taxi.lake import Lake
    from include.nyc_taxi.landed_rows import Landed
    from include.nyc_taxi.targets.postgres.table import Table
    from include.nyc_taxi.trip_file import TripFile

log = logging.getLogger(__name__)

_BATCH_ROWS = 1 << 14


@dataclass(frozen=True)
class Patience:
    """How a swap waits for readers: how often it asks for its lock, how long each time, and with which pauses."""

    attempts: int = 20
    lock_seconds: float = LOCK_SECONDS
    pause_seconds: float = 1.0


def replace_month(
    connection: psycopg.Connection[Any],
    file: TripFile,
    lake: Lake,
    *,
    table: Table,
    found: Claim | None = None,
    run: Run | None = None,
    force: bool = False,
    patience: Patience = Patience(),
) -> Loaded:
    """Make the month's partition hold just the rows that the run has landed, and write that down in the ledger.

    `found` is the claim of the rows that the run has landed or found; without it, whatever data/ holds is loaded. Newer
    rows on the same terms that data/ holds meanwhile are loaded in their place.

    Creates what is missing: schema, table, columns, view, ledger. Does nothing if the ledger says that these rows are
    loaded and the partition still holds as many, unless `force`.

    Raises:
        NotInLake: the month is not in data/.
        Superseded: a newer edition, or what a person asked for later, is in place; nothing has changed.
        WarehouseBusy: a lock was not granted in time or the connection broke; nothing has changed.
        WarehouseRefused: a right is missing, or the name is that of another kind of table or of another service's.
        LakeChanged: another run landed the month meanwhile; nothing has changed.
        CountMismatch: the warehouse did not take every row; nothing has changed.
    """
    landed = landed_rows.to_load(file, lake, found)
    with errors_told(f"{file}: {table}"):
        prepare(connection, table, file.service)
        with transaction(connection):
            return _Replacement(connection, file, table, landed, by=run or Run(), patience=patience).run(
                lake, force=force
            )


class _Replacement:
    """One month on its way into its partition, inside the caller's transaction."""

    def __init__(
        self,
        connection: psycopg.Connection[Any],
        file: TripFile,
        table: Table,
        landed: Landed,
        *,
        by: Run,
        patience: Patience,
    ) -> None:
        self.connection = connection
        self.file = file
        self.table = table
        self.landed = landed
        self.by = by
        self.claim = fields.claim(landed, by)
        self.patience = patience
        self.key = fields.key(file, "postgres", table)
        self.staging = table.beside(f"new_{uuid.uuid4().hex[:8]}")
        self.progress = Progress(file.name, "rows", landed.rows_accepted)
        self.summary = Summary(file)

    def run(self, lake: Lake, *, force: bool) -> Loaded:
        self._wait_for_our_turn()
        oid = oid_of(self.connection, self.table)
        partition = partition_of(self.connection, oid, self.file.month)
        last = None if partition is None else ledger.last_load(self.connection, self.key)
        if not force and self._is_in_place(partition, last):
            log.info("%s: %s is up to date with %s rows", self.file, self.table, f"{self.landed.rows_accepted:,}")
            return self._loaded("unchanged")
        self.claim.check(claim_of(last) if last else None, f"{self.file}: {self.table}")
        with seal.intact(lake, data_key(self.file)) as opened:
            self._stage(opened, oid)
        ledger.write(self.connection, self.key | fields.row(self.landed, self.by, self.progress.seconds))
        summaries.replace(self.connection, self.key, self.summary)
        self._swap(oid)
        log.info(self.progress.outcome("loaded", str(self.table)))
        return self._loaded("replaced")

    def _wait_for_our_turn(self) -> None:
        """Queue up behind other runs of the same month and table; those of other months do not wait."""
        key = f"{self.table} {self.file.month}"
        if not value(self.connection, "SELECT pg_try_advisory_xact_lock(hashtextextended(%s, 0))", [key]):
            log.info("%s: waiting for another run that loads this month into %s", self.file, self.table)
            self.connection.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", (key,))

    def _is_in_place(self, partition: Table | None, last: Mapping[str, Any] | None) -> bool:
        """Whether the last load put these rows there, and they are still there."""
        if partition is None or last is None:
            return False
        if not self.claim.is_met_by(claim_of(last)) or last["rows_loaded"] != self.landed.rows_accepted:
            return False
        count = sql.SQL("SELECT count(*) FROM {}").format(partition.identifier)
        # The rollback releases the lock that counting takes; holding it while we stage could end in a deadlock.
        with self.connection.transaction(force_rollback=True):
            return bool(value(self.connection, count) == self.landed.rows_accepted)

    def _stage(self, opened: BinaryIO, oid: int) -> None:
        """Fill a new table with the month's rows and give it the index of its siblings."""
        columns = columns_of(self.connection, oid)
        columns.pop(landed_rows.FILE_MONTH)
        self._execute("create_staging", columns=definitions(columns), month=self._month)
        with landed_rows.reader(opened) as data:
            if landed_rows.described(data) != self.landed:
                raise LakeChanged(
                    f"{self.file}: {data_key(self.file)} was replaced by another run since this load began"
                )
            staged = self._copy(data)
        if staged != self.landed.rows_accepted:
            raise CountMismatch(f"{self.file}: {staged:,} rows staged, {self.landed.rows_accepted:,} accepted")
        self._execute("index_staging", index=sql.Identifier(f"{self.staging.name}_brin"))

    def _copy(self, data: parquet.ParquetFile) -> int:
        filled = [name for name in _filled_columns(data) if name != landed_rows.FILE_MONTH]
        encoder = copy_binary.Encoder()
        names = sql.SQL(", ").join(map(sql.Identifier, filled))
        with self.connection.cursor() as cursor:
            with cursor.copy(self._statement("copy_staging", columns=names)) as copy:
                copy.write(copy_binary.HEADER)
                for batch in data.iter_batches(_BATCH_ROWS, columns=filled, use_threads=False):
                    for rows in encoder.encode(batch):
                        copy.write(rows)
                    self.summary.add(batch)
                    self.progress.advance(batch.num_rows)
                copy.write(copy_binary.TRAILER)
            return cursor.rowcount

    def _swap(self, oid: int) -> None:
        """Put the new table in the old one's place. Ask for its lock briefly and often, so that readers pass."""
        end_when_stopped(self.connection)
        for attempt in range(1, self.patience.attempts + 1):
            try:
                with self.connection.transaction():
                    limit_lock_waits(self.connection, self.patience.lock_seconds)
                    self._swap_once(oid)
            except (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected) as error:
                if attempt == self.patience.attempts:
                    raise WarehouseBusy(
                        f"{self.file}: no lock on {self.table} in {attempt} attempts: a long query reads it"
                    ) from error
                log.info("%s: readers hold %s: attempt %d to swap the month in", self.file, self.table, attempt)
                sleep(self.patience.pause_seconds)
            else:
                return

    def _swap_once(self, oid: int) -> None:
        old = partition_of(self.connection, oid, self.file.month)
        if old is not None:
            self._execute("remove_partition", partition=old.identifier)
        new = self._free_name()
        self._execute(
            "attach_partition",
            partition=new.identifier,
            partition_name=sql.Identifier(new.name),
            index=sql.Identifier(self.staging.schema, f"{self.staging.name}_brin"),
            index_name=sql.Identifier(f"{new.name}_brin"),
            month=self._month,
        )

    def _free_name(self) -> Table:
        """A name for the month's partition: its usual one may be that of a table that somebody detached."""
        usual = self.table.beside(f"{self.file.month.year:04d}_{self.file.month.month:02d}")
        if not are_taken(self.connection, usual.schema, usual.name, f"{usual.name}_brin"):
            return usual
        other = usual.beside(uuid.uuid4().hex[:4])
        log.warning("%s: another table or index has the name %s: the month gets %s", self.file, usual, other)
        return other

    @property
    def _month(self) -> sql.Literal:
        return sql.Literal(self.file.month.first_day)

    def _statement(self, name: str, **parts: sql.Composable) -> sql.Composed:
        return template(name).format(table=self.table.identifier, staging=self.staging.identifier, **parts)

    def _execute(self, name: str, **parts: sql.Composable) -> None:
        self.connection.execute(self._statement(name, **parts))

    def _loaded(self, outcome: Literal["replaced", "unchanged"]) -> Loaded:
        return Loaded(outcome, self.table, self.landed, self.landed.rows_accepted, self.progress.seconds)


def _filled_columns(data: parquet.ParquetFile) -> list[str]:
    """The columns that hold any value; the others are null in the table without being sent."""
    nulls = landed_rows.null_counts(data)
    # Of a month without rows, any columns will do.
    return [name for name in nulls if nulls[name] < max(data.metadata.num_rows, 1)]
