"""Celery's configuration as Airflow has it, with modules that a worker imports before it forks its pool.

AIRFLOW__CELERY__CELERY_CONFIG_OPTIONS=taxi_celery.CONFIG
"""

from typing import Any

from airflow.providers.celery.executors.default_celery import DEFAULT_CELERY_CONFIG

CONFIG: dict[str, Any] = DEFAULT_CELERY_CONFIG | {"imports": ("taxi_celery.before_fork",)}
