"""requests: what a run asks for, read from its params in one place, whatever started it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from include.nyc_taxi import Month, TripFile

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow.sdk import Context

    from include.nyc_taxi.reading import UnknownColumns


@dataclass(frozen=True)
class Request:
    """The params of a run, checked, under the core's names."""

    file: TripFile
    source: str
    quality: str
    unknown_columns: UnknownColumns
    cache_ttl: timedelta
    table_name: str
    force: bool


def request_of(context: Context) -> Request:
    """What this run asks for.

    Raises:
        ValueError: the run has no month, or a param that the DAG does not know.
    """
    refuse_unknown_params(context)
    params = context["params"]
    file = TripFile(params["colour"], month_of(context))
    return Request(
        file=file,
        source=params["source"],
        quality=params["quality"],
        unknown_columns=params["unknown_columns"],
        cache_ttl=timedelta(hours=params["cache_ttl_hours"]),
        table_name=table_name_of(params),
        force=params["force"],
    )


def month_of(context: Context) -> Month:
    """The month of a run: of its params, else of its partition key, else the month that its logical date lies in."""
    params: Mapping[str, Any] = context["params"]
    year, month = params.get("year"), params.get("month")
    if year is not None and month is not None:
        return Month(year, month)
    if year is not None or month is not None:
        raise ValueError(f"params year={year} and month={month}: give both, or neither to take the run's own month")
    partition_key = context.get("partition_key")
    if partition_key:
        return Month.parse(partition_key)
    logical_date = context.get("logical_date")
    if logical_date is not None:
        return Month.of(logical_date)
    raise ValueError("this run has no month: give the params year and month, a partition key YYYY-MM or a logical date")


def table_name_of(params: Mapping[str, Any]) -> str:
    """The table that a run loads into, as the person spelled it."""
    return params["table_name"] or f"{params['colour']}_taxi_trips"


def refuse_unknown_params(context: Context) -> None:
    """Airflow takes any key of a run's conf without a word, so that a slip like `monthz` would go unseen."""
    known = set(context["dag"].params)
    unknown = sorted(set(context["dag_run"].conf or {}) - known)
    if unknown:
        raise ValueError(f"params {unknown} are not known to {context['dag'].dag_id}; it has {sorted(known)}")
