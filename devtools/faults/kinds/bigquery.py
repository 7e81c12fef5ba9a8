"""bigquery: what BigQuery may answer, lose or forget while a month is on its way into it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from devtools.faults.fault import RIGHT, Fault
from devtools.faults.ground import cloud_processes, kill_tree
from devtools.faults.months import FILE, NOTHING
from devtools.faults.points import BEFORE_UPLOAD, COUNTED, LANDED, LOADED, LOOKED
from devtools.faults.proxies import Rule
from include.nyc_taxi.targets.bigquery import BigQuery

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from devtools.faults.scene import Scene

_KIND = "bigquery"
_SERVER = "BIGQUERY_EMULATOR_HOST"
_UPLOAD, _JOB, _QUERY, _TABLE, _DATASET = (
    ("POST|PUT", r"/upload/"),
    ("GET", r"/jobs/"),
    ("POST", r"/queries"),
    ("POST|GET", r"/tables"),
    ("POST", r"/datasets$|/datasets\?"),
)
_REQUESTS = {
    "an upload": _UPLOAD,
    "a look at a job": _JOB,
    "a query": _QUERY,
    "a request for a table": _TABLE,
    "a request for the dataset": _DATASET,
}
_ANSWERS = {
    "HTTP 503": (503, "backendError"),
    "HTTP 500": (500, "backendError"),
    "a rate limit": (403, "rateLimitExceeded"),
    "HTTP 502": (502, "backendError"),
}
_TOO_LATE = (
    "the load has counted its rows and looks at them no more. The run ends well, and the next run finds that they are "
    "gone and loads them again"
)
_REFUSED = {
    "a used-up quota": (403, "quotaExceeded", "WarehouseBusy"),
    "a missing right": (403, "accessDenied", "WarehouseRefused"),
    "no credentials": (401, "authError", "WarehouseRefused"),
    "no billing": (403, "billingNotEnabled", "WarehouseRefused"),
    "a bad request": (400, "invalid", "WarehouseRefused"),
}


def faults() -> Iterator[Fault]:
    """List the faults of this kind."""
    for name, (method, path) in _REQUESTS.items():
        for answer, (status, reason) in _ANSWERS.items():
            yield _fault(
                f"{answer} to {name}",
                f"BigQuery answers {answer} to {name}, once.",
                _rule(method, path, status, reason),
                is_short=(answer, name) == ("HTTP 503", "a query"),
            )
        yield _fault(
            f"a lost answer to {name}",
            f"BigQuery does {name}, and its answer is lost.",
            _rule(method, path, None, ""),
            is_short=name == "an upload",
        )
    for answer, (status, reason, word) in _REFUSED.items():
        for name in ("an upload", "a request for the dataset"):
            method, path = _REQUESTS[name]
            yield _fault(
                f"{answer} for {name}",
                f"BigQuery refuses {name}: {answer}.",
                _for_good(method, path, status, reason),
                word,
            )
    yield from _changed()
    yield _fault(
        "killed before the upload", "The server is killed before the upload, and comes back.", _killed(BEFORE_UPLOAD)
    )
    yield _fault(
        "killed between load job and count", "The server is killed after the load job, and comes back.", _killed(LOADED)
    )


def _fault(name: str, what: str, do: Callable[[Scene], object], *expects: str, is_short: bool = False) -> Fault:
    return Fault(_KIND, f"bigquery: {name}", what, do, expects or (RIGHT,), target="bigquery", is_short=is_short)


def _rule(method: str, path: str, status: int | None, reason: str) -> Callable[[Scene], object]:
    return lambda scene: scene.front_end(_SERVER, Rule(method, path, status, reason))


def _for_good(method: str, path: str, status: int, reason: str) -> Callable[[Scene], object]:
    return lambda scene: scene.front_end(_SERVER, Rule(method, path, status, reason, times=1_000), is_exhausted=False)


def _changed() -> Iterator[Fault]:
    for point in (LANDED, LOOKED, BEFORE_UPLOAD, LOADED, COUNTED):
        for what in _DELETING:
            name, do = f"{what} deleted {point}", _delete(point, what)
            is_missed = point == COUNTED and what in ("table", "rows")
            yield replace(
                _fault(name, f"Somebody deletes the {what} {point}.", do), not_survived=_TOO_LATE if is_missed else ""
            )


def _delete(point: str, what: str) -> Callable[[Scene], object]:
    def do(scene: Scene) -> None:
        scene.seen_too.add(NOTHING)
        scene.at(point, lambda _: _DELETING[what](scene))

    return do


def _table(scene: Scene) -> None:
    with scene.bigquery() as client:
        client.delete_table(BigQuery().default_table(FILE.service, scene.name).reference(client), not_found_ok=True)


def _dataset(scene: Scene) -> None:
    with scene.bigquery() as client:
        client.delete_dataset(scene.name, delete_contents=True, not_found_ok=True)


def _rows(scene: Scene) -> None:
    with scene.bigquery() as client:
        table = BigQuery().default_table(FILE.service, scene.name)
        client.query_and_wait(f"DELETE FROM {table} WHERE true")


def _ledger(scene: Scene) -> None:
    with scene.bigquery() as client:
        client.delete_table(f"{client.project}.{scene.name}.load_ledger", not_found_ok=True)


_DELETING = {"table": _table, "dataset": _dataset, "rows": _rows, "ledger": _ledger}


def _killed(point: str) -> Callable[[Scene], object]:
    def do(scene: Scene) -> None:
        cloud = scene.use_mortal_cloud()
        scene.settle()

        def kill(_: object) -> None:
            for pid in cloud_processes(cloud):
                kill_tree(pid)
            scene.cloud_is_back()

        scene.at(point, kill)

    return do
