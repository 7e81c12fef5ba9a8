"""Who may ask the page for what, and what it answers."""

import re
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import quote

import psycopg
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from psycopg.conninfo import conninfo_to_dict

from include.nyc_taxi import Month, TripFile, editions
from include.nyc_taxi.changes import Changes
from include.nyc_taxi.lake import raw_key
from plugins.taxi_page.city import hours_of_the_week

ROOT = Path(__file__).resolve().parents[2]
ASKS_AIRFLOW = ["airflow_api.py", "attempt_logs.py", "attempts.py", "overview.py", "status.py"]
PUBLIC = {
    "airflow.plugins_manager",
    "airflow.sdk",
    "airflow.sdk.exceptions",
    # The interface of auth managers is public. Airflow has no other way to protect a plugin's app, and documents these.
    "airflow.api_fastapi.app",
    "airflow.api_fastapi.auth.managers.base_auth_manager",
    "airflow.api_fastapi.auth.managers.models.base_user",
    "airflow.api_fastapi.auth.managers.models.resource_details",
    "airflow.api_fastapi.core_api.security",
}
TOO_EARLY = {"colour": "green", "year": 2008, "month": 1}
ROUTES = [
    "",
    "static/main.js",
    "static/vendor/uplot/uPlot.iife.min.js",
    "api/about",
    "api/coverage",
    "api/months/green/2025-01",
    "api/quality",
    "api/city",
    "api/city/green/2025-01",
    "api/zones",
]


@pytest.fixture(scope="session")
def admin(site):
    with site.client("admin") as client:
        yield client


@pytest.mark.parametrize("route", ROUTES)
def test_every_route_wants_a_login(site, route):
    with site.client(None) as client:
        assert client.get(f"/taxi/{route}").status_code == 401


@pytest.mark.parametrize("role", ["viewer", "user", "op", "admin"])
def test_each_role_sees_the_page_and_starts_the_runs_that_it_may_start(site, role):
    """Airflow's navigation shows the entry to those who may list plugins."""
    with site.client(role) as client:
        told = [client.get(f"/taxi/{route}") for route in ROUTES]
        plugins = client.get("/api/v2/plugins").json()["plugins"]
        allowed = client.get("/taxi/api/coverage").json()["load"]["allowed"]
        started = client.post("/api/v2/dags/ingest_data/dagRuns", json={"logical_date": None, "conf": TOO_EARLY})

    assert {answer.status_code for answer in told} == {200}
    assert "taxi" in [plugin["name"] for plugin in plugins]
    assert allowed is (role != "viewer")
    assert started.status_code == (400 if allowed else 403)  # 400 is about the year


@pytest.mark.parametrize("route", [*ROUTES, "api/months/fhv/2025-01", "api/coverage?target=lake"])
def test_no_answer_has_a_password(site, admin, route):
    passwords = [conninfo_to_dict(site.warehouse)["password"], site.source_password]

    told = admin.get(f"/taxi/{route}").text

    assert not [password for password in passwords if password in told]


@pytest.mark.parametrize("route", ROUTES)
def test_whoever_may_read_no_run_that_loads_months_is_refused(site, route):
    with site.client("outsider") as client:
        assert client.get("/api/v2/dags/flow_code/dagRuns").status_code == 200
        assert client.get(f"/taxi/{route}").status_code == 403


@pytest.mark.parametrize("route", ROUTES)
def test_whoever_may_look_gets_every_route(site, route):
    with site.client("stranger") as client:  # who sees all Dags but one
        answer = client.get(f"/taxi/{route}")

    assert answer.status_code == 200
    assert "default-src 'self'" in answer.headers["content-security-policy"]
    assert answer.headers["cache-control"] == "private, no-cache"


def test_the_tests_know_every_route():
    source = (ROOT / "plugins" / "taxi_page" / "app.py").read_text()

    found = re.findall(r'^@app\.(?:get|post|put|patch|delete|mount|websocket)\("/(.*?)"', source, re.MULTILINE)
    known = {
        re.sub("green/2025-01", "{service}/{month}", re.sub("static/.*", "static/{path:path}", route))
        for route in ROUTES
    }
    assert set(found) == known
    assert len(found) == len(re.findall(r"app\.(?:get|post|put|patch|delete|mount|websocket|add_|include_)", source))


