WITH gone_month AS (
    DELETE FROM trips_by_month WHERE (target_table, service, month) = (%(target_table)s, %(service)s, %(month)s)
), gone_hours AS (
    DELETE FROM trips_by_hour WHERE (target_table, service, month) = (%(target_table)s, %(service)s, %(month)s)
)
DELETE FROM trips_by_zone WHERE (target_table, service, month) = (%(target_table)s, %(service)s, %(month)s)
