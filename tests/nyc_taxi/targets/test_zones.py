"""Zones in a target: those of the lake, replaced as one, joined to every trip. Each target is asked the same."""

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager
from pathlib import Path
from threading import Event
from typing import BinaryIO

import duckdb
import pytest

from devtools.emulators import LocalCloud
from devtools.generator.zone_files import OF_2020, TODAY, lookup_bytes, shapes_bytes, zone_rows
from include.nyc_taxi import TripFile, catalog, landed_zones, targets, zones
from include.nyc_taxi.errors import NotInLake, WarehouseRefused
from include.nyc_taxi.lake import ANYTHING, Lake
from include.nyc_taxi.landed_zones import COLUMNS, Zone
from include.nyc_taxi.targets import zone_views
from tests.nyc_taxi.targets.places import PLACES, InBigQuery, Place

GREEN = "green_tripdata_2024-01"
NAMES = list(Zone._fields)
WITH_ZONES = [service.name for service in catalog.services().values() if service.has_zones]

Land = Callable[..., list[Zone]]
LandMonth = Callable[..., TripFile]


@pytest.fixture(params=sorted(PLACES))
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    """A target with nothing in it."""
    if request.param == "postgres":
        yield PLACES["postgres"](request.getfixturevalue("warehouse"))
    elif request.param == "duckdb":
        yield PLACES["duckdb"](str(tmp_path / "taxi.duckdb"))
    else:
        request.getfixturevalue("cloud")
        yield (there := InBigQuery("local"))
        there.empty()


@pytest.fixture
def land(lake: Lake) -> Land:
    """Puts zones into the lake: the made-up ones, with these as the last or with this as every service zone."""

    def land(last: list[list[str]] = TODAY, word: str | None = None) -> list[Zone]:
        header, *rows = zone_rows(last)
        named = [[*row[:3], word or row[3]] for row in rows]
        for key, content in (("lookup.csv", lookup_bytes([header, *named])), ("shapes.zip", shapes_bytes())):
            with lake.staged(key) as path:
                path.write_bytes(content)
        found = zones.read(lake, "lookup.csv", "shapes.zip")
        landed_zones.write(lake, found, repr(last), ANYTHING)
        return found

    return land


@pytest.fixture
def load_month(lake: Lake, landed_month: LandMonth, place: Place) -> Callable[..., int]:
    """Loads a generated month of a service, and gives its rows."""

    def load_month(service: str = "green", rows: int = 300) -> int:
        file = landed_month(f"{service}_tripdata_2024-01", rows=rows, profile="none")
        with place.opened() as client:
            return place.target.replace_month(client, file, lake).rows_loaded

    return load_month


def names_in(place: Place, table: str = "taxi_zones") -> list[tuple[object, ...]]:
    """The zones without their shapes, in order."""
    names = ", ".join(name for name in NAMES if name != "shape")
    return place.ask(f"SELECT {names} FROM {place.at(table)} ORDER BY location_id")


def without_shapes(rows: list[Zone]) -> list[tuple[object, ...]]:
    return [(*row[:4], *row[5:]) for row in rows]


def test_every_target_that_has_zones_is_tested_here():
    assert {target.name for target in targets.with_zones() if not target.is_the_lake} == set(PLACES)


# The table


def test_the_table_holds_the_zones_of_the_lake_with_their_shapes(place, lake, land):
    rows = land()

    loaded = place.load(lake)

    assert (loaded.outcome, loaded.table.rpartition(".")[2], loaded.views) == ("replaced", "taxi_zones", ())
    assert place.columns("taxi_zones") == NAMES
    assert names_in(place) == without_shapes(rows)
    shapes = [shape for (shape,) in place.ask(f"SELECT shape FROM {place.at('taxi_zones')} ORDER BY location_id")]
    assert [json.loads(each) if isinstance(each, str) else each for each in shapes] == [row.shape for row in rows]


