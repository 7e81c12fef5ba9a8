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
    """How a run wants its files fetched and read, under the core's names."""

    source: str
    quality: str
    unknown_columns: UnknownColumns
    cache_ttl: timedelta
    force: bool


def request_of(context: Context) -> Request:
    """How this run wants its files fetched and read."""
    params = context["params"]
    return Request(
        source=params["source"],
        quality=params["quality"],
        unknown_columns=params["unknown_columns"],
        cache_ttl=timedelta(hours=params["cache_ttl_hours"]),
        force=params["force"],
    )


def file_of(context: Context) -> TripFile:
    """The file that this run is for.

    Raises:
        ValueError: the run has no month, or a param that the DAG does not know.
    """
    refuse_unknown_params(context)
    return TripFile(context["params"]["colour"], month_of(context))


def files_of(context: Context) -> list[TripFile]:
    """The files that a run for several months or services is for, in the order in which they were asked for.

    Raises:
        ValueError: the run names no month or service, or a param that the DAG does not know.
    """
    refuse_unknown_params(context)
    params: Mapping[str, Any] = context["params"]
    services = [params["colour"]] if isinstance(params["colour"], str) else params["colour"]
    files = [TripFile(service, Month(params["year"], month)) for service in services for month in params["months"]]
    if not files:
        raise ValueError(f"params colour={services} and months={params['months']}: give at least one of each")
    return list(dict.fromkeys(files))


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


def refuse_unknown_params(context: Context) -> None:
    """Airflow takes any key of a run's conf without a word, so that a slip like `monthz` would go unseen."""
    known = set(context["dag"].params)
    unknown = sorted(set(context["dag_run"].conf or {}) - known)
    if unknown:
        raise ValueError(f"params {unknown} are not known to {context['dag'].dag_id}; it has {sorted(known)}")
