SELECT trips
FROM trips_by_hour
WHERE service = %(service)s
  AND month = %(month)s
  AND target_table = (
      SELECT target_table
      FROM trips_by_month
      WHERE service = %(service)s AND month = %(month)s
      ORDER BY target_table = format('public.%%s_taxi_trips', service) DESC, target_table
      LIMIT 1
  )
ORDER BY weekday, hour
