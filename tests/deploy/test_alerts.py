"""The alerts of the profile metrics, and what Prometheus is told to read."""

import re
import shutil
import subprocess
from pathlib import Path

import promql_parser
import pytest
import yaml
from airflow.sdk._shared.observability.metrics.metrics_registry import MetricsRegistry

from include.orchestration import exporter

ROOT = Path(__file__).resolve().parents[2]
METRICS = ROOT / "deploy" / "metrics"
[GROUP] = yaml.safe_load((METRICS / "alerts.yml").read_text())["groups"]
ALERTS = {rule["alert"]: rule for rule in GROUP["rules"]}
PAGE = (ROOT / "docs" / "watching.md").read_text()
SERVICES = yaml.safe_load((ROOT / "docker-compose.yaml").read_text())["services"]

each_alert = pytest.mark.parametrize("name", ALERTS)


def selected(expression):
    """The names of the metrics that an expression reads."""
    if isinstance(expression, promql_parser.VectorSelector):
        yield expression.name
    for part in ("expr", "lhs", "rhs", "vector_selector"):
        if (inner := getattr(expression, part, None)) is not None:
            yield from selected(inner)
    for argument in getattr(expression, "args", []):
        yield from selected(argument)


@each_alert
def test_an_alert_reads_metrics_that_are_sent_or_served(name):
    of_airflow = {f"airflow_{metric.replace('.', '_')}" for metric in MetricsRegistry()._metrics}
    known = {gauge.name for gauge in exporter.GAUGES} | of_airflow | {"up"}

    read = set(selected(promql_parser.parse(ALERTS[name]["expr"])))

    assert read
    assert read - known == set()


@each_alert
def test_an_alert_begins_with_its_word_which_is_a_heading_of_its_documentation(name):
    texts = ALERTS[name]["annotations"]

    assert [text for text in (texts["summary"], texts["description"]) if not text.startswith(f"{name}: ")] == []
    assert texts["runbook_url"] == f"docs/watching.md#{name.lower()}"
    assert f"\n### {name}\n" in PAGE


def test_the_documentation_lists_every_metric_that_is_served():
    assert [gauge.name for gauge in exporter.GAUGES if f"| `{gauge.name}` |" not in PAGE] == []


def test_prometheus_reads_the_exporters_where_the_stack_has_them():
    config = yaml.safe_load((METRICS / "prometheus.yml").read_text())
    read = {job["job_name"]: job["static_configs"][0]["targets"] for job in config["scrape_configs"]}
    jobs = {job for name in ALERTS for job in re.findall(r'job="(\w+)"', ALERTS[name]["expr"])}

    assert read == {"airflow": ["statsd-exporter:9102"], "taxi": ["taxi-exporter:9465"]}
    assert jobs == read.keys()
    for host, *_ in (address.split(":") for [address] in read.values()):
        assert set(SERVICES[host]["networks"]) & set(SERVICES["prometheus"]["networks"])


def test_what_sends_metrics_reaches_the_exporter_of_statsd():
    senders = {"api-server", "dag-processor", "scheduler", "triggerer", "worker-default", "worker-demo"}
    networks = set(SERVICES["statsd-exporter"]["networks"])

    assert [name for name in senders if not networks & set(SERVICES[name]["networks"])] == []


@pytest.mark.parametrize(
    "arguments",
    [
        ["check", "config", METRICS / "prometheus.yml"],
        ["test", "rules", Path(__file__).with_name("alerts_test.yml")],
        ["test", "rules", Path(__file__).with_name("alerts_of_days_test.yml")],
    ],
    ids=["configuration", "alerts", "alerts_of_days"],
)
def test_promtool_accepts_the_alerts_and_they_fire_when_they_should(arguments):
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool, of Prometheus, is not installed")

    ran = subprocess.run([promtool, *arguments], capture_output=True, text=True, check=False)

    assert ran.returncode == 0, ran.stdout + ran.stderr
