"""lake: what may happen to a lake in a folder: full, read-only, removed, on several disks, damaged."""

from __future__ import annotations

import fcntl
import shutil
from typing import TYPE_CHECKING

from devtools.faults import damage
from devtools.faults.disks import make_read_only, mount, small_disk
from devtools.faults.fault import RIGHT, Fault
from devtools.faults.months import FILE, NOTHING
from devtools.faults.points import BETWEEN_MOVES, DOWNLOADED, LANDED, STAGED, STAGING
from include.nyc_taxi.lake import data_key, rejects_key
from include.nyc_taxi.lake.keys import STAGING as STAGING_ZONE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from devtools.faults.scene import Scene

_KIND = "lake"
_POINTS = (DOWNLOADED, STAGING, STAGED, BETWEEN_MOVES, LANDED)
_ZONES = ("raw", "data", "rejects", STAGING_ZONE)
_FULL = (300, 700, 1_000, 1_300, 1_700)
_FILE_KILOBYTES = 550
_LIMITS = (4_096, 100_000, 300_000, 500_000)


def faults() -> Iterator[Fault]:
    """List the faults of this kind."""
    yield from _full()
    yield from _removed()
    yield from _in_the_way()
    yield from _several_disks()
    yield from _damaged()


def _fault(
    name: str,
    what: str,
    do: Callable[[Scene], object],
    *expects: str,
    target: str = "postgres",
    begins_empty: bool = False,
    is_short: bool = False,
) -> Fault:
    return Fault(
        _KIND,
        f"lake {name}",
        what,
        do,
        expects or (RIGHT,),
        target=target,
        begins_empty=begins_empty,
        is_short=is_short,
    )