@pytest.mark.parametrize("path", ["docs", "redoc", "openapi.json"])
def test_there_are_no_public_documents(admin, path):
    assert admin.get(f"/taxi/{path}").status_code == 404


ODD_PARTS = st.sampled_from([b"..", b".", b"", b"vendor", b"main.js", b"\0", b"\xff", b"~", b"a" * 3000])


@given(
    st.lists(ODD_PARTS | st.binary(max_size=6), min_size=1, max_size=5),
    st.sampled_from([b"/", b"//", b"\\"]),
    st.sampled_from(["", "/", "/\\"]),
)
@example([b"..", b"app.py"], b"/", "/")
@example([b"..", b"app.py"], b"/", "")
@example([b"", b"etc", b"passwd"], b"/", "/")
@example([b"main.js", b""], b"/", "/")
@example([b"vendor", b"..", b"main.js"], b"/", "/")
@example([b"vendor"], b"/", "/")
@example([b"main.js\0"], b"/", "/")
@example([b"a" * 300], b"/", "/")
@example([b"a\n"], b"/", "")
@example([b"main.js\n"], b"/", "")
@example([b"main.js"], b"/", "")
@settings(max_examples=100, deadline=None)
def test_a_path_that_is_no_file_of_the_page_is_not_found(site, admin, parts, separator, unquoted):
    path = separator.join(parts)
    sent = quote(path, safe=unquoted) if unquoted else "".join(f"%{byte:02x}" for byte in path)

    status = status_of(site, admin, f"/taxi/static/{sent}")

    redirected = {307} if b"\n" in path else set()  # by Airflow: some of these never reach the page
    assert status in ({200} if path == b"main.js" else {404} | redirected)


@given(
    st.sampled_from(["green", ".."]) | st.text(max_size=9),
    st.sampled_from(["2024-01", "2024-01\0"]) | st.text(max_size=9),
)
@settings(max_examples=50, deadline=None)
def test_what_names_no_month_is_not_found(site, admin, service, month):
    sent = "/".join(quote(text.encode(), safe="") for text in (service, month))

    assert status_of(site, admin, f"/taxi/api/months/{sent}") in {200, 307, 404}


def status_of(site, client, target):
    """The status of a request for exactly this target. httpx would take `..` out of it."""
    connection = HTTPConnection(site.url.removeprefix("http://"), timeout=30)
    with closing(connection):
        connection.request("GET", target, headers={"Authorization": client.headers["Authorization"]})
        return connection.getresponse().status


def test_a_person_without_a_login_is_brought_to_it(site):
    with site.client(None) as client:
        answer = client.get("/taxi/", headers={"accept": "text/html"})

    assert answer.status_code == 307
    assert "/auth/login" in answer.headers["location"]
    assert "taxi" in answer.headers["location"]


def test_coverage_is_what_the_ledger_and_the_catalogue_imply(admin):
    told = admin.get("/taxi/api/coverage").json()

    assert told["months"]["green"]["2025-01"] == "loaded"
    assert told["months"]["green"]["2024-01"] == "count_differs"
    assert told["months"]["green"]["2024-02"] == "published"
    assert told["months"]["fhv"]["2025-01"] == "stale"
    assert told["months"]["fhv"]["2009-01"] == "not_published"
    assert told["months"]["fhv"]["2024-06"] == "unknown"
    months = [(service, month) for service, of_service in told["months"].items() for month in of_service]
    counted = Counter(
        state for service, month in months for state in {told[of][service][month] for of in ("months", "standings")}
    )
    assert counted == {state: count for state, count in told["counts"].items() if count}
    assert told["counts"]["loaded"] == sum(told["held"].values())
    assert told["counts"]["loaded"] + told["counts"]["published"] == sum(told["published"].values())
    assert (told["problems"], told["runs_are_known"]) == ([], True)
    assert told["load"] == {"dag_id": "ingest_data", "allowed": True}


