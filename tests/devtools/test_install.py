"""The installation: what uv is told, how far it is, and when pip takes over. A real uv runs, against loopback only."""

import base64
import hashlib
import io
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from devtools import install
from devtools.servers.publisher import Publisher
from devtools.servers.whole_airflow import free_port

ROOT = Path(__file__).resolve().parents[2]
WITH_PIP = sys._base_executable  # .venv has no pip
UV = [sys.executable, "-m", "uv", "-v", "pip", "install", "--no-deps", "--python", sys.executable]


@pytest.fixture
def caller(tmp_path, monkeypatch):
    """Forget what this machine tells pip and uv."""
    for name in [
        name for name in os.environ if name.startswith(("UV_", "PIP_")) or name.endswith(("CERT_FILE", "CA_BUNDLE"))
    ]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    return monkeypatch


@pytest.fixture
def configured(caller, tmp_path):
    """Give pip a configuration that overrides that of this machine."""
    settings = ["index-url = https://mirror.example.org/simple", "cert = /etc/company.pem"]
    (tmp_path / "pip.conf").write_text("\n".join(["[global]", *settings, ""]))
    caller.setenv("PIP_CONFIG_FILE", str(tmp_path / "pip.conf"))


@pytest.mark.usefixtures("configured")
def test_uv_gets_the_index_and_the_certificate_of_pips_configuration():
    told = install.uv_environment(os.environ, WITH_PIP)

    assert told["UV_DEFAULT_INDEX"] == "https://mirror.example.org/simple"
    assert told["SSL_CERT_FILE"] == "/etc/company.pem"


@pytest.mark.usefixtures("configured")
def test_pips_variables_override_its_configuration_and_uvs_own_override_both():
    of_pip = {"PIP_INDEX_URL": "https://pip.example.org", "PIP_CERT": "/pip.pem"}
    of_uv = {"UV_DEFAULT_INDEX": "https://uv.example.org", "SSL_CERT_FILE": "/uv.pem"}

    for variables, index, certificate in (
        (of_pip, "https://pip.example.org", "/pip.pem"),
        (of_pip | of_uv, "https://uv.example.org", "/uv.pem"),
    ):
        told = install.uv_environment(os.environ | variables, WITH_PIP)

        assert (told["UV_DEFAULT_INDEX"], told["SSL_CERT_FILE"]) == (index, certificate)


@pytest.mark.usefixtures("caller")
def test_uv_without_a_certificate_of_pips_takes_those_of_the_system_as_pip_does():
    told = install.uv_environment(os.environ, WITH_PIP)

    assert "UV_DEFAULT_INDEX" not in told
    assert "SSL_CERT_FILE" not in told
    assert told["UV_SYSTEM_CERTS"] == "true"


@pytest.mark.usefixtures("caller")
def test_the_certificate_of_pips_library_is_used():
    told = install.uv_environment(os.environ | {"REQUESTS_CA_BUNDLE": "/requests.pem"}, WITH_PIP)

    assert told["SSL_CERT_FILE"] == "/requests.pem"


def test_a_server_that_cannot_be_reached_is_an_error_of_the_network(caller, tmp_path):
    caller.setenv("UV_DEFAULT_INDEX", f"http://127.0.0.1:{free_port()}/simple")

    errors = install.sync([*UV, "--target", str(tmp_path / "here"), "tiny==1.0"], io.StringIO())

    assert errors[0].startswith("error: Failed to fetch: http://127.0.0.1")
    assert install.is_of_network(errors)


def wheel(folder, name):
    """A package of one empty module."""
    info = f"{name}-1.0.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n"
    described = "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    content = {f"{name}.py": "", f"{info}/METADATA": metadata, f"{info}/WHEEL": described}
    digests = {path: hashlib.sha256(text.encode()).digest() for path, text in content.items()}
    record = [
        f"{path},sha256={base64.urlsafe_b64encode(digest).rstrip(b'=').decode()}," for path, digest in digests.items()
    ]
    with zipfile.ZipFile(folder / f"{name}-1.0-py3-none-any.whl", "w") as file:
        for path, text in {**content, f"{info}/RECORD": "\n".join([*record, f"{info}/RECORD,,"])}.items():
            file.writestr(path, text)


