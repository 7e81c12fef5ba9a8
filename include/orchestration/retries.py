"""retries: retry transient errors, and fail at once on permanent ones.

The delay is Airflow's own setting, ``[core] default_task_retry_delay``, and grows with every try.
"""

from __future__ import annotations

from datetime import timedelta
from functools import wraps
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from airflow.sdk import ExceptionRetryPolicy, RetryAction, RetryRule
from airflow.sdk.exceptions import AirflowNotFoundException, ParamValidationError

from include.nyc_taxi import faults
from include.nyc_taxi.errors import PermanentError, TransientError
from include.orchestration.alerts import task_failed
from include.orchestration.memory import check_memory, forget_memory

if TYPE_CHECKING:
    from collections.abc import Callable

Given = ParamSpec("Given")
Result = TypeVar("Result")

RETRY_POLICY = ExceptionRetryPolicy(
    rules=[
        RetryRule(TransientError, RetryAction.RETRY, reason="the error is transient"),
        RetryRule(PermanentError, RetryAction.FAIL, reason="the error is permanent: the same input gives it again"),
        RetryRule(
            [ValueError, TypeError, KeyError, PermissionError, ParamValidationError, AirflowNotFoundException],
            RetryAction.FAIL,
            reason="a param, a connection, a Variable or a folder's owner must be corrected first",
        ),
        RetryRule(
            [AttributeError, ImportError, NameError, AssertionError, IndexError, NotImplementedError, RecursionError],
            RetryAction.FAIL,
            reason="the code is wrong: it fails in the same way again",
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
    "pre_execute": check_memory,
    "on_success_callback": forget_memory,
    "on_skipped_callback": forget_memory,
    "on_retry_callback": forget_memory,
    "on_failure_callback": [task_failed, forget_memory],
}


def reported(step: Callable[Given, Result]) -> Callable[Given, Result]:
    """Make every error that ends a step one of those that Triage names, with the file or the step that it is about."""

    @wraps(step)
    def run(*args: Given.args, **kwargs: Given.kwargs) -> Result:
        with faults.told(_subject(args) or step.__name__):
            return step(*args, **kwargs)

    return run


def _subject(args: tuple[Any, ...]) -> str | None:
    first = args[0] if args else None
    name = first.get("file") if isinstance(first, dict) else first
    return name if isinstance(name, str) else None
