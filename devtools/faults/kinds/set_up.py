"""set_up: connections, Variables, folders and roles that a person has set up in another way than expected."""

from __future__ import annotations

import os
import pwd
from typing import TYPE_CHECKING, Any

from devtools.faults.fault import Fault
from devtools.servers.postgres import free_port
from devtools.servers.refusing import RefusingPostgres

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from devtools.faults.scene import Scene

_KIND = "set-up"
_REFUSED, _SET_UP, _VALUE = "WarehouseRefused", "SetUpError", "ValueError"
_WAREHOUSE: dict[str, tuple[dict[str, Any], str]] = {
    "wrong password": ({"password": "wrong"}, _REFUSED),
    "no password": ({"password": None}, _REFUSED),
    "unknown role": ({"login": "nobody_here"}, _REFUSED),
    "unknown database": ({"schema": "nothing_here"}, _REFUSED),
    "no host": ({"host": None}, _VALUE),
    "a line break in the host": ({"host": "127.0.0.1\n"}, _VALUE),
    "a port that is none": ({"port": 99999}, _VALUE),
    "SSL demanded": ({"extra": {"sslmode": "require"}}, _REFUSED),
    "sslmode maybe": ({"extra": {"sslmode": "maybe"}}, _REFUSED),
    "a certificate that is not there": ({"extra": {"sslmode": "verify-full", "sslrootcert": "/nowhere.pem"}}, _REFUSED),
    "an extra that is unknown": ({"extra": {"foo": "bar"}}, _REFUSED),
    "an extra that is a list": ({"extra": "[1]"}, _VALUE),
    "an option that is unknown": ({"extra": {"options": "-c no_such_setting=1"}}, _REFUSED),
    "another host name's server": ({"host": "warehouse.invalid"}, "WarehouseBusy"),
}
_SOURCES: dict[str, tuple[dict[str, Any], str]] = {
    "no host": ({"host": ""}, _VALUE),
    "another protocol": ({"host": "ftp://127.0.0.1"}, _VALUE),
    "a port that is none": ({"host": "http://127.0.0.1:99999"}, _VALUE),
    "redirect_hosts that are text": ({"extra": {"redirect_hosts": "a.example"}}, _VALUE),
}
_LAKES: dict[str, tuple[str, str]] = {
    "nothing": ("", _VALUE),
    "relative": ("lake", _VALUE),
    "relative by a dot": ("./lake", _VALUE),
    "relative in a URL": ("file://lake", _VALUE),
    "of another host": ("file://localhost/x", _VALUE),
    "without a path": ("file://", _VALUE),
    "of a home": ("~/lake", _VALUE),
    "with an escaped space": ("file:///a%20lake", _VALUE),
    "in another store": ("abfs://bucket/prefix", _VALUE),
    "in no bucket": ("gs://", _VALUE),
    "of an unknown connection": ("gs://nothing@bucket/prefix", _VALUE),
    "in a missing bucket": ("gs://taxi_gcp@no-such-bucket/trips", _SET_UP),
    "with a name too long": (f"file:///{'x' * 300}", _SET_UP),
    "under a file": ("file:///etc/hostname/lake", _SET_UP),
    "under a device": ("file:///dev/null/lake", _SET_UP),
}


def faults() -> Iterator[Fault]:
    """List the faults of this kind."""
    for name, (fields, word) in _WAREHOUSE.items():
        yield _fault(
            f"taxi_warehouse: {name}",
            _connected(fields),
            word,
            is_short=name == "wrong password",
        )
    for name, (fields, word) in _SOURCES.items():
        yield _fault(f"taxi_source: {name}", _asked(fields), word)
    for name, (url, word) in _LAKES.items():
        yield _fault(f"taxi_lake: {name}", _in_lake(url), word, is_short=name == "relative")
    yield from _servers()
    yield from _roles()
    yield from _environment()


def _connected(fields: dict[str, Any]) -> Callable[[Scene], object]:
    return lambda scene: scene.connect(**fields)


def _asked(fields: dict[str, Any]) -> Callable[[Scene], object]:
    return lambda scene: scene.ask_source(**fields)


def _in_lake(url: str) -> Callable[[Scene], object]:
    return lambda scene: scene.put_lake(url)


