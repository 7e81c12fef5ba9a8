"""connections: build the core's clients from Airflow's connections and Variables."""

from __future__ import annotations

import json
import os
import re
from contextlib import closing, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import quote

from airflow.sdk import BaseHook, Variable
from airflow.sdk.exceptions import AirflowException, AirflowNotFoundException

from include.nyc_taxi import catalog, faults
from include.nyc_taxi.addresses import EXPECTED_LAKE, LakeAddress, check_web, parse_lake, shown_lake
from include.nyc_taxi.errors import LakeUnavailable, SetUpError, WarehouseRefused
from include.nyc_taxi.lake import Lake

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from contextlib import AbstractContextManager

    import psycopg
    from airflow.providers.google.cloud.hooks.bigquery import BigQueryHook
    from airflow.providers.postgres.hooks.postgres import PostgresHook
    from airflow.sdk import Connection
    from google.cloud import bigquery

    from include.nyc_taxi.targets import Target
    from include.nyc_taxi.targets.duckdb.database import DatabaseFile

CLOUD_CONNECTION = "taxi_gcp"
WAREHOUSE_CONNECTION = "taxi_warehouse"
FILE_CONNECTION = "taxi_duckdb"
READER_CONNECTION = "taxi_warehouse_reader"
LAKE_VARIABLE = "taxi_lake"

# Google's clients send everything to these, if they are set.
_STORAGE_EMULATOR = "STORAGE_EMULATOR_HOST"
_BIGQUERY_EMULATOR = "BIGQUERY_EMULATOR_HOST"
_STORAGE = "https://storage.googleapis.com"
_BIGQUERY = "https://bigquery.googleapis.com"

_PROTOCOLS = ("http", "https")
_PORTS = range(1, 65536)
_EXPECTED_CONNECTION = 'expected a connection as JSON, such as {"conn_type": ..., "host": ...}, or as a URI'
_NO_OPTIONS = "unsupported startup parameter"
_CONNECT_WITHIN_SECONDS = 3
_NOTICES_LOST_SERVERS = {
    # Without these, libpq waits two minutes for a connection, and more than two hours for a server that is gone.
    "connect_timeout": 20,
    "keepalives_idle": 60,
    "keepalives_interval": 10,
    "keepalives_count": 6,
    "tcp_user_timeout": 120_000,
}
_READ_WITHIN_SECONDS = 5.0
_SIZE = re.compile(r"\d+(\.\d+)? ?[KMGT]i?B", re.IGNORECASE)
_FILE_OPTIONS: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "memory_limit": ("a size such as 2GB", lambda value: isinstance(value, str) and bool(_SIZE.fullmatch(value))),
    "threads": ("a whole number from 1", lambda value: type(value) is int and value > 0),
    "patience_seconds": ("a number of seconds", lambda value: type(value) in (int, float) and value >= 0),
}
_ONLY_BRIEF_QUESTIONS = "-c default_transaction_read_only=on -c statement_timeout=5s"


@contextmanager
def opened(target: Target[Any, Any], *, read_only: bool = False) -> Iterator[Any]:
    """Open a target's client, and close it at the end.

    Args:
        target: where the client connects to.
        read_only: allow nothing but brief questions, for pages that people wait for.

    Raises:
        ValueError: the target's connection or Variable is not set, or is wrong.
        WarehouseBusy: it does not answer.
        SetUpError: its credentials are not valid, or it is set up in another way than expected.
    """
    with _ADAPTERS[target.connection](read_only) as client:
        yield client


def is_configured(target: Target[Any, Any]) -> bool:
    """Whether the target's connection, or the lake's Variable, is set."""
    if target.connection == LAKE_VARIABLE:
        return bool(Variable.get(LAKE_VARIABLE, default=None))
    return is_set(target.connection) and not (target.connection == CLOUD_CONNECTION and _lacks_emulator())


def is_set(name: str) -> bool:
    """Whether there is a connection of this name, right or wrong."""
    try:
        BaseHook.get_connection(name)
    except AirflowNotFoundException:
        return False
    except (ValueError, TypeError, AirflowException):
        return True  # it is set and wrong, which whoever uses it says
    return True


def _lacks_emulator() -> bool:
    """Whether `taxi_gcp` is that of the emulators and none runs: BigQuery itself refuses anonymous requests."""
    try:
        return is_anonymous(get(CLOUD_CONNECTION)) and not os.environ.get(_BIGQUERY_EMULATOR)
    except ValueError:
        return False  # it is set and wrong, which whoever uses it says


def is_anonymous(connection: Connection) -> bool:
    """Whether a connection to Google Cloud has no credentials, as that of the emulators."""
    return str(connection.extra_dejson.get("is_anonymous", "")).lower() in {"true", "1"}


