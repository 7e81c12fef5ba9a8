"""processes: tasks that are killed, ended, stopped or short of memory, at every point and at random moments."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

from devtools.faults.fault import RIGHT, Fault
from devtools.faults.flow import wait_until_stopped
from devtools.faults.months import large
from devtools.faults.points import BETWEEN_MOVES, COUNTED, IN_COPY, IN_DOWNLOAD, LOOKED, STAGING, SWAPPED, WRITTEN
from devtools.faults.scene import FLOWS
from devtools.faults.targets import WAYS
from devtools.faults.tasks import LAND, LOAD, STAGE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from devtools.faults.flow import Running
    from devtools.faults.scene import Scene

_KIND = "processes"
_LONGEST_SECONDS = 0.6
_MEGABYTE = 1 << 20


def faults() -> Iterator[Fault]:
    """List the faults of this kind."""
    for target, way in WAYS.items():
        for point in (IN_DOWNLOAD, *way.points) if way.points else ():
            yield Fault(
                _KIND,
                f"killed {point}, into {target}",
                f"SIGKILL {point}.",
                _at(point, lambda running: running.kill()),
                target=target,
                is_short=point in (BETWEEN_MOVES, SWAPPED, COUNTED, WRITTEN),
            )
    yield from _at_random()
    yield from _ended_and_stopped()
    yield from _short_of_memory()


def at(scene: Scene, point: str, deed: Callable[[Running], object]) -> None:
    """Do something at a point, also at the one in a download, which is on the publisher's side."""
    if point != IN_DOWNLOAD:
        scene.at(point, deed)
        return
    scene.in_download(deed)


def _at(point: str, deed: Callable[[Running], object]) -> Callable[[Scene], object]:
    return lambda scene: at(scene, point, deed)


def _at_random() -> Iterator[Fault]:
    for target, tasks in FLOWS.items():
        for task in tasks:
            for turn in (1, 2) if task in (LAND, STAGE, LOAD) else (1,):
                yield Fault(
                    _KIND,
                    f"killed at a random moment in {task}, into {target}, {turn}",
                    f"SIGKILL at a random moment of the task {task}.",
                    _killed_in(task),
                    target=target,
                )


def _killed_in(task: str) -> Callable[[Scene], object]:
    return lambda scene: scene.after(task, scene.random.uniform(0.0, _LONGEST_SECONDS), lambda running: running.kill())


def _ended_and_stopped() -> Iterator[Fault]:
    for point in (STAGING, BETWEEN_MOVES, IN_COPY):
        yield Fault(_KIND, f"ended {point}", f"SIGTERM {point}.", _at(point, _end), is_short=point == IN_COPY)
    for point in (STAGING, LOOKED, IN_COPY):
        yield Fault(
            _KIND, f"stopped {point}", f"The process stands still for a second {point}.", _at(point, _stop_for(1.0))
        )
    yield Fault(
        _KIND,
        "stopped for long between swap and commit",
        "The process stands still for 12 seconds while its locks keep readers waiting.",
        _at(SWAPPED, _stop_for(12.0)),
    )


def _end(running: Running) -> None:
    running.kill(signal.SIGTERM)


def _stop_for(seconds: float) -> Callable[[Running], object]:
    def stop(running: Running) -> None:
        running.stop()
        wait_until_stopped(running)
        running.wake_after(seconds)

    return stop


def _short_of_memory() -> Iterator[Fault]:
    for megabytes in (2, 10, 20, 40):
        yield Fault(
            _KIND,
            f"{megabytes} MB more memory and no further",
            f"No process gets more than {megabytes} MB beyond what it begins with, for a file of 400,000 rows.",
            _limited_to(megabytes * _MEGABYTE),
            (RIGHT, "OutOfMemory"),
        )


def _limited_to(size: int) -> Callable[[Scene], object]:
    def do(scene: Scene) -> None:
        scene.offer(large(2))
        scene.limit(more_memory_bytes=size)

    return do
