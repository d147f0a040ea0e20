-- Signing keys take over from each other: the one with the highest generation whose time has come signs. A key without a time
-- has signed since it was made, which is what every earlier release did with its keys.
ALTER TABLE signing_keys ADD COLUMN active_from BIGINT;
-- For the newest one, whose generation the next one follows.
CREATE INDEX signing_keys_by_generation ON signing_keys (generation);
-- Keys that an operator withdrew because they may be known to others: their tokens and the calls under them end at once. A key
-- that was merely replaced is not here; it goes when its last token has expired.
CREATE TABLE withdrawn_keys (
    id           TEXT COLLATE "C" PRIMARY KEY NOT NULL,
    algorithm    TEXT COLLATE "C" NOT NULL,
    withdrawn_at BIGINT NOT NULL
);
