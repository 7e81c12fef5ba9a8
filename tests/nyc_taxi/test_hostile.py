"""A file that would fill the memory, the disk or the time of a worker is an error, at a small cost."""

import gzip
import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet

from devtools.servers.misbehaving import Published, Publisher
from include.nyc_taxi import download, limits, zones
from include.nyc_taxi.errors import DamagedFile, TooLarge
from include.nyc_taxi.lake import Lake
from tests.nyc_taxi.download.conftest import publisher
from tests.nyc_taxi.download.served import FILE, PATHS, assert_lake_is_empty
from tests.nyc_taxi.reading.published_files import HEADER, LINE, rows_of
from tests.nyc_taxi.trips import CSV, PARQUET, TRIP, csv_gz, trip, write_parquet

__all__ = ["publisher"]

ROOT = Path(__file__).resolve().parents[2]
_MEGABYTE = 1 << 20
_READ = """
import json, sys
from pathlib import Path
from include.nyc_taxi import Month, TripFile, reading
from include.nyc_taxi.errors import PermanentError
rows, error = 0, ""
try:
    with reading.read(Path(sys.argv[1]), TripFile("green", Month(2021, 1))) as opened:
        for batch in opened.batches:
            rows += batch.num_rows
except PermanentError as found:
    error = f"{type(found).__name__}: {found}"
status = Path("/proc/self/status").read_text()  # ru_maxrss would count the process that started this one
peak = int(status.partition("VmHWM:")[2].split()[0]) >> 10
print(json.dumps({"rows": rows, "error": error, "megabytes": peak}))
"""


def read_apart(path: Path) -> dict[str, object]:
    """Read a file in a process of its own; return its error and the peak of its memory."""
    done = subprocess.run(
        [sys.executable, "-c", _READ, str(path)], cwd=ROOT, capture_output=True, text=True, check=True, timeout=300
    )
    return json.loads(done.stdout.splitlines()[-1])


def with_column(path: Path, name: str, column: pa.Array, **options: object) -> Path:
    """Write as many trips as the column has values, with it in place of one of theirs."""
    one = parquet.read_table(write_parquet(path, [TRIP]))
    columns = [column if field == name else pa.repeat(one[field][0], len(column)) for field in one.column_names]
    parquet.write_table(pa.table(columns, names=one.column_names), path, compression="zstd", **options)
    return path


@pytest.mark.parametrize("column", ["store_and_fwd_flag", "tip_amount"])
def test_word_that_every_row_repeats_is_in_memory_once(tmp_path: Path, column: str):
    """Decoded, these rows are 65 GB."""
    words = pa.DictionaryArray.from_arrays(pa.repeat(pa.scalar(0, pa.int32()), 65_536), pa.array(["x" * _MEGABYTE]))
    path = with_column(tmp_path / PARQUET, column, words, dictionary_pagesize_limit=4 * _MEGABYTE)
    assert path.stat().st_size < 40_000

    found = read_apart(path)

    assert found["error"].startswith(f"SchemaMismatch: {PARQUET}: column '{column}': 'xxx")
    assert "(1,048,576 characters)" in found["error"]
    assert found["megabytes"] < 600


def test_page_that_inflates_to_gigabytes_is_refused_by_its_header(tmp_path: Path):
    words = pa.array([b"\0" * (1_000 * _MEGABYTE)], pa.large_binary())
    path = with_column(tmp_path / PARQUET, "store_and_fwd_flag", words, use_dictionary=False, write_statistics=False)

    found = read_apart(path)

    assert found["error"].startswith(f"TooLarge: {PARQUET}: inflated bytes of the largest pages: 1,048,")
    assert "raise TAXI_LIMIT_FACTOR (8 now)" in found["error"]
    assert found["megabytes"] < 400


def test_long_values_are_read_few_at_a_time(tmp_path: Path):
    words = pa.array(["x" * _MEGABYTE + str(row) for row in range(200)])
    path = with_column(tmp_path / PARQUET, "store_and_fwd_flag", words, use_dictionary=False)

    found = read_apart(path)

    assert "do not fit" in found["error"] or "does not fit" in found["error"]
    assert found["megabytes"] < 1_000


def test_rows_beyond_any_known_file_are_refused_before_one_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TAXI_LIMIT_FACTOR", "0.0001")
    path = write_parquet(tmp_path / PARQUET, [TRIP] * 3_000)

    with pytest.raises(TooLarge, match=rf"{PARQUET}: rows: 3,000 are more than the 2,390 that are allowed"):
        rows_of(path)


