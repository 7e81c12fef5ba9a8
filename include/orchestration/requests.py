"""requests: what a run asks for, read from its params in one place, however it was started.

`this_run()` and its siblings are for tasks. They are the only readers of Airflow's context: steps take named values.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple, TypedDict, TypeVar

from airflow.sdk import get_current_context
from airflow.sdk.timezone import make_naive

from include.nyc_taxi import Month, TripFile, targets
from include.nyc_taxi.precedence import Run, Wish
from include.orchestration.assets import parse_partition_key

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow.sdk import Context

    from include.nyc_taxi.reading import UnknownColumns

_MOST_HOURS = int(timedelta.max.total_seconds() // 3600)

LABEL = "{{ label }}"
"""The template of map indexes, which `label` fills in."""

_BY_ASSET = "asset_triggered"

Result = TypeVar("Result")


class Destination(NamedTuple):
    """A table of a target, which is named by the target's name; without a table name it is the service's own."""

    target: str = targets.NO_TARGET
    table_name: str | None = None
    namespace: str | None = None


class Reading(NamedTuple):
    """How a run wants its files read, and what it was asked for."""

    wish: Wish
    quality: str = "notes"
    unknown_columns: UnknownColumns = "error"
    accept_implausible: bool = False
    force: bool = False


class Origin(TypedDict):
    """Where a run's file comes from, which edition of it, and when it is downloaded again."""

    source: str
    url: str | None
    edition: str | None
    cache_ttl: timedelta
    force: bool


class Request(NamedTuple):
    """How a run wants its files downloaded, read and loaded. Params that its Dag lacks have their defaults here."""

    id: Run
    reading: Reading
    destination: Destination
    was_started_by_asset: bool = False
    source: str = "official"
    url: str | None = None
    edition: str | None = None
    cache_ttl: timedelta = timedelta(days=1)
    force: bool = False
    write_mode: str = "replace"

    @property
    def origin(self) -> Origin:
        """What decides which bytes are downloaded."""
        return {
            "source": self.source,
            "url": self.url,
            "edition": self.edition,
            "cache_ttl": self.cache_ttl,
            "force": self.force,
        }


class Scope(NamedTuple):
    """What a sync keeps up to date: the months of services since one of them, from a source, in a destination."""

    services: Sequence[str]
    since: Month | None
    source: str
    destination: Destination


class SyncRequest(NamedTuple):
    """What a run of `sync_published_months` keeps up to date, and how."""

    scope: Scope
    max_files: int
    alert_after_months: int
    retry_delay: timedelta


def this_run(target: str | None = None) -> Request:
    """Read what the current run asks for. `target` is where its Dag loads, if no param says so.

    Raises:
        ValueError: the run has a param that its Dag does not know.
    """
    context = _checked()
    params: Mapping[str, Any] = context["params"]
    found = _given(params, "source", "edition", "force", "write_mode")
    found["url"] = params.get("url") or None  # the form gives an empty text
    if "cache_ttl_hours" in params:
        found["cache_ttl"] = _cache_ttl(params["cache_ttl_hours"])
    wish = _wish(context)
    return Request(
        id=Run(context["dag"].dag_id, context["run_id"], wish),
        reading=Reading(wish, **_given(params, "quality", "unknown_columns", "accept_implausible", "force")),
        destination=_destination(params, target),
        was_started_by_asset=context["dag_run"].run_type == _BY_ASSET,
        **found,
    )


def this_sync() -> SyncRequest:
    """Read what the current run of `sync_published_months` asks for.

    Raises:
        ValueError: the run has a param that its Dag does not know.
    """
    context = _checked()
    params: Mapping[str, Any] = context["params"]
    return SyncRequest(
        scope=Scope(
            services=params["colours"],
            since=None if params["since"] is None else Month.parse(params["since"]),
            source=params["source"],
            destination=_destination(params),
        ),
        max_files=params["max_files_per_run"],
        alert_after_months=params["alert_after_months"],
        retry_delay=context["task"].retry_delay,
    )


def this_service() -> str:
    """Return the service that the current run is for.

    Raises:
        ValueError: the run has a param that its Dag does not know.
    """
    context = _checked()
    return _service(context["params"], context.get("partition_key"))


def this_file() -> str | None:
    """Return the name of the file that the current run is for; None if nobody chose a month, and the newest is due.

    Raises:
        ValueError: the run has half a month, a URL without a month, or a param that its Dag does not know.
    """
    context = _checked()
    run, date = context["dag_run"], context.get("logical_date")
    started = run.start_date or run.run_after
    if started == date:  # `dags test` gives its date to both
        started = datetime.now(UTC)
    file = requested_file(context["params"], context.get("partition_key"), chosen_date(date, started))
    if file is None and context["params"].get("url"):
        raise ValueError("param url without a month: nothing says which month the file is; give year and month")
    return None if file is None else file.name


def these_files() -> list[str]:
    """Return the names of the files that the current run, for several months or services, asks for, in order.

    Raises:
        ValueError: the run names no month or service, or has a param that its Dag does not know.
    """
    params: Mapping[str, Any] = _checked()["params"]
    services = [params["colour"]] if isinstance(params["colour"], str) else params["colour"]
    year, months = _whole("year", params["year"]), [_listed(month) for month in params["months"]]
    files = [TripFile(service, Month(year, month)) for service in services for month in months]
    if not files:
        raise ValueError(f"params colour={services} and months={params['months']}: expected at least one of each")
    return list(dict.fromkeys(file.name for file in files))


