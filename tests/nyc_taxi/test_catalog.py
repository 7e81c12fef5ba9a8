from dataclasses import replace
from pathlib import Path

import pytest

from devtools.catalog_docs import file_lines, markdown
from include.nyc_taxi import Month, TripFile, catalog
from include.nyc_taxi.catalog import Column, Era, Service, Source
from include.nyc_taxi.errors import PermanentError

FILE = TripFile("green", Month(2024, 1))
SERVICES = list(catalog.services().values())
GREEN = catalog.service("green")
ERAS = [(service, source, era) for service in SERVICES for source, eras in service.eras.items() for era in eras]

each_service = pytest.mark.parametrize("service", SERVICES, ids=lambda service: service.name)
each_era = pytest.mark.parametrize(("service", "source", "era"), ERAS, ids=lambda value: getattr(value, "name", value))


def test_services_and_sources_are_the_known_ones():
    assert set(catalog.services()) == {"yellow", "green", "fhv", "fhvhv"}
    assert set(catalog.sources()) == {"official", "csv_mirror", "csv_archive"}


@each_era
def test_every_published_column_has_one_canonical_column(service: Service, source: str, era: Era):
    columns = [service.column_published_as(name, era) for name in era.columns]

    assert None not in columns
    assert len(set(columns)) == len(era.columns)
    assert source in catalog.sources()


@each_service
def test_canonical_columns_have_types_that_every_place_can_spell(service: Service):
    assert {column.type for column in service.columns} <= {"int16", "int32", "float64", "timestamp", "text"}
    assert all(column.description and service.name in column.services for column in service.columns)


@each_service
def test_every_source_of_a_service_has_the_month_that_tells_throttled_from_unpublished(service: Service):
    for name in service.eras:
        assert service.era(name, Month.parse(catalog.source(name).known))


@each_service
@pytest.mark.parametrize("name", ["PULocationID", "PUlocationID", " pulocationid ", "pickup_location_id"])
def test_case_and_surrounding_spaces_of_a_published_name_do_not_matter(service: Service, name: str):
    assert service.column_published_as(name).name == "pickup_location_id"


def test_an_era_can_mean_something_else_by_a_name():
    fhv = catalog.service("fhv")
    of_2018 = fhv.era("csv_archive", Month(2018, 5))

    assert fhv.column_published_as("Dispatching_base_num").name == "dispatching_base_num"
    assert fhv.column_published_as("Dispatching_base_num", of_2018).name == "affiliated_base_number"
    assert fhv.column_published_as("Dispatching_base_number", of_2018).name == "dispatching_base_num"


@each_service
def test_codes_are_values_of_their_column(service: Service):
    for column in service.columns:
        assert column.type == "text" or all(code.isdecimal() for code in column.codes.values()), column


def test_docs_show_the_catalogue_as_it_is():
    root = Path(__file__).resolve().parents[2]

    assert (root / "docs" / "catalog.md").read_text() == markdown()


def test_every_file_published_since_2009_has_an_era():
    lines = list(file_lines(Month(2026, 8)))

    assert len(lines) == 1022
    assert all(line.split()[-1].startswith(line.split()[0]) for line in lines)


def test_pickup_has_one_name_in_both_services():
    published = {"yellow": "tpep_pickup_datetime", "green": "lpep_pickup_datetime"}

    for service, name in published.items():
        assert catalog.service(service).column_published_as(name).name == "pickup_datetime"


def test_name_that_was_never_published_has_no_column():
    assert catalog.service("green").column_published_as("tip") is None


def test_name_that_stands_for_two_columns_is_an_error():
    columns = (
        Column("tip", "float64", "", ("green",), ("Gratuity",)),
        Column("tolls", "float64", "", ("green",), ("gratuity ",)),
    )

    with pytest.raises(ValueError, match="'gratuity ' stands for tip and tolls"):
        replace(GREEN, columns=columns, charge=None, fare=None).column_published_as("tip")


