"""steps: the adapters between a run and the core: open what is needed, call one function, return address and counts.

Import this inside a task: it brings pyarrow and psycopg with it.
"""

from __future__ import annotations

import logging
from contextlib import closing
from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowSkipException

from include.nyc_taxi import TripFile, download, landing
from include.nyc_taxi.errors import LakeChanged, PermanentError
from include.nyc_taxi.lake import data_key, source_of
from include.nyc_taxi.targets import postgres
from include.nyc_taxi.targets.ledger import Run
from include.orchestration import assets, connections
from include.orchestration.requests import file_of, files_of, request_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.sdk import Context

    from include.nyc_taxi.landing import Landed

log = logging.getLogger(__name__)

_BY_EVENT = "asset_triggered"
_HEAD_ROWS = 2


def announce(context: Context) -> None:
    """The notes' subflow: say which table the run is for; and, as it comes first, check all that the run asks for."""
    table = _warehouse_table(context, file_of(context))
    postgres.Table.parse(table)
    log.info("Logging Subflow for: %s", table)


def which_files(context: Context) -> list[str]:
    """The names of the files that the run is for."""
    return [file.name for file in files_of(context)]


def fetch(context: Context, name: str | None = None) -> dict[str, Any]:
    """Have the named file, or else the run's own, in raw/; returns its key in the lake."""
    request = request_of(context)
    file = TripFile.parse(name) if name else file_of(context)
    label(context, file)
    fetched = download.fetch(
        file,
        connections.lake(),
        source=request.source,
        base_url=connections.base_url(request.source),
        cache_ttl=request.cache_ttl,
        force=request.force,
    )
    return {"key": fetched.key, "bytes": fetched.manifest.bytes, "outcome": fetched.outcome}


def stage(context: Context, raw: dict[str, Any]) -> dict[str, Any]:
    """Have the raw file's rows staged, and say what they look like; returns their recipe and the counts."""
    request = request_of(context)
    file = _file(context, raw)
    lake = connections.lake()
    staged = landing.stage(
        file,
        lake,
        source=source_of(raw["key"]),
        profile=request.quality,
        unknown_columns=request.unknown_columns,
        force=request.force,
    )
    head = landing.preview(file, lake, staged.recipe, _HEAD_ROWS).to_pandas()
    log.info("the first accepted rows:\n%s", head.to_string())
    log.info("columns: %s", head.dtypes.to_string())
    log.info("rows: %d", staged.rows_read)
    return {"key": raw["key"], "recipe": staged.recipe, **_counts(staged)}


def check(context: Context, staged: dict[str, Any]) -> dict[str, Any]:
    """Read what was staged as whoever loads it will; returns its size."""
    file, lake = _file(context, staged), connections.lake()
    try:
        size = landing.check(file, lake, staged["recipe"])
    except LakeChanged as change:
        log.warning("%s: this run reads it again", change)
        staged = stage(context, staged)
        size = landing.check(file, lake, staged["recipe"])
    return staged | {"bytes": size}


def publish(context: Context, staged: dict[str, Any]) -> dict[str, Any]:
    """Have the staged rows in data/ and rejects/; returns the key of the former and the counts."""
    file, lake = _file(context, staged), connections.lake()
    try:
        landed = landing.publish(file, lake, staged["recipe"])
    except LakeChanged as change:
        log.warning("%s: this run reads it again", change)
        request = request_of(context)
        landed = landing.land(
            file,
            lake,
            source=source_of(staged["key"]),
            profile=request.quality,
            unknown_columns=request.unknown_columns,
        )
    return _published(context, file, landed)


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
    return _published(context, file, landed)


def load(context: Context, data: dict[str, Any]) -> dict[str, Any]:
    """Have the landed rows in the month's partition of the warehouse; returns the table and the count."""
    file = _file(context, data)
    with closing(connections.warehouse()) as connection:
        loaded = postgres.replace_month(
            connection,
            file,
            connections.lake(),
            table=postgres.Table.parse(_warehouse_table(context, file)),
            run=_run(context),
            force=context["params"]["force"],
        )
    return {"table": str(loaded.table), "rows_loaded": loaded.rows_loaded, "outcome": loaded.outcome}


