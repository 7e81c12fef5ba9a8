"""Say "I am a flow :)" on a worker of the queue `demo`: the notes' lab on work pools.

`say_so`

- **What**: one line in the log. It shows that a task runs where its queue sends it: start a worker with
  `airflow celery worker --queues demo`, as the notes start an agent with `prefect agent start -q demo`.
- **Grain**: none.
- **Re-run safety**: run it as often as you like; nothing is kept.

### Triage

- It stays queued: under the CeleryExecutor no worker reads the queue `demo`. Start one; the run then goes on by itself.
  The LocalExecutor knows no queues and runs it at once.
"""

from airflow.sdk import task

from include.orchestration.deployments import dag_with_deployments
from include.orchestration.retries import DEFAULT_ARGS
from include.orchestration.tags import Tag


@dag_with_deployments(
    description="The notes' lab: one line, on the queue demo",
    doc_md=__doc__,
    schedule=None,
    params={},
    default_args=DEFAULT_ARGS | {"queue": "demo"},
    max_active_runs=4,
    is_paused_upon_creation=False,
    tags=[Tag.NOTES],
)
def flow_code() -> None:
    @task
    def say_so() -> None:
        print("I am a flow :)")  # noqa: T201 - Airflow brings it into the task's log

    say_so()


flow_code()
