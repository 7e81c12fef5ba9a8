"""What processes of Airflow import before they fork tasks."""

import gc
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

STARTING = """
import json, os, sys, threading
sys.path.insert(0, "plugins")
import taxi_preload
airflows = set(sys.modules)
sys.argv = ["airflow", sys.argv[1]]
taxi_preload.on_starting(component=None)
print(json.dumps({
    "loaded": sorted(set(sys.modules) - airflows),
    "threads": threading.active_count(),
    "system_threads": len(os.listdir("/proc/self/task")) if os.path.isdir("/proc/self/task") else 1,
    "policy": os.sched_getscheduler(0) if sys.platform == "linux" else None,
    "left": sorted(name for name in taxi_preload.WITHOUT_THREADS if name in os.environ),
}))
"""


def started(component, executor, home, **settings):
    """What a component of Airflow has when its listeners were called."""
    environment = {
        "PATH": "/usr/bin:/bin",
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__EXECUTOR": executor,
        "GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT": "false",
        **settings,
    }
    command = [sys.executable, "-c", STARTING, component]
    ran = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    return json.loads(ran.stdout.splitlines()[-1])


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere tasks are not forked")
def test_a_scheduler_that_forks_tasks_imports_third_party_modules_and_starts_nothing(tmp_path):
    found = started("scheduler", "LocalExecutor", tmp_path)

    assert {"pyarrow.parquet", "psycopg", "airflow.providers.postgres.hooks.postgres", "gcsfs"} <= set(found["loaded"])
    assert "duckdb" in found["loaded"]
    assert not [name for name in found["loaded"] if name.partition(".")[0] in {"include", "dags"}]
    assert (found["threads"], found["system_threads"], found["left"]) == (1, 1, [])


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere there is no such policy")
def test_a_scheduler_that_forks_tasks_runs_as_batch(tmp_path):
    normal = os.sched_getscheduler(0) == os.SCHED_OTHER

    assert started("api-server", "LocalExecutor", tmp_path)["policy"] == os.sched_getscheduler(0)
    assert not normal or started("scheduler", "LocalExecutor", tmp_path)["policy"] == os.SCHED_BATCH


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere there is no such policy")
def test_a_policy_that_somebody_chose_stays():
    given = "os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))"
    code = f"import os, sys; sys.path.insert(0, 'plugins'); {given}; import taxi_preload; taxi_preload.run_as_batch()"
    ran = subprocess.run(
        [sys.executable, "-c", f"{code}; print(os.sched_getscheduler(0) == os.SCHED_IDLE)"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert ran.stdout.split() == ["True"]


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere tasks are not forked")
@pytest.mark.parametrize("setting", ["AIRFLOW__SECRETS__BACKEND", "AIRFLOW__WORKERS__SECRETS_BACKEND"])
def test_airflows_tables_are_mapped_if_tasks_look_connections_up_in_a_file(tmp_path, setting):
    backend = "airflow.secrets.local_filesystem.LocalFilesystemBackend"
    settings = {setting: backend, f"{setting}_KWARGS": '{"connections_file_path": "/nowhere"}'}
    mapped = {"airflow.models.renderedtifields", "airflow.models.trigger"}

    assert mapped <= set(started("scheduler", "LocalExecutor", tmp_path, **settings)["loaded"])
    assert not mapped & set(started("scheduler", "LocalExecutor", tmp_path)["loaded"])


@pytest.mark.parametrize(
    ("component", "executor"),
    [("scheduler", "CeleryExecutor"), ("api-server", "LocalExecutor"), ("dag-processor", "LocalExecutor")],
)
def test_processes_that_fork_no_tasks_import_nothing(tmp_path, component, executor):
    assert not [
        name
        for name in started(component, executor, tmp_path)["loaded"]
        if name.startswith(("airflow.providers", "pyarrow"))
    ]


def test_the_process_of_a_task_looks_for_garbage_less_often(monkeypatch):
    from airflow.sdk.execution_time.task_runner import TaskRunnerMarker

    monkeypatch.syspath_prepend(str(ROOT / "plugins"))
    import taxi_preload

    before = gc.get_threshold()
    try:
        taxi_preload.on_starting(component=TaskRunnerMarker())
        assert gc.get_threshold()[0] == taxi_preload.GARBAGE_AFTER_OBJECTS > before[0]
    finally:
        gc.set_threshold(*before)
