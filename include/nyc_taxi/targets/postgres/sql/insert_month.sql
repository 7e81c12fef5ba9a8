INSERT INTO trips_by_month (
    target_table, service, month, trips, without_meter, outside_month, fares, fare_sum, tip_sum
) VALUES (
    %(target_table)s, %(service)s, %(month)s, %(trips)s, %(without_meter)s, %(outside_month)s, %(fares)s, %(fare_sum)s,
    %(tip_sum)s
)
