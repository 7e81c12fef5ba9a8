"""server: what every question to BigQuery has in common: queries from sql/, tables kept in step, and errors."""

from __future__ import annotations

import logging
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from google.api_core import exceptions as api
from google.auth import exceptions as auth
from google.cloud import bigquery as bq
from requests import exceptions as web

from include.nyc_taxi import faults
from include.nyc_taxi.targets.sql_files import sql_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from google.cloud.bigquery.table import RowIterator

    from include.nyc_taxi.targets.bigquery.table import Table

log = logging.getLogger(__name__)


@contextmanager
def errors_told(what: str) -> Iterator[None]:
    """Turn Google's errors into ours, which tell whether a retry may succeed."""
    try:
        yield
    except (api.GoogleAPIError, auth.GoogleAuthError, web.RequestException) as error:
        raise faults.of_google(error).tell(what, error) from error


def ask(client: bq.Client, name: str, table: Table, **values: Any) -> RowIterator:  # noqa: ANN401 - parameters of SQL
    """Run the query in `sql/{name}.sql` on a table. The type of a value decides that of its parameter."""
    types = {str: "STRING", int: "INT64"}
    parameters = [bq.ScalarQueryParameter(key, types.get(type(value), "DATE"), value) for key, value in values.items()]
    # The one name in it was checked when the Table was made.
    statement = sql_file(__file__, f"{name}.sql").replace("{table}", f"`{table.reference(client)}`")
    return client.query_and_wait(statement, job_config=bq.QueryJobConfig(query_parameters=parameters))


def have_table(
    client: bq.Client, wanted: bq.Table, check: Callable[[bq.Table], None] = lambda _table: None
) -> bq.Table:
    """Create the table if it is missing, and add the columns that it lacks; returns it as it is then.

    `check` raises an error if the table that is there is something else; then it is not changed.
    """
    table = client.create_table(wanted, exists_ok=True)
    check(table)
    there = {field.name for field in table.schema}
    missing = [_optional(field) for field in wanted.schema if field.name not in there]
    if missing:
        table = _with_columns(client, table, missing)
    return table


def _with_columns(client: bq.Client, table: bq.Table, columns: Sequence[bq.SchemaField]) -> bq.Table:
    table.schema = [*table.schema, *columns]
    log.info("%s: added columns %s", table.reference, ", ".join(field.name for field in columns))
    return client.update_table(table, ["schema"])


def _optional(field: bq.SchemaField) -> bq.SchemaField:
    """The column as BigQuery lets one add it: rows that are there have no value of it."""
    return bq.SchemaField(field.name, field.field_type, description=field.description)
