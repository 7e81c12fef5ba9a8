"""What BigQuery answers when it refuses."""

from __future__ import annotations

from typing import Any

HTTP_STATUS = {
    "conditionNotMet": 412,
    "duplicate": 409,
    "invalid": 400,
    "invalidQuery": 400,
    "notFound": 404,
    "notImplemented": 501,
    "resourceInUse": 400,
    "stopped": 499,
}


class Refused(Exception):
    """A request or job that fails, in BigQuery's own terms.

    Args:
        reason: one of `HTTP_STATUS`, by which clients choose their exception.
        message: for a person.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message

    @property
    def status(self) -> int:
        """The HTTP status that goes with the reason."""
        return HTTP_STATUS[self.reason]

    def result(self) -> dict[str, str]:
        """The error as a job's status holds it."""
        return {"reason": self.reason, "message": self.message}

    def response(self) -> dict[str, Any]:
        """The error as the body of an HTTP response."""
        error = {"message": self.message, "domain": "global", "reason": self.reason}
        return {"error": {"code": self.status, "message": self.message, "errors": [error]}}


def not_found(what: str, name: str, location: str | None = None) -> Refused:
    """The answer where a thing is not there, or not in that location."""
    where = f" was not found in location {location}" if location else ""
    return Refused("notFound", f"Not found: {what} {name}{where}")
