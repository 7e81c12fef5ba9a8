"""What a republished file has changed: the same counts as those of a plain multiset of its rows."""

import hashlib
from collections import Counter
from dataclasses import asdict, replace
from datetime import datetime
from math import nan
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from devtools.generator import write_month
from include.nyc_taxi import catalog, editions, landing
from include.nyc_taxi.changes import Changes, compare, hashes_of
from include.nyc_taxi.errors import DamagedFile, ShrunkenEdition
from include.nyc_taxi.lake import Lake, raw_key
from include.nyc_taxi.precedence import Wish
from tests import independent
from tests.nyc_taxi.trips import FILE, TRIP, Row, csv_gz, trip, write_parquet

COLUMNS = [column.name for column in catalog.service("green").columns]
KEY = raw_key(FILE, "csv_mirror")

some_rows = st.lists(
    st.fixed_dictionaries(
        {
            "VendorID": st.sampled_from([1, 2]),
            "lpep_pickup_datetime": st.sampled_from([None, datetime(2021, 1, 1), datetime(1969, 12, 31, 23, 59, 59)]),
            "store_and_fwd_flag": st.sampled_from([None, "", "N", "Y", " y", "é"]),
            "passenger_count": st.sampled_from([None, 0, 1, -1]),
            "tip_amount": st.sampled_from([None, 0.0, -0.0, nan, -nan, 1.1, 1e308, 5e-324]),
            "total_amount": st.sampled_from([None, 0.0, -0.0, 18.51]),
        }
    ).map(lambda values: trip(**values)),
    min_size=1,
    max_size=8,
)


def write(path: Path, rows: list[Row], source: str) -> Path:
    if source == "csv_mirror":
        path.write_bytes(csv_gz(rows))
        return path
    return write_parquet(path, rows)


def multiset(path: Path, source: str) -> Counter[tuple[object, ...]]:
    """The rows of a file as a naive reader finds them; NaN is no value."""
    columns = independent.read(path, FILE, source)
    size = len(next(iter(columns.values())))
    rows = zip(*(columns.get(name, [None] * size) for name in COLUMNS), strict=True)
    return Counter(tuple(None if value != value else value for value in row) for row in rows)  # noqa: PLR0124


@settings(max_examples=25, deadline=None)
@example(old=[trip(tip_amount=0.0)], new=[trip(tip_amount=-0.0)], source="official")
@example(old=[trip(tip_amount=nan)], new=[trip(tip_amount=-nan)], source="official")
@example(old=[trip(tip_amount=None)], new=[trip(tip_amount=nan)], source="official")
@example(old=[trip(store_and_fwd_flag=None)], new=[trip(store_and_fwd_flag="")], source="official")
@example(old=[trip(passenger_count=None)], new=[trip(passenger_count=0)], source="csv_mirror")
@example(old=[trip(VendorID=1, passenger_count=2)], new=[trip(VendorID=2, passenger_count=1)], source="official")
@given(old=some_rows, new=some_rows, source=st.sampled_from(["official", "csv_mirror"]))
def test_comparison_counts_what_a_plain_one_counts(old: list[Row], new: list[Row], source: str):
    with TemporaryDirectory() as folder:
        first, second = (
            write(Path(folder) / name, rows, source) for name, rows in (("old.file", old), ("new.file", new))
        )
        before, after = multiset(first, source), multiset(second, source)

        found = compare(FILE, first, second, before="a", after="b", source=source)

    assert (found.added, found.removed) == ((after - before).total(), (before - after).total())
    assert found.equal == (before & after).total()


numbers = st.none() | st.integers(-(2**15), 2**15 - 1)
arrays = st.integers(0, 12).flatmap(
    lambda size: st.tuples(
        st.lists(numbers, min_size=size, max_size=size).map(lambda values: pa.array(values, pa.int16())),
        st.lists(st.none() | st.floats(), min_size=size, max_size=size).map(lambda v: pa.array(v, pa.float64())),
        st.lists(st.none() | st.text("aé\0", max_size=2), min_size=size, max_size=size).map(
            lambda values: pa.array(values, pa.string())
        ),
        st.lists(st.none() | st.datetimes(), min_size=size, max_size=size).map(
            lambda values: pa.array(values, pa.timestamp("us"))
        ),
    )
)


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(columns=arrays, start=st.integers(0, 5), length=st.integers(0, 12))
def test_row_has_one_hash_in_whatever_batch_it_comes(columns: tuple[pa.Array, ...], start: int, length: int):
    batch = pa.RecordBatch.from_arrays(list(columns), names=list("ifst"))

    whole = hashes_of(batch)

    assert np.array_equal(hashes_of(batch.slice(start, length)), whole[start : start + length])
    rows = [tuple("nan" if value != value else value for value in row) for row in zip(*batch.to_pydict().values())]  # noqa: B905, PLR0124
    assert len(set(whole.tolist())) == len(set(rows))


