"""editions: every published state of a file, in order, and which of them is current.

An edition is known by its bytes. raw/ keeps the bytes of each under a key of their own, and one small object per file,
`raw/.../{file}.editions.json`, keeps what is known of all of them. That object is only ever changed by compare and set,
so the order in it is one that no worker's clock decides.
"""

from __future__ import annotations

import json
import logging
import re
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

from include.nyc_taxi.errors import LakeChanged, NotPublished
from include.nyc_taxi.lake import edition_key, history_key
from include.nyc_taxi.order import Order, moment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from include.nyc_taxi.lake import Lake, Stamp

log = logging.getLogger(__name__)

_SHA = re.compile(r"[0-9a-f]{8,64}")
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_SHOWN_DIGITS = 8


@dataclass(frozen=True)
class Edition:
    """One published state of a file.

    `number` counts the states of the file as they were first seen, from 1; a state that comes back has a new number.
    `first_seen` and `last_seen` are when this lake first and last saw the publisher offer it, ISO 8601 in UTC. `rows`
    and `changes` are known once it was landed; `changes` compares it with the edition before it. `is_held_back` is
    true if it lost too many rows to be taken as current, and false once somebody has asked for it by name.
    """

    number: int
    sha256: str
    key: str
    source: str
    url: str
    etag: str | None
    last_modified: str | None
    bytes: int
    first_seen: str
    last_seen: str
    md5: str | None = None
    schema_era: str | None = None
    rows: int | None = None
    rejected: dict[str, int] | None = None
    changes: dict[str, Any] | None = None
    is_held_back: bool | None = None
    is_kept: bool = True

    @property
    def id(self) -> str:
        """The first 8 digits of its sha256, which name it for people."""
        return self.sha256[:_SHOWN_DIGITS]

    @property
    def order(self) -> Order:
        """Its place among the editions of its file."""
        return Order(self.url, self.last_modified, self.number)

    def follows(self, other: Edition | None) -> bool:
        """Whether the publisher has put this edition in the place of the other; of none, it has."""
        if other is None:
            return True
        return self.order.is_after(other.order)

    def __str__(self) -> str:
        return f"{self.id} (number {self.number}, last modified {self.last_modified or 'at an unknown time'})"


@dataclass(frozen=True)
class History:
    """The editions of one file of one source, in the order in which they were first seen.

    `checked_at` is when the publisher last confirmed which edition is current, ISO 8601 in UTC.
    """

    editions: tuple[Edition, ...] = ()
    checked_at: str | None = None

    @property
    def newest(self) -> Edition | None:
        """The edition that follows all others; None if none is known."""
        return _newest(self.editions)

    @property
    def current(self) -> Edition | None:
        """The newest edition that is not held back."""
        return _newest(edition for edition in self.editions if not edition.is_held_back)

    def is_current(self, sha256: str) -> bool:
        """Whether the current edition has these bytes."""
        return self.current is not None and self.current.sha256 == sha256

    def before(self, edition: Edition) -> Edition | None:
        """The edition in whose place the publisher has put this one; None if it is the first."""
        others = (each for each in self.editions if each.sha256 != edition.sha256 and not each.is_held_back)
        return _newest(other for other in others if edition.follows(other))

    def by_sha256(self, sha256: str) -> Edition | None:
        """The latest state with these bytes."""
        return next((edition for edition in reversed(self.editions) if edition.sha256 == sha256), None)

    def named(self, name: str) -> Edition:
        """The edition of a sha256, of its first 8 digits or more, or the one that was current on a date.

        Raises:
            ValueError: the name is none of these, or fits several editions.
            NotPublished: there is no such edition.
        """
        if _DATE.fullmatch(name):
            return self._as_of(date.fromisoformat(name))
        if not _SHA.fullmatch(name):
            raise ValueError(f"edition {name!r} is not a sha256, its first 8 digits or more, or a date YYYY-MM-DD")
        found = {edition.sha256: edition for edition in self.editions if edition.sha256.startswith(name)}
        if len(found) > 1:
            raise ValueError(f"edition {name!r} fits several editions: {sorted(found)}; give more digits")
        if not found:
            raise NotPublished(f"edition {name!r} is not known; known are {self._names()}")
        return next(iter(found.values()))

    def _as_of(self, day: date) -> Edition:
        seen = [edition for edition in self.editions if datetime.fromisoformat(edition.first_seen).date() <= day]
        found = _newest(edition for edition in seen if not edition.is_held_back)
        if found is None:
            raise NotPublished(f"edition of {day}: none was seen by then; known are {self._names()}")
        return found

    def _names(self) -> list[str]:
        return [f"{edition.id} of {edition.first_seen[:10]}" for edition in self.editions]


