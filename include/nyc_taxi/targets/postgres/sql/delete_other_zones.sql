DELETE FROM {table}
WHERE location_id <> ALL (%(location_ids)s)
