"""facts: what the lake knows of its files, as tables: the ledger of months in place, and the editions."""

from __future__ import annotations

import json
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from include.nyc_taxi.editions import Edition
from include.nyc_taxi.lake import data_key
from include.nyc_taxi.lake_views.statements import Statement, statement
from include.nyc_taxi.targets.ledger import FIELDS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from include.nyc_taxi.lake import Lake, MonthInLake

_TYPES = {"text": "VARCHAR", "integer": "BIGINT", "number": "DOUBLE", "counts": "JSON", "moment": "TIMESTAMPTZ"}
_LEDGER = {field.name: _TYPES[field.type] for field in FIELDS} | {"loaded_at": "TIMESTAMPTZ"}
_OF_EDITION = {"number": "BIGINT", "bytes": "BIGINT", "rows": "BIGINT", "rejected": "JSON", "changes": "JSON"} | {
    "is_held_back": "BOOLEAN",
    "is_kept": "BOOLEAN",
    "first_seen": "TIMESTAMPTZ",
    "last_seen": "TIMESTAMPTZ",
}
_EDITIONS = {"service": "VARCHAR", "month": "VARCHAR"} | {
    field.name: _OF_EDITION.get(field.name, "VARCHAR") for field in fields(Edition)
}


def ledger(table: str, lake: Lake, months: Sequence[MonthInLake]) -> Statement:
    """The table of the months in place, with the columns of every target's ledger."""
    return _table(table, _LEDGER, [_ledger_row(lake, month) for month in months])


def editions(table: str, histories: Mapping[tuple[str, str, str], bytes]) -> Statement:
    """The table of the published states of each file."""
    rows = [
        {"source": source, "service": service, "month": month} | edition
        for (source, service, month), history in sorted(histories.items())
        for edition in json.loads(history).get("editions", [])
    ]
    return _table(table, _EDITIONS, rows)


def _ledger_row(lake: Lake, month: MonthInLake) -> dict[str, Any]:
    return dict(month.description) | {
        "service": month.file.service,
        "month": str(month.file.month),
        "target": "lake",
        "target_table": lake.url(data_key(month.file)),
        "rows_loaded": month.description["rows_accepted"],
        "loaded_at": month.accepted.changed_at.isoformat(),
    }


def _table(table: str, types: Mapping[str, str], rows: Iterable[Mapping[str, Any]]) -> Statement:
    """A table of rows, given as JSON in one statement: a row at a time takes a second for a thousand."""
    structure = [{name: "JSON" if type_ == "JSON" else "VARCHAR" for name, type_ in types.items()}]
    columns = ", ".join(f'CAST("{name}" AS {type_}) AS "{name}"' for name, type_ in types.items())
    given = [{name: row.get(name) for name in types} for row in rows]
    return statement("create_facts", view=table, columns=columns), {
        "rows": json.dumps(given),
        "structure": json.dumps(structure),
    }