@dataclass(frozen=True)
class Seen:
    """A published state as a download found it, for `add`."""

    sha256: str
    source: str
    url: str
    etag: str | None
    last_modified: str | None
    bytes: int
    at: datetime
    after: int = 0
    """The number of the newest edition that was known when the publisher was asked."""
    schema_era: str | None = None
    md5: str | None = None


def history(lake: Lake, raw_key: str) -> History:
    """What is known of a file's editions. A lake of an earlier version has one: the bytes under the file's own key."""
    return _read(lake.read(history_key(raw_key))) or _of_earlier_version(lake, raw_key)


def add(lake: Lake, raw_key: str, path: Path, seen: Seen) -> Edition:
    """Keep a downloaded state of a file, and make it current unless a newer one is; returns it as it is known then.

    `path` is the file with its bytes, given by `lake.scratch`.

    Raises:
        LakeChanged: another run added an edition since the publisher was asked, and nothing tells which is newer.
    """
    present = history(lake, raw_key).by_sha256(seen.sha256)
    key = present.key if present else edition_key(raw_key, seen.sha256)
    lake.commit(path, key)  # also if it is there: its bytes may be damaged, or about to be pruned
    stamp = lake.stamp(key)
    seen = replace(seen, md5=stamp.md5 if stamp else None)
    after = _update(lake, raw_key, lambda known: _with(known, seen, key))
    edition = after.by_sha256(seen.sha256)
    assert edition is not None  # noqa: S101 - it was just put there
    return edition


def confirm(lake: Lake, raw_key: str, edition: Edition, at: datetime) -> History:
    """Note that the publisher still offers the edition, or that its bytes were seen to be whole."""

    def confirmed(known: History) -> History:
        held = known.by_sha256(edition.sha256)
        if held is None:
            return known
        seen = replace(held, last_seen=max(held.last_seen, at.isoformat()))
        is_newest = known.newest is not None and known.newest.sha256 == held.sha256
        return replace(_replaced(known, held, seen), checked_at=at.isoformat() if is_newest else known.checked_at)

    return _update(lake, raw_key, confirmed)


def describe(lake: Lake, raw_key: str, sha256: str, **facts: Any) -> None:  # noqa: ANN401 - fields of Edition
    """Add to what is known of an edition: `rows`, `changes`, `is_held_back`."""

    def described(known: History) -> History:
        held = known.by_sha256(sha256)
        return known if held is None else _replaced(known, held, replace(held, **facts))

    _update(lake, raw_key, described)


def set_aside(lake: Lake, raw_key: str, edition: Edition, state: Stamp | None) -> None:
    """Take damaged bytes of an edition out of raw/, so that the next run downloads them again.

    `state` is that of the object that was found damaged: one that another run has brought meanwhile stays.
    """
    try:
        where = lake.set_aside(edition.key, state)
    except (FileNotFoundError, LakeChanged):
        return
    _note_gone(lake, raw_key, edition.sha256, also_current=True)
    log.warning("%s: edition %s is damaged, moved to %s: the next run downloads it", edition.key, edition.id, where)


def shrunken(known: History, edition: Edition) -> str:
    """Say what is wrong with an edition that is held back, and how to accept it."""
    before = known.before(edition)
    rows, old = edition.rows or 0, before.rows if before else None
    share = f", {1 - rows / old:.0%} fewer than the {old:,} of edition {before.id}" if before and old else ""
    return f"edition {edition.id} has {rows:,} rows{share}: not loaded. To accept it, run with edition={edition.id}"


def prune(lake: Lake, raw_key: str, keep: int, *, dry_run: bool = False) -> list[Edition]:
    """Delete the bytes of all but the newest `keep` editions of a file; returns those that are freed.

    What is known of an edition stays. The current one is always kept, and those held back are not counted.

    Raises:
        ValueError: `keep` is less than 1.
    """
    if keep < 1:
        raise ValueError(f"keep={keep} editions: expected 1 or more")
    superfluous = _superfluous(history(lake, raw_key), keep)
    return [edition for edition in superfluous if dry_run or _free(lake, raw_key, edition)]


def _superfluous(known: History, keep: int) -> list[Edition]:
    kept: dict[str, Edition] = {}
    for edition in sorted(known.editions, key=lambda each: _rank(known, each), reverse=True):
        if edition.is_kept:
            kept.setdefault(edition.sha256, edition)
    return [edition for edition in list(kept.values())[keep:] if not known.is_current(edition.sha256)]


def _free(lake: Lake, raw_key: str, edition: Edition) -> bool:
    """Delete the bytes of an edition, unless they have become current again meanwhile."""
    state = lake.stamp(edition.key)
    if _note_gone(lake, raw_key, edition.sha256).is_current(edition.sha256):
        return False
    with suppress(LakeChanged):
        lake.delete(edition.key, state)
    return True


