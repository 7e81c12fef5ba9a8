"""A landing that is killed, or runs beside a reader or another landing, never shows half a month."""

import json
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle, islice
from threading import Event

import pytest
from pyarrow import parquet

from devtools.generator import Generated, write_month
from include.nyc_taxi import landing
from include.nyc_taxi.lake import Lake
from tests.nyc_taxi.landing.landed import DATA, MONTH, ROOT, assert_lies_there, land
from tests.nyc_taxi.trips import FILE, put_raw

KILLED = """
import os, signal, sys
from pathlib import Path
from include.nyc_taxi import TripFile, landing, quality
from include.nyc_taxi.lake import Lake

def die(*_): os.kill(os.getpid(), signal.SIGKILL)
def later(number, do, calls=[]): return lambda *args: die() if calls.append(0) or len(calls) == number else do(*args)

{}
landing.land(TripFile.parse(sys.argv[2]), Lake.at(sys.argv[1]), profile="notes", force=True)
"""


@pytest.fixture(scope="module")
def big_month(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, Generated]:
    path = tmp_path_factory.mktemp("big") / "file"
    promised = write_month(FILE, path, rows=200_000)
    return path.read_bytes(), promised


@pytest.mark.parametrize(
    ("moment", "has_committed"),
    [
        ("quality.split = later(3, quality.split)", False),
        ("Path.replace = later(1, Path.replace)", False),
        ("Path.replace = later(2, Path.replace)", False),
        ("Path.replace = later(3, Path.replace)", False),
        ("Path.replace = later(4, Path.replace)", False),
        ("Path.replace = later(5, Path.replace)", True),
    ],
    ids=[
        "while it writes",
        "before its rows are noted",
        "before both are staged",
        "between both",
        "before both are committed",
        "between both moves",
    ],
)
def test_killed_landing_leaves_whole_data_and_the_next_one_is_right(
    lake: Lake, big_month: tuple[bytes, Generated], moment: str, *, has_committed: bool
):
    raw, promised = big_month
    put_raw(lake, raw, source="official")
    old = landing.land(FILE, lake, profile="none")

    command = [sys.executable, "-c", KILLED.format(moment), lake.root, FILE.name]
    killed = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)

    assert killed.returncode == -signal.SIGKILL, killed.stderr
    with parquet.ParquetFile(lake.path(DATA)) as data:
        there = landing.described(data)
        assert data.read().num_rows == there.rows_accepted
    assert (there != old, landing.landed(lake, FILE) == old) == (has_committed, not has_committed)
    for profile, rejected in (("none", 0), ("notes", promised.without_passengers)):
        result = landing.land(FILE, lake, profile=profile)
        assert_lies_there(lake, result)
        assert (result.rows_read, result.rows_rejected) == (promised.rows, rejected)


def test_reader_sees_the_old_or_the_new_month_whole(lake: Lake):
    put_raw(lake, MONTH)
    land(lake)
    has_ended = Event()

    def read_until_the_end() -> set[int]:
        seen = set()
        while not has_ended.is_set():
            with parquet.ParquetFile(lake.path(DATA)) as file:
                promised = json.loads(file.metadata.metadata[b"nyc_taxi"])["rows_accepted"]
                assert file.read().num_rows == promised
                seen.add(promised)
                if len(seen) == 2:
                    both_were_seen.set()
        return seen

    both_were_seen = Event()
    with ThreadPoolExecutor() as threads:
        reader = threads.submit(read_until_the_end)
        for profile in islice(cycle(["none", "notes"]), 1_000):
            land(lake, profile=profile)
            if both_were_seen.is_set() or reader.done():
                break
        has_ended.set()

    assert reader.result() == {3, 5}


def test_two_landings_of_one_month_at_once_leave_one_month(lake: Lake):
    put_raw(lake, MONTH)

    with ThreadPoolExecutor() as threads:
        first, second = threads.map(lambda _: land(lake, force=True), range(2))

    assert first == second
    assert_lies_there(lake, first)
