"""What docs/settings.md says of secrets backends: the names that Google Secret Manager has for the flows' blocks."""

import json
import re
from pathlib import Path

import pytest
from airflow.providers.google.cloud.secrets.secret_manager import CloudSecretManagerBackend
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from include.orchestration import blocks

SETTINGS = (Path(__file__).resolve().parents[2] / "docs/settings.md").read_text()


@pytest.fixture(scope="module")
def documented():
    """The documented class and its arguments."""
    found = re.search(r"AIRFLOW__SECRETS__BACKEND=(\S*CloudSecretManagerBackend)\n.*KWARGS='(\{.*\})'", SETTINGS)
    return found[1], json.loads(found[2])


@pytest.fixture(scope="module")
def key_file(tmp_path_factory):
    """A key file of a service account that does not exist."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path = tmp_path_factory.mktemp("keys") / "key.json"
    account = {"type": "service_account", "client_email": "a@p.example.org", "private_key": key.decode()}
    path.write_text(json.dumps(account | {"token_uri": "https://example.org/token", "project_id": "elsewhere"}))
    return str(path)


def test_the_documented_settings_are_those_of_the_installed_backend(documented, key_file):
    name, arguments = documented

    backend = CloudSecretManagerBackend(**arguments, gcp_key_path=key_file)

    assert name == f"{CloudSecretManagerBackend.__module__}.{CloudSecretManagerBackend.__qualname__}"
    assert backend.project_id == arguments["project_id"] == "my-project"


def test_the_documented_secrets_are_those_that_the_backend_asks_for(documented):
    _, arguments = documented
    prefixes = {arguments["connections_prefix"]: blocks.CONNECTIONS, arguments["variables_prefix"]: blocks.VARIABLES}

    asked = {
        CloudSecretManagerBackend.build_path(prefix, name, arguments["sep"])
        for prefix, names in prefixes.items()
        for name in names
    }

    assert {"airflow-connections-taxi_warehouse", "airflow-variables-taxi_lake"} <= asked
    assert asked == set(re.findall(r"`(airflow-(?:connections|variables)-taxi_\w+)`", SETTINGS))
