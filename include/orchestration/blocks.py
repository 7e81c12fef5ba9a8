"""blocks: create the connections and Variables of the flows in Airflow's database, unless they are there.

    TAXI_SOURCE='{"conn_type": "http", "host": "https://example.org"}' python -m include.orchestration.blocks

The environment variable TAXI_SOURCE describes the connection `taxi_source`, TAXI_LAKE the Variable `taxi_lake`, and so
on. What is in the database stays, with one exception: a connection that nobody has changed since an earlier start made
it from TAXI_WAREHOUSE_BEFORE becomes what TAXI_WAREHOUSE describes. OVERRIDING lists the environment variables that
Airflow uses in place of what is in its database.
"""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow.models.connection import Connection
    from airflow.models.variable import Variable
    from sqlalchemy.orm import Session

MARK = "blocks: "  # begins the lines for people, among those of Airflow
OVERRIDING = "OVERRIDING"
BEFORE = "_BEFORE"

# What Airflow's lists of connections and Variables show beside them.
CONNECTIONS = {
    "taxi_source": "The publisher's files: base URL. Airflow's Test sends a POST, which web servers of files refuse",
    "taxi_csv_mirror": "Mirror of the publisher's old CSV files: base URL",
    "taxi_csv_archive": "Your copy of the publisher's CSV files of 2009 to 2020-06: base URL",
    "taxi_warehouse": "The Postgres that the flows load into",
    "taxi_warehouse_reader": "The role that the coverage page reads Postgres with",
    "taxi_duckdb": "The DuckDB file that the flows load into: its absolute path as the host",
    "taxi_gcp": "Google Cloud for gs:// and BigQuery. Anonymous: the emulators on this machine, if they run",
    "taxi_aws": "S3, or a server that speaks its protocol, for s3://",
    "taxi_alerts": "Who is notified of failures and missed deadlines",
}
VARIABLES = {
    "taxi_lake": "The lake: file:///folder, gs://taxi_gcp@bucket/prefix or s3://taxi_aws@bucket/prefix",
    "taxi_url_hosts": "Hosts that the param url may load a file from, with commas between them",
    "taxi_keep_editions": "How many editions of each file keep their bytes in raw/",
}
_POSTGRES = {"conn_type": "postgres", "host": "db.example.org", "login": "taxi", "password": "...", "schema": "ny_taxi"}
_EXAMPLES: dict[str, dict[str, Any]] = {
    "taxi_warehouse": _POSTGRES,
    "taxi_warehouse_reader": _POSTGRES,
    "taxi_gcp": {"conn_type": "google_cloud_platform", "extra": {"project": "my-project"}},
    "taxi_aws": {"conn_type": "aws", "login": "...", "password": "...", "extra": {"region_name": "eu-central-1"}},
}
_USUAL_EXAMPLE = {"conn_type": "http", "host": "https://example.org"}
FIELDS = {"conn_type", "description", "host", "login", "password", "schema", "port", "extra"}
PORTS = range(1, 65536)


def main() -> None:
    """Create what is missing, and print a line about what was created, what differs and what is overridden."""
    environment = dict(os.environ)
    if found := [line for name in names() if (line := problem(name, environment.get(name, "")))]:
        sys.exit("\n".join(MARK + line for line in found))
    for line in create(environment):
        print(MARK + line, flush=True)


def names() -> list[str]:
    """Return the environment variables that describe a connection or a Variable."""
    return [name.upper() for name in (*CONNECTIONS, *VARIABLES)]


def problem(name: str, value: str) -> str | None:
    """Return what is wrong with the value of TAXI_SOURCE, AIRFLOW_CONN_TAXI_SOURCE and so on, without its secrets."""
    block = name.removeprefix("AIRFLOW_CONN_")
    if not value or (block == name and block.lower() not in CONNECTIONS):
        return None
    if not value.lstrip().startswith("{"):
        return None if "://" in value else f"{name}: found neither JSON nor a URI; {_expected(name)}"
    try:
        described = json.loads(value)
    except ValueError as error:
        return f"{name}: found JSON that cannot be read ({error}); {_expected(name)}"
    if unknown := sorted(described.keys() - FIELDS):
        return f"{name}: found {', '.join(map(repr, unknown))}; expected only {', '.join(sorted(FIELDS))}"
    if block == name and not described.get("conn_type"):
        return f"{name}: found no conn_type; {_expected(name)}"
    return _problem_of_parts(name, described)


