"""The page's application: its files, and its data as JSON.

Every route, also of a file, needs a login and the right to read the runs of a Dag that loads months. Nothing here
changes anything: the page starts runs through Airflow's own API, with the viewer's rights.
"""

from __future__ import annotations

import logging
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

from anyio import CapacityLimiter, to_thread
from fastapi import Depends, FastAPI, HTTPException, Request, Response
from fastapi.responses import FileResponse, JSONResponse, RedirectResponse

from include.nyc_taxi import Month, TripFile, catalog, coverage, targets
from include.nyc_taxi.errors import TaxiError
from include.nyc_taxi.targets import Target
from include.orchestration import attempt_logs, attempts, connections, editions, elsewhere, overview
from taxi_page import city
from taxi_page.airflow_inside import MAY_LOOK, Api, User, login_url, may_start

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from airflow.api_fastapi.auth.managers.models.base_user import BaseUser

    from include.nyc_taxi.targets.loads import Load
    from include.nyc_taxi.targets.summaries import MonthOfTrips, Summaries
    from include.orchestration.airflow_api import AirflowApi

log = logging.getLogger(__name__)

STATIC = Path(__file__).parent / "static"
_FILES = {path.relative_to(STATIC).as_posix(): path for path in STATIC.rglob("*") if path.is_file()}
_SOURCE = "official"
_LOADS_ZONES = "ingest_taxi_zones"
_PARTS = ("publication", "load", "attempt")
_HEADERS = {
    "Cache-Control": "private, no-cache",
    "Content-Security-Policy": "default-src 'self'; frame-ancestors 'self'; base-uri 'none'; form-action 'none'",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}
# Threads that wait for Airflow's API are these. Waiting in those that answer the API could block the whole server.
_waiting = CapacityLimiter(8)
_maps: dict[str, list[city.DrawnZone]] = {}


def _file(service: str, month: str) -> TripFile:
    try:
        return TripFile(service, Month.parse(month))
    except ValueError as error:
        raise HTTPException(404, str(error)) from error


def _target(target: str = targets.every()[0].name) -> Target[Any, Any]:
    try:
        return targets.get(target)
    except ValueError as error:
        raise HTTPException(422, str(error)) from error


File = Annotated[TripFile, Depends(_file)]
KnownTarget = Annotated[Target[Any, Any], Depends(_target)]

app = FastAPI(
    title="Taxi", docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False, dependencies=[MAY_LOOK]
)


