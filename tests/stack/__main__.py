"""Run the stack in Docker: start it from nothing, load it, kill its parts, look at it in a browser, remove it.

    make test-stack                               everything
    make test-stack ARGS="--only start kills"     some of it
    make test-stack ARGS="--restart-engine 'systemctl restart docker'"

Needs a Docker engine with the images, and Chromium for the screenshots. Project, images, ports, secrets and volumes are
the test's own, so a stack that runs here is not touched.
"""

import argparse
import json
import os
import secrets
import shlex
import shutil
import stat
import subprocess
import sys
import time
from collections import Counter
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import httpx
import psycopg
import pytest

ROOT = Path(__file__).resolve().parents[2]
KEPT = ROOT / ".local" / "test-stack"
PROJECT = "nyc-taxi-test"
ONCE = {"migrate", "secrets"}
PORTS = {
    "API_PORT": 18980,
    "FLOWER_PORT": 15955,
    "PGADMIN_PORT": 15950,
    "WAREHOUSE_PORT": 15932,
    "PROMETHEUS_PORT": 15990,
}
SECRETS = KEPT / "secrets"
LARGE = "yellow_tripdata_2023-01"
MONTHS = [f"green_tripdata_2024-{month:02}" for month in range(1, 13)]
PATIENCE = 900  # seconds to wait for anything; a busy machine is slow
KILLED_IN_MID_LOAD = ("warehouse", "api-server", "scheduler", "redis", "metadata", "dag-processor", "worker-default")
# Commits to a repository of the bundle, which the publisher serves at /bundle/.git.
COMMIT = """
mkdir -p /published/bundle && cd /published/bundle && git init --quiet --initial-branch main
cp -r /opt/airflow/bundle/dags /opt/airflow/bundle/include . && echo "# $0" >> dags/flow_code.py
git add . && git -c user.name=test -c user.email=test@localhost commit --quiet --message "$0"
git update-server-info && git rev-parse HEAD
"""
# By either version of Linux's control groups.
CPU_NANOSECONDS = """
cat /sys/fs/cgroup/cpuacct/cpuacct.usage 2>/dev/null || awk '/^usage_usec/ {print $2 * 1000}' /sys/fs/cgroup/cpu.stat
"""
ASK_BIGQUERY = """
import json, urllib.request
question = json.dumps({"query": "SELECT count(*) FROM nyc_taxi.green_trips", "useLegacySql": False}).encode()
key = open("/run/secrets/key").read()
url = f"http://localhost:9050/{key}/bigquery/v2/projects/local/queries"
request = urllib.request.Request(url, question, {"Content-Type": "application/json"})
print(urllib.request.urlopen(request).read().decode())
"""
IN_MID_LOAD = "SELECT FROM pg_stat_progress_copy WHERE tuples_processed > 100000"

LOGS = "gs://nyc-taxi/logs"
# The overriding connection is nobody's, and has the password that no container may show.
OVERRIDING = "overriding-password"
LOOKED_UP = """
from airflow.sdk.execution_time.supervisor import ensure_secrets_backend_loaded
print(*filter(None, (each.get_connection("taxi_csv_archive") for each in ensure_secrets_backend_loaded()[:1])))
"""
POLICIES = """
import os
print(*{os.sched_getscheduler(int(process)) for process in os.listdir("/proc") if process.isdigit()})
"""
BLOCKS = {"taxi_source", "taxi_csv_mirror", "taxi_warehouse", "taxi_duckdb", "taxi_gcp"}

began = time.monotonic()


def say(text):
    print(f"{time.monotonic() - began:7.1f} s  {text}", flush=True)


def wait_for(what, condition, every_seconds=0.2):
    """Wait until a condition is true, and return its value."""
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        with suppress(httpx.HTTPError, psycopg.Error, KeyError):
            if answer := condition():
                return answer
        time.sleep(every_seconds)
    raise TimeoutError(f"{what}: not within {PATIENCE} seconds")


