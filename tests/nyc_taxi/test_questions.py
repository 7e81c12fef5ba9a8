"""docs/questions.md: every question runs as it stands in the lake and in every warehouse, with the same answer."""

import re
from collections.abc import Callable, Iterator
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import duckdb
import gcsfs
import psycopg
import pytest
from google.auth.credentials import AnonymousCredentials
from google.cloud import bigquery as bq

from devtools.emulators import LocalCloud
from devtools.generator import write_month
from devtools.servers.postgres import EmbeddedPostgres
from include.nyc_taxi import TripFile, landed_zones, landing, targets
from include.nyc_taxi.lake import Lake
from include.nyc_taxi.lake_views import LakeViews
from include.nyc_taxi.targets.duckdb.database import DatabaseFile
from tests.nyc_taxi.trips import put_raw

PAGE = (Path(__file__).parents[2] / "docs" / "questions.md").read_text()
QUESTIONS = dict(re.findall(r"^## (.+?)\n.*?^```sql\n(.+?)^```", PAGE, re.MULTILINE | re.DOTALL))
MONTHS = (
    "yellow_tripdata_2024-12",
    "yellow_tripdata_2025-01",
    "green_tripdata_2025-01",
    "fhv_tripdata_2025-01",
    "fhvhv_tripdata_2025-01",
)
IDS = range(1, 266)
ROWS = 2_000
BUCKET = "questions"
REJECTED_FIRST_BY = re.compile(r"\d (\w+)")

Rows = list[tuple[Any, ...]]
Ask = Callable[[str], Rows]


class Places(NamedTuple):
    """Where a question can be asked, and the lake that all of them have their months from."""

    lake: Lake
    asks: dict[str, Ask]

    def landed(self, service: str) -> list[dict[str, Any]]:
        """What the lake knows of the months of a service."""
        return [dict(month.description) for month in self.lake.months(service)]


def in_cloud(folder: Path) -> Iterator[tuple[Lake, bq.Client]]:
    """A lake in a bucket, and BigQuery beside it."""
    with LocalCloud(folder) as cloud, pytest.MonkeyPatch.context() as environment:
        for name, value in cloud.environment.items():
            environment.setenv(name, value)
        cloud.create_bucket(BUCKET)
        fs = gcsfs.GCSFileSystem(token="anon", endpoint_url=cloud.environment["STORAGE_EMULATOR_HOST"], project="local")
        with closing(bq.Client(project="local", credentials=AnonymousCredentials())) as client:
            yield Lake(fs, f"{BUCKET}/lake"), client


def fill(lake: Lake, folder: Path) -> None:
    """Land the generated months, with every row that they have, and put zones there."""
    for name in MONTHS:
        file, path = TripFile.parse(name), folder / name
        write_month(file, path, rows=ROWS)
        put_raw(lake, path.read_bytes(), file, "official")
        landing.land(file, lake, profile="none")
    zones = [landed_zones.Zone(id_, f"borough {id_ % 6}", f"zone {id_}", "N/A", None, None, None) for id_ in IDS]
    landed_zones.write(lake, zones, "generated", None)


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory, postgres_server: EmbeddedPostgres) -> Iterator[Places]:
    folder = tmp_path_factory.mktemp("questions")
    cloud = in_cloud(folder / "cloud")
    lake, bigquery = next(cloud)
    fill(lake, folder)
    postgres_server.create_database("questions")
    database = DatabaseFile(folder / "taxi.duckdb")
    with psycopg.connect(postgres_server.conninfo("questions")) as postgres, closing(LakeViews(lake)) as views:
        clients = {"postgres": postgres, "duckdb": database, "bigquery": bigquery}
        for target in targets.loadable():
            for month in lake.months():
                target.replace_month(clients[target.name], month.file, lake)
            target.replace_zones(clients[target.name], lake)
        with duckdb.connect(database.path, read_only=True) as reader:
            job = bq.QueryJobConfig(default_dataset=f"local.{targets.get('bigquery').default_namespace}")
            yield Places(
                lake,
                {
                    "lake": lambda statement: views.execute(statement).fetchall(),
                    "postgres": lambda statement: postgres.execute(statement).fetchall(),
                    "duckdb": lambda statement: reader.execute(statement).fetchall(),
                    "bigquery": lambda statement: list(map(tuple, bigquery.query_and_wait(statement, job_config=job))),
                },
            )
    next(cloud, None)


def plain(rows: Rows) -> Rows:
    """The rows as they may be compared: some places give a whole number as a decimal."""
    return [tuple(float(value) if isinstance(value, Decimal | int) else value for value in row) for row in rows]


def test_the_page_has_a_dozen_questions_and_more():
    assert len(QUESTIONS) >= 12
    assert PAGE.count("```sql") == PAGE.count("\n## ") == len(QUESTIONS)


def test_every_target_that_loads_from_the_lake_is_asked(places: Places):
    assert places.asks.keys() == {target.name for target in targets.every()}


@pytest.mark.parametrize("question", QUESTIONS)
def test_a_question_has_the_same_answer_in_every_place(places: Places, question: str):
    answers = {name: plain(ask(QUESTIONS[question])) for name, ask in places.asks.items()}

    assert answers["lake"]
    for name, answer in answers.items():
        # Sums of doubles differ in their last bit.
        assert answer == [pytest.approx(row, abs=1e-6) for row in answers["lake"]], name


def test_absurd_rows_are_those_that_the_rules_count(places: Places):
    found = dict(places.asks["lake"](QUESTIONS["Which rows are absurd?"]))
    hits = [landed["rule_hits"] for landed in places.landed("yellow")]

    assert found == {rule: sum(of_month.get(rule, 0) for of_month in hits) for rule in found}
    assert sum(found.values()) > 0


def test_what_strict_rejects_is_what_a_strict_pass_rejects(
    places: Places, lake: Lake, landed_month: Callable[..., TripFile]
):
    """But for the two rules that the page leaves out, whose rows break no other rule here."""
    for name in MONTHS:
        if name.startswith("yellow"):
            landed_month(name, rows=ROWS, profile="strict")
    rejected = [month.description["rejected_by_reason"] for month in lake.months("yellow")]

    found = dict(places.asks["lake"](QUESTIONS["What would `strict` reject?"]))

    for name, count in found.items():
        if match := REJECTED_FIRST_BY.fullmatch(name):
            assert count == sum(of_month.get(match[1], 0) for of_month in rejected), name
    assert len(found) > 3
