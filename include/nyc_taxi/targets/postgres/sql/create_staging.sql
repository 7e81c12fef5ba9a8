CREATE TABLE {staging} (
    {columns},
    file_month date NOT NULL DEFAULT {month} CHECK (file_month = {month})
)
