from collections import Counter
from datetime import datetime

import pyarrow as pa
import pytest

from include.nyc_taxi import Month, TripFile, catalog, quality
from include.nyc_taxi.errors import PermanentError
from include.nyc_taxi.reading import arrow_schema

FILE = TripFile("green", Month(2021, 1))
GOOD = {
    "pickup_datetime": datetime(2021, 1, 5, 8, 30),
    "dropoff_datetime": datetime(2021, 1, 5, 8, 43),
    "vendor_id": 2,
    "passenger_count": 1,
    "pickup_location_id": 74,
    "dropoff_location_id": 263,
    "trip_distance": 2.31,
    "total_amount": 18.51,
}


def trips(*rows: dict[str, object], service: str = "green") -> pa.RecordBatch:
    """Good trips with some other values."""
    return pa.RecordBatch.from_pylist([GOOD | row for row in rows], schema=arrow_schema(service))


def rules(batch: pa.RecordBatch, profile: str, service: str, **options: int) -> tuple[quality.Rule, ...]:
    """All rules of a profile for a file that has this batch only."""
    return quality.rules(service) + quality.whole_file_rules(
        service,
        profile,
        lambda names: [batch.select([name for name in batch.schema.names if name in names])],
        **options,
    )


def split(
    batch: pa.RecordBatch, profile: str, file: TripFile = FILE
) -> tuple[pa.RecordBatch, dict[str, pa.RecordBatch]]:
    hits = quality.hits(batch, file, rules(batch, profile, file.service))
    return quality.split(batch, hits, quality.rejecting(profile))


def reasons(*rows: dict[str, object], profile: str = "strict", file: TripFile = FILE) -> dict[str, int]:
    """How many of the rows each rule rejects; all others must be accepted."""
    batch = trips(*rows, service=file.service)
    accepted, rejected = split(batch, profile, file)

    counts = {reason: some.num_rows for reason, some in rejected.items()}
    assert accepted.num_rows + sum(counts.values()) == batch.num_rows
    return counts


WRONG = [
    ("no_passengers", {"passenger_count": 0}),
    ("pickup_outside_month", {"pickup_datetime": datetime(2020, 12, 31, 23, 59, 59, 999_999)}),
    (
        "pickup_outside_month",
        {"pickup_datetime": datetime(2021, 2, 1), "dropoff_datetime": datetime(2021, 2, 1)},
    ),
    ("pickup_outside_month", {"pickup_datetime": datetime(2009, 1, 1)}),
    ("dropoff_before_pickup", {"dropoff_datetime": datetime(2021, 1, 5, 8, 29, 59, 999_999)}),
    ("absurd_distance", {"trip_distance": -0.01}),
    ("absurd_distance", {"trip_distance": 1000.01}),
    ("absurd_distance", {"trip_distance": float("inf")}),
    ("absurd_distance", {"trip_distance": float("nan")}),
    ("absurd_amount", {"total_amount": float("nan")}),
    ("absurd_amount", {"total_amount": 5000.01}),
    ("absurd_amount", {"total_amount": -5000.01}),
    ("unknown_vendor_id", {"vendor_id": 9}),
    ("unknown_rate_code_id", {"rate_code_id": 7}),
    ("unknown_payment_type", {"payment_type": -1}),
    ("unknown_zone", {"pickup_location_id": 0}),
    ("unknown_zone", {"dropoff_location_id": 266}),
    ("unknown_zone", {"pickup_location_id": None, "dropoff_location_id": -1}),
    ("unknown_store_and_fwd_flag", {"store_and_fwd_flag": "X"}),
    ("lone_negative_amount", {"total_amount": -6.55}),
]
RIGHT = [
    {},
    {"passenger_count": 9},
    {"pickup_datetime": datetime(2021, 1, 1)},
    {
        "pickup_datetime": datetime(2021, 1, 31, 23, 59, 59, 999_999),
        "dropoff_datetime": datetime(2021, 2, 1, 0, 10),
    },
    {"dropoff_datetime": GOOD["pickup_datetime"]},
    {"trip_distance": 0.0},
    {"trip_distance": 1000.0},
    {"pickup_location_id": 1, "dropoff_location_id": 265},
    {"store_and_fwd_flag": "Y"},
]


