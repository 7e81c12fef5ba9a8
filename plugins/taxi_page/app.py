"""The page's application: its files, and what it asks, as JSON.

Every route, the files among them, wants the login of Airflow and the right to see plugins. Nothing here changes
anything: the page starts runs by Airflow's own API, with the rights of who looks at it.
"""

from __future__ import annotations

import logging
from contextlib import closing
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.models.resource_details import AccessView, DagAccessEntity, DagDetails
from airflow.api_fastapi.common.db.common import SessionDep  # noqa: TC002 - FastAPI reads the annotations
from airflow.api_fastapi.core_api.security import GetUserDep, requires_access_view
from airflow.models.dag import DagModel
from fastapi import Depends, FastAPI, HTTPException, Request, Response
from fastapi.responses import FileResponse, JSONResponse, RedirectResponse

from include.nyc_taxi import Month, TripFile, catalog, coverage
from include.nyc_taxi.errors import TaxiError
from include.orchestration import connections, overview
from taxi_page import city

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from airflow.api_fastapi.auth.managers.models.base_user import BaseUser
    from sqlalchemy.orm import Session

log = logging.getLogger(__name__)

STATIC = Path(__file__).parent / "static"
_SOURCE = "official"
_HEADERS = {
    "Cache-Control": "private, no-cache",
    "Content-Security-Policy": "default-src 'self'; frame-ancestors 'self'; base-uri 'none'; form-action 'none'",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}

Target = Literal["postgres", "lake", "bigquery"]


def _file(service: str, month: str) -> TripFile:
    try:
        return TripFile(service, Month.parse(month))
    except ValueError as error:
        raise HTTPException(404, str(error)) from error


File = Annotated[TripFile, Depends(_file)]

app = FastAPI(
    title="Taxi",
    docs_url=None,
    redoc_url=None,
    openapi_url=None,
    dependencies=[Depends(requires_access_view(AccessView.PLUGINS))],
)


