"""`make demo`, run as a user would, in a copy of the project whose path has a space."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections import Counter
from datetime import date
from pathlib import Path

import psycopg
import pyarrow as pa
import pytest
from pyarrow import compute, parquet

from devtools.demo import choice
from devtools.generator import city, write_month
from devtools.servers.postgres import EmbeddedPostgres
from devtools.servers.publisher import Publisher
from include.nyc_taxi import Month, TripFile, download, zones
from include.nyc_taxi.lake import Lake

ROOT = Path(__file__).resolve().parents[2]
FILE = TripFile("green", Month(2024, 1))


def copied_to(copy):
    for part in ("dags", "devtools", "include", "plugins", ".airflowignore", ".env"):
        source = ROOT / part
        copy.mkdir(exist_ok=True)
        (shutil.copytree if source.is_dir() else shutil.copy2)(source, copy / part)
    return copy


@pytest.fixture
def project(tmp_path):
    return copied_to(tmp_path / "a fresh clone")


@pytest.fixture(scope="module")
def airflow_home(tmp_path_factory):
    """A metadata database as the first demo of a clone creates it, which takes ten seconds."""
    other = copied_to(tmp_path_factory.mktemp("another clone"))
    create = "import os\nfrom devtools import environment, run\n"
    create += "run.prepare_airflow(environment.project_environment(os.environ))"
    subprocess.run([sys.executable, "-c", create], cwd=other, env=without_airflow(), check=True, capture_output=True)
    return other / ".local" / "airflow"


@pytest.fixture
def used_project(project, airflow_home):
    shutil.copytree(airflow_home, project / ".local" / "airflow")
    return project


def without_airflow():
    return {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")}


def demo(project, *arguments):
    return subprocess.run(
        [sys.executable, "-m", "devtools.demo", *arguments],
        cwd=project,
        env=without_airflow(),
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_demo_reports_true_counts_and_its_second_run_is_a_no_op(project, tmp_path):
    published = tmp_path / "published" / "trip-data" / f"{FILE.name}.parquet"
    published.parent.mkdir(parents=True)
    generated = write_month(FILE, published, rows=2000)
    chosen = ("--source", str(tmp_path / "published"), "--colour", "green", "--month", "2024-01")

    first, second = demo(project, *chosen), demo(project, *chosen)

    assert first.returncode == 0, first.stdout + first.stderr
    counts = {line.split()[1]: line.split()[2] for line in first.stdout.splitlines() if line.startswith("  rows")}
    assert counts == {
        "read": f"{generated.rows:,}",
        "loaded": f"{generated.rows - generated.without_passengers:,}",
        "rejected": str(generated.without_passengers),
    }
    assert "trips, median duration" in first.stdout
    loaded = f"loaded {generated.rows - generated.without_passengers:,} rows into public.green_taxi_trips"
    assert loaded in first.stdout
    assert loaded not in second.stdout
    assert "public.green_taxi_trips is up to date" in second.stdout


def test_a_demo_after_the_file_was_republished_says_what_changed(used_project, tmp_path):
    published = tmp_path / "published" / "trip-data" / f"{FILE.name}.parquet"
    published.parent.mkdir(parents=True)
    write_month(FILE, published, rows=2000)
    chosen = ("--source", str(tmp_path / "published"), "--colour", "green", "--month", "2024-01")
    first = demo(used_project, *chosen)
    before = parquet.read_table(published)
    after = pa.concat_tables([before.slice(3), before.slice(100, 12)])
    parquet.write_table(after, published)
    sums = [compute.sum(table["total_amount"]).as_py() for table in (before, after)]

    second = demo(used_project, *chosen)

    assert (first.returncode, second.returncode) == (0, 0), first.stderr + second.stderr
    changes = f"12 rows added, 3 removed, total_amount {sums[1] - sums[0]:+,.2f}"
    assert re.search(r"^  edition +[0-9a-f]{8}   1 of 1, first seen \d{4}-\d\d-\d\d$", first.stdout, re.MULTILINE)
    assert f"{FILE} was republished" not in first.stdout
    assert re.search(r"^  edition +[0-9a-f]{8}   2 of 2, first seen ", second.stdout, re.MULTILINE)
    assert f"\n{FILE} was republished: {changes}\n" in second.stdout
    assert "  rows read             2,009 " in second.stdout


def test_a_url_that_does_not_answer_or_lacks_the_file_is_refused_before_anything_is_made(project, tmp_path):
    with Publisher(tmp_path) as publisher:
        base_url = publisher.base_url
        chosen = ("--source", base_url, "--colour", "green", "--month", "2024-01")
        lacking = demo(project, *chosen)
    silent = demo(project, *chosen)

    assert (lacking.returncode, silent.returncode) == (1, 1)
    assert f"make demo: {base_url}/trip-data/green_tripdata_2024-01.parquet: HTTP 404" in lacking.stderr
    assert re.fullmatch(rf"make demo: {base_url}/\S+: ConnectError: .*\n", silent.stderr)
    assert not (project / ".local" / "airflow").exists()


def test_generated_months_are_called_so_and_come_with_a_map_and_without_a_warning(used_project):
    local = used_project / ".local"

    done = demo(used_project, "--colour", "green", "--months", "2016-11..2016-12")

    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 months of green, 2016-11 to 2016-12 (generated trips), are in public.green_taxi_trips" in done.stdout
    counts, months = zip(*re.findall(r"^    (\d of 2)  (\S+): loaded ", done.stdout, re.MULTILINE), strict=True)
    assert counts == ("1 of 2", "2 of 2")
    assert sorted(months) == ["green_tripdata_2016-11", "green_tripdata_2016-12"]  # mapped tasks have no order
    assert re.search(r"^    \d\d h +[\d,]+ generated trips, median", done.stdout, re.MULTILINE)
    assert "/generated/trip-data/green_tripdata_2016-11.parquet" in done.stdout
    assert "damaged" not in (local / "logs" / "demo.log").read_text()
    with EmbeddedPostgres(local / "postgres") as server, psycopg.connect(server.conninfo()) as connection:
        expected = "SELECT bool_and(rows_expected = rows_read) FROM load_ledger"
        assert connection.execute(expected).fetchall() == [(True,)]
        joined = "SELECT count(*) FROM green_trips_with_zones WHERE pickup_zone LIKE 'Made-up zone %'"
        assert connection.execute(joined).fetchone()[0] > 0
        shapes = "SELECT count(*), count(shape) FROM taxi_zones"
        assert connection.execute(shapes).fetchone() == (265, 263)


def test_generated_trips_never_replace_real_ones(project, tmp_path):
    lake, file = Lake.at(project / ".local" / "lake"), TripFile("fhv", Month(2015, 1))
    published = tmp_path / "published" / "trip-data" / f"{file.name}.parquet"
    published.parent.mkdir(parents=True)
    write_month(file, published, rows=10)
    with Publisher(tmp_path / "published") as publisher:
        base_url = publisher.base_url
        download.fetch(file, lake, base_url=base_url)

    refused = demo(project, "--colour", "fhv", "--month", "2015-01")

    assert refused.returncode == 1
    assert f"{file} is in the lake from {base_url}/trip-data/{file.name}.parquet" in refused.stderr
    assert not (project / ".local" / "postgres").exists()


def test_the_made_up_city_is_a_ring_of_hexagons_that_share_their_sides(tmp_path):
    (tmp_path / "lookup.csv").write_bytes(city.lookup("Zone"))
    (tmp_path / "shapes.zip").write_bytes(city.shapes())

    found = zones.read(Lake.at(tmp_path), "lookup.csv", "shapes.zip")

    rings = [zone.shape["coordinates"][0][0] for zone in found if zone.shape]
    corners = Counter(tuple(round(each, 5) for each in corner) for ring in rings for corner in ring[1:])
    assert (len(rings), {len(ring) for ring in rings}) == (263, {7})
    assert max(corners.values()) == 3
    assert sum(count == 3 for count in corners.values()) > 400
    assert len({zone.borough for zone in found}) == 7 + 2


def test_a_folder_without_the_file_is_refused_with_the_paths_tried(project, tmp_path):
    refused = demo(project, "--source", str(tmp_path), "--colour", "green", "--month", "2024-01")

    assert refused.returncode == 1
    assert f"{tmp_path}/trip-data/{FILE.name}.parquet" in refused.stderr


TODAY = date(2026, 11, 26)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--month 2024-13", "MONTH: month '2024-13' is not YYYY-MM: month 13 is not one of 1..12"),
        ("--month 2005-01", "yellow 2005-01 is not a published month; expected one from 2009-01 to 2026-10"),
        ("--month 2026-11", "yellow 2026-11 is not a published month; expected one from 2009-01 to 2026-10"),
        ("--colour fhvhv --months 2018-12..2019-03", "fhvhv 2018-12 is not a published month; expected one from"),
        ("--months 2024-03..2024-01", "MONTHS=2024-03..2024-01 ends before it starts; expected such as"),
        ("--months 2024-01-2024-03", "MONTHS: month '2024-01-2024-03' is not YYYY-MM"),
        ("--colour fhvhv --year 2018", "fhvhv 2018 is not a published year; expected one from 2019 to 2026"),
        ("--year 24", "YEAR=24 is not YYYY"),
        ("--colour purple", "service 'purple' is not one of ['fhv', 'fhvhv', 'green', 'yellow']"),
        ("--flow mysql", "invalid choice: 'mysql'"),
        ("--year 2024 --month 2024-01", "not allowed with argument --year"),
        ("--source /no/such/folder", "SOURCE=/no/such/folder is no folder and no URL"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line_with_what_was_expected(arguments, message):
    with pytest.raises(SystemExit) as refused:
        choice.parse(arguments.split(), TODAY)

    assert message in refused.value.code
    assert "\n" not in refused.value.code


@pytest.mark.parametrize(
    ("arguments", "first", "last", "count"),
    [
        ("", "2021-01", "2021-01", 1),
        ("--month 2024-05", "2024-05", "2024-05", 1),
        ("--months 2023-11..2024-02", "2023-11", "2024-02", 4),
        ("--year 2024", "2024-01", "2024-12", 12),
        ("--colour fhvhv --year 2019", "2019-02", "2019-12", 11),
        ("--year 2026", "2026-01", "2026-10", 10),
    ],
)
def test_months_and_years_are_the_published_months(arguments, first, last, count):
    months = choice.parse(arguments.split(), TODAY).months

    assert (str(months[0]), str(months[-1]), len(months)) == (first, last, count)


def test_the_choice_is_checked_without_an_installed_package():
    refused = subprocess.run(
        [sys.executable, "-S", "-m", "devtools.demo.choice", "--month", "2005-01"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert refused.returncode == 1
    assert refused.stderr.startswith("make demo: yellow 2005-01 is not a published month")


def dry_run(arguments):
    """What make would do by itself, also if the tests were started by another make."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    command = ["make", "--dry-run", *arguments.split()]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("arguments", "unknown"),
    [
        ("demo COLOR=green", "COLOR="),
        ("demo color=green", "color="),
        ("demo PORT=1", "PORT="),
        ("test COLR=1", "COLR="),
    ],
)
def test_make_refuses_an_unknown_variable_before_it_does_anything(arguments, unknown):
    refused = dry_run(arguments)

    assert refused.returncode == 2
    assert refused.stdout == ""
    assert f"unknown variable {unknown}; expected one of " in refused.stderr


