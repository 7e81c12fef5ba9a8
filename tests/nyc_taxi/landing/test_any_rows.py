"""Any rows land once, and with their values."""

from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import example, given, settings
from hypothesis import strategies as st

from include.nyc_taxi import catalog, quality
from include.nyc_taxi.lake import Lake
from tests.nyc_taxi.landing.landed import DATA, REJECTS, assert_lies_there, land, table
from tests.nyc_taxi.trips import TRIP, Row, csv_gz, put_raw, trip, write_parquet

IDS = st.none() | st.integers(-(2**15), 2**15 - 1)
AMOUNTS = st.none() | st.floats(allow_nan=False, allow_infinity=False)
TIMES = st.none() | st.datetimes(datetime(1900, 1, 1), datetime(2999, 12, 31)).map(lambda time: time.replace(fold=0))
# A CSV value with a line end and a comma is refused as swallowed rows.
WORDS = st.none() | st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])).filter(
    lambda word: not {"\n", ","} <= set(word)
)
ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "VendorID": IDS,
            "lpep_pickup_datetime": TIMES,
            "lpep_dropoff_datetime": TIMES,
            "store_and_fwd_flag": WORDS,
            "passenger_count": st.sampled_from([0, None]) | IDS,
            "PULocationID": IDS,
            "trip_distance": AMOUNTS,
            "total_amount": AMOUNTS,
        }
    ).map(lambda values: trip(**values)),
    min_size=1,
    max_size=8,
)
FLAGS = catalog.service("green").column_published_as("store_and_fwd_flag").codes
CANONICAL = {
    "VendorID": "vendor_id",
    "lpep_pickup_datetime": "pickup_datetime",
    "lpep_dropoff_datetime": "dropoff_datetime",
    "PULocationID": "pickup_location_id",
}


@settings(max_examples=25, deadline=None)
@example(rows=[trip(store_and_fwd_flag="\r")], source="csv_mirror", profile="none")
@example(rows=[trip(store_and_fwd_flag="\r")], source="official", profile="none")
@example(rows=[trip(store_and_fwd_flag=" \u2003y\n")], source="csv_mirror", profile="none")
@given(rows=ROWS, source=st.sampled_from(["official", "csv_mirror"]), profile=st.sampled_from(list(quality.PROFILES)))
def test_whatever_the_rows_each_lands_once_and_with_its_values(rows: list[Row], source: str, profile: str):
    with TemporaryDirectory() as folder:
        lake = Lake.at(folder)
        official = source == "official"
        published = write_parquet(Path(folder) / "published", rows).read_bytes() if official else csv_gz(rows, "\r\n")
        put_raw(lake, published, source=source)

        result = land(lake, source=source, profile=profile, accept_implausible=True)

        assert_lies_there(lake, result)
        assert result.rows_read == len(rows)
        accepted, rejected = table(lake, DATA).to_pylist(), table(lake, REJECTS).to_pylist()
        assert _sorted(accepted + rejected) == _sorted(map(_read_as, rows))
        assert profile == "none" or all(row["passenger_count"] != 0 for row in accepted)
        assert profile == "strict" or all(row["passenger_count"] == 0 for row in rejected)


def _read_as(row: Row) -> Row:
    """Return the drawn values under their canonical names, with the flag's value from the catalogue."""
    flag = row["store_and_fwd_flag"]
    if flag is not None:
        flag = FLAGS.get(flag.strip().lower(), flag) or None
    names = ["VendorID", "lpep_pickup_datetime", "lpep_dropoff_datetime", "PULocationID"]
    names += ["passenger_count", "trip_distance", "total_amount"]
    return {CANONICAL.get(name, name): row[name] for name in names} | {"store_and_fwd_flag": flag}


def _sorted(rows: object) -> list[str]:
    """Return the drawn columns of the rows, sorted."""
    drawn = sorted(_read_as(TRIP))
    return sorted(repr([row[name] for name in drawn]) for row in rows)
