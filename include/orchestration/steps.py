"""steps: what tasks do. Each step opens what it needs, calls the core and returns names and counts.

Import this inside a task. A step imports what it alone needs, because every task is a process of its own. A `file` is
the name of a trip file, such as `green_tripdata_2024-01`.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, cast

from airflow.sdk.exceptions import AirflowSkipException

from include.nyc_taxi import TripFile, targets
from include.nyc_taxi.errors import DamagedData, LakeChanged, NotInLake, PermanentError, Superseded
from include.nyc_taxi.lake import data_key, raw_key
from include.nyc_taxi.precedence import CLAIM_FIELDS, claim_of
from include.orchestration import connections
from include.orchestration.retries import reported

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import timedelta

    import pyarrow as pa

    from include.nyc_taxi import landing
    from include.nyc_taxi.lake import Lake
    from include.nyc_taxi.precedence import Claim, Run
    from include.nyc_taxi.reading import UnknownColumns
    from include.orchestration.requests import Destination, Reading
    from include.orchestration.xcoms import Checked, Landed, Loaded, Raw, Reached, Staged, Summary

log = logging.getLogger(__name__)

_HEAD_ROWS = 2


@reported
def log_table_name(service: str, destination: Destination) -> None:
    """Log which table the run is for. As the first step of a run, it refuses a table name that is none."""
    _place, table = _resolve(service, destination)
    log.info("Logging Subflow for: %s", table)


@reported
def check_set_up(service: str, *, source: str, destination: Destination, url: str | None = None) -> None:
    """See that the lake, the source's connection and the target are set up, before anything is downloaded.

    Raises:
        ValueError: a connection, a Variable, the URL or a table's name is wrong.
        SetUpError: the lake or the target refuses what a run needs, or the URL's host is not allowed.
        LakeUnavailable, WarehouseBusy: the lake or the target does not answer.
    """
    lake = connections.lake()
    connections.check_lake(lake)
    if url:
        from include.orchestration import elsewhere

        elsewhere.allowed(url)
    else:
        connections.base_url(source)
        connections.redirect_hosts(source)
    place, table = _resolve(service, destination)
    if not place.is_the_lake:
        with connections.opened(place) as client:
            log.info("%s is at %s", table, place.check(client, lake, table, service))


@reported
def newest_published(service: str, source: str) -> str:
    """Return the name of the newest file that the publisher has of a service, for a run without a month."""
    from include.nyc_taxi import publications

    file = publications.newest(
        service,
        source,
        base_url=connections.base_url(source),
        redirect_hosts=connections.redirect_hosts(source),
    )
    log.info("%s: the run names no month, and this is the newest published one", file)
    return file.name


@reported
def newest_in_the_lake(service: str) -> str:
    """Return the name of the newest file of a service in the lake's data/, for a run without a month.

    Raises:
        NotInLake: there is none.
    """
    lake = connections.lake()
    files = [file for file in targets.the_lake().own_loads(lake) if file.service == service]
    if not files:
        raise NotInLake(f"{lake.url('data')} has no month of {service}: run etl_web_to_gcs first")
    file = max(files)
    log.info("%s: the run names no month, and this is the newest one in the lake", file)
    return file.name


@reported
def download(
    file: str, *, source: str, edition: str | None, cache_ttl: timedelta, force: bool, url: str | None = None
) -> Raw:
    """Have an edition of a file in raw/. Download the current one, unless it is fresh by `cache_ttl` or unchanged.

    With a `url` it is the file there, which is a source of its own.
    """
    from include.nyc_taxi import download as downloading

    lake, trip_file = connections.lake(), TripFile.parse(file)
    connections.check_lake(lake)
    options: downloading.Options = {"edition": edition, "cache_ttl": cache_ttl, "force": force}
    if url:
        from include.orchestration import elsewhere

        there = elsewhere.allowed(url)
        fetched = downloading.fetch_elsewhere(
            trip_file, there.url, lake, redirect_hosts=there.redirect_hosts, **options
        )
    else:
        fetched = downloading.fetch(
            trip_file,
            lake,
            source=source,
            base_url=connections.base_url(source),
            redirect_hosts=connections.redirect_hosts(source),
            **options,
        )
    return {
        "file": file,
        "source": fetched.edition.source,
        "edition": fetched.edition.sha256,
        "key": fetched.key,
        "bytes": fetched.edition.bytes,
        "outcome": fetched.outcome,
    }


@reported
def stage(file: str, *, source: str, edition: str, reading: Reading) -> Staged:
    """Read an edition, stage its accepted and rejected rows, and log the first accepted ones."""
    from include.nyc_taxi import landing

    trip_file, lake = TripFile.parse(file), connections.lake()
    staged = landing.stage(
        trip_file,
        lake,
        source=source,
        edition=edition,
        profile=reading.quality,
        unknown_columns=reading.unknown_columns,
        accept_implausible=reading.accept_implausible,
        force=reading.force,
        wish=reading.wish,
    )
    _log_head(landing.preview(trip_file, lake, staged.recipe, _HEAD_ROWS), staged.rows_read)
    return {
        "file": file,
        "source": source,
        "edition": staged.source_sha256,
        "recipe": staged.recipe,
        "rows_read": staged.rows_read,
        "rows_rejected": staged.rows_rejected,
    }


@reported
def check(staged: Staged, *, reading: Reading) -> Checked:
    """Read the staged rows back, as a target will. If they are gone, stage them again."""
    from include.nyc_taxi import landing

    file, lake = TripFile.parse(staged["file"]), connections.lake()
    try:
        size = landing.check(file, lake, staged["recipe"])
    except LakeChanged as change:
        log.warning("%s: staging the rows again", change)
        staged = stage(staged["file"], source=staged["source"], edition=staged["edition"], reading=reading)
        size = landing.check(file, lake, staged["recipe"])
    return {**staged, "bytes": size}


@reported
def commit(staged: Staged, *, reading: Reading) -> Landed:
    """Move the staged rows to data/ and rejects/. If they are gone, read the edition again."""
    from include.nyc_taxi import landing
    from include.orchestration.editions import kept, prune

    file, lake, keep = TripFile.parse(staged["file"]), connections.lake(), kept()
    try:
        landed = landing.publish(file, lake, staged["recipe"])
    except LakeChanged as change:
        log.warning("%s: reading the edition again", change)
        return land(staged["file"], source=staged["source"], edition=staged["edition"], reading=reading)
    except Superseded as newer:
        return _superseded(file, lake, newer)
    prune(lake, file, staged["source"], keep)
    return _landed(file, landed)


@reported
def land(file: str, *, source: str, edition: str, reading: Reading) -> Landed:
    """Read an edition into data/ and rejects/, and log how many rows have no passengers before and after."""
    from include.nyc_taxi import landing
    from include.orchestration.editions import kept, prune

    trip_file, lake, keep = TripFile.parse(file), connections.lake(), kept()
    try:
        landed = landing.land(
            trip_file,
            lake,
            source=source,
            edition=edition,
            profile=reading.quality,
            unknown_columns=reading.unknown_columns,
            accept_implausible=reading.accept_implausible,
            force=reading.force,
            wish=reading.wish,
        )
    except Superseded as newer:
        return _superseded(trip_file, lake, newer)
    prune(lake, trip_file, source, keep)
    log.info("pre: rows with passenger_count 0: %d", landed.without_passengers_read)
    log.info("post: rows with passenger_count 0: %d", landed.without_passengers_kept)
    return _landed(trip_file, landed)


@reported
def reach(service: str, destination: Destination, *, optional: bool = False) -> Reached:
    """Check that a target can be reached, from the lake too, and may take a load.

    Raises:
        AirflowSkipException: the target's connection is not set, and the load is `optional`.
    """
    place, table = _resolve(service, destination)
    if optional and not connections.is_configured(place):
        raise AirflowSkipException(f"{service}: {place.connected_by} is not set: not loaded into {place.title}")
    lake = connections.lake()
    connections.check_lake(lake)
    with connections.opened(place) as client:
        location = place.check(client, lake, table, service)
    return {"table": str(table), "location": location}


@reported
def find(file: str) -> Landed:
    """Find a month in the lake's data/."""
    from include.nyc_taxi import landing

    trip_file, lake = TripFile.parse(file), connections.lake()
    landed = landing.whole(trip_file, lake)
    log.info("%s: found %s rows in %s", file, f"{landed.rows_accepted:,}", lake.url(data_key(trip_file)))
    return _landed(trip_file, landed)


