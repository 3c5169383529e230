-- The ledger's own schema. Every process that writes takes the row of `head` first, in each batch:
-- it orders the batches of all processes, and tells each of them whether what it remembers is of now.
--
-- Real columns, for people and their tools: ids are uuids, amounts and instants (nanoseconds since
-- 1970) bigints. The order of the columns is the order in which a row is copied in.

CREATE TABLE ledger.head (
    one            boolean PRIMARY KEY DEFAULT true CHECK (one),
    sequence       bigint NOT NULL,
    hash           bytea NOT NULL,
    last_timestamp bigint NOT NULL
) WITH (fillfactor = 10);
INSERT INTO ledger.head (sequence, hash, last_timestamp)
    VALUES (0, decode(repeat('00', 32), 'hex'), 0);

CREATE TABLE ledger.batches (
    sequence        bigint PRIMARY KEY,
    first_timestamp bigint NOT NULL,
    last_timestamp  bigint NOT NULL,
    events          bytea NOT NULL, -- 17 bytes each: what happened, and to which id
    hash            bytea NOT NULL, -- SHA-256 over the hash before it and all that happened
    writer          uuid,           -- which process wrote it; null where it was copied in
    touched         bytea           -- the ids of the accounts that changed, 16 bytes each
);
ALTER TABLE ledger.batches ALTER COLUMN events SET STORAGE EXTERNAL;
ALTER TABLE ledger.batches ALTER COLUMN touched SET STORAGE EXTERNAL;
CREATE INDEX batches_by_timestamp ON ledger.batches (last_timestamp);

CREATE TABLE ledger.transfers (
    id                            uuid PRIMARY KEY,
    debit_account_id              uuid NOT NULL,
    credit_account_id             uuid NOT NULL,
    amount                        bigint NOT NULL,
    ledger                        bigint NOT NULL,
    code                          integer NOT NULL,
    flags                         integer NOT NULL,
    pending_id                    uuid NOT NULL,
    user_data_128                 uuid NOT NULL,
    user_data_64                  bigint NOT NULL,
    user_data_32                  bigint NOT NULL,
    timeout                       bigint NOT NULL,
    "timestamp"                   bigint NOT NULL,
    debit_account_debits_posted   bigint NOT NULL,
    debit_account_credits_posted  bigint NOT NULL,
    credit_account_debits_posted  bigint NOT NULL,
    credit_account_credits_posted bigint NOT NULL,
    debit_account_previous_id     uuid NOT NULL,
    credit_account_previous_id    uuid NOT NULL
);

-- Room in each page, so that a new version of a row stays in its page and no index changes.
CREATE TABLE ledger.accounts (
    id               uuid PRIMARY KEY,
    ledger           bigint NOT NULL,
    code             integer NOT NULL,
    flags            integer NOT NULL,
    user_data_128    uuid NOT NULL,
    user_data_64     bigint NOT NULL,
    user_data_32     bigint NOT NULL,
    "timestamp"      bigint NOT NULL,
    debits_pending   bigint NOT NULL,
    debits_posted    bigint NOT NULL,
    credits_pending  bigint NOT NULL,
    credits_posted   bigint NOT NULL,
    last_transfer_id uuid NOT NULL
) WITH (fillfactor = 50);

CREATE TABLE ledger.refused (
    id          uuid PRIMARY KEY,
    outcome     text NOT NULL,
    "timestamp" bigint NOT NULL,
    available   bigint NOT NULL,
    record      bytea NOT NULL -- all of it, with the chain that was asked for, as it was hashed
);

CREATE TABLE ledger.pendings (
    id          uuid PRIMARY KEY,
    status      smallint NOT NULL, -- 1 pending, 2 posted, 3 voided, 4 expired
    expires_at  bigint NOT NULL,   -- 0: never
    resolved_at bigint NOT NULL    -- 0: not yet
);
CREATE INDEX pendings_open ON ledger.pendings (expires_at, id) WHERE status = 1;
