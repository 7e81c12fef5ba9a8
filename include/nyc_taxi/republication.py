"""republication: what a landing finds out about an edition that follows another: did it shrink, what did it change."""

from __future__ import annotations

import logging
from dataclasses import asdict, replace
from typing import TYPE_CHECKING

from include.nyc_taxi import editions
from include.nyc_taxi.errors import ShrunkenEdition, TaxiError
from include.nyc_taxi.lake import raw_key

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from include.nyc_taxi.changes import Changes
    from include.nyc_taxi.editions import Edition
    from include.nyc_taxi.lake import Lake
    from include.nyc_taxi.trip_file import TripFile

log = logging.getLogger(__name__)

_SMALLEST_SHARE = 0.9


def note_rows(
    lake: Lake,
    file: TripFile,
    edition: Edition,
    *,
    rows: int,
    rejected: Mapping[str, int],
    is_named: bool,
    earlier: Mapping[str, int],
) -> None:
    """Keep the rows of an edition with what is known of it, and hold it back if it shrank by more than a tenth.

    Args:
        lake: the lake that has the edition.
        file: the service and month.
        edition: the edition that was read.
        rows: its rows.
        rejected: its rejected rows by reason.
        is_named: whether somebody asked for it by name, which accepts it.
        earlier: rows of editions by their sha256, of what is in data/; for lakes that did not keep them.

    Raises:
        ShrunkenEdition: it is held back.
    """
    key = raw_key(file, edition.source)
    known = editions.history(lake, key)
    before = known.before(edition)
    old = (before.rows or earlier.get(before.sha256)) if before else None
    is_accepted = is_named or edition.is_held_back is False
    shrank = old is not None and rows < _SMALLEST_SHARE * old and not is_accepted
    if edition.rows != rows or edition.rejected != rejected or shrank:
        facts = {"is_held_back": True} if shrank else {}
        editions.describe(lake, key, edition.sha256, rows=rows, rejected=dict(rejected), **facts)
    if before is not None and before.rows is None and old is not None:
        editions.describe(lake, key, before.sha256, rows=old)
    if shrank:
        raise ShrunkenEdition(f"{file}: {editions.shrunken(editions.history(lake, key), replace(edition, rows=rows))}")


def compare_with_previous(lake: Lake, file: TripFile, edition: Edition, raw: Path) -> Changes | None:
    """Compare an edition with the one that it follows, once, and keep the result with what is known of it.

    `raw` is a local file with its bytes. Returns None if it is the first edition, or the bytes of the one before are
    not kept or cannot be read; a comparison never fails a landing.
    """
    key = raw_key(file, edition.source)
    known = editions.history(lake, key)
    before = known.before(edition)
    if before is None or edition.changes is not None or not before.is_kept or lake.size(before.key) is None:
        return None
    from include.nyc_taxi.changes import compare

    try:
        with lake.local(before.key) as old:
            changes = compare(file, old, raw, before=before.id, after=edition.id, source=edition.source)
    except (TaxiError, OSError) as error:
        log.warning("%s: edition %s cannot be compared with %s: %s", file, edition.id, before.id, error)
        return None
    editions.describe(lake, key, edition.sha256, changes=asdict(changes))
    log.info("%s was republished: %s", file, changes)
    return changes
