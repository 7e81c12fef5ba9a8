"""steps: what tasks do. Each step opens what it needs, calls the core and returns names and counts.

Import this inside a task, as it imports pyarrow. A `file` is the name of a trip file, such as `green_tripdata_2024-01`.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowSkipException

from include.nyc_taxi import TripFile, landing, targets
from include.nyc_taxi import download as downloading
from include.nyc_taxi.errors import LakeChanged, PermanentError
from include.nyc_taxi.lake import data_key
from include.orchestration import connections

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import timedelta

    from include.nyc_taxi.reading import UnknownColumns
    from include.nyc_taxi.targets.ledger import Run
    from include.orchestration.requests import Destination
    from include.orchestration.xcoms import Checked, Landed, Loaded, Raw, Reached, Staged, Summary

log = logging.getLogger(__name__)

_HEAD_ROWS = 2


def log_table_name(file: str, destination: Destination) -> None:
    """Log which table the run is for. As the first step of a run, it refuses a table name that is none."""
    _place, table = _resolve(file, destination)
    log.info("Logging Subflow for: %s", table)


def download(file: str, *, source: str, cache_ttl: timedelta, force: bool) -> Raw:
    """Download a file into raw/, unless the cached copy is younger than `cache_ttl` or unchanged."""
    fetched = downloading.fetch(
        TripFile.parse(file),
        connections.lake(),
        source=source,
        base_url=connections.base_url(source),
        cache_ttl=cache_ttl,
        force=force,
    )
    return {
        "file": file,
        "source": source,
        "key": fetched.key,
        "bytes": fetched.manifest.bytes,
        "outcome": fetched.outcome,
    }


def stage(file: str, *, source: str, quality: str, unknown_columns: UnknownColumns, force: bool) -> Staged:
    """Read a raw file, stage its accepted and rejected rows, and log the first accepted ones."""
    trip_file, lake = TripFile.parse(file), connections.lake()
    staged = landing.stage(
        trip_file, lake, source=source, profile=quality, unknown_columns=unknown_columns, force=force
    )
    head = landing.preview(trip_file, lake, staged.recipe, _HEAD_ROWS).to_pandas()
    log.info("the first accepted rows:\n%s", head.to_string())
    log.info("columns: %s", head.dtypes.to_string())
    log.info("rows: %d", staged.rows_read)
    return {
        "file": file,
        "source": source,
        "recipe": staged.recipe,
        "rows_read": staged.rows_read,
        "rows_rejected": staged.rows_rejected,
    }


def check(staged: Staged, *, quality: str, unknown_columns: UnknownColumns) -> Checked:
    """Read the staged rows back, as a target will. If they are gone, stage them again."""
    file, lake = TripFile.parse(staged["file"]), connections.lake()
    try:
        size = landing.check(file, lake, staged["recipe"])
    except LakeChanged as change:
        log.warning("%s: staging the rows again", change)
        staged = stage(
            staged["file"], source=staged["source"], quality=quality, unknown_columns=unknown_columns, force=False
        )
        size = landing.check(file, lake, staged["recipe"])
    return {**staged, "bytes": size}


def commit(staged: Staged, *, quality: str, unknown_columns: UnknownColumns) -> Landed:
    """Move the staged rows to data/ and rejects/. If they are gone, read the raw file again."""
    file, lake = TripFile.parse(staged["file"]), connections.lake()
    try:
        landed = landing.publish(file, lake, staged["recipe"])
    except LakeChanged as change:
        log.warning("%s: reading the raw file again", change)
        landed = landing.land(file, lake, source=staged["source"], profile=quality, unknown_columns=unknown_columns)
    return _landed(file, landed)


def land(file: str, *, source: str, quality: str, unknown_columns: UnknownColumns, force: bool) -> Landed:
    """Read a raw file into data/ and rejects/, and log how many rows have no passengers before and after."""
    trip_file = TripFile.parse(file)
    landed = landing.land(
        trip_file,
        connections.lake(),
        source=source,
        profile=quality,
        unknown_columns=unknown_columns,
        force=force,
    )
    log.info("pre: rows with passenger_count 0: %d", landed.without_passengers_read)
    log.info("post: rows with passenger_count 0: %d", landed.without_passengers_kept)
    return _landed(trip_file, landed)


def reach(file: str, destination: Destination, *, optional: bool = False) -> Reached:
    """Check that a target can be reached, from the lake too, and may take a load.

    Raises:
        AirflowSkipException: the target's connection is not set, and the load is `optional`.
    """
    place, table = _resolve(file, destination)
    if optional and not connections.is_configured(place):
        raise AirflowSkipException(f"{file}: {place.connected_by} is not set: not loaded into {place.title}")
    with connections.opened(place) as client:
        location = place.check(client, connections.lake(), table)
    return {"table": str(table), "location": location}


def find(file: str) -> Landed:
    """Find a month in the lake's data/."""
    trip_file, lake = TripFile.parse(file), connections.lake()
    landed = landing.whole(trip_file, lake)
    log.info("%s: found %s rows in %s", file, f"{landed.rows_accepted:,}", lake.url(data_key(trip_file)))
    return _landed(trip_file, landed)


def count_null_passengers(file: str) -> None:
    """Log how many rows have a null passenger count. They are loaded as they are, into every target."""
    nulls = landing.nulls(TripFile.parse(file), connections.lake()).get("passenger_count", 0)
    log.info("pre: rows with a null passenger_count: %d", nulls)
    log.info("post: rows with a null passenger_count: %d", nulls)


def load(file: str, destination: Destination, *, run: Run, write_mode: str = "replace", force: bool = False) -> Loaded:
    """Load a month from the lake into a target; the lake itself has it already."""
    trip_file, lake = TripFile.parse(file), connections.lake()
    place, table = _resolve(file, destination)
    with connections.opened(place) as client:
        if write_mode == "append":
            loaded = place.append_month(client, trip_file, lake, table=table, run=run)
        else:
            loaded = place.replace_month(client, trip_file, lake, table=table, run=run, force=force)
    return {"file": file, "table": str(loaded.table), "rows_loaded": loaded.rows_loaded, "outcome": loaded.outcome}


def summarise(files: Sequence[str], results: Sequence[Loaded | None]) -> Summary:
    """Log the outcome of every month.

    Raises:
        PermanentError: a month failed; its own task says why.
    """
    failed = [file for file, result in zip(files, results, strict=True) if result is None]
    loaded = [result for result in results if result is not None]
    for file in failed:
        log.error("%s: failed; see the log of the failed task of that map index", file)
    for result in loaded:
        log.info(
            "%s: %s %s rows in %s", result["file"], result["outcome"], f"{result['rows_loaded']:,}", result["table"]
        )
    if failed:
        raise PermanentError(f"{len(failed)} of {len(files)} months failed: {', '.join(failed)}")
    return {"months": len(files), "rows": sum(result["rows_loaded"] for result in loaded)}


def _resolve(file: str, destination: Destination) -> tuple[targets.Target[Any, Any], targets.Table]:
    place = targets.get(destination.target)
    service = TripFile.parse(file).service
    return place, place.table(service, name=destination.table_name, namespace=destination.namespace)


def _landed(file: TripFile, landed: landing.Landed) -> Landed:
    return {
        "file": file.name,
        "key": data_key(file),
        "rows_read": landed.rows_read,
        "rows_accepted": landed.rows_accepted,
        "rows_rejected": landed.rows_rejected,
    }
