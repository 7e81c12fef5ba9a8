"""The zones come as the publisher names and draws them, are replaced as one, and join to trips without losing any."""

import json
import os
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from threading import Event

import numpy as np
import psycopg
import pyarrow as pa
import pytest
import shapefile
from pyarrow import parquet

from devtools.generator.zone_files import (
    HEADER,
    OF_2020,
    SIDE,
    TODAY,
    corner,
    lookup_bytes,
    shapes_bytes,
    square,
    zone_polygons,
    zone_rows,
)
from devtools.servers.publisher import Publisher
from include.nyc_taxi import editions, landed_zones, zones
from include.nyc_taxi.errors import DamagedData, DamagedFile, NotInLake, SchemaMismatch, WarehouseBusy, WarehouseRefused
from include.nyc_taxi.lake import ANYTHING, edition_key, sha256_of
from include.nyc_taxi.targets.postgres import Postgres
from include.nyc_taxi.targets.postgres.zones import replace_views, replace_zones

SHAPES_BYTES = shapes_bytes()  # once, as a zip has the time in it
LOOKUP, SHAPES = f"raw/official/{zones.LOOKUP}", f"raw/official/{zones.SHAPES}"
REAL = Path(os.environ.get("TLC_REAL_DATA", "/nowhere"), "misc")
with_real_data = pytest.mark.skipif(
    "TLC_REAL_DATA" not in os.environ, reason="TLC_REAL_DATA names no folder of the publisher's files"
)


@pytest.fixture
def read(lake):
    """Reads the made-up zones, or those of other files."""

    def read(lookup=None, shapes=None):
        for key, content in ((LOOKUP, lookup or lookup_bytes()), (SHAPES, shapes or shapes_bytes())):
            with lake.staged(key) as path:
                path.write_bytes(content)
        return zones.read(lake, LOOKUP, SHAPES)

    return read


@pytest.fixture
def query(warehouse):
    with psycopg.connect(warehouse, autocommit=True) as connection:

        def query(statement):
            cursor = connection.execute(statement)
            return [] if cursor.description is None else cursor.fetchall()

        yield query


@pytest.fixture
def load(warehouse, lake):
    """Replaces the zones over a connection of its own, and the views after them."""

    def load(rows):
        landed_zones.write(lake, rows, "a recipe", ANYTHING)
        with psycopg.connect(warehouse) as connection:
            return replace_zones(connection, lake), [view.name for view in replace_views(connection)]

    return load


@pytest.fixture
def load_trips(warehouse, lake, landed_month):
    """Loads a generated month of green trips."""

    def load_trips(**options):
        file = landed_month("green_tripdata_2024-01", **options)
        with psycopg.connect(warehouse) as connection:
            return Postgres().replace_month(connection, file, lake)

    return load_trips


def by_id(rows):
    return {row.location_id: row for row in rows}


def offer(lake, lookup=None, shapes=None):
    """Have these files as the newest editions in raw/, as a download does."""
    for key, content in ((LOOKUP, lookup or lookup_bytes()), (SHAPES, shapes or SHAPES_BYTES)):
        with lake.scratch(key) as path:
            path.write_bytes(content)
            seen = editions.Seen(
                sha256=sha256_of(path),
                source="official",
                url=f"https://publisher/{key}",
                etag=None,
                last_modified=None,
                bytes=len(content),
                at=datetime.now(UTC),
                after=len(editions.history(lake, key).editions),
            )
            editions.add(lake, key, path, seen)


def in_lake(lake):
    with landed_zones.intact(lake) as opened:
        return landed_zones.read(opened)


def rings_of(zone):
    return [np.array(ring) for polygon in zone.shape["coordinates"] for ring in polygon]


def turns_left(ring):
    x, y = ring.T
    return np.sum(x[:-1] * y[1:] - x[1:] * y[:-1]) > 0


# Fetching


