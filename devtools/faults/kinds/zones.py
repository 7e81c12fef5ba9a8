"""zones: faults on the way of the taxi zones, which come as a file of names and an archive of shapes."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from devtools.faults.fault import RIGHT, Fault
from devtools.faults.months import NOTHING, Held, zones
from devtools.faults.tasks import FETCH_ZONES, LOAD_ZONES
from devtools.generator import zone_files
from devtools.servers import misbehaving as web
from include.nyc_taxi import zones as core

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from devtools.faults.months import Edition
    from devtools.faults.scene import Scene

_KIND = "zones"
_SHAPES = f"/{core.SHAPES}"


def faults() -> Iterator[Fault]:
    """List the faults of this kind."""
    yield _fault(
        "HTTP 503 once",
        "The first answer is HTTP 503.",
        lambda scene: scene.publisher.faults.append(web.Fault(status=503)),
    )
    yield _fault("cut", "The first file is cut.", lambda scene: scene.publisher.faults.append(web.Fault(cut_at=1_000)))
    yield _fault("HTTP 404", "Both files are gone.", _gone, "NotPublished")
    for task in (FETCH_ZONES, LOAD_ZONES):
        for seconds in (0.05, 0.2, 0.35):
            yield _fault(
                f"killed in {task} after {seconds} s",
                f"SIGKILL {seconds} s after the task {task} has begun.",
                _killed(task, seconds),
                is_short=(task, seconds) == (LOAD_ZONES, 0.2),
            )
    for name, content, word in (
        ("a lookup that is a page", b"<html><body>Not here</body></html>", "DamagedFile"),
        ("an empty lookup", b"", "DamagedFile"),
        ("a lookup without rows", ",".join(zone_files.HEADER).encode() + b"\r\n", "SchemaMismatch"),
        ("a lookup without a zone", zone_files.lookup_bytes(zone_files.zone_rows()[:-5]), "SchemaMismatch"),
        (
            "a lookup with a zone twice",
            zone_files.lookup_bytes([*zone_files.zone_rows(), zone_files.zone_rows()[1]]),
            "SchemaMismatch",
        ),
    ):
        yield _fault(name, f"The publisher offers {name}.", _offered(content, None), word)
    for name, content, word in (
        ("shapes cut", zone_files.shapes_bytes()[:5_000], "DamagedFile"),
        ("shapes that are a page", b"<html><body>Not here</body></html>", "DamagedFile"),
        ("shapes without a polygon", zone_files.shapes_bytes(zone_files.zone_polygons()[:-1]), "SchemaMismatch"),
        ("shapes without a projection", zone_files.shapes_bytes(leave_out=("prj",)), "SchemaMismatch"),
        ("shapes in degrees", zone_files.shapes_bytes(prj="GEOGCS"), "SchemaMismatch"),
    ):
        yield _fault(name, f"The publisher offers {name}.", _offered(None, content), word)
    yield _fault("a view in the way", "A view has the table's name.", _view, "WarehouseRefused")
    yield _fault("two loads at once", "Another run begins with this one.", _together)


def _fault(name: str, what: str, do: Callable[[Scene], object], *expects: str, is_short: bool = False) -> Fault:
    return Fault(_KIND, f"zones: {name}", what, do, expects or (RIGHT,), target="zones", is_short=is_short)


def _gone(scene: Scene) -> None:
    files = dict(scene.publisher.files)
    scene.publisher.files = {}
    scene.afterwards(lambda: setattr(scene.publisher, "files", files))


def _killed(task: str, seconds: float) -> Callable[[Scene], object]:
    return lambda scene: scene.after(task, seconds, lambda running: running.kill())


def _offered(lookup: bytes | None, shapes: bytes | None) -> Callable[[Scene], object]:
    def do(scene: Scene) -> None:
        right = zones(2)
        beside = right.beside if shapes is None else {_SHAPES: shapes}
        wrong: Edition = replace(right, content=right.content if lookup is None else lookup, beside=beside)
        scene.publisher.files.update(wrong.files)
        scene.afterwards(lambda: scene.publish(2))

    return do


def _view(scene: Scene) -> None:
    scene.seen_too |= {NOTHING, Held(1, 1.0, 1.0)}
    scene.query("DROP TABLE taxi_zones CASCADE; CREATE VIEW taxi_zones AS SELECT 'Borough 1' AS borough")
    scene.afterwards(lambda: scene.query("DROP VIEW taxi_zones"))


def _together(scene: Scene) -> None:
    scene.beside(lambda: scene.run_beside(scene.wanted))
