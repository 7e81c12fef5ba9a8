"""Time our steps, the least that any program has to do, and the same work with pandas.

Every contestant is a whole process with its imports, and starts with an empty target and an idle server. Contestants
take turns, so that a busy minute of the machine affects all of them; ratios are computed within a round.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg import sql

from benchmarks import report
from benchmarks.measuring import Measured, measure, peak_mb
from devtools.servers.postgres import EmbeddedPostgres

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[1]
TEMPORARY = ROOT / ".local" / "bench"
RESULTS = Path(__file__).parent / "results"
ROWS = 1_369_765
QUICK_ROWS = 20_000
OURS = "public.yellow_taxi_trips"
LARGE_FILE = "fhvhv_tripdata_2024-03"
LARGE_TABLE = "public.fhvhv_taxi_trips"
LARGE_ROWS = 5_000_000
PARTITION = "public.yellow_taxi_trips_2021_01"
CONTESTANTS = [sys.executable, "-m", "benchmarks.contestants"]


@dataclass(frozen=True)
class Contestant:
    """A process to time, and the number of rows that its table must hold afterwards."""

    name: str
    description: str
    command: list[str]
    table: str | None = None
    rows: int | None = None


def main() -> None:
    arguments = _arguments()
    TEMPORARY.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(dir=TEMPORARY))
    folder.chmod(0o711)  # root runs Postgres as another user
    server = EmbeddedPostgres(folder / "postgres")
    try:
        with server:
            result = _Bench(folder, server).run(arguments.rows, arguments.rounds)
    finally:
        server.remove()
        shutil.rmtree(folder)
    print(report.text(result))
    if arguments.results:
        print(f"\nwritten to {report.write(result, arguments.results)}")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    parser.add_argument("--rounds", type=int, help="runs per contestant (default 5)")
    parser.add_argument("--rows", type=int, help=f"rows of the file (default {ROWS:,}, as yellow 2021-01 has)")
    parser.add_argument(
        "--quick", action="store_true", help=f"one round of {QUICK_ROWS:,} rows, not written to a file: a smoke test"
    )
    parser.add_argument("--results", type=Path, help="folder for the figures (default benchmarks/results)")
    arguments = parser.parse_args()
    arguments.rounds = arguments.rounds or (1 if arguments.quick else 5)
    arguments.rows = arguments.rows or (QUICK_ROWS if arguments.quick else ROWS)
    arguments.results = arguments.results or (None if arguments.quick else RESULTS)
    return arguments


class _Bench:
    """The files and the server of one benchmark."""

    def __init__(self, folder: Path, server: EmbeddedPostgres) -> None:
        self.folder = folder
        self.server = server
        ours = server.psql_environment()
        # Whoever runs a step twice has its modules compiled.
        ours.pop("PYTHONDONTWRITEBYTECODE", None)
        self.environment = ours | {
            "PGHOST": server.host,
            "PGPORT": str(server.port),
            "PGUSER": server.user,
            "PGDATABASE": server.database,
        }
        self.connection = psycopg.connect(server.conninfo(), autocommit=True)

    def run(self, rows: int, rounds: int) -> report.Result:
        with self.connection:
            inputs = self._prepared("once", rows)
            contestants = list(self._contestants(self.folder / "once", inputs))
            load_before = os.getloadavg()[0]
            runs = self._rounds(contestants, rounds)
            shutil.rmtree(self.folder / "once")
            inputs_4x = self._prepared("4x", 4 * rows)
            runs_4x = {
                contestant.name: self._timed(contestant, "4x rows")
                for contestant in [*self._steps(self.folder / "4x", inputs_4x), *self._into_others(self.folder / "4x")]
            }
            shutil.rmtree(self.folder / "4x")
            large = LARGE_ROWS if rows >= ROWS else rows
            runs_large = {
                contestant.name: self._timed(contestant, f"{large:,} rows")
                for contestant in self._steps_of_a_large_file(large)
            }
            return report.Result(
                inputs=inputs,
                descriptions={contestant.name: contestant.description for contestant in contestants},
                runs=runs,
                runs_4x=runs_4x,
                runs_large=runs_large,
                large=f"{large:,} rows of {LARGE_FILE}",
                server_version=str(self.connection.info.server_version // 10_000),
                least_peak_mb=peak_mb(resource.getrusage(resource.RUSAGE_SELF)),
                load_average=(load_before, os.getloadavg()[0]),
            )

    def _rounds(self, contestants: list[Contestant], rounds: int) -> dict[str, list[Measured]]:
        runs: dict[str, list[Measured]] = {contestant.name: [] for contestant in contestants}
        for number in range(1, rounds + 1):
            for contestant in contestants:
                runs[contestant.name].append(self._timed(contestant, f"round {number} of {rounds}"))
        return runs

    def _steps(self, folder: Path, inputs: dict[str, Any]) -> Iterator[Contestant]:
        """Return our steps, one by one."""
        kept = inputs["csv_mirror"]["rows_kept"]
        mirror, official = str(folder / "csv_mirror"), str(folder / "official")
        yield Contestant("load", "ours: data/ to swapped partition", _ours("load", mirror), PARTITION, kept)
        yield Contestant(
            "transform csv", "ours: csv.gz to data/ and rejects/", _ours("transform", mirror, "csv_mirror")
        )
        yield Contestant(
            "transform parquet", "ours: parquet to data/ and rejects/", _ours("transform", official, "official")
        )

    def _into_others(self, folder: Path) -> Iterator[Contestant]:
        """Return our load step into each target but Postgres."""
        yield self._into_bigquery(folder)
        command = _ours("load_duckdb", str(folder / "csv_mirror"), str(folder / "taxi.duckdb"))
        yield Contestant("load duckdb", "ours: data/ to a month of a DuckDB file", command)

    def _into_bigquery(self, folder: Path) -> Contestant:
        command = _ours("load_bigquery", str(folder / "csv_mirror"), str(folder / "cloud"))
        return Contestant("load bigquery", "ours: data/ to the partition of the emulator, with its start", command)

    def _steps_of_a_large_file(self, rows: int) -> Iterator[Contestant]:
        """Return our steps for a service with wide rows, which has up to 21 million of them a month."""
        _say(f"generating {rows:,} rows of {LARGE_FILE}")
        folder = self.folder / "large"
        inputs = self._output("prepare", str(folder), str(rows), LARGE_FILE, "official")
        lake = str(folder / "official")
        yield Contestant("transform fhvhv", "", _ours("transform", lake, "official", LARGE_FILE))
        kept = inputs["official"]["rows_kept"]
        yield Contestant("load fhvhv", "", _ours("load", lake, LARGE_FILE), LARGE_TABLE, kept)
        yield Contestant("load fhvhv duckdb", "", _ours("load_duckdb", lake, str(folder / "taxi.duckdb"), LARGE_FILE))

    def _contestants(self, folder: Path, inputs: dict[str, Any]) -> Iterator[Contestant]:
        csv, official = inputs["csv_mirror"], inputs["official"]
        kept, scratch = csv["rows_kept"], str(folder / "scratch.parquet")
        yield Contestant(
            "limit", "COPY of encoded rows from a file of the server", self._limit(folder), "bench_limit", kept
        )
        yield from self._steps(folder, inputs)
        yield from self._into_others(folder)
        yield Contestant("stream csv", "bare pyarrow: csv.gz to parquet", _ours("stream_csv", csv["raw"], scratch))
        yield Contestant(
            "stream parquet", "bare pyarrow: parquet to parquet", _ours("stream_parquet", official["raw"], scratch)
        )
        for name, lake in (("end to end csv", "csv_mirror"), ("end to end parquet", "official")):
            command = _ours("end_to_end", str(folder / lake), lake)
            yield Contestant(name, "ours: both steps in one process", command, PARTITION, inputs[lake]["rows_kept"])
        yield Contestant("psql", r"gunzip | psql \copy, nothing dropped", self._psql(csv), "bench_psql", csv["rows"])
        for name, driver in (("pandas", "psycopg2"), ("pandas, psycopg 3", "psycopg")):
            command = _ours("pandas_chunk", csv["raw"], "bench_pandas", driver)
            yield Contestant(name, f"read_csv and to_sql with {driver}, ONE CHUNK of the file", command)
        command = _ours("pandas_to_lake", csv["raw"], scratch)
        yield Contestant("pandas to lake", "read_csv and to_parquet, the whole file in memory", command)
        yield Contestant("start-up", "Python, the load step's imports, a connection", _ours("start_up"))

    def _prepared(self, name: str, rows: int) -> dict[str, Any]:
        _say(f"generating {rows:,} rows as csv.gz and as parquet")
        return self._output("prepare", str(self.folder / name), str(rows))

    def _limit(self, folder: Path) -> list[str]:
        """Return a COPY from a file with the bytes that our load step sends, into a table like the one it creates."""
        lake, encoded = str(folder / "csv_mirror"), self.server.folder / "limit.bin"
        columns = self._output("encode", lake, str(encoded))["columns"]
        self._child("load", lake)
        attributes = (
            "SELECT string_agg(attname || ' ' || format_type(atttypid, atttypmod), ', ' ORDER BY attnum) "
            "FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0 AND attname <> 'file_month'"
        )
        ((definitions,),) = self.connection.execute(attributes, [PARTITION]).fetchall()
        return [
            *self._psql_command(),
            f"--command=CREATE TABLE bench_limit ({definitions}, file_month date NOT NULL DEFAULT '2021-01-01')",
            f"--command=COPY bench_limit ({', '.join(columns)}) FROM '{encoded}' (FORMAT binary)",
        ]

    def _psql(self, csv: dict[str, Any]) -> list[str]:
        columns = (
            "vendor smallint, pickup timestamp, dropoff timestamp, passengers smallint, distance float8, "
            "rate smallint, flag text, pickup_zone smallint, dropoff_zone smallint, payment smallint, "
            "fare float8, extra float8, mta float8, tip float8, tolls float8, improvement float8, total float8, "
            "congestion float8"
        )
        return [
            *("/bin/sh", "-c", 'gunzip --stdout "$0" | "$@"', csv["raw"]),
            *self._psql_command(),
            f"--command=CREATE TABLE bench_psql ({columns})",
            r"--command=\copy bench_psql from stdin csv header",
        ]

    def _psql_command(self) -> list[str]:
        return [*self.server.psql_command(), "--no-psqlrc", "--quiet", "--single-transaction", "--set=ON_ERROR_STOP=1"]

    def _timed(self, contestant: Contestant, when: str) -> Measured:
        for table in (OURS, LARGE_TABLE, "load_ledger", "bench_limit", "bench_psql", "bench_pandas"):
            self.connection.execute(sql.SQL("DROP TABLE IF EXISTS {} CASCADE").format(sql.SQL(table)))
        self.connection.execute("CHECKPOINT")
        measured = measure(contestant.command, ROOT, self.environment, self.server.server_pid())
        _say(f"{when}: {contestant.name}: {measured.wall:.2f} s")
        if contestant.table is not None and contestant.rows is not None:
            count = sql.SQL("SELECT count(*) FROM {}").format(sql.SQL(contestant.table))
            found = self.connection.execute(count).fetchone()
            if found != (contestant.rows,):
                raise RuntimeError(
                    f"{contestant.name}: {contestant.table} has {found} rows, expected {contestant.rows:,}"
                )
        return measured

    def _output(self, *arguments: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self._child(*arguments))
        return found

    def _child(self, *arguments: str) -> str:
        """Run a program that is not timed, and return what it prints."""
        command = _ours(*arguments)
        return subprocess.run(
            command, cwd=ROOT, env=self.environment, stdout=subprocess.PIPE, check=True, text=True
        ).stdout


def _ours(*arguments: str) -> list[str]:
    return [*CONTESTANTS, *arguments]


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
