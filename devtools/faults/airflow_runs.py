"""airflow_runs: run a Dag by Airflow itself, with its retries, in this process and on a database of the campaign."""

from __future__ import annotations

import json
import os
import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

ROOT = Path(__file__).resolve().parents[2]
DAGS = ROOT / "dags"
BUNDLE = "nyc-taxi"


def airflow_environment(home: Path) -> dict[str, str]:
    """Return the variables of an Airflow of the campaign's own, which Airflow reads when it is imported."""
    bundle = {
        "name": BUNDLE,
        "classpath": "airflow.dag_processing.bundles.local.LocalDagBundle",
        "kwargs": {"path": str(ROOT)},
    }
    return {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__API_AUTH__JWT_SECRET": secrets.token_urlsafe(64),
        "AIRFLOW__CORE__DAGS_FOLDER": str(DAGS),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(home / "plugins"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__DEFAULT_TASK_RETRY_DELAY": "0",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
        "AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST": json.dumps([bundle]),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home / 'airflow.db'}",
    }


def prepare(log: str) -> None:
    """Create the database, and write every Dag to it: two runs at once would both write the assets that it lacks."""
    with Path(log).open("a") as file:
        for number in (1, 2):
            os.dup2(file.fileno(), number)
    from airflow.dag_processing.bundles.manager import DagBundlesManager
    from airflow.dag_processing.dagbag import sync_bag_to_db
    from airflow.utils.db import initdb

    initdb()
    DagBundlesManager().sync_bundles_to_db()  # type: ignore[no-untyped-call]
    sync_bag_to_db(_bag(DAGS), BUNDLE, None)


def run_dag(dag_id: str, conf: Mapping[str, Any], last_task: str) -> Any:
    """Run a Dag to its end; returns what its last task returned.

    Raises:
        Exception: the error of the task that failed for good, or one that says that its tries were not those of its
            policy.
    """
    from airflow.sdk.listener import get_listener_manager

    listener = _Listener()
    get_listener_manager().add_listener(listener)  # type: ignore[no-untyped-call]
    run = _bag(DAGS / f"{dag_id}.py").dags[dag_id].test(run_conf=dict(conf))
    if run.state != "success":
        _check_tries(run, listener.errors)
        raise listener.errors[-1]
    return run.get_task_instance(last_task).xcom_pull(task_ids=last_task)


def _bag(path: Path) -> Any:
    from airflow.dag_processing.dagbag import BundleDagBag

    return BundleDagBag(path, bundle_path=ROOT, bundle_name=BUNDLE)


def _check_tries(run: Any, errors: list[BaseException]) -> None:
    """Check that a permanent error ended the task at once, and a transient one after all of its tries."""
    from include.nyc_taxi.errors import TransientError

    for task in run.get_task_instances():
        if task.state == "failed":
            expected = task.max_tries + 1 if isinstance(errors[-1], TransientError) else 1
            if task.try_number != expected:
                raise RuntimeError(f"{task.task_id} had {task.try_number} tries, expected {expected}: {errors[-1]}")


class _Listener:
    """Hears the errors of tasks."""

    def __init__(self) -> None:
        from airflow.listeners import hookimpl

        self.errors: list[BaseException] = []
        type(self).on_task_instance_failed = hookimpl(_on_task_instance_failed)  # type: ignore[attr-defined]


def _on_task_instance_failed(self: _Listener, error: BaseException | None) -> None:
    if isinstance(error, BaseException):
        self.errors.append(error)
