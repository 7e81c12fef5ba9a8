"""airflow_inside: Airflow's REST API as the viewer sees it, asked without leaving the process.

The page runs inside the API server. It hands its requests to the server's own app, with the viewer's login, so it needs
no address, no certificate and no password.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated, Literal

import httpx
from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.base_auth_manager import COOKIE_NAME_JWT_TOKEN
from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity, DagDetails
from airflow.api_fastapi.core_api.security import GetUserDep
from fastapi import Depends, HTTPException, Request

from include.orchestration.airflow_api import AirflowApi
from include.orchestration.attempts import loading_dags

if TYPE_CHECKING:
    from airflow.api_fastapi.auth.managers.models.base_user import BaseUser
    from starlette.types import ASGIApp

_SECONDS = 10


class _InProcess(httpx.BaseTransport):
    """Hands requests to an ASGI app on its event loop; for code that runs in a thread."""

    def __init__(self, app: ASGIApp, loop: asyncio.AbstractEventLoop) -> None:
        self._app = httpx.ASGITransport(app, raise_app_exceptions=False)
        self._loop = loop

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        answer = asyncio.run_coroutine_threadsafe(self._answer(request), self._loop)
        try:
            return answer.result(_SECONDS)
        except TimeoutError as error:
            answer.cancel()
            raise httpx.ReadTimeout(f"no answer within {_SECONDS} s", request=request) from error

    async def _answer(self, request: httpx.Request) -> httpx.Response:
        answer = await self._app.handle_async_request(request)
        return httpx.Response(answer.status_code, headers=answer.headers, content=await answer.aread())


async def _api(request: Request) -> AirflowApi:
    client = httpx.Client(
        transport=_InProcess(request.scope["airflow"], asyncio.get_running_loop()),
        base_url="http://airflow",
        headers={"Authorization": f"Bearer {_token(request)}", "Accept-Encoding": "identity"},
    )
    return AirflowApi(client)


# Airflow does not protect the apps of plugins. Its documentation of plugins (from 3.4) tells them to use its
# dependencies; there is no other way that works with every auth manager.
User = GetUserDep
Api = Annotated[AirflowApi, Depends(_api)]


def _may_look(user: User) -> None:
    """Refuse whoever may not read the runs of any Dag that loads months."""
    if not any(_may(user, "GET", dag_id) for dag_id in loading_dags()):
        raise HTTPException(403, "This page needs the right to read the runs of a Dag that loads trips.")


MAY_LOOK = Depends(_may_look)


def may_start(user: BaseUser, dag_id: str) -> bool:
    """Whether the user may start runs of the Dag.

    The REST API says so only by starting one, so this asks the auth manager, whose interface Airflow lists as public.
    """
    return _may(user, "POST", dag_id)


def login_url(back_to: str) -> str:
    """Where a person logs in, to come back here afterwards."""
    return get_auth_manager().get_url_login(next_url=back_to)


def _may(user: BaseUser, method: Literal["GET", "POST"], dag_id: str) -> bool:
    return get_auth_manager().is_authorized_dag(
        method=method, access_entity=DagAccessEntity.RUN, details=DagDetails(id=dag_id), user=user
    )


def _token(request: Request) -> str:
    """The viewer's login, from the header that programs send or the cookie that browsers do."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    return token if scheme.lower() == "bearer" else request.cookies.get(COOKIE_NAME_JWT_TOKEN, "")
