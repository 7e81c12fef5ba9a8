"""A file that a server publishes, in two editions and two formats, and how the tests fetch it."""

import gzip
import hashlib
import io
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path

import pyarrow as pa
from pyarrow import parquet

from devtools.servers.misbehaving import Published, Publisher
from include.nyc_taxi import Month, TripFile, catalog, download, editions
from include.nyc_taxi.download import Fetched
from include.nyc_taxi.editions import History
from include.nyc_taxi.lake import Lake, edition_key, raw_key
from tests.nyc_taxi.trips import files_in

FILE = TripFile("green", Month(2021, 1))
PATHS = {name: f"/{catalog.source(name).path_of(FILE)}" for name in ("official", "csv_mirror")}
PATH = PATHS["official"]
KNOWN_PATH = "/trip-data/green_tripdata_2019-03.parquet"
KEY = raw_key(FILE, "official")

CUT = 100_000
STALLED = 0.5
NOW = timedelta(0)
LATER = "Tue, 02 Mar 2021 10:00:00 GMT"


def noise(seed: int, size: int) -> bytes:
    return hashlib.shake_128(bytes([seed])).digest(size)


@cache
def whole(seed: int) -> bytes:
    """A Parquet file of noise; two of them have the same length and differ everywhere."""
    file = io.BytesIO()
    parquet.write_table(pa.table({"noise": [noise(seed, 3 * CUT)]}), file, compression="none", write_statistics=False)
    return file.getvalue()


OLD, NEW = whole(1), whole(2)
CSV = gzip.compress(noise(3, CUT), mtime=0)


def fetch(publisher: Publisher, lake: Lake, **options: object) -> Fetched:
    return download.fetch(FILE, lake, **{"base_url": publisher.url, "pause": 0, "timeout": 5, **options})


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def known(lake: Lake, key: str = KEY) -> History:
    return editions.history(lake, key)


def raw(lake: Lake, key: str = KEY) -> bytes:
    """The bytes of the current edition."""
    return lake.fs.cat_file(lake.path(known(lake, key).current.key))


def key_of(content: bytes, key: str = KEY) -> str:
    """The key of an edition with these bytes."""
    return edition_key(key, sha256(content))


def checked_at(lake: Lake, moment: datetime) -> None:
    """Have the publisher asked last at that moment, by some clock."""
    edition = known(lake).newest
    editions.confirm(lake, KEY, edition, moment)


def published_anew(publisher: Publisher, published: Published) -> None:
    publisher.files[PATH] = published


def assert_lake_is_empty(lake: Lake) -> None:
    assert files_in(lake) == []
    assert not any(Path(lake.root, ".staging").glob("*"))
