"""Translate a BigQuery statement for DuckDB."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlglot
from sqlglot import exp

from devtools.emulators.bigquery import information_schema
from devtools.emulators.bigquery.errors import Refused, not_supported
from devtools.emulators.bigquery.tables import TableId

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from duckdb import DuckDBPyConnection

    from devtools.emulators.bigquery.warehouse import Warehouse

DECIMALS = {exp.DataType.Type.DECIMAL: (38, 9), exp.DataType.Type.BIGDECIMAL: (38, 18)}
CHANGES = (exp.Insert, exp.Update, exp.Delete)
STATEMENTS = (exp.Query, *CHANGES)


def parsed(text: str) -> exp.Expr:
    """Parse a text that is one statement.

    Raises:
        Refused: it is no statement, more than one, or one of a kind that is not supported.
    """
    try:
        statements = [statement for statement in sqlglot.parse(text, dialect="bigquery") if statement]
    except sqlglot.errors.SqlglotError as error:
        raise Refused("invalidQuery", f"Syntax error: {error}") from error
    if len(statements) != 1:
        raise Refused("invalidQuery", f"local cloud: {len(statements)} statements, expected 1: scripts do not run here")
    if not isinstance(statements[0], STATEMENTS):
        kinds = "SELECT, INSERT, UPDATE or DELETE"
        raise Refused("invalidQuery", f"local cloud: {text.strip()[:80]!r} is not a {kinds} statement")
    return statements[0]


class Translation:
    """One statement, with its tables looked up and its parameters inserted.

    Args:
        statement: from `parsed`; it is changed.
        warehouse: holds the tables.
        cursor: will run the statement.
        parameters: the queryParameters of the job.
        project: of the client.
        default: the dataset of tables that are named without one, as `defaultDataset` of a job has it.
    """

    def __init__(
        self,
        statement: exp.Expr,
        warehouse: Warehouse,
        cursor: DuckDBPyConnection,
        project: str,
        parameters: Sequence[Mapping[str, Any]] = (),
        *,
        default: Mapping[str, str] | None = None,
    ) -> None:
        self.project = project
        self._default = default or {}
        self.tables: list[TableId] = []
        self._warehouse = warehouse
        self._cursor = cursor
        _insert_parameters(statement, parameters)
        self.statement = statement

    def sql(self) -> str:
        """Return the statement in DuckDB's SQL.

        Raises:
            Refused: one of its tables does not exist.
        """
        node = self.statement.copy()
        if isinstance(node, exp.Query):
            _name_columns(node)
        self._find_tables(node)
        for kind in node.find_all(exp.DataType):
            if kind.this in DECIMALS and not kind.expressions:
                kind.replace(exp.DataType.build("DECIMAL({},{})".format(*DECIMALS[kind.this]), dialect="duckdb"))
        return node.sql("duckdb", unsupported_level=sqlglot.ErrorLevel.IGNORE)

    def target(self) -> TableId:
        """Return the table that the statement changes."""
        table = self.statement.find(exp.Table)
        if table is None:
            raise Refused("invalidQuery", f"no table is named: {self.statement.sql('bigquery')[:80]}")
        return self._table_id(table)

    def _find_tables(self, node: exp.Expr) -> None:
        if lateral := node.find(exp.Lateral):
            raise not_supported(f"no LATERAL: {lateral.sql('bigquery')[:80]}")
        own_names = {cte.alias_or_name.lower() for cte in node.find_all(exp.CTE)}
        for table in list(node.find_all(exp.Table)):
            if not isinstance(table.this, exp.Identifier):
                raise not_supported(f"no table functions except UNNEST: {table.sql('bigquery')[:80]}")
            if not table.db and table.name.lower() in own_names:
                continue
            self._find_table(table)

    def _find_table(self, table: exp.Table) -> None:
        found = self._table_id(table)
        if information_schema.is_view(table.name):
            name = information_schema.register(self._warehouse, self._cursor, self.project, found.dataset)
            _rename(table, (), name, alias=table.alias or information_schema.PARTITIONS)
            return
        self._warehouse.known_table(self._cursor, found)
        self.tables.append(found)
        _rename(table, ("tables", found.dataset), found.table, alias=table.alias)

    def _table_id(self, table: exp.Table) -> TableId:
        dataset = table.db or self._default.get("datasetId")
        if not dataset:
            raise Refused("invalid", f'Table "{table.name}" must be qualified with a dataset (e.g. dataset.table).')
        project = table.catalog if table.db else self._default.get("projectId")
        return TableId(project or self.project, dataset, table.name)


def _insert_parameters(statement: exp.Expr, parameters: Sequence[Mapping[str, Any]]) -> None:
    named = {given["name"].lower(): given for given in parameters if given.get("name")}
    positional = iter([given for given in parameters if not given.get("name")])
    for node in list(statement.find_all(exp.Parameter, exp.Placeholder, bfs=False)):
        is_named = isinstance(node, exp.Parameter)
        given = named.get(node.name.lower()) if is_named else next(positional, None)
        if given is None:
            what = f"@{node.name}" if is_named else "?"
            raise Refused("invalidQuery", f"Query parameter '{what}' not found")
        node.replace(_value(given["parameterType"], given.get("parameterValue") or {}))


def _name_columns(query: exp.Query) -> None:
    """Name unnamed columns as BigQuery does: f0_, f1_ and so on."""
    unnamed = [column for column in query.selects if not (isinstance(column, exp.Alias | exp.Column) or column.is_star)]
    for number, column in enumerate(unnamed):
        column.replace(exp.alias_(column.copy(), f"f{number}_"))


def _rename(table: exp.Table, place: tuple[()] | tuple[str, str], name: str, *, alias: str) -> None:
    catalog, schema = place or (None, None)
    table.set("catalog", exp.to_identifier(catalog, quoted=True) if catalog else None)
    table.set("db", exp.to_identifier(schema, quoted=True) if schema else None)
    table.set("this", exp.to_identifier(name, quoted=True))
    if alias and not table.args.get("alias"):
        table.set("alias", exp.TableAlias(this=exp.to_identifier(alias, quoted=True)))


def _value(kind: Mapping[str, Any], given: Mapping[str, Any]) -> exp.Expr:
    """Return a parameter's value as an expression of exactly its type."""
    name = kind["type"].upper()
    if name in {"STRUCT", "RECORD", "BYTES"}:
        raise not_supported(f"no parameters of type {name}")
    if name == "ARRAY":
        items = [_value(kind["arrayType"], item) for item in given.get("arrayValues") or []]
        of = exp.DataType.build(f"ARRAY<{kind['arrayType']['type']}>", dialect="bigquery")
        return exp.cast(exp.Array(expressions=items), of)
    value = given.get("value")
    literal = exp.null() if value is None else exp.Literal.string(value)
    return exp.cast(literal, exp.DataType.build(name, dialect="bigquery"))