@app.middleware("http")
async def _with_headers(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
    response = await call_next(request)
    response.headers.update(_HEADERS)
    return response


@app.exception_handler(401)
async def _to_login(request: Request, error: HTTPException) -> Response:
    """Send a person to the login page, and from there back; tell a program."""
    if "text/html" in request.headers.get("accept", ""):
        return RedirectResponse(login_url(str(request.url)))
    return JSONResponse({"detail": error.detail}, error.status_code)


@app.exception_handler(TaxiError)
def _no_answer(_request: Request, error: TaxiError) -> Response:
    """Tell that the warehouse does not answer. The reason may hold addresses, so only the log has it."""
    log.warning("a store of the page does not answer: %s: %s", type(error).__name__, error)
    name = type(error).__name__
    detail = f"{targets.summarising().title} does not answer. See the API server's log ({name}), then reload this page."
    return JSONResponse({"detail": detail}, 503)


@app.get("/")
def page() -> FileResponse:
    """Return the page itself."""
    return FileResponse(STATIC / "index.html")


@app.get("/static/{path:path}")
def static(path: str) -> FileResponse:
    """Return a file of the page."""
    file = _FILES.get(path)
    if file is None:
        raise HTTPException(404, f"no file {path!r}")
    return FileResponse(file)


@app.get("/api/about")
def about() -> dict[str, Any]:
    """Return what the page shows: targets, services and the states of a month."""
    return {
        "targets": [_described(target) for target in targets.every()],
        "summaries": targets.summarising().name,
        "services": [_traits(service) for service in catalog.services().values()],
        "states": {state: state.description for state in coverage.State},
    }


@app.get("/api/coverage")
async def of_target(target: KnownTarget, api: Api, user: User) -> dict[str, Any]:
    """Return the state of every month in a target, and whether the viewer may load the missing ones."""
    return await to_thread.run_sync(_coverage, target, api, user, limiter=_waiting)


@app.get("/api/months/{service}/{month}")
async def of_month(file: File, target: KnownTarget, api: Api) -> dict[str, Any]:
    """Return what is known of one month in a target."""
    return await to_thread.run_sync(_month, file, target, api, limiter=_waiting)


@app.get("/api/quality")
def quality() -> dict[str, Any]:
    """Return the rows read, rejected and remarkable in each month, and the eras of each service."""
    with _opened() as (target, summaries, client):
        loads = target.loads(client)
        found = {(row.service, row.month): row for row in summaries.months(client)}
    months: dict[str, list[dict[str, Any]]] = {name: [] for name in catalog.services()}
    for file, load in sorted(loads.items()):
        months[file.service].append(_quality_of(load, found.get((file.service, str(file.month)))))
    return {"months": months, "eras": {name: list(_eras(name)) for name in catalog.services()}}


@app.get("/api/city")
def trips_by_month(user: User) -> dict[str, Any]:
    """Return the trips of each month of each service, the loaded months without a summary, and who loads the zones."""
    with _opened() as (target, summaries, client):
        loads = target.loads(client)
        rows = summaries.months(client)
    trips: dict[str, dict[str, int]] = {name: {} for name in catalog.services()}
    for row in rows:
        if TripFile(row.service, Month.parse(row.month)) in loads:
            trips[row.service][row.month] = row.trips
    missing = [file.name for file in sorted(loads) if str(file.month) not in trips[file.service]]
    zones_load = {"dag_id": _LOADS_ZONES, "allowed": may_start(user, _LOADS_ZONES)}
    return {"trips": trips, "without_summary": missing, "zones_load": zones_load}


@app.get("/api/city/{service}/{month}")
def trips_of_month(file: File) -> dict[str, Any]:
    """Return a month's trips by zone and by hour of the week, and how often each hour of the week occurred in it."""
    with _opened() as (_, summaries, client):
        zones, hours = summaries.zones(client, file), summaries.hours(client, file)
    return {"zones": zones, "hours": hours, "occurs": city.hours_of_the_week(file.month)}


@app.get("/api/zones")
def zone_map() -> dict[str, Any]:
    """Return the map of the zones, drawn once per edition of them."""
    with _opened() as (_, summaries, client):
        edition = summaries.edition(client)
        zones = _maps.get(edition)
        if zones is None:
            zones = city.zone_map(summaries.shapes(client))
            _maps.clear()
            _maps[edition] = zones
    return {"zones": zones}


@contextmanager
def _opened() -> Iterator[tuple[Target[Any, Any], Summaries[Any], Any]]:
    """The target whose summaries are shown, these summaries and a client to read them with."""
    target = targets.summarising()
    with connections.opened(target, read_only=True) as client:
        yield target, cast("Summaries[Any]", target.summaries), client


def _described(target: Target[Any, Any]) -> dict[str, Any]:
    return {
        "name": target.name,
        "title": target.title,
        "place": _place(target),
        "is_the_lake": target.is_the_lake,
        "flows": attempts.flows_of(target),
    }


def _place(target: Target[Any, Any]) -> str:
    """The target's name within a sentence."""
    return "the lake" if target.is_the_lake else target.title


def _traits(service: catalog.Service) -> dict[str, Any]:
    traits = ("name", "title", "description", "colour", "dark_colour", "dashes", "has_meter", "has_zones")
    return {trait: getattr(service, trait) for trait in traits} | {"has_fares": service.fare is not None}


def _coverage(target: Target[Any, Any], api: AirflowApi, user: BaseUser) -> dict[str, Any]:
    seen = overview.overview(target, api)
    load = {"dag_id": target.loaded_by, "allowed": may_start(user, target.loaded_by)}
    return overview.as_json(seen) | {"at": datetime.now(UTC), "load": load}


def _month(file: TripFile, target: Target[Any, Any], api: AirflowApi) -> dict[str, Any]:
    seen = overview.overview(target, api)
    absent = coverage.State.NOT_PUBLISHED
    cell = seen.cells.get(file, coverage.Cell(file, absent, absent))
    parts = {name: part and asdict(part) for name, part in vars(cell).items() if name in _PARTS}
    for part in filter(None, parts.values()):
        part.pop("file")
    problems = list(seen.problems)
    about = {"state": cell.state, "standing": cell.standing, "target_answers": seen.target_answers}
    more = {"step": _step(cell, api, problems), "editions": _editions(cell, problems), "problems": problems}
    return about | parts | more | {"again": cell.load and _again(cell.load, target)}


def _step(cell: coverage.Cell, api: AirflowApi, problems: list[str]) -> attempt_logs.Step | None:
    """The task that a running attempt is at, or that a failed one ended in."""
    attempt = cell.attempt
    if attempt is None or cell.state not in (coverage.State.RUNNING, coverage.State.FAILED):
        return None
    return overview.answer(
        lambda: attempt_logs.step_of(api, attempt),
        problems,
        "The run's log is unknown: Airflow's API does not answer.",
    )


def _editions(cell: coverage.Cell, problems: list[str]) -> list[dict[str, Any]] | None:
    """The editions of the file that was loaded, else of the publisher's own; None if the lake does not answer."""
    return overview.answer(
        lambda: editions.listed(connections.lake(), cell.file, cell.load),
        problems,
        "The editions are unknown: the lake does not answer.",
    )


def _again(load: Load, target: Target[Any, Any]) -> dict[str, Any]:
    """The params of a run that repeats the load, as far as its Dag has them."""
    params = {"force": True, **elsewhere.origin_of(load), "quality": load.quality_profile}
    return params if target.is_the_lake else params | {"table_name": load.target_table}


def _quality_of(load: Load, summary: MonthOfTrips | None) -> dict[str, Any]:
    return {
        "month": str(load.file.month),
        "read": load.rows_read,
        "loaded": load.rows_loaded,
        "rejected": load.rejected_by_reason,
        "without_meter": summary and summary.without_meter,
        "outside_month": summary and summary.outside_month,
        "era": load.schema_era,
    }


def _eras(service: str) -> Iterator[dict[str, Any]]:
    """The eras of the publisher's own files: their first months, and the columns that came and went with each."""
    before: set[str] = set()
    for era in catalog.service(service).eras[_SOURCE]:
        found = (catalog.service(service).column_published_as(name, era) for name in era.columns)
        columns = {column.name for column in found if column}
        came, went = sorted(columns - before), sorted(before - columns)
        yield {"since": str(era.since), "came": came if before else [], "went": went, "columns": len(columns)}
        before = columns
