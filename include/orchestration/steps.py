"""steps: the adapters between a run and the core: open what is needed, call one function, return address and counts.

Import this inside a task: it brings pyarrow and psycopg with it.
"""

from __future__ import annotations

import logging
from contextlib import closing
from typing import TYPE_CHECKING, Any

from include.nyc_taxi import TripFile, landing, postgres, source
from include.nyc_taxi.lake import data_key, source_of
from include.orchestration import connections
from include.orchestration.requests import request_of

if TYPE_CHECKING:
    from airflow.sdk import Context

log = logging.getLogger(__name__)


def announce(context: Context) -> None:
    """The notes' subflow: say which table the run is for; and, as it comes first, check all that the run asks for."""
    request = request_of(context)
    postgres.Table.parse(request.table_name)
    log.info("Logging Subflow for: %s", request.table_name)


def fetch(context: Context) -> dict[str, Any]:
    """Have the run's file in raw/; returns its key in the lake."""
    request = request_of(context)
    fetched = source.fetch(
        request.file,
        connections.lake(),
        source=request.source,
        base_url=connections.base_url(request.source),
        cache_ttl=request.cache_ttl,
        force=request.force,
    )
    return {"key": fetched.key, "bytes": fetched.manifest.bytes, "outcome": fetched.outcome}


def land(context: Context, raw: dict[str, Any]) -> dict[str, Any]:
    """Have the raw file's rows in data/ and rejects/; returns the key of the former and the counts."""
    request = request_of(context)
    file = TripFile.parse_key(raw["key"])
    landed = landing.land(
        file,
        connections.lake(),
        source=source_of(raw["key"]),
        profile=request.quality,
        unknown_columns=request.unknown_columns,
        force=request.force,
    )
    log.info("pre: missing passenger count: %d", landed.without_passengers_read)
    log.info("post: missing passenger count: %d", landed.without_passengers_kept)
    return {"key": data_key(file), "rows_read": landed.rows_read, "rows_rejected": landed.rows_rejected}


def load(context: Context, data: dict[str, Any]) -> dict[str, Any]:
    """Have the landed rows in the month's partition of the warehouse; returns the table and the count."""
    request = request_of(context)
    table = postgres.Table.parse(request.table_name)
    with closing(connections.warehouse()) as connection:
        loaded = postgres.replace_month(
            connection,
            TripFile.parse_key(data["key"]),
            connections.lake(),
            table=table,
            run=postgres.Run(context["dag"].dag_id, context["run_id"]),
            force=request.force,
        )
    return {"table": str(loaded.table), "rows_loaded": loaded.rows_loaded, "outcome": loaded.outcome}
