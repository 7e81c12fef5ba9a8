SELECT
    location_id,
    borough,
    zone,
    service_zone,
    {shape} AS shape,
    centroid_longitude,
    centroid_latitude
FROM `{table}`
