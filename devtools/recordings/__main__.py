"""Record `make demo` and a tour of the coverage page, into docs/images. The page needs Chromium.

    .venv/bin/python -m devtools.recordings
    .venv/bin/python -m devtools.recordings page --zones folder

The demo runs in a new clone of the last commit, with the packages that are installed here. The page's zones are
downloaded from the publisher; offline, `--zones` names a folder with its two files.
"""

from __future__ import annotations

import argparse
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from devtools.recordings import film, terminal, tour
from devtools.screenshots import IMAGES, ROOT, served

if TYPE_CHECKING:
    from collections.abc import Iterator

CALLER = ("HOME", "LANG", "PATH", "TERM")  # what the demo gets of the caller's environment
SOMEBODYS = "/home/you/nyc-taxi"  # shown in place of the clone's folder
MOST_BYTES = 1_500_000


def main() -> None:
    """Make the recordings."""
    parser = argparse.ArgumentParser(prog="devtools.recordings", description="Make the recordings of docs/images.")
    parser.add_argument("which", nargs="?", choices=["demo", "page"], help="one of them; default: both")
    parser.add_argument("--zones", type=Path, help="a folder with taxi_zone_lookup.csv and taxi_zones.zip")
    parser.add_argument("--into", type=Path, default=IMAGES, help="where to put them (default docs/images)")
    options = parser.parse_args()
    options.into.mkdir(parents=True, exist_ok=True)
    if options.which != "page":
        _write(options.into / "demo.svg", _demo().encode())
    if options.which != "demo":
        _write(options.into / "page.webp", _page(options.zones))


def _demo() -> str:
    with _fresh_clone() as clone:
        environment = {name: os.environ[name] for name in CALLER if name in os.environ}
        recorded = terminal.record(["make", "demo"], clone, environment)
    lines = [line._replace(text=line.text.replace(str(clone), SOMEBODYS)) for line in recorded]
    shown = "\n".join(line.text for line in lines)
    for private in (str(ROOT), str(Path.home()), socket.gethostname()):
        if private in shown:
            raise ValueError(f"the demo shows {private!r}, which is of this machine; expected it nowhere:\n{shown}")
    return terminal.animated("make demo", "after the installation", lines)


def _page(zone_files: Path | None) -> bytes:
    with served(zone_files) as (browser, url):
        return film.animated(browser, tour.take(browser, url))


def _write(path: Path, content: bytes) -> None:
    print(f"{path.name}: {len(content) / 1000:.0f} kB")
    if len(content) > MOST_BYTES:
        raise ValueError(f"{path.name} has {len(content):,} bytes; expected at most {MOST_BYTES:,}, as it is in git")
    path.write_bytes(content)


@contextmanager
def _fresh_clone() -> Iterator[Path]:
    (ROOT / ".local").mkdir(exist_ok=True)
    folder = Path(tempfile.mkdtemp(dir=ROOT / ".local"))
    folder.chmod(0o711)  # the embedded Postgres may be another user
    clone = folder / "nyc-taxi"
    try:
        subprocess.run(["git", "clone", "--quiet", ROOT, clone], check=True)  # noqa: S607 - the developer's git
        (clone / ".venv").symlink_to(sys.prefix)
        yield clone
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
