"""`make demo`, run as a user would, in a copy of the project whose path has a space."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import compute, parquet

from devtools.generator import write_month
from include.nyc_taxi import Month, TripFile

ROOT = Path(__file__).resolve().parents[2]
FILE = TripFile("green", Month(2024, 1))


@pytest.fixture
def project(tmp_path):
    copy = tmp_path / "a fresh clone"
    for part in ("dags", "devtools", "include", "plugins", ".airflowignore", ".env"):
        source = ROOT / part
        copy.mkdir(exist_ok=True)
        (shutil.copytree if source.is_dir() else shutil.copy2)(source, copy / part)
    return copy


def demo(project, *arguments):
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")}
    return subprocess.run(
        [sys.executable, "-m", "devtools.demo", *arguments],
        cwd=project,
        env=environment,
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


def test_a_demo_after_the_file_was_republished_says_what_changed(project, tmp_path):
    published = tmp_path / "published" / "trip-data" / f"{FILE.name}.parquet"
    published.parent.mkdir(parents=True)
    write_month(FILE, published, rows=2000)
    chosen = ("--source", str(tmp_path / "published"), "--colour", "green", "--month", "2024-01")
    first = demo(project, *chosen)
    before = parquet.read_table(published)
    after = pa.concat_tables([before.slice(3), before.slice(100, 12)])
    parquet.write_table(after, published)
    sums = [compute.sum(table["total_amount"]).as_py() for table in (before, after)]

    second = demo(project, *chosen)

    assert (first.returncode, second.returncode) == (0, 0), first.stderr + second.stderr
    changes = f"12 rows added, 3 removed, total_amount {sums[1] - sums[0]:+,.2f}"
    assert re.search(r"^  edition +[0-9a-f]{8}   1 of 1, first seen \d{4}-\d\d-\d\d$", first.stdout, re.MULTILINE)
    assert f"{FILE} was republished" not in first.stdout
    assert re.search(r"^  edition +[0-9a-f]{8}   2 of 2, first seen ", second.stdout, re.MULTILINE)
    assert f"\n{FILE} was republished: {changes}\n" in second.stdout
    assert "  rows read             2,009 " in second.stdout


def test_a_folder_without_the_file_is_refused_with_the_paths_tried(project, tmp_path):
    refused = demo(project, "--source", str(tmp_path), "--colour", "green", "--month", "2024-01")

    assert refused.returncode == 1
    assert f"{tmp_path}/trip-data/{FILE.name}.parquet" in refused.stderr


@pytest.mark.parametrize(
    ("month", "message"),
    [
        ("2024-13", "month '2024-13' is not YYYY-MM: month 13 is not one of 1..12"),
        ("2005-01", "yellow 2005-01: source 'official' has yellow from 2009-01 on"),
    ],
)
def test_an_impossible_month_is_refused_in_one_line(project, month, message):
    refused = demo(project, "--month", month)

    assert refused.returncode
    assert message in refused.stderr
    assert "Traceback" not in refused.stderr


def test_two_demos_at_once_generate_the_month_without_disturbing_each_other(project):
    make = (
        "from devtools import demo\n"
        "from include.nyc_taxi import TripFile\n"
        "demo.generate(TripFile.parse('green_tripdata_2024-01'), demo.PUBLISHED / 'a.parquet')"
    )
    both = [subprocess.Popen([sys.executable, "-c", make], cwd=project) for _ in range(2)]

    assert [one.wait() for one in both] == [0, 0]
    assert [path.name for path in (project / ".local" / "published").iterdir()] == ["a.parquet"]
