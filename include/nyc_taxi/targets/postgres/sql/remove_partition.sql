ALTER TABLE {table} DETACH PARTITION {partition};

DROP TABLE {partition};
