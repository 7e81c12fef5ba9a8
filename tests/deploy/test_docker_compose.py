"""Properties of docker-compose.yaml, checked without an engine; `make test-stack` runs it in Docker."""

import json
import os
import re
import shutil
import subprocess
from itertools import chain
from pathlib import Path

import make_secrets
import pytest
import yaml

from include.orchestration import blocks

ROOT = Path(__file__).resolve().parents[2]
STACK = yaml.safe_load((ROOT / "docker-compose.yaml").read_text())
SERVICES = STACK["services"]
ONCE = {"cli", "migrate", "secrets"}
RUN_BY_ROOT = {"secrets"}
WRITABLE = {"pgadmin", "secrets"}
WORKERS = ["worker-default", "worker-demo"]
OF_AIRFLOW = [
    name for name, service in SERVICES.items() if "nyc-taxi-airflow" in service["image"] and name != "secrets"
]
# By Airflow's security model, whose table has its servers and workers. The others are ours.
NEEDED_BY = {
    "api_secret_key": {"api-server", "scheduler", "triggerer", *WORKERS},
    "fernet_key": {
        "api-server",
        "scheduler",
        "dag-processor",
        "triggerer",
        *WORKERS,
        "cli",
        "migrate",
        "taxi-exporter",
    },
    "cloud_key": {"api-server", *WORKERS, "cli", "taxi-exporter"},
    "jwt_secret": {"api-server", "scheduler"},
    "metadata login": {
        *("api-server", "scheduler", "dag-processor", "triggerer", "cli", "maintenance", "migrate", "taxi-exporter")
    },
    "broker_url": {"scheduler", *WORKERS, "flower"},
    "result_backend": {"scheduler", *WORKERS, "flower"},
    "admin_password": {"cli", "migrate"},
    "metrics_password": {"migrate", "taxi-exporter"},
}

# Documented together: each overrides the block of its name.
OVERRIDING = {f"AIRFLOW_CONN_{name.upper()}" for name in blocks.CONNECTIONS}
OVERRIDING |= {f"AIRFLOW_VAR_{name.upper()}" for name in blocks.VARIABLES}

# The settings that may have passwords, each with its default.
SETTINGS = dict(line.split("=", 1) for line in STACK["configs"]["blocks"]["content"].splitlines())

each_service = pytest.mark.parametrize("name", SERVICES)


def held(name):
    """The secrets in the volume that the service mounts; the logins of a password file count one by one."""
    (volume,) = [each.split(":")[0] for each in SERVICES[name]["volumes"] if each.startswith("secrets-")]
    for path, content in make_secrets.FILES.items():
        folder, _, file = path.partition("/")
        if folder == volume.removeprefix("secrets-"):
            logins = [f"{server} login" for server in re.findall("^[a-z]+", content, re.MULTILINE)]
            yield from logins if file == "pgpass" else [file]


def limit(name):
    return megabytes(SERVICES[name]["deploy"]["resources"]["limits"]["memory"])


def megabytes(size):
    return int(size[:-1]) * {"m": 1, "g": 1024}[size[-1]]


def networks(name):
    return set(SERVICES[name].get("networks", ()))


@each_service
def test_every_container_has_few_rights(name):
    service = SERVICES[name]

    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["read_only"] is (name not in WRITABLE)
    assert service["user"].startswith("0") is (name in RUN_BY_ROOT)
    assert name not in RUN_BY_ROOT or service["network_mode"] == "none"


@each_service
def test_every_container_and_its_log_have_limits(name):
    service = SERVICES[name]

    assert {"memory", "pids"} <= service["deploy"]["resources"]["limits"].keys()
    assert {"max-size", "max-file"} <= service["logging"]["options"].keys()


@each_service
def test_every_server_has_a_health_check_and_restarts(name):
    service = SERVICES[name]

    assert service["restart"] == ("no" if name in ONCE else "unless-stopped")
    assert ("healthcheck" in service) is (name not in ONCE)
    assert "start_interval" not in service.get("healthcheck", {}), "engines before 25 refuse it"


@each_service
def test_ports_are_open_to_the_host_only(name):
    assert all(port.startswith("127.0.0.1:") for port in SERVICES[name].get("ports", ()))


