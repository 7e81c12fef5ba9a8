"""sql_files: read the SQL that lies in the folder `sql` beside the module that runs it."""

from __future__ import annotations

from functools import cache
from pathlib import Path


@cache
def sql_file(module: str, name: str) -> str:
    """Read `sql/{name}` beside a module, such as ``sql_file(__file__, "last_load.sql")``."""
    return Path(module).with_name("sql").joinpath(name).read_text(encoding="utf-8")
