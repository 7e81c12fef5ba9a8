COMMENT ON VIEW {table} IS {comment}