def _note_gone(lake: Lake, raw_key: str, sha256: str, *, also_current: bool = False) -> History:
    """Note that the bytes are no longer kept, of every state of the file that had them."""

    def noted(known: History) -> History:
        if known.is_current(sha256) and not also_current:
            return known
        gone = (replace(each, is_kept=False) if each.sha256 == sha256 else each for each in known.editions)
        return replace(known, editions=tuple(gone))

    return _update(lake, raw_key, noted)


def _update(lake: Lake, raw_key: str, change: Callable[[History], History]) -> History:
    def changed(present: bytes | None) -> bytes:
        return _spelled(change(_read(present) or _of_earlier_version(lake, raw_key)))

    return _read(lake.update(history_key(raw_key), changed)) or History()


def _with(known: History, seen: Seen, key: str) -> History:
    """The history with a state that was seen: a new edition, or another sight of one that is known."""
    at, newest = seen.at.isoformat(), known.newest
    held = known.by_sha256(seen.sha256)
    is_newest = held is not None and newest is not None and held.sha256 == newest.sha256
    if held is not None and (is_newest or _is_old_state(held, seen)):
        again = _replaced(known, held, _seen_again(held, seen, key))
        return replace(again, checked_at=at if is_newest else known.checked_at)
    edition = Edition(
        number=max((each.number for each in known.editions), default=0) + 1,
        sha256=seen.sha256,
        key=key,
        source=seen.source,
        url=seen.url,
        etag=seen.etag,
        last_modified=seen.last_modified,
        bytes=seen.bytes,
        first_seen=at,
        last_seen=at,
        md5=seen.md5,
        schema_era=seen.schema_era,
        rows=held.rows if held else None,
        rejected=held.rejected if held else None,
    )
    if newest is not None and newest.number > seen.after and not _are_dated(edition, newest):
        raise LakeChanged(f"{key}: another run has brought edition {newest} since this one asked the publisher")
    return History((*known.editions, edition), at if edition.follows(newest) else known.checked_at)


def _seen_again(held: Edition, seen: Seen, key: str) -> Edition:
    again = replace(held, url=seen.url, etag=seen.etag, last_modified=seen.last_modified)
    if _are_dated(held, again) and held.follows(replace(again, number=0)):
        again = held  # the publisher was asked before it published these bytes once more
    return replace(again, key=key, md5=seen.md5, last_seen=max(held.last_seen, seen.at.isoformat()), is_kept=True)


def _is_old_state(held: Edition, seen: Seen) -> bool:
    """Whether the publisher itself says that it offers what it had before, by an old Last-Modified."""
    return held.last_modified is not None and (held.url, held.last_modified) == (seen.url, seen.last_modified)


def _are_dated(one: Edition, other: Edition) -> bool:
    """Whether Last-Modified tells which of the two is newer."""
    dates = moment(one.last_modified), moment(other.last_modified)
    return one.url == other.url and None not in dates and dates[0] != dates[1]


def _replaced(known: History, old: Edition, new: Edition) -> History:
    return replace(known, editions=tuple(new if edition == old else edition for edition in known.editions))


def _newest(editions: Iterable[Edition]) -> Edition | None:
    newest: Edition | None = None
    for edition in editions:
        if edition.follows(newest):
            newest = edition
    return newest


def _rank(known: History, edition: Edition) -> int:
    return sum(edition.follows(other) for other in known.editions)


def _read(text: bytes | None) -> History | None:
    """The history that was written; None where there is none, or none that can be read."""
    try:
        known = json.loads(text or b"")
        return History(tuple(Edition(**edition) for edition in known["editions"]), known["checked_at"])
    except (ValueError, TypeError, KeyError):
        return None


def _spelled(known: History) -> bytes:
    current = known.current
    told = {"current": current and current.sha256, **asdict(known)}
    return (json.dumps(told, indent=1) + "\n").encode()


def _of_earlier_version(lake: Lake, raw_key: str) -> History:
    """The one edition of a lake that kept the newest bytes under the file's own key, with a manifest beside them."""
    try:
        manifest = json.loads(lake.read(f"{raw_key}.manifest.json") or b"")
        edition = Edition(
            number=1,
            sha256=manifest["sha256"],
            key=raw_key,
            source=manifest["source"],
            url=manifest["url"],
            etag=manifest["etag"],
            last_modified=manifest["last_modified"],
            bytes=manifest["bytes"],
            first_seen=_with_zone(manifest["fetched_at"]),
            last_seen=_with_zone(manifest["checked_at"]),
            schema_era=manifest.get("schema_era"),
        )
    except (ValueError, TypeError, KeyError):
        return History()
    return History((edition,), edition.last_seen) if lake.size(raw_key) == edition.bytes else History()


def _with_zone(text: str) -> str:
    moment = datetime.fromisoformat(text)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).isoformat()
