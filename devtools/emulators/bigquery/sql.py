"""A statement of BigQuery's in DuckDB's words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import duckdb
import sqlglot
from sqlglot import exp

from devtools.emulators.bigquery import information_schema
from devtools.emulators.bigquery.errors import Refused
from devtools.emulators.bigquery.fields import field_of
from devtools.emulators.bigquery.warehouse import TableId

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from duckdb import DuckDBPyConnection

    from devtools.emulators.bigquery.fields import Field
    from devtools.emulators.bigquery.warehouse import Warehouse

DECIMALS = {exp.DataType.Type.DECIMAL: (38, 9), exp.DataType.Type.BIGDECIMAL: (38, 18)}
OPTIONS = {
    "friendly_name": "friendlyName",
    "location": "location",
    "require_partition_filter": "requirePartitionFilter",
}
CHANGES = (exp.Insert, exp.Update, exp.Delete, exp.Merge, exp.TruncateTable)
STATEMENTS = (exp.Query, *CHANGES, exp.Create, exp.Drop, exp.Alter)
DAY_MILLISECONDS = 86_400_000


def parsed(text: str) -> exp.Expr:
    """The one statement of a text.

    Raises:
        Refused: it is no statement, or more than one.
    """
    try:
        statements = [statement for statement in sqlglot.parse(text, dialect="bigquery") if statement]
    except sqlglot.errors.SqlglotError as error:
        raise Refused("invalidQuery", f"Syntax error: {error}") from error
    if len(statements) != 1:
        raise Refused(
            "invalidQuery", f"local cloud: {len(statements)} statements, expected 1: scripts are not supported"
        )
    if not isinstance(statements[0], STATEMENTS):
        raise Refused("invalidQuery", f"Syntax error, or a statement that the local cloud lacks: {text.strip()[:80]}")
    return statements[0]


def table_id(table: exp.Table, project: str, default_dataset: str | None) -> TableId:
    """The table that a statement names.

    Raises:
        Refused: it names no dataset, and none goes without saying.
    """
    dataset = table.db or default_dataset
    if not dataset:
        raise Refused("invalid", f'Table "{table.name}" must be qualified with a dataset (e.g. dataset.table).')
    return TableId(table.catalog or project, dataset, table.name)


class Translation:
    """One statement, its tables found and its parameters put in.

    Args:
        statement: as `parsed` gives it; it is changed.
        warehouse: where the tables are.
        cursor: where the statement will run.
        settings: of the query job: defaultDataset, queryParameters.
        project: the client's.
    """

    def __init__(
        self,
        statement: exp.Expr,
        warehouse: Warehouse,
        cursor: DuckDBPyConnection,
        settings: Mapping[str, Any],
        project: str,
    ) -> None:
        self.project = project
        self.default_dataset: str | None = (settings.get("defaultDataset") or {}).get("datasetId")
        self.tables: list[TableId] = []
        self.locations: set[str] = set()
        self._warehouse = warehouse
        self._cursor = cursor
        self._put_parameters(statement, settings.get("queryParameters") or [])
        self.statement = statement

    def sql(self, node: exp.Expr) -> str:
        """A part of the statement that is a query, or one that changes rows, in DuckDB's words.

        Raises:
            Refused: a table that it names is not there.
        """
        node = node.copy()
        if isinstance(node, exp.Query):
            _name_columns(node)
        self._find_tables(node)
        for kind in node.find_all(exp.DataType):
            if kind.this in DECIMALS and not kind.expressions:
                kind.replace(exp.DataType.build("DECIMAL({},{})".format(*DECIMALS[kind.this]), dialect="duckdb"))
        return node.sql("duckdb", unsupported_level=sqlglot.ErrorLevel.IGNORE)

    def target(self) -> TableId:
        """The table that the statement makes, changes or drops."""
        table = self.statement.find(exp.Table)
        if table is None:
            raise Refused("invalidQuery", f"no table is named: {self.statement.sql('bigquery')[:80]}")
        return table_id(table, self.project, self.default_dataset)

    def _find_tables(self, node: exp.Expr) -> None:
        own_names = {cte.alias_or_name.lower() for cte in node.find_all(exp.CTE)}
        for table in list(node.find_all(exp.Table)):
            if not isinstance(table.this, exp.Identifier):
                continue  # a function, as UNNEST
            if not table.db and table.name.lower() in own_names:
                continue
            view = information_schema.view_named(table.name)
            if view:
                name = information_schema.register(self._warehouse, self._cursor, view, self.project, table.db)
                _rename(table, None, None, name, alias=table.alias or view)
                continue
            found = table_id(table, self.project, self.default_dataset)
            resource = self._warehouse.known_table(self._cursor, found)
            self.tables.append(found)
            self.locations.add(resource["location"])
            _rename(table, "tables", found.dataset, found.table, alias=table.alias)

    def _put_parameters(self, statement: exp.Expr, parameters: Sequence[Mapping[str, Any]]) -> None:
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
    """Name what has no name as BigQuery does: f0_, f1_ and so on."""
    unnamed = [column for column in query.selects if not (isinstance(column, exp.Alias | exp.Column) or column.is_star)]
    for number, column in enumerate(unnamed):
        column.replace(exp.alias_(column.copy(), f"f{number}_"))


def _rename(table: exp.Table, catalog: str | None, schema: str | None, name: str, *, alias: str) -> None:
    table.set("catalog", exp.to_identifier(catalog, quoted=True) if catalog else None)
    table.set("db", exp.to_identifier(schema, quoted=True) if schema else None)
    table.set("this", exp.to_identifier(name, quoted=True))
    if alias and not table.args.get("alias"):
        table.set("alias", exp.TableAlias(this=exp.to_identifier(alias, quoted=True)))


def _value(kind: Mapping[str, Any], given: Mapping[str, Any]) -> exp.Expr:
    """A parameter's value as an expression of exactly its type."""
    name = kind["type"].upper()
    if name == "ARRAY":
        items = [_value(kind["arrayType"], item) for item in given.get("arrayValues") or []]
        of = exp.DataType.build(_array_type(kind), dialect="bigquery")
        return exp.cast(exp.Array(expressions=items), of)
    if name in {"STRUCT", "RECORD"}:
        parts = [
            exp.PropertyEQ(
                this=exp.to_identifier(part["name"]),
                expression=_value(part["type"], given["structValues"][part["name"]]),
            )
            for part in kind["structTypes"]
        ]
        return exp.Struct(expressions=parts)
    value = given.get("value")
    if value is None:
        return exp.cast(exp.null(), exp.DataType.build(name, dialect="bigquery"))
    if name == "BYTES":
        return exp.func("from_base64", exp.Literal.string(value), dialect="duckdb")
    return exp.cast(exp.Literal.string(value), exp.DataType.build(name, dialect="bigquery"))


