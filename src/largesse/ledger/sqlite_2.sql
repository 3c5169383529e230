-- What came with format 2: account rows are written late, some with each batch
-- (ledger/sqlite_accounts.py). While a ledger is open the view `account` may be up to 128 batches
-- behind; in one that was closed it never is. Of a file of format 1 every row is whole.

-- The newest batch, and the newest one with which every account's row was written. One row.
CREATE TABLE standing (
    sequence       INTEGER PRIMARY KEY,
    hash           BLOB NOT NULL,
    whole_sequence INTEGER NOT NULL,
    whole_hash     BLOB NOT NULL
) STRICT;
INSERT INTO standing
    SELECT sequence, hash, sequence, hash FROM (
        SELECT 0 AS sequence, zeroblob(32) AS hash UNION ALL SELECT sequence, hash FROM batches
    ) ORDER BY sequence DESC LIMIT 1;

DROP TRIGGER IF EXISTS incoming_batch_arrives;
CREATE TRIGGER incoming_batch_arrives INSTEAD OF INSERT ON incoming_batch BEGIN
    INSERT INTO batches (sequence, first_timestamp, last_timestamp, events, hash)
        VALUES (NEW.sequence, NEW.first_timestamp, NEW.last_timestamp, NEW.events, NEW.hash);
    UPDATE standing SET sequence = NEW.sequence, hash = NEW.hash;
    INSERT INTO transfers (id, record)
        SELECT substr(NEW.transfers, n * {transfer_size} + 1, 16),
               substr(NEW.transfers, n * {transfer_size} + 17, {transfer_size} - 16)
        FROM numbers WHERE n < NEW.transfer_count;
    INSERT OR REPLACE INTO accounts (id, record)
        SELECT substr(NEW.accounts, n * {account_size} + 1, 16),
               substr(NEW.accounts, n * {account_size} + 17, {account_size} - 16)
        FROM numbers WHERE n < NEW.account_count;
END;
