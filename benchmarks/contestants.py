"""contestants: the programs that are timed, each in a process of its own.

    python -m benchmarks.contestants NAME [ARGUMENT ...]

The PG* variables name the warehouse. Each contestant imports what it needs itself, so that its time includes these
imports and no others.
"""

from __future__ import annotations

import json
import os
import sys
import time
from itertools import islice
from pathlib import Path

FILE = "yellow_tripdata_2021-01"
CHUNK_ROWS = 100_000  # of pandas.to_sql, as in the Prefect flow that ingest_data replaces


def prepare(folder: str, rows: str, name: str = FILE, *editions: str) -> None:
    """Generate editions of a file (both by default), download each into a lake, and land it. Not timed."""
    from devtools.generator import write_month
    from devtools.servers.publisher import Publisher
    from include.nyc_taxi import TripFile, catalog, download, landing
    from include.nyc_taxi.lake import Lake

    file = TripFile.parse(name)
    inputs: dict[str, object] = {}
    published = Path(folder, "published")
    for edition in editions or ("csv_mirror", "official"):
        path = published / catalog.source(edition).path_of(file)
        path.parent.mkdir(parents=True)
        generated = write_month(file, path, source=edition, rows=int(rows))
        lake = Lake.at(Path(folder, edition))
        with Publisher(published) as publisher:
            fetched = download.fetch(file, lake, source=edition, base_url=publisher.base_url)
        landed = landing.land(file, lake, source=edition)
        inputs[edition] = {
            "raw": lake.path(fetched.key),
            "bytes": fetched.edition.bytes,
            "rows": landed.rows_read,
            "rows_kept": landed.rows_accepted,
            "without_passengers": generated.without_passengers,
            "null_block": generated.null_block,
        }
        path.unlink()
    print(json.dumps(inputs))


def encode(lake_folder: str, encoded: str) -> None:
    """Write the bytes that the load step sends to a file that the server can read. Not timed."""
    from pyarrow import parquet

    from include.nyc_taxi import TripFile
    from include.nyc_taxi.lake import Lake, data_key
    from include.nyc_taxi.targets.postgres import copy_binary

    key = data_key(TripFile.parse(FILE))
    with parquet.ParquetFile(Lake.at(lake_folder).path(key)) as data, Path(encoded).open("wb") as file:
        names = [name for name in data.schema_arrow.names if name != "file_month"]
        encoder = copy_binary.Encoder()
        file.write(copy_binary.HEADER)
        for batch in data.iter_batches(columns=names):
            file.writelines(encoder.encode(batch))
        file.write(copy_binary.TRAILER)
    Path(encoded).chmod(0o644)
    print(json.dumps({"columns": names}))


def transform(lake_folder: str, source: str, name: str = FILE) -> None:
    """Run our transform step: raw/ to data/ and rejects/."""
    from include.nyc_taxi import TripFile
    from include.nyc_taxi.lake import Lake
    from include.nyc_taxi.landing import land

    land(TripFile.parse(name), Lake.at(lake_folder), source=source, force=True)


def load(lake_folder: str, name: str = FILE) -> None:
    """Run our load step: data/ to the month's partition and the ledger."""
    import psycopg

    from include.nyc_taxi import TripFile, targets
    from include.nyc_taxi.lake import Lake

    with psycopg.connect() as connection:
        targets.get("postgres").replace_month(connection, TripFile.parse(name), Lake.at(lake_folder))


def load_duckdb(lake_folder: str, database: str, name: str = FILE) -> None:
    """Run our load step into a DuckDB file that is not there yet."""
    from include.nyc_taxi import TripFile, targets
    from include.nyc_taxi.lake import Lake
    from include.nyc_taxi.targets.duckdb.database import DatabaseFile

    Path(database).unlink(missing_ok=True)
    targets.get("duckdb").replace_month(DatabaseFile(Path(database)), TripFile.parse(name), Lake.at(lake_folder))


