"""The benchmark measures correctly. `make bench ARGS=--quick` runs it whole, which takes too long for a test."""

import json
import os
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

from benchmarks import history, report
from benchmarks.measuring import Measured, measure
from include.nyc_taxi import Month, targets


def run_python(program: str) -> Measured:
    return measure([sys.executable, "-c", program], Path.cwd(), os.environ, os.getpid())


def test_cpu_and_memory_of_a_process_include_its_children():
    measured = run_python(
        "import subprocess, sys, time\n"
        "waste = bytearray(150_000_000)\n"
        "subprocess.run([sys.executable, '-c', 'import time\\nwhile time.process_time() < 0.5: pass'])"
    )

    assert measured.client_cpu >= 0.5
    assert measured.peak_mb > 150


def test_a_warehouse_with_a_history_is_one_as_loads_leave_it(warehouse, monkeypatch):
    monkeypatch.setattr(history, "_LAST", Month(2009, 3))
    postgres = targets.get("postgres")

    with psycopg.connect(warehouse) as connection:
        history.write(connection)
        loads, months = postgres.loads(connection), postgres.summaries.months(connection)

    assert {str(file.month) for file in loads} == {month.month for month in months} == {"2009-01", "2009-02", "2009-03"}


def test_a_failed_process_is_an_error():
    with pytest.raises(subprocess.CalledProcessError):
        run_python("raise SystemExit(3)")


def a_run(wall: float, peak_mb: float = 100, output: str = "") -> Measured:
    return Measured(wall=wall, client_cpu=wall, server_cpu=0.5, peak_mb=peak_mb, output=output)


@pytest.fixture
def result() -> report.Result:
    chunk = json.dumps({"rows": 100_000, "wall": 8.0, "cpu": 5.0})
    runs = {
        "limit": [a_run(1), a_run(2)],
        "load": [a_run(1.3), a_run(3)],
        "start-up": [a_run(0.3), a_run(0.2)],
        "transform csv": [a_run(2), a_run(2)],
        "transform parquet": [a_run(1.5), a_run(1.5)],
        "stream csv": [a_run(2), a_run(2)],
        "stream parquet": [a_run(1), a_run(1)],
        "end to end csv": [a_run(3), a_run(3)],
        "load bigquery": [a_run(4, output=json.dumps({"server_peak_mb": 200.0}))] * 2,
        "pandas to lake": [a_run(20), a_run(20)],
        "pandas": [a_run(10, output=chunk), a_run(10, output=chunk)],
        "pandas, psycopg 3": [a_run(5, output=chunk), a_run(5, output=chunk)],
    }
    edition = {"raw": f"{Path.home()}/x", "bytes": 1, "rows": 1_000_000, "null_block": 1, "without_passengers": 1}
    return report.Result(
        inputs={"csv_mirror": edition, "official": edition},
        descriptions=dict.fromkeys(runs, "a contestant"),
        runs=runs,
        runs_4x={step: a_run(8, peak_mb=120) for step in ("load", "transform csv", "transform parquet")}
        | {"load bigquery": a_run(9, output=json.dumps({"server_peak_mb": 250.0}))},
        runs_large={},
        large="",
        server_version="18",
        least_peak_mb=40,
        load_average=(0.0, 0.0),
    )


def test_figures_are_ratios_within_a_round(result: report.Result):
    judged = {reach.name: (round(reach.figure, 2), reach.reached) for reach in report.reaches(result)}

    assert judged["load: time, as a multiple of the limit"] == (1.4, True)
    assert judged["load without its start-up: time, as a multiple of the limit"] == (1.2, True)
    assert judged["transform csv: CPU, as a multiple of the bare stream"] == (1.0, True)
    assert judged["transform parquet: CPU, as a multiple of the bare stream"] == (1.5, False)
    assert judged["transform csv: speed, as a multiple of pandas"] == (10, True)
    assert judged["load: growth of peak memory with 4x the rows"] == (20.0, False)


def test_only_the_time_per_chunk_of_pandas_is_multiplied(result: report.Result):
    judged = {reach.name: reach.figure for reach in report.reaches(result)}

    assert judged["end to end csv: speed, as a multiple of pandas"] == pytest.approx((10 + 9 * 8) / 3)
    assert "EXTRAPOLATED" in report.text(result)
    assert "peaks at 200 MB, with 4x the rows at 250 MB" in report.text(result)


def test_written_figures_name_no_machine_and_no_path(result: report.Result, tmp_path: Path):
    kept = report.write(result, tmp_path).read_text()

    assert json.loads(kept)["inputs"]["csv_mirror"]["rows"] == 1_000_000
    assert set(json.loads(kept)["machine"]) == {"cores", "memory_gb", "system", "architecture", "load_average"}
    assert str(Path.home()) not in kept
    assert str(Path.cwd()) not in kept
