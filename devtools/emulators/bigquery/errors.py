"""The errors that BigQuery answers with."""

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
    """A request or job that fails, with BigQuery's reason and message.

    Args:
        reason: one of `HTTP_STATUS`; clients choose their exception by it.
        message: for people.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message

    @property
    def status(self) -> int:
        """The HTTP status for the reason."""
        return HTTP_STATUS[self.reason]

    def result(self) -> dict[str, str]:
        """Return the error as it stands in a job's status."""
        return {"reason": self.reason, "message": self.message}

    def response(self) -> dict[str, Any]:
        """Return the error as the body of an HTTP response."""
        error = {"message": self.message, "domain": "global", "reason": self.reason}
        return {"error": {"code": self.status, "message": self.message, "errors": [error]}}


def not_supported(what: str) -> Refused:
    """Return the error for a part of BigQuery that this emulator lacks."""
    return Refused("notImplemented", f"local cloud: {what}")


def not_found(what: str, name: str, location: str | None = None) -> Refused:
    """Return the error for a thing that does not exist, or not in that location."""
    where = f" was not found in location {location}" if location else ""
    return Refused("notFound", f"Not found: {what} {name}{where}")
