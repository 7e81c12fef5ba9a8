"""A run that is held up, and wakes after another has brought a newer edition, never puts older rows over it."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from threading import Barrier, Event, Thread
from time import monotonic, sleep
from uuid import uuid4

import gcsfs
import psycopg
import pytest

from devtools.faults.points import (
    BEFORE_UPLOAD,
    BETWEEN_MOVES,
    COUNTED,
    DOWNLOADED,
    IN_COPY,
    IN_DOWNLOAD,
    LANDED,
    LOADED,
    LOOKED,
    READING,
    STAGED,
    STAGING,
)
from devtools.servers.misbehaving import Fault, Published, Publisher
from devtools.servers.s3 import LocalS3
from include.nyc_taxi import catalog, landing
from include.nyc_taxi.lake import Lake, sha256_of
from include.nyc_taxi.precedence import Wish
from tests.nyc_taxi.targets import held_up
from tests.nyc_taxi.targets.held_up import (
    Held,
    InBigQuery,
    InDuckDB,
    InPostgres,
    Place,
    assert_consistent,
    assert_never_older,
    bring,
    in_data,
    rows_of,
)
from tests.nyc_taxi.trips import FILE, write_parquet

ROOT = Path(__file__).resolve().parents[3]
PATH = f"/{catalog.source('official').path_of(FILE)}"
EVERYWHERE = [IN_DOWNLOAD, DOWNLOADED, STAGING, STAGED, BETWEEN_MOVES, LANDED, LOOKED, READING]
POINTS = [
    *((point, "postgres") for point in [*EVERYWHERE, IN_COPY]),
    *((point, "bigquery") for point in [*EVERYWHERE, BEFORE_UPLOAD, LOADED, COUNTED]),
    *((point, "duckdb") for point in EVERYWHERE),
]
IN_EVERY_LAKE = [
    *((lake, *point) for lake in ("folder", "bucket") for point in POINTS),
    *(("s3", point, target) for point in EVERYWHERE for target in ("duckdb", "postgres")),
    *(("s3", point, "bigquery") for point in (BEFORE_UPLOAD, LOADED)),
]
TARGETS = ["postgres", "bigquery", "duckdb"]
WITH_THE_LOCK = [(READING, "postgres"), (IN_COPY, "postgres")]
PATIENCE_SECONDS = 60
HELD_UP = """
import os, signal, sys
from include.nyc_taxi.lake import Lake, sha256_of
from include.nyc_taxi.precedence import Wish
from tests.nyc_taxi.targets import held_up

lake, url, place, address, point, asked_at = sys.argv[1:]

def stop(at, stopped=[]):
    if at == point and not stopped:
        stopped.append(at)
        os.kill(os.getpid(), signal.SIGSTOP)

print(held_up.bring(Lake.at(lake), url, getattr(held_up, place)(address), stop, wish=Wish.of(asked_at)))
"""


@pytest.fixture(scope="module")
def s3_server() -> Iterator[LocalS3]:
    """A server that speaks S3's protocol, to which boto3 goes."""
    with LocalS3() as server, pytest.MonkeyPatch.context() as environment:
        for name, value in server.environment.items():
            environment.setenv(name, value)
        server.create_bucket("trips")
        yield server


@pytest.fixture(params=["folder", "bucket"])
def lake(request: pytest.FixtureRequest, tmp_path: Path) -> Lake:
    if request.param == "folder":
        return Lake.at(tmp_path / "lake")
    if request.param == "s3":
        return request.getfixturevalue("s3_server").lake(f"trips/{tmp_path.name}")
    cloud = request.getfixturevalue("cloud")
    fs = gcsfs.GCSFileSystem(token="anon", endpoint_url=cloud.environment["STORAGE_EMULATOR_HOST"], project="local")
    return Lake(fs, f"trips/{tmp_path.name}")


@pytest.fixture
def place_of(request: pytest.FixtureRequest) -> Callable[[str], Place]:
    def place(name: str) -> Place:
        if name == "postgres":
            return InPostgres(request.getfixturevalue("warehouse"))
        if name == "duckdb":
            return InDuckDB(str(request.getfixturevalue("tmp_path") / "taxi.duckdb"))
        request.getfixturevalue("cloud")
        return InBigQuery(f"d{uuid4().hex[:8]}")

    return place


