"""postgres: put one landed month into its partition, in one transaction that a reader sees all of or nothing of.

The month is streamed into a new table by binary COPY, indexed, and swapped for the partition that was there; the ledger
row and the month's summary commit with it. Tables are partitioned by `file_month`, the month of the file, because files
hold some trips of other months.
"""

from __future__ import annotations

import logging
import re
import uuid
from contextlib import contextmanager
from dataclasses import dataclass
from time import sleep
from typing import TYPE_CHECKING, Any, Literal, LiteralString, cast

import psycopg
import pyarrow as pa
from pgpq import ArrowToPostgresBinaryEncoder
from psycopg import sql
from psycopg.rows import TupleRow, tuple_row
from psycopg.types.json import Jsonb
from pyarrow import parquet

from include.nyc_taxi import catalog, landing
from include.nyc_taxi.errors import CountMismatch, LakeChanged, WarehouseBusy, WarehouseRefused
from include.nyc_taxi.lake import data_key
from include.nyc_taxi.progress import Progress
from include.nyc_taxi.summary import Summary
from include.nyc_taxi.targets import ledger
from include.nyc_taxi.targets.ledger import Loaded, Run
from include.nyc_taxi.targets.sql_files import sql_file

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence
    from pathlib import Path

    from include.nyc_taxi.lake import Lake
    from include.nyc_taxi.landing import Landed
    from include.nyc_taxi.month import Month
    from include.nyc_taxi.trip_file import TripFile

log = logging.getLogger(__name__)

_TYPES = {
    "int16": "smallint",
    "int32": "integer",
    "float64": "double precision",
    "timestamp": "timestamp without time zone",
    "text": "text",
}
_BATCH_ROWS = 1 << 14
_BUFFER_BYTES = 1 << 20
_LOCK_TIMEOUT = "2s"
_SWAP_ATTEMPTS = 20
_SECONDS_BETWEEN_SWAPS = 1.0
_NAME = r"[A-Za-z_][A-Za-z0-9_$]*"
_TABLE = re.compile(rf"(?:(?P<schema>{_NAME})\.)?(?P<name>{_NAME})", re.ASCII)
# Postgres cuts names at 63 bytes without an error; the longest that we derive adds "_new_0123abcd_brin".
_LONGEST_SCHEMA = 63
_LONGEST_NAME = 45


@dataclass(frozen=True)
class Table:
    """The name of a table, as people write it: `table` or `schema.table`.

    >>> print(Table.parse("green_taxi_trips"))
    public.green_taxi_trips
    """

    schema: str
    name: str

    @classmethod
    def parse(cls, text: str) -> Table:
        """Read `table` or `schema.table`; the schema is `public` where none is given."""
        match = _TABLE.fullmatch(text)
        if match is None:
            raise ValueError(
                f"table name {text!r} is not table or schema.table with letters, digits, _ and $ (no leading digit)"
            )
        table = cls(match["schema"] or "public", match["name"])
        for kind, name, longest in (("schema", table.schema, _LONGEST_SCHEMA), ("table", table.name, _LONGEST_NAME)):
            if len(name) > longest:
                raise ValueError(f"{kind} name {name!r} has {len(name)} characters, at most {longest}")
        return table

    @classmethod
    def of_service(cls, service: str) -> Table:
        """Where a service's trips go by default."""
        return cls("public", f"{service}_taxi_trips")

    @property
    def identifier(self) -> sql.Identifier:
        """The name, quoted by the driver wherever it stands in a statement."""
        return sql.Identifier(self.schema, self.name)

    def beside(self, suffix: str) -> Table:
        """A table of the same schema whose name goes on with the suffix."""
        return Table(self.schema, f"{self.name}_{suffix}")

    def __str__(self) -> str:
        return f"{self.schema}.{self.name}"


def replace_month(
    connection: psycopg.Connection[Any],
    file: TripFile,
    lake: Lake,
    *,
    table: Table | None = None,
    run: Run | None = None,
    force: bool = False,
) -> Loaded:
    """Make the month's partition hold just the rows that data/ holds, and write that down in the ledger.

    What is missing is created: schema, table, columns, ledger. Where the ledger says that these very rows were loaded,
    and the partition still holds as many, nothing is done; `force` does it anyway.

    Raises:
        WarehouseBusy: a lock was not granted in time or the connection broke; nothing has changed.
        WarehouseRefused: a right is missing, or the name is that of another kind of table or of another service's.
        LakeChanged: another run landed the month anew meanwhile; nothing has changed.
        CountMismatch: the warehouse did not take every row; nothing has changed.
    """
    table = table or Table.of_service(file.service)
    landed = landing.whole(file, lake)
    with errors_told(f"{file}: {table}"):
        _prepare(connection, table, file.service)
        with _transaction(connection):
            return _Replacement(connection, file, table, landed, run or Run()).run(lake, force=force)