def _fault(name: str, do: Callable[[Scene], object], *expects: str, is_short: bool = False) -> Fault:
    connection, _, what = name.partition(": ")
    return Fault(
        _KIND,
        f"set-up, {name}",
        f"{connection}: {what}.",
        do,
        expects,
        begins_empty=True,
        is_short=is_short,
    )


def _servers() -> Iterator[Fault]:
    yield _fault("taxi_warehouse: the port of a web server", _web_server, "WarehouseBusy")
    yield _fault(
        "taxi_warehouse: a port where nobody listens", lambda scene: scene.connect(port=free_port(1)), "WarehouseBusy"
    )
    yield _fault(
        "taxi_warehouse: refused in German",
        _refuses("28P01", "Passwort-Authentifizierung für Benutzer »taxi« fehlgeschlagen"),
        _REFUSED,
    )
    yield _fault(
        "taxi_warehouse: an unknown database in Russian",
        _refuses("3D000", "база данных не существует", "ВАЖНО"),
        _REFUSED,
    )
    yield _fault(
        "taxi_warehouse: too many clients in French",
        _refuses("53300", "désolé, trop de clients sont déjà connectés"),
        "WarehouseBusy",
    )


def _web_server(scene: Scene) -> None:
    # Each waits for the other to speak.
    scene.connect(port=int(scene.publisher.url.rpartition(":")[2]), extra={"connect_timeout": 2})


def _refuses(state: str, words: str, severity: str = "FATAL") -> Callable[[Scene], object]:
    """Let a server that speaks another language than English refuse every connection."""

    def do(scene: Scene) -> None:
        server = scene.enter(RefusingPostgres(state, words, severity))
        scene.connect(port=server.port)

    return do


def _roles() -> Iterator[Fault]:
    yield _fault("taxi_warehouse: a role that may not write", _role(""), _REFUSED)
    yield _fault("taxi_warehouse: a role that may not log in", _role("NOLOGIN"), _REFUSED)
    yield _fault(
        "taxi_warehouse: a role whose password is no longer valid", _role("VALID UNTIL '2020-01-01'"), _REFUSED
    )
    yield _fault("taxi_warehouse: a role that may not connect", _role("", revoked=True), _REFUSED)
    yield _fault("taxi_warehouse: a database that takes no connections", _closed, _REFUSED)


def _role(options: str, *, revoked: bool = False) -> Callable[[Scene], object]:
    def do(scene: Scene) -> None:
        role = f"role_{scene.name}"
        scene.query(
            f"CREATE ROLE {role} LOGIN PASSWORD 'role' {options}"
            if "NOLOGIN" not in options
            else f"CREATE ROLE {role} NOLOGIN PASSWORD 'role'"
        )
        scene.query("REVOKE ALL ON SCHEMA public FROM PUBLIC")
        if revoked:
            scene.query(f"REVOKE ALL ON DATABASE {scene.database} FROM PUBLIC")
        scene.connect(login=role, password="role")

    return do


def _closed(scene: Scene) -> None:
    def allow(value: str) -> None:
        scene.query_elsewhere(f"ALTER DATABASE {scene.database} WITH ALLOW_CONNECTIONS {value}")

    allow("false")
    scene.afterwards(lambda: allow("true"))


def _environment() -> Iterator[Fault]:
    yield _fault("TAXI_LIMIT_FACTOR: no number", lambda scene: scene.set(TAXI_LIMIT_FACTOR="many"), _VALUE)
    yield _fault(
        "taxi_keep_editions: no number", lambda scene: scene.set(AIRFLOW_VAR_TAXI_KEEP_EDITIONS="many"), _VALUE
    )
    yield _fault("taxi_lake: another user's folder", _of_another_user, _SET_UP)
    yield _fault("taxi_lake: a file", _a_file, _SET_UP)


def _a_file(scene: Scene) -> None:
    scene.lake_folder.write_text("not a folder")
    scene.afterwards(scene.lake_folder.unlink)


def _of_another_user(scene: Scene) -> None:
    scene.lake_folder.mkdir(mode=0o500)
    scene.afterwards(lambda: scene.lake_folder.chmod(0o700))
    if os.geteuid() == 0:
        scene.run_as(pwd.getpwnam("nobody").pw_uid)
