"""database: what may happen to Postgres while a month is on its way into it."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg

from devtools.faults import ground
from devtools.faults.disks import small_disk
from devtools.faults.fault import RIGHT, Fault
from devtools.faults.flow import wait_until_stopped
from devtools.faults.months import NOTHING, Held
from devtools.faults.points import IN_COPY, LANDED, LOOKED, READING, SWAPPED
from devtools.faults.targets import READER
from devtools.faults.tasks import LOAD

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from devtools.faults.flow import Running
    from devtools.faults.scene import Scene

_KIND = "database"
_POINTS = (LANDED, LOOKED, READING, IN_COPY)
_OTHERS = f"datname = current_database() AND pid <> pg_backend_pid() AND application_name <> '{READER}'"
_END = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {_OTHERS}"
_CANCEL = f"SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE {_OTHERS}"
_PARTITION = "green_taxi_trips_2024_01"
_CHANGES = {
    "table dropped": "DROP TABLE green_taxi_trips CASCADE",
    "table truncated": "TRUNCATE green_taxi_trips",
    "table renamed": "ALTER TABLE green_taxi_trips RENAME TO other_trips",
    "partition detached": (
        f"ALTER TABLE green_taxi_trips DETACH PARTITION {_PARTITION}; ALTER TABLE {_PARTITION} RENAME TO kept"
    ),
    "partition dropped": f"DROP TABLE {_PARTITION}",
    "column dropped": "ALTER TABLE green_taxi_trips DROP COLUMN trip_distance CASCADE",
    "column added": "ALTER TABLE green_taxi_trips ADD COLUMN note text",
    "ledger dropped": "DROP TABLE load_ledger",
    "summaries dropped": "DROP TABLE trips_by_month, trips_by_hour, trips_by_zone",
    "rows deleted": "DELETE FROM green_taxi_trips",
}
_TEAR_DOWN = {"column added": "ALTER TABLE green_taxi_trips DROP COLUMN note", "partition detached": "DROP TABLE kept"}
_VIEW = "CREATE VIEW green_taxi_trips (total_amount) AS VALUES (1)"
_REFUSED = {
    "a view in the way": (
        f"CREATE SCHEMA z; ALTER TABLE green_taxi_trips SET SCHEMA z; {_VIEW}",
        "DROP VIEW green_taxi_trips; ALTER TABLE z.green_taxi_trips SET SCHEMA public",
        "A view has the table's name.",
    ),
    "a view on the partition": (
        f"CREATE VIEW of_month AS SELECT total_amount FROM {_PARTITION}",
        "DROP VIEW of_month",
        "A view of somebody's depends on the month's partition.",
    ),
    "a constraint in the way": (
        "ALTER TABLE green_taxi_trips ADD CHECK (total_amount < 1.5)",
        "ALTER TABLE green_taxi_trips DROP CONSTRAINT green_taxi_trips_total_amount_check",
        "Somebody adds a constraint that the new edition breaks.",
    ),
}


def faults() -> Iterator[Fault]:
    """List the faults of this kind."""
    for point in (LOOKED, READING, IN_COPY, SWAPPED):
        yield _fault(
            f"connection ended {point}",
            f"An administrator ends the session {point}.",
            _tell(point, _END),
            is_short=point == IN_COPY,
        )
    for point in (LOOKED, IN_COPY):
        yield _fault(
            f"statement cancelled {point}", f"An administrator cancels the statement {point}.", _tell(point, _CANCEL)
        )
    for point in (LANDED, IN_COPY):
        yield from _changed(point)
    for name, (do, undo, what) in _REFUSED.items():
        yield _fault(name, what, _changed_for_good(do, undo), "WarehouseRefused")
    yield from _servers()
    yield from _locks()
    yield from _full_disk()


def _fault(name: str, what: str, do: Callable[[Scene], object], *expects: str, is_short: bool = False) -> Fault:
    return Fault(_KIND, f"database: {name}", what, do, expects or (RIGHT,), is_short=is_short)


def _tell(point: str, statement: str) -> Callable[[Scene], object]:
    return lambda scene: scene.at(point, lambda _: scene.query(statement))


def _changed(point: str) -> Iterator[Fault]:
    for name, statement in _CHANGES.items():
        if (name, point) == ("ledger dropped", IN_COPY):
            continue  # the load has looked at it, and so nobody can
        yield _fault(
            f"{name} {point}", f"Somebody changes the database {point}: {name}.", _change(point, name, statement)
        )


def _change(point: str, name: str, statement: str) -> Callable[[Scene], object]:
    def do(scene: Scene) -> None:
        scene.seen_too.add(NOTHING)
        scene.at(point, lambda _: scene.query(f"SET lock_timeout = '2s'; {statement}"))
        if name in _TEAR_DOWN:
            scene.afterwards(lambda: scene.query(_TEAR_DOWN[name]))

    return do


def _changed_for_good(statement: str, undo: str) -> Callable[[Scene], object]:
    def do(scene: Scene) -> None:
        scene.seen_too |= {Held(1, 1, 1)}
        scene.query(statement)
        scene.afterwards(lambda: scene.query(undo))

    return do


def _servers() -> Iterator[Fault]:
    for point in (*_POINTS, SWAPPED):
        yield _fault(
            f"server killed {point}",
            f"The server loses its power {point}, and comes back.",
            _killed(point),
            is_short=point == SWAPPED,
        )
    yield _fault("server restarted in mid-COPY", "The server is restarted in mid-COPY.", _restarted(IN_COPY))
    yield _fault("server away", "The server is down when the load begins, and is back for the second retry.", _away)
    yield _fault("server gone", "The server goes down before the load, for good.", _gone, "WarehouseBusy")
    yield _fault(
        "a backend killed", "A process of the server crashes in mid-COPY; the server recovers.", _backend_killed
    )


def _killed(point: str) -> Callable[[Scene], object]:
    def do(scene: Scene) -> None:
        server = scene.use_mortal_postgres()
        scene.settle()
        scene.at(point, lambda _: ground.kill(server))
        scene.before_retry(lambda: ground.start(server))

    return do


def _restarted(point: str) -> Callable[[Scene], object]:
    def do(scene: Scene) -> None:
        server = scene.use_mortal_postgres()
        scene.settle()

        def restart(_: Running) -> None:
            server.stop()
            ground.start(server)

        scene.at(point, restart)

    return do


def _away(scene: Scene) -> None:
    server, tries = scene.use_mortal_postgres(), []
    scene.settle()
    scene.at(LANDED, lambda _: ground.kill(server))

    def back() -> None:
        tries.append(1)
        if len(tries) == 2:  # noqa: PLR2004 - the second retry
            ground.start(server)

    scene.before_retry(back)


def _gone(scene: Scene) -> None:
    server = scene.use_mortal_postgres()
    scene.settle()
    scene.at(LANDED, lambda _: ground.kill(server))


def _backend_killed(scene: Scene) -> None:
    scene.use_mortal_postgres()
    scene.settle()

    def crash(_: Running) -> None:
        [[pid]] = scene.query("SELECT pid FROM pg_stat_activity WHERE query ~ '^COPY'")
        with suppress(ProcessLookupError):
            os.kill(pid, 9)

    scene.at(IN_COPY, crash)
    scene.before_retry(lambda: _wait_for(scene))


def _wait_for(scene: Scene) -> None:
    for _ in range(100):
        with suppress(psycopg.OperationalError):
            scene.query("SELECT 1")
            return
        scene.pause(0.1)


def _locks() -> Iterator[Fault]:
    yield _fault("a reader holds the table for a moment", "A query reads the table for two seconds.", _held_for(2.0))
    yield _fault(
        "a reader holds the table for good",
        "A query reads the table and does not end.",
        _held_for(None),
        "WarehouseBusy",
    )
    yield _fault("the month's lock is held", "Another session holds the month's lock for a second.", _advisory_lock)
    yield _fault(
        "a session stands still in mid-COPY",
        "The process stands still for longer than the server lets a transaction idle.",
        _idle,
    )
    yield _fault(
        "a short statement_timeout",
        "The role's statements end after 50 ms.",
        _statement_timeout,
        RIGHT,
        "WarehouseBusy",
    )
    yield _fault(
        "no connections left", "All connections of the role are in use until the second retry.", _no_connections
    )


def _held_for(seconds: float | None) -> Callable[[Scene], object]:
    def do(scene: Scene) -> None:
        reader = psycopg.connect(scene.conninfo)
        reader.execute("SELECT count(*) FROM green_taxi_trips")
        scene.afterwards(reader.close)
        if seconds is not None:
            scene.after(LOAD, seconds, lambda _: reader.close())

    return do


def _advisory_lock(scene: Scene) -> None:
    other = psycopg.connect(scene.conninfo)
    other.execute("SELECT pg_advisory_xact_lock(hashtextextended('public.green_taxi_trips 2024-01', 0))")
    scene.after(LOAD, 1.0, lambda _: other.close())
    scene.afterwards(other.close)


def _idle(scene: Scene) -> None:
    scene.query(f"ALTER DATABASE {scene.database} SET idle_in_transaction_session_timeout = '300ms'")
    scene.afterwards(lambda: scene.query(f"ALTER DATABASE {scene.database} RESET ALL"))

    def stop(running: Running) -> None:
        running.stop()
        wait_until_stopped(running)
        running.wake_after(1.0)

    scene.at(READING, stop)


def _statement_timeout(scene: Scene) -> None:
    scene.query(f"ALTER DATABASE {scene.database} SET statement_timeout = '50ms'")
    scene.afterwards(lambda: scene.query(f"ALTER DATABASE {scene.database} RESET ALL"))


def _no_connections(scene: Scene) -> None:
    role = f"few_{scene.name}"
    scene.query(f"CREATE ROLE {role} LOGIN PASSWORD 'few'; GRANT taxi TO {role}; ALTER ROLE {role} SET role = taxi")
    scene.query(f"ALTER DATABASE {scene.database} CONNECTION LIMIT 0")
    scene.connect(login=role, password="few")
    tries: list[int] = []

    def free() -> None:
        tries.append(1)
        if len(tries) == 2:  # noqa: PLR2004 - the second retry
            scene.query(f"ALTER DATABASE {scene.database} CONNECTION LIMIT -1")

    scene.before_retry(free)
    scene.afterwards(lambda: scene.query(f"ALTER DATABASE {scene.database} CONNECTION LIMIT -1"))


def _full_disk() -> Iterator[Fault]:
    yield _fault(
        "disk full", "The server's disk has no space for the month.", _disk_full, "WarehouseBusy", is_short=True
    )


def _disk_full(scene: Scene) -> None:
    disk = small_disk(scene, "tablespace", kilobytes=300)
    os.chown(disk, Path(scene.server.folder / "data").stat().st_uid, -1)
    scene.query(f"CREATE TABLESPACE small_{scene.name} LOCATION '{disk}'")
    scene.query(f"ALTER DATABASE {scene.database} SET default_tablespace = small_{scene.name}")

    def undo() -> None:
        scene.query(f"ALTER DATABASE {scene.database} RESET ALL")
        scene.query(f"DROP TABLESPACE small_{scene.name}")

    scene.afterwards(undo)
