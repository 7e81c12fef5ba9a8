"""assets: what Dags read, write and are scheduled on, so that Airflow's asset graph shows web -> raw -> lake -> target.

An asset is the months of one service in one place, such as `lake green`; its partitions are months, `2024-01`. A Dag
whose runs choose their service uses the assets of any service, such as `lake any`, whose partitions name the service
too: `green|2024-01`. Airflow sends an event for every outlet of a task that succeeds, so a Dag declares only what each
of its runs writes.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple, TypeVar, cast

from airflow.sdk import Asset, get_current_context

from include.nyc_taxi import Month, TripFile, catalog, targets

ANY = "any"
SERVICES = tuple(catalog.services())

_GROUP = "nyc-taxi"
_SEPARATOR = "|"

PUBLISHED_MONTHS = Asset(name="published months", uri="x-nyc-taxi://published", group=_GROUP)
"""Its events carry the report of each run of `sync_published_months`."""

WEB_ZONES = Asset(name="web zones", uri="x-nyc-taxi://web/zones", group=_GROUP)
RAW_ZONES = Asset(name="raw zones", uri="x-nyc-taxi://raw/zones", group=_GROUP)
LAKE_ZONES = Asset(name="lake zones", uri="x-nyc-taxi://lake/zones", group=_GROUP)
ZONES = Asset(name="zones", uri="x-nyc-taxi://zones", group=_GROUP)

Result = TypeVar("Result", bound=Mapping[str, object])


def months_in(place: str, service: str = ANY) -> Asset:
    """Return the asset of a service's months in a place: `web`, `raw` or a target's name."""
    return Asset(name=f"{place} {service}", uri=_uri(place, service), group=_GROUP)


def _uri(place: str, service: str) -> str:
    known = {target.name: target for target in targets.every()}
    address = known[place].address(known[place].default_table(service)) if place in known and service != ANY else None
    return address or f"x-nyc-taxi://{place}/{service}"


def lake_months(service: str = ANY) -> Asset:
    """Return the asset of a service's months in the lake, which Dags can be scheduled on."""
    return months_in(targets.the_lake().name, service)


class Lineage(NamedTuple):
    """The assets of a Dag: months of its service, or of any service if its runs choose one.

    `target` is where the Dag loads its months; None if its runs choose that.
    """

    service: str = ANY
    target: str | None = None

    @property
    def web(self) -> list[Asset]:
        """The published files."""
        return [months_in("web", self.service)]

    @property
    def raw(self) -> list[Asset]:
        """The months in raw/."""
        return [months_in("raw", self.service)]

    @property
    def lake(self) -> list[Asset]:
        """The months in data/."""
        return [lake_months(self.service)]

    def loaded(self, target: str | None = None) -> list[Asset]:
        """The months in the named target, else in the Dag's own; none if that is not known, or is the lake."""
        name = target or self.target
        return [] if name is None or targets.get(name).is_the_lake else [months_in(name, self.service)]


def announced(result: Result) -> Result:
    """Put the month of a task's result, which names its `file`, on the task's asset events; returns the result.

    The task's metrics are sent here too, as each task that reads or writes months comes by once, at its end.
    """
    from include.orchestration import figures

    context = get_current_context()
    file = TripFile.parse(str(result["file"]))
    for asset in context["task"].outlets:
        event = context["outlet_events"][asset]
        event.extra = cast("dict[str, Any]", dict(result))
        event.add_partitions(partition_key(asset, file))
    figures.emit(result, (datetime.now(UTC) - context["ti"].start_date).total_seconds())
    return result


def reported(asset: Asset, text: str) -> str:
    """Put a line of text on the event of one of the task's outlets; returns the text."""
    get_current_context()["outlet_events"][asset].extra = {"note": text}
    return text


def partition_key(asset: Asset, file: TripFile) -> str:
    """Spell a file's partition of an asset: `2024-01`, or `green|2024-01` where the asset is of any service."""
    service = asset.name.rpartition(" ")[2]
    if service == ANY:
        return f"{file.service}{_SEPARATOR}{file.month}"
    if service != file.service:
        raise ValueError(f"{file}: the asset {asset.name!r} has no partition for it; expected a file of {service}")
    return str(file.month)


def parse_partition_key(key: str) -> tuple[str | None, Month]:
    """Read a partition key: its service, None if it names none, and its month."""
    from include.nyc_taxi import Month

    service, _, month = key.rpartition(_SEPARATOR)
    return service or None, Month.parse(month)