def test_the_lake_is_told_by_its_files(admin):
    told = admin.get("/taxi/api/coverage", params={"target": "lake"}).json()

    assert {month for month, state in told["months"]["green"].items() if state != "published"} >= {"2024-01", "2025-01"}
    assert told["months"]["green"]["2025-01"] == "loaded"


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("coverage?target=paper", 422),
        ("months/blue/2024-01", 404),
        ("months/green/2024-13", 404),
        ("months/green/2024-1'; DROP TABLE load_ledger; --", 404),
    ],
)
def test_what_cannot_be_is_refused(admin, path, status):
    assert admin.get(f"/taxi/api/{path}").status_code == status


def test_a_month_tells_its_load(admin, site):
    told = admin.get("/taxi/api/months/green/2024-01").json()

    load = told["load"]
    assert (told["state"], told["again"]["source"]) == ("count_differs", "official")
    assert load["rows_read"] == 500 == load["rows_loaded"] + load["rows_rejected"]
    assert load["rows_expected"] == 56_551
    assert (load["dag_id"], load["run_id"], load["target_table"]) == (
        "ingest_data",
        "earlier",
        "public.green_taxi_trips",
    )
    assert told["attempt"] is None


def test_a_month_lists_its_editions_the_latest_first_and_says_which_one_is_loaded(admin, site):
    file = TripFile.parse("green_tripdata_2025-03")
    first, second, third = editions.history(site.lake, raw_key(file, "official")).editions

    told = admin.get("/taxi/api/months/green/2025-03").json()["editions"]

    assert [(each["id"], each["rows"]) for each in told] == [(third.id, 655), (second.id, 640), (first.id, 500)]
    assert told[0]["changes"] == str(Changes(**third.changes))
    assert told[2]["changes"] is None
    assert [each["is_current"] for each in told] == [each["is_loaded"] for each in told] == [True, False, False]
    assert all(each["is_kept"] and not each["is_held_back"] for each in told)


def test_a_month_that_was_never_downloaded_has_no_editions(admin):
    assert admin.get("/taxi/api/months/green/2024-11").json()["editions"] == []


def test_a_month_loaded_by_an_editions_name_says_what_was_asked_for(admin, site):
    for rows in (500, 600):
        site.load("green_tripdata_2025-04", rows=rows)
    first = site.load_edition("green_tripdata_2025-04", 1)

    told = admin.get("/taxi/api/months/green/2025-04").json()

    assert (told["load"]["asked_for"], told["load"]["rows_read"]) == (f"edition={first.id}", 500)
    assert [(each["is_current"], each["is_loaded"]) for each in told["editions"]] == [(True, False), (False, True)]


def test_a_month_that_is_in_no_calendar_is_told_too(admin):
    assert admin.get("/taxi/api/months/green/1999-01").json()["state"] == "not_published"


def test_quality_and_city_are_what_the_warehouse_holds(admin, site):
    quality, city = (admin.get(f"/taxi/api/{page}").json() for page in ("quality", "city"))
    month = admin.get("/taxi/api/city/yellow/2024-01").json()
    with psycopg.connect(site.warehouse) as connection:
        [(trips,)] = connection.execute("SELECT count(*) FROM yellow_taxi_trips").fetchall()

    [told] = quality["months"]["yellow"]
    assert (told["month"], told["read"], told["loaded"], told["era"]) == ("2024-01", 500, trips, "official-2023-02")
    assert quality["eras"]["yellow"][-2] == {
        "since": "2025-01",
        "came": ["cbd_congestion_fee"],
        "went": [],
        "columns": 20,
    }
    assert city["trips"]["yellow"] == {"2024-01": trips}
    assert (len(month["hours"]), sum(month["hours"]), len(month["occurs"])) == (168, trips, 168)
    assert sum(zone[1] for zone in month["zones"]) == trips


@pytest.mark.parametrize(
    ("month", "hours", "five_times", "skipped_or_repeated"),
    [
        ("2024-01", 744, {"Mon", "Tue", "Wed"}, {}),
        ("2024-03", 743, {"Fri", "Sat", "Sun"}, {"Sun 2": 4}),
        ("2024-11", 721, {"Fri", "Sat"}, {"Sun 1": 5}),
        ("2026-02", 672, set(), {}),
    ],
)
def test_an_average_week_knows_how_often_a_month_has_each_hour(month, hours, five_times, skipped_or_repeated):
    days = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"]
    expected = {f"{day} {hour}": 5 if day in five_times else 4 for day in days for hour in range(24)}

    occurs = hours_of_the_week(Month.parse(month))

    assert dict(zip(expected, occurs, strict=True)) == expected | skipped_or_repeated
    assert sum(occurs) == hours


