"""landing: split a raw file into accepted rows (data/) and rejected rows (rejects/), in one pass and bounded memory."""

from __future__ import annotations

import hashlib
import json
import logging
from collections import Counter
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import date
from itertools import islice
from typing import TYPE_CHECKING

import pyarrow as pa
from pyarrow import parquet

from include.nyc_taxi import catalog, quality
from include.nyc_taxi.errors import CountMismatch, DamagedFile, LakeChanged, NotInLake
from include.nyc_taxi.lake import data_key, raw_key, rejects_key, sha256_of, staging_keys
from include.nyc_taxi.progress import Progress
from include.nyc_taxi.reading import arrow_schema, read

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from pathlib import Path

    from include.nyc_taxi.lake import Lake, Manifest
    from include.nyc_taxi.reading import Reading, UnknownColumns
    from include.nyc_taxi.trip_file import TripFile

log = logging.getLogger(__name__)

# Raise it when the same raw bytes would become other rows, so that every month is landed again.
_VERSION = 2
FILE_MONTH = "file_month"
_FILE_MONTH_DESCRIPTION = "The first day of the published file's month; a file has some trips of other months."
_METADATA_KEY = b"nyc_taxi"
_ROW_GROUP_ROWS = 1 << 16
# Rejected slices pin their whole batch in memory, so flush them often.
_REJECTS_GROUP_ROWS = 1 << 14
_ZSTD_LEVEL = 3


@dataclass(frozen=True)
class Landed:
    """Describes what data/ holds of a trip file: its source, its era and its counts of rows.

    `recipe` is a digest of the published file and of everything else that decides its rows: equal recipes mean equal
    rows. `rule_hits` counts the rows that each quality rule hits, whether the profile rejects by it or not; rules that
    need a second pass are counted only if the profile rejects by them. `rows_expected` is the number of rows that this
    published file once had, None if unknown.
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

    @property
    def without_passengers_read(self) -> int:
        """How many rows of the file have a passenger_count of 0."""
        return self.rule_hits.get(quality.NO_PASSENGERS, 0)

    @property
    def without_passengers_kept(self) -> int:
        """How many accepted rows have a passenger_count of 0; this rule comes first, so no other rejects them."""
        return self.without_passengers_read - self.rejected_by_reason.get(quality.NO_PASSENGERS, 0)


def data_schema(service: str) -> pa.Schema:
    """Return the schema of a service's files in data/: its columns, then `file_month` as a date."""
    return arrow_schema(service).append(
        pa.field(FILE_MONTH, pa.date32(), metadata={"description": _FILE_MONTH_DESCRIPTION})
    )


def landed(lake: Lake, file: TripFile) -> Landed | None:
    """Return what data/ and rejects/ hold of the file; None if they hold nothing, or not the results of one pass."""
    return _of_one_pass(lake, [rejects_key(file), data_key(file)])


def whole(file: TripFile, lake: Lake) -> Landed:
    """Return what data/ holds of the file, for a target that is about to load it.

    Raises:
        NotInLake: data/ does not hold the file.
        LakeChanged: data/ and rejects/ are of different passes, because another run is landing the month.
    """
    there = landed(lake, file)
    if there is None and lake.size(data_key(file)) is not None:
        raise LakeChanged(
            f"{file}: {lake.url(data_key(file))} and its rejects are of different passes; another run is landing it"
        )
    if there is None:
        raise NotInLake(f"{file}: {lake.url(data_key(file))} is not there: land it first")
    return there


def _of_one_pass(lake: Lake, keys: Collection[str]) -> Landed | None:
    descriptions = [_description(lake, key) for key in keys]
    return descriptions[0] if len(set(map(repr, descriptions))) == 1 else None


def described(data: parquet.ParquetFile) -> Landed | None:
    """Read the description that the pass wrote into an opened file of data/ or rejects/; None if there is none."""
    try:
        return Landed(**json.loads(data.metadata.metadata[_METADATA_KEY]))
    except (KeyError, TypeError, ValueError):
        return None


def _description(lake: Lake, key: str) -> Landed | None:
    try:
        with lake.open(key) as file, parquet.ParquetFile(file) as data:
            return described(data)
    except (FileNotFoundError, pa.ArrowException):
        return None


