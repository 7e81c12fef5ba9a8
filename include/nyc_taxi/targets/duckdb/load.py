"""load: put one landed month into its table, in one transaction of which a reader sees all or nothing.

DuckDB reads the lake's own file: a local one in place, one of a bucket from a copy. The file is checked before the
database is opened, so that others wait for no download. The column `file_month` is the month of the file, because files
hold some trips of other months.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Literal, cast

from include.nyc_taxi import landed_rows, seal
from include.nyc_taxi.errors import CountMismatch, LakeChanged
from include.nyc_taxi.lake import data_key
from include.nyc_taxi.precedence import Claim, Run, claim_of
from include.nyc_taxi.progress import Progress
from include.nyc_taxi.targets import ledger as fields
from include.nyc_taxi.targets.duckdb import ledger, published_view, relations, schema
from include.nyc_taxi.targets.duckdb.database import statement
from include.nyc_taxi.targets.ledger import Loaded

if TYPE_CHECKING:
    from typing import BinaryIO

    from duckdb import DuckDBPyConnection

    from include.nyc_taxi.lake import Lake
    from include.nyc_taxi.landed_rows import Landed
    from include.nyc_taxi.targets.duckdb.database import DatabaseFile
    from include.nyc_taxi.targets.duckdb.table import Table
    from include.nyc_taxi.trip_file import TripFile

log = logging.getLogger(__name__)


def replace_month(
    database: DatabaseFile,
    file: TripFile,
    lake: Lake,
    *,
    table: Table,
    found: Claim | None = None,
    run: Run | None = None,
    force: bool = False,
) -> Loaded:
    """Make the table's month hold just the rows that the run has landed, and write that down in the ledger.

    `found` is the claim of the rows that the run has landed or found; without it, whatever data/ holds is loaded. Newer
    rows on the same terms that data/ holds meanwhile are loaded in their place.

    Creates what is missing: file, schema, table, columns, view, ledger. Does nothing if the ledger says that these rows
    are loaded and the table still holds as many, unless `force`.

    Raises:
        NotInLake: the month is not in data/.
        Superseded: a newer edition, or what a person asked for later, is in place; nothing has changed.
        WarehouseBusy: other processes had the file open for too long, or its disk is full; nothing has changed.
        WarehouseRefused: the file may not be written or is something else, or the name is that of another kind of
            table or of another service's.
        LakeChanged: another run landed the month meanwhile; nothing has changed.
        CountMismatch: the table did not take every row; nothing has changed.
    """
    landed = landed_rows.to_load(file, lake, found)
    return _Replacement(database, file, table, landed, by=run or Run()).run(lake, force=force)


class _Replacement:
    """One month on its way into its table."""

    def __init__(self, database: DatabaseFile, file: TripFile, table: Table, landed: Landed, *, by: Run) -> None:
        self.database = database
        self.file = file
        self.table = table
        self.landed = landed
        self.by = by
        self.claim = fields.claim(landed, by)
        self.key = fields.key(file, "duckdb", table)
        self.month = {"month": file.month.first_day}
        self.progress = Progress(file.name, "rows", landed.rows_accepted)

    def run(self, lake: Lake, *, force: bool) -> Loaded:
        if not force and self._was_in_place():
            return self._unchanged()
        with seal.intact(lake, data_key(self.file)) as opened:
            self._check_same(opened)
            with self.database.transaction() as connection:
                schema.prepare(connection, self.table, self.file.service)
                last = self._last(connection)
                if not force and self._is_in_place(connection, last):  # another run was faster
                    return self._unchanged()
                self.claim.check(claim_of(last) if last else None, f"{self.file}: {self.table}")
                self._replace(connection, opened)
        log.info(self.progress.outcome("loaded", str(self.table)))
        return self._loaded("replaced")

    def _was_in_place(self) -> bool:
        """Look whether these rows are there, without keeping others from writing."""
        with self.database.reading() as connection:
            if connection is None or relations.find(connection, self.table) is None:
                return False
            is_whole = published_view.is_current(connection, self.table, self.file.service)
            return is_whole and self._is_in_place(connection, self._last(connection))

    def _last(self, connection: DuckDBPyConnection) -> dict[str, Any] | None:
        """The ledger's row of the last load of the month; None if its rows are gone."""
        last = ledger.last_load(connection, self.key)
        return last if last is not None and (self._count(connection) or not last["rows_loaded"]) else None

    def _is_in_place(self, connection: DuckDBPyConnection, last: dict[str, Any] | None) -> bool:
        """Whether the last load put these rows there, and they are still there."""
        if last is None or not self.claim.is_met_by(claim_of(last)):
            return False
        return bool(last["rows_loaded"] == self.landed.rows_accepted == self._count(connection))

    def _check_same(self, opened: BinaryIO) -> None:
        with landed_rows.reader(opened) as data:
            if landed_rows.described(data) != self.landed:
                raise LakeChanged(
                    f"{self.file}: {data_key(self.file)} was replaced by another run since this load began"
                )

    def _replace(self, connection: DuckDBPyConnection, opened: BinaryIO) -> None:
        connection.execute(statement("delete_month", self.table), self.month)
        # Another run may put another file under the name of the one that was checked.
        path = {"path": f"/dev/fd/{opened.fileno()}"}
        connection.execute(statement("insert_month", self.table), path)
        there = self._count(connection)
        if there != self.landed.rows_accepted:
            raise CountMismatch(f"{self.file}: {there:,} rows inserted, {self.landed.rows_accepted:,} accepted")
        self.progress.advance(there)
        ledger.write(connection, self.key | fields.row(self.landed, self.by, self.progress.seconds))

    def _count(self, connection: DuckDBPyConnection) -> int:
        """How many rows the table has of the month."""
        return cast("tuple[int]", connection.execute(statement("count_month", self.table), self.month).fetchone())[0]

    def _unchanged(self) -> Loaded:
        log.info("%s: %s is up to date with %s rows", self.file, self.table, f"{self.landed.rows_accepted:,}")
        return self._loaded("unchanged")

    def _loaded(self, outcome: Literal["replaced", "unchanged"]) -> Loaded:
        return Loaded(outcome, self.table, self.landed, self.landed.rows_accepted, self.progress.seconds)
