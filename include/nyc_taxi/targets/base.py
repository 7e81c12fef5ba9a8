"""base: what a target is. Each one is a folder of this package that implements `Target`, and a row of its registry.

A target's own module imports nothing heavy, because Dag files and forms ask the registry for names: drivers, clients
and pyarrow are imported inside the methods that use them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar, Generic, Literal, NamedTuple, TypeVar

from include.nyc_taxi.errors import PermanentError
from include.nyc_taxi.targets.table import Table

if TYPE_CHECKING:
    from pathlib import Path

    from include.nyc_taxi.lake import Lake
    from include.nyc_taxi.precedence import Claim, Run
    from include.nyc_taxi.targets.ledger import Loaded
    from include.nyc_taxi.targets.loads import Load
    from include.nyc_taxi.targets.summaries import Summaries
    from include.nyc_taxi.trip_file import TripFile

Client = TypeVar("Client")
TableT = TypeVar("TableT", bound=Table)


class ZonesLoaded(NamedTuple):
    """What a load of the taxi zones did, and the tables and views that have them."""

    outcome: Literal["replaced", "unchanged", "landed"]
    table: str
    views: tuple[str, ...]


class Target(ABC, Generic[Client, TableT]):
    """A place that months are loaded into.

    `Client` is what its methods talk through: a DB-API connection, a cloud client, the lake, an open file. Whoever
    calls opens and closes it.
    """

    name: ClassVar[str]
    """The word for it in params, ledgers, tags and assets, such as `postgres`."""
    title: ClassVar[str]
    """Its name for people, such as `Postgres`."""
    connection: ClassVar[str]
    """The Airflow connection that says where it is; for the lake the Variable."""
    connected_by: ClassVar[str]
    """That connection or Variable in words, for messages: `connection taxi_warehouse`."""
    loaded_by: ClassVar[str]
    """The DAG that loads one month into it, and the task of that DAG that ends the load."""
    loading_task: ClassVar[str]
    is_the_lake: ClassVar[bool] = False
    """Whether it is the lake itself, from which all other targets load."""
    namespace_kind: ClassVar[str | None] = None
    """What holds its tables, which is also the param that names it: `schema`, `dataset`."""
    default_namespace: ClassVar[str | None] = None
    write_modes: ClassVar[tuple[str, ...]] = ("replace",)
    has_zones: ClassVar[bool] = False
    """Whether it takes the taxi zones."""

    @property
    def summaries(self) -> Summaries[Client] | None:
        """The counts that it keeps of each loaded month; None if it keeps none."""
        return None

    @abstractmethod
    def default_table(self, service: str, namespace: str | None = None) -> TableT:
        """Where a service's months go unless somebody names another table."""

    @abstractmethod
    def parse_table(self, name: str) -> TableT:
        """Read a table's name as people write it; one that is none is a ValueError that shows it."""

    def table(self, service: str, *, name: str | None = None, namespace: str | None = None) -> TableT:
        """The named table, else the service's default one."""
        return self.parse_table(name) if name else self.default_table(service, namespace)

    def published_view(self, table: TableT, service: str) -> TableT | None:  # noqa: ARG002 - the lake has none
        """The view that has a table's trips under the publisher's names; None if loads into the table keep none.

        A load into a service's default table keeps it in step, and is refused if something else has its name.
        """
        return None

    def address(self, table: TableT) -> str | None:  # noqa: ARG002 - most have none that holds wherever one asks
        """The URI by which the rest of the world knows the table, for assets; None where only the name is known."""
        return None

    def home(self, folder: Path) -> str | None:  # noqa: ARG002 - most are servers, which a person names
        """What its connection, or the lake's Variable, says of a place in a folder; None if it needs a server."""
        return None

    def bytes_held(self, client: Client) -> int | None:  # noqa: ARG002 - some have no disk to watch
        """How many bytes it takes, of months and of all else that is with them; None if nobody need watch that."""
        return None

    def folder(self, client: Client) -> Path | None:  # noqa: ARG002 - most are not on this machine
        """The folder of this machine that it grows in; None if it is elsewhere."""
        return None

    @abstractmethod
    def check(self, client: Client, lake: Lake, table: TableT, service: str) -> str:
        """See that the target can be reached and may load a service into the table; returns where it is, in words.

        Raises:
            WarehouseRefused: credentials, a right or something else that a person has to set up is missing, or the
                table holds another service.
            WarehouseBusy: the way there failed.
        """

    @abstractmethod
    def replace_month(
        self,
        client: Client,
        file: TripFile,
        lake: Lake,
        *,
        table: TableT | None = None,
        found: Claim | None = None,
        run: Run | None = None,
        force: bool = False,
    ) -> Loaded:
        """Make the table's month hold just the rows that the run has landed, atomically, and write that down.

        `found` is the claim of the rows that the run has landed or found; without it, whatever data/ holds is loaded.

        Does nothing if the ledger says that these rows are loaded and they are still there, unless `force`.
        """

    def append_month(
        self,
        client: Client,  # noqa: ARG002 - most targets do not append
        file: TripFile,
        lake: Lake,  # noqa: ARG002
        *,
        table: TableT | None = None,  # noqa: ARG002
        run: Run | None = None,  # noqa: ARG002
    ) -> Loaded:
        """Append the month's rows whatever the table holds, for those of `write_modes` that have `append`."""
        raise PermanentError(f"{file}: {self.title} does not append; its write modes are {list(self.write_modes)}")

    @abstractmethod
    def loads(self, client: Client, namespace: str | None = None) -> dict[TripFile, Load]:
        """The last load of each file that is still there; the one in the service's default table before others."""

    def own_loads(self, client: Client, namespace: str | None = None) -> dict[TripFile, Load]:
        """Those of `loads` that are in the default table of their service."""
        return {
            file: load
            for file, load in self.loads(client, namespace).items()
            if load.target_table == str(self.default_table(file.service, namespace))
        }

    def replace_zones(self, client: Client, lake: Lake) -> ZonesLoaded:  # noqa: ARG002 - of those that can
        """Make the table of zones hold just those of the lake, with a view per service that joins them.

        Only where `has_zones`. Does nothing if they are in place, and puts nothing older over what is newer.

        Raises:
            NotInLake: the lake has no zones.
            WarehouseRefused: a right is missing, or something else has the name of the table or of a view.
            WarehouseBusy: the way there failed, or somebody else uses the table.
        """
        raise PermanentError(f"{self.title} holds no zones")
