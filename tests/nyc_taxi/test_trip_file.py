import pytest

from include.nyc_taxi import Month, TripFile

FILE = TripFile("green", Month(2024, 1))


@pytest.mark.parametrize("suffix", ["", ".parquet", ".csv.gz", ".csv", ".parquet.manifest.json"])
def test_published_name_is_read_with_any_suffix(suffix: str):
    assert TripFile.parse(f"green_tripdata_2024-01{suffix}") == FILE


@pytest.mark.parametrize(
    "key",
    [
        "data/green/green_tripdata_2024-01.parquet",
        "/lake/raw/official/green_tripdata_2024-01.csv.gz",
        "gs://bucket/a b/green_tripdata_2024-01.parquet",
        "green_tripdata_2024-01",
    ],
)
def test_object_is_recognised_by_the_end_of_its_key(key: str):
    assert TripFile.parse_key(key) == FILE


def test_name_is_the_publishers():
    assert FILE.name == str(FILE) == "green_tripdata_2024-01"
    assert TripFile.parse(FILE.name) == FILE


@pytest.mark.parametrize(
    "name",
    [
        "",
        "green",
        "2024-01",
        "green_tripdata_2024-1.parquet",
        "green_tripdata_2024-01parquet",
        "green_tripdata_2024-01\n",
        "Green_tripdata_2024-01",
        "data/green_tripdata_2024-01",
        "../../etc_tripdata_2024-01",
    ],
)
def test_other_names_are_refused_with_the_value(name: str):
    with pytest.raises(ValueError, match=r"is not \{service\}_tripdata_\{YYYY-MM\}") as refusal:
        TripFile.parse(name)

    assert repr(name) in str(refusal.value)


def test_name_of_a_month_outside_the_calendar_is_refused():
    with pytest.raises(ValueError, match="'2024-13' is not YYYY-MM"):
        TripFile.parse("green_tripdata_2024-13.parquet")


@pytest.mark.parametrize("service", ["purple", "Green", "", "../../etc", "green'; drop table trips --", "green/.."])
def test_unknown_service_is_refused_with_the_known_ones(service: str):
    with pytest.raises(ValueError, match=r"is not one of \['fhv', 'fhvhv', 'green', 'yellow'\]") as refusal:
        TripFile(service, Month(2024, 1))

    assert repr(service) in str(refusal.value)


def test_month_that_is_only_spelt_like_one_is_refused():
    with pytest.raises(TypeError, match="'2024-01' is not a Month"):
        TripFile("green", "2024-01")


def test_files_sort_by_service_and_month():
    files = [TripFile("yellow", Month(2023, 1)), FILE, TripFile("green", Month(2023, 12))]

    assert sorted(files) == [files[2], FILE, files[0]]
