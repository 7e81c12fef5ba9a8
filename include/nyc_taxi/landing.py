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
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from pyarrow import parquet

from include.nyc_taxi import catalog, editions, plausibility, quality, republication, seal
from include.nyc_taxi.errors import CountMismatch, DamagedFile, LakeChanged, NotInLake
from include.nyc_taxi.lake import METADATA_KEY, data_key, raw_key, rejects_key, sha256_of, staging_keys
from include.nyc_taxi.landed_rows import (
    FILE_MONTH,
    Landed,
    described,
    described_at,
    landed,
    null_counts,
    nulls,
    reader,
    to_load,
    whole,
)
from include.nyc_taxi.precedence import Claim, Wish, claim_of, pin_of
from include.nyc_taxi.progress import Progress
from include.nyc_taxi.reading import arrow_schema, read

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from include.nyc_taxi.editions import Edition
    from include.nyc_taxi.lake import Lake
    from include.nyc_taxi.reading import Reading, UnknownColumns
    from include.nyc_taxi.trip_file import TripFile

__all__ = [
    "FILE_MONTH",
    "Landed",
    "check",
    "data_schema",
    "described",
    "land",
    "landed",
    "null_counts",
    "nulls",
    "preview",
    "publish",
    "reader",
    "stage",
    "to_load",
    "whole",
]

log = logging.getLogger(__name__)

# Raise it when the same raw bytes would become other rows, so that every month is landed again.
_VERSION = 3
_FILE_MONTH_DESCRIPTION = "The first day of the published file's month; a file has some trips of other months."
_ROW_GROUP_ROWS = 1 << 16
# Rejected slices pin their whole batch in memory, so flush them often.
_REJECTS_GROUP_ROWS = 1 << 14
_ZSTD_LEVEL = 3
_COMMITS = 20


def data_schema(service: str) -> pa.Schema:
    """Return the schema of a service's files in data/: its columns, then `file_month` as a date."""
    return arrow_schema(service).append(
        pa.field(FILE_MONTH, pa.date32(), metadata={"description": _FILE_MONTH_DESCRIPTION})
    )


def land(
    file: TripFile,
    lake: Lake,
    *,
    source: str = "official",
    edition: str | None = None,
    profile: str = "notes",
    unknown_columns: UnknownColumns = "error",
    accept_implausible: bool = False,
    force: bool = False,
    wish: Wish | None = None,
) -> Landed:
    """Stage an edition's rows and commit them: `stage` and `publish` in one.

    Args:
        file: the service and month.
        lake: the lake that has the edition.
        source: the source of the edition.
        edition: the sha256 of the edition that the run has fetched; None is the current one.
        profile: the quality profile, which decides what is rejected.
        unknown_columns: whether a column that the catalogue does not have is an error or is dropped.
        accept_implausible: land the file even if most of its pickups lie in another month, or none of its rows is kept.
        force: land the file even if data/ already has these rows.
        wish: what the run was asked for, and when; None is nothing special, now.

    Raises: as `stage` and `publish`.
    """
    staged = stage(
        file,
        lake,
        source=source,
        edition=edition,
        profile=profile,
        unknown_columns=unknown_columns,
        accept_implausible=accept_implausible,
        force=force,
        wish=wish,
    )
    return publish(file, lake, staged.recipe)