def load_bigquery(lake_folder: str, cloud_folder: str, name: str = FILE) -> None:
    """Run our load step into the emulated BigQuery. Prints the peak memory of the emulator, in MB."""
    import psutil
    from google.auth.credentials import AnonymousCredentials
    from google.cloud.bigquery import Client

    from devtools.emulators import LocalCloud
    from include.nyc_taxi import TripFile, targets
    from include.nyc_taxi.lake import Lake

    with LocalCloud(Path(cloud_folder)) as cloud:
        os.environ |= cloud.environment
        credentials = AnonymousCredentials()  # type: ignore[no-untyped-call] # published half typed
        with Client(project="local", credentials=credentials) as client:
            targets.get("bigquery").replace_month(client, TripFile.parse(name), Lake.at(lake_folder), force=True)
        servers = [it for it in psutil.process_iter(["cmdline"]) if cloud_folder in (it.info["cmdline"] or ())]
        peaks = [Path(f"/proc/{server.pid}/status").read_text().partition("VmHWM:")[2] for server in servers]
        print(json.dumps({"server_peak_mb": max(int(peak.split()[0]) / 1024 for peak in peaks)}))


def end_to_end(lake_folder: str, source: str) -> None:
    """Run both of our steps, from the raw file to the warehouse."""
    transform(lake_folder, source)
    load(lake_folder)


def stream_csv(raw: str, out: str) -> None:
    """Parse a CSV file and write parquet in bounded memory; do nothing else."""
    import pyarrow as pa
    from isal import igzip
    from pyarrow import csv, parquet

    names = "tpep_pickup_datetime tpep_dropoff_datetime"
    types = dict.fromkeys(names.split(), pa.timestamp("us"))
    names = "VendorID passenger_count RatecodeID PULocationID DOLocationID payment_type"
    types |= dict.fromkeys(names.split(), pa.int16())
    names = "trip_distance fare_amount extra mta_tax tip_amount tolls_amount improvement_surcharge total_amount"
    types |= dict.fromkeys([*names.split(), "congestion_surcharge"], pa.float64())
    types["store_and_fwd_flag"] = pa.string()
    with igzip.open(raw) as file:
        batches = csv.open_csv(file, convert_options=csv.ConvertOptions(column_types=types))
        with parquet.ParquetWriter(out, batches.schema, compression="zstd", compression_level=3) as writer:
            # A block of CSV has about 10,000 rows; one row group for each would be slower.
            while some := list(islice(batches, 10)):
                writer.write_table(pa.Table.from_batches(some))


def stream_parquet(raw: str, out: str) -> None:
    """Read a parquet file and write another in bounded memory; do nothing else."""
    from pyarrow import parquet

    file = parquet.ParquetFile(raw)
    with file, parquet.ParquetWriter(out, file.schema_arrow, compression="zstd", compression_level=3) as writer:
        for batch in file.iter_batches():
            writer.write_batch(batch)


def start_up() -> None:
    """Do what the load step does before it begins: start Python, import, connect."""
    import psycopg

    import include.nyc_taxi.lake
    import include.nyc_taxi.targets.postgres.load  # noqa: F401 - only the import is measured

    psycopg.connect().close()


def pandas_chunk(raw: str, table: str, driver: str) -> None:
    """Load one chunk with pandas `read_csv` and `to_sql`. Prints its time, without imports and connecting."""
    import pandas as pd
    from sqlalchemy import create_engine

    with create_engine(f"postgresql+{driver}://").connect() as connection:
        wall, cpu = time.perf_counter(), time.process_time()
        trips = next(pd.read_csv(raw, iterator=True, chunksize=CHUNK_ROWS))
        rows = len(trips)
        for column in ("tpep_pickup_datetime", "tpep_dropoff_datetime"):
            trips[column] = pd.to_datetime(trips[column])
        trips = trips[trips["passenger_count"] != 0]
        trips.head(0).to_sql(table, connection, if_exists="replace")
        trips.to_sql(table, connection, if_exists="append")
        connection.commit()
    chunk = {"rows": rows, "wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}
    print(json.dumps(chunk))


def pandas_to_lake(raw: str, out: str) -> None:
    """Convert a file with pandas: one frame for the whole file, written as parquet with gzip."""
    import pandas as pd

    trips = pd.read_csv(raw, low_memory=False)
    for column in ("tpep_pickup_datetime", "tpep_dropoff_datetime"):
        trips[column] = pd.to_datetime(trips[column])
    trips.to_parquet(out, compression="gzip")


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