def _full() -> Iterator[Fault]:
    for kilobytes in _FULL:
        yield _fault(
            f"on a disk of {kilobytes} kB",
            f"The lake's disk has {kilobytes} kB, and the file {_FILE_KILOBYTES}.",
            _on_small_disk(kilobytes),
            "LakeUnavailable",
            *([RIGHT] if kilobytes > 3 * _FILE_KILOBYTES // 2 else []),
            begins_empty=True,
            is_short=kilobytes == _FULL[1],
        )
    for size in _LIMITS:
        yield _fault(
            f"where files end at {size:,} bytes",
            f"No file may be larger than {size:,} bytes.",
            _with_files_of(size),
            "LakeUnavailable",
        )
    yield _fault("on a full disk that is freed", "The disk is full until the second try.", _freed, begins_empty=True)


def _on_small_disk(kilobytes: int) -> Callable[[Scene], object]:
    return lambda scene: scene.move_lake(small_disk(scene, "disk", kilobytes=kilobytes) / "lake")


def _with_files_of(size: int) -> Callable[[Scene], object]:
    return lambda scene: scene.limit(largest_file_bytes=size)


def _freed(scene: Scene) -> None:
    disk = small_disk(scene, "disk", kilobytes=3_000)
    scene.move_lake(disk / "lake")
    filler = disk / "filler"
    filler.write_bytes(bytes(2_700_000))
    scene.before_retry(lambda: filler.unlink(missing_ok=True))
    scene.afterwards(lambda: filler.unlink(missing_ok=True))


def _removed() -> Iterator[Fault]:
    for point in _POINTS:
        yield _fault(
            f"removed {point}",
            f"Somebody removes the whole lake {point}.",
            _remove(point, "."),
            RIGHT,
            "NotInLake",
            "LakeChanged",
        )
    for zone in _ZONES:
        yield _fault(
            f"without {zone} after landing",
            f"Somebody removes {zone}/ of the lake after landing.",
            _remove(LANDED, zone),
            RIGHT,
            "NotInLake",
            "LakeChanged",
        )
    yield _fault(
        "without staged files",
        "Somebody removes .staging/ between stage and commit.",
        _remove_before_commit,
        target="lake",
    )


def _remove(point: str, zone: str) -> Callable[[Scene], object]:
    def do(scene: Scene) -> None:
        scene.seen_in_lake_too.add(NOTHING)
        scene.at(point, lambda _: shutil.rmtree(scene.lake_folder / zone, ignore_errors=True))

    return do


def _remove_before_commit(scene: Scene) -> None:
    scene.at(STAGED, lambda _: shutil.rmtree(scene.lake_folder / STAGING_ZONE, ignore_errors=True))


def _in_the_way() -> Iterator[Fault]:
    for zone in _ZONES:
        yield _fault(
            f"with a file in place of {zone}/",
            f"A file has the name {zone}.",
            _file_in_place_of(zone),
            "SetUpError",
            "LakeChanged",
            begins_empty=True,
        )
    yield _fault(
        "with a folder in place of the month",
        "A folder has the name of the month's file.",
        _folder_in_place_of_month,
        "SetUpError",
        "LakeChanged",
        "LakeUnavailable",
        begins_empty=True,
    )
    yield _fault(
        "read-only",
        "The lake's disk is mounted read-only.",
        _read_only(None),
        "SetUpError",
        begins_empty=True,
        is_short=True,
    )
    for point in (DOWNLOADED, LANDED):
        expects = (RIGHT,) if point == LANDED else ("SetUpError",)
        yield _fault(
            f"read-only {point}",
            f"The lake's disk becomes read-only {point}.",
            _read_only(point),
            *expects,
            begins_empty=True,
        )
    yield _fault(
        "locked by a process that stands still",
        "Another process holds the lock of the month's file.",
        _locked,
        RIGHT,
        "LakeUnavailable",
    )


def _file_in_place_of(zone: str) -> Callable[[Scene], object]:
    def do(scene: Scene) -> None:
        scene.lake_folder.mkdir()
        (scene.lake_folder / zone).write_text("in the way")
        scene.afterwards((scene.lake_folder / zone).unlink)

    return do


def _folder_in_place_of_month(scene: Scene) -> None:
    scene.is_lake_read = False
    folder = scene.lake_folder / data_key(FILE)
    (folder / "x").mkdir(parents=True)
    scene.afterwards(lambda: shutil.rmtree(folder))


def _read_only(point: str | None) -> Callable[[Scene], object]:
    def do(scene: Scene) -> None:
        disk = small_disk(scene, "disk", kilobytes=20_000)
        if point is None:
            scene.move_lake(disk / "lake")
            make_read_only(disk)
        else:
            scene.move_lake(disk / "lake")
            scene.at(point, lambda _: make_read_only(disk))

    return do


def _locked(scene: Scene) -> None:
    lock = scene.lake_folder / ".locks" / data_key(FILE).replace("/", "~")
    lock.parent.mkdir(exist_ok=True)
    file = lock.open("a")
    fcntl.flock(file, fcntl.LOCK_EX)
    scene.afterwards(file.close)


def _several_disks() -> Iterator[Fault]:
    for zone in ("data", "rejects", STAGING_ZONE):
        yield _fault(
            f"with {zone}/ on another disk",
            f"{zone}/ is a disk of its own.",
            _on_another_disk(zone, 20_000),
            begins_empty=True,
        )
    yield _fault(
        "with rejects/ on a full disk",
        "rejects/ is a disk of its own that is full.",
        _on_another_disk("rejects", 4),
        "LakeUnavailable",
        begins_empty=True,
    )
    yield _fault(
        "with data/ on a full disk",
        "data/ is a disk of its own that is full.",
        _on_another_disk("data", 4),
        "LakeUnavailable",
        begins_empty=True,
    )


def _on_another_disk(zone: str, kilobytes: int) -> Callable[[Scene], object]:
    def do(scene: Scene) -> None:
        folder = scene.lake_folder / zone
        folder.mkdir(parents=True)
        scene.seen_in_lake_too.add(NOTHING)
        mount(scene, folder, kilobytes=kilobytes)

    return do


def _damaged() -> Iterator[Fault]:
    for kind in damage.KINDS:
        yield _fault(
            f"damaged in data/: {kind}",
            f"A byte of the month's file in data/ flips after landing: {kind}.",
            _flip(kind, data_key(FILE)),
            is_short=kind == damage.KINDS[2],
        )
    yield _fault(
        "with half a file in data/",
        "The month's file in data/ loses its second half after landing.",
        _halve(data_key(FILE)),
    )
    yield _fault(
        "with an empty file in data/",
        "The month's file in data/ becomes empty after landing.",
        _halve(data_key(FILE), keep=0),
    )
    yield _fault(
        "with an empty file in rejects/",
        "The file in rejects/ becomes empty after landing.",
        _halve(rejects_key(FILE), keep=0),
    )


def _flip(kind: str, key: str) -> Callable[[Scene], object]:
    def do(scene: Scene) -> None:
        def flip(_: object) -> None:
            path = scene.lake_folder / key
            whole = path.read_bytes()
            path.write_bytes(damage.flipped(whole, damage.places(whole)[kind]))

        scene.is_lake_read = False
        scene.at(LANDED, flip)

    return do


def _halve(key: str, keep: int | None = None) -> Callable[[Scene], object]:
    def do(scene: Scene) -> None:
        def halve(_: object) -> None:
            path = scene.lake_folder / key
            content = path.read_bytes()
            path.write_bytes(content[: len(content) // 2 if keep is None else keep])

        scene.is_lake_read = False
        scene.at(LANDED, halve)

    return do
