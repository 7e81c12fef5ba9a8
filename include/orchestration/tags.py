"""Tags: the words by which DAGs are found in the web UI."""

from __future__ import annotations

from enum import StrEnum


class Tag(StrEnum):
    """Every tag that a DAG of this bundle may have."""

    TLC = "nyc-tlc"
    NOTES = "from-the-notes"
    DEPLOYMENT = "deployment"
    WEB = "source:web"
    FROM_LAKE = "source:lake"
    LAKE = "target:lake"
    BIGQUERY = "target:bigquery"
    POSTGRES = "target:postgres"
