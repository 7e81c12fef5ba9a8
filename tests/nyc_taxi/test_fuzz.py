"""Damaged files are refused or read as a naive reader reads the same bytes: never a wrong table, never a hang.

TAXI_FUZZ_EXAMPLES=5000 tries more damage, and other damage each time.
"""

import gzip
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from devtools.generator import write_month
from include.nyc_taxi import Month, TripFile, catalog, landing, quality
from include.nyc_taxi.errors import CountMismatch, DamagedFile, SchemaMismatch
from include.nyc_taxi.lake import Lake, data_key, rejects_key
from tests import independent
from tests.nyc_taxi.trips import files_in, put_raw, raw_path

OURS = (SchemaMismatch, DamagedFile, CountMismatch)
ROWS = 30
CPU_SECONDS = 10.0  # the slowest needs a tenth of one; other load on the machine does not count
MEBIBYTES = 64

PLAIN_CSV = [
    ("yellow_tripdata_2009-01", "csv_archive"),
    ("yellow_tripdata_2014-03", "csv_archive"),
    ("green_tripdata_2016-07", "csv_archive"),
    ("yellow_tripdata_2019-05", "csv_archive"),
    ("fhv_tripdata_2015-01", "csv_archive"),
    ("fhv_tripdata_2018-03", "csv_archive"),
]
COMPRESSED_CSV = [("yellow_tripdata_2021-01", "csv_mirror"), ("fhv_tripdata_2021-02", "csv_mirror")]
PARQUET = [
    ("yellow_tripdata_2010-02", "official"),
    ("green_tripdata_2024-01", "official"),
    ("fhv_tripdata_2020-07", "official"),
    ("fhvhv_tripdata_2025-01", "official"),
]

Edition = tuple[TripFile, str]

EXAMPLES = os.environ.get("TAXI_FUZZ_EXAMPLES")
fuzzed = settings(max_examples=int(EXAMPLES or 15), deadline=None, derandomize=EXAMPLES is None, database=None)


def edition_of(names: tuple[str, str]) -> Edition:
    return TripFile.parse(names[0]), names[1]


@cache
def published(edition: Edition) -> bytes:
    file, source = edition
    with TemporaryDirectory() as folder:
        write_month(file, Path(folder) / "file", source=source, rows=ROWS)
        return (Path(folder) / "file").read_bytes()


def edited(content: bytes, kind: str, at: int, length: int, inserted: bytes) -> bytes:
    """Return the bytes with one kind of damage at a place, modulo their length."""
    at %= len(content) + 1
    before, chosen, after = content[:at], content[at : at + length], content[at + length :]
    return {
        "cut": before,
        "flip": before + bytes(byte ^ inserted[index % len(inserted)] for index, byte in enumerate(chosen)) + after,
        "double": before + chosen + chosen + after,
        "drop": before + after,
        "insert": before + inserted + chosen + after,
    }[kind]


kinds = st.sampled_from(["cut", "flip", "flip", "double", "drop", "insert"])
places = st.integers(0, 1 << 20)
lengths = st.integers(1, 3) | st.integers(1, 400)
# Bytes that mean something to some format are as likely as any others.
insertions = st.binary(min_size=1, max_size=4) | st.sampled_from(
    [
        b"\n",
        b"\r",
        b"\r\n",
        b",",
        b'"',
        b'""',
        b"-",
        b".",
        b"0",
        b"9",
        b" ",
        b"\0",
        b"\xa0",
        b"e9",
        b"nan",
        b"\x20",
        b"\x01",
    ]
)
damage = st.lists(st.tuples(kinds, places, lengths, insertions), min_size=1, max_size=3)


def damaged(edition: Edition, edits: list[tuple[str, int, int, bytes]]) -> bytes:
    content = published(edition)
    for edit in edits:
        content = edited(content, *edit)
    return content


