-- What was used once and must not be used again (replay): the ids (`jti`) of signed assertions and proofs, by the hash of their
-- kind, of who made them and of the id. A row is needed for as long as what it names would be accepted.
CREATE TABLE single_use (
    hash       BYTEA PRIMARY KEY NOT NULL,
    expires_at BIGINT NOT NULL
);
CREATE INDEX single_use_by_expiry ON single_use (expires_at);
