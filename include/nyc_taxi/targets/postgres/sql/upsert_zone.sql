INSERT INTO {table} (
    location_id, borough, zone, service_zone, shape, centroid_longitude, centroid_latitude
) VALUES (
    %(location_id)s, %(borough)s, %(zone)s, %(service_zone)s, %(shape)s, %(centroid_longitude)s, %(centroid_latitude)s
)
ON CONFLICT (location_id) DO UPDATE SET
    borough = EXCLUDED.borough,
    zone = EXCLUDED.zone,
    service_zone = EXCLUDED.service_zone,
    shape = EXCLUDED.shape,
    centroid_longitude = EXCLUDED.centroid_longitude,
    centroid_latitude = EXCLUDED.centroid_latitude
