"""The coverage page in Airflow's web UI: an entry "Taxi" in its navigation, and a tab on every Dag.

Every Airflow process imports this file, tasks included, so it imports no more than Airflow has anyway. The page itself
is in taxi_page/, which only the API server imports, when it starts.
"""

import asyncio
import sys
from functools import cache
from pathlib import Path
from threading import Thread
from typing import Any

from airflow.plugins_manager import AirflowPlugin


class _Page:
    """The page's application, imported at its first request or before."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        page = await asyncio.to_thread(_import_page)
        # The page replaces `app` by itself, and it asks the API server's own app for runs.
        await page({**scope, "airflow": scope["app"]}, receive, send)


@cache
def _import_page() -> Any:
    # The API server does not load Dag bundles, so `include` is found beside this folder, or in the copy for a web
    # server that gets only the plugins. Do this nowhere else: a task must import the `include` of its own bundle, which
    # may have another version.
    here = Path(__file__).resolve().parent
    folders = (here, here.parent, here / "taxi_bundle")
    sys.path.extend(str(folder) for folder in folders if str(folder) not in sys.path)
    from taxi_page.app import app

    return app


def _at_start(app: Any) -> Any:
    """Warm up the page in the background, so that the first viewer does not wait.

    Registered as a middleware only to run code at startup; the app stays as it is.
    """
    Thread(target=_warm_up, daemon=True).start()
    return app


def _warm_up() -> None:
    _import_page()
    from include.orchestration.overview import warm_up

    warm_up()


class TaxiPlugin(AirflowPlugin):
    """The page and its entries in Airflow's UI."""

    name = "taxi"
    fastapi_apps = [{"app": _Page(), "url_prefix": "/taxi", "name": "Taxi"}]
    fastapi_root_middlewares = [{"middleware": _at_start, "name": "Taxi, at startup"}]
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