def _problem_of_parts(name: str, described: dict[str, Any]) -> str | None:
    port, extra = described.get("port"), described.get("extra")
    if port is not None and not (str(port).isdecimal() and int(port) in PORTS):
        return f"{name}: found port {port!r}; expected {PORTS[0]} to {PORTS[-1]}"
    try:
        read = json.loads(extra) if isinstance(extra, str) and extra else extra or {}
    except ValueError:
        read = None
    if not isinstance(read, dict):
        return f"{name}: found an extra that is no JSON object; expected {{...}}"
    return None


def _expected(name: str) -> str:
    example = _EXAMPLES.get(name.removeprefix("AIRFLOW_CONN_").lower(), _USUAL_EXAMPLE)
    return f"expected a connection as JSON, in single quotes: {name}='{json.dumps(example)}'"


def create(environment: Mapping[str, str]) -> list[str]:
    """Create what is described and missing; return lines for people."""
    from airflow.utils.session import create_session

    described = {
        name: environment[name.upper()] for name in (*CONNECTIONS, *VARIABLES) if environment.get(name.upper())
    }
    with create_session() as session:
        created = [name for name, value in described.items() if _create(session, name, value)]
        moved = [name for name in CONNECTIONS if _move(session, name, environment)]
        kept = [name for name, value in described.items() if _differs(session, name, value)]
    lines = {
        "created in Airflow's database, for you to edit in Admin: ": created,
        "moved with its server: ": moved,
        "differ from what .env describes, and stay as they are in Airflow: ": kept,
    }
    return [text + ", ".join(about) for text, about in lines.items() if about] + _overriding(environment)


def _overriding(environment: Mapping[str, str]) -> list[str]:
    names = environment.get(OVERRIDING)
    if names is None:
        return []
    return [f"environment variables that override connections and Variables: {', '.join(names.split()) or 'none'}"]


def _create(session: Session, name: str, value: str) -> bool:
    from airflow.models.variable import Variable

    if _found(session, name) is not None:
        return False
    if name in VARIABLES:
        made = Variable(key=name, val=value, description=VARIABLES[name])  # type: ignore[no-untyped-call] # half typed
        session.add(made)
    else:
        session.add(connection(name, value))
    session.flush()
    return True


def connection(name: str, value: str) -> Connection:
    """Return the connection that a JSON object or a URI describes."""
    from airflow.models.connection import Connection

    if not value.lstrip().startswith("{"):
        return Connection(conn_id=name, uri=value, description=CONNECTIONS[name])
    fields = {"description": CONNECTIONS[name]} | json.loads(value)
    if fields.get("port") is not None:
        fields["port"] = int(fields["port"])
    return Connection(conn_id=name, **fields)


def _move(session: Session, name: str, environment: Mapping[str, str]) -> bool:
    from airflow.models.connection import Connection

    before, now = environment.get(name.upper() + BEFORE), environment.get(name.upper())
    if not before or not now or not isinstance(found := _found(session, name), Connection):
        return False
    was, wanted = connection(name, before), connection(name, now)
    if _parts(found) != _parts(was) or _parts(was) == _parts(wanted):
        return False
    found.host, found.port, found.schema, found.login = wanted.host, wanted.port, wanted.schema, wanted.login
    found.set_password(wanted.password)
    session.flush()
    return True


def _differs(session: Session, name: str, value: str) -> bool:
    from airflow.models.connection import Connection

    found = _found(session, name)
    if not isinstance(found, Connection):
        return found is not None and found.val != value
    wanted = connection(name, value)
    return (_parts(found), found.extra_dejson) != (_parts(wanted), wanted.extra_dejson)


def _found(session: Session, name: str) -> Connection | Variable | None:
    """Return the connection or Variable of this name from the database, or None."""
    from airflow.models.connection import Connection
    from airflow.models.variable import Variable
    from sqlalchemy import select

    if name in VARIABLES:
        return session.scalar(select(Variable).where(Variable.key == name))
    return session.scalar(select(Connection).where(Connection.conn_id == name))


def _parts(connection: Connection) -> tuple[str | int | None, ...]:
    parts = (connection.conn_type, connection.host, connection.port, connection.schema)
    return tuple(part or None for part in (*parts, connection.login, connection.password))


if __name__ == "__main__":
    main()
