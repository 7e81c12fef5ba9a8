"""Prepare a process that forks tasks: it imports the third-party modules that tasks use, and runs as batch work.

So each task finds the modules imported, and its slot is free as soon as it ends.

It acts in the scheduler if its executor forks tasks, which is the LocalExecutor on Linux. A Celery worker does the same
if `[celery] celery_config_options` is `taxi_celery.CONFIG`. Elsewhere tasks import what they use, as without this file.

The bundle's own `include` is never imported here: its version is that of the run.

In the process of a task, it lets Python look for garbage less often: the process is short, and the rows are Arrow's.
"""

import gc
import os
import sys
from contextlib import suppress
from importlib import import_module

from airflow.listeners import hookimpl
from airflow.plugins_manager import AirflowPlugin

MODULES = (
    "airflow.providers.amazon.aws.hooks.s3",
    "airflow.providers.google.cloud.fs.gcs",
    "airflow.providers.google.cloud.hooks.bigquery",
    "airflow.providers.postgres.hooks.postgres",
    "airflow.dag_processing.bundles.local",
    "airflow.sdk.definitions.asset.metadata",
    "airflow.sdk.definitions.decorators.setup_teardown",
    "airflow.sdk.definitions.retry_policy",
    "airflow.sdk.definitions.timetables.trigger",
    "airflow.sdk.execution_time.cache",
    "airflow.sdk.execution_time.task_runner",
    "airflow.sdk.execution_time.timeout",
    "croniter",
    "duckdb",
    "gcsfs",
    "google.cloud.bigquery",
    "isal.igzip_threaded",
    "jinja2.ext",
    "psycopg",
    "pyarrow.compute",
    "pyarrow.csv",
    "pyarrow.parquet",
    "tomllib",
)

FILE_BACKEND = "airflow.secrets.local_filesystem.LocalFilesystemBackend"
GARBAGE_AFTER_OBJECTS = 50_000


# A thread does not survive a fork, so the libraries below are told to start none when they are imported.
WITHOUT_THREADS = {"OPENBLAS_NUM_THREADS": "1", "JE_ARROW_MALLOC_CONF": "background_thread:false"}


def run_as_batch() -> None:
    """Tell Linux that this process and those that it forks are batch work, which wakes up without taking over a CPU.

    Otherwise a supervisor, woken when its task closes the last socket, often takes the CPU from the task just before
    that has exited, overlooks the exit, and keeps the task's slot until the next heartbeat.
    """
    with suppress(AttributeError, OSError):  # another system, or the policy is forbidden
        if os.sched_getscheduler(0) == os.SCHED_OTHER:
            os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))


def preload() -> None:
    """Import the modules, except those that are not installed. No thread is started, and no connection opened."""
    found = {name: os.environ.get(name) for name in WITHOUT_THREADS}
    os.environ.update(WITHOUT_THREADS)
    try:
        for name in MODULES:
            with suppress(ImportError):
                import_module(name)
        _map_connections()
    finally:
        for name, value in found.items():
            os.environ.pop(name)
            if value is not None:
                os.environ[name] = value


def _map_connections() -> None:
    """Map Airflow's tables if tasks look connections up in a file: Airflow's backend for that makes objects of them.

    Otherwise each task maps them, for a tenth of a second of CPU.
    """
    from airflow.configuration import conf

    settings = (("workers", "secrets_backend"), ("secrets", "backend"))
    if FILE_BACKEND in {conf.get(section, key, fallback="") for section, key in settings}:
        from airflow.models.connection import Connection

        Connection(conn_id="first")


@hookimpl
def on_starting(component: object) -> None:
    """Called when a component of Airflow starts."""
    if type(component).__name__ == "TaskRunnerMarker":
        gc.set_threshold(GARBAGE_AFTER_OBJECTS, 10, 10)
    elif sys.argv[1:2] == ["scheduler"] and _forks_tasks():
        preload()
        run_as_batch()


def _forks_tasks() -> bool:
    from multiprocessing import get_start_method

    from airflow.configuration import conf

    return "LocalExecutor" in conf.get("core", "executor") and get_start_method() == "fork"


class TaxiPreload(AirflowPlugin):
    """Registers the listener."""

    name = "taxi_preload"
    listeners = [sys.modules[__name__]]