def test_both_files_come_as_editions_and_are_not_sent_again(lake, tmp_path):
    folder = tmp_path / "published" / "misc"
    folder.mkdir(parents=True)
    (folder / "taxi_zone_lookup.csv").write_bytes(lookup_bytes())
    (folder / "taxi_zones.zip").write_bytes(shapes_bytes())

    with Publisher(folder.parent) as publisher:
        first, again = (
            [zones.fetch(path, lake, base_url=publisher.base_url) for path in (zones.LOOKUP, zones.SHAPES)]
            for _ in range(2)
        )

    assert [fetched.outcome for fetched in first] == ["downloaded", "downloaded"]
    assert [fetched.outcome for fetched in again] == ["unchanged", "unchanged"]
    for key, fetched in zip((LOOKUP, SHAPES), first, strict=True):
        digest = sha256_of(folder / key.rpartition("/")[2])
        assert fetched.key == edition_key(key, digest)
        assert editions.history(lake, key).current.sha256 == fetched.edition.sha256 == digest
        with lake.local(fetched.key) as path:
            assert sha256_of(path) == digest


@pytest.mark.parametrize("content", [b"<html>sorry</html>", shapes_bytes()[:-100], b""])
def test_a_zip_that_is_none_does_not_come_into_the_lake(lake, tmp_path, monkeypatch, content):
    monkeypatch.setattr("include.nyc_taxi.download.sleep", lambda _: None)
    (tmp_path / "misc").mkdir()
    (tmp_path / "misc" / "taxi_zones.zip").write_bytes(content)

    with Publisher(tmp_path) as publisher, pytest.raises(DamagedFile, match=r"taxi_zones\.zip"):
        zones.fetch(zones.SHAPES, lake, base_url=publisher.base_url)

    assert editions.history(lake, SHAPES).editions == ()
    assert lake.listed("raw") == {}


# Reading


@pytest.mark.parametrize("last", [TODAY, OF_2020])
def test_na_is_a_word_in_both_editions(read, last):
    rows = read(lookup_bytes(zone_rows(last)))

    assert [row.location_id for row in rows] == list(range(1, 266))
    assert [[str(row.location_id), *row[1:4]] for row in rows[-2:]] == last
    assert rows[55][1:4] == ("Borough 1", "Zone, 56", "Boro Zone")


def test_rows_in_another_order_are_the_same_zones(read):
    header, *rows = zone_rows()

    assert read(lookup_bytes([header, *reversed(rows)])) == read()


def test_every_place_has_a_shape_of_its_own_also_the_namesakes(read):
    rows = by_id(read())

    polygons = {i: len(row.shape["coordinates"]) for i, row in rows.items() if row.shape}
    assert set(rows) - set(polygons) == {264, 265}
    assert set(polygons.values()) == {1}
    assert {row.shape["type"] for row in rows.values() if row.shape} == {"MultiPolygon"}
    assert rows[57].shape != rows[56].shape
    assert rows[264][4:] == (None, None, None)


def test_polygons_of_one_number_become_one_shape(read):
    rows = by_id(read(shapes=shapes_bytes([*zone_polygons(), (7, [square(*corner(300))])])))

    assert len(rows[7].shape["coordinates"]) == 2


def test_feet_become_degrees_with_the_centre_of_area(read):
    west_of_meridian = square(984_250.0 - SIDE / 2, 200_000.0)

    zone = read(shapes=shapes_bytes([(1, [west_of_meridian]), *zone_polygons()[1:]]))[0]

    [ring] = rings_of(zone)
    assert zone.centroid_longitude == -74  # the meridian of the projection
    assert zone.centroid_latitude == pytest.approx(ring[:4, 1].mean(), abs=1e-7)
    assert np.ptp(ring, axis=0) == pytest.approx([0.3048 * SIDE / 84_490, 0.3048 * SIDE / 111_050], rel=1e-3)
    assert ring[0].tolist() == ring[-1].tolist()