def check_bigquery(context: Context) -> dict[str, Any]:
    """See that the run's month is known, and that BigQuery and the lake's bucket can be reached."""
    from include.nyc_taxi.targets import bigquery

    file = file_of(context)
    table = _bigquery_table(context, file)
    if context["dag_run"].run_type == _BY_EVENT and not connections.has_cloud():
        raise AirflowSkipException(f"{file}: no connection {connections.CLOUD_CONNECTION}, so no BigQuery to load into")
    location = bigquery.check(connections.bigquery_client(), connections.lake(), table)
    return {"table": str(table), "location": location}


def find(context: Context) -> dict[str, Any]:
    """Find the run's month in the lake; returns its key and the counts."""
    file, lake = file_of(context), connections.lake()
    landed = landing.whole(file, lake)
    log.info("%s: %s rows in %s", file, f"{landed.rows_accepted:,}", lake.url(data_key(file)))
    return {"key": data_key(file), **_counts(landed)}


def report_missing_passengers(context: Context, data: dict[str, Any]) -> dict[str, Any]:
    """Say how many rows have no passenger count, as the notes did; nulls stay nulls, in every target alike."""
    file = _file(context, data)
    missing = landing.nulls(file, connections.lake()).get("passenger_count", 0)
    log.info("pre: missing passenger count: %d", missing)
    log.info("post: missing passenger count: %d, kept as null", missing)
    return data


def load_bigquery(context: Context, data: dict[str, Any]) -> dict[str, Any]:
    """Have the landed rows in the month's partition of BigQuery; returns the table and the count."""
    from include.nyc_taxi.targets import bigquery

    file, lake = _file(context, data), connections.lake()
    client, table = connections.bigquery_client(), _bigquery_table(context, file)
    if context["params"].get("write_mode") == "append":
        loaded = bigquery.append_month(client, file, lake, table=table, run=_run(context))
    else:
        force = context["params"]["force"]
        loaded = bigquery.replace_month(client, file, lake, table=table, run=_run(context), force=force)
    return {"table": str(table), "rows_loaded": loaded.rows_loaded, "outcome": loaded.outcome}


def load_into_target(context: Context, data: dict[str, Any]) -> dict[str, Any]:
    """Load a published month into what the run's param `target` names; returns what became of it."""
    match context["params"]["target"]:
        case "postgres":
            return load(context, data)
        case "bigquery":
            return load_bigquery(context, data)
    _file(context, data)
    return {"table": None, "rows_loaded": data["rows_read"] - data["rows_rejected"], "outcome": "in the lake"}


def summarise(context: Context, names: Sequence[str], task_id: str) -> dict[str, Any]:
    """Say of every month what became of it at its last task.

    Raises:
        PermanentError: a month failed; its own task says why.
    """
    results = [context["ti"].xcom_pull(task_ids=task_id, map_indexes=index) for index in range(len(names))]
    failed = []
    for name, result in zip(names, results, strict=True):
        if result is None:
            failed.append(name)
            log.error("%s: failed; see the red task of that map index", name)
        else:
            log.info("%s: %s, %s rows", name, result["outcome"], f"{result['rows_loaded']:,}")
    if failed:
        raise PermanentError(f"{len(failed)} of {len(names)} months failed: {', '.join(failed)}")
    return {"months": len(names), "rows": sum(result["rows_loaded"] for result in results if result)}


def label(context: Context, file: TripFile) -> None:
    """Name this task's map index after the file, as in yellow-2021-01."""
    context["label"] = f"{file.service}-{file.month}"  # type: ignore[typeddict-unknown-key]


def _file(context: Context, upstream: dict[str, Any]) -> TripFile:
    file = TripFile.parse_key(upstream["key"])
    label(context, file)
    return file


def _published(context: Context, file: TripFile, landed: Landed) -> dict[str, Any]:
    published = {"key": data_key(file), **_counts(landed)}
    assets.announce(context, file, published)
    return published


def _counts(landed: Landed) -> dict[str, int]:
    return {"rows_read": landed.rows_read, "rows_rejected": landed.rows_rejected}


def _run(context: Context) -> Run:
    return Run(context["dag"].dag_id, context["run_id"])


def _warehouse_table(context: Context, file: TripFile) -> str:
    """The table in Postgres, as the person spelled it."""
    return context["params"].get("table_name") or f"{file.service}_taxi_trips"


def _bigquery_table(context: Context, file: TripFile) -> Any:  # noqa: ANN401 - its module costs seconds to import
    from include.nyc_taxi.targets import bigquery

    name = context["params"].get("table_name")
    return bigquery.Table.parse(name) if name else bigquery.Table.of_service(file.service, context["params"]["dataset"])
