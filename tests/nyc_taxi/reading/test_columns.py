"""A file is read as the era whose columns it has; other columns are an error that lists them."""

import re
import shutil
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest
from pyarrow import parquet

from include.nyc_taxi import Month, TripFile, catalog, reading
from include.nyc_taxi.errors import SchemaMismatch
from tests.nyc_taxi.reading.published_files import (
    CANONICAL,
    HEADER,
    LINE,
    each_format,
    read_all,
    rows_of,
    write,
    write_lines,
)
from tests.nyc_taxi.trips import CSV, PARQUET, TRIP, Row, trip, without, write_parquet


@each_format
def test_unknown_and_missing_columns_are_listed(tmp_path: Path, name: str):
    row = without(without(TRIP, "trip_type"), "extra") | {"surprise": 1, "Gratuity": 2.0}

    with pytest.raises(SchemaMismatch) as mismatch:
        rows_of(write(tmp_path / name, [row]))

    message = str(mismatch.value)
    assert message.startswith(f"{name}: its columns are not those of era ")
    assert "extra ['surprise', 'Gratuity'], missing ['extra', 'trip_type']" in message
    assert "unknown_columns=drop" in message


@each_format
@pytest.mark.parametrize(
    ("row", "read"),
    [
        (trip(Moon_tax=1.5), {"moon_tax": 1.5}),
        (trip(**{"Seats back": 3, " Noted at": datetime(2021, 1, 6)}), {"seats_back": 3}),
        (trip(sales_tax=1.25), {"sales_tax": 1.25}),  # a column of another service
        (without(TRIP, "trip_type"), {"trip_type": None}),
    ],
    ids=["one", "two", "known", "missing"],
)
def test_file_that_fits_no_era_is_read_once_the_suggested_rows_are_added(
    tmp_path: Path, own_catalogue: Path, name: str, row: Row, read: Row
):
    path = write(tmp_path / name, [row])
    with pytest.raises(SchemaMismatch) as mismatch:
        rows_of(path)

    add_rows(str(mismatch.value), own_catalogue)
    (found,) = rows_of(path)

    assert {column: str(found[column]) for column in read} == {column: str(value) for column, value in read.items()}


def add_rows(message: str, catalogue: Path) -> None:
    """Edit the catalogue as the error suggests."""
    services, columns = catalogue / "services.toml", catalogue / "columns.toml"
    for suggestion in message.split("\nTo ")[1:]:
        where, _, rows = suggestion.partition("\n")
        if where.startswith("services.toml"):
            above, next_service, below = services.read_text().partition('[[service]]\nname = "fhv"\n')
            services.write_text(f"{above}{rows}\n\n{next_service}{below}")
        elif rows:
            columns.write_text(f"{columns.read_text()}\n{rows}\n")
        else:
            column, service = re.fullmatch(r'columns.toml, in services of (\w+): "(\w+)"', where).groups()
            row = re.compile(rf'(name = "{column}"\n.*\n.*\nservices = \[)')
            columns.write_text(row.sub(rf'\1"{service}", ', columns.read_text()))
    forget_catalogue()


def forget_catalogue() -> None:
    catalog.columns.cache_clear()
    catalog.services.cache_clear()


@pytest.fixture
def own_catalogue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A copy of the catalogue's folder, for this test to edit."""
    folder = tmp_path / "catalog"
    shutil.copytree(catalog.FOLDER, folder)
    monkeypatch.setattr(catalog, "FOLDER", folder)
    yield folder
    monkeypatch.undo()
    forget_catalogue()


@each_format
def test_unknown_columns_are_dropped_with_a_warning_on_request(
    tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture
):
    path = write(tmp_path / name, [trip(surprise=1)])

    assert rows_of(path, unknown_columns="drop") == [CANONICAL]
    assert [record.getMessage() for record in caplog.records] == [f"{name}: dropped unknown columns ['surprise']"]
    assert caplog.records[0].levelname == "WARNING"


