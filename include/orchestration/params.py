"""params: what a person can choose for a run, as the form of the web UI shows it and the API checks it."""

from __future__ import annotations

from airflow.sdk import Param

from include.nyc_taxi import catalog

FIRST_YEAR = 2009
COLOURS = sorted(catalog.services())


def trip_file_params() -> dict[str, Param]:
    """Which file: its service (under the notes' name `colour`), its month and who publishes it."""
    section = "Which file"
    return {
        "colour": Param("yellow", title="Colour", enum=COLOURS, section=section),
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


def sync_params() -> dict[str, Param]:
    """What the daily run keeps in step with the publisher."""
    section = "What to keep in step"
    return {
        "colours": Param(
            COLOURS,
            type="array",
            items={"enum": COLOURS},
            minItems=1,
            uniqueItems=True,
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
        "alert_after_months": Param(
            5,
            type="integer",
            minimum=1,
            title="Alert after months",
            description="Alert when the newest month in the warehouse began more months ago than this.",
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
            cache_ttl_hours,
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
