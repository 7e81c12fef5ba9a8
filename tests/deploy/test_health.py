import socket

import health
import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

HERE = socket.gethostname()


@pytest.fixture
def jobs(warehouse, monkeypatch):
    """The columns of Airflow's table `job` that the check reads; inserts rows."""
    target = conninfo_to_dict(warehouse)
    url = "postgresql+psycopg2://{user}:{password}@{host}:{port}/{dbname}".format(**target)
    monkeypatch.setenv("AIRFLOW__DATABASE__SQL_ALCHEMY_CONN", url)
    with psycopg.connect(warehouse, autocommit=True) as connection:
        connection.execute("CREATE TABLE job (job_type text, hostname text, state text, latest_heartbeat timestamptz)")
        yield lambda *row: connection.execute("INSERT INTO job VALUES (%s, %s, %s, now() - %s::interval)", row)


@pytest.mark.parametrize(
    ("row", "alive"),
    [
        (("SchedulerJob", HERE, "running", "1 second"), True),
        (("SchedulerJob", HERE, "running", "2 minutes"), False),
        (("SchedulerJob", HERE, "success", "1 second"), False),
        (("SchedulerJob", "another", "running", "1 second"), False),
        (("TriggererJob", HERE, "running", "1 second"), False),
    ],
)
def test_a_job_is_alive_if_it_sent_a_heartbeat_lately_on_this_host(jobs, row, alive):
    jobs(*row)

    assert health.is_alive("SchedulerJob") is alive