def these_targets() -> list[str]:
    """Return the names of the targets that the current run asks for; none if it leaves the choice.

    Raises:
        ValueError: the run has a param that its Dag does not know.
    """
    asked: list[str] | str = _checked()["params"]["target"]
    return [asked] if isinstance(asked, str) else asked


def label_target(name: str) -> str:
    """Name the current task's map index after the target; returns its name."""
    get_current_context()["label"] = name  # type: ignore[typeddict-unknown-key]
    return name


def service_of(file: str) -> str:
    """Return the service of a file, by its name."""
    return TripFile.parse(file).service


def given(result: Result | None) -> Result:
    """Return what the task before returned.

    Raises:
        ValueError: it returned nothing, as it was marked as success by hand.
    """
    if result is None:
        before = sorted(get_current_context()["task"].upstream_task_ids)
        raise ValueError(
            f"the task before, {' or '.join(before)}, returned nothing, as if it was marked as success by hand; "
            "expected what it returns when it runs: clear it"
        )
    return result


def label(file: str) -> str:
    """Name the current task's map index after the file, as in `green-2024-01`; returns the file."""
    parsed = TripFile.parse(file)
    get_current_context()["label"] = f"{parsed.service}-{parsed.month}"  # type: ignore[typeddict-unknown-key]
    return file


def mapped_results(task_id: str, count: int) -> list[Any]:
    """Return what each map index of a task returned; None for those that failed."""
    ti = get_current_context()["ti"]
    return [ti.xcom_pull(task_ids=task_id, map_indexes=index) for index in range(count)]


def requested_file(
    params: Mapping[str, Any], partition_key: str | None, logical_date: datetime | None
) -> TripFile | None:
    """Find the file of a run, None if it has no month; a partition key may name its service too: `green|2024-01`."""
    month = _month(params, partition_key, logical_date)
    return None if month is None else TripFile(_service(params, partition_key), month)


def _service(params: Mapping[str, Any], partition_key: str | None) -> str:
    named = parse_partition_key(partition_key)[0] if partition_key else None
    service: str = named or params["colour"]
    return service


def chosen_date(logical_date: datetime | None, started: datetime) -> datetime | None:
    """Return the logical date of a run; None if it is of the month in which the run started.

    The web UI's form, and `dags test`, fill in the time of the start if nobody chooses a date. A file of that month
    cannot be there yet, so nothing is lost if somebody did choose it.
    """
    if logical_date is None or _month_of(logical_date) == _month_of(started):
        return None
    return logical_date


def _month_of(date: datetime) -> Month:
    there: datetime = make_naive(date)  # type: ignore[no-untyped-call] # Airflow leaves it untyped
    return Month.of(there)


def _month(params: Mapping[str, Any], partition_key: str | None, logical_date: datetime | None) -> Month | None:
    """Return the month of a run: of its params, else of its partition key, else of its logical date, if it has any.

    The month of a logical date is that of Airflow's default timezone, `[core] default_timezone`.
    """
    year, month = params.get("year"), params.get("month")
    if year is not None and month is not None:
        return Month(_whole("year", year), _whole("month", month))
    if year is not None or month is not None:
        raise ValueError(f"params year={year} and month={month}: give both, or neither")
    if partition_key:
        return parse_partition_key(partition_key)[1]
    return None if logical_date is None else _month_of(logical_date)


def _whole(name: str, number: object) -> int:
    """Return a whole number; JSON schema takes 2024.0 for an integer too, and Python does not.

    Raises:
        ValueError: it is none.
    """
    if isinstance(number, bool) or not isinstance(number, int | float) or number != int(number):
        raise ValueError(f"param {name}={number!r} is not a whole number")
    return int(number)


def _listed(month: object) -> int:
    """Return a month of a list, which is a string if somebody chose it in the form of the web UI."""
    return int(month) if isinstance(month, str) and month.isdecimal() else _whole("months", month)


def _cache_ttl(hours: float) -> timedelta:
    """Return how long a cached edition is fresh.

    Raises:
        ValueError: the number is negative, or more than a timedelta holds.
    """
    try:
        ttl = timedelta(hours=hours)
    except (OverflowError, ValueError, TypeError):
        ttl = timedelta(-1)
    if ttl < timedelta(0):
        raise ValueError(f"param cache_ttl_hours={hours!r}; expected 0 or more, and fewer than {_MOST_HOURS:,} hours")
    return ttl


def _wish(context: Context) -> Wish:
    """Return what the run was asked for; when is said by the clock of the scheduler, not by that of this worker."""
    params, run = context["params"], context["dag_run"]
    # `dags test D 2021-01-01` starts its run at that date, as far as Airflow knows.
    asked_at = max(run.start_date or run.run_after, run.run_after).astimezone(UTC).isoformat()
    return Wish.of(asked_at, edition=params.get("edition"), force=params.get("force", False))


def _given(params: Mapping[str, Any], *names: str) -> dict[str, Any]:
    """Return the named params that the Dag has."""
    return {name: params[name] for name in names if name in params}


def _destination(params: Mapping[str, Any], target: str | None = None) -> Destination:
    name = target or params.get("target", targets.NO_TARGET)
    kind = targets.get(name).namespace_kind
    return Destination(name, params.get("table_name"), params.get(kind) if kind else None)


def _checked() -> Context:
    """Return the current context, if its run has no unknown param: Airflow accepts any key of a run's conf."""
    context = get_current_context()
    known = set(context["dag"].params)
    unknown = sorted(set(context["dag_run"].conf or {}) - known)
    if unknown:
        raise ValueError(f"params {unknown} are not known to {context['dag'].dag_id}; it has {sorted(known)}")
    return context
