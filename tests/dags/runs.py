"""What a finished run and Airflow's API tell."""

import json


def publish_at(monkeypatch, base_url):
    monkeypatch.setenv("AIRFLOW_CONN_TAXI_SOURCE", json.dumps({"conn_type": "http", "host": base_url}))


def checked(answer):
    assert answer.is_success, answer.text
    return answer.json()


def states(run):
    """The state of each task; of a mapped one, of each of its map indexes."""
    return {
        ti.task_id if ti.map_index < 0 else f"{ti.task_id}[{ti.map_index}]": ti.state for ti in run.get_task_instances()
    }


def labels(run):
    """The label of each task that has one, which the run's list of tasks shows as its map index."""
    return {ti.task_id: ti.rendered_map_index for ti in run.get_task_instances() if ti.rendered_map_index}


def tries(run, task_id):
    return run.get_task_instance(task_id).try_number


def result(run, task_id):
    return run.get_task_instance(task_id).xcom_pull(task_ids=task_id)


def events_of(run):
    """The asset events of a run, as (asset, partition), in their order."""
    from airflow.models.asset import AssetEvent, AssetModel
    from airflow.utils.session import create_session
    from sqlalchemy import select

    with create_session() as session:
        found = session.execute(
            select(AssetModel.name, AssetEvent.partition_key)
            .join(AssetModel, AssetModel.id == AssetEvent.asset_id)
            .where(AssetEvent.source_dag_id == run.dag_id, AssetEvent.source_run_id == run.run_id)
            .order_by(AssetEvent.id)
        ).all()
    return [tuple(row) for row in found]
