"""Addresses are parsed once, refused by name, and shown without secrets."""

import re
from urllib.parse import quote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from include.nyc_taxi.addresses import Address, parse_lake, shown, under

SECRETS = st.text(min_size=4, max_size=20).filter(lambda text: text.isprintable() and not text.isspace())


@pytest.mark.parametrize(
    "url",
    [
        "lake", "./lake", "/lake", "", "file:x", "file:/x", "file://", "file:///", "file://lake", "file://localhost/x",
        "file:////x", "file:///a/../b", "file://~/lake", "~/lake", "file:///~/lake", "file:///a%20b", "abfs://b/p",
        "s3://", "s3://u:pw@b/p",
        "gs://", "gs:///p", "gs://@b", "gs://taxi_gcp@", "gs://b ucket/p", "gs://b//p", "gs://b?x=1", "memory://x",
        " file:///lake", "file:///lake\n", "gs://u:pw@b/p", "GS://b",
    ],
)  # fmt: skip
def test_a_lake_that_is_not_absolute_or_names_no_store_is_refused(url):
    with pytest.raises(
        ValueError, match=r"^Variable 'taxi_lake' is .*expected file:///(folder, gs://|x or )|write '/a b'"
    ) as refusal:
        parse_lake(url, "Variable 'taxi_lake'")

    assert "pw" not in str(refusal.value)


def test_a_lake_with_a_host_is_refused_with_the_folders_that_may_be_meant():
    with pytest.raises(ValueError, match=r"'data' stands where a host .* file:///a lake or file:///data/a lake$"):
        parse_lake("file://data/a lake", "Variable 'taxi_lake'")


def test_a_folder_as_a_source_is_refused_with_how_to_serve_it():
    with pytest.raises(ValueError, match=r"'file://localhost/x' is a folder; expected .*http://.*http.server"):
        Address.parse("file://localhost/x")


@pytest.mark.parametrize(
    ("url", "path", "connection"),
    [
        ("file:///data/lake", "/data/lake", None),
        ("file:///data/a lake/", "/data/a lake", None),
        ("file:///data/50%off", "/data/50%off", None),
        ("gs://taxi_gcp@trips/nyc-taxi", "trips/nyc-taxi", "taxi_gcp"),
        ("gs://trips", "trips", None),
        ("s3://taxi_aws@trips/nyc-taxi/", "trips/nyc-taxi", "taxi_aws"),
    ],
)
def test_a_lake_is_a_folder_or_a_bucket_with_its_connection(url, path, connection):
    address = parse_lake(url, "Variable 'taxi_lake'")

    assert (address.path, address.connection) == (path, connection)


@pytest.mark.parametrize(
    "url",
    ["ftp://host", "host/path", "http://", "https://host:99999", "http://host:x", "http://ho\nst", "http://host#x",
     "file:///x", "http://host:80\n80/"],
)  # fmt: skip
def test_a_url_that_is_none_of_the_web_is_refused(url):
    with pytest.raises(ValueError, match="expected"):
        Address.parse(url)


@given(login=SECRETS, password=SECRETS, signature=SECRETS)
@example(login="tlc", password="a/b@c?d#e", signature="x")
def test_an_address_sends_its_login_and_shows_no_secret(login, password, signature):
    login, password, signature = f"l0gin{login}", f"p4ss{password}", f"s1gn{signature}"
    url = f"https://{quote(login, safe='')}:{quote(password, safe='')}@example.org/a?sig={quote(signature, safe='')}"

    address = Address.parse(url)

    assert address.login == (login, password)
    assert str(address) == "https://example.org/a"
    assert "p4ss" not in address.url


@given(SECRETS)
def test_a_secret_that_is_not_encoded_is_not_shown_either(secret):
    marked = f"p4ss{re.sub('[?#]', '', secret)}"

    for url in (
        f"https://tlc:{marked}@example.org/a",
        f"https://{marked}@example.org",
        f"https://h/a?x={secret}#{marked}",
    ):
        assert "p4ss" not in shown(url)


def test_a_secret_path_is_left_out():
    assert shown("https://hooks.example.org/T0/s3cret", path=False) == "https://hooks.example.org"


def test_a_path_goes_before_a_signed_query():
    assert under("https://host/a/?sig=x", "b.parquet") == "https://host/a/b.parquet?sig=x"
    assert under("https://host/a", "b.parquet") == "https://host/a/b.parquet"


@pytest.mark.parametrize(
    ("source", "to", "may"),
    [
        ("https://host/a", "https://host/b", True),
        ("http://host/a", "https://host/a", True),
        ("https://host/a", "http://host/a", False),
        ("https://host/a", "https://other/a", False),
        ("http://host/a", "http://169.254.169.254/latest", False),
        ("http://127.0.0.1:8000/a", "http://127.0.0.1:9000/a", False),
        ("https://host/a", "https://cdn.test/a", True),
        ("https://host/a", "http://cdn.test/a", False),
        ("https://host/a", "https://host.evil.test/a", False),
        ("https://host/a", "https://HOST/a", True),
        ("https://host/a", "https://host/b#c", True),
        ("http://host/a", "file://host/etc/passwd", False),
        ("http://host/a", "file:///etc/passwd", False),
        ("http://host/a", "ftp://cdn.test/a", False),
    ],
)
def test_redirects_stay_within_the_host_and_the_list(source, to, may):
    assert Address.parse(source, ["CDN.test"]).may_lead_to(to) is may
