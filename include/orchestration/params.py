"""params: what a person can choose for a run, as the form of the web UI shows it and the API checks it."""

from __future__ import annotations

from airflow.sdk import Param

from include.nyc_taxi import catalog

FIRST_YEAR = 2009
_WHICH = "Which file"
_WHERE = "Where to"


def trip_file_params() -> dict[str, Param]:
    """Which file: its service (under the notes' name `colour`), its month and who publishes it."""
    return trip_month_params() | {
        "source": Param(
            "official",
            enum=sorted(catalog.sources()),
            title="Source",
            description_md=" ".join(
                f"**{source.name}**: {source.description}" for source in catalog.sources().values()
            ),
            section=_WHICH,
        ),
    }


def trip_month_params() -> dict[str, Param]:
    """Which month of which service."""
    return {
        "colour": Param("yellow", title="Colour", enum=sorted(catalog.services()), section=_WHICH),
        "year": Param(
            None,
            type=["null", "integer"],
            minimum=FIRST_YEAR,
            maximum=9999,
            title="Year",
            description="Leave year and month empty to take the month of the run's partition key or logical date.",
            section=_WHICH,
        ),
        "month": Param(None, type=["null", "integer"], minimum=1, maximum=12, title="Month", section=_WHICH),
    }


def trip_files_params() -> dict[str, Param]:
    """Which files: the notes' parent flow takes several months of a year, and here several services."""
    return {
        "months": Param(
            [1, 2],
            type="array",
            items={"type": "integer", "minimum": 1, "maximum": 12},
            examples=list(range(1, 13)),
            minItems=1,
            title="Months",
            section=_WHICH,
        ),
        "year": Param(2020, type="integer", minimum=FIRST_YEAR, maximum=9999, title="Year", section=_WHICH),
        "colour": Param(
            ["green"],
            type=["array", "string"],
            items={"type": "string", "enum": sorted(catalog.services())},
            examples=sorted(catalog.services()),
            title="Colour",
            section=_WHICH,
        ),
        "source": trip_file_params()["source"],
    }


def sync_params() -> dict[str, Param]:
    """What is kept in step with the publisher."""
    section = "What to keep in step"
    return {
        "colours": Param(
            sorted(catalog.services()),
            type="array",
            items={"type": "string", "enum": sorted(catalog.services())},
            examples=sorted(catalog.services()),
            minItems=1,
            title="Colours",
            section=section,
        ),
        "since": Param(
            None,
            type=["null", "string"],
            pattern=r"^[0-9]{4}-[0-9]{2}$",
            title="Since",
            description="The first month, YYYY-MM; empty for all that was ever published.",
            section=section,
        ),
        "max_files_per_run": Param(
            24,
            type="integer",
            minimum=1,
            maximum=1000,
            title="Files per run",
            description="At most so many are brought in one run, and as many old files are asked for.",
            section=section,
        ),
        "source": trip_file_params()["source"],
        "alert_after_months": Param(
            5,
            type="integer",
            minimum=1,
            title="Alert after months",
            description="Alert when the newest month in place began more months ago than this.",
            section=section,
        ),
    }


def reading_params(cache_ttl_hours: int = 24) -> dict[str, Param]:
    """How the file is read, and which of its rows are kept."""
    section = "How to read it"
    return {
        "quality": Param(
            "notes",
            enum=["none", "notes", "strict"],
            title="Quality profile",
            description_md="**notes** rejects rows with passenger_count 0, as the notes did; **strict** all that a "
            "rule finds wrong; **none** nothing that fits. Rejected rows stay in the lake with their reason.",
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
            cache_ttl_hours,
            type="number",
            minimum=0,
            title="Cache, hours",
            description="For how long a raw file is used without asking the publisher.",
            section=section,
        ),
        "force": _force(section),
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
            section=_WHERE,
        ),
    }


def bigquery_params() -> dict[str, Param]:
    """Where the rows go in BigQuery, and how."""
    return {
        "dataset": _dataset(),
        "table_name": Param(
            None,
            type=["null", "string"],
            title="Table",
            description_md="dataset.table or project.dataset.table; empty for `{dataset}.{colour}_trips`.",
            section=_WHERE,
        ),
        "write_mode": Param(
            "replace",
            enum=["replace", "append"],
            title="Write mode",
            description_md="**replace** puts the month in its partition's place; **append**, the notes' way, adds its "
            "rows in chunks of 500,000 whatever is there, so that a second run doubles them.",
            section=_WHERE,
        ),
        "force": _force(_WHERE),
    }


def target_params(target: str = "none") -> dict[str, Param]:
    """What is loaded once a month is in the lake."""
    return {
        "target": Param(
            target,
            enum=["none", "postgres", "bigquery"],
            title="Target",
            description="Load each month into this too, once it is in the lake.",
            section=_WHERE,
        ),
        "dataset": _dataset(),
    }


def _dataset() -> Param:
    return Param(
        "nyc_taxi",
        type="string",
        pattern=r"^\w+$",
        title="Dataset of BigQuery",
        description="Made where it is missing, in the location of the lake's bucket.",
        section=_WHERE,
    )


def _force(section: str) -> Param:
    return Param(
        False,
        type="boolean",
        title="Do every step again",
        description="Also where its result is there and its input has not changed.",
        section=section,
    )
