import json

import make_secrets
import pytest
from cryptography.fernet import Fernet


@pytest.fixture
def stack(tmp_path):
    """The secrets file, the volumes of a new stack, and the owners that files get; a test cannot change owners."""
    kept, volumes = tmp_path / "kept", tmp_path / "volumes"
    kept.mkdir()
    settings = tmp_path / "blocks"
    settings.write_text("TAXI_LAKE=file:///lake\n")
    for name in make_secrets.FILES:
        (volumes / name).parent.mkdir(parents=True, exist_ok=True)
    owners = {}

    def main():
        make_secrets.main(kept, volumes, lambda path, uid, gid: owners.update({path.parent.name: (uid, gid)}), settings)

    return main, kept / "secrets.env", volumes, owners


def values(kept):
    return dict(line.split("=", 1) for line in kept.read_text().splitlines())


def mode(path):
    return oct(path.stat().st_mode & 0o777)


def test_secrets_are_long_and_each_start_keeps_them(stack):
    main, kept, volumes, owners = stack

    main()
    first = values(kept)
    main()

    assert mode(kept) == "0o600"
    assert owners["kept"] == (kept.parent.stat().st_uid, kept.parent.stat().st_gid)
    assert first.keys() == make_secrets.GENERATED.keys()
    assert len(first["JWT_SECRET"].encode()) >= 64
    assert min(map(len, first.values())) >= 24
    assert len(set(first.values())) == len(first)
    assert Fernet(first["FERNET_KEY"]).encrypt(b"a connection")
    assert values(kept) == first
    assert (volumes / "worker/pgpass").read_text() == f"warehouse:*:*:taxi:{first['WAREHOUSE_PASSWORD']}\n"


def test_no_password_begins_with_a_dash():
    """A program would take it for an option."""
    passwords = make_secrets.GENERATED.keys() - {"FERNET_KEY"}  # base64, and never an argument

    assert "ADMIN_PASSWORD" in passwords
    assert [name for name in passwords for _ in range(300) if make_secrets.GENERATED[name]().startswith("-")] == []


def test_a_secret_that_is_set_stays_and_a_missing_one_is_added(stack):
    main, kept, volumes, _ = stack
    kept.write_text("# ours\nADMIN_PASSWORD=chosen-by-us\nREDIS_PASSWORD=\n")

    main()

    made = values(kept)
    assert (volumes / "migrate/admin_password").read_text() == made["ADMIN_PASSWORD"] == "chosen-by-us"
    assert made.keys() == make_secrets.GENERATED.keys()
    assert made["REDIS_PASSWORD"], "Redis always has a password"


@pytest.mark.parametrize("value", ["two words", "a@b", "a:b", "100%", "p\u00e4ss"])
def test_a_secret_that_needs_quoting_in_a_url_or_a_file_is_refused(stack, value):
    main, kept, volumes, _ = stack
    kept.write_text(f"WAREHOUSE_PASSWORD={value}\n")

    with pytest.raises(SystemExit, match=r"secrets\.env: WAREHOUSE_PASSWORD: expected only letters, digits"):
        main()

    assert not any(volumes.glob("*/*"))


def test_only_airflow_can_read_its_files_as_libpq_demands(stack):
    main, _, volumes, owners = stack

    main()

    assert mode(volumes / "scheduler/pgpass") == mode(volumes / "worker/pgpass") == "0o400"
    assert owners["scheduler"] == owners["worker"] == (make_secrets.AIRFLOW_UID, 0)
    assert mode(volumes / "metadata/password") == "0o444"


def test_a_worker_gets_nothing_of_the_servers(stack):
    main, kept, volumes, _ = stack

    main()

    made = values(kept)
    given = "".join(path.read_text() for path in (volumes / "worker").iterdir())
    held = {name for name, value in made.items() if value in given}
    assert held == {"API_SECRET_KEY", "CLOUD_KEY", "REDIS_PASSWORD", "WAREHOUSE_PASSWORD"}


