"""Whether what this container runs is alive, for a tenth of the CPU time of `airflow jobs check` and `celery inspect`.

health.py SchedulerJob    the job's heartbeat in the metadata database is young
health.py worker          the Celery worker answers over the broker
"""

import os
import socket
import sys
from pathlib import Path

YOUNG = "45 seconds"  # a job's heart beats every five

HEARTBEAT = """
SELECT FROM job
WHERE job_type = %s AND hostname = %s AND state = 'running' AND latest_heartbeat > now() - %s::interval
"""


def beats(job: str) -> bool:
    """Whether a job of this type on this host has said lately that it is alive."""
    import psycopg2

    url = os.environ["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"].replace("+psycopg2", "")
    with psycopg2.connect(url, connect_timeout=5) as connection, connection.cursor() as cursor:
        cursor.execute(HEARTBEAT, (job, socket.gethostname(), YOUNG))
        return cursor.fetchone() is not None


def answers() -> bool:
    """Whether the worker of this host takes messages from the broker. Celery alone can ask that, without Airflow."""
    from celery import Celery

    control = Celery(broker=Path("/run/secrets/broker_url").read_text()).control
    return bool(control.ping(destination=[f"celery@{socket.gethostname()}"], timeout=10))


if __name__ == "__main__":
    subject = sys.argv[1]
    if not (answers() if subject == "worker" else beats(subject)):
        sys.exit(f"{subject} on {socket.gethostname()} gives no sign of life")
