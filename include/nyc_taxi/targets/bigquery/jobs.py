"""jobs: the load jobs of a month, or of the zones, in a row of numbers: only one run can be the next to replace it.

BigQuery takes each job id once in a project. A run looks for the last number that was taken, compares its rows with
those of that job, and asks for the next number: if another run was faster, BigQuery refuses the id and the run looks
again. So no run, however long it was held up, replaces rows that it has not seen; and the last job that succeeded,
which says in its labels what it loaded, is what the partition holds, also if no ledger row followed it.
"""

from __future__ import annotations

import hashlib
import re
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime, parsedate_to_datetime
from typing import TYPE_CHECKING, NamedTuple, cast

from google.api_core import exceptions as api

from include.nyc_taxi.order import Order
from include.nyc_taxi.precedence import Claim, Wish

if TYPE_CHECKING:
    from collections.abc import Mapping

    from google.cloud import bigquery as bq

    from include.nyc_taxi.month import Month
    from include.nyc_taxi.targets.bigquery.table import Table

_DIGITS = 12
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NOT_IN_LABELS = re.compile(r"[^a-z0-9_-]")
_LONGEST_LABEL = 63


class Done(NamedTuple):
    """A load job of the month that succeeded: its number, what it loaded, and how many rows."""

    number: int
    claim: Claim
    rows: int


class Chain:
    """The load jobs of one part of one table, such as a month."""

    def __init__(self, client: bq.Client, table: Table, part: Month | str, location: str) -> None:
        self.client = client
        self.location = location
        digest = hashlib.sha256(str(table.reference(client)).encode()).hexdigest()[:_DIGITS]
        self._prefix = f"nyc_taxi-{digest}-{part}"

    def job_id(self, number: int) -> str:
        """The id of the job with this number."""
        return f"{self._prefix}-{number}"

    def last(self, number: int) -> tuple[int, Done | None]:
        """The last number that was taken, from the given one on, and the last of those jobs that succeeded.

        It waits for a job that is still running.
        """
        done: Done | None = None
        while (job := self._job(number + 1)) is not None:
            number += 1
            try:
                job.result()
            except api.GoogleAPICallError:
                continue  # it has changed nothing
            done = Done(number, claim_of_labels(job.labels), int(job.output_rows or 0))
        return number, done

    def _job(self, number: int) -> bq.LoadJob | None:
        try:
            return cast("bq.LoadJob", self.client.get_job(self.job_id(number), location=self.location))
        except api.NotFound:
            return None


def labels_of(claim: Claim) -> dict[str, str]:
    """What a job says of the rows that it loads, in the few characters that labels may have."""
    source, quality, unknown_columns = claim.terms
    labels = {
        "recipe": claim.recipe,
        "edition": claim.edition,
        "edition_number": str(claim.order.number),
        "url": hashlib.sha256(claim.order.url.encode()).hexdigest()[:_DIGITS],
        "modified": _epoch(claim.order.last_modified),
        "source": source,
        "quality": quality,
        "unknown_columns": unknown_columns,
        "asked_at": _digits(claim.wish.asked_at),
        "asked_for": claim.wish.asked_for or "",
    }
    return {name: label(value) for name, value in labels.items()}


def claim_of_labels(labels: Mapping[str, str]) -> Claim:
    """The claim that `labels_of` spelled, with a digest in place of the URL."""
    return Claim(
        recipe=labels.get("recipe", ""),
        edition=labels.get("edition", ""),
        order=Order(
            labels.get("url", ""), _http_date(labels.get("modified", "")), int(labels.get("edition_number", 0))
        ),
        terms=tuple(labels.get(name, "") for name in ("source", "quality", "unknown_columns")),
        wish=Wish(_moment(labels.get("asked_at", "")), _wish(labels.get("asked_for", ""))),
    )


def label(text: str) -> str:
    """The text as BigQuery lets a label have it."""
    return _NOT_IN_LABELS.sub("-", text.lower())[:_LONGEST_LABEL]


def _digits(asked_at: str) -> str:
    """A time as microseconds since 1970."""
    return str((datetime.fromisoformat(asked_at) - _EPOCH) // timedelta(microseconds=1)) if asked_at else ""


def _moment(digits: str) -> str:
    since = timedelta(microseconds=int(digits)) if digits else None
    return (_EPOCH + since).isoformat(timespec="microseconds") if since is not None else ""


def _wish(label: str) -> str | None:
    """What was asked for; a label has `-` for `=`."""
    return label.replace("edition-", "edition=", 1) or None


def _epoch(http_date: str | None) -> str:
    try:
        return str(round(parsedate_to_datetime(http_date).timestamp())) if http_date else ""
    except ValueError:
        return ""


def _http_date(epoch: str) -> str | None:
    return format_datetime(datetime.fromtimestamp(int(epoch), UTC), usegmt=True) if epoch else None
