"""Build the dbt models of a month, each time a month has been loaded.

`build`

- **What**: when any Dag has loaded a month into `TARGET`, one run calls `dbt build` for the models that read the
  service's table or its view under the publisher's names, and gives dbt the variables `service` and `month`. A load
  that found its month up to date starts a run that is skipped, because no row has changed.
- **Grain**: one service and one month. To build a month by hand, trigger the Dag with the param `file`.
- **Re-run safety**: that of the models. Those of `trips_by_day/` replace the rows of their month.

### Triage

- `dbt: command not found`: install dbt, or let `DBT_EXECUTABLE` name it in the environment of the workers.
- `Could not set lock on file`: a load writes the DuckDB file. The task was retried; clear it.
- A failed model or test of dbt: its log has the reason. Correct the project, and clear the task.
"""

import json
import os
import shlex
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from airflow.sdk import Asset, AssetAny, Param, PartitionedAssetTimetable, dag, task
from airflow.sdk.exceptions import AirflowSkipException

TARGET = "duckdb"
SERVICES = ("yellow", "green", "fhv", "fhvhv", "any")
DBT = os.environ.get("DBT_EXECUTABLE", "dbt")

LOADED = AssetAny(*(Asset.ref(name=f"{TARGET} {service}") for service in SERVICES))


@dag(
    description="The dbt models of a month that has been loaded",
    doc_md=__doc__,
    schedule=PartitionedAssetTimetable(assets=LOADED),
    params={
        "file": Param(
            None,
            type=["null", "string"],
            pattern=r"^[a-z]+_tripdata_\d{4}-\d{2}$",
            title="File",
            description="A month to build by hand, such as green_tripdata_2024-01.",
        )
    },
    default_args={"retries": 3, "retry_delay": timedelta(minutes=1)},
    max_active_runs=1,
    tags=["tlc", "dbt"],
)
def build_models() -> None:
    @task.bash
    def build(params: Mapping[str, Any], triggering_asset_events: Mapping[Asset, Any]) -> str:
        service, month = (params["file"] or changed_file(triggering_asset_events)).split("_tripdata_")
        readers = [f"source:*.{service}_{name}+" for name in ("tripdata", "taxi_trips", "trips")]
        variables = json.dumps({"service": service, "month": month})
        return shlex.join([DBT, "build", "--select", *readers, "--vars", variables])

    build()  # type: ignore[call-arg] # Airflow gives what is in its context


def changed_file(events: Mapping[Asset, Any]) -> str:
    """Return the file whose rows have changed, such as `green_tripdata_2024-01`; all events of a run are of one.

    Raises:
        AirflowSkipException: no load has changed a row.
    """
    loads = [event.extra for asset in events for event in events[asset]]
    for load in loads:
        if load["outcome"] in {"replaced", "appended"}:
            return str(load["file"])
    raise AirflowSkipException(f"nothing to build: no load has changed a row: {loads}")


build_models()
