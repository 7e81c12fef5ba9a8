"""Print "I am a flow :)" on a worker of the queue `demo`, when triggered, to show how tasks are routed.

`say_so`

- **What**: prints one line to the log. Start a worker for its queue with `airflow celery worker --queues demo`.
- **Grain**: none.
- **Re-run safety**: idempotent: it stores nothing.

### Triage

- It stays queued: with the CeleryExecutor, no worker reads the queue `demo`. Start one, and the run continues. The
  LocalExecutor ignores queues and runs it at once.
"""

from airflow.sdk import task

from include.orchestration.assets import Lineage
from include.orchestration.deployments import dag_with_deployments
from include.orchestration.retries import DEFAULT_ARGS
from include.orchestration.tags import Tag


@dag_with_deployments(
    description="Prints one line on the queue demo, to show queue routing",
    doc_md=__doc__,
    schedule=None,
    params={},
    default_args=DEFAULT_ARGS | {"queue": "demo"},
    max_active_runs=4,
    is_paused_upon_creation=False,
    tags=[Tag.FLOW, Tag.NOTES],
)
def flow_code(_: Lineage) -> None:
    @task
    def say_so() -> None:
        print("I am a flow :)")  # noqa: T201 - Airflow copies it into the task's log

    say_so()


flow_code()
