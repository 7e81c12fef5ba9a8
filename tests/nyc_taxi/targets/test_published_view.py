"""The publisher's own names: a view beside each service's table, made and kept in step by loads, in every warehouse."""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import duckdb
import psycopg
import pytest
from google.auth.credentials import AnonymousCredentials
from google.cloud import bigquery as bq
from pyarrow import parquet

from devtools.generator.spellings import schema_of
from include.nyc_taxi import Month, TripFile, catalog, targets
from include.nyc_taxi.errors import WarehouseBusy, WarehouseRefused
from include.nyc_taxi.lake import Lake, data_key
from include.nyc_taxi.targets.duckdb.database import DatabaseFile

JANUARY, FEBRUARY = "green_tripdata_2024-01", "green_tripdata_2024-02"
ARROW = {"int64": "int64", "int32": "int32", "double": "float64", "timestamp[us]": "timestamp"} | dict.fromkeys(
    ("string", "large_string"), "text"
)
each_service = pytest.mark.parametrize("service", sorted(catalog.services()))


class Warehouse(NamedTuple):
    """A target with its client, how to ask it, and what it calls the catalogue's types."""

    target: targets.Target[Any, Any]
    client: Any
    ask: Callable[[str], list[tuple[Any, ...]]]
    types: dict[str, str]
    columns: str

    def load(self, file: TripFile, lake: Lake, **options: Any) -> str:
        return self.target.replace_month(self.client, file, lake, **options).outcome

    def columns_of(self, name: str) -> list[tuple[str, str]]:
        return self.ask(self.columns.format(name=name))


def a_postgres(request: pytest.FixtureRequest) -> Iterator[Warehouse]:
    with (
        psycopg.connect(request.getfixturevalue("warehouse")) as client,
        psycopg.connect(request.getfixturevalue("warehouse"), autocommit=True) as person,
    ):

        def ask(statement: str) -> list[tuple[Any, ...]]:
            found = person.execute(statement)
            return found.fetchall() if found.description else []

        types = {"int32": "integer", "int64": "bigint", "float64": "double precision", "text": "text"}
        columns = (
            "SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute "
            "WHERE attrelid = '{name}'::regclass AND attnum > 0 ORDER BY attnum"
        )
        yield Warehouse(
            targets.get("postgres"), client, ask, types | {"timestamp": "timestamp without time zone"}, columns
        )


def a_duckdb(request: pytest.FixtureRequest) -> Iterator[Warehouse]:
    path = request.getfixturevalue("tmp_path") / "taxi.duckdb"

    def ask(statement: str) -> list[tuple[Any, ...]]:
        with duckdb.connect(path) as connection:
            return connection.execute(statement).fetchall()

    types = {"int32": "INTEGER", "int64": "BIGINT", "float64": "DOUBLE", "timestamp": "TIMESTAMP", "text": "VARCHAR"}
    columns = "SELECT column_name, column_type FROM (DESCRIBE {name})"
    yield Warehouse(targets.get("duckdb"), DatabaseFile(path, patience_seconds=30), ask, types, columns)


def a_bigquery(request: pytest.FixtureRequest) -> Iterator[Warehouse]:
    request.getfixturevalue("cloud")
    with closing(bq.Client(project="local", credentials=AnonymousCredentials())) as client:

        def ask(statement: str) -> list[tuple[Any, ...]]:
            if statement.startswith("DESCRIBE"):
                return [
                    (field.name, field.field_type)
                    for field in client.get_table(statement.removeprefix("DESCRIBE ")).schema
                ]
            return [tuple(row) for row in client.query_and_wait(statement)]

        types = {"int32": "INTEGER", "int64": "INTEGER", "float64": "FLOAT", "timestamp": "DATETIME", "text": "STRING"}
        yield Warehouse(targets.get("bigquery"), client, ask, types, "DESCRIBE {name}")
        for dataset in client.list_datasets():
            client.delete_dataset(dataset.reference, delete_contents=True)


KINDS = {"postgres": a_postgres, "duckdb": a_duckdb, "bigquery": a_bigquery}


@pytest.fixture(params=sorted(KINDS))
def house(request: pytest.FixtureRequest) -> Iterator[Warehouse]:
    yield from KINDS[request.param](request)


# A person does things by SQL there; the stand-in of BigQuery takes no DDL.
in_sql = pytest.mark.parametrize("house", ["duckdb", "postgres"], indirect=True)
in_postgres = pytest.mark.parametrize("house", ["postgres"], indirect=True)
in_bigquery = pytest.mark.parametrize("house", ["bigquery"], indirect=True)


def view_of(house: Warehouse, service: str, namespace: str | None = None) -> str:
    return str(house.target.published_view(house.target.default_table(service, namespace), service))


def older_green() -> catalog.Service:
    """Green trips as the catalogue had them before the newest column was published."""
    green = catalog.service("green")
    return replace(green, eras=green.eras | {"official": green.eras["official"][:-1]})