def get(name: str) -> Connection:
    """Return an Airflow connection.

    Raises:
        ValueError: it is not set, or is not JSON or a URI of a connection. The error does not quote its secrets.
    """
    try:
        connection = BaseHook.get_connection(name)
    except AirflowNotFoundException:
        # Airflow says the same of one that it cannot parse.
        raise ValueError(f"connection {name!r} is not set, or cannot be parsed; {_EXPECTED_CONNECTION}") from None
    except (ValueError, TypeError, AirflowException) as error:
        raise ValueError(
            f"connection {name!r} cannot be read: {type(error).__name__}; {_EXPECTED_CONNECTION}"
        ) from None
    _check_extra(connection)
    if connection.port is not None and (not isinstance(connection.port, int) or connection.port not in _PORTS):
        raise ValueError(f"connection {name!r} has port {connection.port!r}; expected 1 to {_PORTS[-1]}")
    for field in ("host", "login", "schema"):
        text = getattr(connection, field)
        if isinstance(text, str) and not text.isprintable():
            raise ValueError(f"connection {name!r} has a line break or control character in its {field}; expected none")
    return connection


def _check_extra(connection: Connection) -> None:
    try:
        extra = json.loads(connection.extra or "{}")
    except ValueError:
        extra = None
    if not isinstance(extra, dict):
        raise ValueError(  # noqa: TRY004 - a setting is wrong, as with the others
            f"the extra of connection {connection.conn_id!r} is not a JSON object; expected {{...}}"
        )


def base_url(source: str) -> str:
    """Return where a source's files begin: the host of its http connection, with or without `https://` and a path.

    It has the connection's login and password, if there are any.

    Raises:
        ValueError: the connection is not set, or has no URL of a web server.
    """
    return url_of(get(catalog.source(source).connection))


def redirect_hosts(source: str) -> list[str]:
    """Return the hosts that a source may redirect to, besides its own: `redirect_hosts` of its connection's extra.

    Raises:
        ValueError: they are not a list of names.
    """
    connection = get(catalog.source(source).connection)
    hosts = connection.extra_dejson.get("redirect_hosts", [])
    if not isinstance(hosts, list) or not all(isinstance(host, str) for host in hosts):
        raise ValueError(
            f"redirect_hosts in the extra of connection {connection.conn_id!r} is {hosts!r}; expected a list of hosts"
        )
    return hosts


def url_of(connection: Connection) -> str:
    """Return the URL that an http connection stands for, with its login and password.

    Raises:
        ValueError: it has no URL of a web server.
    """
    host, schema = connection.host or "", connection.schema or ""
    if not host:
        raise ValueError(f"connection {connection.conn_id!r} has no host; expected a base URL such as https://host")
    if "://" not in host:
        protocol = schema if schema in _PROTOCOLS else "https" if connection.conn_type == "https" else "http"
        port = f":{connection.port}" if connection.port else ""
        path = f"/{schema}" if schema and schema not in _PROTOCOLS else ""
        host = f"{protocol}://{host}{port}{path}"
    return check_web(_with_login(host, connection), f"connection {connection.conn_id!r}")


def _with_login(url: str, connection: Connection) -> str:
    """Return the URL with the login and password that are fields of the connection."""
    scheme, _, rest = url.partition("://")
    if not (connection.login or connection.password) or "@" in rest.partition("/")[0]:
        return url
    login, password = quote(connection.login or "", safe=""), quote(connection.password or "", safe="")
    return f"{scheme}://{login}:{password}@{rest}"


def lake() -> Lake:
    """Return the lake that the Variable `taxi_lake` names: `file:///folder` or `gs://connection_id@bucket/prefix`.

    Raises:
        ValueError: the Variable is not set, or its connection has no credentials.
        SetUpError: the package that the lake needs is not installed.
    """
    url = Variable.get(LAKE_VARIABLE, default=None)
    if not url:
        raise ValueError(f"Variable {LAKE_VARIABLE!r} is not set; {EXPECTED_LAKE}")
    address = parse_lake(str(url), f"Variable {LAKE_VARIABLE!r}")
    return _LAKES[address.protocol](address, shown_lake(str(url)))


def _google_storage(address: LakeAddress, url: str) -> Lake:
    from airflow.providers.google.cloud.fs.gcs import get_fs
    from google.auth.exceptions import GoogleAuthError, TransportError

    options: dict[str, Any] = {"use_listings_cache": False}  # other runs write there meanwhile
    if address.connection is not None and _is_real(get(address.connection), _STORAGE_EMULATOR):
        options["endpoint_url"] = _STORAGE
    try:
        return Lake(get_fs(address.connection, options), address.path)
    except TransportError as error:
        raise LakeUnavailable(f"connection {address.connection!r}: {faults.said(error)}") from error
    except (GoogleAuthError, AirflowException, ValueError, OSError) as error:
        raise ValueError(
            f"connection {address.connection!r} has no valid credentials for {url}: {faults.said(error)}"
        ) from error


