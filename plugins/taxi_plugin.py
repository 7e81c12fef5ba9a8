"""The coverage page in Airflow's web UI: an entry "Taxi" in its navigation, and a tab on every DAG.

Every Airflow process imports this file, tasks included. So it imports nothing for it: the page itself is in taxi_page/,
which the API server imports when it starts.
"""

import asyncio
import sys
from functools import cache
from pathlib import Path
from threading import Thread
from typing import Any

from airflow.plugins_manager import AirflowPlugin


class _Page:
    """The page's application, imported when it is first asked for something, if not before."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        page = await asyncio.to_thread(_import_page)
        await page(scope, receive, send)


@cache
def _import_page() -> Any:
    # The API server does not load the bundle, so `include` is found beside this folder. Only here: in a task the
    # bundle, which may be of another version, must find its own.
    here = Path(__file__).resolve().parent
    sys.path.extend(str(folder) for folder in (here, here.parent) if str(folder) not in sys.path)
    from taxi_page.app import app

    return app


def _at_start(app: Any) -> Any:
    """Have the page imported, and asked once, so that the first who looks need not wait for it.

    It stands where a middleware does, as the API server calls those when it starts; the app goes on without one.
    """
    Thread(target=_look_once, daemon=True).start()
    return app


def _look_once() -> None:
    _import_page()
    from include.orchestration.overview import look_once

    look_once()


class TaxiPlugin(AirflowPlugin):
    """What Airflow is told of the page."""

    name = "taxi"
    fastapi_apps = [{"app": _Page(), "url_prefix": "/taxi", "name": "Taxi"}]
    fastapi_root_middlewares = [{"middleware": _at_start, "name": "Taxi, at the start"}]
    external_views = [
        {
            "name": "Taxi",
            "href": "/taxi/",
            "destination": "nav",
            "url_route": "taxi",
            "nav_top_level": True,
            "icon": "/taxi/static/icon.svg",
        },
        {"name": "Taxi", "href": "/taxi/?dag_id={DAG_ID}", "destination": "dag", "url_route": "taxi_dag"},
    ]