def land(
    file: TripFile,
    lake: Lake,
    *,
    source: str = "official",
    profile: str = "notes",
    unknown_columns: UnknownColumns = "error",
    force: bool = False,
) -> Landed:
    """Stage the raw file's rows and commit them: `stage` and `publish` in one.

    Args:
        file: the service and month.
        lake: the lake that has the raw file.
        source: the source of the raw file.
        profile: the quality profile, which decides what is rejected.
        unknown_columns: whether a column that the catalogue does not have is an error or is dropped.
        force: land the file even if data/ already has these rows.

    Raises: as `stage` and `publish`.
    """
    staged = stage(file, lake, source=source, profile=profile, unknown_columns=unknown_columns, force=force)
    return publish(file, lake, staged.recipe)


def stage(
    file: TripFile,
    lake: Lake,
    *,
    source: str = "official",
    profile: str = "notes",
    unknown_columns: UnknownColumns = "error",
    force: bool = False,
) -> Landed:
    """Read the raw file once and stage its accepted and its rejected rows, unless data/ has them already.

    Args: as `land`.

    Raises:
        NotInLake: the raw file is not there.
        SchemaMismatch: the file's columns or values are not those of its era.
        DamagedFile: the raw file is cut or has no rows.
        CountMismatch: the rows written are not the rows read.
        LakeChanged: another run replaced the raw file meanwhile.
    """
    quality.rejecting(profile)
    manifest = _manifest(file, lake, source)
    recipe = _recipe(file, manifest, source, profile, unknown_columns)
    there = None if force else landed(lake, file)
    if there is not None and there.recipe == recipe:
        log.info("%s: data/ already holds its %s rows of this source and profile", file, f"{there.rows_accepted:,}")
        return there
    keys = staging_keys(file, recipe)
    with lake.local(raw_key(file, source)) as raw:
        if sha256_of(raw) != manifest.sha256:
            raise LakeChanged(f"{file}: {raw.name} is not what its manifest describes; another run is replacing it")
        with (
            lake.staged(keys[data_key(file)]) as data,
            lake.staged(keys[rejects_key(file)]) as rejects,
            read(raw, file, source=source, unknown_columns=unknown_columns) as reading,
        ):
            result, progress = _written(reading, data, rejects, manifest=manifest, recipe=recipe, profile=profile)
            if _manifest(file, lake, source).sha256 != manifest.sha256:
                raise LakeChanged(f"{file}: another run replaced {raw.name} while this run read it")
    _log_staged(result, file, progress)
    return result


def _written(
    reading: Reading, data: Path, rejects: Path, *, manifest: Manifest, recipe: str, profile: str
) -> tuple[Landed, Progress]:
    """Write every row into one of the two files, and describe the pass in both."""
    file = reading.file
    tally = _Tally(Progress(file.name, "rows", reading.rows))
    with (
        _writer(data, data_schema(file.service), _ROW_GROUP_ROWS) as accepted,
        _writer(rejects, quality.rejects_schema(arrow_schema(file.service)), _REJECTS_GROUP_ROWS) as rejected,
    ):
        _sort(reading, profile, tally, accepted, rejected)
        result = _result(tally, reading, recipe, manifest, profile)
        accepted.describe(result)
        rejected.describe(result)
    _check_counts(reading, result, data, rejects)
    return result, tally.progress


def _log_staged(result: Landed, file: TripFile, progress: Progress) -> None:
    log.info(
        "%s: accepted %s of %s rows in %.1f s (%s rows/s), rejected %s",
        file,
        f"{result.rows_accepted:,}",
        f"{result.rows_read:,}",
        progress.seconds,
        f"{progress.rate:,.0f}",
        result.rejected_by_reason or "none",
    )


