"""Generate the stack's missing secrets, and write those that each service needs to the service's volume.

Runs once at every start, as root and without a network. `secrets.env` is the source of truth for what is generated: it
has the owner of its folder and mode 600. The settings that describe or override connections and Variables come from a
file that Compose makes of them, because their values may have passwords. Every run rewrites the volumes from both.
"""

import base64
import json
import os
import re
import secrets
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

KEPT = Path("/kept")  # deploy/secrets of the host
SETTINGS = Path("/blocks")  # lines such as TAXI_SOURCE={"conn_type": ...}; a value may have several lines
VOLUMES = Path("/volumes")
AIRFLOW_UID = 50000  # of the official image

GENERATED: dict[str, Callable[[], str]] = {
    "ADMIN_PASSWORD": lambda: secrets.token_hex(18),
    "API_SECRET_KEY": lambda: secrets.token_hex(48),
    "CLOUD_KEY": lambda: secrets.token_hex(24),
    "FERNET_KEY": lambda: base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
    "FLOWER_PASSWORD": lambda: secrets.token_hex(18),
    "JWT_SECRET": lambda: secrets.token_hex(64),
    "METADATA_PASSWORD": lambda: secrets.token_hex(32),
    "METRICS_PASSWORD": lambda: secrets.token_hex(18),
    "PGADMIN_PASSWORD": lambda: secrets.token_hex(18),
    "REDIS_PASSWORD": lambda: secrets.token_hex(32),
    "WAREHOUSE_ADMIN_PASSWORD": lambda: secrets.token_hex(32),
    "WAREHOUSE_PASSWORD": lambda: secrets.token_hex(18),
}

BROKER_URL = "redis://:{REDIS_PASSWORD}@redis:6379/0"
RESULT_BACKEND = "redis://:{REDIS_PASSWORD}@redis:6379/1"
METADATA_LOGIN = "metadata:*:*:airflow:{METADATA_PASSWORD}\n"
WAREHOUSE_LOGIN = "warehouse:*:*:taxi:{WAREHOUSE_PASSWORD}\n"

BACKEND_KWARGS = "AIRFLOW__SECRETS__BACKEND_KWARGS"
CONNECTION, VARIABLE = "AIRFLOW_CONN_", "AIRFLOW_VAR_"  # those that override
OF_THE_FILE_BACKEND = {
    "connections_file_path": "/run/secrets/connections.json",
    "variables_file_path": "/run/secrets/variables.json",
}
RUNS_FLOWS = ("api-server", "cli", "dag-processor", "scheduler", "taxi-exporter", "triggerer", "worker")

# By volume and file. A service mounts the volume of its name, and all workers mount `worker`. docs/stack.md tells which
# container of Airflow needs which secret.
FILES = {
    "api-server/api_secret_key": "{API_SECRET_KEY}",
    "api-server/cloud_key": "{CLOUD_KEY}",
    "api-server/fernet_key": "{FERNET_KEY}",
    "api-server/jwt_secret": "{JWT_SECRET}",
    "api-server/pgpass": METADATA_LOGIN + WAREHOUSE_LOGIN,
    "cli/admin_password": "{ADMIN_PASSWORD}",
    "cli/cloud_key": "{CLOUD_KEY}",
    "cli/fernet_key": "{FERNET_KEY}",
    "cli/pgpass": METADATA_LOGIN + WAREHOUSE_LOGIN,
    "dag-processor/fernet_key": "{FERNET_KEY}",
    "dag-processor/pgpass": METADATA_LOGIN,
    "flower/basic_auth": "admin:{FLOWER_PASSWORD}",
    "flower/broker_url": BROKER_URL,
    "flower/result_backend": RESULT_BACKEND,
    "local-cloud/key": "{CLOUD_KEY}",
    "maintenance/pgpass": METADATA_LOGIN,
    "migrate/admin_password": "{ADMIN_PASSWORD}",
    "migrate/blocks": "{BLOCKS}",
    "migrate/fernet_key": "{FERNET_KEY}",
    "migrate/metrics_password": "{METRICS_PASSWORD}",
    "migrate/pgpass": METADATA_LOGIN,
    "scheduler/broker_url": BROKER_URL,
    "scheduler/fernet_key": "{FERNET_KEY}",
    "scheduler/jwt_secret": "{JWT_SECRET}",
    "scheduler/pgpass": METADATA_LOGIN,
    "scheduler/result_backend": RESULT_BACKEND,
    "taxi-exporter/cloud_key": "{CLOUD_KEY}",
    "taxi-exporter/fernet_key": "{FERNET_KEY}",
    "taxi-exporter/metrics_password": "{METRICS_PASSWORD}",
    "taxi-exporter/pgpass": METADATA_LOGIN + WAREHOUSE_LOGIN,
    "triggerer/api_secret_key": "{API_SECRET_KEY}",
    "triggerer/fernet_key": "{FERNET_KEY}",
    "triggerer/pgpass": METADATA_LOGIN,
    "worker/api_secret_key": "{API_SECRET_KEY}",
    "worker/broker_url": BROKER_URL,
    "worker/cloud_key": "{CLOUD_KEY}",
    "worker/pgpass": WAREHOUSE_LOGIN,
    "worker/result_backend": RESULT_BACKEND,
    "metadata/password": "{METADATA_PASSWORD}",
    "pgadmin/password": "{PGADMIN_PASSWORD}",
    "pgadmin/pgpass": WAREHOUSE_LOGIN,
    "redis/password": "{REDIS_PASSWORD}",
    "redis/redis.conf": "requirepass {REDIS_PASSWORD}\n",
    "warehouse/admin_password": "{WAREHOUSE_ADMIN_PASSWORD}",
    "warehouse/password": "{WAREHOUSE_PASSWORD}",
    **{f"{volume}/backend_kwargs": "{BACKEND_KWARGS}" for volume in RUNS_FLOWS},
    **{f"{volume}/connections.json": "{CONNECTIONS}" for volume in RUNS_FLOWS},
    **{f"{volume}/variables.json": "{VARIABLES}" for volume in RUNS_FLOWS},
}
OF_OTHER_IMAGES = ("metadata", "pgadmin", "redis", "warehouse")
ChangeOwner = Callable[[Path, int, int], None]  # takes user and group ids
PLAIN = re.compile(r"[\w.,~=-]*", re.ASCII)  # needs no quoting in a URL, a password file or redis.conf
NAME = re.compile(r"^((?:TAXI|AIRFLOW)_[A-Z_]+)=", re.MULTILINE)


