"""What the process of each kind of task imports: no Google for a folder and Postgres, no pandas at all."""

import json
import os
import subprocess
import sys
from pathlib import Path

from include.nyc_taxi import targets

ROOT = Path(__file__).resolve().parents[2]
TASKS = """
import json, sys
from datetime import timedelta

import dags.ingest_data

at_parse = sorted(name for name in sys.modules if name.startswith("include."))

from include.nyc_taxi.precedence import Run
from include.orchestration import steps
from include.orchestration.requests import Destination, Reading

FILE, TO = "green_tripdata_2024-01", Destination("postgres")
OURS = ["include.nyc_taxi.download", "include.nyc_taxi.landing", "include.nyc_taxi.publications"]
GOOGLE = ["airflow.providers.google.common.hooks.base_google", "gcsfs", "google.cloud.bigquery"]
HEAVY = [*OURS, *GOOGLE, "pandas", "psycopg", "pyarrow"]
loaded = {}

def ended(task):
    loaded[task] = [name for name in HEAVY if name in sys.modules]

ended("parse")
steps.log_table_name("green", TO)
steps.check_set_up("green", source="official", destination=TO)
ended("log_table_name")
raw = steps.download(FILE, source="official", edition=None, cache_ttl=timedelta(hours=1), force=False)
ended("extract_data")
reading = Reading(Run().wish)
landed = steps.land(FILE, source="official", edition=raw["edition"], reading=reading)
ended("transform_data")
staged = steps.stage(FILE, source="official", edition=raw["edition"], reading=reading)
ended("clean")
steps.load(landed, TO, run=Run())
ended("load_data")
print(json.dumps([at_parse, loaded]))
"""

DOWNLOAD, LANDING = "include.nyc_taxi.download", "include.nyc_taxi.landing"
# Every task imports these anew, so one more module here costs every task its import: about a millisecond of CPU.
AT_PARSE = [
    "include.nyc_taxi",
    "include.nyc_taxi.addresses",
    "include.nyc_taxi.catalog",
    "include.nyc_taxi.errors",
    "include.nyc_taxi.faults",
    "include.nyc_taxi.month",
    "include.nyc_taxi.order",
    "include.nyc_taxi.precedence",
    "include.nyc_taxi.targets",
    "include.nyc_taxi.targets.base",
    *[f"include.nyc_taxi.targets.{place.name}" for place in targets.every()],
    "include.nyc_taxi.targets.postgres.table",
    "include.nyc_taxi.targets.table",
    "include.nyc_taxi.trip_file",
    "include.orchestration",
    "include.orchestration.alerts",
    "include.orchestration.assets",
    "include.orchestration.deployments",
    "include.orchestration.memory",
    "include.orchestration.params",
    "include.orchestration.requests",
    "include.orchestration.retries",
    "include.orchestration.tags",
    "include.orchestration.xcoms",
]


def test_each_task_imports_what_it_uses(publish):
    publish("green_tripdata_2024-01")

    ran = subprocess.run(
        [sys.executable, "-c", TASKS],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT), "_AIRFLOW_PARSING_CONTEXT_DAG_ID": "ingest_data.green"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert not ran.returncode, ran.stderr
    at_parse, loaded = json.loads(ran.stdout.splitlines()[-1])
    assert at_parse == sorted(AT_PARSE)
    assert loaded == {
        "parse": [],
        "log_table_name": ["psycopg"],
        "extract_data": [DOWNLOAD, "psycopg", "pyarrow"],
        "transform_data": [DOWNLOAD, LANDING, "psycopg", "pyarrow"],
        "clean": [DOWNLOAD, LANDING, "psycopg", "pyarrow"],
        "load_data": [DOWNLOAD, LANDING, "psycopg", "pyarrow"],
    }
