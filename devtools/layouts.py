"""Write the bundle as a managed Airflow wants it, ready to upload.

    python -m devtools.layouts composer OUT     `make layout ARGS="composer OUT"`

The Dag files import `include`, so each layout puts it where that Airflow looks: beside `dags/` if the folder of both is
on Python's path, else into `dags/`. Where the web server has only the plugins, they bring a copy for the coverage page.
"""

from __future__ import annotations

import argparse
import re
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile

from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
REQUIREMENTS = ROOT / "requirements.in"
WITHOUT = shutil.ignore_patterns("__pycache__", ".gitkeep")
# Airflow and what its service brings with it, in versions that only the service changes.
OF_THE_SERVICE = {"apache-airflow", "apache-airflow-providers-celery", "apache-airflow-providers-fab", "celery"}
COPY_FOR_THE_PAGE = "plugins/taxi_bundle/include"  # taxi_plugin.py looks there last
DOCKERFILE = """FROM astrocrpublic.azurecr.io/runtime:3.3-2
# Dag files import `include`, which is beside dags/.
ENV PYTHONPATH=/usr/local/airflow
"""


@dataclass(frozen=True)
class Layout:
    """Where a managed Airflow expects the parts of a bundle.

    Attributes:
        home: the folder there that the written one becomes.
        include: the folders that get a copy of `include/`.
        is_zipped: whether the plugins are uploaded as `plugins.zip`.
        requirements: lines before the packages.
        files: further files, by name.
        documented: the page that describes the layout.
    """

    home: str
    include: tuple[str, ...]
    documented: str
    is_zipped: bool = False
    requirements: str = ""
    files: tuple[tuple[str, str], ...] = ()


LAYOUTS = {
    "astro": Layout(
        home="/usr/local/airflow",
        include=("include",),
        files=(("Dockerfile", DOCKERFILE), ("packages.txt", "")),
        documented="https://www.astronomer.io/docs/astro/create-project",
    ),
    "composer": Layout(
        home="/home/airflow/gcs",
        include=("dags/include", COPY_FOR_THE_PAGE),
        documented="https://cloud.google.com/composer/docs/composer-3/cloud-storage",
    ),
    "mwaa": Layout(
        home="/usr/local/airflow",
        include=("dags/include", COPY_FOR_THE_PAGE),
        is_zipped=True,
        # MWAA adds its own constraints, older than the lower bounds here, to a file in which it finds no such option.
        requirements="# --constraint is not set: the lower bounds are the tested versions\n",
        documented="https://docs.aws.amazon.com/mwaa/latest/userguide/configuring-dag-import-plugins.html",
    ),
}


def main() -> None:
    """Write the layout that is asked for."""
    parser = argparse.ArgumentParser(prog="python -m devtools.layouts", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("layout", choices=LAYOUTS)
    parser.add_argument("folder", type=Path, help="where to write it; it must not exist, or be empty")
    arguments = parser.parse_args()
    try:
        write(LAYOUTS[arguments.layout], arguments.folder)
    except OSError as error:
        sys.exit(str(error))
    print(f"wrote {arguments.folder}, which becomes {LAYOUTS[arguments.layout].home}")


def write(layout: Layout, folder: Path, *, root: Path = ROOT) -> None:
    """Write the bundle of a tree into a new folder.

    Raises:
        FileExistsError: the folder has files, which could mix with those of another version.
    """
    if folder.exists() and any(folder.iterdir()):
        raise FileExistsError(f"{folder} is not empty; expected a new or an empty folder: delete it, or name another")
    for name in ("dags", "plugins"):
        shutil.copytree(root / name, folder / name, ignore=WITHOUT, dirs_exist_ok=True)
    for name in layout.include:
        shutil.copytree(root / "include", folder / name, ignore=WITHOUT)
    (folder / "dags" / ".airflowignore").write_text(
        "# Dag files import it; it has none.\n/include/\n", encoding="utf-8"
    )
    (folder / "requirements.txt").write_text(layout.requirements + requirements(root), encoding="utf-8")
    for name, text in layout.files:
        (folder / name).write_text(text, encoding="utf-8")
    if layout.is_zipped:
        _zip(folder / "plugins", folder / "plugins.zip")


def requirements(root: Path = ROOT) -> str:
    """Return the packages that the bundle needs in addition to those of the service, one a line."""
    lines = (line.partition("#")[0].strip() for line in (root / REQUIREMENTS.name).read_text().splitlines())
    return "".join(f"{line}\n" for line in lines if line and _name(line) not in OF_THE_SERVICE)


def _name(requirement: str) -> str:
    return canonicalize_name(re.split(r"[\[<>=!~; ]", requirement, maxsplit=1)[0])


def _zip(folder: Path, path: Path) -> None:
    """Move a folder's files into an archive."""
    with ZipFile(path, "w", ZIP_DEFLATED) as archive:
        for file in sorted(file for file in folder.rglob("*") if file.is_file()):
            archive.write(file, file.relative_to(folder))
    shutil.rmtree(folder)


if __name__ == "__main__":
    main()