class Editions(Publisher):
    """A publisher of one month, by the number of its edition; with equally many rows in each."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder
        self.sha256: dict[int, str] = {}

    def publish(self, edition: int) -> None:
        path = write_parquet(self.folder / f"{edition}.parquet", rows_of(edition))
        changed = format_datetime(datetime(2024, 1, edition, tzinfo=UTC), usegmt=True)
        self.sha256[edition] = sha256_of(path)
        self.files[PATH] = Published(path.read_bytes(), f'"{edition}"', changed)


@pytest.fixture
def publisher(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Editions]:
    # Reading the web's certificates takes longer than the rest of a test, and no request here needs them.
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))
    with Editions(tmp_path) as publisher:
        publisher.publish(1)
        yield publisher


@contextmanager
def read_meanwhile(lake: Lake, place: Place) -> Iterator[None]:
    """Read the month over and over, here and there, and check in the end that no older edition followed a newer one."""
    stop, seen_in_data, seen_in_place = Event(), [], []

    def read_on() -> None:
        with place.reader() as read:
            while True:
                last = stop.is_set()
                if (held := in_data(lake)) is not None:
                    seen_in_data.append(held)
                seen_in_place.append(read())
                if last:
                    return
                sleep(0.02)

    with ThreadPoolExecutor(1) as threads:
        reader = threads.submit(read_on)
        try:
            yield
        finally:
            stop.set()
        reader.result()
    assert_never_older(seen_in_data)
    assert_never_older(seen_in_place)


def wait_until(holds: Callable[[], object], what: str) -> None:
    deadline = monotonic() + PATIENCE_SECONDS
    while not holds():
        if monotonic() > deadline:
            pytest.fail(f"waited {PATIENCE_SECONDS} s in vain until {what}")
        sleep(0.01)


@pytest.mark.parametrize(
    ("lake", "point", "target"), IN_EVERY_LAKE, indirect=["lake"], ids=lambda word: word.replace(" ", "_")
)
def test_run_that_wakes_after_a_newer_edition_was_brought_changes_nothing(
    lake: Lake, publisher: Editions, place_of: Callable[[str], Place], point: str, target: str
):
    place, others = place_of(target), []
    assert bring(lake, publisher.url, place) == "replaced"
    publisher.publish(2)

    def bring_a_newer_one() -> None:
        publisher.publish(3)
        bring(lake, publisher.url, place)

    def meanwhile(at: str) -> None:
        if at != point or others:
            return
        others.append(at)
        if (point, target) not in WITH_THE_LOCK:
            bring_a_newer_one()
            return
        # The other run lands its edition, and then waits for this one, which has the month's lock.
        other = Thread(target=bring_a_newer_one)
        other.start()
        others.append(other)
        wait_until(lambda: _is_waited_for(place), "the other run waits for the month")

    if point == IN_DOWNLOAD:
        publisher.faults = [Fault(cut_at=1_000, meanwhile=lambda: meanwhile(IN_DOWNLOAD))]
    with read_meanwhile(lake, place):
        outcome = bring(lake, publisher.url, place, meanwhile)
        for other in others[1:]:
            other.join()

    assert others, "the run should have come to this point"
    assert outcome in ({"replaced"} if point in (IN_COPY, COUNTED) else {"superseded", "unchanged"})
    assert_consistent(lake, place, 3, publisher.sha256[3])
    assert bring(lake, publisher.url, place) == "unchanged"


def _is_waited_for(place: InPostgres) -> bool:
    with psycopg.connect(place.conninfo) as connection:
        question = "SELECT count(*) > 0 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
        return bool(connection.execute(question).fetchone()[0])


@pytest.mark.parametrize(
    ("point", "target"), [(STAGED, "postgres"), (LOOKED, "postgres"), (BEFORE_UPLOAD, "bigquery"), (READING, "duckdb")]
)
def test_process_that_is_stopped_and_wakes_after_a_newer_edition_was_brought_changes_nothing(
    tmp_path: Path, publisher: Editions, place_of: Callable[[str], Place], point: str, target: str
):
    place, lake = place_of(target), Lake.at(tmp_path / "lake")
    bring(lake, publisher.url, place)
    publisher.publish(2)
    [address] = vars(place).values()
    asked_at = datetime.now(UTC).isoformat()
    command = [sys.executable, "-c", HELD_UP, lake.root, publisher.url, type(place).__name__, address, point, asked_at]

    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as held:
        _, status = os.waitpid(held.pid, os.WUNTRACED)
        assert os.WIFSTOPPED(status)
        publisher.publish(3)
        with read_meanwhile(lake, place):
            assert bring(lake, publisher.url, place) == "replaced"
            os.kill(held.pid, signal.SIGCONT)
            outcome = held.communicate(timeout=PATIENCE_SECONDS)[0].strip()

    assert outcome in ("superseded", "unchanged")
    assert_consistent(lake, place, 3, publisher.sha256[3])


@pytest.mark.parametrize(
    ("lake", "target"),
    [*((lake, target) for lake in ("folder", "bucket") for target in TARGETS), ("s3", "duckdb"), ("s3", "postgres")],
    indirect=["lake"],
)
def test_six_runs_at_once_with_three_editions_end_with_the_newest_everywhere(
    lake: Lake, publisher: Editions, place_of: Callable[[str], Place], target: str
):
    place = place_of(target)
    bring(lake, publisher.url, place)
    all_have_downloaded = Barrier(6)
    numbers = [2, 2, 3, 3, 4, 4]
    turn = [Event() for _ in numbers]

    def run(number: int) -> str:
        def wait_for_the_others(at: str) -> None:
            if at == DOWNLOADED:
                turn[number].set()
                all_have_downloaded.wait(PATIENCE_SECONDS)

        if number:
            turn[number - 1].wait(PATIENCE_SECONDS)
        publisher.publish(numbers[number])
        return bring(lake, publisher.url, place, wait_for_the_others)

    with read_meanwhile(lake, place), ThreadPoolExecutor(6) as threads:
        outcomes = list(threads.map(run, range(6)))

    assert set(outcomes) <= {"replaced", "unchanged", "superseded"}
    assert_consistent(lake, place, 4, publisher.sha256[4])
    assert bring(lake, publisher.url, place) == "unchanged"


# What a person asks for


@pytest.mark.parametrize("target", TARGETS)
def test_edition_that_is_asked_for_by_name_goes_over_a_newer_one_until_it_is_let_go(
    lake: Lake, publisher: Editions, place_of: Callable[[str], Place], target: str
):
    place = place_of(target)
    for edition in (1, 2):
        publisher.publish(edition)
        bring(lake, publisher.url, place)
    now = datetime.now(UTC)

    pin = Wish.of((now + timedelta(1)).isoformat(), edition=publisher.sha256[1][:8])
    assert bring(lake, publisher.url, place, wish=pin) == "replaced"
    assert_consistent(lake, place, 1, publisher.sha256[1])
    assert place.last_load().asked_for == f"edition={publisher.sha256[1][:8]}"

    assert bring(lake, publisher.url, place, wish=Wish.of(now.isoformat())) == "unchanged"
    assert_consistent(lake, place, 1, publisher.sha256[1])

    assert bring(lake, publisher.url, place, wish=Wish.of((now + timedelta(2)).isoformat())) == "replaced"
    assert_consistent(lake, place, 2, publisher.sha256[2])
    assert place.last_load().asked_for is None


@pytest.mark.parametrize("target", TARGETS)
def test_letting_go_of_the_current_edition_is_written_down(
    lake: Lake, publisher: Editions, place_of: Callable[[str], Place], target: str
):
    place = place_of(target)
    bring(lake, publisher.url, place)

    for wish in (Wish.of(edition=publisher.sha256[1]), Wish.of()):
        assert bring(lake, publisher.url, place, wish=wish) == "replaced"
        assert place.last_load().asked_for == wish.asked_for
        assert landing.whole(FILE, lake).asked_for == wish.asked_for
        assert bring(lake, publisher.url, place, wish=wish) == "unchanged"
    assert_consistent(lake, place, 1, publisher.sha256[1])


@pytest.mark.parametrize("target", TARGETS)
def test_load_of_another_profile_that_is_held_up_is_superseded_by_one_that_was_asked_for_later(
    lake: Lake, publisher: Editions, place_of: Callable[[str], Place], target: str
):
    place, others = place_of(target), []
    bring(lake, publisher.url, place)
    first, second = (Wish.of((datetime.now(UTC) + timedelta(day)).isoformat()) for day in (1, 2))

    def ask_for_the_first_again(at: str) -> None:
        if at == LANDED and not others:
            others.append(bring(lake, publisher.url, place, wish=second))

    outcome = bring(lake, publisher.url, place, ask_for_the_first_again, wish=first, profile="none")

    assert (others, outcome) == (["unchanged"], "superseded")
    assert_consistent(lake, place, 1, publisher.sha256[1])


# BigQuery's rows are what its ledger says


def test_newer_load_that_was_killed_before_its_ledger_row_does_not_hide_a_rollback(
    lake: Lake, publisher: Editions, place_of: Callable[[str], Place]
):
    place = place_of("bigquery")
    bring(lake, publisher.url, place)
    publisher.publish(2)

    def die(at: str) -> None:
        if at == COUNTED:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        bring(lake, publisher.url, place, die)
    assert held_up.held(place) == Held(held_up.ACCEPTED, 2.0, 2.0)
    assert place.last_load().source_sha256 == publisher.sha256[1]

    assert bring(lake, publisher.url, place, wish=Wish.of(edition=publisher.sha256[1])) == "replaced"
    assert_consistent(lake, place, 1, publisher.sha256[1])
    assert bring(lake, publisher.url, place) == "replaced"
    assert_consistent(lake, place, 2, publisher.sha256[2])


def test_newer_load_that_was_killed_before_its_ledger_row_is_written_down_by_the_next_run(
    lake: Lake, publisher: Editions, place_of: Callable[[str], Place]
):
    place = place_of("bigquery")
    bring(lake, publisher.url, place)
    publisher.publish(2)

    def die(at: str) -> None:
        if at == LOADED:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        bring(lake, publisher.url, place, die)

    assert bring(lake, publisher.url, place) == "unchanged"
    assert_consistent(lake, place, 2, publisher.sha256[2])


def test_load_whose_rows_were_removed_by_hand_is_nothing_to_go_over(
    lake: Lake, publisher: Editions, place_of: Callable[[str], Place]
):
    place = place_of("bigquery")
    publisher.publish(2)
    bring(lake, publisher.url, place)
    with held_up.HeldUpClient() as client:
        client.delete_table(place.table.reference(client))

    assert bring(lake, publisher.url, place) == "replaced"
    assert_consistent(lake, place, 2, publisher.sha256[2])