def check(file: TripFile, lake: Lake, recipe: str) -> int:
    """Read the accepted rows of a recipe to their end, staged or committed, and return their size in bytes.

    Raises:
        CountMismatch: the file has another number of rows than it states.
        LakeChanged: they are neither staged nor committed: another run landed the month meanwhile, or a day has passed.
    """
    with lake.local(_staged_or_published(file, lake, recipe)) as path:
        size = path.stat().st_size
        # With pre_buffer, Arrow would hold the whole file by the end.
        with parquet.ParquetFile(path, pre_buffer=False) as data:
            promised = described(data)
            rows = sum(batch.num_rows for batch in data.iter_batches(_ROW_GROUP_ROWS, use_threads=False))
    if promised is None or promised.recipe != recipe:
        raise LakeChanged(f"{file}: the staged rows are gone: another run landed the month meanwhile; land it again")
    if rows != promised.rows_accepted:
        raise CountMismatch(f"{file}: {rows:,} rows can be read, expected {promised.rows_accepted:,} accepted rows")
    log.info("%s: checked %s rows in %s bytes", file, f"{rows:,}", f"{size:,}")
    return size


def publish(file: TripFile, lake: Lake, recipe: str) -> Landed:
    """Commit the staged rows of a recipe to data/ and rejects/, unless they are there already.

    Raises:
        LakeChanged: they are neither staged nor committed: another run landed the month meanwhile.
    """
    moved = 0
    for key, staged in staging_keys(file, recipe).items():
        with suppress(FileNotFoundError):
            lake.move(staged, key)
            moved += 1
    there = landed(lake, file)
    if there is None or there.recipe != recipe:
        raise LakeChanged(f"{file}: data/ has other rows than were staged: another run landed the month meanwhile")
    if moved:
        log.info("%s: committed to %s", file, lake.url(data_key(file)))
    return there


def preview(file: TripFile, lake: Lake, recipe: str, rows: int) -> pa.Table:
    """Return the first accepted rows of a recipe, staged or committed, in the schema of data/."""
    with lake.open(_staged_or_published(file, lake, recipe)) as opened, parquet.ParquetFile(opened) as data:
        return pa.Table.from_batches(list(islice(data.iter_batches(rows), 1)), data.schema_arrow)


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


def _staged_or_published(file: TripFile, lake: Lake, recipe: str) -> str:
    for key in (staging_keys(file, recipe)[data_key(file)], data_key(file)):
        if lake.size(key) is not None:
            return key
    raise LakeChanged(f"{file}: the staged rows are gone: they are kept for a day; land the file again")


def _manifest(file: TripFile, lake: Lake, source: str) -> Manifest:
    key = raw_key(file, source)
    manifest = lake.manifest(key)
    if manifest is not None:
        return manifest
    if lake.size(key) is not None:
        raise LakeChanged(f"{file}: {lake.url(key)} has no manifest: another run is replacing it, or was killed")
    raise NotInLake(f"{file}: {lake.url(key)} is not there: fetch it first")


class _Tally:
    """Counts the rows of one pass over a file."""

    def __init__(self, progress: Progress) -> None:
        self.progress = progress
        self.read = 0
        self.rejected: Counter[str] = Counter()
        self.hits: Counter[str] = Counter()


def _sort(reading: Reading, profile: str, tally: _Tally, accepted: _Rows, rejected: _Rows) -> None:
    """Write every row into one of the two files, and count it."""
    service, rejecting = reading.file.service, quality.rejecting(profile)
    rules = quality.rules(service) + quality.whole_file_rules(service, profile, reading.look_through)
    month = (reading.file.month.first_day - date(1970, 1, 1)).days.to_bytes(4, "little")
    for trips in reading.batches:
        hits = quality.hits(trips, reading.file, rules)
        kept, left_out = quality.split(trips, hits, rejecting)
        accepted.write(_dated(kept, month))
        for reason, rows in left_out.items():
            rejected.write(quality.with_reason(rows, reason))
            tally.rejected[reason] += rows.num_rows
        tally.hits.update({rule: hit.true_count for rule, hit in hits.items()})
        tally.read += trips.num_rows
        tally.progress.advance(trips.num_rows)
    for rows, values in reading.misfits.rows:
        rejected.write(quality.with_reason(rows, quality.DOES_NOT_FIT, values))
        tally.rejected[quality.DOES_NOT_FIT] += rows.num_rows
        tally.hits[quality.DOES_NOT_FIT] += rows.num_rows
        tally.read += rows.num_rows
    if tally.read == 0:
        raise DamagedFile(f"{reading.file}: the file has a header and no rows")