@pytest.mark.parametrize("service", ["green", "yellow"])
@pytest.mark.parametrize(("reason", "values"), WRONG)
def test_strict_rejects_what_is_wrong_with_the_reason(reason: str, values: dict[str, object], service: str):
    assert reasons(values, {}, file=TripFile(service, FILE.month)) == {reason: 1}


@pytest.mark.parametrize("values", RIGHT)
def test_strict_keeps_what_is_just_right(values: dict[str, object]):
    assert reasons(values) == {}


REVERSAL = {"total_amount": -18.51}


@pytest.mark.parametrize(
    "charge",
    [{}, {"vendor_id": None}, {"pickup_location_id": None}, {"passenger_count": 3}, {"dropoff_datetime": None}],
)
def test_strict_keeps_a_charge_and_its_reversal_wherever_they_stand(charge: dict[str, object]):
    assert reasons(charge, charge | REVERSAL) == reasons(charge | REVERSAL, {"total_amount": 3.0}, charge) == {}


def test_strict_keeps_a_charge_that_was_reversed_twice():
    assert reasons({}, REVERSAL, REVERSAL) == {}


@pytest.mark.parametrize(
    "other",
    [
        {"total_amount": 18.52},
        {"total_amount": 0.0},
        {"total_amount": None},
        {"vendor_id": 1},
        {"vendor_id": None},
        {"pickup_datetime": datetime(2021, 1, 5, 8, 30, 1)},
        {"dropoff_datetime": datetime(2021, 1, 5, 8, 43, 1)},
        {"pickup_location_id": 75},
        {"dropoff_location_id": None},
    ],
)
def test_strict_rejects_a_reversal_of_nothing(other: dict[str, object]):
    assert reasons(other, REVERSAL) == {"lone_negative_amount": 1}


def test_absent_values_make_no_two_trips_the_same():
    assert reasons({"vendor_id": None}, {"vendor_id": None, "total_amount": -3.0}) == {"lone_negative_amount": 1}


def test_strict_rejects_a_fare_of_the_apps_that_reverses_nothing():
    fares = [{"base_passenger_fare": fare, "hvfhs_license_num": "HV0003"} for fare in (12.5, -12.5, -3.0, 5001.0)]

    rejected = reasons(*fares, file=TripFile("fhvhv", FILE.month))

    assert rejected == {"lone_negative_amount": 1, "absurd_amount": 1}


def test_more_negative_amounts_than_may_be_held_in_memory_are_refused():
    two, three = trips({}, REVERSAL, REVERSAL), trips({}, REVERSAL, REVERSAL, REVERSAL)

    *_, lone = rules(two, "strict", "green", most_negatives=2)
    assert lone.hits(two, FILE).true_count == 0
    with pytest.raises(PermanentError, match="more than 2 rows have a negative total_amount"):
        rules(three, "strict", "green", most_negatives=2)
    assert rules(three, "notes", "green", most_negatives=2) == quality.rules("green")


def test_only_the_profile_that_rejects_by_it_looks_through_the_file():
    looks = []

    for profile, service in (("none", "green"), ("notes", "yellow"), ("strict", "fhv")):
        assert quality.whole_file_rules(service, profile, lambda names: looks.append(names) or []) == ()
    assert looks == []


@pytest.mark.parametrize("column", GOOD)
def test_strict_keeps_absent_values(column: str):
    wrong = [values for _, values in WRONG]

    assert reasons({column: None}) == {}
    assert reasons({column: None}, *wrong) == reasons(*wrong)