class Stack:
    def __init__(self):
        self.environment = os.environ | {
            "COMPOSE_PROJECT_NAME": PROJECT,
            "TAG": "test",
            "SECRETS_FOLDER": str(SECRETS),
            "TAXI_SOURCE": '{"conn_type": "http", "host": "http://publisher:8000"}',
            "AIRFLOW_CONN_TAXI_GIT": '{"conn_type": "git", "host": "http://publisher:8000/bundle/.git"}',
            "AIRFLOW_CONN_TAXI_CSV_ARCHIVE": f'{{"conn_type": "http", "host": "http://a", "password": "{OVERRIDING}"}}',
            "AIRFLOW__CORE__DEFAULT_TASK_RETRY_DELAY": "5",
            "AIRFLOW__LOGGING__REMOTE_BASE_LOG_FOLDER": LOGS,
            **{name: str(port) for name, port in PORTS.items()},
        }
        self.token = None
        self.counts = None
        self.quality = None

    def docker(self, *arguments):
        done = subprocess.run(
            ["docker", *arguments], cwd=ROOT, env=self.environment, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise RuntimeError(f"docker {shlex.join(arguments)}: {done.stderr[-3000:]}")
        return done.stdout

    def compose(self, *arguments, profile="tools", settings=()):
        files = ("-f", "docker-compose.yaml", "-f", "tests/stack/compose.yaml")
        settings = [f"--env-file={name}" for name in (".env", *settings)]
        return self.docker("compose", *files, *settings, "--profile", profile, *arguments)

    def containers(self, service):
        return self.compose("ps", "--all", "--quiet", service).split()

    def cpu_seconds(self):
        """The CPU that each service's containers have used so far."""
        used = Counter()
        for each in map(json.loads, self.compose("ps", "--format", "json", profile="*").splitlines()):
            used[each["Service"]] += int(self.docker("exec", each["ID"], "sh", "-c", CPU_NANOSECONDS)) / 1e9
        return used

    def is_healthy(self):
        lines = self.compose("ps", "--all", "--format", "json", profile="*").splitlines()
        stays = [each for each in map(json.loads, lines) if each["Service"] not in ONCE]
        return stays and all(each["Health"] == "healthy" for each in stays)

    @property
    def secrets(self):
        lines = (SECRETS / "secrets.env").read_text().splitlines()
        return dict(line.split("=", 1) for line in lines)

    def url(self, port):
        return f"http://localhost:{PORTS[port]}"

    def api(self, method, path, **body):
        if self.token is None:
            credentials = {"username": "admin", "password": self.secrets["ADMIN_PASSWORD"]}
            answer = httpx.post(f"{self.url('API_PORT')}/auth/token", json=credentials, timeout=60)
            self.token = answer.raise_for_status().json()["access_token"]
        headers = {"Authorization": f"Bearer {self.token}"}
        url = f"{self.url('API_PORT')}/api/v2/{path}"
        answer = httpx.request(method, url, headers=headers, json=body or None, timeout=60)
        return answer.raise_for_status().json()

    def dags(self):
        return {dag["dag_id"] for dag in self.api("GET", "dags")["dags"]}

    def trigger(self, dag_id, **conf):
        return self.api("POST", f"dags/{dag_id}/dagRuns", logical_date=None, conf=conf)["dag_run_id"]

    def load(self, name, dag_id="ingest_data", **conf):
        service, _, month = name.split("_")
        year, month = month.split("-")
        return self.trigger(dag_id, colour=service, year=int(year), month=int(month), **conf)

    def run(self, dag_id, run_id):
        return self.api("GET", f"dags/{dag_id}/dagRuns/{run_id}")

    def tasks(self, dag_id, run_id):
        return self.api("GET", f"dags/{dag_id}/dagRuns/{run_id}/taskInstances")["task_instances"]

    def ends_well(self, run_id, dag_id="ingest_data"):
        def end():
            state = self.run(dag_id, run_id)["state"]
            return state if state in {"success", "failed"} else None

        state = wait_for(f"the end of {run_id}", end)
        assert state == "success", f"{dag_id} {run_id}: {state}"

    def query(self, statement):
        with psycopg.connect(
            host="127.0.0.1",
            port=PORTS["WAREHOUSE_PORT"],
            user="taxi",
            password=self.secrets["WAREHOUSE_PASSWORD"],
            dbname="ny_taxi",
            connect_timeout=30,
        ) as connection:
            return connection.execute(statement).fetchall()

    def rows(self, name):
        service, _, month = name.split("_")
        table = f"{service}_taxi_trips"
        return self.query(f"SELECT count(*) FROM {table} WHERE file_month = '{month}-01'")[0][0]

    def loads(self):
        return self.query("SELECT count(*) FROM load_ledger")[0][0]

    def expected(self, name, quality="notes"):
        if self.counts is None:
            self.counts = json.loads(self.compose("exec", "-T", "publisher", "cat", "/published/expected.json"))
        return self.counts[name][quality]

    def seconds_of_last_load(self):
        return self.query("SELECT seconds FROM load_ledger ORDER BY load_id DESC LIMIT 1")[0][0]

    def lake(self):
        found = self.compose("exec", "-T", "worker-default", "find", "/opt/airflow/lake/data", "-name", "*.parquet")
        return {Path(line).stem for line in found.splitlines()}

    def commit(self, message):
        return self.compose("exec", "-T", "publisher", "sh", "-ec", COMMIT, message).split()[-1]

    def runs_by(self, commit):
        """Wait until new runs of the flow use this commit."""
        wait_for(f"commit {commit}", lambda: self.api("GET", "dags/ingest_data")["bundle_version"] == commit)


def start(stack):
    """Start from nothing until all is healthy, and run one flow on each queue."""
    stack.compose("up", "--build", "--detach")
    say("docker compose up has returned")
    wait_for("health", stack.is_healthy)
    say("every container is healthy")
    shows_no_secret(stack)
    policies = stack.compose("exec", "-T", "worker-default", "python", "-c", POLICIES).split()
    assert str(os.SCHED_BATCH) in policies, policies
    wait_for("the DAGs", lambda: {"flow_code", "ingest_data"} <= stack.dags())
    say("logged in to the REST API; it lists the DAGs")
    blocks = {each["connection_id"]: each for each in stack.api("GET", "connections")["connections"]}
    assert BLOCKS - blocks.keys() == set()
    assert blocks["taxi_source"]["host"] == "http://publisher:8000"
    assert stack.api("GET", "variables/taxi_lake")["value"] == "file:///opt/airflow/lake"
    say("its connections and the lake's Variable are in the database")
    runs = {"flow_code": stack.trigger("flow_code"), "ingest_data": stack.load(MONTHS[0])}
    for dag_id, run_id in runs.items():
        stack.ends_well(run_id, dag_id)
    tasks = [task for dag_id, run_id in runs.items() for task in stack.tasks(dag_id, run_id)]
    queues = {(task["dag_id"], task["queue"]) for task in tasks}
    assert queues == {("flow_code", "demo"), ("ingest_data", "default")}, queues
    assert stack.rows(MONTHS[0]) == stack.expected(MONTHS[0])
    assert MONTHS[0] in stack.lake()
    say(f"a run on each queue; {stack.rows(MONTHS[0]):,} rows in the warehouse, as expected, and a file in the lake")


def shows_no_secret(stack):
    """No container has a secret in its environment, command or labels; the worker finds what overrides in a file."""
    shown = stack.docker("inspect", *stack.compose("ps", "--all", "--quiet").split())
    secret = {**stack.secrets, "the password of an overriding connection": OVERRIDING}
    assert [name for name, value in secret.items() if value in shown] == []
    assert stack.compose("exec", "-T", "worker-default", "python", "-c", LOOKED_UP).split()[-1] == "taxi_csv_archive"
    say("docker inspect shows no secret; a worker looks up an overriding connection in its file")


def safety(stack):
    """No secret is visible, and containers reach only what they need."""
    assert stat.S_IMODE((SECRETS / "secrets.env").stat().st_mode) == 0o600
    shown = {
        "docker compose config": stack.compose("config"),
        "docker inspect": stack.docker("inspect", *stack.compose("ps", "--all", "--quiet").split()),
        "logs": stack.compose("logs", "--no-log-prefix"),
        "task logs": stack.compose("exec", "-T", "worker-default", "sh", "-c", "cat $(find /opt/airflow/logs -type f)"),
    }
    for where, text in shown.items():
        assert len(text) > 1000, f"{where} is empty"
        for name, secret in stack.secrets.items():
            assert secret not in text, f"{name} is visible in {where}"
    inspected = json.loads(shown["docker inspect"])
    addresses = {
        binding["HostIp"]
        for container in inspected
        for bindings in container["HostConfig"]["PortBindings"].values()
        for binding in bindings
    }
    assert addresses == {"127.0.0.1"}, addresses
    reach = "import socket, sys; socket.create_connection((sys.argv[1], 5432), 3)"
    stack.compose("exec", "-T", "worker-default", "python", "-c", reach, "warehouse")
    with pytest.raises(RuntimeError, match="gaierror"):  # its name does not even resolve
        stack.compose("exec", "-T", "worker-default", "python", "-c", reach, "metadata")
    flower = [
        httpx.get(f"{stack.url('FLOWER_PORT')}/{path}").status_code
        for path in ("healthcheck", "metrics", "api/workers")
    ]
    assert flower == [200, 401, 401], flower
    stack.compose("exec", "-T", "maintenance", "python", "/opt/airflow/bundle/deploy/maintenance.py", "--once")
    for name in ("dag-processor", "triggerer", "worker-default"):
        with pytest.raises(RuntimeError, match="No such file"):
            stack.compose("exec", "-T", name, "cat", "/run/secrets/jwt_secret")
    databases = "SELECT datname, has_database_privilege(datname, 'CONNECT') FROM pg_database WHERE NOT datistemplate"
    assert dict(stack.query(databases)) == {"ny_taxi": True, "postgres": False}
    say("no secret is visible; ports are on 127.0.0.1; workers cannot reach metadata; taxi has one database")
    say("Flower's metrics want a login; old logs and runs can be deleted")


def kills(stack):
    """Kill each part during a load; the load succeeds, and its rows are there once."""
    stack.ends_well(stack.load(LARGE))
    stack.quality = "notes"
    assert stack.rows(LARGE) == stack.expected(LARGE)
    say(f"loaded {stack.rows(LARGE):,} rows undisturbed, in {stack.seconds_of_last_load():.1f} s")
    for victim in KILLED_IN_MID_LOAD:
        disturbed(stack, victim, lambda victim=victim: kill(stack, victim))


def crash(stack):
    """The engine restarts a container that crashes."""
    [container] = stack.containers("scheduler")
    with suppress(RuntimeError):  # the command dies with all others
        stack.docker("exec", container, "bash", "-c", "kill -9 -1")
    wait_for("the engine", lambda: int(stack.docker("inspect", "-f", "{{.RestartCount}}", container)))
    wait_for("health", stack.is_healthy)
    say("a crashed scheduler was restarted")


def warm_shutdown(stack):
    """A worker that is stopped finishes its tasks."""
    disturbed(stack, "docker compose restart", lambda: stack.compose("restart", "worker-default"), tries=1)


def restart_engine(stack, command):
    """Restart the engine; restart policies start the stack again."""
    if command is None:
        say("the engine was not restarted; --restart-engine gives the command for that")
        return
    disturbed(stack, "the engine", lambda: subprocess.run(command, shell=True, check=True))  # noqa: S602 - the user's own


def disturbed(stack, what, disturb, tries=None):
    """Disturb a running load; it must load the right rows, once.

    Each load uses the other quality profile, which accepts other rows, so that the earlier load is not up to date.
    """
    before, quality = stack.loads(), "none" if stack.quality == "notes" else "notes"
    expected = stack.expected(LARGE, quality)
    run_id = stack.load(LARGE, quality=quality)
    stack.quality = quality
    wait_for("a running load", lambda: stack.query(IN_MID_LOAD))
    started = time.monotonic()
    disturb()
    stack.ends_well(run_id)
    seconds = time.monotonic() - started
    [load] = [task for task in stack.tasks("ingest_data", run_id) if task["task_id"] == "load_data"]
    rows, attempt = stack.rows(LARGE), load["try_number"]
    assert rows == expected
    assert tries in {None, attempt}, load
    assert stack.loads() == before + 1, "it loaded once"
    tables = stack.query("SELECT count(*) FROM pg_class WHERE relkind = 'r' AND relname LIKE 'yellow%'")[0][0]
    assert tables == 1, f"{tables} tables of the one month"
    say(f"{what}, during a load: the run succeeded {seconds:.0f} s later, at attempt {attempt}, with {rows:,} rows")
    wait_for("health", stack.is_healthy)


def kill(stack, service):
    [container] = stack.containers(service)
    stack.docker("kill", container)
    time.sleep(3)
    stack.docker("start", container)


def scale(stack):
    """Three workers share a backfill of a year."""
    dag_id, before = "ingest_data.green", stack.loads()
    stack.compose("up", "--detach", "--no-recreate", "--scale", "worker-default=3")
    wait_for("health", stack.is_healthy)
    stack.api("PATCH", f"dags/{dag_id}", is_paused=False)
    used_before, started = stack.cpu_seconds(), datetime.now(UTC)
    stack.api(
        "POST",
        "backfills",
        dag_id=dag_id,
        from_date="2024-01-01T00:00:00Z",
        to_date="2024-12-01T00:00:00Z",
        dag_run_conf={"force": True},  # one month is already loaded
        max_active_runs=6,
    )

    def ended():
        runs = stack.api("GET", f"dags/{dag_id}/dagRuns?run_type=backfill&limit=100")["dag_runs"]
        return runs if len(runs) == len(MONTHS) and all(run["end_date"] for run in runs) else None

    # Airflow marks the backfill itself as completed up to 30 s later. Asking costs CPU that the runs need.
    runs = wait_for("the end of the runs", ended, every_seconds=2)
    seconds = (max(datetime.fromisoformat(run["end_date"]) for run in runs) - started).total_seconds()
    used = {name: after - used_before[name] for name, after in stack.cpu_seconds().items()}
    found = {run["partition_key"]: run["state"] for run in runs}
    assert found == {name[-7:]: "success" for name in MONTHS}, found
    assert [stack.rows(name) for name in MONTHS] == [stack.expected(name) for name in MONTHS]
    assert stack.loads() == before + len(MONTHS), "each month was loaded once"
    tasks = [task for run in runs for task in stack.tasks(dag_id, run["dag_run_id"])]
    months = Counter(task["hostname"] for task in tasks if task["task_id"] == "load_data")
    shares = Counter(task["hostname"] for task in tasks)
    assert len(shares) == 3, shares
    rows = sum(map(stack.rows, MONTHS))
    say(f"three workers, a backfill of {len(MONTHS)} months: {rows:,} rows in {seconds:.0f} s")
    for host, count in sorted(shares.items()):
        say(f"  worker {host}: {months[host]} months loaded, {count} tasks in all")
    say(f"  {sum(used.values()):.1f} s of CPU: {', '.join(f'{name} {used[name]:.1f}' for name in sorted(used))}")
    stack.compose("up", "--detach", "--no-recreate", "--scale", "worker-default=1")


def browser(stack):
    """Log in to the web pages, and take screenshots."""
    from playwright.sync_api import sync_playwright

    passwords = stack.secrets
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=os.environ.get("CHROMIUM", "/usr/bin/chromium"))

        def new_page(**options):
            page = chromium.new_page(viewport={"width": 1400, "height": 800}, **options)
            page.set_default_timeout(PATIENCE * 1000)
            return page

        page = new_page()
        page.goto(stack.url("API_PORT"))
        page.locator("input[name=username]").fill("admin")
        page.locator("input[name=password]").fill(passwords["ADMIN_PASSWORD"])
        page.locator("[type=submit]").click()
        page.wait_for_url(f"{stack.url('API_PORT')}/")
        page.goto(f"{stack.url('API_PORT')}/dags/ingest_data/runs")
        page.get_by_text("Success").first.wait_for()
        page.screenshot(path=KEPT / "airflow.png")
        page.goto(f"{stack.url('API_PORT')}/taxi/?dag_id=etl_web_to_gcs")  # the API server reads the workers' lake
        page.locator("[data-file='green 2024-01'] .cell:not([data-state=published])").wait_for()
        page.screenshot(path=KEPT / "taxi.png")

        page = new_page(http_credentials={"username": "admin", "password": passwords["FLOWER_PASSWORD"]})
        page.goto(stack.url("FLOWER_PORT"))
        page.get_by_text("celery@").first.wait_for()
        page.screenshot(path=KEPT / "flower.png")

        page = new_page()
        page.goto(f"{stack.url('PGADMIN_PORT')}/login")
        page.locator("input[name=email]").fill("admin@example.com")
        page.locator("input[name=password]").fill(passwords["PGADMIN_PASSWORD"])
        page.get_by_role("button", name="Login").click()
        page.get_by_text("NYC taxi").first.dblclick()
        page.get_by_text("warehouse", exact=True).first.dblclick()
        page.get_by_text("Server connected").wait_for()  # without a password
        page.get_by_text("Databases").first.wait_for()
        page.screenshot(path=KEPT / "pgadmin.png")
        chromium.close()
    say(f"screenshots of Airflow, its coverage page, Flower and pgAdmin: {KEPT.relative_to(ROOT)}/*.png")


