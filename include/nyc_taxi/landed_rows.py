"""landed_rows: what data/ and rejects/ hold of a trip file, for those who read it.

A load imports this and not `landing`, which reads published files of every kind and so takes longer to import.
"""

from __future__ import annotations

import json
import logging
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, BinaryIO

import pyarrow as pa
from pyarrow import parquet

from include.nyc_taxi import seal
from include.nyc_taxi.errors import LakeChanged, NotInLake
from include.nyc_taxi.lake import METADATA_KEY, data_key, rejects_key
from include.nyc_taxi.precedence import Claim, claim_of

if TYPE_CHECKING:
    from include.nyc_taxi.lake import Lake
    from include.nyc_taxi.trip_file import TripFile

log = logging.getLogger(__name__)

FILE_MONTH = "file_month"
_BUFFER_BYTES = 1 << 20


@dataclass(frozen=True)
class Landed:
    """Describes what data/ holds of a trip file: its source, its era and its counts of rows.

    `recipe` is a digest of the published file and of everything else that decides its rows: equal recipes mean equal
    rows. `rule_hits` counts the rows that each quality rule hits, whether the profile rejects by it or not; rules that
    need a second pass are counted only if the profile rejects by them. `rows_expected` is the number of rows that this
    published file once had, None if unknown. The fields from `unknown_columns` on, which files of an earlier version
    lack, decide what these rows come before and after.
    """

    recipe: str
    source: str
    source_url: str
    source_etag: str | None
    source_sha256: str
    source_bytes: int
    schema_era: str
    quality_profile: str
    rows_read: int
    rows_accepted: int
    rows_rejected: int
    rejected_by_reason: dict[str, int]
    rule_hits: dict[str, int]
    rows_expected: int | None
    unknown_columns: str = "error"
    source_last_modified: str | None = None
    edition_number: int = 0
    asked_at: str = field(default="", compare=False)
    asked_for: str | None = field(default=None, compare=False)

    @property
    def claim(self) -> Claim:
        """What these rows come before and after."""
        return claim_of(vars(self))

    @property
    def pin(self) -> str | None:
        """The edition that somebody asked for by name, as `edition=...`; None for the current one."""
        return self.claim.pin

    @property
    def without_passengers_read(self) -> int:
        """How many rows of the file have a passenger_count of 0."""
        from include.nyc_taxi.quality import NO_PASSENGERS

        return self.rule_hits.get(NO_PASSENGERS, 0)

    @property
    def without_passengers_kept(self) -> int:
        """How many accepted rows have a passenger_count of 0; this rule comes first, so no other rejects them."""
        from include.nyc_taxi.quality import NO_PASSENGERS

        return self.without_passengers_read - self.rejected_by_reason.get(NO_PASSENGERS, 0)


def landed(lake: Lake, file: TripFile) -> Landed | None:
    """Return what data/ and rejects/ hold of the file; None if they hold nothing, or results of different passes."""
    rejected, accepted = (described_at(lake, key) for key in (rejects_key(file), data_key(file)))
    return accepted if accepted == rejected else None


def whole(file: TripFile, lake: Lake) -> Landed:
    """Return what data/ holds of the file, for a target that is about to load it.

    Raises:
        NotInLake: data/ does not hold the file.
        LakeChanged: data/ and rejects/ are of different passes, because another run is landing the month.
        DamagedData: one of the two files is damaged.
    """
    there = landed(lake, file)
    if there is not None:
        return there
    if lake.size(data_key(file)) is None:
        raise NotInLake(f"{file}: {lake.url(data_key(file))} is not there: land it first")
    for key in (data_key(file), rejects_key(file)):
        with suppress(FileNotFoundError), seal.intact(lake, key) as opened:
            parquet.ParquetFile(opened).close()
    raise LakeChanged(
        f"{file}: {lake.url(data_key(file))} and its rejects are of different passes; another run is landing it"
    )


def to_load(file: TripFile, lake: Lake, found: Claim | None = None) -> Landed:
    """Return what data/ holds of the file, for a run that has landed or found rows with the claim `found`.

    A newer edition on the same terms that another run has landed meanwhile is taken in its place.

    Raises:
        NotInLake: data/ does not hold the file.
        Superseded: data/ holds what a person asked for later.
        LakeChanged: data/ holds something else, because another run is landing the month.
    """
    there = whole(file, lake)
    mine, other = found, there.claim
    if mine is None or (other.recipe, other.pin) == (mine.recipe, mine.pin):
        return there
    is_plain = mine.terms == other.terms and not (mine.wish.asked_for or other.wish.asked_for)
    if is_plain and other.comes_after(mine):
        log.info("%s: %s is superseded: going on with %s", file, mine, other)
        return there
    mine.check(other, f"{file}: data/")
    raise LakeChanged(f"{file}: data/ has other rows than this run landed: another run landed the month meanwhile")


def reader(opened: BinaryIO) -> parquet.ParquetFile:
    """Read a file of data/ or rejects/ in bounded memory, with the checksums of its pages verified."""
    # With pre_buffer, Arrow would hold the whole file by the end.
    return parquet.ParquetFile(opened, buffer_size=_BUFFER_BYTES, pre_buffer=False, page_checksum_verification=True)


def described(data: parquet.ParquetFile) -> Landed | None:
    """Read the description that the pass wrote into an opened file of data/ or rejects/; None if there is none."""
    try:
        return Landed(**json.loads(data.metadata.metadata[METADATA_KEY]))
    except (KeyError, TypeError, ValueError):
        return None


def described_at(lake: Lake, key: str) -> Landed | None:
    """Read the description of an object of data/ or rejects/; None if there is none, or it cannot be read."""
    try:
        with lake.open(key) as file, parquet.ParquetFile(file) as data:
            return described(data)
    except FileNotFoundError:
        return None
    except (pa.ArrowException, OSError) as error:
        if not seal.is_unreadable(error):
            raise
        return None


def nulls(file: TripFile, lake: Lake) -> dict[str, int]:
    """Return how many rows of data/ are null, by column, from the file's statistics."""
    with lake.open(data_key(file)) as opened, parquet.ParquetFile(opened) as data:
        return null_counts(data)


def null_counts(data: parquet.ParquetFile) -> dict[str, int]:
    """Return how many rows of an opened file of data/ are null, by column."""
    nulls: Counter[str] = Counter(dict.fromkeys(data.schema_arrow.names, 0))
    for group in map(data.metadata.row_group, range(data.metadata.num_row_groups)):
        for column in map(group.column, range(group.num_columns)):
            nulls[column.path_in_schema] += column.statistics.null_count
    return dict(nulls)
