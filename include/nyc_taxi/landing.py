"""landing: a raw file becomes accepted rows in data/ and rejected rows in rejects/, in one pass and bounded memory."""

from __future__ import annotations

import hashlib
import json
import logging
from collections import Counter
from contextlib import ExitStack, contextmanager, suppress
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

# Raise it when the same raw bytes would become other rows, so that what was landed before is landed again.
_VERSION = 2
FILE_MONTH = "file_month"
_FILE_MONTH_SAYS = "The month of the published file, as its first day; files hold some trips of other months."
_METADATA_KEY = b"nyc_taxi"
_ROW_GROUP_ROWS = 1 << 16
# Rejected rows come in drops, each a slice that holds on to its own buffers: let few of them wait.
_REJECTS_GROUP_ROWS = 1 << 14
_ZSTD_LEVEL = 3


@dataclass(frozen=True)
class Landed:
    """What lies in data/ for a trip file: where it came from, what it was taken for, and its counts.

    `recipe` is a digest of the published file and of everything that made the rows what they are; equal recipes mean
    equal rows. `rule_hits` are the rows that each quality rule hits, whether the profile rejects by it or not, but for
    the rules that need a look at the whole file; `rows_expected` those that were once seen in this published file,
    where that is known.
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
        """Rows that say that nobody rode."""
        return self.rule_hits.get(quality.NO_PASSENGERS, 0)

    @property
    def without_passengers_kept(self) -> int:
        """Those of them that were accepted; no other rule comes before this one."""
        return self.without_passengers_read - self.rejected_by_reason.get(quality.NO_PASSENGERS, 0)


def data_schema(service: str) -> pa.Schema:
    """The schema of a service's files in data/: its columns, and the month of the file as a date."""
    return arrow_schema(service).append(pa.field(FILE_MONTH, pa.date32(), metadata={"description": _FILE_MONTH_SAYS}))


def landed(lake: Lake, file: TripFile) -> Landed | None:
    """What data/ and rejects/ hold for the file; None where they hold nothing, nothing whole, or not of one pass."""
    return _of_one_pass(lake, [rejects_key(file), data_key(file)])


def whole(file: TripFile, lake: Lake) -> Landed:
    """What data/ holds for the file, for who wants to load it.

    Raises:
        NotInLake: it holds nothing.
        LakeChanged: it is not of one pass with its rejects, as another run is landing the month.
    """
    there = landed(lake, file)
    if there is None and lake.size(data_key(file)) is not None:
        raise LakeChanged(
            f"{file}: {lake.url(data_key(file))} is not of one pass with its rejects: a run lands it anew"
        )
    if there is None:
        raise NotInLake(f"{file}: {lake.url(data_key(file))} is not there: land it first")
    return there


def _of_one_pass(lake: Lake, keys: Collection[str]) -> Landed | None:
    descriptions = [_description(lake, key) for key in keys]
    return descriptions[0] if len(set(map(repr, descriptions))) == 1 else None


def described(data: parquet.ParquetFile) -> Landed | None:
    """What an opened file of data/ or rejects/ says of the pass that wrote it."""
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
    """Stage the raw file's rows and publish them: `stage` and `publish` in one."""
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
    """Read the raw file once and stage its accepted and its rejected rows; do nothing where just these lie already.

    Raises:
        NotInLake: the raw file is not there.
        SchemaMismatch: the file's columns or values are not those of its era.
        DamagedFile: the raw file is cut, or holds no row.
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
    with ExitStack() as stack:
        raw = stack.enter_context(lake.local(raw_key(file, source)))
        if sha256_of(raw) != manifest.sha256:
            raise LakeChanged(f"{file}: {raw.name} is not what its manifest says: another run is replacing it")
        data = stack.enter_context(lake.staged(keys[data_key(file)]))
        rejects = stack.enter_context(lake.staged(keys[rejects_key(file)]))
        reading = stack.enter_context(read(raw, file, source=source, unknown_columns=unknown_columns))
        tally = _Tally(Progress(file.name, "rows", reading.rows))
        schema = arrow_schema(file.service)
        with (
            _writer(data, data_schema(file.service), _ROW_GROUP_ROWS) as accepted,
            _writer(rejects, quality.rejects_schema(schema), _REJECTS_GROUP_ROWS) as rejected,
        ):
            _sort(reading, profile, tally, accepted, rejected)
            result = _result(tally, reading, recipe, manifest, profile)
            accepted.describe(result)
            rejected.describe(result)
        _check_counts(reading, result, data, rejects)
        if _manifest(file, lake, source).sha256 != manifest.sha256:
            raise LakeChanged(f"{file}: {raw.name} was replaced by another run while this one read it")
    log.info(
        "%s: read and accepted %s of %s rows in %.1f s (%s rows/s), rejected %s",
        file,
        f"{result.rows_accepted:,}",
        f"{result.rows_read:,}",
        tally.progress.seconds,
        f"{tally.progress.rate:,.0f}",
        result.rejected_by_reason or "none",
    )
    return result


def check(file: TripFile, lake: Lake, recipe: str) -> int:
    """Read the accepted rows of a recipe to their end, staged or published; returns their size in bytes.

    Raises:
        CountMismatch: they are not as many as their file says.
        LakeChanged: they are neither staged nor published: another run landed the month meanwhile, or a day has passed.
    """
    with lake.local(_staged_or_published(file, lake, recipe)) as path:
        size = path.stat().st_size
        # With pre_buffer, Arrow would hold the whole file by the end.
        with parquet.ParquetFile(path, pre_buffer=False) as data:
            promised = described(data)
            rows = sum(batch.num_rows for batch in data.iter_batches(_ROW_GROUP_ROWS, use_threads=False))
    if promised is None or promised.recipe != recipe:
        raise LakeChanged(f"{file}: what was staged is not there: another run landed the month meanwhile")
    if rows != promised.rows_accepted:
        raise CountMismatch(f"{file}: {rows:,} rows can be read, {promised.rows_accepted:,} were accepted")
    log.info("%s: %s rows in %s bytes can be read", file, f"{rows:,}", f"{size:,}")
    return size


def publish(file: TripFile, lake: Lake, recipe: str) -> Landed:
    """Put the staged rows of a recipe into data/ and rejects/; do nothing where they lie there already.

    Raises:
        LakeChanged: they are neither staged nor published: another run landed the month meanwhile.
    """
    moved = 0
    for key, staged in staging_keys(file, recipe).items():
        with suppress(FileNotFoundError):
            lake.move(staged, key)
            moved += 1
    there = landed(lake, file)
    if there is None or there.recipe != recipe:
        raise LakeChanged(f"{file}: data/ does not hold what was staged: another run landed the month meanwhile")
    if moved:
        log.info("%s: published in %s", file, lake.url(data_key(file)))
    return there


def preview(file: TripFile, lake: Lake, recipe: str, rows: int) -> pa.Table:
    """The first accepted rows of a recipe, staged or published, in the canonical schema."""
    with lake.open(_staged_or_published(file, lake, recipe)) as opened, parquet.ParquetFile(opened) as data:
        return pa.Table.from_batches(list(islice(data.iter_batches(rows), 1)), data.schema_arrow)


def nulls(file: TripFile, lake: Lake) -> dict[str, int]:
    """How many rows of data/ have no value, by column, as the file's statistics say."""
    with lake.open(data_key(file)) as opened, parquet.ParquetFile(opened) as data:
        return null_counts(data)