def metrics(stack):
    """Prometheus knows the rows of a load and the months that are loaded, and no alert says that a part is down."""
    profile = {"profile": "metrics", "settings": ("deploy/metrics/metrics.env",)}
    stack.compose("up", "--build", "--detach", **profile)
    wait_for("health", stack.is_healthy)
    stack.ends_well(stack.load(MONTHS[2], force=True))
    stack.compose("restart", "taxi-exporter", **profile)  # it looks at its start, and then every five minutes

    def asked(query):
        answer = httpx.get(f"{stack.url('PROMETHEUS_PORT')}/api/v1/query", params={"query": query}, timeout=60)
        return [float(each["value"][1]) for each in answer.raise_for_status().json()["data"]["result"]]

    rows = wait_for("the rows of the load", lambda: asked('airflow_taxi_rows_loaded{target="postgres"}'))
    assert sum(rows) == stack.expected(MONTHS[2]), rows
    [[held]] = stack.query("SELECT count(DISTINCT file_month) FROM green_taxi_trips")
    loaded = 'taxi_months{target="postgres",service="green",state="loaded"}'
    wait_for("the months", lambda: asked(loaded) == [held])
    down = asked('ALERTS{alertstate="firing",alertname=~".*Down"}')
    assert not down, down
    say(f"Prometheus knows of {rows[0]:,.0f} loaded rows and of {held} loaded months; no part is down")


