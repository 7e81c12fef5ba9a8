"""eras: find the era whose columns a file has, and the canonical column of each of its columns."""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING, Literal

from include.nyc_taxi.errors import SchemaMismatch

if TYPE_CHECKING:
    from include.nyc_taxi.catalog import Column, Era, Service
    from include.nyc_taxi.month import Month
    from include.nyc_taxi.reading.published import PublishedFile

log = logging.getLogger(__name__)

UnknownColumns = Literal["error", "drop"]

# Columns that pandas, polars, R and readr add by themselves when they write a file again: the numbers of its rows.
_INDEX = re.compile(r"|unnamed: \d+(\.\d+)?|__index_level_\d+__|index|level_\d+|\.\.\.\d+", re.IGNORECASE)
_MOST_NAMES_SHOWN = 40


def era_of(published: PublishedFile, service: Service, era: Era) -> Era:
    """Return the era if the file has its columns, else the nearest era whose columns it has, with a warning."""
    others = [other for eras in service.eras.values() for other in eras]
    others.sort(key=lambda other: (other.source != era.source, abs(other.since.first_day - era.since.first_day)))
    names = _without_index(published.names)
    fitting = next((other for other in (era, *others) if not any(_difference(names, service, other))), era)
    if fitting is not era:
        log.warning(
            "%s: has the columns of era %s, not of %s: reading it as %s",
            published.name,
            fitting.name,
            era.name,
            fitting.name,
        )
    return fitting


def columns_of(
    published: PublishedFile, service: Service, era: Era, month: Month, unknown_columns: UnknownColumns
) -> dict[str, Column]:
    """Return the canonical column of every known column of the file, by its published name.

    Raises:
        SchemaMismatch: a column is missing, unknown (unless `unknown_columns` is drop) or there twice.
    """
    names, file_name = _without_index(published.names), published.name
    known = {name: column for name in names if (column := service.column_published_as(name, era)) is not None}
    extra, missing = _difference(names, service, era)
    if missing or (extra and unknown_columns == "error"):
        raise SchemaMismatch(
            f"{file_name}: its columns are not those of era {era.name}: extra {_shown(extra)}, "
            f"missing {_shown(missing)}. unknown_columns=drop drops extra columns."
            + (_additions(published, service, era, month, extra) if known else "")
        )
    if len(set(known.values())) < len(known) or len(set(names)) < len(names):
        raise SchemaMismatch(f"{file_name}: two of its columns have the same meaning: {_shown(names)}")
    if index := [name for name in published.names if _is_index(name)]:
        log.info("%s: dropped index columns %s: they number the rows", file_name, index)
    if unknown := [name for name in extra if name not in known]:
        log.warning("%s: dropped unknown columns %s", file_name, _shown(unknown))
    return known


def _difference(names: list[str], service: Service, era: Era) -> tuple[list[str], list[str]]:
    """Return the names that the era does not have, and the names of the era that are missing."""
    expected = {service.column_published_as(name, era): name for name in era.columns}
    found = {service.column_published_as(name, era) for name in names}
    extra = [
        name for name in names if service.column_published_as(name, era) not in expected and name not in era.ignored
    ]
    return extra, [name for column, name in expected.items() if column not in found]


def _additions(published: PublishedFile, service: Service, era: Era, month: Month, extra: list[str]) -> str:
    """Return what to add to the catalogue, if that makes the file readable."""
    from include.nyc_taxi.catalog.additions import rows_to_add, why_not_readable

    names = _without_index(published.names)
    unknown = {name: published.type_of(name) for name in extra if service.column_published_as(name) is None}
    if len(unknown) > _MOST_NAMES_SHOWN:
        return " It has too many unknown columns to be a new schema of the publisher."
    rows = rows_to_add(service, era, month, names, unknown)
    if reason := why_not_readable(service, era, month, names, rows):
        return f" No new rows of the catalogue make it readable: {reason}."
    return (
        " If this is a new schema of the publisher, add these rows in include/nyc_taxi/catalog; "
        f"for a column that was only renamed, add the new name to its published_as instead.\n{rows}"
    )


def _is_index(name: str) -> bool:
    return _INDEX.fullmatch(name.strip()) is not None


def _without_index(names: list[str]) -> list[str]:
    return [name for name in names if not _is_index(name)]


def _shown(names: list[str]) -> str:
    """Return a list of names for a message, in short if it is long."""
    if len(names) <= _MOST_NAMES_SHOWN:
        return str(names)
    return f"{names[:_MOST_NAMES_SHOWN]} and {len(names) - _MOST_NAMES_SHOWN:,} more"
