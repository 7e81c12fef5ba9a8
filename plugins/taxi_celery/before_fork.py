"""Imported by a Celery worker before it forks its pool."""

import gc

from taxi_preload import preload, run_as_batch

preload()
run_as_batch()
gc.freeze()  # so that no fork copies the modules' memory when it looks for garbage; Airflow unfreezes the parent