def _s3(address: LakeAddress, url: str) -> Lake:
    from include.nyc_taxi.lake import s3

    try:
        from airflow.providers.amazon.aws.hooks.s3 import S3Hook
    except ImportError as error:
        raise s3.missing_package(url, "apache-airflow-providers-amazon[s3fs]") from error
    name = address.connection
    if name is not None and (kind := get(name).conn_type) != "aws":
        raise ValueError(f"connection {name!r} has the type {kind!r}; expected 'aws' for {url}")
    hook = S3Hook(aws_conn_id=name)
    with faults.told(f"connection {name!r} for {url}"):
        try:
            client = hook.get_client_type(config=s3.client_config(hook.config))
        except (AirflowException, ValueError) as error:
            raise ValueError(f"connection {name!r} cannot open {url}: {faults.said(error)}") from error
    return Lake(s3.objects_of(client), address.path)


# How a lake is opened, by the protocol of its URL. A new kind of place adds its line here.
_LAKES: dict[str, Callable[[LakeAddress, str], Lake]] = {
    "file": lambda address, _url: Lake(None, address.path),
    "gs": _google_storage,
    "s3": _s3,
}


def _is_real(connection: Connection, emulator: str) -> bool:
    """Whether a connection has credentials, which must not go to the emulator that the environment names."""
    has_own_endpoint = bool(connection.extra_dejson.get("gcs.endpoint"))
    return bool(os.environ.get(emulator)) and not is_anonymous(connection) and not has_own_endpoint


def check_lake(found: Lake) -> None:
    """See that the lake is there and can be written, by no more than a look at it, and at what its server can do.

    Raises:
        SetUpError: it is a file or read-only, another user's, its bucket is missing, or its server ignores conditions.
        LakeUnavailable: its bucket does not answer.
    """
    where = f"Variable {LAKE_VARIABLE!r}: {found.url('').rstrip('/')}"
    if found.is_local:
        check_folder(Path(found.root), where)
        return
    bucket = found.root.partition("/")[0]
    with faults.told(where):
        try:
            found.fs.info(bucket)
        except FileNotFoundError as error:
            raise SetUpError(f"{where}: there is no bucket {bucket!r}; create it, or correct the Variable") from error
        found.check()


def check_folder(root: Path, where: str) -> None:
    """See that a folder can be written, or created.

    Raises:
        SetUpError: it cannot.
    """
    with faults.told(where):
        there = next(folder for folder in (root, *root.parents) if os.path.lexists(folder))
        there.stat()
        if len(root.name.encode()) > os.pathconf(there, "PC_NAME_MAX"):
            raise SetUpError(f"{where}: the folder's name is too long; expected at most 255 bytes")
        if not there.is_dir():
            raise SetUpError(f"{where}: {there} is a file; expected a folder")
        if not os.access(there, os.W_OK | os.X_OK):
            raise SetUpError(f"{where}: {there} cannot be written by the user of this process, or is read-only")


def warehouse() -> psycopg.Connection[Any]:
    """Return a connection to the warehouse, which the caller closes.

    Raises:
        WarehouseBusy: the warehouse does not answer.
    """
    from airflow.providers.postgres.hooks.postgres import PostgresHook

    connection = _with_host(WAREHOUSE_CONNECTION)
    connection.extra = json.dumps(_NOTICES_LOST_SERVERS | connection.extra_dejson)
    return _connected(PostgresHook(connection=connection), WAREHOUSE_CONNECTION)


def warehouse_reader() -> psycopg.Connection[Any]:
    """Return a connection for brief questions, from `taxi_warehouse_reader` if that is set, else from the warehouse's.

    Raises:
        WarehouseBusy: the warehouse does not answer.
        WarehouseRefused: it refuses the connection.
    """
    from airflow.providers.postgres.hooks.postgres import PostgresHook

    connection = _with_host(READER_CONNECTION if is_set(READER_CONNECTION) else WAREHOUSE_CONNECTION)
    connection.extra = json.dumps({"connect_timeout": _CONNECT_WITHIN_SECONDS} | connection.extra_dejson)
    name = connection.conn_id
    try:
        opened = _connected(PostgresHook(connection=connection, options=_ONLY_BRIEF_QUESTIONS), name)
    except WarehouseRefused as refusal:
        if _NO_OPTIONS not in str(refusal):
            raise
        opened = _connected(PostgresHook(connection=connection), name)  # through a pooler, which takes no options
    opened.read_only = True
    return opened


