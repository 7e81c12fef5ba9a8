CREATE OR REPLACE VIEW {view} AS
SELECT
    pickup.borough AS pickup_borough,
    pickup.zone AS pickup_zone,
    dropoff.borough AS dropoff_borough,
    dropoff.zone AS dropoff_zone,
    trips.*
FROM {trips} AS trips
LEFT JOIN {zones} AS pickup ON pickup.location_id = trips.pickup_location_id
LEFT JOIN {zones} AS dropoff ON dropoff.location_id = trips.dropoff_location_id
