SELECT location_id, borough, zone, service_zone, shape, centroid_longitude, centroid_latitude
FROM {table}
ORDER BY location_id
