INSERT INTO trips_by_zone (
    target_table, service, month, location_id, pickups, dropoffs, fares, fare_sum, tip_sum
)
SELECT %(target_table)s, %(service)s, %(month)s, by_zone.*
FROM unnest(
    %(location_id)s::smallint[], %(pickups)s::bigint[], %(dropoffs)s::bigint[], %(fares)s::bigint[],
    %(fare_sum)s::double precision[], %(tip_sum)s::double precision[]
) AS by_zone
