"""The first bytes decide the format, and must agree with the name."""

from pathlib import Path

import pytest

from include.nyc_taxi.errors import DamagedFile
from tests.nyc_taxi.reading.published_files import each_format, rows_of
from tests.nyc_taxi.trips import GZIPPED, PARQUET, TRIP, csv_gz, csv_text


@each_format
def test_empty_file_is_damaged(tmp_path: Path, name: str):
    (tmp_path / name).touch()

    with pytest.raises(DamagedFile, match=f"{name}: the file is empty"):
        rows_of(tmp_path / name)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        (GZIPPED, b"<!DOCTYPE html>\n"),
        (PARQUET, b"<!DOCTYPE html>\n"),
        (GZIPPED, csv_text([TRIP]).encode()),
        (PARQUET, csv_text([TRIP]).encode()),
        (PARQUET, csv_gz([TRIP])),
        (GZIPPED, b"PAR1"),
    ],
    ids=["html as gz", "html as parquet", "csv as gz", "csv as parquet", "gz as parquet", "parquet as gz"],
)
def test_content_of_another_format_than_the_suffix_is_damaged(tmp_path: Path, name: str, content: bytes):
    (tmp_path / name).write_bytes(content)

    with pytest.raises(
        DamagedFile,
        match=f"{name}: is (an HTML page|text|a file|a Parquet file).*, expected a {Path(name).suffix} file",
    ) as refusal:
        rows_of(tmp_path / name)
    assert repr(content[:8])[2:-1] not in str(refusal.value), "an error quotes nothing of an internal answer"
