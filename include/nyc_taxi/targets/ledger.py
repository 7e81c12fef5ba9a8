"""ledger: what a load tells its caller and its warehouse's ledger, whichever warehouse that is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from include.nyc_taxi.landing import Landed
    from include.nyc_taxi.targets import bigquery, postgres
    from include.nyc_taxi.trip_file import TripFile


@dataclass(frozen=True)
class Run:
    """Who loads."""

    dag_id: str | None = None
    run_id: str | None = None


@dataclass(frozen=True)
class Loaded:
    """What a load did and what now lies in the month's partition."""

    outcome: Literal["replaced", "appended", "unchanged"]
    table: postgres.Table | bigquery.Table
    landed: Landed
    rows_loaded: int
    seconds: float


def key(file: TripFile, table: postgres.Table | bigquery.Table) -> dict[str, str]:
    """What the rows of a file's loads into a table have in common."""
    return {"service": file.service, "month": str(file.month), "target_table": str(table)}


def row(landed: Landed, run: Run, seconds: float) -> dict[str, Any]:
    """What a row says besides its key, but for what the warehouse adds."""
    return {
        "source_url": landed.source_url,
        "source_etag": landed.source_etag,
        "source_sha256": landed.source_sha256,
        "source_bytes": landed.source_bytes,
        "rows_read": landed.rows_read,
        "rows_loaded": landed.rows_accepted,
        "rows_rejected": landed.rows_rejected,
        "rejected_by_reason": landed.rejected_by_reason,
        "rule_hits": landed.rule_hits,
        "rows_expected": landed.rows_expected,
        "schema_era": landed.schema_era,
        "quality_profile": landed.quality_profile,
        "recipe": landed.recipe,
        "seconds": seconds,
        "dag_id": run.dag_id,
        "run_id": run.run_id,
    }
