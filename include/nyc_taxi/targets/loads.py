"""loads: Load, what a target holds of a trip file."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from include.nyc_taxi.month import Month
from include.nyc_taxi.trip_file import TripFile

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime


@dataclass(frozen=True)
class Load:
    """What a target holds of a trip file: a row of its ledger, or what the lake's own file says of itself.

    `target_table` is the table, or the file's address in the lake. `seconds`, `dag_id` and `run_id` are None in the
    lake, whose files do not say who wrote them.
    """

    file: TripFile
    target: str
    target_table: str
    loaded_at: datetime
    source_url: str
    source_etag: str | None
    source_sha256: str
    source_bytes: int
    rows_read: int
    rows_loaded: int
    rows_rejected: int
    rejected_by_reason: Mapping[str, int]
    schema_era: str
    quality_profile: str
    rule_hits: Mapping[str, int] | None = None
    rows_expected: int | None = None
    seconds: float | None = None
    dag_id: str | None = None
    run_id: str | None = None
    source: str | None = None
    source_last_modified: str | None = None
    edition_number: int | None = None
    unknown_columns: str | None = None
    asked_at: str | None = None
    asked_for: str | None = None

    def __post_init__(self) -> None:
        if self.source is None:  # a ledger of an earlier version leaves it to the era, whose name begins with it
            object.__setattr__(self, "source", self.schema_era.rsplit("-", 2)[0])


LOAD_FIELDS = {each.name for each in fields(Load)} - {"file"}


def loads_of(rows: Iterable[Mapping[str, Any]]) -> dict[TripFile, Load]:
    """The loads that rows of a ledger tell of; of several rows of one file, the last in order."""
    return {
        file: Load(file=file, **{name: row[name] for name in LOAD_FIELDS if name in row})
        for row in rows
        for file in [TripFile(row["service"], Month.parse(row["month"]))]
    }