def local_cloud(stack):
    """The same flows with emulated GCS and BigQuery: a month in the bucket is loaded into BigQuery automatically.

    The logs of its tasks are in the bucket too.
    """
    month, follows = MONTHS[1], "etl_gcs_to_bq.any"
    settings = ("deploy/local-cloud.env", "deploy/remote-logging.env")
    stack.compose("up", "--build", "--detach", profile="local-cloud", settings=settings)
    wait_for("health", stack.is_healthy)
    before = datetime.now(UTC).isoformat()
    run_id = stack.load(month, dag_id="etl_web_to_gcs")
    stack.ends_well(run_id, "etl_web_to_gcs")
    task = stack.tasks("etl_web_to_gcs", run_id)[0]["task_id"]
    log = f"dags/etl_web_to_gcs/dagRuns/{run_id}/taskInstances/{task}/logs/1?full_content=true"
    wait_for("a log in the bucket", lambda: LOGS in json.dumps(stack.api("GET", log)["content"]))

    def started():
        runs = stack.api("GET", f"dags/{follows}/dagRuns?order_by=-id")["dag_runs"]
        return runs[0] if runs and runs[0]["run_after"] > before else None

    stack.ends_well(wait_for("the run that follows", started)["dag_run_id"], follows)
    asked = ("python", "-c", ASK_BIGQUERY)
    answer = json.loads(stack.compose("exec", "-T", "local-cloud", *asked, profile="local-cloud", settings=settings))
    rows = int(answer["rows"][0]["f"][0]["v"])
    assert rows == stack.expected(month), rows
    say(f"local cloud: the API reads the log of {task} from {LOGS}")
    say(f"local cloud: a month went into the bucket, and from there automatically into BigQuery; {rows:,} rows")


