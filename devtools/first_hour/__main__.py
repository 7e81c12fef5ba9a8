"""Do what a new user does in the first hour, and write down what each command prints. Needs git, make and Chromium.

    python -m devtools.first_hour --write docs/first-hour.md

It takes about half an hour. `--folder` keeps the clones and what was printed, so that a part can be done again.
"""

from __future__ import annotations

import argparse
import json
import shutil
import signal
import sys
import tempfile
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from devtools.first_hour import published, rows, tour, transcript
from devtools.first_hour.row import Done
from devtools.first_hour.user import HOST, User
from devtools.servers.web import Web

if TYPE_CHECKING:
    from collections.abc import Sequence

    from devtools.first_hour.row import Row


def main() -> None:
    """Type every row; exit with 1 if one did not end as expected."""
    options = _options()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # `make ui` must end too
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job and its children ignore it
    folder = options.folder or Path(tempfile.mkdtemp(prefix="first hour "))
    folder.mkdir(exist_ok=True)
    folder.chmod(0o711)  # the server of Postgres may be another user
    done = _read(folder)
    try:
        published.write(folder / "web")
        with Web(folder / "web", published.HOSTS, certificate=folder / "web.pem") as web:
            user = User(folder, web.environment)
            user.arrive()
            chosen = [row for row in _chosen(options) if not (options.missing and _is_well(row, done))]
            is_seen = options.missing and all(stop.name in done and not done[stop.name].code for stop in tour.STOPS)
            _type_all(user, chosen, done, None if is_seen else options.images)
    finally:
        if options.folder is None:
            shutil.rmtree(folder)
    if options.write:
        options.write.write_text(transcript.page(done), encoding="utf-8")
    sys.exit(any(done[row.id].problems(row) for row in _chosen(options) if row.id in done))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="devtools.first_hour", description="Do what a new user does first.")
    parser.add_argument("--write", type=Path, help="the page to write, such as docs/first-hour.md")
    parser.add_argument("--images", type=Path, help="the folder for the pictures (default: no tour)")
    parser.add_argument("--folder", type=Path, help="keep the clones here, and use those that are there")
    parser.add_argument(
        "--part", choices=[*rows.PARTS, "none"], action="append", help="only this part; may be repeated"
    )
    parser.add_argument("--only", default="", help="only the commands that contain this text")
    parser.add_argument("--missing", action="store_true", help="only what is not in the folder as expected")
    return parser.parse_args()


def _chosen(options: argparse.Namespace) -> list[Row]:
    parts = options.part or list(rows.PARTS)
    return [row for part, typed in rows.PARTS.items() if part in parts for row in typed if options.only in row.id]


def _is_well(row: Row, done: dict[str, Done]) -> bool:
    return row.id in done and not done[row.id].problems(row)


def _type_all(user: User, chosen: Sequence[Row], done: dict[str, Done], images: Path | None) -> None:
    """Type the rows in order, but those that need `make ui` after the first part, all beside one."""
    start = [row for row in chosen if row in rows.START]
    beside = [row for row in chosen if row.beside_ui]
    alone = [row for row in chosen if row not in start and not row.beside_ui]
    _type(user, start, done)
    with user.ui() if beside or images else nullcontext() as ui:
        if ui:
            _keep(user.folder, done, transcript.UI, ui)
        _type(user, beside, done)
        if images:
            _look(user, images, done)
    _type(user, alone, done)


def _type(user: User, chosen: Sequence[Row], done: dict[str, Done]) -> None:
    for row in chosen:
        outcome = user.type(row)
        _keep(user.folder, done, row.id, outcome)
        problems = "; ".join(outcome.problems(row)) or "as expected"
        print(
            f"{outcome.seconds:5.0f} s  {row.command}\n         {outcome.line(row)[:200]}\n         {problems}",
            flush=True,
        )


def _look(user: User, images: Path, done: dict[str, Done]) -> None:
    url = f"http://{HOST}:{user.port}"
    for name, wrong in tour.take(url, "admin", user.password, images, str(user.folder)).items():
        _keep(user.folder, done, name, Done(bool(wrong), user.hide(wrong), 0))
        print(f"{name}: {wrong or 'as expected'}", flush=True)


def _keep(folder: Path, done: dict[str, Done], name: str, outcome: Done) -> None:
    done[name] = outcome
    (folder / "done.json").write_text(json.dumps(done))


def _read(folder: Path) -> dict[str, Done]:
    """Return what was printed in the folder before."""
    path = folder / "done.json"
    return {name: Done(*values) for name, values in json.loads(path.read_text()).items()} if path.exists() else {}


if __name__ == "__main__":
    main()
