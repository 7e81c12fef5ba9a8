-- The trips' columns come last: CREATE OR REPLACE VIEW takes new columns at the end, where ADD COLUMN puts them too.
CREATE OR REPLACE VIEW {view} AS
SELECT
    {names},
    trips.*
FROM {trips} AS trips
LEFT JOIN {zones} AS pickup ON pickup.location_id = trips.pickup_location_id
LEFT JOIN {zones} AS dropoff ON dropoff.location_id = trips.dropoff_location_id;

COMMENT ON VIEW {view} IS {comment};
