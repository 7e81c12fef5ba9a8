"""Import the plugins and the page, parse the Dags, and run flows, with the Airflow and the folders of the environment.

    PYTHON -P devtools/bundle_check.py '{"flow_code": {}}'

Any Python that has an Airflow runs it, so it imports nothing of this project but the bundle that it is shown. It prints
a line `FOUND {...}`.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

BUNDLE = "dags-folder"  # as Airflow names the bundle in its own setting


def main() -> None:
    """Check the bundle, and print what was found."""
    found = _plugins()
    found |= {"include_of_the_page": _include_of_the_page()}  # first, as the web server has no Dag files
    bag = _dags()
    found |= {"dags": sorted(bag.dags), "import_errors": bag.import_errors, "include": _include()}
    for flow, params in json.loads(sys.argv[1]).items():
        found[flow] = str(bag.dags[flow].test(run_conf=params).state) if flow in bag.dags else "not parsed"
    print("FOUND", json.dumps(found))


def _plugins() -> dict[str, Any]:
    from airflow import plugins_manager

    plugins_manager.ensure_plugins_loaded()
    info = plugins_manager.get_plugin_info(["name"])
    return {
        "plugins": sorted(plugin["name"] for plugin in info),
        "plugin_errors": dict(plugins_manager.get_import_errors()),
    }


def _include_of_the_page() -> str:
    """Import the page in a process of its own, as it adds to Python's path, and return where its `include` is."""
    read, write = os.pipe()
    if os.fork() == 0:
        sys.modules["taxi_plugin"]._import_page()  # noqa: SLF001 - it is ours
        os.write(write, _include().encode())
        os._exit(0)
    os.close(write)
    with os.fdopen(read) as answer:
        found = answer.read()
    os.wait()
    return found


def _include() -> str:
    return str(sys.modules["include"].__file__)


def _dags() -> Any:  # noqa: ANN401 - Airflow's classes differ from version to version
    from airflow.dag_processing.bundles.manager import DagBundlesManager
    from airflow.dag_processing.dagbag import BundleDagBag, sync_bag_to_db

    manager: Any = DagBundlesManager()  # type: ignore[no-untyped-call]
    manager.sync_bundles_to_db()
    [bundle] = [each for each in manager.get_all_dag_bundles() if each.name == BUNDLE]
    bag = BundleDagBag(bundle.path, bundle_path=bundle.path, bundle_name=bundle.name)
    sync_bag_to_db(bag, bundle.name, None)
    return bag


if __name__ == "__main__":
    main()