@pytest.mark.parametrize(
    ("arguments", "command"),
    [
        ("demo COLOUR=green YEAR=2024", "devtools.demo --colour green --year 2024"),
        ("demo MONTHS=2024-01..2024-03 FLOW=bigquery", "devtools.demo --flow bigquery --months 2024-01..2024-03"),
        ("demo MONTH=2024-01 SOURCE=x", "devtools.demo --source x --month 2024-01"),
        ("psql ARGS=-x", "devtools.run psql -x"),
        ("sql ARGS=--csv", "devtools.run sql --csv"),
        ("ui PIP_INDEX_URL=x PORT=1", "devtools.ui --port 1"),
    ],
)
def test_make_takes_its_variables_and_settings(arguments, command):
    taken = dry_run(arguments)

    assert " ".join(shlex.split(taken.stdout.splitlines()[-1])).endswith(command), taken.stderr


def test_two_demos_at_once_generate_the_month_without_disturbing_each_other(project):
    make = (
        "from devtools.demo import published\n"
        "from include.nyc_taxi import TripFile\n"
        "published.generate([TripFile.parse('green_tripdata_2024-01')], print)"
    )
    both = [subprocess.Popen([sys.executable, "-c", make], cwd=project) for _ in range(2)]

    assert [one.wait() for one in both] == [0, 0]
    made = (project / ".local" / "published").rglob("*")
    assert sorted(path.name for path in made if path.is_file()) == ["generated.csv", "green_tripdata_2024-01.parquet"]
