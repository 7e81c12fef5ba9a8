"""What `make newest-airflow` asks for and says; resolving and installing need a package index."""

import pytest

from devtools import newest_airflow
from devtools.newest_airflow import FLOWS, Failed


def test_only_the_pin_of_airflow_is_replaced():
    pinned, asked = ((newest_airflow.ROOT / "requirements.in").read_text(), newest_airflow.unpinned(">=3.3,<4"))

    changed = [
        (before.split()[0], after.split()[0])
        for before, after in zip(pinned.splitlines(), asked.splitlines(), strict=True)
        if before != after
    ]

    assert [after for _, after in changed] == ["apache-airflow>=3.3,<4"]
    assert changed[0][0].startswith("apache-airflow==")


def test_versions_that_differ_from_the_lock_are_listed():
    lock = "duckdb==2.0.0 \\\n    --hash=sha256:" + "0" * 64 + "\nhttpx==0.28.1\n"

    assert newest_airflow.differences(lock, "duckdb==2.0.1\nhttpx==0.28.1\nnew-one==1.0\n") == [
        "duckdb 2.0.0 -> 2.0.1",
        "new-one not locked -> 1.0",
    ]


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        (
            {"import_errors": {"ingest_data.py": "Traceback ...\nImportError: no TaskFlow\n"}},
            "ingest_data.py: ImportError",
        ),
        ({"plugin_errors": {"taxi_plugin.py": "no fastapi_apps"}}, "taxi_plugin.py: no fastapi_apps"),
        ({"flow_code": "failed"}, "flow_code: failed; expected success"),
    ],
)
def test_what_failed_is_told_with_its_reason(changed, reason):
    found = {"dags": ["a"], "plugin_errors": {}, "import_errors": {}} | dict.fromkeys(FLOWS, "success") | changed

    with pytest.raises(Failed, match=reason):
        newest_airflow._judge(found)


def test_a_failed_command_is_told_with_its_last_lines(tmp_path):
    command = ["sh", "-c", "echo first >&2; seq 20 >&2; echo no version fits >&2; exit 3"]

    with pytest.raises(Failed, match=r"(?s)\Aresolve: failed\n.*no version fits\Z") as failure:
        newest_airflow._run("resolve", command, {})

    assert "first" not in str(failure.value)