@each_service
def test_no_secret_is_written_down(name):
    """Airflow, Postgres and pgAdmin read secrets from files or commands."""
    for variable, value in (SERVICES[name].get("environment") or {}).items():
        text = str(value or "")
        assert not re.search(r"://[^/@]*:[^/@]*@", text), f"{variable} holds a password"
        if re.search(
            r"PASSWORD|SECRET(?!S__BACKEND$)|_KEY|_AUTH$|BROKER_URL|RESULT_BACKEND", variable
        ) and text not in {
            "True",
            "False",
        }:
            assert re.search(r"(_CMD|_FILE)$", variable), variable
            assert "/run/secrets/" in text, variable


@each_service
def test_only_airflows_servers_reach_the_metadata_database(name):
    reaches = networks(name) & networks("metadata")

    assert bool(reaches) is (name in {*NEEDED_BY["metadata login"], "metadata"})


@each_service
def test_a_container_mounts_only_the_secrets_of_its_own_kind(name):
    mounted = [volume.split(":") for volume in SERVICES[name].get("volumes", ()) if volume.startswith("secrets-")]

    if name == "secrets":
        assert {volume for volume, _ in mounted} == {v for v in STACK["volumes"] if v.startswith("secrets-")}
    else:
        assert len(mounted) <= 1
        assert all((target, mode) == ("/run/secrets", "ro") for _, target, mode in mounted)


@pytest.mark.parametrize("name", OF_AIRFLOW)
def test_a_container_of_airflow_mounts_the_secrets_that_it_reads_and_no_others(name):
    read = set(re.findall(r"/run/secrets/([\w.]+)", json.dumps(SERVICES[name])))
    if "backend_kwargs" in read:
        read |= {Path(file).name for file in make_secrets.OF_THE_FILE_BACKEND.values()}
    if "cloud_key" in held(name):
        assert SERVICES[name]["environment"]["BASH_ENV"].endswith("local-cloud.sh")
        read.add("cloud_key")

    assert read == {"pgpass" if secret.endswith("login") else secret for secret in held(name)}


@pytest.mark.parametrize("secret", NEEDED_BY)
def test_a_secret_is_only_where_airflow_needs_it(secret):
    holders = {name for name in OF_AIRFLOW if secret in held(name)}

    assert holders
    assert holders <= NEEDED_BY[secret]


def test_the_documentation_lists_who_holds_which_secret():
    text = (ROOT / "docs/stack.md").read_text()
    lines = text[text.index("| secret |") :].partition("\n\n")[0].replace("`", "").splitlines()
    (_, *columns), _, *rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    services = [WORKERS if column == "workers" else [column] for column in columns]

    documented = {
        (name, secret)
        for secret, *marks in rows
        for names, mark in zip(services, marks, strict=True)
        for name in names
        if mark
    }

    assert sorted(chain(*services)) == sorted(OF_AIRFLOW)
    assert documented == {(name, secret) for name in OF_AIRFLOW for secret in held(name)}


@pytest.mark.parametrize("name", OF_AIRFLOW)
def test_only_containers_that_run_code_of_the_bundle_look_up_what_overrides_its_connections(name):
    runs_flows = name not in {"flower", "maintenance", "migrate"}

    assert ("connections.json" in held(name)) is runs_flows
    assert ("AIRFLOW__SECRETS__BACKEND" in SERVICES[name]["environment"]) is runs_flows


@each_service
def test_what_a_container_keeps_in_memory_leaves_room_for_its_processes(name):
    """Every tmpfs has a size: without one, it may grow to half of the machine's memory."""
    service = SERVICES[name]
    sizes = {mount.split(":")[0]: re.search(r":size=(\w+)$", mount) for mount in service["tmpfs"]}

    assert sizes
    assert [path for path, size in sizes.items() if size is None] == []
    shared = megabytes(service.get("shm_size", "64m"))
    assert sum(megabytes(size[1]) for size in sizes.values()) + shared <= limit(name) / 2


def test_redis_has_memory_to_rewrite_its_file():
    """Meanwhile each page of memory that changes is there twice."""
    command = SERVICES["redis"]["command"]

    assert megabytes(command[command.index("--maxmemory") + 1].removesuffix("b")) <= limit("redis") / 2
    assert command[command.index("--maxmemory-policy") + 1] == "noeviction", "an evicted message is a lost task"


@each_service
def test_internal_networks_have_no_published_ports(name):
    inside = {network for network, options in STACK["networks"].items() if options.get("internal")}

    assert inside == {"control", "queue"}
    assert networks(name) - inside or not SERVICES[name].get("ports"), (
        "ports of an internal network cannot be published"
    )