def test_outer_rings_run_counterclockwise_and_holes_clockwise_and_weigh_against(read):
    x, y = corner(100)
    outer, middle = square(x, y, 3 * SIDE), square(x + SIDE, y + SIDE)[::-1]
    aside = square(x + 2 * SIDE, y + SIDE)[::-1]

    shapes = [(1, [outer]), (2, [outer, middle]), (3, [outer, aside]), *zone_polygons()[3:]]
    whole, with_hole, lopsided = read(shapes=shapes_bytes(shapes))[:3]

    assert [turns_left(ring) for ring in rings_of(with_hole)] == [True, False]
    assert with_hole[-2:] == pytest.approx(whole[-2:], abs=1e-7)
    # One of nine squares is cut out, a side to the east: the centre moves by an eighth of a side to the west.
    assert whole.centroid_longitude - lopsided.centroid_longitude == pytest.approx(0.3048 * SIDE / 8 / 84_490, rel=1e-2)


def test_a_folder_inside_the_zip_does_not_matter(read):
    assert read(shapes=shapes_bytes(folder="taxi_zones/")) == read()


ROWS = zone_rows()


@pytest.mark.parametrize(
    ("lookup", "said"),
    [
        (lookup_bytes([["LocationID", "Borough", "Zone"], *ROWS[1:]]), r"header \['LocationID', 'Borough', 'Zone'\]"),
        (b"\xef\xbb\xbf" + lookup_bytes(), r"header \['\\ufeffLocationID'"),
        (b"<html>", r"header \['<html>'\]"),
        (lookup_bytes(ROWS[:-1]), r"264 rows; location ids missing: \['265'\]"),
        (lookup_bytes([*ROWS, ["266", "Queens", "New", "Boro Zone"]]), r"unknown or repeated: \['266'\]"),
        (lookup_bytes([*ROWS[:-1], ROWS[1]]), r"missing: \['265'\], unknown or repeated: \['1'\]"),
        (lookup_bytes([*ROWS[:-1], ["265", "N/A", "Outside"]]), r"row 266 is \['265', 'N/A', 'Outside'\]"),
        (lookup_bytes([HEADER, ["1", "", "Newark", "EWR"], *ROWS[2:]]), r"row 2 is \['1', '', 'Newark', 'EWR'\]"),
        (lookup_bytes() + b"\r\n", r"row 267 is \[\]"),
        (lookup_bytes().replace(b"Zone, 7", b"Zone \xe9"), "utf-8"),
        (b'"LocationID', "unexpected end of data"),
    ],
)
def test_another_lookup_is_refused_with_what_is_wrong(read, lookup, said):
    with pytest.raises(SchemaMismatch, match=said) as error:
        read(lookup)

    assert "taxi_zone_lookup.csv" in str(error.value)
    assert "expected" in str(error.value)


POLYGONS = zone_polygons()
DEGREES = 'GEOGCS["WGS 84",DATUM["WGS_1984",SPHEROID["WGS 84",6378137,298.257223563]],PRIMEM["Greenwich",0],UNIT["degree",0.0174532925199433]]'  # noqa: E501 - WKT


@pytest.mark.parametrize(
    ("shapes", "said"),
    [
        (shapes_bytes(leave_out=["prj"]), r"holds \['taxi_zones.dbf', 'taxi_zones.shp'"),
        (shapes_bytes(prj="feet"), "Invalid projection"),
        (shapes_bytes(prj=DEGREES), "zone 1 lies at longitude"),
        (shapes_bytes(POLYGONS[1:]), r"without a polygon: \[1\]"),
        (shapes_bytes([*POLYGONS, (266, POLYGONS[0][1])]), r"unknown: \[266\]"),
        (shapes_bytes([(None, POLYGONS[0][1]), *POLYGONS]), r"unknown: \[None\]"),
        (shapes_bytes(kind=shapefile.POLYLINE), "shape 1 is a POLYLINE with 5 points"),
        (shapes_bytes([(1, [square(10.0, 10.0)]), *POLYGONS[1:]]), "zone 1 lies at .* expected New York"),
    ],
)
def test_other_shapes_are_refused_with_what_is_wrong(read, shapes, said):
    with pytest.raises(SchemaMismatch, match=said) as error:
        read(shapes=shapes)

    assert "taxi_zones.zip" in str(error.value)
    assert "expected" in str(error.value)


# The lake