@contextmanager
def errors_told(what: str) -> Iterator[None]:
    """Say of the server's errors, in its words, whether another try may succeed."""
    try:
        yield
    except psycopg.OperationalError as error:
        raise WarehouseBusy(f"{what}: {error}") from error
    except psycopg.Error as error:
        raise WarehouseRefused(f"{what}: {error}") from error


class _Replacement:
    """One month on its way into its partition, inside the caller's transaction."""

    def __init__(
        self, connection: psycopg.Connection[Any], file: TripFile, table: Table, landed: Landed, by: Run
    ) -> None:
        self.connection = connection
        self.file = file
        self.table = table
        self.landed = landed
        self.by = by
        self.staging = table.beside(f"new_{uuid.uuid4().hex[:8]}")
        self.progress = Progress(file.name, "rows", landed.rows_accepted)
        self.summary = Summary(file)

    def run(self, lake: Lake, *, force: bool) -> Loaded:
        self._wait_for_our_turn()
        oid = _oid(self.connection, self.table)
        partition = _partition(self.connection, oid, self.file.month)
        last = None if partition is None else _ask(self.connection, _text("last_load"), self._ledger_key).fetchone()
        if last is not None and last[0] != self.file.service:
            raise WarehouseRefused(f"{self.file}: {self.table} holds this month of {last[0]}: load into another table")
        if not force and self._is_in_place(partition, last):
            log.info("%s: %s already holds its %s rows", self.file, self.table, f"{self.landed.rows_accepted:,}")
            return self._loaded("unchanged")
        with lake.local(data_key(self.file)) as path:
            self._stage(path, oid)
        self._write_ledger()
        self._write_summary()
        self._swap(oid)
        log.info(
            "%s: replaced its partition of %s: %s rows in %.1f s (%s rows/s)",
            self.file,
            self.table,
            f"{self.landed.rows_accepted:,}",
            self.progress.seconds,
            f"{self.progress.rate:,.0f}",
        )
        return self._loaded("replaced")

    def _wait_for_our_turn(self) -> None:
        """Runs of the same month of the same table go one after the other; those of other months do not wait."""
        key = f"{self.table} {self.file.month}"
        if not _value(self.connection, "SELECT pg_try_advisory_xact_lock(hashtextextended(%s, 0))", [key]):
            log.info("%s: another run loads this month into %s: waiting for it", self.file, self.table)
            self.connection.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", (key,))

    def _is_in_place(self, partition: Table | None, last: TupleRow | None) -> bool:
        """Whether the last load put these very rows there, and they are there still."""
        if partition is None or last != (self.file.service, self.landed.recipe, self.landed.rows_accepted):
            return False
        count = sql.SQL("SELECT count(*) FROM {}").format(partition.identifier)
        # Rolled back, it gives back the lock that counting takes; kept while we stage, that could end in a deadlock.
        with self.connection.transaction(force_rollback=True):
            return bool(_value(self.connection, count) == self.landed.rows_accepted)

    def _stage(self, path: Path, oid: int) -> None:
        """Fill a new table with the month's rows and give it the index of its siblings."""
        columns = {name: type_ for name, type_ in _columns(self.connection, oid).items() if name != landing.FILE_MONTH}
        self._execute("create_staging", columns=_definitions(columns), month=self._month)
        with parquet.ParquetFile(path, buffer_size=_BUFFER_BYTES, pre_buffer=False) as data:
            if landing.described(data) != self.landed:
                raise LakeChanged(f"{self.file}: {path.name} is not the one this load began with: it was landed anew")
            staged = self._copy(data)
        if staged != self.landed.rows_accepted:
            raise CountMismatch(f"{self.file}: {staged:,} rows staged, {self.landed.rows_accepted:,} accepted")
        self._execute("index_staging", index=sql.Identifier(f"{self.staging.name}_brin"))

    def _copy(self, data: parquet.ParquetFile) -> int:
        filled = [name for name in _filled_columns(data) if name != landing.FILE_MONTH]
        encoder = ArrowToPostgresBinaryEncoder(pa.schema([data.schema_arrow.field(name) for name in filled]))
        names = sql.SQL(", ").join(map(sql.Identifier, filled))
        with self.connection.cursor() as cursor:
            with cursor.copy(self._statement("copy_staging", columns=names)) as copy:
                copy.write(encoder.write_header())
                for batch in data.iter_batches(_BATCH_ROWS, columns=filled, use_threads=False):
                    copy.write(encoder.write_batch(batch))
                    self.summary.add(batch)
                    self.progress.advance(batch.num_rows)
                copy.write(encoder.finish())
            return cursor.rowcount

    def _swap(self, oid: int) -> None:
        """Put the new table in the old one's place. It asks for its lock briefly and often, so that readers pass."""
        for attempt in range(1, _SWAP_ATTEMPTS + 1):
            try:
                with self.connection.transaction():
                    self.connection.execute(sql.SQL("SET LOCAL lock_timeout = {}").format(_LOCK_TIMEOUT))
                    self._swap_once(oid)
            except (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected) as error:
                if attempt == _SWAP_ATTEMPTS:
                    raise WarehouseBusy(
                        f"{self.file}: no lock on {self.table} in {attempt} attempts: a long query reads it"
                    ) from error
                log.info("%s: readers hold %s: attempt %d to swap the month in", self.file, self.table, attempt)
                sleep(_SECONDS_BETWEEN_SWAPS)
            else:
                return

    def _swap_once(self, oid: int) -> None:
        old = _partition(self.connection, oid, self.file.month)
        if old is not None:
            self._execute("remove_partition", partition=old.identifier)
        new = self.table.beside(f"{self.file.month.year:04d}_{self.file.month.month:02d}")
        self._execute(
            "attach_partition",
            partition=new.identifier,
            partition_name=sql.Identifier(new.name),
            index=sql.Identifier(self.staging.schema, f"{self.staging.name}_brin"),
            index_name=sql.Identifier(f"{new.name}_brin"),
            month=self._month,
        )

    def _write_ledger(self) -> None:
        entry = self._ledger_key | ledger.row(self.landed, self.by, self.progress.seconds)
        counts = {name: Jsonb(entry[name]) for name in ("rejected_by_reason", "rule_hits")}
        self.connection.execute(_text("insert_ledger"), entry | counts)

    def _write_summary(self) -> None:
        self.connection.execute(_text("delete_summary"), self._ledger_key)
        for statement, rows in (
            ("insert_month", self.summary.by_month()),
            ("insert_hours", self.summary.by_hour()),
            ("insert_zones", self.summary.by_zone()),
        ):
            self.connection.execute(_text(statement), self._ledger_key | rows)

    @property
    def _ledger_key(self) -> dict[str, str]:
        return ledger.key(self.file, self.table)

    @property
    def _month(self) -> sql.Literal:
        return sql.Literal(self.file.month.first_day)

    def _statement(self, name: str, **parts: sql.Composable) -> sql.Composed:
        return _template(name).format(table=self.table.identifier, staging=self.staging.identifier, **parts)

    def _execute(self, name: str, **parts: sql.Composable) -> None:
        self.connection.execute(self._statement(name, **parts))

    def _loaded(self, outcome: Literal["replaced", "unchanged"]) -> Loaded:
        return Loaded(outcome, self.table, self.landed, self.landed.rows_accepted, self.progress.seconds)


