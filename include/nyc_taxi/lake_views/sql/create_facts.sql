CREATE OR REPLACE TABLE {view} AS
SELECT {columns}
FROM (SELECT unnest(from_json($rows, $structure), recursive := true))