@pytest.fixture
def index(tmp_path):
    """A page with links to two packages, served over HTTP."""
    folder = tmp_path / "index"
    folder.mkdir()
    for name in ("tiny", "small"):
        wheel(folder, name)
    links = [f'<a href="{path.name}">{path.name}</a>' for path in folder.glob("*.whl")]
    (folder / "links.html").write_text("<html><body>" + "".join(links) + "</body></html>")
    with Publisher(folder) as publisher:
        yield ["--no-index", "--find-links", f"{publisher.base_url}/links.html"]


def test_the_progress_names_packages_and_how_many_there_are(caller, tmp_path, index):
    out = io.StringIO()

    errors = install.sync([*UV, *index, "--target", str(tmp_path / "here"), "tiny==1.0", "small==1.0"], out)

    first, *others = out.getvalue().splitlines()
    assert errors is None
    assert (tmp_path / "here" / "tiny.py").exists()
    assert first.startswith("  resolved 2 packages")
    assert others[0] in {"  downloading 1 of 2: tiny", "  downloading 1 of 2: small"}
    assert others[-1].startswith("  installed 2 packages")


def test_a_package_that_does_not_exist_is_no_error_of_the_network(caller, tmp_path, index):
    errors = install.sync([*UV, *index, "--target", str(tmp_path / "here"), "tiny==2.0"], io.StringIO())

    assert "tiny==2.0" in "".join(errors)
    assert not install.is_of_network(errors)


def lock(folder, digest):
    """A lock of one package."""
    path = folder / "lock.txt"
    path.write_text(f"tiny==1.0 --hash=sha256:{digest}\n" if digest else "tiny==1.0\n")
    return str(path)


def test_a_package_is_installed_if_its_hash_is_that_of_the_lock(caller, tmp_path, index):
    digest = hashlib.sha256((tmp_path / "index" / "tiny-1.0-py3-none-any.whl").read_bytes()).hexdigest()
    command = [*UV, *index, *install.CHECKED, "--target", str(tmp_path / "here"), "-r", lock(tmp_path, digest)]

    assert install.sync(command, io.StringIO()) is None
    assert (tmp_path / "here" / "tiny.py").exists()


@pytest.mark.parametrize(("digest", "said"), [("0" * 64, "Hash mismatch"), ("", "all requirements must")])
def test_a_package_with_another_hash_or_none_is_refused_for_good(caller, tmp_path, index, digest, said):
    command = [*UV, *index, *install.CHECKED, "--target", str(tmp_path / "here"), "-r", lock(tmp_path, digest)]

    errors = install.sync(command, io.StringIO())

    assert said in "\n".join(errors)
    assert not install.is_of_network(errors)
    assert not (tmp_path / "here" / "tiny.py").exists()


def test_pip_compares_hashes_too(caller, tmp_path, index):
    right = hashlib.sha256((tmp_path / "index" / "tiny-1.0-py3-none-any.whl").read_bytes()).hexdigest()
    command = [WITH_PIP, "-m", "pip", *install.WITH_PIP, *index, "--target", str(tmp_path / "here"), "-r"]

    done = [
        subprocess.run([*command, lock(tmp_path, digest)], capture_output=True, text=True, check=False)
        for digest in ("0" * 64, right)
    ]

    assert [each.returncode for each in done] == [1, 0]
    assert "DO NOT MATCH THE HASHES" in done[0].stderr


def test_uv_itself_is_installed_by_its_hashes():
    first, *hashes = install.pin((ROOT / install.LOCK).read_text(), "uv").splitlines()

    assert first.startswith("uv==")
    assert hashes
    assert all(line.startswith("    --hash=sha256:") for line in hashes)


def test_a_full_disk_is_no_error_of_the_network(caller, tmp_path, index):
    (tmp_path / "here").write_text("a file where a folder must be made fails as a disk does")

    errors = install.sync([*UV, *index, "--target", str(tmp_path / "here" / "x"), "tiny==1.0"], io.StringIO())

    assert errors
    assert not install.is_of_network(errors)


def test_it_imports_nothing_that_must_be_installed():
    done = subprocess.run(
        [sys.executable, "-S", "-c", "import devtools.install"], cwd=ROOT, capture_output=True, text=True, check=False
    )

    assert (done.returncode, done.stderr) == (0, "")
