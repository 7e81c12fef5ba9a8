"""An API server of this session that serves the page over months in every state, and a browser to look at it."""

import json
import os
import secrets
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from devtools.environment import project_environment
from devtools.generator import write_month
from devtools.run import AIRFLOW, MIGRATE
from devtools.servers.publisher import Publisher
from include.nyc_taxi import TripFile, catalog, editions, landed_zones, landing, publications, targets, zones
from include.nyc_taxi.lake import ANYTHING, Lake, raw_key
from include.nyc_taxi.landed_zones import Zone
from include.nyc_taxi.precedence import Run, Wish
from tests.nyc_taxi.trips import put_raw

HERE = Path(__file__).resolve().parent
UP_WITHIN_SECONDS = 120
ROLES = ["viewer", "user", "op", "admin"]  # of the simple auth manager; each has a user of its name
USERS = {role: role for role in ROLES} | {"stranger": "viewer", "outsider": "viewer"}
POSTGRES = targets.get("postgres")
SQUARE = [[[-74.0, 40.7], [-73.9, 40.7], [-73.9, 40.8], [-74.0, 40.8], [-74.0, 40.7]]]


@dataclass(frozen=True)
class Site:
    """Where the page is and what it shows. Each of `USERS` logs in with its name as its password."""

    url: str
    environment: dict[str, str]
    warehouse: str
    lake: Lake
    source_password: str = field(default_factory=lambda: secrets.token_hex(8))

    def client(self, user):
        """An HTTP client that is logged in as the user; without a login for None."""
        headers = {"Authorization": f"Bearer {self.token(user)}"} if user else {}
        return httpx.Client(base_url=self.url, headers=headers, trust_env=False, timeout=30)

    def token(self, user):
        """The token of a login."""
        login = {"username": user, "password": user}
        answer = httpx.post(f"{self.url}/auth/token", json=login, trust_env=False, timeout=30)
        return answer.raise_for_status().json()["access_token"]

    def republish(self, name, folder):
        """Let the survey find that the publisher has replaced the file of that name."""
        file = TripFile.parse(name)
        path = folder / catalog.source("official").path_of(file)
        path.parent.mkdir(parents=True)
        write_month(file, path, rows=600)
        with Publisher(folder) as publisher:
            with_login = publisher.base_url.replace("://", f"://reader:{self.source_password}@")
            publications.survey(self.lake, base_url=with_login, services=[file.service], since=file.month, recheck=0)

    def load(self, name, *, rows=500, run_id="earlier"):
        """Load a generated month into the lake and into the warehouse, as a run does."""
        self.publish(name, rows=rows)
        return self.land(TripFile.parse(name), Wish.of(), run_id)

    def load_edition(self, name, number, *, run_id="earlier"):
        """Load an edition of a month by its number, as somebody asked for it by name."""
        file = TripFile.parse(name)
        edition = editions.history(self.lake, raw_key(file, "official")).editions[number - 1]
        self.land(file, Wish.of(edition=edition.id), run_id, edition=edition.sha256)
        return edition

    def publish(self, name, *, rows=500):
        """Have a generated month in raw/ as the newest edition of its file."""
        file = TripFile.parse(name)
        with self.lake.scratch(f"{name}.parquet") as path:
            write_month(file, path, source="official", rows=rows)
            put_raw(self.lake, path.read_bytes(), file, "official", etag='"1"')

    def land(self, file, wish, run_id, *, edition=None):
        """Bring a month from raw/ into data/ and into the warehouse."""
        landing.land(file, self.lake, edition=edition, wish=wish)
        with psycopg.connect(self.warehouse) as connection:
            run = Run("ingest_data", run_id, wish)
            return POSTGRES.replace_month(connection, file, self.lake, run=run)

    def draw_zones(self):
        """Have a city of 265 zones, the first three of which are squares beside each other."""
        shapes = {
            number: {
                "type": "MultiPolygon",
                "coordinates": [[[[x + 0.1 * number, y] for x, y in ring] for ring in SQUARE]],
            }
            for number in (1, 2, 3)
        }
        rows = [
            Zone(number, "Queens", f"Zone {number}", "Boro Zone", shapes.get(number), None, None)
            for number in zones.LOCATION_IDS
        ]
        landed_zones.write(self.lake, rows, "a recipe", ANYTHING)
        with psycopg.connect(self.warehouse) as connection:
            POSTGRES.replace_zones(connection, self.lake)