def _with_host(name: str) -> Connection:
    connection = get(name)
    if not connection.host and not connection.extra_dejson.get("service"):
        raise ValueError(f"connection {name!r} has no host; expected the host of a Postgres server")
    return connection


def _connected(hook: PostgresHook, name: str) -> psycopg.Connection[Any]:
    import psycopg

    from include.nyc_taxi.targets.postgres.refusals import by_code

    try:
        connection = cast("psycopg.Connection[Any]", hook.get_conn())
    except psycopg.Error as error:
        raise faults.of_postgres(by_code(error)).tell(f"connection {name!r}", error) from error
    except (ValueError, TypeError, UnicodeError) as error:
        raise ValueError(f"connection {name!r}: {faults.said(error)}") from error
    # A pooler may give each transaction to another session, which would not know a statement that was prepared before.
    connection.prepare_threshold = None
    return connection


def bigquery_client() -> bigquery.Client:
    """Return a client for BigQuery, with the credentials and the project of the connection `taxi_gcp`.

    Raises:
        ValueError: the connection is anonymous, and no emulator runs.
        WarehouseRefused: the connection has no valid credentials.
        WarehouseBusy: Google's token server does not answer.
    """
    from airflow.providers.google.cloud.hooks.bigquery import BigQueryHook

    from include.nyc_taxi.targets.bigquery.server import errors_told

    with errors_told(f"connection {CLOUD_CONNECTION}"):
        connection = get(CLOUD_CONNECTION)
        if _lacks_emulator():
            raise ValueError(
                f"connection {CLOUD_CONNECTION!r} is anonymous, which only an emulator accepts, and none runs; "
                "expected a project with credentials: enter them in Admin -> Connections"
            )
        hook = BigQueryHook(gcp_conn_id=CLOUD_CONNECTION, use_legacy_sql=False)
        if _is_real(connection, _BIGQUERY_EMULATOR):
            return _real_bigquery(hook)
        return hook.get_client(project_id=hook.project_id)


def _real_bigquery(hook: BigQueryHook) -> bigquery.Client:
    from google.api_core.client_options import ClientOptions
    from google.cloud.bigquery import Client

    options = hook.get_client_options() or ClientOptions()
    options.api_endpoint = _BIGQUERY
    return Client(project=hook.project_id, credentials=hook.get_credentials(), client_options=options)


def duckdb_file(*, read_only: bool = False) -> DatabaseFile:
    """Return the DuckDB file that the connection `taxi_duckdb` names; nothing is opened yet.

    Its path is the connection's host, or what a URI such as `duckdb:///folder/file.duckdb` has as its schema. The extra
    may have `memory_limit`, `threads` and `patience_seconds`. A reader waits for a writer for some seconds only.

    Raises:
        ValueError: the connection is not set, its path is not absolute, or an option has another type than expected.
        SetUpError: its folder cannot be written.
    """
    from include.nyc_taxi.targets.duckdb.database import DatabaseFile

    connection = get(FILE_CONNECTION)
    what = f"connection {FILE_CONNECTION!r}"
    path = Path(connection.host or f"/{connection.schema or ''}")
    if not path.is_absolute() or not path.name:
        raise ValueError(f"{what} has the host {connection.host!r}; expected the absolute path of a DuckDB file")
    options = _file_options(connection.extra_dejson, what)
    if read_only:
        return DatabaseFile(path, read_only=True, **options | {"patience_seconds": _READ_WITHIN_SECONDS})
    check_folder(path.parent, what)
    return DatabaseFile(path, **options)


def _file_options(extra: Mapping[str, Any], what: str) -> dict[str, Any]:
    """Return the options of a DuckDB file that an extra has."""
    found = {name: extra[name] for name in _FILE_OPTIONS if name in extra}
    for name, value in found.items():
        expected, is_right = _FILE_OPTIONS[name]
        if not is_right(value):
            raise ValueError(f"{name} in the extra of {what} is {value!r}; expected {expected}")
    return found


# How each target's client is opened, by the target's connection. A new target adds its line here.
_ADAPTERS: dict[str, Callable[[bool], AbstractContextManager[Any]]] = {
    WAREHOUSE_CONNECTION: lambda read_only: closing(warehouse_reader() if read_only else warehouse()),
    CLOUD_CONNECTION: lambda _read_only: closing(bigquery_client()),
    LAKE_VARIABLE: lambda _read_only: nullcontext(lake()),
    FILE_CONNECTION: lambda read_only: nullcontext(duckdb_file(read_only=read_only)),
}
