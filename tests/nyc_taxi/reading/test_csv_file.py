"""CSV is read as the publisher writes it, and refused if rows or bytes are damaged."""

import gzip
from pathlib import Path

import pytest

from devtools.generator import write_month
from include.nyc_taxi import Month, TripFile, reading
from include.nyc_taxi.errors import DamagedFile, SchemaMismatch
from tests.nyc_taxi.reading.published_files import CANONICAL, HEADER, LINE, changed, rows_of, write, write_lines
from tests.nyc_taxi.trips import CSV, FILE, GZIPPED, TRIP, csv_gz, csv_text, trip


def test_quote_that_swallows_rows_is_refused_in_a_column_of_numbers_too(tmp_path: Path):
    path = write_lines(tmp_path / CSV, HEADER, *[LINE] * 3_000, f'"{LINE}', LINE, f'2"{LINE[1:]}', *[LINE] * 10)

    with pytest.raises(SchemaMismatch, match="column 'VendorID': a quote swallows whole rows"):
        rows_of(path)


def test_row_with_too_few_fields_is_named_behind_a_value_that_does_not_fit(tmp_path: Path):
    path = write_lines(tmp_path / CSV, HEADER, *[LINE] * 3_000, changed(VendorID="XYZ"), *[LINE] * 60_000, "2,2021")

    with pytest.raises(SchemaMismatch, match=r"row 63,002: Expected 20 columns, got 2"):
        rows_of(path)


def test_padding_that_holds_a_value_is_refused(tmp_path: Path):
    path = tmp_path / "green.csv"
    write_month(TripFile("green", Month(2016, 7)), path, source="csv_archive", rows=2_000)
    content = path.read_bytes()
    path.write_bytes(content[:-4] + b",1,\r\n")

    with (
        pytest.raises(SchemaMismatch, match=r"column 'padding 1': row 2,000: .*to null"),
        reading.read(path, TripFile("green", Month(2016, 7)), source="csv_archive") as opened,
    ):
        list(opened.batches)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (LINE.rpartition(",")[0], "Expected 20 columns, got 19"),
        (f"{LINE},", "Expected 20 columns, got 21"),
        (f"{LINE},,", "Expected 20 columns, got 22"),
    ],
)
def test_row_with_another_number_of_fields_is_named(tmp_path: Path, line: str, expected: str):
    path = write_lines(tmp_path / CSV, HEADER, LINE, line, LINE)

    with pytest.raises(SchemaMismatch, match=rf"^{CSV}: .*row 2: {expected}"):
        rows_of(path)


def test_quote_that_is_never_closed_is_refused(tmp_path: Path):
    path = write_lines(tmp_path / CSV, HEADER, LINE.replace(",N,", ',"N,'), *[LINE] * 60_000)

    with pytest.raises(SchemaMismatch, match="a line or a quoted value is longer than 2,097,152 bytes"):
        rows_of(path)


def test_blank_second_line_is_not_a_row(tmp_path: Path):
    assert rows_of(write_lines(tmp_path / CSV, HEADER, "", LINE, LINE)) == [CANONICAL] * 2


def test_last_line_needs_no_end(tmp_path: Path):
    (tmp_path / CSV).write_text(f"{HEADER}\n{LINE}\n{LINE}")

    assert rows_of(tmp_path / CSV) == [CANONICAL] * 2


def test_byte_order_mark_is_not_part_of_the_first_name(tmp_path: Path):
    (tmp_path / CSV).write_text(csv_text([TRIP]), encoding="utf-8-sig")

    assert rows_of(tmp_path / CSV) == [CANONICAL]


def test_carriage_returns_belong_to_no_value(tmp_path: Path):
    (tmp_path / CSV).write_bytes(csv_text([TRIP, TRIP], end="\r\n").encode())

    assert rows_of(tmp_path / CSV) == [CANONICAL] * 2


def test_quoted_names_and_values_are_read_without_their_quotes(tmp_path: Path):
    header, line = (",".join(f'"{field}"' for field in text.split(",")) for text in (HEADER, LINE))

    assert rows_of(write_lines(tmp_path / CSV, header, line)) == [CANONICAL]


