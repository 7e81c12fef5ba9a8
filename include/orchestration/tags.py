"""tags: the words that people filter Dags by in the web UI."""

from __future__ import annotations

from enum import StrEnum

from include.nyc_taxi import targets


class Tag(StrEnum):
    """The tags that do not name a target."""

    FLOW = "flow"
    TLC = "nyc-tlc"
    NOTES = "from-the-notes"
    DEPLOYMENT = "deployment"
    WEB = "source:web"
    FROM_LAKE = "source:lake"


def target_tag(name: str) -> str:
    """Return the tag of a target, by its name."""
    return f"target:{targets.get(name).name}"


LAKE = target_tag(targets.the_lake().name)
EVERY_TARGET = [target_tag(target.name) for target in targets.every()]
WITH_ZONES = [target_tag(target.name) for target in targets.with_zones()]
KNOWN = frozenset({*Tag, *EVERY_TARGET})
