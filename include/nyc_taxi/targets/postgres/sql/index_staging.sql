CREATE INDEX {index} ON {staging} USING brin (pickup_datetime)