def test_quoted_line_end_is_part_of_its_value_wherever_it_falls(tmp_path: Path):
    # The file is many blocks of the reader, and each block ends at another place in a row.
    values = ["Y\n" + "n" * (row % 97) for row in range(20_000)]
    path = write(tmp_path / CSV, [trip(store_and_fwd_flag=value) for value in values])

    assert [row["store_and_fwd_flag"] for row in rows_of(path)] == values


def test_byte_that_is_not_utf8_is_named_with_column_and_row(tmp_path: Path):
    (tmp_path / CSV).write_bytes(f"{HEADER}\n{LINE}\n{changed(store_and_fwd_flag='é')}\n".encode("latin1"))

    with pytest.raises(SchemaMismatch, match=rf"{CSV}: column 'store_and_fwd_flag': b'\\xe9' in row 2 does not fit"):
        rows_of(tmp_path / CSV)


@pytest.mark.parametrize("source", ["csv_mirror", "csv_archive"])
def test_text_of_for_hire_vehicles_is_latin(tmp_path: Path, source: str):
    """Their files have a blank in licence numbers that is not UTF-8."""
    line = "B00254\xa0,2020-01-01 00:00:01,2020-01-01 00:10:00,,264,\xe9".encode("latin1")
    header = b"dispatching_base_num,pickup_datetime,dropoff_datetime,PULocationID,DOLocationID,Affiliated_base_number"
    (tmp_path / CSV).write_bytes(header + b",SR_Flag\n" + line + b",\n")

    with reading.read(tmp_path / CSV, TripFile("fhv", Month(2020, 1)), source=source) as opened:
        [row] = [row for batch in opened.batches for row in batch.to_pylist()]

    assert (row["dispatching_base_num"], row["affiliated_base_number"]) == ("B00254\xa0", "\xe9")


def test_words_beyond_ascii_are_kept(tmp_path: Path):
    [row] = rows_of(write_lines(tmp_path / CSV, HEADER, changed(store_and_fwd_flag="é, \u4e2d")))

    assert row["store_and_fwd_flag"] == "é, \u4e2d"


@pytest.mark.parametrize("text", [HEADER, f"{HEADER}\n", f"{HEADER}\n\n", f"{HEADER}\r\n"])
@pytest.mark.parametrize("name", [CSV, GZIPPED])
def test_header_alone_has_no_rows(tmp_path: Path, name: str, text: str):
    content = text.encode()
    (tmp_path / name).write_bytes(gzip.compress(content) if name == GZIPPED else content)

    assert rows_of(tmp_path / name) == []


@pytest.mark.parametrize("missing", [1, 4, 8, 100, 5_000])
def test_cut_gzip_is_damaged(tmp_path: Path, missing: int):
    write_month(FILE, tmp_path / GZIPPED, source="csv_mirror", rows=2_000)
    whole = (tmp_path / GZIPPED).read_bytes()
    (tmp_path / GZIPPED).write_bytes(whole[:-missing])

    with pytest.raises(DamagedFile, match=f"{GZIPPED}: cannot be read to its end"):
        rows_of(tmp_path / GZIPPED)


@pytest.mark.parametrize("at", [20, 94, -8], ids=["block", "distance", "checksum"])
def test_gzip_with_other_bytes_in_it_is_damaged(tmp_path: Path, at: int):
    content = bytearray(csv_gz([TRIP] * 3_000))
    content[at : at + 4] = b"\xff" * 4
    (tmp_path / GZIPPED).write_bytes(content)

    with pytest.raises(DamagedFile, match=f"{GZIPPED}: cannot be read to its end"):
        rows_of(tmp_path / GZIPPED)


def test_web_page_saved_as_csv_is_refused(tmp_path: Path):
    (tmp_path / CSV).write_text("<!DOCTYPE html>\n<html>Not Found</html>\n")

    with pytest.raises(DamagedFile, match=f"{CSV}: is an HTML page"):
        rows_of(tmp_path / CSV)


def test_header_that_is_not_text_is_damaged(tmp_path: Path):
    (tmp_path / CSV).write_bytes(b"\xa0\xff\n")

    with pytest.raises(DamagedFile, match=f"{CSV}: cannot be read"):
        rows_of(tmp_path / CSV)
