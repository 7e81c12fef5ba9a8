"""What the process of each kind of task imports: no Google for a folder and Postgres, no pandas at all."""

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TASKS = """
import json, sys
from datetime import timedelta

import dags.ingest_data
from include.nyc_taxi.targets.ledger import Run
from include.orchestration import steps
from include.orchestration.requests import Destination, Reading

FILE, TO = "green_tripdata_2024-01", Destination("postgres")
GOOGLE = ["airflow.providers.google.common.hooks.base_google", "gcsfs", "google.cloud.bigquery"]
HEAVY = [*GOOGLE, "pandas", "psycopg", "pyarrow"]
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
print(json.dumps(loaded))
"""


def test_each_task_imports_what_it_uses(publish):
    publish("green_tripdata_2024-01")

    ran = subprocess.run(
        [sys.executable, "-c", TASKS],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert not ran.returncode, ran.stderr
    assert json.loads(ran.stdout.splitlines()[-1]) == {
        "parse": [],
        "log_table_name": ["psycopg"],
        "extract_data": ["psycopg", "pyarrow"],
        "transform_data": ["psycopg", "pyarrow"],
        "clean": ["psycopg", "pyarrow"],
        "load_data": ["psycopg", "pyarrow"],
    }