def test_rows_of_csv_are_counted_as_they_come(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TAXI_LIMIT_FACTOR", "0.0001")
    (tmp_path / CSV).write_text(f"{HEADER}\n" + f"{LINE}\n" * 3_000)

    with pytest.raises(TooLarge, match="rows: 3,000 are more than"):
        rows_of(tmp_path / CSV)


@pytest.mark.parametrize("name", [CSV, PARQUET])
def test_thousands_of_columns_are_refused(tmp_path: Path, name: str):
    row = trip(**{f"column {number}": 1 for number in range(5_000)})
    path = tmp_path / name
    if name == CSV:
        path.write_text(",".join(row) + "\n")
    else:
        write_parquet(path, [row])

    with pytest.raises(TooLarge, match="columns: 5,020 are more than"):
        rows_of(path)


@pytest.mark.parametrize("name", [CSV, PARQUET])
def test_name_of_a_column_that_fills_a_log_is_refused(tmp_path: Path, name: str):
    row, path = trip(**{"x" * 100_000: 1}), tmp_path / name
    if name == CSV:
        path.write_text(",".join(row) + "\n")
    else:
        write_parquet(path, [row])

    with pytest.raises(TooLarge, match="characters of a column's name: 100,000 are more than the 1,000"):
        rows_of(path)


def test_footer_or_page_header_that_lies_is_damage(tmp_path: Path):
    content = bytearray(write_parquet(tmp_path / PARQUET, [TRIP] * 10).read_bytes())
    content[4:40] = b"\xff" * 36
    (tmp_path / PARQUET).write_bytes(content)

    with pytest.raises(DamagedFile, match="page header"):
        rows_of(tmp_path / PARQUET)


@pytest.mark.parametrize("framing", ["length", "chunked", "close"])
def test_download_ends_at_the_limit(publisher: Publisher, lake: Lake, monkeypatch: pytest.MonkeyPatch, framing: str):
    monkeypatch.setenv("TAXI_LIMIT_FACTOR", "0.0001")
    publisher.framing = framing
    publisher.files[PATHS["official"]] = Published(b"PAR1" + b"\0" * 200_000)

    with pytest.raises(TooLarge, match=r"bytes: [0-9,]+ are more than the 61,085 that are allowed"):
        download.fetch(FILE, lake, base_url=publisher.url, pause=0)

    assert len(publisher.gets()) == 1
    assert_lake_is_empty(lake)


def test_gzip_that_inflates_beyond_the_limit_is_refused(
    publisher: Publisher, lake: Lake, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("TAXI_LIMIT_FACTOR", "0.0001")
    publisher.files[PATHS["csv_mirror"]] = Published(csv_gz([TRIP] * 1_000))

    with pytest.raises(TooLarge, match=r"inflated bytes: [0-9,]+ are more than the 61,085"):
        download.fetch(FILE, lake, source="csv_mirror", base_url=publisher.url, pause=0)

    assert_lake_is_empty(lake)


def test_zip_bomb_is_refused_by_its_directory(publisher: Publisher, lake: Lake, tmp_path: Path):
    path = tmp_path / "bomb.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for member in ("taxi_zones.shp", "taxi_zones.dbf"):
            with archive.open(member, "w", force_zip64=True) as out:
                for _ in range(200):
                    out.write(bytes(_MEGABYTE))
    publisher.files[f"/{zones.SHAPES}"] = Published(path.read_bytes())

    with pytest.raises(TooLarge, match=r"taxi_zones\.zip: inflated bytes: 419,430,400 are more than the 16,777,216"):
        zones.fetch(zones.SHAPES, lake, base_url=publisher.url)

    assert len(publisher.gets()) == 1
    assert_lake_is_empty(lake)


@pytest.mark.parametrize("factor", ["0", "-1", "many", "nan", "inf"])
def test_factor_that_is_no_positive_number_is_refused(monkeypatch: pytest.MonkeyPatch, factor: str):
    monkeypatch.setenv("TAXI_LIMIT_FACTOR", factor)

    with pytest.raises(ValueError, match=f"TAXI_LIMIT_FACTOR is '{factor}'; expected a positive number such as 8"):
        limits.most_rows()


def test_gzip_of_one_endless_line_is_damaged_at_a_small_cost(tmp_path: Path):
    path = tmp_path / f"{CSV}.gz"
    path.write_bytes(gzip.compress(bytes(50 * _MEGABYTE), mtime=0))

    assert read_apart(path)["megabytes"] < 400