def test_nulls_are_equal_whatever_lies_under_them():
    some = pa.array([7, 8, 9], pa.int16())
    garbage = pa.Array.from_buffers(pa.int16(), 3, [pa.py_buffer(b"\x05"), some.buffers()[1]])
    clean = pa.array([7, None, 9], pa.int16())

    assert garbage.equals(clean)
    assert np.array_equal(*(hashes_of(pa.RecordBatch.from_arrays([each], ["n"])) for each in (garbage, clean)))


def test_rows_of_many_batches_and_buckets_are_compared(tmp_path: Path):
    for name in ("old", "new"):
        write_month(FILE, tmp_path / name, rows=30_000)
    table = parquet.read_table(tmp_path / "new")
    table = pa.concat_tables([table.slice(12), table.slice(20_000, 3), table.slice(20_000, 3)])
    parquet.write_table(table, tmp_path / "new", row_group_size=777)
    before, after = (Counter(zip(*parquet.read_table(tmp_path / n).to_pydict().values())) for n in ("old", "new"))  # noqa: B905

    found = compare(FILE, tmp_path / "old", tmp_path / "new", before="a", after="b")

    assert (found.added, found.removed) == ((after - before).total(), (before - after).total()) == (6, 12)
    assert found.equal == 30_000 - 12


def test_sums_are_told_where_they_differ_and_only_of_what_is_a_number(tmp_path: Path):
    old = write_parquet(tmp_path / "old", [trip(tip_amount=1.0, tolls_amount=nan), trip(tip_amount=None)])
    new = write_parquet(tmp_path / "new", [trip(tip_amount=2.5, tolls_amount=nan), trip(total_amount=20.01)])

    found = compare(FILE, old, new, before="a", after="b")

    assert found.sums == {"tip_amount": (1.0, 5.46), "total_amount": (37.02, 38.52)}
    assert str(found) == "2 rows added, 2 removed, total_amount +1.50"


def test_sums_beyond_all_bounds_can_still_be_written_down(tmp_path: Path):
    old = write_parquet(tmp_path / "old", [trip(tip_amount=1e308)] * 3)
    new = write_parquet(tmp_path / "new", [trip(tip_amount=-1e308)] * 4)

    found = compare(FILE, old, new, before="a", after="b")

    assert found.sums["tip_amount"] == (1e15, -1e15)


def test_columns_that_came_and_went_are_named_as_published(tmp_path: Path):
    old = write_parquet(tmp_path / "old", [trip(cbd_congestion_fee=0.75)])
    new = write_parquet(tmp_path / "new", [trip(surprise=1)])

    found = compare(FILE, old, new, before="a", after="b")

    assert (found.columns_came, found.columns_went) == (("surprise",), ("cbd_congestion_fee",))
    assert str(found) == "1 row added, 1 removed, new columns surprise, dropped columns cbd_congestion_fee"


def test_value_that_does_not_fit_tells_its_row_from_others(tmp_path: Path):
    rows = [TRIP] * 2_400

    def written(name: str, odd: object) -> Path:
        return write(tmp_path / name, [*rows[:1_200], trip(passenger_count=odd), *rows[1_200:]], "csv_mirror")

    first = written("first.gz", 40_000)
    for name, odd, added in (("same.gz", 40_000, 0), ("other.gz", 40_001, 1), ("null.gz", None, 1)):
        found = compare(FILE, first, written(name, odd), before="a", after="b", source="csv_mirror")
        assert (found.added, found.removed, found.equal) == (added, added, 2_401 - added), name


def test_file_that_cannot_be_read_is_an_error_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    new = write_parquet(tmp_path / "new", [TRIP])
    (tmp_path / "old").write_bytes(new.read_bytes()[:-20])

    with pytest.raises(DamagedFile):
        compare(FILE, tmp_path / "old", new, before="a", after="b")

    assert not any((tmp_path / "temporary").iterdir())


# At a landing


def publish(lake: Lake, rows: list[Row]) -> editions.Edition:
    """Have the rows in raw/ as the current edition, and as nobody has accepted it."""
    content = csv_gz(rows)
    known = editions.history(lake, KEY)
    with lake.scratch(KEY) as path:
        path.write_bytes(content)
        seen = editions.Seen(
            sha256=hashlib.sha256(content).hexdigest(),
            source="csv_mirror",
            url=f"http://publisher/{KEY}",
            etag=None,
            last_modified=None,
            bytes=len(content),
            at=datetime.fromisoformat("2021-03-01T00:00:00+00:00"),
            after=len(known.editions),
        )
        return editions.add(lake, KEY, path, seen)


def land(lake: Lake, **options: object) -> landing.Landed:
    return landing.land(FILE, lake, source="csv_mirror", **options)


def current(lake: Lake) -> editions.Edition:
    return editions.history(lake, KEY).current


