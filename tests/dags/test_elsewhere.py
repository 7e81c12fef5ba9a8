"""The param `url` loads a file from elsewhere as the month that is asked for, from hosts that are allowed."""

import json
from types import SimpleNamespace

import pytest
from airflow.sdk.exceptions import ParamValidationError

from devtools.servers.misbehaving import Published, Publisher
from include.nyc_taxi import catalog
from include.nyc_taxi.addresses import Address, host_of
from include.nyc_taxi.errors import SetUpError
from tests.dags.runs import result, states

FILE = "green_tripdata_2024-01"
JANUARY = {"colour": "green", "year": 2024, "month": 1}
LOGIN = {"conn_type": "http", "login": "tlc", "password": "s3cret"}


@pytest.fixture
def allowed(airflow_database, monkeypatch):
    """Asks whether a URL is allowed, with these hosts in the Variable and these connections."""

    def ask(url, hosts=None, **connections):
        from include.orchestration import elsewhere

        if hosts is not None:
            monkeypatch.setenv("AIRFLOW_VAR_TAXI_URL_HOSTS", hosts)
        for name in ("SOURCE", "CSV_MIRROR", "CSV_ARCHIVE"):
            monkeypatch.delenv(f"AIRFLOW_CONN_TAXI_{name}", raising=False)
        for name, connection in connections.items():
            monkeypatch.setenv(f"AIRFLOW_CONN_TAXI_{name.upper()}", json.dumps(connection))
        return elsewhere.allowed(url)

    return ask


@pytest.mark.parametrize(
    ("url", "hosts"),
    [
        ("https://files.example.org/a.parquet", "files.example.org"),
        ("http://FILES.example.org/a?id=1&sig=x", " other.test , Files.example.org"),
        ("https://files.example.org:8443/a", '["files.example.org:8443"]'),
        ("http://[::1]:8000/a", "[::1]:8000"),
    ],
)
def test_a_host_of_the_variable_is_allowed(allowed, url, hosts):
    if hosts.startswith("[::1]"):
        hosts = json.dumps([hosts])

    assert allowed(url, hosts).url == url


@pytest.mark.parametrize(
    "url",
    [
        "https://files.example.org.evil.test/a",
        "https://evil.test/files.example.org",
        "https://evil.test?files.example.org",
        "https://files.example.org:8443/a",
        "http://169.254.169.254/latest/meta-data",
        "http://localhost:8080/api",
    ],
)
def test_any_other_host_or_port_is_refused_with_what_to_change(allowed, url):
    with pytest.raises(SetUpError, match=r"is not allowed; expected one of \['files.example.org'\]: add it to the Var"):
        allowed(url, "files.example.org")


@pytest.mark.parametrize(
    "url", ["ftp://files.example.org/a", "file:///etc/passwd", "files.example.org", "https://a b/c"]
)
def test_what_is_no_url_of_the_web_is_refused(allowed, url):
    with pytest.raises(ValueError, match=r"param url: .* expected"):
        allowed(url, "files.example.org")


def test_a_login_in_the_url_is_refused_and_not_quoted(allowed):
    with pytest.raises(ValueError, match="has a login; expected none: put it into a connection") as refusal:
        allowed("https://tlc:s3cret@files.example.org/a?sig=s3cret", "files.example.org")

    assert "s3cret" not in str(refusal.value)


def test_to_the_host_of_a_connection_its_login_is_sent_and_its_redirects_are_followed(allowed):
    connection = LOGIN | {"host": "https://mirror.test/base", "extra": {"redirect_hosts": ["cdn.test"]}}

    there = allowed("https://mirror.test/other/a?id=1", "files.test", csv_mirror=connection)

    assert Address.parse(there.url).login == ("tlc", "s3cret")
    assert {"cdn.test", "files.test", "objects.githubusercontent.com"} <= set(there.redirect_hosts)


def test_a_login_for_https_is_not_sent_by_http(allowed):
    there = allowed("http://mirror.test/a", csv_mirror=LOGIN | {"host": "https://mirror.test"})

    assert Address.parse(there.url).login is None


