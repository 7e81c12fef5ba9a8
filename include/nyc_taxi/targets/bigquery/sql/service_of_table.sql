SELECT service FROM {table} WHERE target_table = @target_table ORDER BY loaded_at DESC LIMIT 1