@pytest.mark.parametrize(
    ("service", "month", "era", "newest_column"),
    [
        ("yellow", "2011-01", "official-2011-01", "airport_fee"),
        ("yellow", "2023-01", "official-2011-01", "airport_fee"),
        ("yellow", "2023-02", "official-2023-02", "Airport_fee"),
        ("yellow", "2024-12", "official-2023-02", "Airport_fee"),
        ("yellow", "2025-01", "official-2025-01", "cbd_congestion_fee"),
        ("yellow", "2026-06", "official-2026-06", "request_source"),
        ("green", "2014-01", "official-2014-01", "congestion_surcharge"),
        ("green", "2024-12", "official-2014-01", "congestion_surcharge"),
        ("green", "2025-01", "official-2025-01", "cbd_congestion_fee"),
        ("green", "2031-01", "official-2026-06", "request_source"),
    ],
)
def test_era_of_a_month_is_the_latest_that_has_begun(service: str, month: str, era: str, newest_column: str):
    found = catalog.service(service).era("official", Month.parse(month))

    assert found.name == era
    assert found.columns[-1] == newest_column


@pytest.mark.parametrize(
    ("service", "source", "month", "span"),
    [
        ("yellow", "official", "2008-12", "from 2009-01 on"),
        ("green", "official", "2013-12", "from 2014-01 on"),
        ("green", "csv_mirror", "2018-12", "from 2019-01 to 2021-07"),
        ("green", "csv_mirror", "2021-08", "from 2019-01 to 2021-07"),
    ],
)
def test_month_that_a_source_never_had_is_an_error_with_the_months_that_it_has(
    service: str, source: str, month: str, span: str
):
    with pytest.raises(PermanentError, match=f"{service} {month}: source '{source}' has {service} {span}"):
        catalog.service(service).era(source, Month.parse(month))


def test_last_month_of_an_ended_source_is_there():
    assert catalog.service("green").era("csv_mirror", Month(2021, 7)).name == "csv_mirror-2019-01"


def test_source_that_does_not_publish_a_service_is_an_error_that_lists_those_who_do():
    with pytest.raises(PermanentError, match="'nobody' does not publish it; expected one of"):
        catalog.service("green").era("nobody", Month(2021, 1))


@pytest.mark.parametrize("name", ["nobody", "", "../../etc", "official'; drop table trips --"])
def test_unknown_names_are_refused_with_the_known_ones(name: str):
    with pytest.raises(ValueError, match=r"is not one of \['fhv', 'fhvhv', 'green', 'yellow'\]"):
        catalog.service(name)
    with pytest.raises(ValueError, match=r"is not one of \['csv_archive', 'csv_mirror', 'official'\]"):
        catalog.source(name)


@pytest.mark.parametrize(
    ("source", "url"),
    [
        ("official", "https://d37ci6vzurychx.cloudfront.net/trip-data/green_tripdata_2024-01.parquet"),
        (
            "csv_mirror",
            "https://github.com/DataTalksClub/nyc-tlc-data/releases/download/green/green_tripdata_2024-01.csv.gz",
        ),
    ],
)
def test_address_of_a_file_is_the_publishers(source: str, url: str):
    assert catalog.source(source).url(FILE) == url


@pytest.mark.parametrize("base_url", ["http://here:1/tlc", "http://here:1/tlc/"])
def test_another_base_url_serves_the_same_paths(base_url: str):
    official = catalog.source("official")

    assert official.url(FILE, base_url) == "http://here:1/tlc/trip-data/green_tripdata_2024-01.parquet"
    assert official.known_url("green", base_url) == "http://here:1/tlc/trip-data/green_tripdata_2019-03.parquet"


@pytest.mark.parametrize("source", catalog.sources().values(), ids=lambda source: source.name)
def test_known_file_of_any_service_is_published_by_the_source(source: Source):
    file = TripFile.parse_key(source.known_url())

    assert source.known_url() == source.url(file)
    assert catalog.service(file.service).era(source.name, file.month)


@each_service
def test_traits_are_those_of_the_columns(service: Service):
    names = {column.name for column in service.columns}

    assert service.has_meter == ("passenger_count" in names)
    assert service.has_zones == ({"pickup_location_id", "dropoff_location_id"} <= names)
    assert {service.charge, service.fare} <= {None, *names}
    assert (service.charge is None) == (service.fare is None)


def test_services_differ_in_every_trait_of_their_lines():
    for trait in ("title", "colour", "dark_colour", "dashes"):
        assert len({getattr(service, trait) for service in SERVICES}) == len(SERVICES), trait


@pytest.mark.parametrize("trait", ["charge", "fare"])
def test_trait_that_names_no_column_is_refused(trait: str):
    with pytest.raises(ValueError, match=f"service 'green': {trait} 'tolls' is not one of its columns"):
        replace(GREEN, **{trait: "tolls"})