def stage(
    file: TripFile,
    lake: Lake,
    *,
    source: str = "official",
    edition: str | None = None,
    profile: str = "notes",
    unknown_columns: UnknownColumns = "error",
    accept_implausible: bool = False,
    force: bool = False,
    wish: Wish | None = None,
) -> Landed:
    """Read an edition once and stage its accepted and its rejected rows, unless data/ has them already.

    If another run has brought a newer edition meanwhile, that one is staged. An edition that follows another one is
    compared with it, and the result is kept with what is known of the editions.

    Args: as `land`.

    Raises:
        NotInLake: the edition is not there.
        Superseded: data/ has rows that come after these.
        ShrunkenEdition: the edition has less than nine tenths of the rows of the one before it.
        SchemaMismatch: the file's columns or values are not those of its era.
        Implausible: most of its pickups lie in another month, or none of its rows is accepted.
        TooLarge: the file is far larger than any known one.
        DamagedFile: the file is cut or has no rows. It was set aside.
        CountMismatch: the rows written are not the rows read.
    """
    quality.rejecting(profile)
    wish = wish or Wish.of(force=force)
    taken = _edition(file, lake, source, edition, wish)
    terms = _Terms(file, taken, profile, unknown_columns, wish)
    there = described_at(lake, data_key(file))
    if there is not None:
        if not force and terms.claim.is_met_by(there.claim) and landed(lake, file) == there:
            log.info("%s: data/ is up to date with %s rows", file, f"{there.rows_accepted:,}")
            return there
        terms.claim.check(there.claim, f"{file}: data/")
    return _staged(lake, terms, there, accept_implausible=accept_implausible)


def _staged(lake: Lake, terms: _Terms, there: Landed | None, *, accept_implausible: bool) -> Landed:
    """Read the edition and stage its rows; `there` is what data/ holds."""
    file, edition, source = terms.file, terms.edition, terms.edition.source
    keys = staging_keys(file, terms.recipe)
    with (
        _damage_set_aside(lake, raw_key(file, source), edition),
        lake.local(edition.key) as raw,
        lake.staged(keys[data_key(file)]) as data,
        lake.staged(keys[rejects_key(file)]) as rejects,
    ):
        if sha256_of(raw) != edition.sha256:
            raise DamagedFile(f"{file}: {raw.name} is not edition {edition.id}")
        with read(raw, file, source=source, unknown_columns=terms.unknown_columns) as reading:
            result, tally = _written(reading, data, rejects, terms)
            figures = _figures(result, tally.pickups, there)
            plausibility.check(reading, figures, accepts=accept_implausible)
        republication.note_rows(
            lake,
            file,
            edition,
            rows=result.rows_read,
            rejected=result.rejected_by_reason,
            is_named=pin_of(terms.wish.asked_for) is not None,
            earlier={there.source_sha256: there.rows_read} if there else {},
        )
        republication.compare_with_previous(lake, file, edition, raw)
    _log_staged(result, file, tally.progress)
    return result


@dataclass(frozen=True)
class _Terms:
    """Everything that decides which rows an edition becomes, and what these come before and after."""

    file: TripFile
    edition: Edition
    profile: str
    unknown_columns: UnknownColumns
    wish: Wish

    @property
    def recipe(self) -> str:
        return _recipe(self.file, self.edition, self.profile, self.unknown_columns)

    @property
    def facts(self) -> dict[str, Any]:
        """The fields of `Landed` that are known before a row is read."""
        return {
            "recipe": self.recipe,
            "source": self.edition.source,
            "source_url": self.edition.url,
            "source_etag": self.edition.etag,
            "source_sha256": self.edition.sha256,
            "source_bytes": self.edition.bytes,
            "source_last_modified": self.edition.last_modified,
            "edition_number": self.edition.number,
            "quality_profile": self.profile,
            "unknown_columns": self.unknown_columns,
            "asked_at": self.wish.asked_at,
            "asked_for": self.wish.asked_for,
        }

    @property
    def claim(self) -> Claim:
        return claim_of(self.facts)


def _edition(file: TripFile, lake: Lake, source: str, sha256: str | None, wish: Wish) -> Edition:
    """Return the edition to land: that of the run, or the current one if it is newer and nobody named one."""
    key = raw_key(file, source)
    known = editions.history(lake, key)
    current = known.current
    taken = known.by_sha256(sha256) if sha256 else current
    if taken is None:
        raise NotInLake(f"{file}: edition {sha256 or 'any'} of {lake.url(key)} is not there: fetch it first")
    if current is not None and current.follows(taken) and pin_of(wish.asked_for) is None:
        log.info("%s: edition %s is superseded: going on with %s", file, taken, current)
        return current
    return taken


