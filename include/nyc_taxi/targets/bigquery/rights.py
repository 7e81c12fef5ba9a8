"""rights: see that the account of the connection may do what a load needs, and name all that it may not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from google.api_core import exceptions as api

from include.nyc_taxi import faults
from include.nyc_taxi.errors import WarehouseRefused
from include.nyc_taxi.targets.bigquery.in_place import is_read_in_place

if TYPE_CHECKING:
    from collections.abc import Iterable

    from google.cloud import bigquery as bq

    from include.nyc_taxi.lake import Lake

_OF_BUCKET = ("storage.buckets.get", *(f"storage.objects.{verb}" for verb in ("create", "delete", "get", "list")))


def check(client: bq.Client, lake: Lake, dataset: bq.DatasetReference) -> None:
    """See that the account may write the lake's bucket, run jobs and find the dataset.

    Raises:
        WarehouseRefused: it may not; the error names each permission that is missing, and the role that has it.
    """
    missing = [*_missing_on_bucket(lake), *_missing_in_project(client, dataset)]
    if missing:
        roles = sorted({faults.role_with(permission) for permission in missing})
        raise WarehouseRefused(
            f"the account of the connection lacks {', '.join(missing)}: grant it {' and '.join(roles)}"
        )


def _missing_on_bucket(lake: Lake) -> Iterable[str]:
    """Ask the bucket which permissions the account has there, which anybody may; none if it does not know."""
    if not is_read_in_place(lake):
        return []
    bucket = lake.root.partition("/")[0]
    try:
        answer = lake.fs.call("GET", "b/{}/iam/testPermissions", bucket, permissions=list(_OF_BUCKET), json_out=True)
    except FileNotFoundError:  # no such bucket, which the next question names, or a server without that question
        return []
    return [permission for permission in _OF_BUCKET if permission not in answer.get("permissions", ())]


def _missing_in_project(client: bq.Client, dataset: bq.DatasetReference) -> Iterable[str]:
    for ask in (lambda: client.get_dataset(dataset), lambda: client.query_and_wait("SELECT 1 AS one")):
        try:
            ask()
        except api.NotFound:
            continue
        except api.Forbidden as error:
            permission = faults.missing_permission(error)
            if permission is None:
                raise
            yield permission
