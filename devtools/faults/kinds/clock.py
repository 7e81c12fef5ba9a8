"""clock: tasks whose machine has a wrong clock, and times in files that are wrong."""

from __future__ import annotations

import os
from dataclasses import replace
from datetime import timedelta
from time import time
from typing import TYPE_CHECKING

from devtools.faults.fault import RIGHT, Fault
from devtools.faults.months import PATH, edition
from devtools.faults.points import LANDED, STAGED, STAGING
from devtools.servers import misbehaving as web

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from devtools.faults.scene import Scene

_KIND = "clock"
_OFF = {
    "a minute behind": timedelta(minutes=-1),
    "a day behind": timedelta(days=-1),
    "ten years behind": timedelta(days=-3650),
    "a minute ahead": timedelta(minutes=1),
    "two days ahead": timedelta(days=2),
    "ten years ahead": timedelta(days=3650),
}
_DAY_SECONDS = 86_400


def faults() -> Iterator[Fault]:
    """List the faults of this kind."""
    for name, off in _OFF.items():
        for target in ("postgres", "bigquery"):
            yield Fault(
                _KIND,
                f"a clock {name}, into {target}",
                f"The clock of the tasks is {name}.",
                _off(off),
                target=target,
                is_short=(name, target) == ("a day behind", "postgres"),
            )
    yield _fault(
        "a clock that is set back between two tasks",
        "The clock goes back by a day when the file has landed.",
        _set_back,
    )
    yield _fault(
        "a cache that was checked in the future",
        "The last check of the publisher was by a clock a year ahead; the run takes a cached file that is a day old.",
        _checked_in_the_future,
    )
    yield _fault(
        "old staged files", "Another machine finds the staged files two days old, and deletes what it may.", _aged
    )
    yield _fault(
        "a publisher whose date goes back",
        "The new edition has an older Last-Modified than the old one, so that the old one stays.",
        _republished_as_older,
    )
    yield _fault(
        "a publisher whose date stands still",
        "The new edition has the Last-Modified of the old one.",
        _republished_at_the_same_time,
    )


def _fault(name: str, what: str, do: Callable[[Scene], object]) -> Fault:
    return Fault(_KIND, name, what, do, (RIGHT,))


def _off(off: timedelta) -> Callable[[Scene], object]:
    return lambda scene: scene.limit(clock_is_off_by=off.total_seconds())


def _set_back(scene: Scene) -> None:
    scene.at(LANDED, lambda _: None)
    scene.at(STAGED, lambda _: scene.limit(clock_is_off_by=-float(_DAY_SECONDS)))


def _checked_in_the_future(scene: Scene) -> None:
    scene.publish(1)
    before = scene.conditions
    scene.conditions = replace(before, clock_is_off_by=365.0 * _DAY_SECONDS)
    scene.run_cleanly()
    scene.conditions = before
    scene.publish(2)
    scene.wanted = replace(scene.wanted, cache_ttl_seconds=float(_DAY_SECONDS))
    scene.afterwards(lambda: setattr(scene, "wanted", replace(scene.wanted, cache_ttl_seconds=0.0)))


def _aged(scene: Scene) -> None:
    def age(_: object) -> None:
        old = time() - 2 * _DAY_SECONDS
        for path in (scene.lake_folder / ".staging").rglob("*"):
            os.utime(path, (old, old))
        scene.publish(2)
        scene.run_cleanly()

    scene.at(STAGING, age)


def _published(scene: Scene, number: int, changed: str) -> None:
    found = edition(number)
    scene.offered[number] = found
    scene.publisher.files[PATH] = web.Published(found.content, f'"{number}"', changed)


def _republished_as_older(scene: Scene) -> None:
    _published(scene, 2, "Sun, 01 Jan 2023 00:00:00 GMT")
    scene.expected = 1


def _republished_at_the_same_time(scene: Scene) -> None:
    _published(scene, 2, edition(1).published.last_modified or "")
