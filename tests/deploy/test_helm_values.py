"""deploy/kubernetes/values.yaml, rendered by Helm with the official chart, and checked against Kubernetes' schema.

It needs `helm` and the chart: `helm pull airflow --repo https://airflow.apache.org --version 1.22.0`, and the archive's
path in AIRFLOW_CHART.
"""

import json
import os
import shutil
import subprocess
from pathlib import Path

import kubernetes_validate
import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "deploy" / "kubernetes"
CHART = os.environ.get("AIRFLOW_CHART")
VERSION = "1.30"  # of Kubernetes, the oldest that this version of the chart supports
needs_helm = pytest.mark.skipif(
    CHART is None or shutil.which("helm") is None, reason="helm, or AIRFLOW_CHART, the path of the chart, is missing"
)
EXECUTORS = {"KubernetesExecutor": [], "CeleryExecutor": ["values-celery.yaml"]}


@pytest.fixture(scope="module", params=EXECUTORS)
def rendered(request):
    """The objects of a release, by kind and name; Helm compares the values with the chart's schema first."""
    files = [FOLDER / name for name in ("values.yaml", *EXECUTORS[request.param])]
    command = ["helm", "template", "taxi", CHART, "--namespace", "taxi"]
    command += [word for file in files for word in ("--values", str(file))]
    command += ["--set-file", f"airflowLocalSettings={FOLDER / 'airflow_local_settings.py'}"]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    objects = [each for each in yaml.safe_load_all(text) if each]
    return request.param, {(each["kind"], each["metadata"]["name"]): each for each in objects}


def pods(objects):
    """The pod of each object that has one."""
    for key, each in objects.items():
        spec = each.get("spec", {})
        spec = spec.get("jobTemplate", {}).get("spec", spec)
        if "template" in spec:
            yield key, spec["template"]["spec"]


@needs_helm
def test_every_object_is_valid(rendered):
    executor, objects = rendered

    assert ("Deployment", "taxi-scheduler") in objects
    for each in objects.values():
        kubernetes_validate.validate(each, VERSION, strict=True)
    assert executor in objects["ConfigMap", "taxi-config"]["data"]["airflow.cfg"]


@needs_helm
def test_the_pod_of_a_task_is_that_of_the_template_without_the_chart(rendered):
    executor, objects = rendered
    if executor != "KubernetesExecutor":
        return
    pod = yaml.safe_load(objects["ConfigMap", "taxi-config"]["data"]["pod_template_file.yaml"])
    ours = yaml.safe_load((FOLDER / "pod-template.yaml").read_text())

    kubernetes_validate.validate(pod, VERSION, strict=True)
    theirs, expected = pod["spec"]["containers"][0], ours["spec"]["containers"][0]
    assert (theirs["image"], theirs["resources"]) == (expected["image"], expected["resources"])
    assert pod["spec"]["securityContext"] == ours["spec"]["securityContext"]
    [connections] = [mount for mount in expected["volumeMounts"] if mount["name"] == "connections"]
    assert connections in theirs["volumeMounts"]
    assert [volume for volume in ours["spec"]["volumes"] if volume["name"] == "connections"] == [
        volume for volume in pod["spec"]["volumes"] if volume["name"] == "connections"
    ]


@needs_helm
def test_each_queue_has_its_workers(rendered):
    executor, objects = rendered

    queues = {
        name: next(word for word in pod["containers"][0]["args"] if "celery worker" in word)
        for (_, name), pod in pods(objects)
        if "worker" in name
    }

    expected = {} if executor == "KubernetesExecutor" else {"taxi-worker": "default", "taxi-worker-demo": "demo"}
    assert {
        name: words.split(" -q ")[-1] if " -q " in words else "default" for name, words in queues.items()
    } == expected


@needs_helm
def test_all_of_airflow_runs_without_rights_and_reads_secrets_by_their_names(rendered):
    _, objects = rendered

    assert [name for kind, name in objects if kind == "Secret" and "registry" not in name] == []
    for (_, name), pod in pods(objects):
        if name.endswith("redis"):
            continue
        assert pod["securityContext"]["runAsNonRoot"] is True, name
        for container in [*pod.get("initContainers", []), *pod["containers"]]:
            assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}, (name, container["name"])
            assert "nyc-taxi-connections" not in str((container.get("env"), container.get("envFrom"))), name


@needs_helm
def test_the_scheduler_knows_the_bundle_and_what_queues_stand_for(rendered):
    _, objects = rendered
    data = objects["ConfigMap", "taxi-config"]["data"]
    line = next(line for line in data["airflow.cfg"].splitlines() if line.startswith("dag_bundle_config_list"))

    assert json.loads(line.partition(" = ")[2])[0]["kwargs"]["path"] == "/opt/airflow/bundle"
    assert data["airflow_local_settings.py"].strip() == (FOLDER / "airflow_local_settings.py").read_text().strip()


def test_what_both_values_files_set_for_airflow_is_the_same():
    kubernetes, celery = (
        {env["name"]: env["value"] for env in yaml.safe_load((FOLDER / name).read_text())["env"]}
        for name in ("values.yaml", "values-celery.yaml")
    )

    assert {name: value for name, value in celery.items() if "CELERY" not in name} == kubernetes