@pytest.mark.parametrize("hosts", ["https://files.test", "*.test", "files.test/a", "[1]", "[", "tlc:pw@files.test"])
def test_a_variable_that_is_no_list_of_hosts_is_refused(allowed, hosts):
    with pytest.raises(ValueError, match=r"Variable 'taxi_url_hosts' is .* expected hosts"):
        allowed("https://files.test/a", hosts)


@pytest.mark.parametrize(
    ("loaded_from", "params"),
    [
        (None, {"source": "official"}),
        ("https://files.test/a.parquet", {"url": "https://files.test/a.parquet"}),
        ("https://files.test/get?id=7", {}),
    ],
)
def test_a_load_is_repeated_from_where_it_came_unless_its_query_is_gone(loaded_from, params):
    from include.orchestration import elsewhere

    source = catalog.elsewhere(loaded_from).name if loaded_from else "official"
    load = SimpleNamespace(source=source, source_url=(loaded_from or "https://tlc.test/a").partition("?")[0])

    assert elsewhere.origin_of(load) == params


@pytest.fixture
def elsewhere(publish, monkeypatch, tmp_path):
    """A server that is no publisher, whose host is allowed, with January of green at a path with a query."""
    generated = publish(FILE, rows=400)
    with Publisher() as server:
        content = (tmp_path / "published" / "trip-data" / f"{FILE}.parquet").read_bytes()
        server.files = {"/files/get?id=7&sig=s1gnature": Published(content)}
        server.rows = generated.rows
        monkeypatch.setenv("AIRFLOW_VAR_TAXI_URL_HOSTS", host_of(server.url))
        yield server


@pytest.fixture
def run(elsewhere, bag):
    def test_run(dag_id, **conf):
        return bag("nyc-taxi").dags[dag_id].test(run_conf=conf)

    return test_run


def test_a_file_from_elsewhere_is_loaded_until_the_publishers_is_asked_for_again(run, elsewhere, publish, query):
    publish(FILE, rows=700)
    url = f"{elsewhere.url}/files/get?id=7&sig=s1gnature"

    there = run("ingest_data", **JANUARY, url=url)
    official = run("ingest_data", **JANUARY)

    assert (there.state, official.state) == ("success", "success")
    sources = query("SELECT split_part(source, '.', 1), source_url, rows_read FROM load_ledger ORDER BY load_id")
    assert sources[0] == ("elsewhere", f"{elsewhere.url}/files/get", elsewhere.rows)
    assert (sources[1][0], sources[1][2]) == ("official", 700)
    assert "s1gnature" not in json.dumps(result(there, "extract_data"))


def test_etl_web_to_gcs_takes_a_url_too(run, elsewhere):
    finished = run("etl_web_to_gcs", **JANUARY, url=f"{elsewhere.url}/files/get?id=7&sig=s1gnature")

    assert set(states(finished).values()) == {"success"}
    assert result(finished, "write_gcs")["rows_read"] == elsewhere.rows


def test_a_host_that_is_not_allowed_fails_the_first_task(run, errors):
    finished = run("ingest_data", **JANUARY, url="http://169.254.169.254/latest")

    assert states(finished)["log_subflow.log_table_name"] == "failed"
    assert "SetUpError: param url=http://169.254.169.254/latest: host '169.254.169.254' is not allowed" in errors[0]


def test_a_url_without_a_month_is_refused(run, elsewhere, errors):
    run("ingest_data", colour="green", url=f"{elsewhere.url}/files/get?id=7&sig=s1gnature")

    assert "param url without a month: nothing says which month the file is; give year and month" in errors[0]


@pytest.mark.parametrize("url", ["https://tlc:pw@files.test/a", "ftp://files.test/a", "https://files.test/#a", "a b"])
def test_the_form_refuses_what_can_be_no_such_url(dags_by_id, url):
    with pytest.raises(ParamValidationError):
        dags_by_id["ingest_data"].params.get_param("url").resolve(url)


@pytest.mark.parametrize("url", [None, "", "https://files.test", "http://files.test:8000/a?mail=a@b&x=1"])
def test_the_form_takes_what_may_be_one(dags_by_id, url):
    assert dags_by_id["ingest_data"].params.get_param("url").resolve(url) == url
