SELECT count(*) || '-' || coalesce(max(xmin::text::bigint), 0) AS edition
FROM taxi_zones