def main(
    kept: Path = KEPT, volumes: Path = VOLUMES, change_owner: ChangeOwner = os.chown, settings: Path = SETTINGS
) -> None:
    """Generate the missing secrets and write the files."""
    given = _of_settings(_settings(settings.read_text()))
    secrets_file = kept / "secrets.env"
    values = _read(secrets_file)
    if not values and any(volumes.glob("*/*")):
        sys.exit(
            "deploy/secrets/secrets.env is missing, but databases use its passwords: restore it from a backup, "
            "or delete all data: docker compose --profile '*' down --volumes"
        )
    if odd := sorted(name for name in GENERATED if not PLAIN.fullmatch(values.get(name, ""))):
        sys.exit(f"deploy/secrets/secrets.env: {', '.join(odd)}: expected only letters, digits and . , ~ = _ -")
    missing = sorted(name for name in GENERATED if not values.get(name))
    values |= {name: GENERATED[name]() for name in missing}
    if missing:
        content = "".join(f"{name}={values[name]}\n" for name in sorted(values))
        _write(secrets_file, content, 0o600, (kept.stat().st_uid, kept.stat().st_gid), change_owner)
        print("generated", ", ".join(missing))
    _write_volumes(volumes, values | given, change_owner)
    print("wrote", len(FILES), "files to", len({name.partition("/")[0] for name in FILES}), "volumes")


def _settings(text: str) -> dict[str, str]:
    _, *parts = NAME.split(text)
    return {name: value.strip() for name, value in zip(parts[::2], parts[1::2], strict=True) if value.strip()}


def _of_settings(settings: dict[str, str]) -> dict[str, str]:
    """Return what the files get from the settings, by the names that FILES has for it."""
    connections = {name: value for name, value in settings.items() if name.startswith(CONNECTION)}
    variables = {name: value for name, value in settings.items() if name.startswith(VARIABLE)}
    described = {name: value for name, value in settings.items() if name.startswith("TAXI_")}
    described["OVERRIDING"] = " ".join((*connections, *variables))
    return {
        "BACKEND_KWARGS": settings.get(BACKEND_KWARGS) or json.dumps(OF_THE_FILE_BACKEND),
        "BLOCKS": json.dumps(described),
        "CONNECTIONS": json.dumps({_id(name): _connection(name, value) for name, value in connections.items()}),
        "VARIABLES": json.dumps({_id(name): value for name, value in variables.items()}),
    }


def _id(name: str) -> str:
    return name.removeprefix(CONNECTION).removeprefix(VARIABLE).lower()


def _connection(name: str, value: str) -> dict[str, Any] | str:
    """Return a connection as Airflow's file of connections has it: an object, or a URI."""
    sys.path.append(str(Path(__file__).resolve().parents[1]))
    from include.orchestration.blocks import problem

    if wrong := problem(name, value):
        sys.exit(wrong)
    if not value.startswith("{"):
        return value
    fields: dict[str, Any] = json.loads(value)
    return fields | ({"port": int(fields["port"])} if fields.get("port") is not None else {})


def _write_volumes(volumes: Path, values: dict[str, str], change_owner: ChangeOwner) -> None:
    for name, content in FILES.items():
        volume = name.partition("/")[0]
        # libpq refuses a password file that others can read. Other images run as users of their own, so their files
        # are readable to all; no other container mounts their volume.
        user, mode = (0, 0o444) if volume in OF_OTHER_IMAGES else (AIRFLOW_UID, 0o400)
        _write(volumes / name, content.format(**values), mode, (user, 0), change_owner)


def _read(path: Path) -> dict[str, str]:
    if not path.exists():
        return {}
    lines = (line.partition("=") for line in path.read_text().splitlines() if line and not line.startswith("#"))
    return {name.strip(): value.strip() for name, _, value in lines}


def _write(path: Path, content: str, mode: int, owner: tuple[int, int], change_owner: ChangeOwner) -> None:
    """Replace a file in one step, so that readers never find it half written or with another owner."""
    new = path.with_name(f".{path.name}.new")
    new.unlink(missing_ok=True)
    new.touch(mode=0o600)
    new.write_text(content)
    new.chmod(mode)
    change_owner(new, *owner)
    new.replace(path)


if __name__ == "__main__":
    main()