@contextmanager
def _damage_set_aside(lake: Lake, key: str, edition: Edition) -> Iterator[None]:
    """Take a file that cannot be read out of raw/, so that the next run downloads it."""
    state = lake.stamp(edition.key)
    try:
        yield
    except FileNotFoundError as error:
        raise NotInLake(f"{lake.url(edition.key)}: the bytes of edition {edition.id} are not kept: fetch it") from error
    except DamagedFile as error:
        editions.set_aside(lake, key, edition, state)
        raise DamagedFile(f"{error}. It was set aside: the next run downloads it") from error


def _written(reading: Reading, data: Path, rejects: Path, terms: _Terms) -> tuple[Landed, _Tally]:
    """Write every row into one of the two files, and describe the pass in both."""
    file = reading.file
    tally = _Tally(Progress(file.name, "rows", reading.rows))
    with (
        _writer(data, data_schema(file.service), _ROW_GROUP_ROWS) as accepted,
        _writer(rejects, quality.rejects_schema(arrow_schema(file.service)), _REJECTS_GROUP_ROWS) as rejected,
    ):
        _sort(reading, terms.profile, tally, accepted, rejected)
        result = _result(tally, reading, terms)
        accepted.describe(result)
        rejected.describe(result)
    seal.seal(data)
    seal.seal(rejects)
    _check_counts(reading, result, data, rejects)
    return result, tally


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
        DamagedData: the file is damaged.
        LakeChanged: they are neither staged nor committed: another run landed the month meanwhile, or a day has passed.
    """
    with seal.intact(lake, _staged_or_published(file, lake, recipe)) as opened, reader(opened) as data:
        promised, size = described(data), opened.seek(0, 2)
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
        Superseded: data/ has rows that come after these.
        LakeChanged: they are neither staged nor committed: another run landed the month meanwhile.
    """
    mine = described_at(lake, staging_keys(file, recipe)[data_key(file)])
    _commit(file, lake, recipe, mine)
    there = described_at(lake, data_key(file))
    if mine is not None and there is not None:
        mine.claim.check(there.claim, f"{file}: data/")
    if there is None or there.recipe != recipe or there != landed(lake, file):
        raise LakeChanged(f"{file}: data/ has other rows than were staged: another run landed the month meanwhile")
    if mine is not None:
        log.info("%s: committed to %s", file, lake.url(data_key(file)))
    return there


def _commit(file: TripFile, lake: Lake, recipe: str, mine: Landed | None) -> None:
    """Move what is staged of a recipe; `mine` describes the staged accepted rows, None if they were moved before."""
    staged, near = staging_keys(file, recipe), {}
    # Both are brought near before either is moved, so that no full disk parts them.
    for key in staged:
        with suppress(FileNotFoundError):
            near[key] = lake.near(staged[key], key)
    # Another run with the same recipe, and so with the same rows, may move them first.
    with suppress(FileNotFoundError):
        if mine is not None and data_key(file) in near:
            _commit_data(file, lake, mine, near[data_key(file)])
    with suppress(FileNotFoundError):
        if rejects_key(file) in near:
            _commit_rejects(file, lake, recipe, near[rejects_key(file)])
    for key, moved in near.items():
        if moved != staged[key]:
            lake.delete(staged[key])


def _commit_data(file: TripFile, lake: Lake, mine: Landed, staged: str) -> None:
    """Put the accepted rows in place, if what is there comes before them: by this the month has changed."""
    for _ in range(_COMMITS):
        stamp = lake.stamp(data_key(file))
        there = described_at(lake, data_key(file))
        if there is not None:
            mine.claim.check(there.claim, f"{file}: data/")
        with suppress(LakeChanged):
            lake.move(staged, data_key(file), stamp)
            return
    raise LakeChanged(f"{file}: other runs committed it {_COMMITS} times meanwhile")


def _commit_rejects(file: TripFile, lake: Lake, recipe: str, staged: str) -> None:
    """Put the rejected rows in place, as long as the accepted ones are of the same recipe."""
    for _ in range(_COMMITS):
        stamp = lake.stamp(rejects_key(file))
        there = described_at(lake, data_key(file))
        if there is None or there.recipe != recipe:
            return  # a run that came after has put its own there, and sees to its own rejects
        with suppress(LakeChanged):
            lake.move(staged, rejects_key(file), stamp)
            return