def null_counts(data: parquet.ParquetFile) -> dict[str, int]:
    """How many rows of an opened file of data/ have no value, by column."""
    nulls: Counter[str] = Counter(dict.fromkeys(data.schema_arrow.names, 0))
    for group in map(data.metadata.row_group, range(data.metadata.num_row_groups)):
        for column in map(group.column, range(group.num_columns)):
            nulls[column.path_in_schema] += column.statistics.null_count
    return dict(nulls)


def _staged_or_published(file: TripFile, lake: Lake, recipe: str) -> str:
    for key in (staging_keys(file, recipe)[data_key(file)], data_key(file)):
        if lake.size(key) is not None:
            return key
    raise LakeChanged(f"{file}: what was staged is not there: it waits for a day at most")


def _manifest(file: TripFile, lake: Lake, source: str) -> Manifest:
    key = raw_key(file, source)
    manifest = lake.manifest(key)
    if manifest is not None:
        return manifest
    if lake.size(key) is not None:
        raise LakeChanged(f"{file}: {lake.url(key)} has no manifest: another run is replacing it, or was killed")
    raise NotInLake(f"{file}: {lake.url(key)} is not there: fetch it first")


class _Tally:
    """The counts of one pass over a file, and its progress."""

    def __init__(self, progress: Progress) -> None:
        self.progress = progress
        self.read = 0
        self.rejected: Counter[str] = Counter()
        self.hits: Counter[str] = Counter()


def _sort(reading: Reading, profile: str, tally: _Tally, accepted: _Rows, rejected: _Rows) -> None:
    """Send every row to one of the two files, and count it."""
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
        raise DamagedFile(f"{reading.file}: the file has a header and no row")


def _dated(rows: pa.RecordBatch, month: bytes) -> pa.RecordBatch:
    """The rows with the file's month, which is given as an Arrow date32."""
    # pa.array would import pandas wherever Airflow has.
    months = pa.Array.from_buffers(pa.date32(), rows.num_rows, [None, pa.py_buffer(month * rows.num_rows)])
    return rows.append_column(FILE_MONTH, months)


class _Rows:
    """A parquet file being written, in row groups of one size whatever the size of the batches."""

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
        # Times hardly repeat: a dictionary of them is built in vain.
        use_dictionary=[name for name in schema.names if name not in times],
    ) as writer:
        rows = _Rows(writer, group_rows)
        yield rows
        rows.flush()


def _recipe(file: TripFile, manifest: Manifest, source: str, profile: str, unknown_columns: UnknownColumns) -> str:
    """A digest of all that decides which rows the file becomes, and of what the publisher calls it."""
    schema = [f"{field.name} {field.type}" for field in arrow_schema(file.service)]
    rejecting = quality.rejecting(profile)
    rules = [f"{rule.name}: {rule.says}" for rule in quality.rules(file.service) if rule.name in rejecting]
    # The ETag too: else a file that is published anew with the same bytes would be outdated in every target for good.
    ingredients = [_VERSION, manifest.sha256, manifest.etag, source, profile, rejecting, rules, unknown_columns, schema]
    return hashlib.sha256(json.dumps(ingredients).encode()).hexdigest()[:16]


def _result(tally: _Tally, reading: Reading, recipe: str, manifest: Manifest, profile: str) -> Landed:
    rejected = tally.rejected.total()
    expected = catalog.expected(reading.file, manifest.source)
    if expected is not None and expected.rows != tally.read:
        log.warning(
            "%s: %s rows were read, and %s were there on %s: the publisher replaced the file, or it is damaged",
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
    """Believe the files that were written, not the loop that wrote them."""
    accepted, rejected = (parquet.read_metadata(path).num_rows for path in (data, rejects))
    promised = result.rows_read if reading.rows is None else reading.rows
    if not promised == result.rows_read == accepted + rejected or accepted != result.rows_accepted:
        raise CountMismatch(
            f"{reading.file}: the file has {promised:,} rows, {result.rows_read:,} were read, "
            f"{accepted:,} accepted and {rejected:,} rejected: these do not add up"
        )