def landed_or_refused(edition: Edition, content: bytes, lake: Lake) -> pa.Table | None:
    """Land the bytes, check what holds for any bytes, and return the table, or None if they were refused."""
    file, source = edition
    put_raw(lake, content, file, source)
    refused = False
    with limits():
        try:
            landed = landing.land(file, lake, source=source, profile="none")
        except OURS:
            refused = True
    if refused:
        assert [name for name in files_in(lake) if name.startswith(("data", "rejects"))] == []
        return None
    table = parquet.read_table(lake.path(data_key(file))).drop_columns("file_month")
    assert landed.rows_read == landed.rows_accepted == table.num_rows
    table.validate(full=True)
    return table


@contextmanager
def limits() -> Iterator[None]:
    pool = pa.default_memory_pool()
    most, started = pool.max_memory(), time.process_time()
    yield
    assert pool.max_memory() <= max(most, MEBIBYTES << 20)
    assert time.process_time() - started < CPU_SECONDS


def assert_is_what_a_naive_reading_finds(table: pa.Table, edition: Edition, path: Path) -> None:
    expected = independent.read(path, *edition)
    for name in table.column_names:
        # As text, because a NaN does not equal itself.
        assert list(map(repr, table[name].to_pylist())) == list(
            map(repr, expected.get(name, [None] * table.num_rows))
        ), name


@pytest.mark.parametrize("names", PLAIN_CSV, ids=lambda names: names[0])
@fuzzed
@given(edits=damage)
def test_damaged_csv_is_refused_or_read_as_it_stands(names: tuple[str, str], edits: list[tuple[str, int, int, bytes]]):
    """No reader can notice a flipped digit in plain CSV, but all readers must agree."""
    edition = edition_of(names)

    with TemporaryDirectory() as folder:
        lake = Lake.at(folder)
        table = landed_or_refused(edition, damaged(edition, edits), lake)
        if table is not None:
            assert_is_what_a_naive_reading_finds(table, edition, raw_path(lake, *edition))


@pytest.mark.parametrize("names", COMPRESSED_CSV, ids=lambda names: names[0])
@fuzzed
@given(edits=damage)
def test_damaged_compressed_csv_is_refused_or_whole(names: tuple[str, str], edits: list[tuple[str, int, int, bytes]]):
    """The checksum covers every row, so only bytes around the rows can be damaged unnoticed."""
    edition = edition_of(names)

    with TemporaryDirectory() as folder:
        whole = landed_or_refused(edition, published(edition), Lake.at(f"{folder}/whole"))
        table = landed_or_refused(edition, damaged(edition, edits), Lake.at(f"{folder}/damaged"))

    assert whole is not None
    assert table is None or table.equals(whole)


@pytest.mark.parametrize("names", PARQUET, ids=lambda names: names[0])
@fuzzed
@given(edits=damage)
def test_damaged_parquet_is_refused_or_has_all_its_rows(
    names: tuple[str, str], edits: list[tuple[str, int, int, bytes]]
):
    """The publisher's files have no checksums, so a value that was flipped into another value stays unnoticed."""
    edition = edition_of(names)

    with TemporaryDirectory() as folder:
        lake = Lake.at(folder)
        table = landed_or_refused(edition, damaged(edition, edits), lake)
        if table is not None:
            with suppress(OSError, pa.ArrowException):
                assert table.num_rows == parquet.read_metadata(raw_path(lake, *edition)).num_rows


