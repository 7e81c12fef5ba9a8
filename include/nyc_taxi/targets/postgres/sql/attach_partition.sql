ALTER TABLE {staging} RENAME TO {partition_name};

ALTER INDEX {index} RENAME TO {index_name};

ALTER TABLE {table} ATTACH PARTITION {partition} FOR VALUES IN ({month});