def test_landing_keeps_what_an_edition_has_changed(any_lake: Lake, caplog: pytest.LogCaptureFixture):
    first = publish(any_lake, [TRIP] * 20)
    land(any_lake)
    second = publish(any_lake, [TRIP] * 19 + [trip(total_amount=20.01, passenger_count=0)])

    with caplog.at_level("INFO"):
        land(any_lake)

    known = current(any_lake)
    assert (known.sha256, known.rows, known.rejected) == (second.sha256, 20, {"no_passengers": 1})
    assert Changes(**known.changes) == Changes(
        first.id, second.id, 1, 1, 19, {"total_amount": [370.2, 371.7]}, columns_came=[], columns_went=[]
    )
    assert f"{FILE} was republished: 1 row added, 1 removed, total_amount +1.50" in caplog.text
    assert editions.history(any_lake, KEY).editions[0].changes is None


def test_comparison_is_made_once_and_never_fails_a_landing(lake: Lake, caplog: pytest.LogCaptureFixture):
    publish(lake, [TRIP] * 20)
    land(lake)
    damaged = current(lake)
    publish(lake, [TRIP] * 21)
    Path(lake.path(damaged.key)).write_bytes(b"\x1f\x8b\x08\x00")

    assert land(lake).rows_read == 21
    assert f"edition {current(lake).id} cannot be compared with {damaged.id}" in caplog.text
    assert current(lake).changes is None

    publish(lake, [TRIP] * 22)
    land(lake)
    told = current(lake).changes
    assert (told["added"], told["removed"], told["equal"]) == (1, 0, 21)
    caplog.clear()
    with caplog.at_level("INFO"):
        land(lake, profile="none")
    assert "was republished" not in caplog.text
    assert current(lake).changes == told


def test_edition_whose_predecessor_was_pruned_lands_without_a_comparison(lake: Lake):
    publish(lake, [TRIP] * 20)
    land(lake)
    publish(lake, [TRIP] * 21)
    editions.prune(lake, KEY, 1)

    assert land(lake).rows_read == 21
    assert current(lake).changes is None


# Shrinking


@pytest.mark.parametrize(("rows", "is_held_back"), [(21, False), (18, False), (17, True), (1, True)])
def test_edition_that_lost_more_than_a_tenth_of_its_rows_is_held_back(any_lake: Lake, rows: int, *, is_held_back: bool):
    first = publish(any_lake, [TRIP] * 20)
    before = land(any_lake)
    second = publish(any_lake, [trip(total_amount=1.0)] * rows)

    if not is_held_back:
        assert land(any_lake).rows_read == rows
        assert current(any_lake).sha256 == second.sha256
        return
    with pytest.raises(
        ShrunkenEdition,
        match=rf"^{FILE}: edition {second.id} has {rows} rows, \d+% fewer than the 20 of edition {first.id}: not "
        rf"loaded. To accept it, run with edition={second.id}$",
    ):
        land(any_lake)
    assert current(any_lake).sha256 == first.sha256
    assert landing.landed(any_lake, FILE) == before
    assert land(any_lake) == before
    assert [key for key in any_lake.listed(".staging") if not key.endswith(".alive")] == []


def test_shrunken_edition_is_accepted_by_its_name(lake: Lake):
    publish(lake, [TRIP] * 20)
    land(lake)
    second = publish(lake, [TRIP])
    with pytest.raises(ShrunkenEdition):
        land(lake)

    landed = land(lake, edition=second.sha256, wish=Wish.of(edition=second.id))

    assert (landed.rows_read, landed.pin) == (1, f"edition={second.id}")
    assert landing.landed(lake, FILE) == landed


def test_edition_after_one_that_was_held_back_is_compared_with_what_is_current(lake: Lake):
    first = publish(lake, [TRIP] * 20)
    land(lake)
    publish(lake, [TRIP])
    with pytest.raises(ShrunkenEdition):
        land(lake)

    half = publish(lake, [TRIP] * 10)
    with pytest.raises(ShrunkenEdition, match=f"50% fewer than the 20 of edition {first.id}"):
        land(lake)
    publish(lake, [TRIP] * 22)
    landed = land(lake)

    assert half.sha256 != landed.source_sha256
    told = current(lake).changes
    assert (told["before"], told["added"], told["removed"]) == (first.id, 2, 0)


def test_first_edition_of_a_lake_that_kept_no_counts_shrinks_by_what_data_holds(lake: Lake):
    first = publish(lake, [TRIP] * 20)
    land(lake)
    editions.describe(lake, KEY, first.sha256, rows=None)
    publish(lake, [TRIP])

    with pytest.raises(ShrunkenEdition, match="95% fewer than the 20"):
        land(lake)
    assert editions.history(lake, KEY).editions[0].rows == 20


def test_a_description_can_be_written_down_and_read_back(lake: Lake):
    told = Changes("a", "b", 1, 2, 3, {"tip_amount": (1.0, 2.5)}, ("x",), ("y",))
    edition = publish(lake, [TRIP])

    editions.describe(lake, KEY, edition.sha256, changes=asdict(told))

    read = Changes(**current(lake).changes)
    assert str(read) == str(told)
    assert replace(read, sums=told.sums, columns_came=told.columns_came, columns_went=told.columns_went) == told