def preview(file: TripFile, lake: Lake, recipe: str, rows: int) -> pa.Table:
    """Return the first accepted rows of a recipe, staged or committed, in the schema of data/."""
    with lake.open(_staged_or_published(file, lake, recipe)) as opened, parquet.ParquetFile(opened) as data:
        return pa.Table.from_batches(list(islice(data.iter_batches(rows), 1)), data.schema_arrow)


def _staged_or_published(file: TripFile, lake: Lake, recipe: str) -> str:
    for key in (staging_keys(file, recipe)[data_key(file)], data_key(file)):
        if lake.size(key) is not None:
            return key
    raise LakeChanged(f"{file}: the staged rows are gone: they are kept for a day; land the file again")


class _Tally:
    """Counts the rows of one pass over a file."""

    def __init__(self, progress: Progress) -> None:
        self.progress = progress
        self.read = 0
        self.pickups = 0
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
        tally.pickups += trips.num_rows - trips["pickup_datetime"].null_count
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
        self._writer.add_key_value_metadata({METADATA_KEY: json.dumps(asdict(result)).encode()} | seal.UNSEALED)


@contextmanager
def _writer(path: Path, schema: pa.Schema, group_rows: int) -> Iterator[_Rows]:
    times = {field.name for field in schema if pa.types.is_timestamp(field.type)}
    with parquet.ParquetWriter(
        path,
        schema,
        compression="zstd",
        compression_level=_ZSTD_LEVEL,
        write_page_checksum=True,
        # Times hardly repeat, so a dictionary of them only costs time.
        use_dictionary=[name for name in schema.names if name not in times],
    ) as writer:
        rows = _Rows(writer, group_rows)
        yield rows
        rows.flush()


def _recipe(file: TripFile, edition: Edition, profile: str, unknown_columns: UnknownColumns) -> str:
    """Return a digest of everything that decides the file's rows, and of its ETag."""
    schema = [f"{field.name} {field.type}" for field in arrow_schema(file.service)]
    rejecting = quality.rejecting(profile)
    rules = [f"{rule.name}: {rule.description}" for rule in quality.rules(file.service) if rule.name in rejecting]
    # Without the ETag, a file that is republished with the same bytes would stay outdated in every target.
    of_edition = [edition.sha256, edition.etag, edition.source]
    ingredients = [_VERSION, *of_edition, profile, rejecting, rules, unknown_columns, schema]
    return hashlib.sha256(json.dumps(ingredients).encode()).hexdigest()[:16]


def _result(tally: _Tally, reading: Reading, terms: _Terms) -> Landed:
    rejected = tally.rejected.total()
    expected = catalog.expected(reading.file, terms.edition.source)
    if expected is not None and expected.rows != tally.read:
        log.warning(
            "%s: read %s rows, expected the %s of %s: the publisher replaced the file, or it is damaged",
            reading.file,
            f"{tally.read:,}",
            f"{expected.rows:,}",
            expected.last_modified,
        )
    return Landed(
        **terms.facts,
        schema_era=reading.era.name,
        rows_read=tally.read,
        rows_accepted=tally.read - rejected,
        rows_rejected=rejected,
        rejected_by_reason=dict(tally.rejected),
        rule_hits={rule: count for rule, count in tally.hits.items() if count},
        rows_expected=expected.rows if expected else None,
    )


def _figures(result: Landed, pickups: int, there: Landed | None) -> plausibility.Figures:
    is_there = there is not None and there.source_sha256 == result.source_sha256
    return plausibility.Figures(
        profile=result.quality_profile,
        rows_read=result.rows_read,
        rows_accepted=result.rows_accepted,
        rejected_by_reason=result.rejected_by_reason,
        pickups=pickups,
        outside_month=result.rule_hits.get(plausibility.OUTSIDE_MONTH, 0),
        in_place="nothing" if there is None else "this edition" if is_there else "another edition",
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