@pytest.mark.parametrize("names", COMPRESSED_CSV + PARQUET, ids=lambda names: f"{names[0]}-{names[1]}")
def test_cut_of_a_file_that_knows_its_end_is_refused(names: tuple[str, str], tmp_path: Path):
    edition = edition_of(names)
    content = published(edition)

    for number, at in enumerate(range(0, len(content), max(1, len(content) // 12))):
        assert landed_or_refused(edition, content[:at], Lake.at(tmp_path / str(number))) is None, at
    assert landed_or_refused(edition, content, Lake.at(tmp_path / "whole")) is not None


@pytest.mark.parametrize("names", PLAIN_CSV, ids=lambda names: names[0])
def test_cut_of_plain_csv_is_refused_or_read_to_the_cut(names: tuple[str, str], tmp_path: Path):
    edition = edition_of(names)
    content = published(edition)

    for number, at in enumerate(range(0, len(content), max(1, len(content) // 15))):
        lake = Lake.at(tmp_path / str(number))
        table = landed_or_refused(edition, content[:at], lake)
        if table is not None:
            assert_is_what_a_naive_reading_finds(table, edition, raw_path(lake, *edition))


@pytest.mark.parametrize("byte", [b"\n", b"\r", b'"', b",", b"\0", b"\xa0", b"\xff"])
@pytest.mark.parametrize("names", PLAIN_CSV, ids=lambda names: names[0])
def test_stray_byte_in_any_field_is_refused_or_read_as_it_stands(names: tuple[str, str], byte: bytes, tmp_path: Path):
    edition = edition_of(names)
    content = published(edition)
    last_rows = content.rindex(b"\r\n", 0, -100)

    for number, at in enumerate(range(last_rows, len(content), 17)):
        lake = Lake.at(tmp_path / str(number))
        table = landed_or_refused(edition, content[:at] + byte + content[at:], lake)
        if table is not None:
            assert_is_what_a_naive_reading_finds(table, edition, raw_path(lake, *edition))


@pytest.mark.parametrize("column", ["Affiliated_base_number", "dispatching_base_num"])
def test_quote_that_swallows_rows_is_refused(column: str, tmp_path: Path):
    """In the last column of a row, it would turn the rows that follow into one text, unnoticed."""
    edition = edition_of(("fhv_tripdata_2021-02", "csv_mirror"))
    header, *rows = gzip.decompress(published(edition)).decode().splitlines()
    fields = rows[3].split(",")
    index = header.split(",").index(column)
    fields[index] = f'"{fields[index]}'
    content = "\r\n".join([header, *rows[:3], ",".join(fields), *rows[4:]]).encode()

    assert landed_or_refused(edition, gzip.compress(content), Lake.at(tmp_path)) is None


@pytest.mark.parametrize("rows", [0, 1])
@pytest.mark.parametrize("start", [b"", b'"'], ids=["bare", "quoted"])
def test_line_without_an_end_is_refused_without_being_held_whole(rows: int, start: bytes, tmp_path: Path):
    edition = edition_of(COMPRESSED_CSV[0])
    lines = gzip.decompress(published(edition)).splitlines(keepends=True)
    bomb = b"".join(lines[: 1 + rows]) + start + b"1" * (MEBIBYTES << 20)

    assert landed_or_refused(edition, gzip.compress(bomb, 1), Lake.at(tmp_path)) is None


@st.composite
def editions(draw: st.DrawFn) -> Edition:
    """Draw any published file: a service, one of its sources, and a month."""
    service = catalog.service(draw(st.sampled_from(sorted(catalog.services()))))
    source = draw(st.sampled_from(sorted(service.eras)))
    first, last = service.eras[source][0].since, service.last.get(source, Month(2026, 8))
    months = list(Month.range(first, last))
    return TripFile(service.name, draw(st.sampled_from(months))), source


@fuzzed
@given(edition=editions(), rows=st.integers(1, 120), profile=st.sampled_from(sorted(quality.PROFILES)))
def test_any_generated_file_is_accepted_or_rejected_row_by_row_with_its_values(
    edition: Edition, rows: int, profile: str
):
    file, source = edition
    with TemporaryDirectory() as folder:
        lake, path = Lake.at(f"{folder}/lake"), Path(folder) / file.name
        write_month(file, path, source=source, rows=rows)
        put_raw(lake, path.read_bytes(), file, source)

        landed = landing.land(file, lake, source=source, profile=profile, accept_implausible=True)
        kept, rejected = (parquet.read_table(lake.path(key(file))) for key in (data_key, rejects_key))
        expected = independent.read(path, file, source)

    assert rows == landed.rows_read == landed.rows_accepted + landed.rows_rejected
    assert (kept.num_rows, rejected.num_rows) == (landed.rows_accepted, landed.rows_rejected)
    kept = kept.drop_columns("file_month")
    found = pa.concat_tables([kept, rejected.select(kept.column_names).cast(kept.schema)])
    written = zip(*(expected.get(name, [None] * rows) for name in found.column_names), strict=True)
    assert sorted(map(repr, zip(*found.to_pydict().values(), strict=True))) == sorted(map(repr, written))
