"""A Parquet file is read to its end, or refused as damaged."""

from pathlib import Path

import pytest
from pyarrow import parquet

from include.nyc_taxi.errors import DamagedFile
from tests.nyc_taxi.reading.published_files import read_all, rows_of
from tests.nyc_taxi.trips import PARQUET, TRIP, write_parquet


def test_parquet_without_rows_has_none(tmp_path: Path):
    table = parquet.read_table(write_parquet(tmp_path / PARQUET, [TRIP]))
    parquet.write_table(table.slice(0, 0), tmp_path / PARQUET)

    opened, rows = read_all(tmp_path / PARQUET)

    assert (opened.rows, rows) == (0, [])


@pytest.mark.parametrize("missing", [1, 8, 500, 5_000])
def test_cut_parquet_is_damaged(tmp_path: Path, missing: int):
    whole = write_parquet(tmp_path / PARQUET, [TRIP]).read_bytes()
    (tmp_path / PARQUET).write_bytes(whole[:-missing])

    with pytest.raises(DamagedFile, match=f"{PARQUET}: is not a complete Parquet file"):
        rows_of(tmp_path / PARQUET)


def test_parquet_with_a_damaged_page_is_damaged(tmp_path: Path):
    content = bytearray(write_parquet(tmp_path / PARQUET, [TRIP] * 1_000).read_bytes())
    content[4:60] = b"\xff" * 56
    (tmp_path / PARQUET).write_bytes(content)

    with pytest.raises(DamagedFile, match=f"{PARQUET}: cannot be read to its end"):
        rows_of(tmp_path / PARQUET)