def test_the_lake_has_the_zones_in_one_file_with_shapes_as_geojson(read, any_lake):
    offer(any_lake)

    assert zones.land(any_lake) == "replaced"

    with any_lake.local("zones/zones.parquet") as path:
        table = parquet.read_table(path)
    assert table.column_names == list(landed_zones.Zone._fields)
    assert all(field.metadata[b"description"] for field in table.schema)
    rows = [row | {"shape": row["shape"] and json.loads(row["shape"])} for row in table.to_pylist()]
    assert rows == [row._asdict() for row in read()]


def test_the_same_editions_again_leave_the_file_as_it_is(any_lake):
    offer(any_lake)
    zones.land(any_lake)
    before = any_lake.stamp(landed_zones.KEY)
    offer(any_lake)

    assert zones.land(any_lake) == "unchanged"
    assert any_lake.stamp(landed_zones.KEY) == before


def test_a_new_edition_of_either_file_is_landed(lake):
    offer(lake)
    zones.land(lake)
    offer(lake, lookup=lookup_bytes(zone_rows(OF_2020)))
    assert zones.land(lake) == "replaced"
    offer(lake, lookup=lookup_bytes(zone_rows(OF_2020)), shapes=shapes_bytes(folder="taxi_zones/"))

    assert zones.land(lake) == "replaced"
    assert in_lake(lake)[-1].zone == "NA"


@pytest.mark.parametrize("names", ["written first", "written meanwhile"])
def test_a_run_that_was_held_up_puts_no_older_zones_over_newer_ones(names, any_lake, monkeypatch):
    """It is held up with the older edition in its hands, just before it writes."""
    offer(any_lake)
    if names == "written first":
        zones.land(any_lake)
        offer(any_lake, lookup=lookup_bytes([HEADER, *([*row[:3], "middle"] for row in ROWS[1:])]))
    write, is_held_up = landed_zones.write, [True]

    def held_up(*values):
        if is_held_up:
            is_held_up.clear()
            offer(any_lake, lookup=lookup_bytes(zone_rows(OF_2020)))
            assert zones.land(any_lake) == "replaced"
        write(*values)

    monkeypatch.setattr(landed_zones, "write", held_up)

    assert zones.land(any_lake) == "unchanged"
    assert in_lake(any_lake)[-1].zone == "NA"


def test_a_damaged_file_is_set_aside_and_landed_again(lake):
    offer(lake)
    zones.land(lake)
    path = Path(lake.path(landed_zones.KEY))
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)

    with pytest.raises(DamagedData, match=r"zones\.parquet was damaged"):
        in_lake(lake)
    path.write_bytes(content)

    assert zones.land(lake) == "replaced"
    assert len(in_lake(lake)) == 265


def test_without_a_download_there_is_nothing_to_land_and_without_zones_nothing_to_read(lake):
    with pytest.raises(NotInLake, match=r"taxi_zone_lookup\.csv was never downloaded: fetch it first"):
        zones.land(lake)
    with pytest.raises(NotInLake, match=r"zones/zones\.parquet is not there: run ingest_taxi_zones"):
        in_lake(lake)


def test_a_file_that_cannot_be_read_leaves_the_zones_in_place(lake):
    offer(lake)
    zones.land(lake)
    offer(lake, lookup=lookup_bytes(zone_rows()[:-1]))

    with pytest.raises(SchemaMismatch):
        zones.land(lake)

    assert len(in_lake(lake)) == 265


# The table


def test_the_table_holds_what_was_read(read, load, query):
    rows = read()

    assert load(rows) == ("replaced", [])
    assert query("TABLE taxi_zones ORDER BY location_id") == rows
    assert query("SELECT count(*), count(shape), count(centroid_longitude) FROM taxi_zones") == [(265, 263, 263)]
    corona = "SELECT shape->>'type', jsonb_array_length(shape->'coordinates') FROM taxi_zones WHERE location_id = 57"
    assert query(corona) == [("MultiPolygon", 1)]


