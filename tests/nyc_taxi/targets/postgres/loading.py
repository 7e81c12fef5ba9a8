"""What the tests of loads into Postgres share."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from threading import Barrier, Event
from time import monotonic, sleep

import psycopg
import pytest
from pyarrow import parquet

from include.nyc_taxi.lake import Lake, data_key

PROJECT = Path(__file__).parents[4]
JANUARY, FEBRUARY = "green_tripdata_2024-01", "green_tripdata_2024-02"
TYPES = {
    "int16": "smallint",
    "float64": "double precision",
    "timestamp": "timestamp without time zone",
    "text": "text",
}
LOADER = """
import sys
import psycopg
from include.nyc_taxi import TripFile
from include.nyc_taxi.lake import Lake
from include.nyc_taxi.targets.postgres import Postgres

conninfo, lake, name = sys.argv[1:]
with psycopg.connect(conninfo) as connection:
    print(Postgres().replace_month(connection, TripFile.parse(name), Lake.at(lake)).outcome)
"""
COUNTS = """
SELECT count(*) FILTER (WHERE file_month = '2024-01-01'), count(*) FILTER (WHERE file_month = '2024-02-01')
FROM green_taxi_trips
"""


def data_of(lake, file):
    return parquet.read_table(lake.path(data_key(file)))


def rows_of(lake, file):
    return parquet.read_metadata(lake.path(data_key(file))).num_rows


def in_order(rows):
    return sorted(rows, key=repr)


def at_once(*calls):
    """The results of calls that are made at the same time, each in a thread."""
    barrier = Barrier(len(calls))

    def wait_and(call):
        barrier.wait()
        return call()

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(wait_and, calls))


def wait_until(holds, what, seconds=20):
    deadline = monotonic() + seconds
    while not holds():
        if monotonic() > deadline:
            pytest.fail(f"waited {seconds} s in vain until {what}")
        sleep(0.002)


@contextmanager
def in_background(call):
    """The future of a call in a thread; the end of the block waits for it."""
    with ThreadPoolExecutor(1) as pool:
        yield pool.submit(call)


@contextmanager
def polling(warehouse, read):
    """What a reader sees over and over, from before the block to after it. Its errors are ours."""
    seen = []
    stop = Event()

    def poll():
        with psycopg.connect(warehouse, autocommit=True) as connection:
            while True:
                last = stop.is_set()
                seen.append(read(connection))
                if last:
                    return
                sleep(0.002)

    with in_background(poll) as reader:
        try:
            wait_until(lambda: seen or reader.done(), "the reader has read")
            yield seen
        finally:
            stop.set()
        reader.result()


def in_a_snapshot(connection):
    """The counts as a transaction sees them whose snapshot is older than its first look at the table."""
    with connection.transaction():
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        connection.execute("SELECT count(*) FROM load_ledger")
        sleep(0.01)
        first, second = (connection.execute(COUNTS).fetchone() for _ in range(2))
    assert first == second
    return first


class MeddledLake(Lake):
    """A lake in which something happens just before the warehouse reads a file of data/."""

    def __init__(self, lake, meddle):
        super().__init__(lake.fs, lake.root)
        self.meddle = meddle

    @contextmanager
    def local(self, key):
        if key.startswith("data/"):
            self.meddle()
        with super().local(key) as path:
            yield path


def loading_process(warehouse, lake, file):
    command = [sys.executable, "-c", LOADER, warehouse, lake.root, file.name]
    return subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE, text=True)


def in_mid_copy(query, rows):
    """The server processes that have copied some rows of that many, and not yet nearly all."""
    return [
        pid
        for pid, copied in query("SELECT pid, tuples_processed FROM pg_stat_progress_copy")
        if 0 < copied < 0.9 * rows
    ]
