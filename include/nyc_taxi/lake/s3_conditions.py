"""s3_conditions: try whether a server that speaks S3's protocol honours the conditions of requests, or ignores them."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from include.nyc_taxi.errors import SetUpError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_OTHER_STATE = '"00000000000000000000000000000000"'
_REFUSALS = (HTTPStatus.NOT_MODIFIED, HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT, HTTPStatus.PRECONDITION_FAILED)
_tried: dict[tuple[str, str], bool] = {}


def status_of(error: Exception) -> int:
    """Return the HTTP status that an error of botocore is about; 0 without one."""
    return int(getattr(error, "response", {}).get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def is_refused(error: Exception) -> bool:
    """Whether the object is not in the state that the request named, or is being changed at this moment."""
    return status_of(error) in _REFUSALS and "Bucket" not in code_of(error)


def code_of(error: Exception) -> str:
    """Return S3's code of an error, such as `NoSuchBucket`; a number if the answer had no body."""
    return str(getattr(error, "response", {}).get("Error", {}).get("Code", ""))


def are_deletions_conditional(client: Any, place: Mapping[str, str]) -> bool:  # noqa: ANN401 - boto3 has no types
    """Try the conditions of uploads and deletions on an object of our own, once per process and bucket.

    Args:
        client: a client of boto3.
        place: `Bucket` and `Key` of an object that nobody else uses.

    Returns:
        Whether deletions honour conditions.

    Raises:
        SetUpError: uploads do not.
    """
    server = str(client.meta.endpoint_url)
    tried = server, place["Bucket"]
    if tried not in _tried:
        _tried[tried] = _try(client, place, server)
    return _tried[tried]


def _try(client: Any, place: Mapping[str, str], server: str) -> bool:  # noqa: ANN401 - boto3 has no types
    def put(**condition: str) -> Callable[[], object]:
        return lambda: client.put_object(**place, Body=b"condition", **condition)

    # An upload that is repeated because its answer was lost may be refused, too, so the second of each kind tells.
    attempts = (
        ("If-Match on a key without an object", put(IfMatch=_OTHER_STATE), True),
        ("", put(IfNoneMatch="*"), False),
        ("If-None-Match", put(IfNoneMatch="*"), True),
        ("If-Match", put(IfMatch=_OTHER_STATE), True),
    )
    try:
        for condition, attempt, is_needed in attempts:
            if not _refuses(client, attempt) and is_needed:
                raise SetUpError(
                    f"the S3 server at {server} ignores {condition} when an object is put, so that two runs could "
                    "overwrite each other; expected a server with conditional writes: put the lake into another place"
                )
        return _refuses(client, lambda: client.delete_object(**place, IfMatch=_OTHER_STATE))
    finally:
        client.delete_object(**place)


def _refuses(client: Any, attempt: Callable[[], object]) -> bool:  # noqa: ANN401 - boto3 has no types
    """Whether a request is refused because of its condition. One that is not implemented counts as ignored."""
    try:
        attempt()
    except client.exceptions.ClientError as error:
        if status_of(error) == HTTPStatus.NOT_IMPLEMENTED:
            return False
        if not is_refused(error):
            raise
        return True
    return False