@app.middleware("http")
async def _with_headers(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
    response = await call_next(request)
    response.headers.update(_HEADERS)
    return response


@app.exception_handler(401)
async def _to_login(request: Request, error: HTTPException) -> Response:
    """A person is brought to the login page, and from there back."""
    if "text/html" in request.headers.get("accept", ""):
        return RedirectResponse(get_auth_manager().get_url_login(next_url=str(request.url)))
    return JSONResponse({"detail": error.detail}, error.status_code)


@app.exception_handler(TaxiError)
def _to_words(_request: Request, error: TaxiError) -> Response:
    """The page says that the warehouse is down; why, only the log does."""
    log.warning("the page got no answer: %s: %s", type(error).__name__, error)
    name = type(error).__name__
    detail = f"The warehouse does not answer ({name}); the API server's log says why. Load this page again later."
    return JSONResponse({"detail": detail}, 503)


@app.get("/")
def page() -> FileResponse:
    """The page itself."""
    return FileResponse(STATIC / "index.html")


@app.get("/static/{path:path}")
def static(path: str) -> FileResponse:
    """A file of the page."""
    file = (STATIC / path).resolve()
    if not file.is_relative_to(STATIC) or not file.is_file():
        raise HTTPException(404, f"no file {path!r}")
    return FileResponse(file)


@app.get("/api/coverage")
def of_target(session: SessionDep, user: GetUserDep, target: Target = "postgres") -> dict[str, Any]:
    """The state of every month in a target, and who may load what is missing."""
    seen = overview.overview(target, session, _sees_runs(user))
    return overview.as_json(seen) | {
        "at": datetime.now(UTC),
        "services": {name: service.description for name, service in catalog.services().items()},
        "says": {state: state.says for state in coverage.State},
        "load": _loading(target, session, user),
    }


@app.get("/api/months/{service}/{month}")
def of_month(
    file: File,
    session: SessionDep,
    user: GetUserDep,
    target: Target = "postgres",
) -> dict[str, Any]:
    """What is known of one month in a target."""
    seen = overview.overview(target, session, _sees_runs(user))
    cell = seen.cells.get(file, coverage.Cell(file, coverage.State.NOT_PUBLISHED))
    parts = {name: part and asdict(part) for name, part in vars(cell).items() if name not in ("file", "state")}
    for part in filter(None, parts.values()):
        part.pop("file")
    source = cell.load and cell.load.source
    about = {"problems": seen.problems, "target_answers": seen.target_answers}
    return {"state": cell.state, "says": cell.state.says, "source": source} | about | parts


@app.get("/api/quality")
def quality() -> dict[str, Any]:
    """What was read, rejected and remarkable in each month, and the eras of each service."""
    with closing(connections.warehouse_reader()) as warehouse:
        loads = coverage.loads_in_warehouse(warehouse)
        summaries = {(row.service, row.month): row for row in city.months(warehouse)}
    months: dict[str, list[dict[str, Any]]] = {name: [] for name in catalog.services()}
    for file, load in sorted(loads.items()):
        summary = summaries.get((file.service, str(file.month)))
        months[file.service].append(
            {
                "month": str(file.month),
                "read": load.rows_read,
                "loaded": load.rows_loaded,
                "rejected": load.rejected_by_reason,
                "without_meter": summary and summary.without_meter,
                "outside_month": summary and summary.outside_month,
                "era": load.schema_era,
            }
        )
    return {"months": months, "eras": {name: list(_eras(name)) for name in catalog.services()}}


@app.get("/api/city")
def trips_by_month() -> dict[str, Any]:
    """Trips of each month of each service, and what was loaded before there were summaries."""
    with closing(connections.warehouse_reader()) as warehouse:
        loads = coverage.loads_in_warehouse(warehouse)
        summaries = city.months(warehouse)
    trips: dict[str, dict[str, int]] = {name: {} for name in catalog.services()}
    for row in summaries:
        if TripFile(row.service, Month.parse(row.month)) in loads:
            trips[row.service][row.month] = row.trips
    missing = [file.name for file in sorted(loads) if str(file.month) not in trips[file.service]]
    return {"trips": trips, "without_summary": missing}


@app.get("/api/city/{service}/{month}")
def trips_of_month(file: File) -> dict[str, Any]:
    """A month's trips by zone and by hour of the week."""
    with closing(connections.warehouse_reader()) as warehouse:
        return {"zones": city.zones(warehouse, file), "hours": city.hours(warehouse, file)}


_maps: dict[str, list[city.DrawnZone]] = {}


@app.get("/api/zones")
def zone_map() -> dict[str, Any]:
    """The map of the zones, drawn once for each edition of them."""
    with closing(connections.warehouse_reader()) as warehouse:
        edition = city.edition(warehouse)
        zones = _maps.get(edition)
        if zones is None:
            zones = city.zone_map(warehouse)
            _maps.clear()
            _maps[edition] = zones
    return {"zones": zones}


def _eras(service: str) -> Iterator[dict[str, Any]]:
    """The eras of the publisher's own files: since when, and which columns came and went with each."""
    before: set[str] = set()
    for era in catalog.service(service).eras[_SOURCE]:
        found = (catalog.service(service).column_published_as(name, era) for name in era.columns)
        columns = {column.name for column in found if column}
        came, went = sorted(columns - before), sorted(before - columns)
        yield {"since": str(era.since), "came": came if before else [], "went": went, "columns": len(columns)}
        before = columns


def _loading(target: Target, session: Session, user: BaseUser) -> dict[str, Any]:
    """The DAG that loads into the target, and whether this user may start it."""
    dag_id = overview.LOADED_BY[target]
    dag = session.get(DagModel, dag_id)
    return {
        "dag_id": dag_id,
        "is_there": dag is not None and not dag.is_stale,
        "is_paused": dag is not None and dag.is_paused,
        "allowed": _may(user, "POST", dag_id),
    }


def _sees_runs(user: BaseUser) -> Callable[[str], bool]:
    return lambda dag_id: _may(user, "GET", dag_id)


def _may(user: BaseUser, method: Literal["GET", "POST"], dag_id: str) -> bool:
    return get_auth_manager().is_authorized_dag(
        method=method, access_entity=DagAccessEntity.RUN, details=DagDetails(id=dag_id), user=user
    )
