"""lake_views: the lake as a database: DuckDB with a view per service over the months in place, for questions.

    >>> from include.nyc_taxi import lake, lake_views
    >>> views = lake_views.LakeViews(lake.open("file:///data/lake"))  # doctest: +SKIP
    >>> views.ask("select count(*) from green_taxi_trips").show()  # doctest: +SKIP

The views, of which a service without a month in place has empty ones:

    {service}_taxi_trips        accepted rows of data/, in the canonical columns, with `file_month`
    {service}_tripdata          the same under the names and types of the publisher's files
    {service}_trips_with_zones  the same with the names of the zones where a trip began and ended
    {service}_rejects           rows of rejects/ with their `reason`
    load_ledger                 a row per month in place: its published file and its counts
    editions                    a row per published state of a file
    taxi_zones                  the zones, if the lake has them

A question sees the months that are in place when it begins. Only the views that it names are brought up to date.
"""

from __future__ import annotations

import tempfile
import uuid
from functools import partial
from typing import TYPE_CHECKING, Any

import duckdb

from include.nyc_taxi import catalog, faults
from include.nyc_taxi.lake_views import facts, statements
from include.nyc_taxi.lake_views.files import Files
from include.nyc_taxi.lake_views.reading_only import check_reads_only
from include.nyc_taxi.targets import zone_views
from include.nyc_taxi.targets.ledger import TABLE as LEDGER
from include.nyc_taxi.targets.table import published_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from duckdb import DuckDBPyConnection, DuckDBPyRelation

    from include.nyc_taxi.lake import Lake, MonthInLake

__all__ = ["LakeViews"]


class LakeViews:
    """A DuckDB in memory over a lake. It reads the lake and writes nothing."""

    def __init__(self, lake: Lake) -> None:
        """Open the views; the lake is looked at when a question names them."""
        self.lake = lake
        self.files = Files(lake)
        self._connection = duckdb.connect(
            config={
                "temp_directory": f"{tempfile.gettempdir()}/nyc-taxi-sql-{uuid.uuid4().hex}",  # made when it is needed
                # A file of a folder may be replaced by one of the same size and time; an object is named by its state.
                "enable_external_file_cache": not lake.is_local,
                "autoinstall_known_extensions": False,
                "autoload_known_extensions": False,
            }
        )
        self._connection.execute("SET enable_progress_bar = false")  # it would be drawn between the rows
        self.files.register_with(self._connection)
        self._made: dict[str, object] = {}
        self._makers = dict(self._views())

    @property
    def names(self) -> list[str]:
        """The names of the views."""
        return list(self._makers)

    def ask(self, statement: str) -> DuckDBPyRelation | None:
        """Return the rows that one statement asks for, which are read as they are taken; None if it has none.

        Raises:
            ValueError: the statement would write.
            duckdb.Error: it is wrong, or cannot be answered.
        """
        self._prepare(statement)
        return self._connection.sql(statement)

    def execute(self, statement: str) -> DuckDBPyConnection:
        """Run one statement, whose rows `fetchmany` takes as they come.

        Raises: as `ask`.
        """
        self._prepare(statement)
        return self._connection.execute(statement)

    def refresh(self, names: Iterable[str] | None = None) -> None:
        """Bring the named views, or all, up to date with the lake.

        Raises:
            TaxiError: the lake does not answer, or refuses.
        """
        with faults.told(self.lake.url("")):
            for name in self._makers if names is None else names:
                self._makers[name]()

    def close(self) -> None:
        """Close the database; DuckDB deletes what it has spilled to the disk."""
        self._connection.close()

    def columns(self) -> dict[str, list[str]]:
        """The names of the columns of each view."""
        found = self.ask("SELECT table_name, list(column_name) FROM duckdb_columns() GROUP BY ALL")
        return dict(found.fetchall()) if found is not None else {}

    def in_place(self) -> dict[str, list[MonthInLake]]:
        """The months in place of each service.

        Raises: as `refresh`.
        """
        with faults.told(self.lake.url("")):
            return {service: self.files.months(service) for service in catalog.services()}

    def _prepare(self, statement: str) -> None:
        check_reads_only(statement)
        self.refresh(self._named_in(statement))

    def _named_in(self, statement: str) -> list[str] | None:
        """The views that a statement names; None if it may be about any."""
        try:
            named = {name.lower() for name in self._connection.get_table_names(statement)}
        except duckdb.Error:
            return None
        return sorted(named) if named and named <= self._makers.keys() else None

    def _views(self) -> Iterable[tuple[str, Callable[[], None]]]:
        """Each view by its name, with what brings it up to date."""
        for service in catalog.services():
            yield f"{service}_taxi_trips", partial(self._make_trips, service)
            yield published_name(service), partial(self._make_published, service)
            yield f"{service}_rejects", partial(self._make_rejects, service)
        for service in zone_views.services():
            yield zone_views.view_of(service), partial(self._make_trips_with_zones, service)
        yield zone_views.TABLE, self._make_zones
        yield LEDGER, self._make_ledger
        yield "editions", self._make_editions

    def _make_trips(self, service: str) -> None:
        name, months = f"{service}_taxi_trips", self.files.months(service)
        files, columns = [self.files.accepted(month) for month in months], [month.columns for month in months]
        self._make(name, (files, columns), partial(statements.trips, name, service, files, columns))

    def _make_published(self, service: str) -> None:
        self._make_trips(service)
        name, trips = published_name(service), f"{service}_taxi_trips"
        self._make(name, self._made[trips], partial(statements.published, name, service, trips))

    def _make_rejects(self, service: str) -> None:
        name, months = f"{service}_rejects", self.files.months(service)
        files, columns = [self.files.rejected(month) for month in months], [month.rejects_columns for month in months]
        self._make(name, (files, columns), partial(statements.rejects, name, service, files, columns))

    def _make_trips_with_zones(self, service: str) -> None:
        self._make_trips(service)
        self._make_zones()
        name, trips = zone_views.view_of(service), f"{service}_taxi_trips"
        state = (self._made[trips], self._made[zone_views.TABLE])
        self._make(name, state, partial(statements.trips_with_zones, name, service, trips))

    def _make_zones(self) -> None:
        files = self.files.zones()
        self._make(zone_views.TABLE, files, partial(statements.zones, zone_views.TABLE, files))

    def _make_ledger(self) -> None:
        months = self.files.months(None)
        state = [(month.file, month.accepted) for month in months]
        self._make(LEDGER, state, partial(facts.ledger, LEDGER, self.lake, months))

    def _make_editions(self) -> None:
        histories = self.files.histories()
        self._make("editions", histories, partial(facts.editions, "editions", histories))

    def _make(self, name: str, state: object, statement: Callable[[], tuple[str, dict[str, Any]]]) -> None:
        """Create the view, or create it again if what it is made of has changed."""
        if name not in self._made or self._made[name] != state:
            self._connection.execute(*statement())
            self._made[name] = state
