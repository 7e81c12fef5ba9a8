CREATE OR REPLACE VIEW {view} AS
SELECT
    {selected}
FROM {trips} AS trips
LEFT JOIN {zones} AS pickup ON pickup.location_id = trips.pickup_location_id
LEFT JOIN {zones} AS dropoff ON dropoff.location_id = trips.dropoff_location_id
