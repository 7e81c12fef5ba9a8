-- The columns are named, because DuckDB refuses a view of * once its table has another column.
CREATE OR REPLACE VIEW {table} AS
SELECT
    {selected}
FROM {trips} AS trips
LEFT JOIN {zones} AS pickup ON pickup.location_id = trips.pickup_location_id
LEFT JOIN {zones} AS dropoff ON dropoff.location_id = trips.dropoff_location_id
