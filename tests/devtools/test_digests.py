"""What `make digests` writes: a program plays Docker, as no registry may be at hand."""

import pytest

from devtools import digests

IMAGES = digests.official(digests.STACK.read_text())
OF_THE_LIST, OF_THE_REPOSITORY = (f"sha256:{digit * 64}" for digit in "ab")


@pytest.fixture
def docker(tmp_path, monkeypatch):
    """Put a program `docker` on the path, by its shell script, and let the file be written elsewhere."""
    monkeypatch.setattr(digests, "ROOT", tmp_path)
    monkeypatch.setattr(digests, "DIGESTS", tmp_path / "digests.env")
    monkeypatch.setenv("PATH", str(tmp_path))

    def put(script):
        (tmp_path / "docker").write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / "docker").chmod(0o755)
        return tmp_path / "digests.env"

    return put


def test_every_official_image_gets_its_digest_under_the_setting_that_compose_reads(docker):
    file = docker(f'[ "$1 $2 $3" = "buildx imagetools inspect" ] && echo {OF_THE_LIST}')

    digests.main()

    assert file.read_text().splitlines()[1:] == [f"{name}={IMAGES[name]}@{OF_THE_LIST}" for name in sorted(IMAGES)]
    names = ("AIRFLOW", "PGADMIN", "POSTGRES", "PROMETHEUS", "PYTHON", "REDIS", "STATSD_EXPORTER")
    assert IMAGES.keys() == {f"{name}_IMAGE" for name in names}


def test_an_engine_without_buildx_pulls_the_image(docker):
    file = docker(f'case "$1" in buildx) exit 1 ;; image) echo postgres@{OF_THE_REPOSITORY} ;; esac')

    digests.main()

    assert file.read_text().count(OF_THE_REPOSITORY) == len(IMAGES)


def test_nothing_is_written_if_one_registry_does_not_answer(docker):
    """What was written before stays."""
    file = docker(f'case "$*" in *redis*) echo "no such host" >&2; exit 1 ;; *) echo {OF_THE_LIST} ;; esac')
    file.write_text("before")

    with pytest.raises(SystemExit, match=r"cannot get the digest of redis:\S+: no such host\. Nothing is written"):
        digests.main()
    assert file.read_text() == "before"


def test_a_machine_without_docker_is_told(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(SystemExit, match="docker is not found"):
        digests.main()
