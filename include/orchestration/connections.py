"""connections: build the core's clients from Airflow's connections and Variables."""

from __future__ import annotations

import json
from contextlib import closing, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any, cast

from airflow.sdk import BaseHook, ObjectStoragePath, Variable
from airflow.sdk.exceptions import AirflowNotFoundException

from include.nyc_taxi import catalog
from include.nyc_taxi.errors import WarehouseBusy
from include.nyc_taxi.lake import Lake

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    import psycopg
    from airflow.providers.postgres.hooks.postgres import PostgresHook
    from airflow.sdk import Connection
    from google.cloud import bigquery

    from include.nyc_taxi.targets import Target

CLOUD_CONNECTION = "taxi_gcp"
WAREHOUSE_CONNECTION = "taxi_warehouse"
READER_CONNECTION = "taxi_warehouse_reader"
LAKE_VARIABLE = "taxi_lake"

_PROTOCOLS = ("http", "https")
_CONNECT_WITHIN_SECONDS = 3
_ONLY_BRIEF_QUESTIONS = "-c default_transaction_read_only=on -c statement_timeout=5s"


@contextmanager
def opened(target: Target[Any, Any], *, read_only: bool = False) -> Iterator[Any]:
    """Open a target's client, and close it at the end.

    Args:
        target: where the client connects to.
        read_only: allow nothing but brief questions, for pages that people wait for.

    Raises:
        AirflowNotFoundException: the target's connection is not set.
        ValueError: its connection or Variable is wrong.
        WarehouseBusy: it does not answer.
        WarehouseRefused: its credentials are not valid.
    """
    with _ADAPTERS[target.connection](read_only) as client:
        yield client


def is_configured(target: Target[Any, Any]) -> bool:
    """Whether the target's connection, or the lake's Variable, is set."""
    if target.connection == LAKE_VARIABLE:
        return bool(Variable.get(LAKE_VARIABLE, default=None))
    try:
        BaseHook.get_connection(target.connection)
    except AirflowNotFoundException:
        return False
    return True


def base_url(source: str) -> str:
    """Return where a source's files begin: the host of its http connection, with or without `https://` and a path."""
    return url_of(BaseHook.get_connection(catalog.source(source).connection))


def url_of(connection: Connection) -> str:
    """Return the URL that an http connection stands for."""
    host, schema = connection.host or "", connection.schema or ""
    if "://" in host:
        return host
    if not host:
        raise ValueError(f"connection {connection.conn_id!r} has no host; expected a base URL such as https://host")
    protocol = schema if schema in _PROTOCOLS else "https" if connection.conn_type == "https" else "http"
    port = f":{connection.port}" if connection.port else ""
    path = f"/{schema}" if schema and schema not in _PROTOCOLS else ""
    return f"{protocol}://{host}{port}{path}"


def lake() -> Lake:
    """Return the lake that the Variable `taxi_lake` names: `file:///folder` or `gs://connection_id@bucket/prefix`.

    Raises:
        ValueError: the Variable is not set, or its connection has no credentials.
    """
    url = Variable.get(LAKE_VARIABLE, default=None)
    if not url:
        raise ValueError(
            f"Variable {LAKE_VARIABLE!r} is not set; expected file:///folder or gs://taxi_gcp@bucket/prefix"
        )
    path = ObjectStoragePath(url)
    if path.protocol == "file":
        return Lake(None, path.path)  # asking the path for its file system would import every provider's
    if path.protocol != "gs":
        return Lake(path.fs, path.path)
    from airflow.providers.google.cloud.fs.gcs import get_fs
    from google.auth.exceptions import DefaultCredentialsError

    options: dict[str, Any] = {"use_listings_cache": False}  # other runs write there meanwhile
    try:
        return Lake(get_fs(path.conn_id, options), path.path)
    except DefaultCredentialsError as error:
        raise ValueError(f"connection {path.conn_id!r} has no valid credentials for {url}: {error}") from error


def warehouse() -> psycopg.Connection[Any]:
    """Return a connection to the warehouse, which the caller closes.

    Raises:
        WarehouseBusy: the warehouse does not answer.
    """
    from airflow.providers.postgres.hooks.postgres import PostgresHook

    return _connected(PostgresHook(WAREHOUSE_CONNECTION), WAREHOUSE_CONNECTION)


def warehouse_reader() -> psycopg.Connection[Any]:
    """Return a connection for brief questions, from `taxi_warehouse_reader` if that is set, else from the warehouse's.

    Raises:
        WarehouseBusy: the warehouse does not answer.
    """
    from airflow.providers.postgres.hooks.postgres import PostgresHook

    try:
        connection = BaseHook.get_connection(READER_CONNECTION)
    except AirflowNotFoundException:
        connection = BaseHook.get_connection(WAREHOUSE_CONNECTION)
    connection.extra = json.dumps({"connect_timeout": _CONNECT_WITHIN_SECONDS} | connection.extra_dejson)
    return _connected(PostgresHook(connection=connection, options=_ONLY_BRIEF_QUESTIONS), connection.conn_id)


def _connected(hook: PostgresHook, name: str) -> psycopg.Connection[Any]:
    import psycopg

    try:
        return cast("psycopg.Connection[Any]", hook.get_conn())
    except psycopg.OperationalError as error:
        raise WarehouseBusy(f"connection {name!r}: {error}") from error


def bigquery_client() -> bigquery.Client:
    """Return a client for BigQuery, with the credentials and the project of the connection `taxi_gcp`.

    Raises:
        WarehouseRefused: the connection has no valid credentials.
        WarehouseBusy: Google's token server does not answer.
    """
    from airflow.providers.google.cloud.hooks.bigquery import BigQueryHook

    from include.nyc_taxi.targets.bigquery.server import errors_told

    with errors_told(f"connection {CLOUD_CONNECTION}"):
        hook = BigQueryHook(gcp_conn_id=CLOUD_CONNECTION, use_legacy_sql=False)
        return hook.get_client(project_id=hook.project_id)


# How each target's client is opened, by the target's connection. A new target adds its line here.
_ADAPTERS: dict[str, Callable[[bool], AbstractContextManager[Any]]] = {
    WAREHOUSE_CONNECTION: lambda read_only: closing(warehouse_reader() if read_only else warehouse()),
    CLOUD_CONNECTION: lambda _read_only: closing(bigquery_client()),
    LAKE_VARIABLE: lambda _read_only: nullcontext(lake()),
}