@pytest.fixture(scope="session")
def site(postgres_server, tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    postgres_server.create_database("site")
    site = Site(f"http://127.0.0.1:{_free_port()}", {}, postgres_server.conninfo("site"), Lake.at(folder / "lake"))
    # Generated months are smaller than the published ones, so counts differ where the published one is known.
    site.load("green_tripdata_2025-01")
    site.load("green_tripdata_2024-01")
    site.load("yellow_tripdata_2024-01")
    site.load("fhv_tripdata_2025-01")
    for rows in (500, 640, 655):
        site.load("green_tripdata_2025-03", rows=rows)
    site.republish("fhv_tripdata_2025-01", folder / "published")
    site.draw_zones()
    site.environment.update(_environment(site, folder))
    with (folder / "migrate.log").open("w") as log:
        subprocess.run([sys.executable, "-P", "-c", MIGRATE], env=site.environment, stdout=log, stderr=log, check=True)
    with (folder / "api-server.log").open("w") as log:
        server = subprocess.Popen([*AIRFLOW, "api-server"], env=site.environment, cwd=folder, stdout=log, stderr=log)
    try:
        _wait_until_up(site.url, server, folder / "api-server.log")
        yield site
    finally:
        server.terminate()
        server.wait()


def _environment(site, folder):
    target = conninfo_to_dict(site.warehouse)
    warehouse = {"conn_type": "postgres", "host": target["host"], "port": int(target["port"])}
    warehouse |= {"login": target["user"], "password": target["password"], "schema": target["dbname"]}
    passwords = folder / "passwords.json"
    passwords.write_text(json.dumps({user: user for user in USERS}))
    caller = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")}
    return project_environment(
        caller
        | {
            "AIRFLOW_HOME": str(folder / "airflow"),
            "AIRFLOW_CONN_TAXI_WAREHOUSE": json.dumps(warehouse),
            "AIRFLOW_VAR_TAXI_LAKE": f"file://{site.lake.root}",
            "AIRFLOW__API__BASE_URL": site.url,
            "AIRFLOW__API__PORT": site.url.rpartition(":")[2],
            "AIRFLOW__API__WORKERS": "1",
            "AIRFLOW__API_AUTH__JWT_SECRET": secrets.token_urlsafe(64),
            "AIRFLOW__CORE__AUTH_MANAGER": "limited_rights.LimitedRights",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(passwords),
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": ",".join(f"{user}:{role}" for user, role in USERS.items()),
            "PYTHONPATH": str(HERE),
        }
    )


def _free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _wait_until_up(url, server, log: Path):
    deadline = time.monotonic() + UP_WITHIN_SECONDS
    while time.monotonic() < deadline:
        assert server.poll() is None, log.read_text()
        try:
            if httpx.get(f"{url}/api/v2/monitor/health", trust_env=False, timeout=5).is_success:
                return
        except httpx.HTTPError:
            time.sleep(0.2)
    pytest.fail(f"no api-server after {UP_WITHIN_SECONDS} s:\n{log.read_text()}")


@pytest.fixture
def look(browser, site):
    """Opens a path as a user in a new window. Errors in the browser and requests to other hosts fail the test."""
    contexts, complaints = [], []

    def look(path, user="admin", *, width=1280, height=860, dark=False):
        scheme = "dark" if dark else "light"
        context = browser.new_context(
            viewport={"width": width, "height": height}, color_scheme=scheme, base_url=site.url
        )
        contexts.append(context)
        if user:
            context.add_cookies([{"name": "_token", "value": site.token(user), "url": site.url}])
        page = context.new_page()
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda sent: complaints.append(sent.url) if _is_elsewhere(sent.url, site) else None)
        page.goto(path)
        return page

    yield look
    for context in contexts:
        context.close()
    assert complaints == []


def _is_elsewhere(url, site):
    return not url.startswith((site.url, "data:", "blob:"))
