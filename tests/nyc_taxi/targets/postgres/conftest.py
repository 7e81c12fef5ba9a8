"""Loads into a warehouse of the test's own."""

import psycopg
import pytest

from include.nyc_taxi.targets.postgres import Postgres
from include.nyc_taxi.targets.postgres.load import replace_month


@pytest.fixture
def load(warehouse, lake):
    """Loads a landed month over a connection of its own; `connect` are options of that connection."""

    def load(file, *, connect=None, **options):
        with psycopg.connect(warehouse, **(connect or {})) as connection:
            table = options.pop("table", None) or Postgres().default_table(file.service)
            return replace_month(connection, file, options.pop("lake", lake), table=table, **options)

    return load


@pytest.fixture
def query(warehouse):
    """Asks or tells the warehouse something, and commits."""

    with psycopg.connect(warehouse, autocommit=True) as connection:

        def query(statement, parameters=None):
            cursor = connection.execute(statement, parameters)
            return [] if cursor.description is None else cursor.fetchall()

        yield query


@pytest.fixture
def contents(query):
    """All that lies in the warehouse: equal before and after means that nothing has changed."""

    def contents():
        held = [
            query("""
                SELECT oid, relname, relfilenode, relnatts, relowner FROM pg_class
                WHERE relnamespace NOT IN ('pg_catalog'::regnamespace, 'pg_toast'::regnamespace,
                                           'information_schema'::regnamespace)
                ORDER BY oid
            """),
        ]
        if query("SELECT to_regclass('load_ledger')") != [(None,)]:
            held.append(query("SELECT load_ledger::text FROM load_ledger ORDER BY load_id"))
        if query("SELECT to_regclass('green_taxi_trips')") != [(None,)]:
            held.append(query("SELECT green_taxi_trips::text FROM green_taxi_trips ORDER BY 1"))
        return held

    return contents