@reported
def count_null_passengers(file: str) -> None:
    """Log how many rows have a null passenger count. They are loaded as they are, into every target."""
    from include.nyc_taxi import landing

    nulls = landing.nulls(TripFile.parse(file), connections.lake()).get("passenger_count", 0)
    log.info("pre: rows with a null passenger_count: %d", nulls)
    log.info("post: rows with a null passenger_count: %d", nulls)


@reported
def load(
    landed: Landed, destination: Destination, *, run: Run, write_mode: str = "replace", force: bool = False
) -> Loaded:
    """Load a month from the lake into a target; the lake itself has it already.

    If what is in data/ turns out to be damaged, it is landed again from its edition, and then loaded.
    """
    file, lake = TripFile.parse(landed["file"]), connections.lake()
    place, table = _resolve(file.service, destination)
    found = claim_of(landed["claim"])

    def load_once() -> Loaded:
        with connections.opened(place) as client:
            if write_mode == "append":
                loaded = place.append_month(client, file, lake, table=table, run=run)
            else:
                loaded = place.replace_month(client, file, lake, table=table, found=found, run=run, force=force)
        return _loaded(file, place, loaded.table, loaded.rows_loaded, loaded.outcome)

    try:
        try:
            return load_once()
        except DamagedData as damage:
            log.warning("%s: landing it again", damage)
            _land_again(file, lake, found)
            return load_once()
    except Superseded as newer:
        log.warning("%s", newer)
        return _loaded(file, place, table, 0, "superseded")


