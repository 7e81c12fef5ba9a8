"""What a source's address may hold: a login that is sent and shown nowhere, and redirects that stay on its host."""

import json
import logging
from base64 import b64encode
from pathlib import Path

import psycopg
import pytest

from devtools.generator import write_month
from devtools.servers.misbehaving import Fault, Published, Publisher
from include.nyc_taxi import TripFile, download, landing, publications
from include.nyc_taxi.errors import NotPublished, SetUpError, SourceUnavailable, TaxiError
from include.nyc_taxi.lake import Lake
from include.nyc_taxi.targets.postgres import Postgres
from tests.nyc_taxi.download.served import FILE, NEW, OLD, PATH, fetch

SECRET, SIGNATURE = "s3cret-pw", "s1gnature"


def secret_url(publisher: Publisher) -> str:
    return publisher.url.replace("http://", f"http://tlc:{SECRET}@") + f"?sig={SIGNATURE}"


def bytes_of(lake: Lake) -> bytes:
    return b"".join(path.read_bytes() for path in Path(lake.root).rglob("*") if path.is_file())


def test_no_secret_of_a_source_is_in_lake_ledger_or_log(
    publisher: Publisher, lake: Lake, tmp_path: Path, warehouse: str, caplog: pytest.LogCaptureFixture
):
    file = TripFile.parse("green_tripdata_2024-01")
    write_month(file, tmp_path / "month", rows=300)
    path = f"/trip-data/{file.name}.parquet?sig={SIGNATURE}"
    publisher.files = {path: Published((tmp_path / "month").read_bytes())}

    with caplog.at_level(logging.DEBUG, "include"), caplog.at_level(logging.INFO):
        for force in (False, True):
            download.fetch(file, lake, base_url=secret_url(publisher), force=force, pause=0)
        landing.land(file, lake)
        publications.survey(lake, base_url=secret_url(publisher), services=["green"], recheck=1, pause=0)
        with psycopg.connect(warehouse) as connection:
            Postgres().replace_month(connection, file, lake)
            ledger = connection.execute("SELECT row_to_json(load_ledger)::text FROM load_ledger").fetchall()

    kept = bytes_of(lake).decode("latin-1") + json.dumps(ledger) + caplog.text
    sent = {asked.headers.get("Authorization") for asked in publisher.asked}
    assert sent == {"Basic " + b64encode(f"tlc:{SECRET}".encode()).decode()}
    assert f"{publisher.url}/trip-data/{file.name}.parquet" in json.dumps(ledger)
    assert SECRET not in kept
    assert SIGNATURE not in kept


@pytest.mark.parametrize("status", [400, 401, 403, 404, 407, 418, 429, 500, 503])
def test_no_secret_of_a_source_is_in_an_error_or_its_log(
    publisher: Publisher, lake: Lake, status: int, caplog: pytest.LogCaptureFixture
):
    publisher.always, publisher.head = Fault(status=status), status

    with pytest.raises(TaxiError) as refusal, caplog.at_level(logging.INFO):
        fetch(publisher, lake, base_url=secret_url(publisher))

    for secret in (SECRET, SIGNATURE):
        assert secret not in f"{refusal.value}{refusal.value.__cause__}{caplog.text}"


def test_a_server_that_wants_a_login_is_a_matter_of_set_up(publisher: Publisher, lake: Lake):
    publisher.always = Fault(status=401)

    with pytest.raises(SetUpError, match="HTTP 401, asked without a login; expected 200: correct login and password"):
        fetch(publisher, lake)

    assert len(publisher.asked) == 1


def test_a_new_signature_does_not_make_a_new_edition(publisher: Publisher, lake: Lake):
    publisher.files = {f"{PATH}?sig={number}": Published(OLD) for number in (1, 2)}

    outcomes = [fetch(publisher, lake, base_url=f"{publisher.url}?sig={number}").outcome for number in (1, 2)]

    assert outcomes == ["downloaded", "cached"]


@pytest.fixture
def elsewhere():
    with Publisher() as other:
        other.files = {PATH: Published(NEW), "/internal": Published(b"an internal answer")}
        yield other


@pytest.mark.parametrize("path", [PATH, "/internal"])
def test_a_redirect_to_another_host_or_port_is_refused_before_it_is_asked(
    publisher: Publisher, elsewhere: Publisher, lake: Lake, path: str
):
    publisher.always = Fault(status=302, headers={"Location": f"{elsewhere.url}{path}?sig={SIGNATURE}"})

    with pytest.raises(
        SetUpError, match=r"the server redirects to http://127.0.0.1:.*; expected its own host"
    ) as refusal:
        fetch(publisher, lake)

    assert elsewhere.asked == []
    assert SIGNATURE not in str(refusal.value)
    assert "internal" not in str(refusal.value)


def test_a_redirect_to_a_host_that_is_listed_is_followed_without_the_login(
    publisher: Publisher, elsewhere: Publisher, lake: Lake
):
    publisher.always = Fault(status=302, headers={"Location": elsewhere.url.replace("127.0.0.1", "localhost") + PATH})

    fetched = fetch(publisher, lake, base_url=secret_url(publisher).partition("?")[0], redirect_hosts=["localhost"])

    assert lake.read(fetched.key) == NEW
    assert "Authorization" not in elsewhere.asked[0].headers


def test_https_to_an_http_port_is_a_matter_of_set_up(publisher: Publisher, lake: Lake):
    with pytest.raises(SetUpError, match="does not speak https at this port"):
        fetch(publisher, lake, base_url=publisher.url.replace("http://", "https://"))


def test_a_garbled_answer_is_not_quoted(publisher: Publisher, lake: Lake, caplog: pytest.LogCaptureFixture):
    publisher.always = Fault(headers={"X": "internal\0answer"})

    with pytest.raises(SourceUnavailable) as refusal:
        fetch(publisher, lake)

    assert "internal" not in f"{refusal.value}{caplog.text}"


def test_a_url_that_is_none_makes_no_request(publisher: Publisher, lake: Lake):
    with pytest.raises(ValueError, match="is not the URL of a web server, expected http:// or https://"):
        download.fetch(FILE, lake, base_url="ftp://host")
    with pytest.raises(NotPublished):
        fetch(publisher, lake, base_url=f"{publisher.url}/other/")
