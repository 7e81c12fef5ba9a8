"""Load one or more months with the real Dags, show their progress, and report what was loaded.

    python -m devtools.demo --source ../tlc --colour green --month 2024-01 --flow bigquery

Without a source it generates the months and serves them over HTTP on loopback, so that the flow downloads them as it
would from the publisher. It always uses the warehouse, lake and cloud in `.local`, whatever the environment names.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from devtools import environment as project
from devtools import metadata
from devtools.demo import choice as choices
from devtools.demo import flow
from devtools.demo.published import GENERATED, origin, path_of
from devtools.environment import LOCAL, WAREHOUSE
from devtools.run import BUCKET, keep_cloud, keep_warehouse, prepare_airflow, warehouse_connection
from include.nyc_taxi import catalog, editions, targets
from include.nyc_taxi.errors import TaxiError
from include.nyc_taxi.lake import Lake, raw_key

if TYPE_CHECKING:
    from collections.abc import Sequence

    from devtools.demo.choice import Choice
    from devtools.demo.published import Origin

DUCKDB = "AIRFLOW_CONN_TAXI_DUCKDB"
RETRY_DELAY = "AIRFLOW__CORE__DEFAULT_TASK_RETRY_DELAY"
ASK_EACH_TIME = {"cache_ttl_hours": 0}  # somebody may have changed the file a moment ago


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the demo; exit with 1 if the flow fails."""
    choice = choices.parse(arguments)
    project.private_local()
    with origin(choice, _say) as source:
        connection = f"AIRFLOW_CONN_{catalog.source(source.source).connection.upper()}"
        someone_watches = {RETRY_DELAY: "1"}
        environment = project.project_environment(someone_watches | dict(os.environ)) | source.environment
        environment[connection] = json.dumps({"conn_type": "http", "host": source.base_url})
        show = {"postgres": _through_postgres, "bigquery": _through_bigquery, "duckdb": _into_duckdb}[choice.flow]
        show(choice, source, environment)


def _through_postgres(choice: Choice, source: Origin, environment: dict[str, str]) -> None:
    import psycopg

    from devtools.demo import report, zones

    lake = Lake.at(LOCAL / "lake")
    _refuse_real(choice, lake)
    _prepare(environment)
    _say("starting the embedded Postgres")
    server = keep_warehouse()
    environment |= {WAREHOUSE: warehouse_connection(server), "AIRFLOW_VAR_TAXI_LAKE": f"file://{LOCAL / 'lake'}"}
    seconds = _run(choice, source.source, environment)
    with psycopg.connect(server.conninfo()) as connection:
        zones.bring(connection, choice, source, lake, _say)
        report.of_postgres(connection, choice, lake, seconds)


def _through_bigquery(choice: Choice, source: Origin, environment: dict[str, str]) -> None:
    from devtools.demo import report

    _say("starting the local cloud: GCS and BigQuery emulators")
    cloud = keep_cloud()
    environment |= {**cloud, "AIRFLOW_VAR_TAXI_LAKE": f"gs://taxi_gcp@{BUCKET}"}
    os.environ |= cloud
    lake = Lake.at(f"gs://{BUCKET}")
    _refuse_real(choice, lake)
    _prepare(environment)
    report.of_bigquery(choice, lake, _run(choice, source.source, environment))


def _into_duckdb(choice: Choice, source: Origin, environment: dict[str, str]) -> None:
    from devtools.demo import report

    lake = Lake.at(LOCAL / "lake")
    _refuse_real(choice, lake)
    _prepare(environment)
    home = targets.get("duckdb").home(LOCAL) or ""
    environment |= {DUCKDB: home, "AIRFLOW_VAR_TAXI_LAKE": f"file://{LOCAL / 'lake'}"}
    report.of_duckdb(Path(json.loads(home)["host"]), choice, lake, _run(choice, source.source, environment))


def _prepare(environment: dict[str, str]) -> None:
    """Create Airflow's metadata database if it is missing, and let the demo have a copy."""
    prepare_airflow(environment)
    environment |= metadata.copied(environment)


def _run(choice: Choice, source: str, environment: dict[str, str]) -> float:
    """Run the flows for all months, and return the seconds that their tasks took."""
    conf: dict[str, Any] = {"colour": choice.service, "source": source, **ASK_EACH_TIME}
    if choice.flow == "postgres" and len(choice.months) == 1:
        [month] = choice.months
        conf |= {"year": month.year, "month": month.month}
        return flow.run("ingest_data", conf, environment, flow.show_all)
    show = flow.show_all if len(choice.months) == 1 else flow.Months(len(choice.months)).show
    seconds = 0.0
    for year, months in groupby(choice.months, key=lambda month: month.year):
        conf |= {"year": year, "months": [month.month for month in months], "target": choice.flow}
        seconds += flow.run("etl_parent_flow", conf, environment, show)
    return seconds


def _refuse_real(choice: Choice, lake: Lake) -> None:
    """Exit if generated trips would replace real ones in the lake, and with them in the warehouse."""
    if not choice.is_generated:
        return
    for file in choice.files:
        current = editions.history(lake, raw_key(file, choices.OFFICIAL)).current
        if current is None or f"/{GENERATED}/" in current.url:
            continue
        if current.sha256 != hashlib.sha256(path_of(file).read_bytes()).hexdigest():
            sys.exit(
                f"{file} is in the lake from {current.url}, and the demo's generated trips would replace it; "
                "choose another MONTH, or give its SOURCE"
            )


def _say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    try:
        main()
    except (TaxiError, ValueError) as error:
        sys.exit(f"make demo: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
