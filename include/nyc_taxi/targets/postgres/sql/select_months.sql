SELECT DISTINCT ON (service, month) service, month, trips, without_meter, outside_month, fares, fare_sum, tip_sum
FROM trips_by_month
ORDER BY service, month, target_table = format('public.%s_taxi_trips', service) DESC, target_table
