"""Every error of a driver is classified by the table, and nothing else leaves the boundary."""

import errno
import inspect
import ssl

import httpx
import psycopg
import pyarrow as pa
import pytest
from google.api_core import exceptions as api
from google.auth import exceptions as auth
from hypothesis import given
from hypothesis import strategies as st

from include.nyc_taxi import faults
from include.nyc_taxi.errors import (
    LakeChanged,
    LakeUnavailable,
    OutOfMemory,
    PermanentError,
    SetUpError,
    SourceUnavailable,
    TaxiError,
    TransientError,
    WarehouseBusy,
    WarehouseRefused,
)


def classes(module, base):
    return [each for each in vars(module).values() if inspect.isclass(each) and issubclass(each, base)]


POSTGRES = sorted(set(classes(psycopg.errors, psycopg.Error)), key=lambda each: each.__name__)
GOOGLE = sorted(set(classes(api, api.GoogleAPICallError)), key=lambda each: each.__name__)


@pytest.mark.parametrize("error", POSTGRES, ids=lambda each: each.__name__)
def test_every_error_of_postgres_is_transient_or_permanent(error):
    told = faults.of_postgres(error("x")).tell("green", error("x"))

    assert isinstance(told, TransientError) != isinstance(told, PermanentError)
    assert error.sqlstate is None or {error.sqlstate, error.sqlstate[:2]} & set(faults.POSTGRES)


@pytest.mark.parametrize("error", GOOGLE, ids=lambda each: each.__name__)
def test_every_error_of_google_is_transient_or_permanent(error):
    told = faults.of_google(error("x")).tell("green", error("x"))

    assert isinstance(told, TransientError) != isinstance(told, PermanentError)


def test_no_row_of_the_table_is_for_a_state_that_postgres_does_not_have():
    states = {each.sqlstate for each in POSTGRES if each.sqlstate}
    known = states | {state[:2] for state in states} | {"01"}

    assert set(faults.POSTGRES) <= known


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (psycopg.errors.IdleInTransactionSessionTimeout, WarehouseBusy),
        (psycopg.errors.TransactionTimeout, WarehouseBusy),
        (psycopg.errors.TooManyConnections, WarehouseBusy),
        (psycopg.errors.CannotConnectNow, WarehouseBusy),
        (psycopg.errors.SerializationFailure, WarehouseBusy),
        (psycopg.errors.DeadlockDetected, WarehouseBusy),
        (psycopg.errors.UndefinedTable, WarehouseBusy),
        (psycopg.errors.ObjectNotInPrerequisiteState, WarehouseBusy),
        (psycopg.errors.AdminShutdown, WarehouseBusy),
        (psycopg.errors.InsufficientPrivilege, WarehouseRefused),
        (psycopg.errors.InvalidPassword, WarehouseRefused),
        (psycopg.errors.InvalidCatalogName, WarehouseRefused),
        (psycopg.errors.ReadOnlySqlTransaction, WarehouseRefused),
    ],
)
def test_what_waiting_helps_with_is_busy(error, expected):
    assert faults.of_postgres(error("x")).error is expected


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ('FATAL:  password authentication failed for user "x"', WarehouseRefused),
        ('FATAL:  role "x" does not exist', WarehouseRefused),
        ('FATAL:  database "x" does not exist', WarehouseRefused),
        ("server does not support SSL, but SSL was required", WarehouseRefused),
        ('FATAL:  no pg_hba.conf entry for host "1.2.3.4", no encryption', WarehouseRefused),
        ("SSL error: certificate verify failed", WarehouseRefused),
        ("FATAL:  sorry, too many clients already", WarehouseBusy),
        ("FATAL:  the database system is starting up", WarehouseBusy),
        ('FATAL:  too many connections for role "x"', WarehouseBusy),
        ("Connection refused", WarehouseBusy),
    ],
)
def test_a_refused_connection_is_told_from_a_busy_server(words, expected):
    assert faults.of_postgres(psycopg.OperationalError(words)).error is expected


@pytest.mark.parametrize(
    ("reason", "expected", "advice"),
    [
        ("quotaExceeded", WarehouseBusy, "quota"),
        ("rateLimitExceeded", WarehouseBusy, ""),
        ("tableUnavailable", WarehouseBusy, ""),
        ("accessDenied", WarehouseRefused, "a right is missing"),
        ("billingNotEnabled", WarehouseRefused, "billing"),
    ],
)
def test_what_bigquery_refuses_is_told_by_its_reason(reason, expected, advice):
    fault = faults.of_google(api.Forbidden("no", errors=[{"reason": reason}]))

    assert fault.error is expected
    assert advice in fault.advice
    assert ("right" in fault.advice) == (reason == "accessDenied")


DISABLED = (
    "{name} has not been used in project 123 before or it is disabled. Enable it by visiting "
    "https://console.developers.google.com/apis/api/{api}/overview?project=123 then retry."
)


