"""network: connections that are cut, slow, refused or swallowed, between a task and every server."""

from __future__ import annotations

from threading import Timer
from typing import TYPE_CHECKING

from devtools.faults.fault import RIGHT, Fault
from devtools.faults.points import IN_COPY, LANDED, LOOKED, SWAPPED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from devtools.faults.proxies import Network
    from devtools.faults.scene import Scene

_KIND = "network"
_BYTES = (10, 300, 1_000, 3_000, 10_000, 100_000, 500_000, 1_500_000)
_WAYS: dict[str, Callable[[Scene], Network]] = {
    "Postgres": lambda scene: scene.network_to_warehouse(),
    "the publisher": lambda scene: scene.network_to_publisher(),
}


def faults() -> Iterator[Fault]:
    """List the faults of this kind."""
    for way, open_ in _WAYS.items():
        for size in _BYTES:
            yield _fault(
                f"to {way} cut after {size:,} bytes",
                f"The first connections to {way} end after {size:,} bytes.",
                _cut(open_, size),
                is_short=size == _BYTES[5],
            )
        yield _fault(f"to {way} slow", f"Every packet to and from {way} takes 20 ms.", _slow(open_))
        yield _fault(
            f"to {way} down for the first try", f"No connection to {way} is taken at the first try.", _down(open_)
        )
        yield _fault(
            f"to {way} down for good",
            f"No connection to {way} is taken.",
            _refused(open_),
            "WarehouseBusy",
            "SourceUnavailable",
        )
    for point in (LANDED, LOOKED, IN_COPY, SWAPPED):
        yield _fault(
            f"to Postgres swallowed {point}",
            f"The network to Postgres swallows every packet {point}, and ends the connections after two seconds.",
            _swallowed(point),
        )
        yield _fault(f"to Postgres cut {point}", f"Every connection to Postgres ends {point}.", _cut_at(point))
    yield _fault(
        "to the publisher swallowed",
        "The network to the publisher swallows every packet of the first answer.",
        _swallowed_download,
    )


def _fault(name: str, what: str, do: Callable[[Scene], object], *expects: str, is_short: bool = False) -> Fault:
    return Fault(_KIND, f"network {name}", what, do, expects or (RIGHT,), is_short=is_short)


def _cut(open_: Callable[[Scene], Network], size: int) -> Callable[[Scene], object]:
    def do(scene: Scene) -> None:
        open_(scene).cuts.extend([size] * 2)

    return do


def _slow(open_: Callable[[Scene], Network]) -> Callable[[Scene], object]:
    return lambda scene: setattr(open_(scene), "delay_seconds", 0.02)


def _down(open_: Callable[[Scene], Network]) -> Callable[[Scene], object]:
    def do(scene: Scene) -> None:
        network = open_(scene)
        network.refuses = True
        scene.before_retry(lambda: setattr(network, "refuses", False))

    return do


def _refused(open_: Callable[[Scene], Network]) -> Callable[[Scene], object]:
    return lambda scene: setattr(open_(scene), "refuses", True)


def _swallowed(point: str) -> Callable[[Scene], object]:
    def do(scene: Scene) -> None:
        network = scene.network_to_warehouse()

        def swallow(_: object) -> None:
            network.swallows.set()
            Timer(2.0, network.end_swallowing).start()

        scene.at(point, swallow)

    return do


def _cut_at(point: str) -> Callable[[Scene], object]:
    def do(scene: Scene) -> None:
        network = scene.network_to_warehouse()
        scene.at(point, lambda _: network.cut_all())

    return do


def _swallowed_download(scene: Scene) -> None:
    network = scene.network_to_publisher()
    network.swallows.set()
    Timer(2.5, network.swallows.clear).start()
    scene.limit(stalled_seconds=0.5)
