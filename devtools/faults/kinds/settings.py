"""settings: databases as they are found, with settings that change what text, dates and names mean."""

from __future__ import annotations

from typing import TYPE_CHECKING

from psycopg import sql

from devtools.faults.fault import RIGHT, Fault

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from devtools.faults.scene import Scene

_KIND = "settings"
_SETTINGS = (
    ("quote_all_identifiers", "on"),
    ("datestyle", "German"),
    ("datestyle", "SQL, DMY"),
    ("client_encoding", "LATIN1"),
    ("intervalstyle", "iso_8601"),
    ("search_path", "pg_catalog"),
    ("search_path", "elsewhere, public"),
    ("timezone", "Asia/Tokyo"),
    ("array_nulls", "off"),
    ("extra_float_digits", "-10"),
    ("standard_conforming_strings", "off"),
    ("default_transaction_isolation", "serializable"),
    ("default_transaction_deferrable", "on"),
    ("bytea_output", "escape"),
    ("synchronous_commit", "off"),
    ("default_table_access_method", "heap"),
    ("transform_null_equals", "on"),
    ("row_security", "off"),
    ("work_mem", "64kB"),
    ("enable_seqscan", "off"),
)


def faults() -> Iterator[Fault]:
    """List the faults of this kind."""
    for name, value in _SETTINGS:
        yield _fault(f"{name} = {value}", f"The database has the setting {name} = {value}.", _set(name, value))
    yield _fault(
        "read-only",
        "The database has default_transaction_read_only = on.",
        _set("default_transaction_read_only", "on"),
        "WarehouseRefused",
        is_short=True,
    )


def _fault(name: str, what: str, do: Callable[[Scene], object], *expects: str, is_short: bool = False) -> Fault:
    return Fault(_KIND, f"database with {name}", what, do, expects or (RIGHT,), is_short=is_short or "German" in name)


def _set(name: str, value: str) -> Callable[[Scene], object]:
    def do(scene: Scene) -> None:
        database = sql.Identifier(scene.database)
        shown = sql.SQL(value) if name == "search_path" else sql.Literal(value)
        statement = sql.SQL("ALTER DATABASE {} SET {} = {}").format(database, sql.Identifier(name), shown)
        scene.query("CREATE SCHEMA IF NOT EXISTS elsewhere")
        scene.query(statement)
        scene.afterwards(lambda: scene.query(sql.SQL("ALTER DATABASE {} RESET ALL").format(database)))

    return do