def _array_type(kind: Mapping[str, Any]) -> str:
    if kind["arrayType"]["type"] in {"STRUCT", "RECORD"}:
        raise Refused("notImplemented", "local cloud: no parameters that are arrays of structs")
    return f"ARRAY<{kind['arrayType']['type']}>"


# Definitions


def resource_of(create: exp.Expr) -> dict[str, Any]:
    """What a CREATE TABLE, VIEW or SCHEMA says, as the resource that a client would send for it."""
    resource: dict[str, Any] = {}
    if isinstance(create.this, exp.Schema):
        columns = [column for column in create.this.expressions if isinstance(column, exp.ColumnDef)]
        resource["schema"] = {"fields": [column_field(column) for column in columns]}
    resource |= _options(create.args.get("properties"))
    return resource


def column_field(column: exp.ColumnDef) -> Field:
    """The field that a column's definition makes."""
    kind = column.args["kind"].copy()
    for part in kind.find_all(exp.DataType):
        if part.this in DECIMALS and not part.expressions:
            part.set("expressions", [exp.DataTypeParam(this=exp.Literal.number(n)) for n in DECIMALS[part.this]])
            part.set("this", exp.DataType.Type.DECIMAL)
    field = field_of(column.name, duckdb.sqltype(kind.sql("duckdb")))
    for constraint in column.args.get("constraints") or []:
        if isinstance(constraint.kind, exp.NotNullColumnConstraint):
            field["mode"] = "REQUIRED"
        elif isinstance(constraint.kind, exp.Properties):
            field |= _options(constraint.kind)
    return field


def _options(properties: exp.Expr | None) -> dict[str, Any]:
    result: dict[str, Any] = {}
    partitioning: dict[str, Any] = {}
    for option in properties.expressions if properties else []:
        if isinstance(option, exp.PartitionedByProperty):
            partitioning |= _time_partitioning(option.this)
        elif isinstance(option, exp.ClusterProperty):
            result["clustering"] = {"fields": [column.name for column in option.expressions]}
        elif isinstance(option, exp.LocationProperty):
            result["location"] = _literal(option.this)
        elif isinstance(option, exp.Property):
            name, value = option.name.lower(), _literal(option.args["value"])
            if name == "partition_expiration_days":
                partitioning["expirationMs"] = str(int(float(value) * DAY_MILLISECONDS))
            elif name in {"description", "labels"} or name in OPTIONS:
                result[OPTIONS.get(name, name)] = value
            else:
                raise Refused("invalidQuery", f"local cloud: option {name} is not supported")
    if partitioning:
        result["timePartitioning"] = partitioning
    return result


def _time_partitioning(by: exp.Expr) -> dict[str, str]:
    column = by.find(exp.Column)
    if column is None or isinstance(by, exp.Anonymous):
        raise Refused("invalidQuery", f"local cloud: PARTITION BY {by.sql('bigquery')} is not supported")
    unit = by.args.get("unit")
    return {"type": unit.name.upper() if unit else "DAY", "field": column.name}


def _literal(value: exp.Expr) -> Any:  # noqa: ANN401 - whatever the literal is
    if isinstance(value, exp.Array):
        return {pair.expressions[0].name: pair.expressions[1].name for pair in value.expressions}
    if isinstance(value, exp.Boolean):
        return value.this
    return value.name
