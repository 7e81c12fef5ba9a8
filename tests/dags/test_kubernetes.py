"""The pods that Airflow's KubernetesExecutor would start for the tasks, from the template and the hook of deploy/."""

import importlib.util
from datetime import UTC, datetime
from pathlib import Path

import kubernetes_validate
import pytest
import yaml
from airflow.models import DagModel, DagRun, TaskInstance
from airflow.providers.cncf.kubernetes.kubernetes_helper_functions import create_unique_id
from airflow.providers.cncf.kubernetes.pod_generator import PodGenerator, generate_pod_command_args
from airflow.serialization.serialized_objects import DagSerialization
from airflow.utils.types import DagRunType
from uuid6 import uuid7

FOLDER = Path(__file__).resolve().parents[2] / "deploy" / "kubernetes"
TEMPLATE = FOLDER / "pod-template.yaml"
VERSIONS = ("1.30", "1.37")  # of Kubernetes


def hook():
    """The settings file, as Airflow's scheduler imports it."""
    spec = importlib.util.spec_from_file_location("airflow_local_settings", FOLDER / "airflow_local_settings.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def pod_of(task, dag, settings, map_index=-1):
    """The pod of a task's first try, made as by `airflow kubernetes generate-dag-yaml`."""
    run = DagRun(dag.dag_id)
    run.run_id = DagRun.generate_run_id(run_type=DagRunType.MANUAL, logical_date=None, run_after=datetime.now(UTC))
    ti = TaskInstance(task, run_id=run.run_id, dag_version_id=uuid7(), map_index=map_index)
    ti.dag_run = run
    ti.dag_model = DagModel(dag_id=dag.dag_id)
    ti.dag_model.bundle_name, ti.dag_model.relative_fileloc = "nyc-taxi", dag.relative_fileloc
    pod = PodGenerator.construct_pod(
        dag_id=dag.dag_id,
        task_id=task.task_id,
        pod_id=create_unique_id(dag.dag_id, task.task_id),
        try_number=1,
        kube_image=None,
        date=None,
        run_id=run.run_id,
        map_index=map_index,
        args=generate_pod_command_args(ti),
        pod_override_object=PodGenerator.from_obj(ti.executor_config),
        base_worker_pod=PodGenerator.deserialize_model_file(str(TEMPLATE)),
        namespace="taxi",
        scheduler_job_id="1",
    )
    settings.pod_mutation_hook(pod)
    return PodGenerator.serialize_pod(pod)


def as_the_scheduler_has_it(dag):
    return DagSerialization.from_dict(DagSerialization.to_dict(dag))


@pytest.fixture(scope="module")
def pods(airflow_database, bag):
    """The pod of each task, by Dag and task."""
    settings = hook()
    return {
        (dag.dag_id, task.task_id): pod_of(task, dag, settings)
        for dag in map(as_the_scheduler_has_it, bag("nyc-taxi").dags.values())
        for task in dag.tasks
    }


@pytest.mark.parametrize("version", VERSIONS)
def test_the_pod_of_every_task_of_every_dag_is_valid(pods, version):
    assert len({dag_id for dag_id, _ in pods}) > 30
    every = {
        "apiVersion": "v1",
        "kind": "PodList",
        "metadata": {},
        "items": list(pods.values()),
    }  # read the schema once
    kubernetes_validate.validate(every, version, strict=True)


def test_a_pod_without_the_name_of_its_container_would_not_be_valid(pods):
    [pod, *_] = pods.values()
    broken = pod | {"spec": pod["spec"] | {"containers": [{"image": "x"}]}}
    every = {"apiVersion": "v1", "kind": "PodList", "metadata": {}, "items": [pod, broken]}

    with pytest.raises(kubernetes_validate.ValidationError, match="'name' is a required property"):
        kubernetes_validate.validate(every, VERSIONS[0], strict=True)


def test_a_pod_has_the_image_command_and_limits_of_the_template(pods):
    pod = pods["ingest_data", "load_data"]
    [container] = pod["spec"]["containers"]

    assert container["image"] == yaml.safe_load(TEMPLATE.read_text())["spec"]["containers"][0]["image"]
    assert container["args"][:3] == ["python", "-m", "airflow.sdk.execution_time.execute_workload"]
    assert container["resources"]["limits"] == {"memory": "1Gi", "ephemeral-storage": "4Gi"}
    assert pod["spec"]["securityContext"]["runAsNonRoot"] is True
    assert container["securityContext"]["readOnlyRootFilesystem"] is True


def test_a_pod_is_labelled_with_its_queue_and_gets_what_the_queue_stands_for(pods):
    flow, load = (pods[key] for key in (("flow_code", "say_so"), ("ingest_data", "load_data")))

    assert [pod["metadata"]["labels"]["nyc-taxi/queue"] for pod in (flow, load)] == ["demo", "default"]
    assert flow["spec"]["containers"][0]["resources"]["limits"] == {"memory": "512Mi"}
    assert "nodeSelector" not in load["spec"]


def test_a_queue_may_have_nodes_of_its_own(airflow_database, bag):
    settings = hook()
    settings.QUEUES["demo"]["nodes"] = {"nyc-taxi/queue": "demo"}
    dag = as_the_scheduler_has_it(bag("nyc-taxi").dags["flow_code"])

    assert pod_of(dag.tasks[0], dag, settings)["spec"]["nodeSelector"] == {"nyc-taxi/queue": "demo"}


def test_a_pod_of_something_else_stays_as_it_is():
    pod = PodGenerator.deserialize_model_file(str(TEMPLATE))

    hook().pod_mutation_hook(pod)

    assert PodGenerator.serialize_pod(pod) == yaml.safe_load(TEMPLATE.read_text())


def test_a_pod_holds_no_secret_and_writes_only_to_its_volumes(pods):
    for pod in pods.values():
        [container] = pod["spec"]["containers"]
        values = {env["name"]: env.get("value", "") for env in container["env"]}
        assert [name for name in values if name.startswith("AIRFLOW_CONN_") or "KEY" in name] == []
        assert "envFrom" not in container
        assert {mount["name"] for mount in container["volumeMounts"] if not mount.get("readOnly")} == {
            "logs",
            "scratch",
            "tmp",
        }
        assert values["TMPDIR"] in {mount["mountPath"] for mount in container["volumeMounts"]}
