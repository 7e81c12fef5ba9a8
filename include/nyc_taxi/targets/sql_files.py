"""sql_files: read the SQL that lies in the folder `sql` beside the module that runs it."""

from __future__ import annotations

from functools import cache
from importlib.resources import files


@cache
def sql_file(package: str, name: str) -> str:
    """Read `sql/{name}` of a package, such as ``sql_file(__package__, "last_load.sql")``."""
    return files(package).joinpath("sql", name).read_text(encoding="utf-8")