def test_the_same_zones_again_change_nothing_and_say_so(place, lake, land, load_month, caplog):
    load_month()
    land()
    views = place.load(lake).views
    before = place.written()

    with caplog.at_level("INFO"):
        again = place.load(lake)

    assert (again.outcome, again.views) == ("unchanged", views)
    assert place.written() == before
    assert "is up to date" in caplog.text


def test_a_new_edition_replaces_the_old_one(place, lake, land):
    land()
    place.load(lake)
    rows = land(OF_2020)

    assert place.load(lake).outcome == "replaced"
    assert names_in(place) == without_shapes(rows)


@pytest.mark.parametrize(
    "meddling",
    [
        "DELETE FROM {zones} WHERE location_id = 7",
        "UPDATE {zones} SET zone = 'mine' WHERE location_id = 7",
        "UPDATE {zones} SET shape = NULL WHERE true",
        "INSERT INTO {zones} (location_id, borough, zone, service_zone) VALUES (266, 'a', 'b', 'c')",
    ],
)
def test_what_was_changed_by_hand_is_put_right(place, lake, land, meddling):
    rows = land()
    place.load(lake)
    place.ask(meddling.format(zones=place.at(place.zones)))

    assert place.load(lake).outcome == "replaced"
    assert names_in(place) == without_shapes(rows)
    assert place.ask(f"SELECT count(shape) FROM {place.at('taxi_zones')}") == [(263,)]


def test_something_else_of_the_name_is_refused_and_left_alone(place, lake, land):
    land()
    place.make_table(place.zones)

    with pytest.raises(WarehouseRefused, match=rf"{place.zones} exists and is not a table of taxi zones.*rename it"):
        place.load(lake)

    assert place.columns(place.zones) == ["mine"]


def test_without_zones_in_the_lake_nothing_is_made(place, lake):
    with pytest.raises(NotInLake, match="run ingest_taxi_zones"):
        place.load(lake)


def test_every_column_says_what_it_means(lake, land, duck):
    land()
    duck.load(lake)

    said = duck.ask("SELECT column_name, comment FROM duckdb_columns() WHERE table_name = 'taxi_zones'")
    assert said == [(column.name, column.description) for column in COLUMNS]


@pytest.fixture
def duck(tmp_path: Path) -> Place:
    return PLACES["duckdb"](str(tmp_path / "taxi.duckdb"))


# Geographies


@pytest.fixture
def cloud_with_the_function(tmp_path: Path) -> Iterator[Callable[[], InBigQuery]]:
    """A local cloud of its own, and what gives its database BigQuery's function, by a macro that marks its argument."""
    folder, place = tmp_path / "a cloud", InBigQuery("local")
    macro = "CREATE MACRO st_geogfromgeojson(shape, make_valid := false) AS make_valid || ' geography of ' || shape"
    with ExitStack() as running, pytest.MonkeyPatch.context() as environment:

        def start() -> InBigQuery:
            for name, value in running.enter_context(LocalCloud(folder)).environment.items():
                environment.setenv(name, value)
            return place

        def restart_with_the_function() -> InBigQuery:
            running.close()
            with duckdb.connect(str(folder / "bigquery" / "tables.duckdb")) as connection:
                connection.execute(macro)
            return start()

        start()
        yield restart_with_the_function


def test_shapes_become_geographies_once_the_server_can_make_them(cloud_with_the_function, lake, land):
    """The function is asked for where it is used: an emulator without it has text, until it learns the function."""
    rows = land()
    place = InBigQuery("local")
    place.load(lake)
    question = f"SELECT shape FROM {place.at('taxi_zones')} WHERE location_id IN (7, 264) ORDER BY location_id"
    assert [shape and json.loads(shape) for (shape,) in place.ask(question)] == [rows[6].shape, None]

    place = cloud_with_the_function()

    assert place.load(lake).outcome == "unchanged"
    assert place.ask(question) == [(f"true geography of {landed_zones.geojson(rows[6])}",), (None,)]


# Runs at the same time


