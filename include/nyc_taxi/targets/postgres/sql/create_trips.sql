CREATE TABLE {table} (
    {columns},
    file_month date NOT NULL
) PARTITION BY LIST (file_month);

CREATE INDEX {index} ON {table} USING brin (pickup_datetime);