def test_every_column_says_what_it_means(read, load, query):
    load(read())

    undescribed = """
        SELECT attname FROM pg_attribute
        WHERE attrelid = 'taxi_zones'::regclass AND attnum > 0
          AND col_description(attrelid, attnum) IS NULL
    """
    assert query(undescribed) == []


def test_the_same_zones_again_change_nothing_and_say_so(read, load, query, caplog):
    load(read())
    before = query("SELECT xmin, location_id FROM taxi_zones")

    with caplog.at_level("INFO"):
        assert load(read())[0] == "unchanged"

    assert query("SELECT xmin, location_id FROM taxi_zones") == before
    assert "is up to date with 265 zones" in caplog.text


def test_foreign_keys_to_the_zones_stay(read, load, query):
    load(read())
    query("CREATE TABLE stands (location_id smallint REFERENCES taxi_zones)")
    query("INSERT INTO stands VALUES (264)")

    assert load(read(lookup_bytes(zone_rows(OF_2020))))[0] == "replaced"


def test_a_reader_sees_one_edition_or_the_other_never_a_mixture(read, load, warehouse):
    editions = [read(lookup_bytes([HEADER, *([*row[:3], word] for row in ROWS[1:])])) for word in ("old", "new")]
    load(editions[0])
    seen, stop = set(), Event()

    def poll():
        with psycopg.connect(warehouse, autocommit=True) as connection:
            while not stop.is_set():
                seen.add(tuple(connection.execute("SELECT service_zone, count(*) FROM taxi_zones GROUP BY 1")))

    with ThreadPoolExecutor(1) as pool:
        reader = pool.submit(poll)
        for turn in range(1, 8):
            load(editions[turn % 2])
        stop.set()
        reader.result()

    assert seen <= {(("old", 265),), (("new", 265),)}
    assert seen


def test_another_table_of_the_name_is_left_alone(read, load, query):
    query("CREATE TABLE taxi_zones (the_geom text)")

    with pytest.raises(
        WarehouseRefused,
        match=r"public\.taxi_zones exists and is not a table of taxi zones: it has the columns \['the_geom'\]",
    ):
        load(read())

    assert query("SELECT count(*) FROM taxi_zones") == [(0,)]


def test_a_connection_that_is_gone_can_be_tried_again(read, lake, warehouse, query):
    landed_zones.write(lake, read(), "a recipe", ANYTHING)
    with psycopg.connect(warehouse) as connection:
        query(f"SELECT pg_terminate_backend({connection.info.backend_pid})")

        with pytest.raises(WarehouseBusy, match=r"public\.taxi_zones"):
            replace_zones(connection, lake)


# The views


def without_zones(table):
    """The first five trips have no pickup zone, the next five begin in zones that are no places."""
    ids = [None] * 5 + [264, 265, 264, 265, 264] + table["PULocationID"].to_pylist()[10:]
    place = table.schema.get_field_index("PULocationID")
    return table.set_column(place, "PULocationID", pa.array(ids, table.schema.field(place).type))


def test_a_view_joins_every_trip_to_the_names_of_its_zones(read, load, load_trips, query):
    loaded = load_trips(edit=without_zones, profile="none")

    assert load(read())[1] == ["green_trips_with_zones"]
    assert query("SELECT count(*) FROM green_trips_with_zones") == [(loaded.rows_loaded,)]
    assert query("SELECT count(*) FROM green_trips_with_zones WHERE pickup_zone IS NULL") == [(5,)]
    assert query("SELECT count(*) FROM green_trips_with_zones WHERE pickup_zone = 'Outside of NYC'") >= [(2,)]
    wrong = """
        SELECT * FROM green_trips_with_zones
        WHERE pickup_location_id BETWEEN 1 AND 263 AND pickup_borough <> 'Borough ' || pickup_location_id % 5
           OR dropoff_location_id BETWEEN 1 AND 263 AND dropoff_borough <> 'Borough ' || dropoff_location_id % 5
    """
    assert query(wrong) == []
    assert query("SELECT count(DISTINCT dropoff_zone) > 5 FROM green_trips_with_zones") == [(True,)]