def _filled_columns(data: parquet.ParquetFile) -> list[str]:
    """The columns that hold any value; the others are null in the table without being sent."""
    nulls = landing.null_counts(data)
    # Of a month without rows, any columns will do.
    return [name for name in nulls if nulls[name] < max(data.metadata.num_rows, 1)]


def _prepare(connection: psycopg.Connection[Any], table: Table, service: str) -> None:
    """Create what is missing of the ledger, the schema, the table and its columns, and refuse what is in the way."""
    if connection.info.transaction_status is not psycopg.pq.TransactionStatus.IDLE:
        raise ValueError("replace_month needs a connection that is not inside a transaction: it commits its own")
    wanted = {column.name: _TYPES[column.type] for column in catalog.service(service).columns}
    with _transaction(connection):
        if _lacks(connection, table, wanted) == {} and _value(connection, _text("ledger_is_current")):
            return
    with _transaction(connection):
        connection.execute("SELECT pg_advisory_xact_lock(hashtextextended('nyc_taxi create', 0))")
        if not _value(connection, _text("ledger_is_current")):
            connection.execute(_template("create_ledger"))
            connection.execute(_template("create_summaries"))
        missing = _lacks(connection, table, wanted)
        if missing == wanted:
            _create(connection, table, wanted)
        else:
            _add_columns(connection, table, missing)
        _describe(connection, table, service, missing)


