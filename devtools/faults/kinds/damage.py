"""damage: published files of which bytes are missing, others or of another format."""

from __future__ import annotations

import gzip
import io
import zipfile
from typing import TYPE_CHECKING

from devtools.faults.fault import Fault
from devtools.faults.months import edition
from devtools.faults.points import DOWNLOADED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from devtools.faults.scene import Scene

_KIND = "damage"
_HTML = b"<!DOCTYPE html>\n<html><head><title>Error</title></head><body>Not here</body></html>"
_XML = b'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>AccessDenied</Code></Error>'
_LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935c943f9e0ff69d22e\nsize 12345\n"
_CSV = b"VendorID,lpep_pickup_datetime\n2,2024-01-05 08:30:01\n"


def _footer(whole: bytes) -> int:
    return int.from_bytes(whole[-8:-4], "little")


def _zipped(whole: bytes) -> bytes:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("trips.parquet", whole)
    return archive.getvalue()


_OTHERS: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda _: b"",
    "of one byte": lambda _: b"P",
    "of its magic alone": lambda _: b"PAR1PAR1",
    "of zeros": lambda whole: bytes(len(whole)),
    "an HTML page": lambda _: _HTML,
    "an XML error": lambda _: _XML,
    "a JSON error": lambda _: b'{"error": {"code": 404}}',
    "a Git LFS pointer": lambda _: _LFS,
    "CSV": lambda _: _CSV,
    "gzipped": gzip.compress,
    "gzipped twice": lambda whole: gzip.compress(gzip.compress(whole)),
    "zipped": _zipped,
    "text of spaces": lambda _: b" " * 1_000,
}
_CUTS: dict[str, Callable[[bytes], bytes]] = {
    "without its last byte": lambda whole: whole[:-1],
    "without its first byte": lambda whole: whole[1:],
    "without its second half": lambda whole: whole[: len(whole) // 2],
    "without its footer": lambda whole: whole[: -8 - _footer(whole)],
    "with a byte too many": lambda whole: whole + b"\0",
    "with a line too many": lambda whole: whole + b"\r\n",
    "twice in one file, cut": lambda whole: whole + whole[:-9],
    "with a hole": lambda whole: whole[:50_000] + bytes(10_000) + whole[60_000:],
    "without 1,000 bytes in the middle": lambda whole: whole[:50_000] + whole[51_000:],
    "with line ends of Windows": lambda whole: whole.replace(b"\n", b"\r\n"),
    "read as Latin-1 and written as UTF-8": lambda whole: whole.decode("latin-1").encode(),
}
_FLIPS: dict[str, Callable[[bytes], int]] = {
    "its magic": lambda _: 0,
    "a page header": lambda _: 5,
    "the start of the footer": lambda whole: len(whole) - 8 - _footer(whole),
    "the middle of the footer": lambda whole: len(whole) - 8 - _footer(whole) // 2,
    "the length of the footer": lambda whole: len(whole) - 8,
    "its last magic": lambda whole: len(whole) - 1,
}


def faults() -> Iterator[Fault]:
    """List the faults of this kind."""
    for name, damage in (_OTHERS | _CUTS).items():
        yield _fault(
            f"a file {name}",
            f"The publisher's file is {name}.",
            _offered(damage),
            "DamagedFile",
            is_short=name == "without its second half",
        )
    for name, place in _FLIPS.items():
        yield _fault(
            f"a file with a flipped bit in {name}",
            f"A bit of the publisher's file is flipped in {name}.",
            _offered(_flip(place)),
            "DamagedFile",
            "SchemaMismatch",
            "CountMismatch",
        )
    for name, damage in (
        ("cut", _CUTS["without its second half"]),
        ("flipped", _flip(lambda whole: len(whole) // 2)),
        ("empty", _OTHERS["empty"]),
    ):
        yield _fault(
            f"a file in raw/ that is {name} after the download",
            f"The file in raw/ is {name} before it is read.",
            _damaged_in_raw(damage),
            "DamagedFile",
            "NotInLake",
        )


def _fault(name: str, what: str, do: Callable[[Scene], object], *expects: str, is_short: bool = False) -> Fault:
    return Fault(_KIND, name, what, do, expects, is_short=is_short)


def _offered(damage: Callable[[bytes], bytes]) -> Callable[[Scene], object]:
    return lambda scene: scene.offer_what_nobody_should_load(damage(edition(2).content))


def _damaged_in_raw(damage: Callable[[bytes], bytes]) -> Callable[[Scene], object]:
    def do(scene: Scene) -> None:
        def spoil(_: object) -> None:
            [path] = (scene.lake_folder / "raw").rglob(f"*{edition(2).sha256[:16]}*")
            path.write_bytes(damage(path.read_bytes()))

        scene.at(DOWNLOADED, spoil)

    return do


def _flip(place: Callable[[bytes], int]) -> Callable[[bytes], bytes]:
    def damage(whole: bytes) -> bytes:
        at = place(whole)
        return whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :]

    return damage