def _dated(rows: pa.RecordBatch, month: bytes) -> pa.RecordBatch:
    """Add the file's month, given as the four bytes of a date32, to each row."""
    # pa.array imports pandas where it is installed, and Airflow installs it.
    months = pa.Array.from_buffers(pa.date32(), rows.num_rows, [None, pa.py_buffer(month * rows.num_rows)])
    return rows.append_column(FILE_MONTH, months)


class _Rows:
    """Writes a Parquet file in row groups of one size, whatever the size of the batches."""

    def __init__(self, writer: parquet.ParquetWriter, group_rows: int) -> None:
        self._writer = writer
        self._group_rows = group_rows
        self._waiting: list[pa.RecordBatch] = []
        self._rows = 0

    def write(self, batch: pa.RecordBatch) -> None:
        self._waiting.append(batch)
        self._rows += batch.num_rows
        if self._rows >= self._group_rows:
            self.flush()

    def flush(self) -> None:
        if self._rows:
            self._writer.write_table(pa.Table.from_batches(self._waiting), row_group_size=self._rows)
        self._waiting, self._rows = [], 0

    def describe(self, result: Landed) -> None:
        self._writer.add_key_value_metadata({_METADATA_KEY: json.dumps(asdict(result))})


@contextmanager
def _writer(path: Path, schema: pa.Schema, group_rows: int) -> Iterator[_Rows]:
    times = {field.name for field in schema if pa.types.is_timestamp(field.type)}
    with parquet.ParquetWriter(
        path,
        schema,
        compression="zstd",
        compression_level=_ZSTD_LEVEL,
        # Times hardly repeat, so a dictionary of them only costs time.
        use_dictionary=[name for name in schema.names if name not in times],
    ) as writer:
        rows = _Rows(writer, group_rows)
        yield rows
        rows.flush()


def _recipe(file: TripFile, manifest: Manifest, source: str, profile: str, unknown_columns: UnknownColumns) -> str:
    """Return a digest of everything that decides the file's rows, and of its ETag."""
    schema = [f"{field.name} {field.type}" for field in arrow_schema(file.service)]
    rejecting = quality.rejecting(profile)
    rules = [f"{rule.name}: {rule.description}" for rule in quality.rules(file.service) if rule.name in rejecting]
    # Without the ETag, a file that is republished with the same bytes would stay outdated in every target.
    ingredients = [_VERSION, manifest.sha256, manifest.etag, source, profile, rejecting, rules, unknown_columns, schema]
    return hashlib.sha256(json.dumps(ingredients).encode()).hexdigest()[:16]


def _result(tally: _Tally, reading: Reading, recipe: str, manifest: Manifest, profile: str) -> Landed:
    rejected = tally.rejected.total()
    expected = catalog.expected(reading.file, manifest.source)
    if expected is not None and expected.rows != tally.read:
        log.warning(
            "%s: read %s rows, expected the %s of %s: the publisher replaced the file, or it is damaged",
            reading.file,
            f"{tally.read:,}",
            f"{expected.rows:,}",
            expected.last_modified,
        )
    return Landed(
        recipe=recipe,
        source=manifest.source,
        source_url=manifest.url,
        source_etag=manifest.etag,
        source_sha256=manifest.sha256,
        source_bytes=manifest.bytes,
        schema_era=reading.era.name,
        quality_profile=profile,
        rows_read=tally.read,
        rows_accepted=tally.read - rejected,
        rows_rejected=rejected,
        rejected_by_reason=dict(tally.rejected),
        rule_hits={rule: count for rule, count in tally.hits.items() if count},
        rows_expected=expected.rows if expected else None,
    )


def _check_counts(reading: Reading, result: Landed, data: Path, rejects: Path) -> None:
    """Compare the counts with the files that were written, not with the loop that wrote them."""
    accepted, rejected = (parquet.read_metadata(path).num_rows for path in (data, rejects))
    promised = result.rows_read if reading.rows is None else reading.rows
    if not promised == result.rows_read == accepted + rejected or accepted != result.rows_accepted:
        raise CountMismatch(
            f"{reading.file}: the file has {promised:,} rows, but {result.rows_read:,} were read, "
            f"{accepted:,} accepted and {rejected:,} rejected"
        )
