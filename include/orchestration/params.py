"""params: what a person can choose for a run, as the form of the web UI shows it and the API checks it."""

from __future__ import annotations

from airflow.sdk import Param

from include.nyc_taxi import catalog

FIRST_YEAR = 2009


def trip_file_params() -> dict[str, Param]:
    """Which file: its service (under the notes' name `colour`), its month and who publishes it."""
    section = "Which file"
    return {
        "colour": Param("yellow", title="Colour", enum=sorted(catalog.services()), section=section),
        "year": Param(
            None,
            type=["null", "integer"],
            minimum=FIRST_YEAR,
            maximum=9999,
            title="Year",
            description="Leave year and month empty to take the month of the run's partition key or logical date.",
            section=section,
        ),
        "month": Param(None, type=["null", "integer"], minimum=1, maximum=12, title="Month", section=section),
        "source": Param(
            "official",
            enum=sorted(catalog.sources()),
            title="Source",
            description_md=" ".join(
                f"**{source.name}**: {source.description}" for source in catalog.sources().values()
            ),
            section=section,
        ),
    }


def reading_params() -> dict[str, Param]:
    """How the file is read, and which of its rows are kept."""
    section = "How to read it"
    return {
        "quality": Param(
            "notes",
            enum=["none", "notes", "strict"],
            title="Quality profile",
            description_md="**notes** rejects rows with passenger_count 0, as the notes did; **strict** more; **none** "
            "nothing. Rejected rows stay in the lake, with their reason.",
            section=section,
        ),
        "unknown_columns": Param(
            "error",
            enum=["error", "drop"],
            title="Unknown columns",
            description="error stops at a column that the catalogue does not know; drop leaves it out, with a warning.",
            section=section,
        ),
        "cache_ttl_hours": Param(
            24,
            type="number",
            minimum=0,
            title="Cache, hours",
            description="For how long a raw file is used without asking the publisher.",
            section=section,
        ),
        "force": Param(
            False,
            type="boolean",
            title="Do every step again",
            description="Also where its result is there and its input has not changed.",
            section=section,
        ),
    }


def table_params() -> dict[str, Param]:
    """Where the rows go in the warehouse."""
    return {
        "table_name": Param(
            None,
            type=["null", "string"],
            maxLength=127,
            title="Table",
            description_md="table or schema.table; empty for `{colour}_taxi_trips` in schema public.",
            section="Where to",
        ),
    }