def test_a_lost_file_is_not_replaced_by_secrets_that_no_database_accepts(stack):
    main, kept, volumes, _ = stack
    main()
    before = (volumes / "metadata/password").read_text()
    kept.unlink()

    with pytest.raises(SystemExit, match=r"secrets\.env is missing"):
        main()

    assert (volumes / "metadata/password").read_text() == before
    assert not kept.exists()


SETTINGS = """TAXI_SOURCE={"conn_type": "http", "host": "https://example.org"}
TAXI_WAREHOUSE=
AIRFLOW_CONN_TAXI_WAREHOUSE={"conn_type": "postgres",
  "host": "db", "password": "a=$b{c}%", "port": "5432", "extra": {"sslmode": "require"}}
AIRFLOW_CONN_TAXI_SOURCE=http://example.org
AIRFLOW_CONN_TAXI_GCP=
AIRFLOW_VAR_TAXI_LAKE=gs://taxi_gcp@bucket/lake
AIRFLOW__SECRETS__BACKEND_KWARGS=
"""


def test_settings_that_may_have_passwords_reach_the_containers_as_files(stack, tmp_path):
    main, _, volumes, owners = stack
    (tmp_path / "blocks").write_text(SETTINGS)

    main()

    overriding = "AIRFLOW_CONN_TAXI_WAREHOUSE AIRFLOW_CONN_TAXI_SOURCE AIRFLOW_VAR_TAXI_LAKE"
    described = json.loads((volumes / "migrate/blocks").read_text())
    assert described == {
        "TAXI_SOURCE": '{"conn_type": "http", "host": "https://example.org"}',
        "OVERRIDING": overriding,
    }
    for service in make_secrets.RUNS_FLOWS:
        folder = volumes / service
        assert json.loads((folder / "variables.json").read_text()) == {"taxi_lake": "gs://taxi_gcp@bucket/lake"}
        assert json.loads((folder / "backend_kwargs").read_text()) == make_secrets.OF_THE_FILE_BACKEND
        assert mode(folder / "connections.json") == "0o400"
        assert owners[service] == (make_secrets.AIRFLOW_UID, 0)


def test_airflow_reads_what_overrides_from_these_files(stack, tmp_path):
    from airflow.secrets.local_filesystem import LocalFilesystemBackend

    main, _, volumes, _ = stack
    (tmp_path / "blocks").write_text(SETTINGS)
    main()
    backend = LocalFilesystemBackend(
        **{
            name: path.replace("/run/secrets", str(volumes / "worker"))
            for name, path in make_secrets.OF_THE_FILE_BACKEND.items()
        }
    )

    warehouse, source = backend.get_connection("taxi_warehouse"), backend.get_connection("taxi_source")

    assert (warehouse.conn_type, warehouse.password, warehouse.port) == ("postgres", "a=$b{c}%", 5432)
    assert warehouse.extra_dejson == {"sslmode": "require"}
    assert (source.conn_type, source.host) == ("http", "example.org")
    assert backend.get_connection("taxi_gcp") is None
    assert backend.get_variable("taxi_lake") == "gs://taxi_gcp@bucket/lake"


def test_the_settings_of_another_secrets_backend_reach_the_containers(stack, tmp_path):
    main, _, volumes, _ = stack
    (tmp_path / "blocks").write_text('AIRFLOW__SECRETS__BACKEND_KWARGS={"url": "https://vault", "token": "t"}\n')

    main()

    assert json.loads((volumes / "worker/backend_kwargs").read_text()) == {"url": "https://vault", "token": "t"}
    assert json.loads((volumes / "worker/connections.json").read_text()) == {}


def test_an_overriding_connection_that_cannot_be_read_is_refused_by_its_name(stack, tmp_path):
    main, _, volumes, _ = stack
    (tmp_path / "blocks").write_text('AIRFLOW_CONN_TAXI_GCP={"conn_type": "http", "password": "geheim"\n')

    with pytest.raises(SystemExit, match=r"^AIRFLOW_CONN_TAXI_GCP: found JSON that cannot be read") as refused:
        main()

    assert "geheim" not in str(refused.value)
    assert not any(volumes.glob("*/*"))