def test_runs_at_the_same_time_both_end_well(place, lake, land):
    rows = land()

    with ThreadPoolExecutor(2) as pool:
        outcomes = [loaded.outcome for loaded in pool.map(lambda _: place.load(lake), range(2))]

    assert sorted(outcomes) == ["replaced", "unchanged"]
    assert names_in(place) == without_shapes(rows)


def test_a_run_that_was_held_up_puts_no_older_zones_over_newer_ones(place, lake, land, monkeypatch):
    """It is held up with the older zones in its hands, while another run lands and loads newer ones."""
    land(word="first")
    place.load(lake)
    land(word="older")
    has_read, may_go_on = Event(), Event()
    intact = landed_zones.intact

    @contextmanager
    def held_up(lake: Lake) -> Iterator[BinaryIO]:
        with intact(lake) as opened:
            if not has_read.is_set():
                has_read.set()
                assert may_go_on.wait(60)
            yield opened

    monkeypatch.setattr(landed_zones, "intact", held_up)
    with ThreadPoolExecutor(2) as pool:
        older = pool.submit(place.load, lake)
        assert has_read.wait(30)
        newer_rows = land(word="newer")
        newer = pool.submit(place.load, lake)
        wait([newer], timeout=2)  # it has to wait where the older one holds a lock
        may_go_on.set()
        older.result(60), newer.result(60)

    assert names_in(place) == without_shapes(newer_rows)


# The views


@pytest.mark.parametrize("service", WITH_ZONES)
def test_a_view_joins_every_trip_to_the_names_of_its_zones(place, service, lake, land, load_month):
    rows = load_month(service)
    land()

    loaded = place.load(lake)

    view = zone_views.view_of(service)
    assert [name.rpartition(".")[2] for name in loaded.views] == [view]
    assert place.columns(view) == [*zone_views.NAMES, *place.columns(place.table(service))]
    assert place.ask(f"SELECT count(*) FROM {place.at(view)}") == [(rows,)]
    wrong = f"""
        SELECT count(*) FROM {place.at(view)} AS trips
        LEFT JOIN {place.at("taxi_zones")} AS pickup ON pickup.location_id = pickup_location_id
        LEFT JOIN {place.at("taxi_zones")} AS dropoff ON dropoff.location_id = dropoff_location_id
        WHERE coalesce(pickup.zone, '') <> coalesce(pickup_zone, '')
           OR coalesce(pickup.borough, '') <> coalesce(pickup_borough, '')
           OR coalesce(dropoff.zone, '') <> coalesce(dropoff_zone, '')
           OR coalesce(dropoff.borough, '') <> coalesce(dropoff_borough, '')
    """
    assert place.ask(wrong) == [(0,)]
    assert place.ask(f"SELECT count(DISTINCT dropoff_zone) > 5 FROM {place.at(view)}") == [(True,)]


def test_a_month_is_replaced_under_its_view(place, lake, land, load_month):
    load_month()
    land()
    place.load(lake)

    assert load_month(rows=200) == 200
    assert place.ask(f"SELECT count(*) FROM {place.at('green_trips_with_zones')}") == [(200,)]


def test_a_new_column_of_the_trips_does_not_disturb_the_view_and_is_in_it_next_time(place, lake, land, load_month):
    rows = load_month()
    land()
    place.load(lake)

    place.add_column(place.table("green"), "stars")
    before = place.ask(f"SELECT count(pickup_zone) FROM {place.at('green_trips_with_zones')}")
    again = place.load(lake)

    assert before[0][0] > rows / 2
    assert again.outcome == "unchanged"
    assert place.ask(f"SELECT count(*), count(stars) FROM {place.at('green_trips_with_zones')}") == [(rows, 0)]


def test_a_table_in_the_place_of_a_view_is_refused_by_its_name(place, lake, land, load_month):
    load_month()
    land()
    place.make_table("green_trips_with_zones")

    with pytest.raises(WarehouseRefused, match=r"green_trips_with_zones.* is not a view"):
        place.load(lake)

    assert place.columns("green_trips_with_zones") == ["mine"]
