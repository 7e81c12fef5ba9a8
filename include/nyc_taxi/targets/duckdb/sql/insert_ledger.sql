-- One process at a time writes the file, so that the next number is the highest one and 1.
INSERT INTO main.load_ledger (load_id, {names}, loaded_at)
SELECT coalesce(max(load_id), 0) + 1, {values}, $loaded_at
FROM main.load_ledger
