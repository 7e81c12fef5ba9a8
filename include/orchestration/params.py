"""params: what people can choose for a run. The web UI shows them as a form, and the API checks them.

The form's number fields silently change a value outside of `minimum` and `maximum` to the nearest bound, so bounds are
in `allOf`, which only the API reads: it refuses the value with a line.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk import Param

from include.nyc_taxi import catalog, targets

if TYPE_CHECKING:
    from collections.abc import Iterable

FIRST_YEAR = 2009
_DRAFT = "http://json-schema.org/draft-07/schema#"
"""Airflow checks every schema itself again in each task; by this draft that takes a third of the time of the newest."""


def _each(**bounds: int) -> list[dict[str, int]]:
    """Return a schema for each bound, for `allOf`."""
    return [{name: bound} for name, bound in bounds.items()]


# The form's list adds months as strings: 3.3.2 turns the numbers of `examples` into "3".
_MONTH_OF_LIST = {"type": ["integer", "string"], "allOf": _each(minimum=1, maximum=12), "pattern": "^([1-9]|1[0-2])$"}
_MONTHS = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)
_READING = "Reading"
_DESTINATION = "Destination"


def _param(default: object, description: str | None = None, **schema: Any) -> Param:  # noqa: ANN401 - JSON schema
    return Param(default, description, schema={"$schema": _DRAFT, **schema})


def trip_file_params() -> dict[str, Param]:
    """Return the params of one file: its service (called `colour`), its month and its source."""
    return trip_month_params() | {"source": _source(), "url": _url(), "edition": _edition()}


def trip_month_params() -> dict[str, Param]:
    """Return the params of one month of one service."""
    return {
        "colour": _param(
            "yellow",
            enum=sorted(catalog.services()),
            title="Service",
            description_md="The taxi service: yellow or green taxis, **fhv** for-hire vehicles, or **fhvhv** "
            "high-volume for-hire vehicles such as Uber and Lyft.",
        ),
        "year": _param(
            None,
            type=["null", "integer"],
            allOf=_each(minimum=FIRST_YEAR, maximum=9999),
            title="Year",
            description="The year of the file. Leave year and month empty for the newest month, or for the month of "
            "a logical date or partition key that you choose.",
        ),
        "month": _param(
            None,
            type=["null", "integer"],
            allOf=_each(minimum=1, maximum=12),
            title="Month",
            description="The month of the file, 1 to 12; empty if the year is empty.",
        ),
    }


def trip_files_params() -> dict[str, Param]:
    """Return the params of several files: months of one year, for one or more services."""
    return {
        "months": _param(
            [1, 2],
            type="array",
            items=_MONTH_OF_LIST,
            examples=list(range(1, 13)),
            values_display={str(number): name for number, name in enumerate(_MONTHS, start=1)},
            allOf=_each(minItems=1),
            title="Months",
            description="The months of the files, at least one; as JSON, numbers from 1 to 12.",
        ),
        "year": _param(
            2020,
            type="integer",
            allOf=_each(minimum=FIRST_YEAR, maximum=9999),
            title="Year",
            description="The year of the files.",
        ),
        "colour": _services(
            ["green"], "One or more taxi services; every month is loaded for each.", type=["array", "string"]
        ),
        "source": _source(),
        "edition": _edition(),
    }


def sync_params() -> dict[str, Param]:
    """Return the params of which files are kept up to date."""
    return {
        "colours": _services(sorted(catalog.services()), "The taxi services to keep up to date.", type="array"),
        "since": _param(
            None,
            type=["null", "string"],
            pattern=r"^[0-9]{4}-(0[1-9]|1[0-2])$",
            title="First month",
            description="The first month to load, as YYYY-MM; empty for every published month.",
        ),
        "max_files_per_run": _param(
            24,
            type="integer",
            allOf=_each(minimum=1, maximum=1000),
            title="Maximum files per run",
            description="The most files that one run loads, and the most older files that it checks for changes.",
        ),
        "source": _source(),
        "alert_after_months": _param(
            5,
            type="integer",
            allOf=_each(minimum=1),
            title="Months before an alert",
            description="A run alerts if the newest loaded month of a service began more than this many months ago.",
            section="Alerts",
        ),
    }


def reading_params(cache_ttl_hours: int = 24) -> dict[str, Param]:
    """Return the params of how a file is read, and which of its rows are kept."""
    return {
        "quality": _param(
            "notes",
            enum=["none", "notes", "strict"],
            title="Quality profile",
            description_md="**notes** rejects rows with passenger_count 0; **strict** rejects every row that a quality "
            "rule matches; **none** rejects only values that do not fit their column. Rejected rows stay in the lake.",
            section=_READING,
        ),
        "unknown_columns": _param(
            "error",
            enum=["error", "drop"],
            title="Unknown columns",
            description_md="**error** fails the run if the file has a column that the catalogue lacks; **drop** leaves "
            "the column out and logs a warning.",
            section=_READING,
        ),
        "accept_implausible": _param(
            False,
            type="boolean",
            title="Accept an implausible file",
            description="Load the file even if most of its pickups lie in another month, or if none of its rows is "
            "accepted.",
            section=_READING,
        ),
        "cache_ttl_hours": _param(
            cache_ttl_hours,
            type="number",
            allOf=_each(minimum=0),
            title="Cache lifetime in hours",
            description="How long a downloaded file is used before the publisher is asked whether it changed; "
            "0 always asks.",
            section=_READING,
        ),
        "force": _force(_READING),
    }


def loading_params(name: str) -> dict[str, Param]:
    """Return the params of a load into the named target: its table, and how it is written if there is a choice."""
    target = targets.get(name)
    return _namespace_params([target]) | {"table_name": _table(target)} | _write_mode_params(target)


def table_params(name: str) -> dict[str, Param]:
    """Return the param of the table that the named target is loaded into."""
    return {"table_name": _table(targets.get(name))}


def target_params(default: str = targets.NO_TARGET) -> dict[str, Param]:
    """Return the params of which target each month is loaded into once it is in the lake."""
    return {
        "target": _param(
            default,
            enum=[targets.NO_TARGET, *(target.name for target in targets.loadable())],
            title="Target",
            description_md=f"Where each month is loaded once it is in the lake; **{targets.NO_TARGET}** stops there.",
            section=_DESTINATION,
        ),
    } | _namespace_params(targets.loadable())


def zone_params() -> dict[str, Param]:
    """Return the param of which targets the taxi zones are loaded into once they are in the lake."""
    names = [targets.NO_TARGET, *(target.name for target in targets.with_zones() if not target.is_the_lake)]
    return {
        "target": Param(
            [],
            type=["array", "string"],
            items={"type": "string", "enum": names},
            examples=names,
            title="Targets",
            description_md="One or more targets that the zones are loaded into once they are in the lake; empty loads "
            f"every target whose connection is set, and **{targets.NO_TARGET}** alone stops in the lake.",
            section=_DESTINATION,
        ),
    }


def force_params() -> dict[str, Param]:
    """Return the param that re-runs a load."""
    return {"force": _force(_DESTINATION)}


def _edition() -> Param:
    return _param(
        None,
        type=["null", "string"],
        pattern=r"^([0-9a-f]{8,64}|[0-9]{4}-[0-9]{2}-[0-9]{2})?$",
        title="Edition",
        description="Empty loads the current edition of the published file. A date loads the edition that was current "
        "then, and a sha256, or its first 8 digits, that edition. It stays until a run without an edition.",
        section=_READING,
    )


def _source() -> Param:
    return _param(
        "official",
        enum=sorted(catalog.sources()),
        title="Source",
        description_md=" ".join(f"**{source.name}**: {source.description}" for source in catalog.sources().values()),
    )


def _url() -> Param:
    return _param(
        None,
        type=["null", "string"],
        pattern=r"^(https?://[^/?#@\s]+([/?][^#\s]*)?)?$",
        maxLength=2000,
        title="URL of the file",
        description_md="Load this file as the month, in place of the source's: Parquet, CSV or CSV compressed by gzip, "
        "from a host of the connections or of the Variable taxi_url_hosts. Needs a month. Airflow keeps it with the "
        "run.",
        section=_READING,
    )


def _services(default: list[str], description: str, **schema: Any) -> Param:  # noqa: ANN401 - JSON schema
    services = sorted(catalog.services())
    return _param(
        default,
        items={"type": "string", "enum": services},
        examples=services,
        allOf=_each(minItems=1),
        title="Services",
        description=description,
        **schema,
    )


def _table(target: targets.Target[Any, Any]) -> Param:
    return _param(
        None,
        type=["null", "string"],
        maxLength=255,
        title="Table",
        description_md=f"The table to load, as **{target.namespace_kind}.table**; empty for the service's own, such as "
        f"**{target.default_table('yellow')}**.",
        section=_DESTINATION,
    )


def _namespace_params(among: Iterable[targets.Target[Any, Any]]) -> dict[str, Param]:
    """Return a param for each kind of namespace that some of the targets have, such as `dataset`."""
    holders: dict[str, list[targets.Target[Any, Any]]] = {}
    for target in among:
        if target.namespace_kind is not None:
            holders.setdefault(target.namespace_kind, []).append(target)
    return {kind: _namespace(kind, its_targets) for kind, its_targets in holders.items()}


def _namespace(kind: str, its_targets: list[targets.Target[Any, Any]]) -> Param:
    defaults = {target.title: target.default_namespace for target in its_targets}
    return _param(
        next(iter(defaults.values())) if len(set(defaults.values())) == 1 else None,
        type=["null", "string"],
        pattern=r"^\w+$",
        title=f"{kind.capitalize()} of {' and '.join(defaults)}",
        description=f"The {kind} of the tables and their views, which is created if it is missing; empty for "
        f"{' or '.join(f'{default} in {title}' for title, default in defaults.items())}.",
        section=_DESTINATION,
    )


def _write_mode_params(target: targets.Target[Any, Any]) -> dict[str, Param]:
    if len(target.write_modes) == 1:
        return {}
    return {
        "write_mode": _param(
            target.write_modes[0],
            enum=list(target.write_modes),
            title="Write mode",
            description_md="**replace** replaces the month; **append** adds its rows to those in the table, so that a "
            "second run doubles them.",
            section=_DESTINATION,
        ),
    }


def _force(section: str) -> Param:
    return _param(
        False,
        type="boolean",
        title="Forced re-run",
        description="Re-run every step, even if its result is up to date.",
        section=section,
    )
