INSERT INTO load_ledger ({names})
VALUES ({values})