@each_format
def test_missing_column_is_an_error_even_if_unknown_ones_are_dropped(tmp_path: Path, name: str):
    path = write(tmp_path / name, [without(TRIP, "trip_type") | {"surprise": 1}])

    with pytest.raises(SchemaMismatch, match=re.escape("missing ['trip_type']")):
        rows_of(path, unknown_columns="drop")


@each_format
@pytest.mark.parametrize("twin", ["vendorid", "vendor_id", "VENDORID "])
def test_two_columns_of_one_meaning_are_refused(tmp_path: Path, name: str, twin: str):
    with pytest.raises(SchemaMismatch, match="two of its columns have the same meaning"):
        rows_of(write(tmp_path / name, [trip(**{twin: 1})]))


@pytest.mark.parametrize("unknown_columns", ["error", "drop"])
def test_column_that_is_there_twice_is_refused(tmp_path: Path, unknown_columns: str):
    path = write_lines(tmp_path / CSV, f"{HEADER},VendorID", f"{LINE},1")

    with pytest.raises(SchemaMismatch, match="two of its columns have the same meaning"):
        rows_of(path, unknown_columns=unknown_columns)


def test_parquet_column_that_is_there_twice_is_refused(tmp_path: Path):
    table = parquet.read_table(write_parquet(tmp_path / PARQUET, [TRIP]))
    parquet.write_table(table.append_column("VendorID", table["VendorID"]), tmp_path / PARQUET)

    with pytest.raises(SchemaMismatch, match="two of its columns have the same meaning"):
        rows_of(tmp_path / PARQUET)


@each_format
def test_file_with_the_columns_of_another_era_is_read_as_that_era_with_a_warning(
    tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture
):
    opened, rows = read_all(write(tmp_path / name, [trip(cbd_congestion_fee=0.75)]))

    own = "official-2014-01" if name == PARQUET else "csv_mirror-2019-01"
    assert rows == [CANONICAL | {"cbd_congestion_fee": 0.75}]
    assert opened.era.name == "official-2025-01"
    assert [record.getMessage() for record in caplog.records] == [
        f"{name}: has the columns of era official-2025-01, not of {own}: reading it as official-2025-01"
    ]


def test_file_with_the_columns_of_an_earlier_era_is_read_as_that_era(tmp_path: Path):
    opened, rows = read_all(
        write(tmp_path / "green_tripdata_2025-01.parquet", [TRIP]), TripFile("green", Month(2025, 1))
    )

    assert (opened.era.name, rows) == ("official-2014-01", [CANONICAL])


def test_name_means_what_it_meant_in_the_era_of_the_file(tmp_path: Path):
    """Files of 2018 name the affiliated base as all other files name the dispatching base."""
    names = "Pickup_DateTime,DropOff_datetime,PUlocationID,DOlocationID,SR_Flag"
    as_in_2018 = write_lines(
        tmp_path / "fhv_tripdata_2019-01.csv",
        f"{names},Dispatching_base_number,Dispatching_base_num",
        "2019-01-01 00:00:01,2019-01-01 00:10:00,1,2,,B00001,B00002",
    )

    with reading.read(as_in_2018, TripFile("fhv", Month(2019, 1)), source="csv_archive") as opened:
        [row] = [row for batch in opened.batches for row in batch.to_pylist()]

    assert opened.era.name == "csv_archive-2018-01"
    assert (row["dispatching_base_num"], row["affiliated_base_number"]) == ("B00001", "B00002")


def test_columns_that_no_era_has_together_are_an_error_even_if_each_is_known(tmp_path: Path):
    row = trip(cbd_congestion_fee=0.75) | {"pickup_longitude": -73.9}

    with pytest.raises(SchemaMismatch, match=r"extra \['cbd_congestion_fee', 'pickup_longitude'\], missing \[\]"):
        rows_of(write(tmp_path / PARQUET, [row]))


def test_known_column_is_kept_if_unknown_ones_are_dropped(tmp_path: Path):
    path = write(tmp_path / CSV, [trip(cbd_congestion_fee=0.75, surprise=1)])

    assert rows_of(path, unknown_columns="drop") == [CANONICAL | {"cbd_congestion_fee": 0.75}]
