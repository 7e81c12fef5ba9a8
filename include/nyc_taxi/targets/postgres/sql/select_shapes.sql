SELECT location_id, zone, borough, shape
FROM taxi_zones
ORDER BY location_id
