"""additions: suggest the catalogue rows for an unknown schema, for a person to add."""

from __future__ import annotations

import json
import re
import tomllib
from dataclasses import replace
from textwrap import wrap
from typing import TYPE_CHECKING, Any

from include.nyc_taxi import catalog
from include.nyc_taxi.errors import PermanentError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from include.nyc_taxi.catalog import Column, Era, Service
    from include.nyc_taxi.month import Month

_LINE = 118
_LONGEST_NAME = 63  # in Postgres
_PLAIN_NAME = re.compile(r"\w+", re.ASCII)
_RESERVED = ("file_month", "reason", "misfit", "index")
_HEADINGS = ("To services.toml", "To columns.toml")
_TO_SERVICES = re.compile(r'To columns\.toml, in services of (\w+): "(\w+)"')


def rows_to_add(service: Service, era: Era, since: Month, names: Sequence[str], extra: Mapping[str, str]) -> str:
    """Suggest what to add to services.toml and columns.toml, so that files with these columns are an era of their own.

    Args:
        service: the service of the files.
        era: the era that the catalogue has for the month.
        since: the first month of the new era.
        names: the column names of the files, in their order.
        extra: the names that the catalogue does not know, with their types as the catalogue writes them.
    """
    rows = [f"To services.toml, below the eras of {service.name}:", _era_row(era, since, names)]
    taken = {name.lower() for column in catalog.columns() for name in column.names} | set(_RESERVED)
    for name, type_ in extra.items():
        known = next((column for column in catalog.columns() if column.is_published_as(name)), None)
        if known is None:
            rows += ["To columns.toml:", _column_row(name, type_, service, taken)]
        else:
            rows.append(f'To columns.toml, in services of {known.name}: "{service.name}"')
    return "\n".join(rows)


def why_not_readable(service: Service, era: Era, since: Month, names: Sequence[str], rows: str) -> str | None:
    """Add suggested rows to a copy of the service, and return why that does not read the file; None if it does."""
    try:
        suggested = tomllib.loads("\n".join(line for line in rows.splitlines() if not line.startswith(_HEADINGS)))
        columns = [catalog.column_of(row) for row in suggested.get("column", [])]
        shared = [column for column in catalog.columns() if (column.name, service.name) in _TO_SERVICES.findall(rows)]
        new_era = catalog.era_of(suggested["service"]["era"][0])
        added = replace(service, columns=(*service.columns, *columns, *shared), eras={era.source: (new_era,)})
        found = [added.column_published_as(name, new_era) for name in names if name not in new_era.ignored]
        chosen = added.era(era.source, since)
    except (ValueError, KeyError, PermanentError) as error:
        return str(error)
    if list(new_era.columns) != [name.strip() for name in names] or chosen is not new_era:
        return "the catalogue cannot spell their names"
    if unknown := [name for name, column in zip(names, found, strict=False) if column is None]:
        return f"columns {unknown} would still be unknown"
    if len(set(found)) < len(found):
        return "two of its columns have the same meaning"
    wrong = [column.name for column in columns if not _is_a_name(column)]
    return f"{wrong} cannot be names of columns" if wrong else None


def _is_a_name(column: Column) -> bool:
    return _PLAIN_NAME.fullmatch(column.name) is not None and len(column.name) <= _LONGEST_NAME


def _era_row(era: Era, since: Month, names: Sequence[str]) -> str:
    special = {"padding": era.padding, "worded": era.worded, "ignored": era.ignored, "renamed": dict(era.renamed)}
    if era.encoding != "utf8":
        special["encoding"] = era.encoding
    values = {"source": era.source, "since": str(since)} | {key: value for key, value in special.items() if value}
    stripped = [name.strip() for name in names]
    if not all(map(_PLAIN_NAME.fullmatch, stripped)):
        return "\n".join(["[[service.era]]", *_lines(values | {"columns": stripped})])
    columns = wrap(" ".join(stripped), _LINE, break_long_words=False, break_on_hyphens=False)
    return "\n".join(["[[service.era]]", *_lines(values), 'columns = """', *columns, '"""'])


def _column_row(name: str, type_: str, service: Service, taken: set[str]) -> str:
    values = {
        "name": _canonical_name(name, taken),
        "type": type_,
        "description": "What it means, and its unit.",
        "services": [service.name],
        "published_as": [name.strip()],
    }
    return "\n".join(["[[column]]", *_lines(values)])


def _canonical_name(name: str, taken: set[str]) -> str:
    """Return a name for a column that every target can have and that no other column has, and note it as taken."""
    wanted = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")[: _LONGEST_NAME - 3]
    wanted = wanted if wanted[:1].isalpha() else f"column_{wanted}".rstrip("_")
    number, found = 1, wanted
    while found in taken:
        number += 1
        found = f"{wanted}_{number}"
    taken.add(found)
    return found


def _lines(values: Mapping[str, Any]) -> list[str]:
    return [f"{key} = {_toml(value)}" for key, value in values.items()]


def _toml(value: object) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{_toml(key)} = {_toml(word)}" for key, word in value.items()) + " }"
    # TOML has no surrogates, and wants DEL to be escaped.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
