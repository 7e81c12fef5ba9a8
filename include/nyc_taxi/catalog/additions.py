"""additions: suggest the catalogue rows for an unknown schema, for a person to add."""

from __future__ import annotations

import json
import re
from textwrap import wrap
from typing import TYPE_CHECKING, Any

from include.nyc_taxi import catalog

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from include.nyc_taxi.catalog import Era, Service
    from include.nyc_taxi.month import Month

_LINE = 118


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
    for name, type_ in extra.items():
        known = next((column for column in catalog.columns() if column.is_published_as(name)), None)
        if known is None:
            rows += ["To columns.toml:", _column_row(name, type_, service)]
        else:
            rows.append(f'To columns.toml, in services of {known.name}: "{service.name}"')
    return "\n".join(rows)


def _era_row(era: Era, since: Month, names: Sequence[str]) -> str:
    special = {"padding": era.padding, "worded": era.worded, "ignored": era.ignored, "renamed": dict(era.renamed)}
    if era.encoding != "utf8":
        special["encoding"] = era.encoding
    values = {"source": era.source, "since": str(since)} | {key: value for key, value in special.items() if value}
    stripped = [name.strip() for name in names]
    if any(" " in name for name in stripped):
        return "\n".join(["[[service.era]]", *_lines(values | {"columns": stripped})])
    columns = wrap(" ".join(stripped), _LINE, break_long_words=False, break_on_hyphens=False)
    return "\n".join(["[[service.era]]", *_lines(values), 'columns = """', *columns, '"""'])


def _column_row(name: str, type_: str, service: Service) -> str:
    values = {
        "name": re.sub(r"\W+", "_", name.strip()).lower(),
        "type": type_,
        "description": "What it means, and its unit.",
        "services": [service.name],
        "published_as": [name.strip()],
    }
    return "\n".join(["[[column]]", *_lines(values)])


def _lines(values: Mapping[str, Any]) -> list[str]:
    return [f"{key} = {_toml(value)}" for key, value in values.items()]


def _toml(value: object) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{json.dumps(key)} = {json.dumps(word)}" for key, word in value.items()) + " }"
    return json.dumps(value)
