"""A small BigQuery over DuckDB and sqlglot, spoken to by the unmodified Google client.

errors      what BigQuery answers when it refuses
fields      a BigQuery field and what it is in DuckDB
warehouse   datasets, tables, partitions: one DuckDB file
sql         a BigQuery statement in DuckDB's words
sources     the files of a load job
jobs        load, copy and query jobs
server      the REST interface
"""
