"""ledger: what a target writes down of each load. The fields are here, once; each target spells their types.

A row per load: what was loaded from which published file, what became of its rows, who loaded it and when.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from include.nyc_taxi.precedence import claim_of

if TYPE_CHECKING:
    from include.nyc_taxi.landed_rows import Landed
    from include.nyc_taxi.precedence import Claim, Run
    from include.nyc_taxi.targets.table import Table
    from include.nyc_taxi.trip_file import TripFile

TABLE = "load_ledger"


class Field(NamedTuple):
    """A column of the ledger. `type` is text, integer, number, counts (a JSON object) or moment (with its zone)."""

    name: str
    type: Literal["text", "integer", "number", "counts", "moment"]
    description: str
    is_required: bool = True
    default: str | None = None
    """What rows have that were written before there was this column, as a literal of SQL."""


FIELDS = (
    Field("service", "text", "The service of the trips, such as green."),
    Field("month", "text", "The month of the file, YYYY-MM."),
    Field("target", "text", "The target that was loaded."),
    Field("target_table", "text", "The table that was loaded."),
    Field("source_url", "text", "Where the file came from."),
    Field("source_etag", "text", "The publisher's mark of this edition of the file.", is_required=False),
    Field("source_sha256", "text", "The sha256 of the published bytes, in hex."),
    Field("source_bytes", "integer", "The size of the published file in bytes."),
    Field("rows_read", "integer", "Rows of the published file."),
    Field("rows_loaded", "integer", "Rows that were accepted and loaded."),
    Field("rows_rejected", "integer", "Rows in rejects/."),
    Field("rejected_by_reason", "counts", "Rejected rows by reason."),
    Field("schema_era", "text", "The era that the file was read by."),
    Field("quality_profile", "text", "The quality profile that rejected rows."),
    Field("recipe", "text", "A digest of everything that made the rows what they are."),
    Field("seconds", "number", "How long the load took, in seconds."),
    Field("dag_id", "text", "The DAG that loaded the file.", is_required=False),
    Field("run_id", "text", "The run of that DAG.", is_required=False),
    Field("rule_hits", "counts", "Rows that each quality rule matches, rejected or not.", default="'{}'"),
    Field("rows_expected", "integer", "The rows once counted in this published file, if known.", is_required=False),
    Field("source", "text", "Who published the file.", is_required=False),
    Field("source_last_modified", "text", "When the publisher last changed the file, as it says.", is_required=False),
    Field("edition_number", "integer", "The place of this edition in the order of first sight.", is_required=False),
    Field("unknown_columns", "text", "What was done with columns that the catalogue lacks.", is_required=False),
    Field("asked_at", "text", "When the run was asked for, ISO 8601 in UTC.", is_required=False),
    Field("asked_for", "text", "`force` or `edition=...`; null for the current edition.", is_required=False),
)


@dataclass(frozen=True)
class Loaded:
    """What a load did, and what the table's month now holds."""

    outcome: Literal["replaced", "appended", "unchanged", "landed"]
    table: Table
    landed: Landed
    rows_loaded: int
    seconds: float


def key(file: TripFile, target: str, table: Table) -> dict[str, str]:
    """What the ledger's rows of a file's loads into a table have in common."""
    return {"service": file.service, "month": str(file.month), "target": target, "target_table": str(table)}


def row(landed: Landed, run: Run, seconds: float) -> dict[str, Any]:
    """What a row says besides its key."""
    values = {"rows_loaded": landed.rows_accepted, "seconds": seconds, "dag_id": run.dag_id, "run_id": run.run_id}
    names = {each.name for each in FIELDS}
    return {name: value for name, value in vars(landed).items() if name in names} | values | asked(landed, run)


def asked(landed: Landed, run: Run) -> dict[str, str | None]:
    """What was asked for by the run that loads, or by the one that landed an edition by name, and when."""
    if run.wish.asked_for is None and landed.pin:
        return {"asked_at": landed.asked_at, "asked_for": landed.pin}
    return {"asked_at": run.wish.asked_at, "asked_for": run.wish.asked_for}


def claim(landed: Landed, run: Run) -> Claim:
    """What a run claims that loads landed rows."""
    return claim_of(vars(landed) | asked(landed, run))
