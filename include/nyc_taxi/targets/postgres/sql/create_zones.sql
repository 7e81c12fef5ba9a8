CREATE TABLE {table} ({columns}, PRIMARY KEY (location_id))