def test_zones_are_drawn_side_by_side(admin):
    zones = admin.get("/taxi/api/zones").json()["zones"]

    paths = {zone[0]: zone[3] for zone in zones if zone[3]}
    assert len(zones) == 265
    assert paths == {
        1: "M0 440l333 0 0 -440 -333 0 0 440z",
        2: "M333 440l334 0 0 -440 -334 0 0 440z",
        3: "M667 440l333 0 0 -440 -333 0 0 440z",
    }


@pytest.fixture
def failed_run(admin):
    """A failed run of `ingest_data` for green in May 2024."""
    conf = {"colour": "green", "year": 2024, "month": 5}
    run = admin.post("/api/v2/dags/ingest_data/dagRuns", json={"logical_date": None, "conf": conf}).raise_for_status()
    path = f"/api/v2/dags/ingest_data/dagRuns/{run.json()['dag_run_id']}"
    admin.patch(path, json={"state": "failed"}).raise_for_status()
    yield run.json()["dag_run_id"]
    admin.delete(path).raise_for_status()


@pytest.mark.parametrize(("user", "state"), [("admin", "failed"), ("viewer", "failed"), ("stranger", "published")])
def test_a_viewer_sees_the_runs_of_those_dags_that_they_may_see(site, failed_run, user, state):
    with site.client(user) as client:
        coverage = client.get("/taxi/api/coverage").json()
        month = client.get("/taxi/api/months/green/2024-05").json()

    assert (coverage["months"]["green"]["2024-05"], month["state"]) == (state, state)
    assert (month["attempt"] or {}).get("run_id") == (failed_run if state == "failed" else None)
    assert coverage["problems"] == []


def test_a_browser_and_a_program_are_answered_alike(site, failed_run):
    with site.client(None) as browser:
        browser.cookies.set("_token", site.token("viewer"))
        assert browser.get("/taxi/api/coverage").json()["months"]["green"]["2024-05"] == "failed"


def test_many_viewers_at_once_are_answered(site):
    with site.client("viewer") as client, ThreadPoolExecutor(60) as viewers:
        answers = list(viewers.map(lambda _: client.get("/taxi/api/coverage"), range(60)))

    assert {answer.status_code for answer in answers} == {200}
    assert all(answer.json()["runs_are_known"] for answer in answers)


def test_the_page_imports_nothing_private_of_airflow():
    plugins = [ROOT / "plugins" / name for name in ("taxi_page", "taxi_plugin.py")]
    sources = [*plugins, *(ROOT / "include" / "orchestration" / name for name in ASKS_AIRFLOW)]
    files = [file for source in sources for file in ([source] if source.is_file() else source.rglob("*.py"))]
    imported = {
        line.split()[1]
        for file in files
        for line in file.read_text().splitlines()
        if line.strip().startswith("from airflow")
    }

    assert imported <= PUBLIC


def test_who_may_not_start_runs_is_told_so_and_refused(site):
    with site.client("viewer") as client:
        assert client.get("/taxi/api/coverage").json()["load"]["allowed"] is False
        assert client.post("/api/v2/dags/ingest_data/dagRuns", json={"logical_date": None}).status_code == 403


def test_the_api_server_calls_the_plugin_when_it_starts(admin):
    plugins = admin.get("/api/v2/plugins").json()["plugins"]

    (ours,) = [plugin for plugin in plugins if plugin["name"] == "taxi"]
    assert [each["name"] for each in ours["fastapi_root_middlewares"]] == ["Taxi, at startup"]


def test_the_plugin_imports_nothing_for_the_page():
    code = """
import sys
import airflow.plugins_manager
before = set(sys.modules)
sys.path.insert(0, "plugins")
import taxi_plugin
print(*sorted(name for name in set(sys.modules) - before if "." not in name))
"""
    answer = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)

    assert answer.stdout.splitlines()[-1].split() == ["taxi_plugin"]
