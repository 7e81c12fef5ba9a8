SELECT
    {columns}
FROM {table}