# What the catalogue knows


def test_every_target_that_loads_from_the_lake_is_tried_here():
    assert {target.name for target in targets.loadable()} == set(KINDS)


@each_service
def test_the_published_columns_begin_with_those_of_the_newest_files_by_name_and_type(service):
    newest = schema_of(TripFile(service, Month(2026, 6)), "official")

    published = [(column.name, column.type) for column in catalog.service(service).published]

    assert published[: len(newest)] == [(field.name, ARROW[str(field.type)]) for field in newest]


@each_service
def test_every_column_of_the_mirror_is_published_whatever_its_case(service):
    mirrored = catalog.service(service).eras["csv_mirror"][-1].columns

    published = {column.name.lower() for column in catalog.service(service).published}

    assert published >= {name.lower() for name in mirrored}
    assert len(published) == len(catalog.service(service).published)


@pytest.mark.skipif(
    "TLC_REAL_DATA" not in os.environ, reason="TLC_REAL_DATA names no folder with the publisher's files"
)
def test_the_publishers_own_file_has_these_names_and_types():
    real = parquet.read_schema(Path(os.environ["TLC_REAL_DATA"]) / "trip-data/green_tripdata_2025-01.parquet")

    published = [(column.name, column.type) for column in catalog.service("green").published]

    assert published[: len(real)] == [(field.name, ARROW[str(field.type)]) for field in real]


# What loads make


@each_service
def test_a_load_makes_a_view_with_the_published_names_and_types(service, house, lake, landed_month):
    house.load(landed_month(f"{service}_tripdata_2024-01"), lake)

    found = house.columns_of(view_of(house, service))

    published = catalog.service(service).published
    assert [type_ for _, type_ in found] == [house.types[column.type] for column in published]
    assert [name.lower() for name, _ in found] == [column.name.lower() for column in published]


def test_the_view_has_the_rows_of_the_table_under_the_other_names(house, lake, landed_month):
    file = landed_month(JANUARY)
    house.load(file, lake)
    rows = parquet.read_table(lake.path(data_key(file))).to_pydict()

    [sums] = house.ask(
        "SELECT count(*), sum(VendorID), sum(PULocationID), sum(RatecodeID), max(lpep_pickup_datetime) "
        f"FROM {view_of(house, 'green')}"
    )

    expected = [sum(filter(None, rows[name])) for name in ("vendor_id", "pickup_location_id", "rate_code_id")]
    assert list(sums) == [len(rows["vendor_id"]), *expected, max(rows["pickup_datetime"])]


def test_a_load_into_another_namespace_makes_the_view_there(house, lake, landed_month):
    file = landed_month(JANUARY)

    house.load(file, lake, table=house.target.default_table("green", "nytaxi"))

    assert view_of(house, "green", "nytaxi") == "nytaxi.green_tripdata"
    assert house.ask("SELECT count(*) > 0 FROM nytaxi.green_tripdata") == [(True,)]


def test_a_table_with_a_name_of_its_own_has_no_view(house, lake, landed_month):
    other = house.target.parse_table("mine.trips")

    house.load(landed_month(JANUARY), lake, table=other)

    assert house.target.published_view(other, "green") is None
    with pytest.raises(Exception, match=r"(?i)green_tripdata|not found|does not exist"):
        house.columns_of("mine.green_tripdata")


# How loads keep it in step


@in_sql
def test_a_load_that_finds_the_month_in_place_makes_the_view_that_is_missing(house, lake, landed_month):
    file = landed_month(JANUARY)
    house.load(file, lake)
    house.ask("DROP VIEW green_tripdata")

    assert house.load(file, lake) == "unchanged"

    assert house.ask("SELECT count(*) > 0 FROM green_tripdata") == [(True,)]


def test_a_new_column_of_the_publisher_is_in_the_view_after_the_next_load(house, lake, landed_month, monkeypatch):
    newest = catalog.service("green").eras["official"][-1]
    file, older = landed_month(JANUARY), older_green()
    with monkeypatch.context() as before:
        before.setattr(catalog, "service", lambda name: {"green": older}[name])
        house.load(file, lake)
        assert len(house.columns_of(view_of(house, "green"))) == len(older.published) < len(newest.columns)

    assert house.load(file, lake) == "unchanged"

    assert [name.lower() for name, _ in house.columns_of(view_of(house, "green"))] == [
        name.lower() for name in newest.columns
    ]