def git_bundle(stack):
    """Load the bundle from git: a run keeps the commit that it started with, and the next run uses the newest."""
    first = stack.commit("first")
    stack.compose("up", "--detach", settings=("deploy/git-bundle.env",))
    wait_for("health", stack.is_healthy)
    stack.runs_by(first)
    stack.api("PATCH", "dags/ingest_data", is_paused=True)
    runs = {stack.load(MONTHS[0], force=True): first}
    second = stack.commit("second")
    stack.runs_by(second)
    stack.api("PATCH", "dags/ingest_data", is_paused=False)
    runs[stack.load(MONTHS[1], force=True)] = second
    for run_id, commit in runs.items():
        stack.ends_well(run_id)
        logs = f"/opt/airflow/logs/dag_id=ingest_data/run_id={run_id}"
        read = stack.compose("exec", "-T", "worker-default", "grep", "-rhoE", "versions/[0-9a-f]{40}/dags", logs)
        assert stack.run("ingest_data", run_id)["bundle_version"] == commit
        assert set(read.split()) == {f"versions/{commit}/dags"}, read
    say(f"the bundle from git: a run created at commit {first[:7]} used it after {second[:7]} was pushed")


def costs(stack):
    """Print the memory per container, and the rows that a worker loads per second."""
    usage = stack.docker("stats", "--no-stream", "--format", "{{.Name}}\t{{.MemUsage}}")
    for line in sorted(line for line in usage.splitlines() if line.startswith(PROJECT)):
        print("           ", *line.removeprefix(f"{PROJECT}-").split("\t"))
    for service, rows, rate in stack.query(
        "SELECT service, max(rows_loaded), round(max(rows_loaded / seconds)) FROM load_ledger GROUP BY 1 ORDER BY 1"
    ):
        say(f"{service}: up to {rows:,} rows per load, up to {rate:,.0f} rows/s")


