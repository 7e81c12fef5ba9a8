"""The connections and Variables that the first start creates in Airflow's database, and what overrides them."""

import json
import os

import pytest
from sqlalchemy import delete, select

from include.orchestration import blocks

WAREHOUSE = {"conn_type": "postgres", "host": "db", "port": 5432, "login": "taxi", "password": "its-secret"}
DESCRIBED = {
    "TAXI_SOURCE": '{"conn_type": "http", "host": "https://example.org", "extra": {"redirect_hosts": []}}',
    "TAXI_CSV_MIRROR": "",
    "TAXI_WAREHOUSE": json.dumps(WAREHOUSE),
    "TAXI_ALERTS": "smtp://user:p%40ss@mail:25",
    "TAXI_LAKE": "file:///a lake",
}


@pytest.fixture
def session(airflow_database):
    """Airflow's database, from which what a test creates is deleted at its end."""
    from airflow.models.connection import Connection
    from airflow.models.variable import Variable
    from airflow.utils.session import create_session

    with create_session() as session:
        yield session
        session.rollback()
    with create_session() as session:
        session.execute(delete(Connection).where(Connection.conn_id.in_(blocks.CONNECTIONS)))
        session.execute(delete(Variable).where(Variable.key.in_(blocks.VARIABLES)))


def stored(session, name):
    from airflow.models.connection import Connection

    session.expire_all()
    return session.scalar(select(Connection).where(Connection.conn_id == name))


def test_the_first_start_creates_what_is_described(session):
    lines = blocks.create(DESCRIBED)

    source, warehouse, alerts = (stored(session, name) for name in ("taxi_source", "taxi_warehouse", "taxi_alerts"))
    assert lines == [
        "created in Airflow's database, for you to edit in Admin: taxi_source, taxi_warehouse, taxi_alerts, taxi_lake"
    ]
    assert (source.host, source.extra_dejson) == ("https://example.org", {"redirect_hosts": []})
    assert source.description == blocks.CONNECTIONS["taxi_source"]
    assert (warehouse.port, warehouse.password) == (5432, "its-secret")
    assert (alerts.conn_type, alerts.login, alerts.password, alerts.port) == ("smtp", "user", "p@ss", 25)
    assert stored(session, "taxi_csv_mirror") is None


def test_a_later_start_changes_nothing_and_lists_what_differs(session):
    blocks.create(DESCRIBED)
    stored(session, "taxi_source").host = "https://edited.example"
    session.commit()

    same = blocks.create(DESCRIBED | {"OVERRIDING": "  "})
    lines = blocks.create(DESCRIBED | {"TAXI_LAKE": "file:///other", "OVERRIDING": " AIRFLOW_VAR_TAXI_LAKE "})

    assert same == [
        "differ from what .env describes, and stay as they are in Airflow: taxi_source",
        "environment variables that override connections and Variables: none",
    ]
    assert lines == [
        "differ from what .env describes, and stay as they are in Airflow: taxi_source, taxi_lake",
        "environment variables that override connections and Variables: AIRFLOW_VAR_TAXI_LAKE",
    ]
    assert stored(session, "taxi_source").host == "https://edited.example"


@pytest.mark.parametrize(("edited", "port"), [({}, 6000), ({"login": "me"}, 5432)])
def test_the_warehouse_follows_its_server_unless_somebody_has_edited_it(session, edited, port):
    blocks.create(DESCRIBED)
    for field, value in edited.items():
        setattr(stored(session, "taxi_warehouse"), field, value)
    session.commit()
    moved = {"TAXI_WAREHOUSE": json.dumps(WAREHOUSE | {"port": 6000}), "TAXI_WAREHOUSE_BEFORE": json.dumps(WAREHOUSE)}

    lines = blocks.create(moved)

    assert stored(session, "taxi_warehouse").port == port
    assert lines == [
        "differ from what .env describes, and stay as they are in Airflow: taxi_warehouse"
        if edited
        else "moved with its server: taxi_warehouse"
    ]


def test_a_run_finds_them_in_the_database_and_an_environment_variable_overrides_them(
    session, publish, query, errors, dags_by_id, monkeypatch
):
    publish("green_tripdata_2024-01", rows=200)
    described = {"TAXI_SOURCE": os.environ["AIRFLOW_CONN_TAXI_SOURCE"]}
    described |= {"TAXI_WAREHOUSE": os.environ["AIRFLOW_CONN_TAXI_WAREHOUSE"]}
    described |= {"TAXI_LAKE": os.environ["AIRFLOW_VAR_TAXI_LAKE"]}
    for name in ("AIRFLOW_CONN_TAXI_SOURCE", "AIRFLOW_CONN_TAXI_WAREHOUSE", "AIRFLOW_VAR_TAXI_LAKE"):
        monkeypatch.delenv(name)

    def state():
        return dags_by_id["ingest_data"].test(run_conf={"colour": "green", "year": 2024, "month": 1}).state

    without = state()
    blocks.create(described)
    found = state()
    monkeypatch.setenv("AIRFLOW_VAR_TAXI_LAKE", "elsewhere")
    overridden = state()

    assert (without, found, overridden) == ("failed", "success", "failed")
    assert query("SELECT count(*) > 0 FROM green_taxi_trips") == [(True,)]
    assert "is not set" in errors[0]
    assert "'elsewhere'" in errors[-1]
