"""bucket: what Google Cloud Storage may answer, lose or forget while the lake is in a bucket."""

from __future__ import annotations

from typing import TYPE_CHECKING

from devtools.faults.fault import RIGHT, Fault
from devtools.faults.months import FILE
from devtools.faults.points import BETWEEN_MOVES, DOWNLOADED, LANDED, READING, STAGED
from devtools.faults.proxies import Rule
from include.nyc_taxi.lake import data_key, rejects_key

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from devtools.faults.scene import Scene

_KIND = "bucket"
_STORAGE = "STORAGE_EMULATOR_HOST"
_REQUESTS = {
    "an upload": ("POST", r"/upload/"),
    "a rewrite": ("POST", r"/rewriteTo/"),
    "a read": ("GET", r"alt=media|/download/"),
    "a look": ("GET", r"/o/[^?]*$|/o\?"),
    "a delete": ("DELETE", r"/o/"),
}
_TRANSIENT = (429, 500, 503)


def faults() -> Iterator[Fault]:
    """List the faults of this kind."""
    yield from _answers()
    yield from _refusals()
    yield from _deletions()


def _answers() -> Iterator[Fault]:
    for name, (method, path) in _REQUESTS.items():
        for status in _TRANSIENT:
            yield _fault(
                f"HTTP {status} to {name}",
                f"The bucket answers HTTP {status} to {name}, once.",
                _rules(Rule(method, path, status)),
                is_short=(status, name) == (503, "a rewrite"),
            )
        yield _fault(
            f"a lost answer to {name}", f"The bucket does {name}, and its answer is lost.", _rules(Rule(method, path))
        )
    yield _fault(
        "HTTP 412 to a rewrite",
        "A precondition fails though nobody has changed the object.",
        _rules(Rule("POST", r"/rewriteTo/", 412, "conditionNotMet")),
    )


def _refusals() -> Iterator[Fault]:
    for name in ("an upload", "a rewrite"):
        method, path = _REQUESTS[name]
        yield _fault(
            f"HTTP 403 to {name}",
            f"The account may not do {name}.",
            _rules(Rule(method, path, 403, "forbidden", times=20)),
            "SetUpError",
        )
        yield _fault(
            f"HTTP 401 to {name}",
            f"The credentials for {name} are refused.",
            _rules(Rule(method, path, 401, "authError", times=20)),
            "SetUpError",
        )


def _deletions() -> Iterator[Fault]:
    for zone, key in (("data", data_key(FILE)), ("rejects", rejects_key(FILE))):
        yield _fault(
            f"{zone} deleted after landing",
            f"Somebody deletes the month's object in {zone}/ after landing.",
            _deleted(LANDED, key),
            RIGHT,
            "NotInLake",
            "LakeChanged",
        )
    for point in (DOWNLOADED, STAGED, BETWEEN_MOVES):
        yield _fault(
            f"emptied {point}",
            f"Somebody empties the bucket {point}.",
            _emptied(point),
            RIGHT,
            "NotInLake",
            "LakeChanged",
        )
    yield _fault(
        "data deleted before it is read",
        "Somebody deletes the month's object in data/ when the load begins to read.",
        _deleted(READING, data_key(FILE)),
        RIGHT,
        "NotInLake",
        "LakeChanged",
    )


def _fault(name: str, what: str, do: Callable[[Scene], object], *expects: str, is_short: bool = False) -> Fault:
    return Fault(
        _KIND, f"bucket: {name}", what, do, expects or (RIGHT,), target="bigquery", in_bucket=True, is_short=is_short
    )


def _rules(rule: Rule) -> Callable[[Scene], object]:
    def do(scene: Scene) -> None:
        scene.front_end(
            _STORAGE,
            Rule(rule.method, rule.path, rule.status, rule.reason, times=rule.times),
            is_exhausted=rule.times == 1,
        )

    return do


def _deleted(point: str, key: str) -> Callable[[Scene], object]:
    def do(scene: Scene) -> None:
        scene.is_lake_read = False
        scene.at(point, lambda _: scene.lake().delete(key))

    return do


def _emptied(point: str) -> Callable[[Scene], object]:
    def do(scene: Scene) -> None:
        scene.is_lake_read = False
        scene.at(point, lambda _: _empty(scene))

    return do


def _empty(scene: Scene) -> None:
    lake = scene.lake()
    for zone in ("raw", "data", "rejects", ".staging"):
        for key in lake.listed(zone):
            lake.delete(key)
