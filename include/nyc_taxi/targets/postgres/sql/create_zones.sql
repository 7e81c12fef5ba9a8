CREATE TABLE {table} (
    location_id smallint PRIMARY KEY,
    borough text NOT NULL,
    zone text NOT NULL,
    service_zone text NOT NULL,
    shape jsonb,
    centroid_longitude double precision,
    centroid_latitude double precision
);

COMMENT ON TABLE {table} IS
    'The taxi zones that the location ids of trips speak of: taxi_zone_lookup.csv and taxi_zones.zip of the publisher.';

COMMENT ON COLUMN {table}.location_id IS
    'What pickup_location_id and dropoff_location_id of trips name, 1 to 265. 56 and 57 share their names; so do 103, 104 and 105.';

COMMENT ON COLUMN {table}.borough IS
    'Borough, or EWR (Newark Airport), or Unknown (264), or N/A (265): words as published, never null.';

COMMENT ON COLUMN {table}.zone IS
    'Name of the zone, as published: N/A (264) and Outside of NYC (265) in today''s edition, NV and NA in that of 2020.';

COMMENT ON COLUMN {table}.service_zone IS
    'Which taxis serve it: Yellow Zone, Boro Zone, Airports, EWR or N/A.';

COMMENT ON COLUMN {table}.shape IS
    'GeoJSON MultiPolygon in WGS84 longitude and latitude. Null for 264 and 265, which are no places.';

COMMENT ON COLUMN {table}.centroid_longitude IS
    'Longitude of the shape''s centre of area, in degrees; that may lie outside of the shape. Null where the shape is.';

COMMENT ON COLUMN {table}.centroid_latitude IS
    'Latitude of the shape''s centre of area, in degrees. Null where the shape is.';
