"""A small BigQuery over DuckDB and sqlglot, for the unmodified Google client.

errors              the errors that BigQuery answers with
fields              a field of BigQuery and its type in DuckDB
partitions          which rows a partition holds
tables              the name of a table, and the changes that it allows
warehouse           datasets, tables and rows, in one DuckDB file
sql                 translates a BigQuery statement for DuckDB
information_schema  INFORMATION_SCHEMA.PARTITIONS
sources             reads the files of a load job
jobs                load and query jobs
server              the REST interface
"""