@pytest.mark.parametrize(
    ("text", "advice"),
    [
        (
            DISABLED.format(name="BigQuery API", api="bigquery.googleapis.com"),
            "services enable bigquery.googleapis.com",
        ),
        ("SERVICE_DISABLED", "services enable bigquery.googleapis.com storage.googleapis.com"),
        ("Access Denied: Project p: User does not have bigquery.jobs.create permission in p", "roles/bigquery.jobUser"),
        ("Access Denied: Dataset p:d: Permission bigquery.datasets.get denied on d", "roles/bigquery.dataEditor"),
        ("Permission 'iam.serviceAccounts.getAccessToken' denied", "roles/iam.serviceAccountTokenCreator"),
    ],
)
def test_a_disabled_api_and_a_missing_role_are_named(text, advice):
    fault = faults.of_google(api.Forbidden(text, errors=[{"reason": "accessDenied"}]))

    assert fault.error is WarehouseRefused
    assert advice in fault.advice
    assert faults.of_google(auth.RefreshError(text)) == fault


@pytest.mark.parametrize(
    ("text", "advice"),
    [
        (DISABLED.format(name="Cloud Storage", api="storage.googleapis.com"), "services enable storage.googleapis.com"),
        ("a@b does not have storage.buckets.get access to the bucket", "roles/storage.legacyBucketReader"),
        ("a@b does not have storage.objects.create access to the object", "roles/storage.objectAdmin"),
    ],
)
def test_a_bucket_names_the_api_and_the_role_too(text, advice):
    fault = faults.of_lake(OSError(f"Forbidden: https://storage.googleapis.com/b/lake\n{text}"))

    assert fault.error is SetUpError
    assert advice in fault.advice


def test_a_deleted_table_is_made_anew_by_the_next_try():
    assert faults.of_google(api.NotFound("Not found: Table p:d.t")).error is WarehouseBusy
    assert faults.of_google(api.NotFound("Not found: Project p")).error is WarehouseRefused


@pytest.mark.parametrize("number", sorted(errno.errorcode))
def test_every_error_of_a_file_system_becomes_one_of_ours(number):
    with pytest.raises(TaxiError), faults.told("green"):
        raise OSError(number, "x", "/lake")


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (FileNotFoundError("bucket/key"), LakeChanged),
        (PermissionError(errno.EACCES, "x"), SetUpError),
        (OSError(errno.EROFS, "x"), SetUpError),
        (OSError(errno.EIO, "x"), LakeUnavailable),
        (OSError("Forbidden: https://storage/o"), SetUpError),
        (TimeoutError(), LakeUnavailable),
        (ConnectionResetError(), LakeUnavailable),
        (EOFError(), LakeUnavailable),
        (httpx.ReadTimeout("x"), SourceUnavailable),
        (httpx.ConnectError("[SSL: CERTIFICATE_VERIFY_FAILED] self-signed certificate"), SetUpError),
        (httpx.ConnectError("[SSL: WRONG_VERSION_NUMBER] wrong version number"), SetUpError),
        (ssl.SSLCertVerificationError("CERTIFICATE_VERIFY_FAILED"), SetUpError),
        (auth.RefreshError("invalid_grant"), WarehouseRefused),
        (auth.TransportError("x"), WarehouseBusy),
        (MemoryError(), OutOfMemory),
        (pa.ArrowMemoryError("malloc of size 1048576 failed"), OutOfMemory),
    ],
)
def test_the_boundary_lets_out_only_our_errors(error, expected):
    with pytest.raises(expected) as caught, faults.told("green"):
        raise error

    assert type(caught.value) is expected


@pytest.mark.parametrize("error", [ValueError("x"), KeyError("x"), AttributeError("x"), WarehouseBusy("x")])
def test_wrong_values_and_wrong_code_pass_as_they_are(error):
    with pytest.raises(type(error)) as caught, faults.told("green"):
        raise error

    assert caught.value is error


def test_errors_of_gcsfs_and_aiohttp_are_of_the_lake():
    import aiohttp
    from gcsfs.retry import HttpError

    for error, expected in (
        (HttpError({"code": 503, "message": "x"}), LakeUnavailable),
        (HttpError({"code": 403, "message": "x"}), SetUpError),
        (aiohttp.ServerDisconnectedError(), LakeUnavailable),
        (aiohttp.ClientPayloadError("x"), LakeUnavailable),
    ):
        assert faults.of(error).error is expected


@given(st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=6).map("S3cret".__add__))
def test_no_error_quotes_the_secret_of_a_url(secret):
    error = httpx.ConnectError(f"failed: https://tlc:{secret}@example.org/a?sig={secret} at x")

    with pytest.raises(SourceUnavailable) as caught, faults.told("green"):
        raise error

    assert secret not in str(caught.value)