def test_airflows_containers_know_the_key_of_the_local_cloud(tmp_path):
    """Its addresses get the key where Airflow starts; what is set to another emulator stays."""
    (tmp_path / "key").write_text("its-key")
    addresses = dict(line.split("=", 1) for line in (ROOT / "deploy/local-cloud.env").read_text().splitlines()[1:])
    setup = ROOT / STACK["x-flows"]["BASH_ENV"].removeprefix("/opt/airflow/bundle/")
    asked = ["bash", "-c", "exec bash -c 'echo $STORAGE_EMULATOR_HOST $BIGQUERY_EMULATOR_HOST'"]

    def printed(storage):
        given = {"STORAGE_EMULATOR_HOST": storage, "BIGQUERY_EMULATOR_HOST": addresses["BIGQUERY_EMULATOR_HOST"]}
        environment = {"PATH": os.environ["PATH"], "BASH_ENV": str(setup), "CLOUD_KEY_FILE": str(tmp_path / "key")}
        return subprocess.run(asked, env=environment | given, capture_output=True, text=True, check=True).stdout.split()

    assert printed(addresses["STORAGE_EMULATOR_HOST"]) == [
        "http://local-cloud:4443/its-key",
        "http://local-cloud:9050/its-key",
    ]
    assert printed("http://other:1") == ["http://other:1", addresses["BIGQUERY_EMULATOR_HOST"]]
    assert {"--name=local-cloud", "--key-file=/run/secrets/key"} <= set(SERVICES["local-cloud"]["command"])


def test_every_setting_that_the_stack_reads_is_documented():
    documented = "".join((ROOT / name).read_text() for name in ("docs/settings.md", "docs/stack.md", "docs/scaling.md"))
    settings = set(re.findall(r"\$\{([A-Z_]+)", (ROOT / "docker-compose.yaml").read_text()))

    assert "API_PORT" in settings
    assert {name for name in settings if f"`{name}`" not in documented} <= OVERRIDING


def test_what_describes_or_overrides_a_block_reaches_no_container_but_in_a_file():
    settings = {*blocks.names(), *OVERRIDING, "AIRFLOW_CONN_TAXI_GIT", make_secrets.BACKEND_KWARGS}
    environments = {name: service.get("environment") or {} for name, service in SERVICES.items()}

    assert settings == SETTINGS.keys()
    assert [value for name, value in SETTINGS.items() if not value.startswith(f"${{{name}:-")] == []
    assert [name for name, service in SERVICES.items() if "configs" in service] == ["secrets"]
    assert {name: settings & each.keys() for name, each in environments.items() if settings & each.keys()} == {}
    overriding = environments["secrets"].pop("OVERRIDING")
    assert overriding.split() == [f"${{{name}:+{name}}}" for name in SETTINGS if name.startswith("AIRFLOW_")][:-1]
    used = {name for name in settings for each in environments.values() if f"{{{name}:" in json.dumps(each)}
    assert used == set(), "their values would be in an environment"


def test_every_block_is_documented():
    documented = (ROOT / "docs/settings.md").read_text()

    assert "TAXI_SOURCE" in blocks.names()
    assert [name for name in blocks.names() if f"| `{name}` |" not in documented] == []


def test_no_environment_of_a_container_has_a_credential_whatever_is_set():
    """Neither by its name nor by its value, in what Compose makes of a password in each setting."""
    given = {name: f'{{"conn_type": "http", "password": "of {name}"}}' for name in SETTINGS}

    model = resolved(given, "docker-compose.yaml", "deploy/dev.yaml", "deploy/google.yaml")

    assert [name for name, value in given.items() if value not in model["configs"]["blocks"]["content"]] == []
    assert SERVICES.keys() == model["services"].keys()
    assert '"password": "of' not in json.dumps(model["services"]).replace("\\", "")
    named = re.compile(r"PASSWORD|PASSWD|SECRET|TOKEN|KEY|AUTH$|CREDENTIALS|BROKER_URL|RESULT_BACKEND|_CONN_|KWARGS")
    variables = {
        (variable, str(value))
        for service in model["services"].values()
        for variable, value in (service.get("environment") or {}).items()
        if named.search(variable)
    }
    harmless = {
        "AIRFLOW__SECRETS__BACKEND",
        "PGADMIN_CONFIG_MASTER_PASSWORD_REQUIRED",
        "AIRFLOW__LOGGING__REMOTE_LOG_CONN_ID",
    }
    not_from_files = {
        variable
        for variable, value in variables
        if not re.search(r"(_CMD|_FILE|_CREDENTIALS)$", variable) or not re.search("/run/(secrets|google)/", value)
    }
    assert not_from_files <= harmless | {"AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"}
    assert [value for variable, value in variables if re.search(r"://[^/@]*:[^/@]*@", value)] == []


