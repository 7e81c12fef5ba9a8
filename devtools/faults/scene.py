"""scene: a lake, a database, a publisher and a run for one fault, and what a fault may do to each of them."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import replace
from random import Random
from time import sleep
from typing import TYPE_CHECKING, Any, Self, TypeVar

import psycopg
from psycopg import sql

from devtools.emulators import PROJECT, LocalCloud
from devtools.faults import flow
from devtools.faults.flow import Ended, Meddling
from devtools.faults.ground import start
from devtools.faults.months import FILE, KNOWN_URL, PATH, Edition, edition, zones
from devtools.faults.proxies import FrontEnd, Network
from devtools.faults.targets import WAYS, InBigQuery, InDuckDB, InLake, InPostgres, InZones
from devtools.faults.tasks import FETCH_ZONES, INGEST_DATA, LAND_ZONES, LOAD_ZONES, Conditions, Wanted
from devtools.servers import misbehaving as web
from include.nyc_taxi.lake import Lake

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from pathlib import Path

    from google.cloud import bigquery as bq

    from devtools.faults.fault import Fault
    from devtools.faults.flow import Running
    from devtools.faults.ground import Ground
    from devtools.faults.months import Held
    from devtools.faults.proxies import Rule
    from devtools.faults.targets import Place
    from devtools.servers.postgres import EmbeddedPostgres

_RIGHT = 3
_EDITIONS = {"zones": zones}
_WRITES = "-c default_transaction_read_only=off -c statement_timeout=0 -c search_path=public"
Server = TypeVar("Server")
FLOWS = {target: way.tasks for target, way in WAYS.items()}
"""The tasks that bring a month into a target, as the Dags have them."""
OTHER_FLOWS = {"zones": (FETCH_ZONES, LAND_ZONES, LOAD_ZONES), "airflow": (INGEST_DATA,)}
"""The zones, and a Dag of which Airflow runs every task."""


class Scene:
    """What one fault is tried on, during a `with` block; everything that it changes is undone at its end."""

    def __init__(self, ground: Ground, fault: Fault, number: int, seed: str) -> None:
        self.ground = ground
        self.fault = fault
        self.random = Random(f"{seed} {fault.name}")  # noqa: S311 - moments to kill at
        self.name = f"fault_{number}"
        self.folder: Path = ground.folder / self.name
        self.lake_folder = self.folder / "lake"
        self.database_file = self.folder / "taxi.duckdb"
        self.tasks = (FLOWS | OTHER_FLOWS)[fault.target]
        self.clean_tasks = FLOWS["postgres"] if fault.target == "airflow" else self.tasks
        target = "postgres" if fault.target in OTHER_FLOWS else fault.target
        self.wanted = Wanted(FILE.name, target, namespace=self.name if fault.target == "bigquery" else None)
        self.conditions = Conditions(log=self.folder / "log")
        self.meddling = Meddling()
        self.offered: dict[int, Edition] = {}
        self.seen_too: set[Held] = set()
        """What a reader of the target may see besides whole editions."""
        self.seen_in_lake_too: set[Held] = set()
        """What a reader of the lake may see besides."""
        self.is_lake_read = True
        self.complaints: list[str] = []
        """What the fault itself finds wrong."""
        self._judged_after: list[Callable[[], object]] = []
        self.expected = 2
        """The edition that is in place if all goes right."""
        self.warehouse: dict[str, Any] = {}
        self.settings: dict[str, str] = {}
        self.rules: list[Rule] = []
        self._own_cloud: LocalCloud | None = None
        self._fronts: dict[str, FrontEnd] = {}
        self._healing: list[Callable[[], object]] = []

    def __enter__(self) -> Self:
        self._stack = ExitStack()
        self.folder.mkdir()
        if INGEST_DATA in self.tasks:
            self.ground.prepare_airflow()
        self.publisher = self._stack.enter_context(web.Publisher())
        self.publisher.files[KNOWN_URL] = web.Published(b"known")
        self.database = self._stack.enter_context(self.ground.database(self.name))
        self._move_to(self.ground.postgres)
        self.cloud = dict(self.ground.cloud.environment)
        self.lake_url = f"file://{self.lake_folder}"
        if self.fault.in_bucket:
            self.ground.cloud.create_bucket(self.bucket)
            self.lake_url = f"gs://taxi_gcp@{self.bucket}/trips"
        self.source: dict[str, Any] = {"conn_type": "http", "host": self.publisher.url}
        self.target_place, self.lake_place = self._places()
        return self

    def __exit__(self, *_: object) -> None:
        self.heal()
        self._stack.close()

    @property
    def bucket(self) -> str:
        """The name of the scene's bucket."""
        return self.name.replace("_", "-")

    @property
    def places(self) -> list[Place]:
        """The target, and the lake if that is another one."""
        has_month = self.fault.target not in _EDITIONS and self.target_place is not self.lake_place
        return [self.target_place, self.lake_place] if has_month else [self.target_place]

    @property
    def environment(self) -> dict[str, str]:
        """The variables of the scene's processes."""
        return {
            **self.cloud,
            "AIRFLOW_VAR_TAXI_LAKE": self.lake_url,
            "AIRFLOW_CONN_TAXI_SOURCE": json.dumps(self.source),
            "AIRFLOW_CONN_TAXI_WAREHOUSE": json.dumps(self.warehouse),
            "AIRFLOW_CONN_TAXI_DUCKDB": json.dumps({"conn_type": "generic", "host": str(self.database_file)}),
            "NO_PROXY": "127.0.0.1",
            "no_proxy": "127.0.0.1",
            "SSL_CERT_DIR": str(self.folder),  # reading the web's certificates takes longer than the rest
            **self.settings,
        }

    # What the publisher offers

    def publish(self, number: int) -> Edition:
        """Have the publisher offer an edition of the month, or of the zones."""
        return self.offer(_EDITIONS.get(self.fault.target, edition)(number))

    def offer(self, found: Edition) -> Edition:
        """Have the publisher offer an edition of any content."""
        self.offered[found.number] = found
        self.publisher.files.update(found.files)
        return found

    def offer_what_nobody_should_load(self, content: bytes) -> None:
        """Have the publisher offer a file as edition 2, and a right one when the run has ended."""
        self.publisher.files[PATH] = replace(edition(2), content=content).published
        self.afterwards(self._publish_a_right_one)

    def _publish_a_right_one(self) -> None:
        self.expected = _RIGHT
        self.publish(_RIGHT)

    # What happens, and when

    def at(self, point: str, deed: Callable[[Running], object]) -> None:
        """Do something when a process of the run comes to a point; once per call."""
        self.meddling.at.setdefault(point, []).append(deed)

    def in_download(self, deed: Callable[[Running], object]) -> None:
        """Do something when the run has got half of the file."""

        def do() -> None:
            assert self.meddling.running is not None  # noqa: S101 - it downloads
            deed(self.meddling.running)

        self.publisher.faults.append(web.Fault(cut_at=len(edition(2).content) // 2, meanwhile=do))

    def after(self, task: str, seconds: float, deed: Callable[[Running], object]) -> None:
        """Do something a number of seconds after the first try of a task began."""
        self.meddling.after.setdefault(task, []).append((seconds, deed))

    def before_retry(self, deed: Callable[[], object]) -> None:
        """Do something before each further try of a task."""
        self.meddling.before_retry.append(deed)

    def before_judging(self, deed: Callable[[], object]) -> None:
        """Wait for something when the run has ended, before anything is looked at."""
        self._judged_after.append(deed)

    def afterwards(self, deed: Callable[[], object]) -> None:
        """Undo something when the run has ended, before the clean run that follows; the last one first."""
        self._healing.append(deed)

    def heal(self) -> None:
        """Undo what the fault has done."""
        while self._healing:
            self._healing.pop()()

    def limit(self, **conditions: Any) -> None:
        """Give the run other conditions, until it has ended."""
        before, self.conditions = self.conditions, replace(self.conditions, **conditions)
        self.afterwards(lambda: setattr(self, "conditions", before))

    def set(self, **variables: str) -> None:
        """Give the run other variables of the environment, until it has ended."""
        before = dict(self.settings)
        self.settings.update(variables)
        self.afterwards(lambda: setattr(self, "settings", before))

    def connect(self, **fields: Any) -> None:
        """Change fields of the connection to the warehouse, until the run has ended."""
        before = dict(self.warehouse)
        self.warehouse = before | fields
        self.afterwards(lambda: setattr(self, "warehouse", before))

    def ask_source(self, **fields: Any) -> None:
        """Change fields of the connection to the publisher, until the run has ended."""
        before = dict(self.source)
        self.source = before | fields
        self.afterwards(lambda: setattr(self, "source", before))

    def run_as(self, user: int) -> None:
        """Have another user of this machine run the tasks, until the run has ended."""
        self.limit(user=user)

    def put_lake(self, url: str) -> None:
        """Name another lake, until the run has ended."""
        before, self.lake_url = self.lake_url, url
        self.afterwards(lambda: setattr(self, "lake_url", before))

    def move_lake(self, folder: Path) -> None:
        """Have the lake in another folder, also after the run."""
        self.lake_folder, self.lake_url = folder, f"file://{folder}"

    # What lies between

    def enter(self, server: AbstractContextManager[Server]) -> Server:
        """Run a server until the scene ends."""
        return self._stack.enter_context(server)

    def network_to_warehouse(self) -> Network:
        """Put a network between the run and Postgres."""
        network = self._stack.enter_context(Network(self.server.port))
        self.connect(port=network.port)
        return network

    def network_to_publisher(self) -> Network:
        """Put a network between the run and the publisher."""
        network = self._stack.enter_context(Network(int(self.publisher.url.rpartition(":")[2])))
        self.ask_source(host=f"http://127.0.0.1:{network.port}")
        return network

    def front_end(self, variable: str, *rules: Rule, is_exhausted: bool = True) -> FrontEnd:
        """Put a front end before one of the cloud's services, `STORAGE_EMULATOR_HOST` or `BIGQUERY_EMULATOR_HOST`.

        `is_exhausted` says that the run must meet every rule as often as it can be met.
        """
        front = self._stack.enter_context(FrontEnd(self.cloud[variable]))
        before = dict(self.cloud)
        front.rules.extend(rules)
        self.rules.extend(rules if is_exhausted else ())
        self.cloud[variable] = front.url
        connection = json.loads(self.cloud["AIRFLOW_CONN_TAXI_GCP"])
        connection["extra"]["gcs.endpoint"] = self.cloud["STORAGE_EMULATOR_HOST"]
        self.cloud["AIRFLOW_CONN_TAXI_GCP"] = json.dumps(connection)
        self.afterwards(lambda: setattr(self, "cloud", before))
        return front

    def use_mortal_postgres(self) -> EmbeddedPostgres:
        """Move to a server that the fault may kill; it runs again when the run has ended."""
        server = self._stack.enter_context(self.ground.mortal_postgres())
        server.create_database(self.database)
        self._move_to(server)
        self.afterwards(lambda: start(server))
        return server

    def use_mortal_cloud(self) -> LocalCloud:
        """Move to a cloud of the scene's own, which the fault may kill; it has the same address when it is back."""
        own = self._own_cloud = LocalCloud(self.folder / "cloud")
        self._stack.enter_context(suppress(OSError))  # its server may be another one at the end
        self._stack.enter_context(own)
        environment = own.environment
        self.cloud = dict(environment)
        for variable in ("STORAGE_EMULATOR_HOST", "BIGQUERY_EMULATOR_HOST"):
            self._fronts[variable] = self._stack.enter_context(FrontEnd(environment[variable]))
            self.cloud[variable] = self._fronts[variable].url
        return own

    def cloud_is_back(self) -> None:
        """Start the scene's own cloud again, where it was."""
        assert self._own_cloud is not None  # noqa: S101 - it was killed
        self._stack.enter_context(self._own_cloud)
        for variable, front in self._fronts.items():
            front.move_to(self._own_cloud.environment[variable])

    # Asking and telling

    def query(self, statement: str | sql.Composed, *parameters: Any) -> list[Any]:
        """Ask or tell the scene's database something as its owner, and commit."""
        with psycopg.connect(self.conninfo, autocommit=True, options=_WRITES) as connection:
            written = statement.encode() if isinstance(statement, str) else statement
            cursor = connection.execute(written, parameters or None)
            return [] if cursor.description is None else cursor.fetchall()

    def query_elsewhere(self, statement: str) -> None:
        """Tell the server something from another database than the scene's."""
        with psycopg.connect(self.server.conninfo("postgres"), autocommit=True) as connection:
            connection.execute(statement.encode())

    def lake(self) -> Lake:
        """Open the lake, past all that lies between the run and it."""
        if not self.fault.in_bucket:
            return Lake.at(self.lake_folder)
        import gcsfs

        endpoint = self.ground.cloud.environment["STORAGE_EMULATOR_HOST"]
        options = {"use_listings_cache": False, "skip_instance_cache": True}
        return Lake(
            gcsfs.GCSFileSystem(PROJECT, token="anon", endpoint_url=endpoint, **options), f"{self.bucket}/trips"
        )

    def bigquery(self) -> bq.Client:
        """Open a client that goes straight to BigQuery."""
        from google.api_core.client_options import ClientOptions
        from google.auth.credentials import AnonymousCredentials
        from google.cloud import bigquery as bq

        cloud = self._own_cloud or self.ground.cloud
        options = ClientOptions(api_endpoint=cloud.environment["BIGQUERY_EMULATOR_HOST"])
        return bq.Client(PROJECT, AnonymousCredentials(), client_options=options)  # type: ignore[no-untyped-call]

    # Runs

    def settle(self) -> Held:
        """Bring edition 1 with nothing in the way, and go on to edition 2; returns what a reader finds."""
        first = self.publish(1)
        ended = self.run_cleanly()
        if not ended.is_right:
            raise RuntimeError(f"a run before the fault failed: {ended.tries[-1]}")
        for later in self.offered.values():
            self.offer(later)
        return first.held

    def beside(self, *runs: Callable[[], Ended]) -> None:
        """Begin other runs with this one, and wait for them when it has ended; each must end right."""
        threads = ThreadPoolExecutor(len(runs))
        others = [threads.submit(run) for run in runs]

        def end() -> None:
            for other in others:
                check(other.result())
            threads.shutdown()

        self.before_judging(end)

    def pause(self, seconds: float) -> None:
        """Wait."""
        sleep(seconds)

    def run(self) -> Ended:
        """Run the flow, meddled with."""
        ended = flow.run(self.tasks, self.wanted, self._conditions, self.meddling)
        while self._judged_after:
            self._judged_after.pop()()
        return ended

    def run_beside(self, wanted: Wanted) -> Ended:
        """Run the flow in other processes, with nothing in its way but what the scene is like."""
        return flow.run(self.tasks, wanted, self._conditions, Meddling())

    def run_cleanly(self, **wanted: Any) -> Ended:
        """Run the flow with nothing in its way, in one process."""
        return flow.run_at_once(self.clean_tasks, replace(self.wanted, **wanted), self._conditions())

    def _conditions(self) -> Conditions:
        return replace(self.conditions, environment=self.environment)

    def _move_to(self, server: EmbeddedPostgres) -> None:
        self.server = server
        self.conninfo = server.conninfo(self.database)  # it also names a server that is down
        self.warehouse = {
            "conn_type": "postgres",
            "host": server.host,
            "port": server.port,
            "login": server.user,
            "password": server.password,
            "schema": self.database,
        }

    def _places(self) -> tuple[Place, Place]:
        lake = InLake(self.lake)
        made: dict[str, Callable[[], Place]] = {
            "postgres": lambda: InPostgres(lambda: self.conninfo),
            "bigquery": lambda: InBigQuery(self.bigquery, self.name),
            "duckdb": lambda: InDuckDB(self.database_file),
            "lake": lambda: lake,
            "zones": lambda: InZones(lambda: self.conninfo),
            "airflow": lambda: InPostgres(lambda: self.conninfo),
        }
        return made[self.fault.target](), lake


def check(other: Ended) -> None:
    """Check that another run ended right.

    Raises:
        RuntimeError: it did not.
    """
    if not other.is_right:
        raise RuntimeError(f"the other run failed: {other.tries[-1]}")
