"""geography: whether the server makes geographies of GeoJSON, as BigQuery does, and how."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from google.api_core import exceptions as api

from include.nyc_taxi.targets.sql_files import sql_file

if TYPE_CHECKING:
    from google.cloud import bigquery as bq

log = logging.getLogger(__name__)

_FUNCTION = "ST_GEOGFROMGEOJSON"


def shape_of(client: bq.Client, column: str) -> str:
    """Return the expression of a column of GeoJSON as a geography, or as the text that it is where there are none.

    The publisher's outlines touch themselves in places, which `make_valid` mends.
    """
    return f"{_FUNCTION}({column}, make_valid => TRUE)" if _is_known(client) else column


def _is_known(client: bq.Client) -> bool:
    try:
        client.query_and_wait(sql_file(__file__, "knows_geography.sql"))
    except api.BadRequest as error:
        if _FUNCTION not in str(error).upper():
            raise
        log.info("this server has no function %s: the shapes of zones stay GeoJSON in text", _FUNCTION)
        return False
    return True
