"""retries: retry transient errors, and fail at once on permanent ones.

The delay is Airflow's own setting, ``[core] default_task_retry_delay``, and grows with every try.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.sdk import ExceptionRetryPolicy, RetryAction, RetryRule
from airflow.sdk.exceptions import AirflowNotFoundException, ParamValidationError

from include.nyc_taxi.errors import PermanentError, TransientError
from include.orchestration.alerts import task_failed

RETRY_POLICY = ExceptionRetryPolicy(
    rules=[
        RetryRule(TransientError, RetryAction.RETRY, reason="the error is transient"),
        RetryRule(PermanentError, RetryAction.FAIL, reason="the error is permanent: the same input gives it again"),
        RetryRule(
            [ValueError, TypeError, KeyError, PermissionError, ParamValidationError, AirflowNotFoundException],
            RetryAction.FAIL,
            reason="a param, a connection, a Variable or a folder's owner must be corrected first",
        ),
    ]
)

DEFAULT_ARGS: dict[str, Any] = {
    "owner": "nyc-taxi",
    "retries": 1,
    "retry_policy": RETRY_POLICY,
    "retry_exponential_backoff": 2.0,
    "max_retry_delay": timedelta(minutes=15),
    "execution_timeout": timedelta(hours=2),
    "on_failure_callback": task_failed,
}
