"""What a task sends to Airflow's metrics: a StatsD server on loopback hears it."""

import socket
from collections import Counter

import pytest
from airflow.sdk.observability import stats
from airflow.sdk.observability.metrics.stats_utils import get_stats_factory

from tests.dags.runs import states

JANUARY = {"colour": "green", "year": 2024, "month": 1}
ROWS = 500


@pytest.fixture
def statsd(monkeypatch):
    """A StatsD server, and Airflow's metrics switched on as in the stack; returns what it has heard, as a dict."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(0)
        settings = {
            "STATSD_ON": "True",
            "STATSD_HOST": "127.0.0.1",
            "STATSD_PORT": str(server.getsockname()[1]),
            "STATSD_INFLUXDB_ENABLED": "True",
        }
        for name, value in settings.items():
            monkeypatch.setenv(f"AIRFLOW__METRICS__{name}", value)
        stats.initialize(factory=get_stats_factory(), export_legacy_names=False)
        yield lambda: heard(server)
    monkeypatch.undo()
    stats.initialize(factory=get_stats_factory(), export_legacy_names=True)


def heard(server):
    """The counters that have arrived, added up, and how often each time has."""
    found = Counter()
    while True:
        try:
            name, _, rest = server.recv(65536).decode().partition(":")
        except BlockingIOError:
            return found
        value, _, kind = rest.partition("|")
        found[name] += int(value) if kind == "c" else 1


def test_rows_and_bytes_of_a_month_are_counted_by_service_and_target(statsd, publish, bag, monkeypatch, query):
    monkeypatch.setenv("AIRFLOW__METRICS__LEGACY_NAMES_ON", "False")
    generated = publish("green_tripdata_2024-01", rows=ROWS)

    run = bag("nyc-taxi").dags["ingest_data"].test(run_conf=JANUARY)

    sent = {name.removeprefix("airflow.taxi."): value for name, value in statsd().items() if ".taxi." in name}
    [(loaded,)] = query("SELECT count(*) FROM green_taxi_trips")
    assert set(states(run).values()) == {"success"}
    downloaded = "service=green,target=raw,outcome=downloaded"
    landed = "service=green,target=lake,outcome=landed"
    replaced = "service=green,target=postgres,outcome=replaced"
    assert sent.pop(f"bytes,{downloaded}") > 0
    assert sent == {
        f"rows_read,{landed}": ROWS,
        f"rows_rejected,{landed}": generated.without_passengers,
        f"rows_loaded,{landed}": loaded,
        f"rows_loaded,{replaced}": loaded,
        **{f"duration,{tags}": 1 for tags in (downloaded, landed, replaced)},
    }