def test_notes_reject_trips_without_passengers_alone():
    assert reasons(*(values for _, values in WRONG), profile="notes") == {"no_passengers": 1}


def test_none_rejects_nothing():
    assert reasons(*(values for _, values in WRONG), profile="none") == {}


def test_first_rule_that_hits_claims_the_row():
    all_wrong = {name: value for _, values in WRONG for name, value in values.items()}
    but_passengers = all_wrong | {"passenger_count": 1}

    assert reasons(all_wrong, but_passengers, {}) == {"no_passengers": 1, "pickup_outside_month": 1}


def test_rows_keep_their_values_and_their_order():
    batch = trips(*({"trip_distance": float(number), "passenger_count": number % 2} for number in range(6)))

    accepted, rejected = split(batch, "notes")

    assert accepted == batch.take(pa.array([1, 3, 5]))
    assert rejected == {"no_passengers": batch.take(pa.array([0, 2, 4]))}


def test_rule_that_hits_every_row_leaves_an_empty_batch():
    accepted, rejected = split(trips({"passenger_count": 0}), "notes")

    assert accepted.num_rows == 0
    assert rejected["no_passengers"].num_rows == 1


def test_empty_batch_is_split_into_nothing():
    accepted, rejected = split(trips({}).slice(0, 0), "strict")

    assert (accepted.num_rows, rejected) == (0, {})


def test_december_ends_with_the_year():
    december = TripFile("green", Month(2020, 12))
    last = {"pickup_datetime": datetime(2020, 12, 31, 23, 59, 59), "dropoff_datetime": datetime(2021, 1, 1)}
    next_year = {"pickup_datetime": datetime(2021, 1, 1), "dropoff_datetime": datetime(2021, 1, 1)}

    assert reasons(last, next_year, file=december) == {"pickup_outside_month": 1}


@pytest.mark.parametrize("name", ["lax", "Notes", "", "../../etc", "notes'; drop table trips --"])
def test_unknown_profile_is_refused_with_the_known_ones(name: str):
    with pytest.raises(ValueError, match=r"is not one of \['none', 'notes', 'strict'\]") as refusal:
        quality.rejecting(name)

    assert repr(name) in str(refusal.value)


def test_profiles_name_rules_that_exist():
    names = {rule.name for rule in quality.RULES}

    for service in catalog.services():
        of_service = [rule.name for rule in quality.rules(service)]
        assert len(set(of_service)) == len(of_service)
    assert set(quality.PROFILES["strict"]) == names - {"negative_amount"} | {"lone_negative_amount"}
    assert all(set(profile) <= set(quality.PROFILES["strict"]) for profile in quality.PROFILES.values())


def test_rule_about_a_column_that_the_service_lacks_does_not_apply():
    rule = quality.Rule("no_tip", "trip_type is absent", ("trip_type",), lambda trips, _file: trips["trip_type"])

    assert rule.applies_to("green")
    assert not rule.applies_to("yellow")


def test_rejected_rows_carry_their_reason():
    batch = trips({}, {"trip_distance": None})

    rejected = quality.with_reason(batch, "no_passengers")

    assert rejected.schema.equals(quality.rejects_schema(batch.schema), check_metadata=True)
    assert rejected["reason"].to_pylist() == ["no_passengers", "no_passengers"]
    assert rejected["misfit"].to_pylist() == [None, None]
    assert rejected.select(batch.schema.names) == batch


def test_every_rule_that_applies_is_counted_whether_it_rejects_or_not():
    wrong = trips({}, *(values for _, values in WRONG))

    hits = quality.hits(wrong, FILE, rules(wrong, "strict", "green"))

    wanted = Counter(name for name, _ in WRONG) | {"negative_amount": 2}
    assert {name: hit.true_count for name, hit in hits.items() if hit.true_count} == wanted
    assert {hit.null_count for hit in hits.values()} == {0}
    assert "unknown_hvfhs_license_num" not in hits
