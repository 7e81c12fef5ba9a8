"""catalog_docs: print the catalogue.

python -m devtools.catalog_docs [LAST_MONTH]     every published file up to a month, with its era
python -m devtools.catalog_docs --markdown       docs/catalog.md
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from include.nyc_taxi import Month, TripFile, catalog

if TYPE_CHECKING:
    from collections.abc import Iterator

    from include.nyc_taxi.catalog import Column, Era, Service

LAST_KNOWN = "2026-08"


def file_lines(last: Month) -> Iterator[str]:
    """Give a line for each file that a source has published: the source, the path under its base URL, and the era."""
    for service in catalog.services().values():
        for source, eras in service.eras.items():
            for month in Month.range(eras[0].since, min(last, service.last.get(source, last))):
                path = catalog.source(source).path_of(TripFile(service.name, month))
                yield f"{source:12} {path:50} {service.era(source, month).name}"


def markdown() -> str:
    """Return docs/catalog.md: the traits, columns and eras of each service."""
    return "\n".join(
        [
            "# The catalogue",
            "",
            "Generated from `include/nyc_taxi/catalog/*.toml` by `make catalog`; a test checks that it is up to date.",
            *(line for service in catalog.services().values() for line in _service_lines(service)),
            "",
        ]
    )


def _service_lines(service: Service) -> Iterator[str]:
    yield from ["", f"## {service.name}", "", f"{service.description} {_traits(service)}", ""]
    yield from ["| column | type | description | codes |", "|---|---|---|---|"]
    for column in service.columns:
        yield f"| `{column.name}` | {column.type} | {column.description} | {_codes(column)} |"
    for source, eras in service.eras.items():
        yield from ["", f"### {service.name} from {source}", ""]
        yield from ["| months | published columns → canonical columns |", "|---|---|"]
        ends = [str(later.since - 1) for later in eras[1:]] + [str(service.last.get(source, "today"))]
        for era, end in zip(eras, ends, strict=True):
            yield f"| {era.since} to {end} | {_columns(service, era)} |"


def _traits(service: Service) -> str:
    meter = "They have meters" if service.has_meter else "They have no meters"
    charge = f"the whole amount charged is `{service.charge}`" if service.charge else "no amount is published"
    return f"{meter}; {charge}."


def _columns(service: Service, era: Era) -> str:
    def becomes(published: str) -> str:
        column = service.column_published_as(published, era)
        canonical = "?" if column is None else column.name
        return published if published == canonical else f"{published} → {canonical}"

    notes = [
        f"{era.padding} empty fields at the end of each row" if era.padding else "",
        "words in place of codes" if era.worded else "",
        f"encoded as {era.encoding}" if era.encoding != "utf8" else "",
        f"ignored: {', '.join(era.ignored)}" if era.ignored else "",
    ]
    return "; ".join([", ".join(map(becomes, era.columns)), *filter(None, notes)])


def _codes(column: Column) -> str:
    return ", ".join(f"{word or 'blank'} = {value or 'null'}" for word, value in column.codes.items())


if __name__ == "__main__":
    if sys.argv[1:] == ["--markdown"]:
        print(markdown(), end="")
    else:
        print("\n".join(file_lines(Month.parse((sys.argv[1:] or [LAST_KNOWN])[0]))))
