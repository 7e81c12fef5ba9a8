"""faults: what an error of a server, a library or a file system means, in one table: a retry may help, or a set-up.

Each row says which of our errors it is, and what a person is to do. The table knows the drivers' errors by their
codes, so that it imports none of the drivers. `told` is the boundary: whatever leaves it is one of our errors.
"""

from __future__ import annotations

import errno
import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

from include.nyc_taxi.addresses import shown
from include.nyc_taxi.errors import (
    DamagedFile,
    LakeChanged,
    LakeUnavailable,
    OutOfMemory,
    SetUpError,
    SourceUnavailable,
    TaxiError,
    WarehouseBusy,
    WarehouseRefused,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

# Every task imports this, and few need a pattern, so the patterns are compiled where they are used.
_URL = r"\b[a-zA-Z][a-zA-Z0-9+.-]*://[^\s'\"<>)]+"
_LONGEST = 500
_SERVER_ERRORS = range(500, 600)


class Fault(NamedTuple):
    """What an error means: which of ours it is, and what to do about it, in words."""

    error: type[TaxiError]
    advice: str = ""

    def tell(self, what: str, error: BaseException) -> TaxiError:
        """The error to raise: what was found, where, and what to do; no secret and no page of text."""
        text = said(error)
        return self.error(f"{what}: {text}{f'; {self.advice}' if self.advice else ''}")


_BUSY = Fault(WarehouseBusy)
_REFUSED = Fault(WarehouseRefused)
_CHANGED = Fault(WarehouseBusy, "another session changed it meanwhile: the next try finds it as it is now")

POSTGRES: Mapping[str, Fault] = {
    # Classes of SQLSTATE, and single states that differ from their class.
    "01": _REFUSED,  # warning
    "02": _REFUSED,  # no data
    "03": _REFUSED,  # statement not complete
    "08": _BUSY,  # connection broken
    "08P01": Fault(WarehouseRefused, "the server or pooler does not accept what the connection's extra asks for"),
    "09": _REFUSED,  # triggered action
    "0A": _REFUSED,  # not supported
    "0B": _REFUSED,
    "0F": _REFUSED,
    "0L": _REFUSED,
    "0P": Fault(WarehouseRefused, "the role in the connection does not exist"),
    "0Z": _REFUSED,
    "10": _REFUSED,
    "20": _REFUSED,
    "21": _REFUSED,
    "22": _REFUSED,  # data
    "23": _REFUSED,  # a constraint that somebody added
    "23505": _CHANGED,  # two sessions created one object
    "24": _REFUSED,
    "25": _REFUSED,  # state of the transaction
    "25006": Fault(WarehouseRefused, "expected a database and a role that may write: not a standby, nor read-only"),
    "25P02": _BUSY,
    "25P03": Fault(WarehouseBusy, "the session stood still in its transaction for too long"),
    "25P04": Fault(WarehouseBusy, "the transaction took too long for the server's transaction_timeout"),
    "26": Fault(WarehouseRefused, "a pooler gave the session to another server: switch prepared statements off"),
    "27": _REFUSED,
    "28": Fault(WarehouseRefused, "correct login and password of the connection, or pg_hba.conf of the server"),
    "2B": _REFUSED,
    "2BP01": Fault(WarehouseRefused, "another object, such as a view, depends on it: drop or change that first"),
    "2D": _REFUSED,
    "2F": _REFUSED,
    "34": _REFUSED,
    "38": _REFUSED,
    "39": _REFUSED,
    "3B": _BUSY,  # savepoint
    "3D": Fault(WarehouseRefused, "create the database, or correct the connection's schema field, which names it"),
    "3F": _CHANGED,  # no such schema: it is created before it is used
    "40": _BUSY,  # rolled back: serialization, deadlock
    "42": _REFUSED,  # syntax and access
    "42501": Fault(WarehouseRefused, "a right is missing: grant it to the role in the connection"),
    "42703": _CHANGED,  # no such column: it is added before it is used
    "42704": _CHANGED,
    "42804": _CHANGED,  # the table's columns are no longer those of the staged rows
    "42P01": _CHANGED,  # no such table
    "42P05": Fault(WarehouseRefused, "a pooler gave the session to another server: switch prepared statements off"),
    "42P07": _CHANGED,
    "42710": _CHANGED,
    "42P06": _CHANGED,
    "42P17": _CHANGED,  # another partition has the month
    "44": _REFUSED,
    "53": _BUSY,  # disk, memory, connections
    "54": _REFUSED,  # a limit of Postgres itself
    "55": _BUSY,  # locked, in use, not in the state that it was in
    "57": _BUSY,  # ended by a person, a timeout or a restart
    "57P04": Fault(WarehouseRefused, "the database was dropped"),
    "58": _BUSY,  # the server's disk
    "72": _BUSY,
    "F0": _REFUSED,
    "HV": _REFUSED,
    "P0": _REFUSED,  # raised by somebody's trigger
    "XX": _BUSY,  # internal: a relation that was dropped or changed at that moment
    "XX001": Fault(WarehouseRefused, "the database is damaged"),
    "XX002": Fault(WarehouseRefused, "an index of the database is damaged"),
}

_IN_THE_WAY: Mapping[str, tuple[tuple[str, Fault], ...]] = {
    # What somebody added to the table for good, so that no month without it fits.
    "42804": ((r"missing constraint|must be marked NOT NULL", _REFUSED),),
}

_FIX_CONNECTION = "correct the connection"
NO_SQLSTATE: tuple[tuple[str, Fault], ...] = (
    # An attempt to connect has no SQLSTATE in libpq, so its words decide; what none of these fits is transient.
    (r"starting up|shutting down|recovery mode|too many clients|remaining connection slots", _BUSY),
    (r"too many connections for (role|database)", _BUSY),
    (r"password authentication failed|no password supplied|authentication method", POSTGRES["28"]),
    (r"no pg_hba.conf entry|not permitted to log in|ident authentication|peer authentication", POSTGRES["28"]),
    (r'database ".*" does not exist|no such database', POSTGRES["3D"]),
    (r'role ".*" does not exist|no such user|role ".*" is not allowed', POSTGRES["28"]),
    (r"not currently accepting connections", POSTGRES["3D"]),
    (r"permission denied for database", POSTGRES["42501"]),
    (r"server does not support SSL|SSL connection is required|requires? SSL|ssl/tls required|SSL required", Fault(
        WarehouseRefused, "the connection's extra sslmode and the server disagree about SSL: expected require or prefer"
    )),
    (r"certificate|private key|sslmode|sslrootcert|channel binding|gssencmode|SSL error|tlsv1", Fault(
        WarehouseRefused, "correct the SSL settings in the connection's extra"
    )),
    (r"received invalid response|unsupported frontend protocol|expected authentication request", Fault(
        WarehouseRefused, "expected a Postgres server at the connection's host and port"
    )),
    (r"unsupported startup parameter|unrecognized configuration parameter|invalid command-line argument", Fault(
        WarehouseRefused, "the server does not know a setting of the connection's extra"
    )),
    (r"invalid (value for parameter|port|integer|connection option|URI)|bad value for|could not match", Fault(
        WarehouseRefused, _FIX_CONNECTION
    )),
    (r"invalid \w+ value|invalid percent-encoded|path .* is too long|is too long", Fault(
        WarehouseRefused, _FIX_CONNECTION
    )),
)  # fmt: skip

GOOGLE_REASONS: Mapping[str, Fault] = {
    "rateLimitExceeded": _BUSY,
    "userRateLimitExceeded": _BUSY,
    "jobRateLimitExceeded": _BUSY,
    "quotaExceeded": Fault(WarehouseBusy, "a quota of the project is used up: wait until it is renewed, or raise it"),
    "tableUnavailable": _BUSY,
    "backendError": _BUSY,
    "jobBackendError": _BUSY,
    "jobInternalError": _BUSY,
    "internalError": _BUSY,
    "resourceInUse": _BUSY,
    "stopped": Fault(WarehouseBusy, "somebody cancelled the job"),
    "timeout": _BUSY,
    "accessDenied": Fault(WarehouseRefused, "a right is missing: grant it to the account of the connection"),
    "billingNotEnabled": Fault(WarehouseRefused, "switch billing on for the project, or name another project"),
    "accountDisabled": Fault(WarehouseRefused, "the account of the connection is disabled"),
}
GOOGLE_STATUSES: Mapping[int, Fault] = {
    400: _REFUSED,
    401: Fault(WarehouseRefused, "the connection has no valid credentials"),
    403: Fault(WarehouseRefused, "a right is missing: grant it to the account of the connection"),
    404: Fault(WarehouseRefused, "correct the project in the connection, or create what is missing"),
    408: _BUSY,
    409: _CHANGED,
    412: _CHANGED,
    416: _REFUSED,
    429: _BUSY,
    499: _BUSY,
    501: _REFUSED,
}
_DISABLED_API = r"has not been used in project \S+ before or it is disabled|SERVICE_DISABLED|accessNotConfigured"
_API = r"\b[a-z]+\.googleapis\.com(?=/overview)"
_OUR_APIS = "bigquery.googleapis.com storage.googleapis.com"
_PERMISSION = r"\b(?:bigquery|iam|serviceusage|storage)\.(?!googleapis)[a-zA-Z]+\.[a-zA-Z]+\b"
_DENIED = r"(?i)denied|does not have"
GOOGLE_ROLES: Mapping[str, str] = {
    # By the longest beginning of a permission's name.
    "bigquery.": "BigQuery Data Editor (roles/bigquery.dataEditor)",
    "bigquery.jobs.": "BigQuery Job User (roles/bigquery.jobUser)",
    "iam.serviceAccounts.": "Service Account Token Creator (roles/iam.serviceAccountTokenCreator)",
    "serviceusage.": "Service Usage Consumer (roles/serviceusage.serviceUsageConsumer)",
    "storage.": "Storage Object Admin (roles/storage.objectAdmin)",
    "storage.buckets.": "Storage Legacy Bucket Reader (roles/storage.legacyBucketReader)",
}
_NO_CREDENTIALS = Fault(WarehouseRefused, "no valid credentials: correct the connection's key, or log in")
_GOOGLE_WORDS: tuple[tuple[str, Fault], ...] = (
    # What a run creates before it uses it can only be missing because somebody has deleted it since.
    (r"[Nn]ot found: (Table|Dataset|Job)", _CHANGED),
    (r"tableUnavailable|backendError", _BUSY),
)

_NO_LAKE = Fault(SetUpError, "expected a lake that this process can read and write: correct the Variable taxi_lake")
_NO_RIGHT = Fault(SetUpError, "the user that runs the task may not read or write it: change its owner or its rights")
ERRNOS: Mapping[int, Fault] = {
    errno.EACCES: _NO_RIGHT,
    errno.EPERM: _NO_RIGHT,
    errno.EROFS: Fault(SetUpError, "the lake is read-only: mount it writable, or correct the Variable taxi_lake"),
    errno.ENOTDIR: Fault(
        SetUpError, "a file lies where a folder of the lake should be: correct the Variable taxi_lake"
    ),
    errno.EEXIST: Fault(SetUpError, "a file lies where a folder of the lake should be: correct the Variable taxi_lake"),
    errno.EISDIR: Fault(SetUpError, "a folder lies where a file of the lake should be: move it away"),
    errno.ENAMETOOLONG: Fault(SetUpError, "the name is too long for the file system: choose a shorter folder"),
    errno.ELOOP: Fault(SetUpError, "the links of the path lead in a circle"),
    errno.EINVAL: _NO_LAKE,
    errno.EILSEQ: _NO_LAKE,
    errno.ENOTSUP: _NO_LAKE,
    errno.ENOENT: Fault(LakeChanged, "it was there before: another run or a person removed it"),
    errno.ENOSPC: Fault(LakeUnavailable, "no space is left: free some"),
    errno.EDQUOT: Fault(LakeUnavailable, "the quota is used up: free some space"),
    errno.EFBIG: Fault(LakeUnavailable, "the file system or a limit allows no file of that size"),
}
BUCKET_STATUSES: Mapping[int, Fault] = {
    400: Fault(SetUpError, "correct the Variable taxi_lake or its connection"),
    401: Fault(SetUpError, "the connection of the lake has no valid credentials"),
    403: Fault(SetUpError, "a right is missing: the account of the lake's connection needs Storage Object Admin"),
    404: Fault(LakeChanged, "the bucket or the object is gone"),
    409: Fault(LakeChanged, "another run changed it meanwhile"),
    412: Fault(LakeChanged, "another run changed it meanwhile"),
}
_BUCKET_WORDS: tuple[tuple[str, Fault], ...] = (
    (r"^Forbidden|does not have .* access|Anonymous caller", BUCKET_STATUSES[403]),
    (r"^Bad Request|billing|UserProject", BUCKET_STATUSES[400]),
    (r"[Ii]nvalid [Cc]redentials|invalid_grant", BUCKET_STATUSES[401]),
)

_NO_KEYS = Fault(SetUpError, "correct login and password of the lake's connection, or give this machine credentials")
_NO_S3_RIGHT = Fault(
    SetUpError,
    "a right is missing: the account of the lake's connection needs s3:ListBucket on the bucket, and s3:GetObject, "
    "s3:PutObject and s3:DeleteObject on its objects",
)
_OTHER_REGION = Fault(SetUpError, "set region_name in the extra of the lake's connection to the bucket's region")
_S3_BUSY = Fault(LakeUnavailable)
_S3_CHANGED = Fault(LakeChanged, "another run changed it meanwhile")
S3_CODES: Mapping[str, Fault] = {
    # Codes of S3, and statuses where an answer has no body, as to HEAD; a status is asked for last.
    "AccessDenied": _NO_S3_RIGHT,
    "AllAccessDisabled": _NO_S3_RIGHT,
    "AuthorizationHeaderMalformed": _OTHER_REGION,
    "BadDigest": _S3_BUSY,
    "ConditionalRequestConflict": _S3_CHANGED,
    "EntityTooLarge": Fault(
        SetUpError,
        "S3 takes at most 5 GB in one request: look at the published file, as none is known to be that large",
    ),
    "ExpiredToken": _NO_KEYS,
    "IllegalLocationConstraintException": _OTHER_REGION,
    "IncompleteBody": _S3_BUSY,
    "InvalidAccessKeyId": _NO_KEYS,
    "InvalidBucketName": Fault(SetUpError, "correct the Variable taxi_lake"),
    "InvalidObjectState": Fault(SetUpError, "the object is archived: restore it, and keep the lake out of archives"),
    "InvalidToken": _NO_KEYS,
    "NoSuchBucket": Fault(SetUpError, "create the bucket, or correct the Variable taxi_lake"),
    "NoSuchKey": _S3_CHANGED,
    "NotImplemented": Fault(SetUpError, "the server lacks what the lake needs: put the lake into another place"),
    "OperationAborted": _S3_BUSY,
    "PermanentRedirect": _OTHER_REGION,
    "PreconditionFailed": _S3_CHANGED,
    "QuotaExceeded": Fault(LakeUnavailable, "the quota is used up: free some space"),
    "RequestTimeout": _S3_BUSY,
    "RequestTimeTooSkewed": Fault(SetUpError, "correct the clock of this machine"),
    "SignatureDoesNotMatch": _NO_KEYS,
    "SlowDown": _S3_BUSY,
    "XMinioStorageFull": Fault(LakeUnavailable, "no space is left: free some"),
    "301": _OTHER_REGION,
    "400": Fault(SetUpError, "correct the Variable taxi_lake, or the connection that it names"),
    "401": _NO_KEYS,
    "403": _NO_S3_RIGHT,
    "404": _S3_CHANGED,
    "408": _S3_BUSY,
    "409": _S3_CHANGED,
    "412": _S3_CHANGED,
    "429": _S3_BUSY,
}
S3_NAMES: Mapping[str, Fault] = {
    # Errors of the client itself, before a request is sent.
    "NoCredentialsError": _NO_KEYS,
    "PartialCredentialsError": _NO_KEYS,
    "NoRegionError": _OTHER_REGION,
    "ParamValidationError": S3_CODES["InvalidBucketName"],
    "ProfileNotFound": _NO_KEYS,
}

_WEB_WORDS: tuple[tuple[str, Fault], ...] = (
    # No certificate and no speech of the other kind becomes right by waiting.
    (r"CERTIFICATE_VERIFY_FAILED|self[- ]signed|certificate", Fault(
        SetUpError, "this machine does not trust the server's certificate: correct the connection's host, or add the "
        "certificate's authority to SSL_CERT_FILE"
    )),
    (r"WRONG_VERSION_NUMBER|wrong version number|RECORD_LAYER|HTTP_REQUEST|http request|UNKNOWN_PROTOCOL", Fault(
        SetUpError, "the server does not speak https at this port: correct the connection's host, schema or port"
    )),
    (r"UNSUPPORTED_PROTOCOL|NO_PROTOCOLS_AVAILABLE|NO_SHARED_CIPHER", Fault(
        SetUpError, "this machine and the server share no version of https"
    )),
)  # fmt: skip
MEMORY = Fault(OutOfMemory, "give the worker more memory, or let it run fewer tasks at the same time")
_WEB_BROKEN = Fault(SourceUnavailable)
_LAKE_BROKEN = Fault(LakeUnavailable)


def of_postgres(error: BaseException) -> Fault:
    """What an error of psycopg means."""
    state: str | None = getattr(error, "sqlstate", None)
    if state is not None:
        in_the_way = _by_words(_IN_THE_WAY.get(state, ()), str(error))
        return in_the_way or POSTGRES.get(state) or POSTGRES.get(state[:2], _REFUSED)
    found = _by_words(NO_SQLSTATE, str(error))
    return found or (_BUSY if _is_a(error, "OperationalError") else Fault(WarehouseRefused, _FIX_CONNECTION))


def is_told_by_words(error: BaseException) -> bool:
    """Whether the words of a refused attempt to connect tell what it means, without a code."""
    return _by_words(NO_SQLSTATE, str(error)) is not None


def of_google(error: BaseException) -> Fault:
    """What an error of Google's clients for BigQuery means, or of the HTTP client under them."""
    if advice := _granted(error):
        return Fault(WarehouseRefused, advice)
    if _is_a(error, "GoogleAuthError"):
        return _BUSY if _is_a(error, "TransportError") else _NO_CREDENTIALS
    for reason in getattr(error, "errors", None) or ():
        if isinstance(reason, dict) and (fault := GOOGLE_REASONS.get(str(reason.get("reason")))):
            return fault
    if fault := _by_words(_GOOGLE_WORDS, str(error)):
        return fault
    code = getattr(error, "code", None)
    if not isinstance(code, int):
        certificate = _by_words(_WEB_WORDS, str(error))
        return Fault(WarehouseRefused, certificate.advice) if certificate else _BUSY
    return GOOGLE_STATUSES.get(int(code)) or (_BUSY if code in _SERVER_ERRORS else _REFUSED)


def _granted(error: BaseException) -> str | None:
    """Return what to enable or to grant, if Google names an API that is disabled or a permission that is missing."""
    text = str(error)
    if re.search(_DISABLED_API, text):
        api = re.search(_API, text)
        return f"enable the API, and wait some minutes: gcloud services enable {api[0] if api else _OUR_APIS}"
    permission = missing_permission(error)
    return None if permission is None else f"grant {role_with(permission)} to the account of the connection"


def missing_permission(error: BaseException) -> str | None:
    """Return the permission whose lack is an error of Google's, such as `bigquery.jobs.create`; None if it is none."""
    text = str(error)
    named = re.search(_PERMISSION, text)
    return named[0] if named and re.search(_DENIED, text) else None


def role_with(permission: str) -> str:
    """Return the role that has a permission of those that the bundle needs."""
    beginnings = [beginning for beginning in GOOGLE_ROLES if permission.startswith(beginning)]
    return GOOGLE_ROLES[max(beginnings, key=len)]


def of_web(error: BaseException) -> Fault:
    """What an error of the HTTP client on the way to a source means."""
    return _by_words(_WEB_WORDS, str(error)) or _WEB_BROKEN


def of_lake(error: BaseException) -> Fault:
    """What an error of a file system or of a bucket means."""
    if advice := _granted(error):
        return Fault(SetUpError, advice)
    if _is_a(error, "GoogleAuthError"):
        return _LAKE_BROKEN if _is_a(error, "TransportError") else BUCKET_STATUSES[401]
    if _is_a(error, "FileNotFoundError"):
        return ERRNOS[errno.ENOENT]
    if (fault := ERRNOS.get(getattr(error, "errno", None) or 0)) is not None:
        return fault
    code = getattr(error, "code", None)
    if str(code).isdecimal() and (fault := BUCKET_STATUSES.get(int(str(code)))):
        return fault
    return _by_words(_BUCKET_WORDS, str(error)) or _by_words(_WEB_WORDS, str(error)) or _LAKE_BROKEN


def of_s3(error: BaseException) -> Fault:
    """What an error of a client of S3 means."""
    for kind in type(error).__mro__:
        if (fault := S3_NAMES.get(kind.__name__)) is not None:
            return fault
    answer = getattr(error, "response", None) or {}
    code = str(answer.get("Error", {}).get("Code"))
    status = str(answer.get("ResponseMetadata", {}).get("HTTPStatusCode"))
    return S3_CODES.get(code) or S3_CODES.get(status) or _by_words(_WEB_WORDS, str(error)) or _S3_BUSY


_BY_PACKAGE = {
    "psycopg": of_postgres,
    "google": of_google,
    "requests": of_google,
    "urllib3": of_google,
    "httpx": of_web,
    "httpcore": of_web,
    "gcsfs": of_lake,
    "aiohttp": of_lake,
    "fsspec": of_lake,
    "botocore": of_s3,
    "boto3": of_s3,
}


def of(error: BaseException) -> Fault | None:
    """What any error of a server, a driver or a file system means; None for one of another kind."""
    if isinstance(error, MemoryError):  # Arrow's too, whatever it was about to read
        return MEMORY
    for kind in type(error).__mro__:
        package = kind.__module__.partition(".")[0]
        if package in _BY_PACKAGE:
            return _BY_PACKAGE[package](error)
        if package == "pyarrow":
            return Fault(DamagedFile)
    if isinstance(error, OSError | EOFError):  # TimeoutError and ConnectionError too
        return of_lake(error)
    return None


def said(error: BaseException) -> str:
    """What an error says, in one line of some length, with every URL in it as it may be shown."""
    line = " ".join(str(error).split()) or type(error).__name__
    return re.sub(_URL, lambda url: shown(url[0]), line)[:_LONGEST]


@contextmanager
def told(what: str) -> Iterator[None]:
    """Let no error out of this block but ours, and those that say of themselves that a value or the code is wrong."""
    try:
        yield
    except TaxiError:
        raise
    except Exception as error:
        fault = of(error)
        if fault is None:
            raise
        raise fault.tell(what, error) from error


def _is_a(error: BaseException, name: str) -> bool:
    return any(kind.__name__ == name for kind in type(error).__mro__)


def _by_words(rows: tuple[tuple[str, Fault], ...], text: str) -> Fault | None:
    return next((fault for words, fault in rows if re.search(words, text)), None)
