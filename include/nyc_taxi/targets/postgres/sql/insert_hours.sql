INSERT INTO trips_by_hour (target_table, service, month, weekday, hour, trips)
SELECT %(target_table)s, %(service)s, %(month)s, by_hour.*
FROM unnest(%(weekday)s::smallint[], %(hour)s::smallint[], %(trips)s::bigint[]) AS by_hour