def _lacks(connection: psycopg.Connection[Any], table: Table, wanted: dict[str, str]) -> dict[str, str]:
    """The wanted columns that the table does not have; all of them where there is no such table."""
    found = _found(connection, table)
    if found is None:
        return wanted
    oid, partition_key = found
    if partition_key != f"LIST ({landing.FILE_MONTH})":
        raise WarehouseRefused(
            f"{table} exists and is not a table partitioned by {landing.FILE_MONTH}: "
            "rename it, or load into another table_name"
        )
    there = _columns(connection, oid)
    other = {column: there[column] for column, type_ in wanted.items() if there.get(column, type_) != type_}
    if other:
        raise WarehouseRefused(f"{table} has columns of other types: {other}, where {wanted} were expected")
    return {column: type_ for column, type_ in wanted.items() if column not in there}


def _create(connection: psycopg.Connection[Any], table: Table, columns: dict[str, str]) -> None:
    if not _value(connection, "SELECT to_regnamespace(quote_ident(%s))", [table.schema]):
        connection.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(table.schema)))
    create = _template("create_trips")
    index = sql.Identifier(f"{table.name}_brin")
    connection.execute(create.format(table=table.identifier, columns=_definitions(columns), index=index))


def _add_columns(connection: psycopg.Connection[Any], table: Table, missing: dict[str, str]) -> None:
    connection.execute(sql.SQL("SET LOCAL lock_timeout = {}").format(_LOCK_TIMEOUT))
    for name, type_ in missing.items():
        log.info("%s: adding column %s %s", table, name, type_)
        definition = _definitions({name: type_})
        connection.execute(sql.SQL("ALTER TABLE {} ADD COLUMN {}").format(table.identifier, definition))


def _describe(connection: psycopg.Connection[Any], table: Table, service: str, columns: Collection[str]) -> None:
    comment = sql.SQL("COMMENT ON COLUMN {} IS {}")
    for column in catalog.service(service).columns:
        if column.name in columns:
            name = sql.Identifier(table.schema, table.name, column.name)
            connection.execute(comment.format(name, sql.Literal(column.description)))


def _columns(connection: psycopg.Connection[Any], oid: int) -> dict[str, str]:
    return dict(_ask(connection, _text("table_columns"), {"oid": oid}).fetchall())


def _oid(connection: psycopg.Connection[Any], table: Table) -> int:
    found = _found(connection, table)
    if found is None:
        raise WarehouseBusy(f"{table} was dropped by another session just now")
    return found[0]


def _found(connection: psycopg.Connection[Any], table: Table) -> tuple[int, str | None] | None:
    """The table's oid and partition key, if there is such a table."""
    name = {"schema": table.schema, "name": table.name}
    return cast("tuple[int, str | None] | None", _ask(connection, _text("find_table"), name).fetchone())


def _partition(connection: psycopg.Connection[Any], oid: int, month: Month) -> Table | None:
    """The partition that holds the month, whatever its name."""
    found = _ask(connection, _text("find_partition"), {"oid": oid, "month": month.first_day}).fetchone()
    return None if found is None else Table(*found)


def _definitions(columns: dict[str, str]) -> sql.Composed:
    # The types are our own words or the server's, never a caller's.
    return sql.SQL(", ").join(sql.SQL("{} " + type_).format(sql.Identifier(name)) for name, type_ in columns.items())


def _value(
    connection: psycopg.Connection[Any], query: LiteralString | sql.Composed, parameters: Sequence[str] | None = None
) -> object:
    """The first column of the first row."""
    row = _ask(connection, query, parameters).fetchone()
    return None if row is None else row[0]


def _ask(
    connection: psycopg.Connection[Any],
    query: LiteralString | sql.Composed,
    parameters: Sequence[str] | Mapping[str, Any] | None = None,
) -> psycopg.Cursor[TupleRow]:
    """Rows as tuples, whatever kind of rows the connection's owner prefers."""
    return connection.cursor(row_factory=tuple_row).execute(query, parameters)


@contextmanager
def _transaction(connection: psycopg.Connection[Any]) -> Iterator[None]:
    """A transaction whose every statement sees what others have committed, whatever the default of the connection.

    If our machine is lost, the server gives back its locks after two minutes; by itself it would after two hours.
    """
    with connection.transaction():
        connection.execute(_text("begin_transaction"))
        yield


def _text(name: str) -> LiteralString:
    return sql_file(__package__, f"{name}.sql")


def _template(name: str) -> sql.SQL:
    return sql.SQL(_text(name))
