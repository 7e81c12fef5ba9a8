"""alerts: report failed tasks, missed deadlines and months that are overdue.

Every alert is logged. If the connection `taxi_alerts` is set, it is sent there too: type http gets a POST of the JSON
`{"text": ...}`, which chat programs accept, and so does type slackwebhook, as it was made for Airflow's Slack provider;
type smtp sends a mail, from and to the addresses `from_email` and `to_email` of the connection's extra.
"""

from __future__ import annotations

import logging
import re
from datetime import timedelta
from html import escape
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from airflow.sdk import Connection
from airflow.sdk.definitions.callback import SyncCallback
from airflow.sdk.definitions.deadline import DeadlineAlert, DeadlineReference
from airflow.sdk.exceptions import AirflowNotFoundException

from include.nyc_taxi.errors import SetUpError

if TYPE_CHECKING:
    from airflow.sdk import Context

log = logging.getLogger(__name__)

ALERTS_CONNECTION = "taxi_alerts"
_TIMEOUT_SECONDS = 20
_SLACK = "hooks.slack.com/services"
_SLACK_PATH = r"(?a)/?T\w+/B\w+/\w+|https?://\S+/T\w+/B\w+/\w+"


def task_failed(context: Context) -> None:
    """Alert that a task failed with no retries left."""
    ti = context["ti"]
    map_index = "" if ti.map_index is None or ti.map_index < 0 else f"[{ti.map_index}]"
    error = context.get("exception")
    send(
        f"{ti.dag_id}: {ti.task_id}{map_index} failed",
        f"run {ti.run_id}, try {ti.try_number}: {type(error).__name__}: {error}\nSee Triage in the docs of the Dag.",
    )


def deadline_missed(context: dict[str, Any], within: str) -> None:
    """Alert that a run missed its deadline."""
    run = context["dag_run"]
    send(
        f"{run['dag_id']}: not ended within {within} of being queued",
        f"run {run['dag_run_id']}\nSee Triage in the docs of the Dag.",
    )


def deadline_after(hours: float) -> DeadlineAlert:
    """Return the deadline of a run: it alerts if the run has not ended this many hours after it was queued."""
    return DeadlineAlert(
        reference=DeadlineReference.DAGRUN_QUEUED_AT,
        interval=timedelta(hours=hours),
        callback=SyncCallback(deadline_missed, kwargs={"within": f"{hours:g} h"}),
    )


def send(subject: str, text: str) -> None:
    """Log an alert, and send it to the connection `taxi_alerts` if that is set."""
    log.error("%s: %s", subject, text)
    try:
        connection = Connection.get(ALERTS_CONNECTION)
    except AirflowNotFoundException:
        return
    match connection.conn_type:
        case "http" | "https" | "slackwebhook":
            _post(connection, f"{subject}\n{text}")
        case "smtp":
            _mail(connection, subject, text)
        case other:
            raise ValueError(
                f"connection {ALERTS_CONNECTION!r} is of type {other!r}; expected http, slackwebhook or smtp"
            )


def _post(connection: Connection, text: str) -> None:
    import httpx

    from include.nyc_taxi.addresses import Address, shown
    from include.nyc_taxi.download import connect, request_options

    address = Address.parse(_hook_of(connection))
    host = shown(address.url, path=False)  # whoever knows the path of a web hook can post there
    try:
        with connect(_TIMEOUT_SECONDS) as client:
            status = client.post(address.url, json={"text": text}, **request_options(address)).status_code
    except httpx.RequestError as error:
        raise SetUpError(f"connection {ALERTS_CONNECTION!r}: {host}: {type(error).__name__}") from None
    if not HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
        raise SetUpError(f"connection {ALERTS_CONNECTION!r}: {host} answered HTTP {status}; expected 200")


def _hook_of(connection: Connection) -> str:
    """Return the URL of a web hook. Connections made for Slack keep its secret part, or all of it, in the password.

    Raises:
        ValueError: it is none; the error quotes no secret.
    """
    from include.nyc_taxi.addresses import check_web
    from include.orchestration.connections import url_of

    by, secret = f"connection {ALERTS_CONNECTION!r}", (connection.password or "").strip()
    if connection.conn_type != "slackwebhook" and not re.fullmatch(_SLACK_PATH, secret):
        return url_of(connection)
    if not secret:
        raise ValueError(f"{by} has no password; expected the token of a Slack web hook, as T.../B.../...")
    if "://" in secret:
        return check_web(secret, by)
    host = connection.host or _SLACK
    base = host if "://" in host else f"{connection.schema or 'https'}://{host}"
    return check_web(f"{base.rstrip('/')}/{secret.lstrip('/')}", by)


def _mail(connection: Connection, subject: str, text: str) -> None:
    from airflow.providers.smtp.hooks.smtp import SmtpHook

    to = connection.extra_dejson.get("to_email")
    if not to:
        raise ValueError(f"the extra of connection {ALERTS_CONNECTION!r} has no to_email; expected an address")
    try:
        with SmtpHook(ALERTS_CONNECTION) as hook:
            hook.send_email_smtp(to=to, subject=subject, html_content=f"<pre>{escape(text)}</pre>")
    except OSError as error:
        raise SetUpError(f"connection {ALERTS_CONNECTION!r}: {type(error).__name__}: {error}") from error
