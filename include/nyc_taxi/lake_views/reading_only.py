"""reading_only: refuse statements that write, as a slip of the hand would. It is no barrier to who means to write."""

from __future__ import annotations

from itertools import pairwise

import duckdb

_READS = {duckdb.StatementType.SELECT, duckdb.StatementType.EXPLAIN}
# DuckDB takes them inside a WITH or after EXPLAIN ANALYZE too, and runs them there.
_WRITES = {"attach", "copy", "create", "delete", "drop", "export", "insert", "merge", "update"}
_EXPECTED = "expected SELECT, WITH, FROM, DESCRIBE, SHOW TABLES, SUMMARIZE or EXPLAIN"


def check_reads_only(statement: str) -> None:
    """Check that a text is one statement that reads.

    Raises:
        ValueError: it is none, or more than one, or would write.
        duckdb.ParserException: it is not SQL.
    """
    found = duckdb.extract_statements(statement)
    if len(found) != 1:
        raise ValueError(f"{len(found)} statements; expected one")
    if found[0].type not in _READS:
        raise ValueError(f"a {found[0].type.name} statement; {_EXPECTED}: the lake is read here, not written")
    if writing := _WRITES & set(words(statement)):
        raise ValueError(f"{min(writing).upper()} in a statement; {_EXPECTED}: the lake is read here, not written")


def words(statement: str) -> list[str]:
    """Return the keywords and unquoted names of a text, in lower case."""
    kinds = {duckdb.token_type.keyword, duckdb.token_type.identifier}
    text = statement.encode()
    starts = [*duckdb.tokenize(statement), (len(text), None)]
    return [text[start:end].decode().strip().lower() for (start, kind), (end, _) in pairwise(starts) if kind in kinds]


def is_complete(text: str) -> bool:
    """Whether a text ends with a semicolon that is not in a string or a comment."""
    starts = [start for start, kind in duckdb.tokenize(text) if kind != duckdb.token_type.comment]
    return bool(starts) and text.encode()[starts[-1] :].strip().startswith(b";")
