"""concurrency: runs that are held up while another brings a newer edition, and runs at the same time."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from devtools.faults.fault import RIGHT, Fault
from devtools.faults.flow import wait_until_stopped
from devtools.faults.kinds.processes import at
from devtools.faults.points import (
    BEFORE_UPLOAD,
    BETWEEN_MOVES,
    DOWNLOADED,
    IN_DOWNLOAD,
    LANDED,
    LOOKED,
    READING,
    STAGED,
)
from devtools.faults.scene import FLOWS, check
from devtools.faults.targets import WAYS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from devtools.faults.flow import Ended, Running
    from devtools.faults.scene import Scene

_KIND = "concurrency"


def faults() -> Iterator[Fault]:
    """List the faults of this kind."""
    yield from _held_up()
    yield from _at_once()


def _held_up() -> Iterator[Fault]:
    for target, way in WAYS.items():
        for point in (IN_DOWNLOAD, *way.points) if way.points else ():
            yield Fault(
                _KIND,
                f"overtaken {point}, into {target}",
                f"Another run brings edition 3 while this one, with edition 2, is held up {point}.",
                _overtaken_while_held(point) if point in way.holding else _overtaken(point),
                target=target,
                is_short=point in (LANDED, BETWEEN_MOVES),
            )
    for point, target in (
        (STAGED, "postgres"),
        (LOOKED, "postgres"),
        (BEFORE_UPLOAD, "bigquery"),
        (DOWNLOADED, "lake"),
        (READING, "duckdb"),
    ):
        yield Fault(
            _KIND,
            f"asleep {point}, into {target}",
            f"SIGSTOP {point}; another run brings edition 3; SIGCONT.",
            _asleep(point),
            target=target,
        )


def _at_once() -> Iterator[Fault]:
    for target in FLOWS:
        yield Fault(
            _KIND,
            f"two runs at once, into {target}",
            "Another run of the same edition begins with this one.",
            _together(1),
            target=target,
        )
    yield Fault(
        _KIND,
        "six runs at once, into postgres",
        "Five other runs of the same edition begin with this one.",
        _together(5),
    )
    yield Fault(
        _KIND,
        "a forced run at the same time",
        "Another run with `force` begins with this one.",
        _together(1, force=True),
        (RIGHT,),
    )
    yield Fault(
        _KIND,
        "asked for earlier, run later",
        "This run was asked for a day ago, and another one today.",
        _asked_earlier,
    )


def _other(scene: Scene, number: int) -> Ended:
    """Have another run bring an edition."""
    scene.publish(number)
    scene.expected = number
    return scene.run_cleanly()


def _overtaken(point: str) -> Callable[[Scene], object]:
    return lambda scene: at(scene, point, lambda _: check(_other(scene, 3)))


def _overtaken_while_held(point: str) -> Callable[[Scene], object]:
    """The other run waits for the month's lock, and goes on when this one has ended."""

    def do(scene: Scene) -> None:
        def begin(_: Running) -> None:
            scene.publish(3)
            scene.beside(scene.run_cleanly)
            scene.before_judging(lambda: setattr(scene, "expected", 3))
            scene.pause(1.0)

        at(scene, point, begin)

    return do


def _asleep(point: str) -> Callable[[Scene], object]:
    def do(scene: Scene) -> None:
        def sleep(running: Running) -> None:
            running.stop()
            wait_until_stopped(running)
            check(_other(scene, 3))
            running.wake()

        at(scene, point, sleep)

    return do


def _together(others: int, *, force: bool = False) -> Callable[[Scene], object]:
    def do(scene: Scene) -> None:
        wanted = replace(scene.wanted, force=force)
        scene.beside(*[lambda: scene.run_beside(wanted)] * others)

    return do


def _asked_earlier(scene: Scene) -> None:
    scene.wanted = replace(scene.wanted, asked_at=(datetime.now(UTC) - timedelta(days=1)).isoformat())
    scene.at(LANDED, lambda _: check(scene.run_cleanly(asked_at=datetime.now(UTC).isoformat())))
