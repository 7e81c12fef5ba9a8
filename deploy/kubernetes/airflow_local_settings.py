"""Give the pod of a task what its queue stands for, because the KubernetesExecutor ignores queues.

Airflow's scheduler imports this file from Python's path, for example from $AIRFLOW_HOME/config; the Helm chart puts it
there by `--set-file airflowLocalSettings=deploy/kubernetes/airflow_local_settings.py`.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kubernetes.client import V1Pod  # type: ignore[import-untyped]

# What the pods of a queue get instead of the pod template's: resources, and the labels of the nodes that they run on.
# `kubectl label node NAME nyc-taxi/queue=demo` reserves a node if its queue has {"nyc-taxi/queue": "demo"} here.
QUEUES: dict[str, dict[str, Any]] = {
    "demo": {
        "resources": {"requests": {"cpu": "100m", "memory": "256Mi"}, "limits": {"memory": "512Mi"}},
        "nodes": {},
    }
}
LABEL = "nyc-taxi/queue"


def pod_mutation_hook(pod: V1Pod) -> None:
    """Label a pod with the queue of its task, and set what is listed for that queue. Other pods stay as they are."""
    queue = _queue(pod)
    if queue is None:
        return
    pod.metadata.labels = {**(pod.metadata.labels or {}), LABEL: queue}
    of_queue = QUEUES.get(queue, {})
    if "resources" in of_queue:
        pod.spec.containers[0].resources = of_queue["resources"]
    if of_queue.get("nodes"):
        pod.spec.node_selector = {**(pod.spec.node_selector or {}), **of_queue["nodes"]}


def _queue(pod: V1Pod) -> str | None:
    """Return the queue in the arguments of a task's pod: the last of them is the task, as JSON."""
    try:
        queue = json.loads(pod.spec.containers[0].args[-1])["ti"]["queue"]
    except (IndexError, KeyError, TypeError, ValueError):
        return None
    return str(queue)
