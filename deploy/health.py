"""Exit with 0 if the Airflow server of this container is alive.

    health.py SchedulerJob

It reads the job's heartbeat from the metadata database, because nothing else tells this cheaply of one container: it
takes 0.05 s of CPU, and `airflow jobs check --local` 2.4 s, as that imports Airflow. `/api/v2/monitor/health` gives the
latest heartbeat of any container, and needs the API server. Only the scheduler can serve a health check of its own.
"""

import os
import socket
import sys

MAX_AGE = "45 seconds"  # jobs send a heartbeat every 5 seconds

HEARTBEAT = """
SELECT FROM job
WHERE job_type = %s AND hostname = %s AND state = 'running' AND latest_heartbeat > now() - %s::interval
"""


def is_alive(job: str) -> bool:
    """Whether a job of this type on this host has sent a heartbeat lately."""
    import psycopg2  # it imports faster than psycopg

    url = os.environ["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"].replace("+psycopg2", "")
    with psycopg2.connect(url, connect_timeout=5) as connection, connection.cursor() as cursor:
        cursor.execute(HEARTBEAT, (job, socket.gethostname(), MAX_AGE))
        return cursor.fetchone() is not None


if __name__ == "__main__":
    if not is_alive(sys.argv[1]):
        sys.exit(f"{sys.argv[1]} on {socket.gethostname()}: no heartbeat in the last {MAX_AGE}")