STEPS = (
    start,
    safety,
    browser,
    crash,
    warm_shutdown,
    kills,
    restart_engine,
    scale,
    costs,
    metrics,
    local_cloud,
    git_bundle,
)


def main():
    names = [step.__name__ for step in STEPS]
    parser = argparse.ArgumentParser(prog="make test-stack", description="Run the stack in Docker.")
    parser.add_argument("--only", nargs="+", choices=names, default=names)
    parser.add_argument("--restart-engine", metavar="COMMAND", help="restarts the engine on this machine")
    parser.add_argument("--keep", action="store_true", help="do not remove the stack")
    chosen = parser.parse_args()
    SECRETS.mkdir(parents=True, exist_ok=True)
    if not (SECRETS / "secrets.env").exists():  # a chosen password, which a command line could take for an option
        (SECRETS / "secrets.env").write_text(f"ADMIN_PASSWORD=--{secrets.token_urlsafe()}\n")
    stack = Stack()
    try:
        for step in STEPS:
            if step.__name__ in chosen.only:
                step(stack, *([chosen.restart_engine] if step is restart_engine else []))
    except BaseException:
        (KEPT / "logs.txt").write_text(stack.compose("logs", "--timestamps", profile="*"))
        say(f"failed; the containers' logs are in {KEPT.relative_to(ROOT)}/logs.txt")
        raise
    finally:
        if not chosen.keep:
            stack.compose("down", "--volumes", "--timeout", "20", profile="*")
            shutil.rmtree(SECRETS)
            say("removed")


if __name__ == "__main__":
    sys.exit(main())
