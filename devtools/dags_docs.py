"""Write docs/dags.md: the documentation, params and deployments of every flow.

`make docs` runs it, and a test checks that the page is up to date.
"""

from __future__ import annotations

import ast
import os
from pathlib import Path
from typing import TYPE_CHECKING

from devtools.environment import ROOT, project_environment

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from airflow.sdk import DAG, Param

    from include.orchestration.entries import Deployment

PAGE = ROOT / "docs" / "dags.md"
HEAD = """# The Dags

`make docs` writes this page from the files in `dags/` and from `include/deployments.yaml`; edit those.

Each section has a flow's own Dag, its params, and its deployments: Dags with the same tasks and other defaults. A Dag's
doc is also shown in the web UI.
"""


def main() -> None:
    """Write the page."""
    os.environ |= project_environment(os.environ)
    from airflow.dag_processing.dagbag import BundleDagBag

    from include.orchestration.deployments import deployments

    bag = BundleDagBag(str(ROOT), bundle_path=ROOT, bundle_name="nyc-taxi")
    PAGE.write_text(page(bag.dags, deployments()), encoding="utf-8")


def page(dags: Mapping[str, DAG], entries: Iterable[Deployment]) -> str:
    """Return the page, in Markdown."""
    by_flow: dict[str, list[Deployment]] = {}
    for entry in entries:
        by_flow.setdefault(entry.flow, []).append(entry)
    flows = [dags[dag_id] for dag_id in sorted(dags) if "." not in dag_id]
    return "\n".join([HEAD, *(_section(dag, by_flow.get(dag.dag_id, [])) for dag in flows)])


def _section(dag: DAG, entries: list[Deployment]) -> str:
    params = [_param(name, dag.params.get_param(name)) for name in dag.params]
    deployed = [
        f"| `{entry.dag_id}` | {entry.description} | {entry.runs} | "
        f"{', '.join(f'`{name}={value}`' for name, value in entry.params.items())} |"
        for entry in entries
    ]
    parts = [f"## {dag.dag_id}", written(dag).replace("\n### ", "\n#### ")]
    if params:
        parts.append("\n".join(["| param | default | what |", "|---|---|---|", *params]))
    if deployed:
        parts.append("\n".join(["| deployment | what | runs | params |", "|---|---|---|---|", *deployed]))
    return "\n\n".join(parts) + "\n"


def written(dag: DAG) -> str:
    """Return a Dag's doc as its file has it; Airflow is given one without inline code."""
    return ast.get_docstring(ast.parse(Path(dag.fileloc).read_text(encoding="utf-8"))) or ""


def _param(name: str, param: Param) -> str:
    description = param.description or param.schema.get("description_md", "")
    return f"| `{name}` | `{param.value!r}` | {param.schema.get('title', name)}. {description} |"


if __name__ == "__main__":
    main()