@contextmanager
def published_as_read(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Publish green under the types that we read its columns with, as an earlier catalogue might have."""
    service = catalog.service("green")
    wide = replace(service, columns=tuple(replace(column, published_types={}) for column in service.columns))
    with monkeypatch.context() as before:
        before.setattr(catalog, "service", lambda name: {"green": wide}[name])
        yield


def test_a_view_of_other_types_is_made_anew(house, lake, landed_month, monkeypatch):
    file = landed_month(JANUARY)
    with published_as_read(monkeypatch):
        house.load(file, lake)
        assert house.columns_of(view_of(house, "green"))[0][1] == house.types["int64"]

    assert house.load(file, lake) == "unchanged"

    assert house.columns_of(view_of(house, "green"))[0][1] == house.types["int32"]


def test_a_view_that_is_as_it_should_be_is_not_touched(house, lake, landed_month, caplog):
    with caplog.at_level("INFO"):
        house.load(landed_month(JANUARY), lake)
        assert caplog.text.count("the view of") == 1

        house.load(landed_month(FEBRUARY), lake)

    assert caplog.text.count("the view of") == 1


@in_postgres
def test_a_view_does_not_follow_a_table_that_was_renamed(house, lake, landed_month):
    file = landed_month(JANUARY)
    house.load(file, lake)
    house.ask("ALTER TABLE green_taxi_trips RENAME TO yours")

    house.load(file, lake)
    house.ask("TRUNCATE yours")

    assert house.ask("SELECT count(*) > 0 FROM green_tripdata") == [(True,)]


# Who reads and loads meanwhile


@in_postgres
def test_a_load_passes_those_who_read_the_view(house, lake, landed_month, warehouse):
    house.load(landed_month(JANUARY), lake)
    with psycopg.connect(warehouse) as reader:
        reader.execute("SELECT count(*) FROM green_tripdata")  # and its transaction stays open

        assert house.load(landed_month(FEBRUARY), lake) == "replaced"


@in_postgres
def test_a_view_that_somebody_reads_is_changed_when_they_are_done(house, lake, landed_month, monkeypatch, warehouse):
    file, older = landed_month(JANUARY), older_green()
    with monkeypatch.context() as before:
        before.setattr(catalog, "service", lambda name: {"green": older}[name])
        house.load(file, lake)
    with psycopg.connect(warehouse) as reader:
        reader.execute("SELECT count(*) FROM green_tripdata")  # and its transaction stays open

        with pytest.raises(WarehouseBusy):
            house.load(file, lake)

    assert house.load(file, lake) == "unchanged"
    assert len(house.columns_of("green_tripdata")) == len(catalog.service("green").published)


@in_sql
def test_loads_beside_each_other_make_one_view(house, lake, landed_month, warehouse):
    files = [landed_month(f"green_tripdata_2024-0{month}") for month in (1, 2, 3)]

    def load(file: TripFile) -> str:
        if isinstance(house.client, DatabaseFile):
            return house.load(file, lake)
        with psycopg.connect(warehouse) as client:
            return house._replace(client=client).load(file, lake)

    with ThreadPoolExecutor(len(files)) as pool:
        assert list(pool.map(load, files)) == ["replaced"] * 3

    assert house.ask("SELECT count(DISTINCT date_trunc('month', lpep_pickup_datetime)) >= 3 FROM green_tripdata") == [
        (True,)
    ]


# What is in the way


@in_sql
@pytest.mark.parametrize(
    ("obstacle", "kind"),
    [
        ("CREATE TABLE green_tripdata AS SELECT 1 AS mine", "table"),
        ("CREATE VIEW green_tripdata AS SELECT 1 AS mine", "view"),
    ],
)
@pytest.mark.parametrize("is_loaded", [False, True])
def test_what_somebody_else_has_under_the_name_is_refused_by_name_and_left_alone(
    obstacle, kind, is_loaded, house, lake, landed_month
):
    file = landed_month(JANUARY)
    if is_loaded:
        house.load(file, lake)
        house.ask("DROP VIEW green_tripdata")
    house.ask(obstacle)

    refusal = rf"green_tripdata is a {kind} that no load has made.* rename it"
    with pytest.raises(WarehouseRefused, match=refusal):
        house.load(file, lake)
    with pytest.raises(WarehouseRefused, match=refusal):
        house.target.check(house.client, lake, house.target.default_table("green"), "green")

    assert house.ask("SELECT mine FROM green_tripdata") == [(1,)]


@in_bigquery
def test_a_table_of_somebody_else_is_refused_in_bigquery_too(house, lake, landed_month):
    house.client.create_dataset("nyc_taxi")
    mine = bq.Table("local.nyc_taxi.green_tripdata", [bq.SchemaField("mine", "INTEGER")])
    house.client.create_table(mine)

    with pytest.raises(WarehouseRefused, match=r"nyc_taxi\.green_tripdata is a table that no load has made"):
        house.load(landed_month(JANUARY), lake)

    assert house.client.get_table(mine).schema[0].name == "mine"


@in_postgres
def test_a_view_that_others_depend_on_is_not_dropped_from_under_them(house, lake, landed_month, monkeypatch):
    file = landed_month(JANUARY)
    with published_as_read(monkeypatch):
        house.load(file, lake)
    house.ask("CREATE VIEW theirs AS SELECT VendorID FROM green_tripdata")

    with pytest.raises(WarehouseRefused, match="depend"):
        house.load(file, lake)

    assert house.ask("SELECT count(*) > 0 FROM theirs") == [(True,)]
