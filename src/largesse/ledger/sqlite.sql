-- The ledger's own file. The engine writes one batch with one statement, an INSERT into
-- `incoming_batch`: it hands over a few byte strings and the trigger cuts them into rows. One
-- statement is one turn of the interpreter's lock and one transaction, which is what makes a
-- batch cheap beside a busy event loop (docs/decisions has the figures).
--
-- Rows are fixed-width records (ledger/encoding.py), STRICT and WITHOUT ROWID by their 16-byte id:
-- time-ordered ids are appended at the right end of the tree. For people and their tools, the
-- views `transfer`, `account` and `batch` at the end show the same rows as columns.
--
-- The trigger and what else came with format 2 are in sqlite_2.sql, for files of format 1 too.

CREATE TABLE batches (
    sequence        INTEGER PRIMARY KEY,
    first_timestamp INTEGER NOT NULL,
    last_timestamp  INTEGER NOT NULL,
    events          BLOB NOT NULL,   -- 17 bytes each: what happened, and to which id
    hash            BLOB NOT NULL    -- SHA-256 over the hash before it and all that happened
) STRICT;
CREATE INDEX batches_by_timestamp ON batches (last_timestamp);

CREATE TABLE transfers (id BLOB PRIMARY KEY, record BLOB NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE accounts (id BLOB PRIMARY KEY, record BLOB NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE refused (id BLOB PRIMARY KEY, record BLOB NOT NULL) STRICT, WITHOUT ROWID;

CREATE TABLE pendings (
    id          BLOB PRIMARY KEY,
    status      INTEGER NOT NULL,    -- 1 pending, 2 posted, 3 voided, 4 expired
    expires_at  INTEGER NOT NULL,    -- 0: never
    resolved_at INTEGER NOT NULL     -- 0: not yet
) STRICT, WITHOUT ROWID;
CREATE INDEX pendings_open ON pendings (expires_at) WHERE status = 1;

-- The row numbers that the trigger cuts by.
CREATE TABLE numbers (n INTEGER PRIMARY KEY) STRICT;
INSERT INTO numbers (n)
    WITH RECURSIVE counting (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM counting WHERE n < {rows_max} - 1)
    SELECT n FROM counting;

CREATE VIEW incoming_batch AS
    SELECT sequence, first_timestamp, last_timestamp, events, hash,
           NULL AS transfers, 0 AS transfer_count, NULL AS accounts, 0 AS account_count
    FROM batches;