def test_a_month_is_replaced_under_the_view(read, load, load_trips, query):
    load_trips(rows=300, profile="none")
    load(read())

    for rows in (200, 400):
        assert load_trips(rows=rows, profile="none").outcome == "replaced"
        assert query("SELECT count(*) FROM green_trips_with_zones") == [(rows,)]


def test_a_new_column_of_the_trips_does_not_disturb_the_view_and_is_in_it_next_time(read, load, load_trips, query):
    load_trips(rows=300, profile="none")
    query("ALTER TABLE green_taxi_trips DROP COLUMN trip_distance CASCADE")
    load(read())

    load_trips(rows=200, profile="none")
    before = query("SELECT count(*) FROM green_trips_with_zones")
    load(read())

    assert before == [(200,)]
    assert query("SELECT count(trip_distance) FROM green_trips_with_zones") == [(200,)]


def test_a_view_that_has_every_column_is_left_as_it_is(read, load, load_trips, query):
    load_trips()
    load(read())
    query("COMMENT ON VIEW green_trips_with_zones IS 'mine'")

    assert load(read()) == ("unchanged", ["green_trips_with_zones"])
    assert query("SELECT obj_description('green_trips_with_zones'::regclass)") == [("mine",)]


def test_a_long_reader_of_the_view_keeps_nobody_waiting(read, load, load_trips, warehouse):
    load_trips()
    load(read())

    with psycopg.connect(warehouse) as reader:
        reader.execute("ALTER TABLE green_taxi_trips ADD COLUMN mine text")
        reader.commit()
        reader.execute("SELECT count(*) FROM green_trips_with_zones")
        with pytest.raises(WarehouseBusy, match=r"public\.green_trips_with_zones"):
            load(read())
        reader.commit()

        load(read())
        assert reader.execute("SELECT count(mine) FROM green_trips_with_zones").fetchone() == (0,)


def test_a_table_in_the_place_of_a_view_is_refused_and_the_zones_are_loaded(read, load, load_trips, query):
    load_trips()
    query("CREATE TABLE green_trips_with_zones (mine int)")

    with pytest.raises(WarehouseRefused, match=r'"green_trips_with_zones" is not a view'):
        load(read())

    assert query("SELECT count(*) FROM taxi_zones") == [(265,)]


# The publisher's own files


@with_real_data
@pytest.mark.parametrize(
    ("name", "last"),
    [
        ("taxi_zone_lookup.csv", [("Unknown", "N/A", "N/A"), ("N/A", "Outside of NYC", "N/A")]),
        ("taxi_zone_lookup.older-12322.csv", [("Unknown", "NV", "N/A"), ("Unknown", "NA", "N/A")]),
    ],
)
def test_both_real_editions_of_the_lookup_are_read_and_loaded(read, load, query, name, last):
    rows = read((REAL / name).read_bytes(), (REAL / "taxi_zones_shapefile.zip").read_bytes())

    assert len(rows) == 265
    assert [row[1:4] for row in rows[-2:]] == last
    assert rows[131][1:4] == ("Queens", "JFK Airport", "Airports")
    assert load(rows)[0] == "replaced"
    assert load(rows)[0] == "unchanged"
    assert query("TABLE taxi_zones ORDER BY location_id") == rows


@with_real_data
def test_real_shapes_are_those_that_the_city_publishes_in_degrees(read):
    rows = by_id(read(shapes=(REAL / "taxi_zones_shapefile.zip").read_bytes()))
    city = {}
    for feature in json.loads((REAL / "NYCTaxiZones.geojson").read_text())["features"]:
        city.setdefault(int(feature["properties"]["objectid"]), []).extend(feature["geometry"]["coordinates"])

    assert {i for i, row in rows.items() if row.shape} == set(city)
    for location_id, polygons in city.items():
        ours = np.concatenate(rings_of(rows[location_id]))
        theirs = np.concatenate([np.array(ring) for polygon in polygons for ring in polygon])
        assert ours.shape == theirs.shape, location_id
        assert np.abs(np.sort(ours, axis=0) - np.sort(theirs, axis=0)).max() < 1e-6, location_id