def resolved(environment, *files):
    """Return the model that Compose makes of these files, with every profile."""
    client = shutil.which("docker")
    if client is None or subprocess.run([client, "compose", "version"], capture_output=True, check=False).returncode:
        pytest.skip("docker compose is not installed")
    named = [word for file in files for word in ("-f", file)]
    done = subprocess.run(
        [client, "compose", *named, "--profile", "*", "config", "--format", "json"],
        cwd=ROOT,
        env=os.environ | environment,
        capture_output=True,
        check=True,
    )
    return json.loads(done.stdout)


def test_an_image_is_built_by_one_service():
    """If several services build one image at the same time, a recent Docker lets all but one fail."""
    built = [service["image"] for service in SERVICES.values() if "build" in service]

    assert len(built) == len(set(built))
    never = {"never", "${TAXI_PULL_POLICY:-never}"}
    assert {service["image"] for service in SERVICES.values() if service.get("pull_policy") in never} == set(built)


def test_a_pushed_image_can_be_run_without_a_build():
    pushed = "registry.example.org:5000/team/nyc-taxi:1"

    services = resolved({"TAXI_IMAGE": pushed, "TAXI_PULL_POLICY": "always"}, "docker-compose.yaml")["services"]

    assert {services[name]["image"] for name in ["secrets", *OF_AIRFLOW]} == {pushed}
    assert {services[name]["pull_policy"] for name in ["secrets", *OF_AIRFLOW]} == {"always"}


def test_services_that_read_the_lake_mount_it():
    with_lake = {name for name, service in SERVICES.items() if any("/lake" in v for v in service.get("volumes", ()))}

    assert with_lake == {"api-server", "cli", "taxi-exporter", "worker-default", "worker-demo"}


def test_services_that_open_the_duckdb_file_mount_its_folder_which_the_image_has():
    described = re.fullmatch(r"\$\{TAXI_DUCKDB:-(.*)\}", SETTINGS["TAXI_DUCKDB"])
    folder = str(Path(json.loads(described[1])["host"]).parent)
    mounts = {
        name: volume.partition(":")[2]
        for name, service in SERVICES.items()
        for volume in service.get("volumes", ())
        if volume.startswith("duckdb:")
    }

    assert mounts.pop("api-server") == mounts.pop("taxi-exporter") == f"{folder}:ro"
    assert mounts == dict.fromkeys(("cli", "worker-default", "worker-demo"), folder)
    assert f"mkdir -p {folder} " in (ROOT / "Dockerfile").read_text(), "else the volume belongs to root"


def test_credentials_for_google_are_mounted_read_only_where_the_lake_is_read_or_written():
    services = yaml.safe_load((ROOT / "deploy" / "google.yaml").read_text())["services"]

    assert services.keys() == {"api-server", "cli", "taxi-exporter", "worker-default", "worker-demo"}
    for service in services.values():
        (mount,) = service["volumes"]
        assert mount.endswith(f":{service['environment']['GOOGLE_APPLICATION_CREDENTIALS']}:ro")


@pytest.mark.parametrize(
    "profiles", ["", "tools", "local-cloud", "metrics", "debug", "tools,local-cloud,metrics,debug"]
)
def test_compose_reads_every_profile(profiles):
    client = shutil.which("docker")
    if client is None or subprocess.run([client, "compose", "version"], capture_output=True, check=False).returncode:
        pytest.skip("docker compose is not installed")
    files = ["docker-compose.yaml", "deploy/dev.yaml", "deploy/google.yaml", "tests/stack/compose.yaml"]
    named = [word for file in files for word in ("-f", file)]

    done = subprocess.run(
        [client, "compose", *named, "config", "--format", "json"],
        cwd=ROOT,
        env=os.environ | {"COMPOSE_PROFILES": profiles},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    wanted = {
        name for name, service in SERVICES.items() if set(service.get("profiles", ())) <= set(profiles.split(","))
    }
    assert json.loads(done.stdout)["services"].keys() == wanted | {"publisher"}