@reported
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


def _log_head(head: pa.Table, rows: int) -> None:
    values = [f"{name}: {', '.join(map(str, head[name].to_pylist()))}" for name in head.column_names]
    log.info("the first accepted rows:\n%s", "\n".join(values))
    log.info("columns: %s", ", ".join(f"{field.name} {field.type}" for field in head.schema))
    log.info("rows: %d", rows)


def _resolve(service: str, destination: Destination) -> tuple[targets.Target[Any, Any], targets.Table]:
    place = targets.get(destination.target)
    return place, place.table(service, name=destination.table_name, namespace=destination.namespace)


def _land_again(file: TripFile, lake: Lake, claim: Claim) -> None:
    """Land the edition of a claim anew, on its terms."""
    from include.nyc_taxi import editions, landing

    source, quality, unknown_columns = claim.terms
    known = editions.history(lake, raw_key(file, source))
    landing.land(
        file,
        lake,
        source=source,
        edition=known.named(claim.edition).sha256,
        profile=quality,
        unknown_columns=cast("UnknownColumns", unknown_columns),
        wish=claim.wish,
    )


def _loaded(file: TripFile, place: targets.Target[Any, Any], table: targets.Table, rows: int, outcome: str) -> Loaded:
    return {
        "file": file.name,
        "target": place.name,
        "table": str(table),
        "rows_loaded": rows,
        "outcome": outcome,
    }


def _landed(file: TripFile, landed: landing.Landed, outcome: str = "landed") -> Landed:
    return {
        "file": file.name,
        "key": data_key(file),
        "outcome": outcome,
        "claim": {name: getattr(landed, name) for name in CLAIM_FIELDS},
        "rows_read": landed.rows_read,
        "rows_accepted": landed.rows_accepted,
        "rows_rejected": landed.rows_rejected,
    }


def _superseded(file: TripFile, lake: Lake, newer: Superseded) -> Landed:
    """Go on with what is in data/: the target may lack it."""
    from include.nyc_taxi import landing

    log.warning("%s: going on with that", newer)
    return _landed(file, landing.whole(file, lake), "superseded")
