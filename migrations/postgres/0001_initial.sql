-- Times are whole seconds since 1970, ids and JSON are TEXT, hashes and what is sealed are BYTEA. Names of tables and
-- columns are the same for every engine. What is compared or ordered is so byte by byte, whatever the database's collation.

-- A program reads and writes this schema when it knows migration `oldest_program`. A migration that adds leaves the row
-- alone, so that the previous release still starts after it; one that removes what an older release needs raises it.
CREATE TABLE compatibility (
    oldest_program BIGINT NOT NULL
);
INSERT INTO compatibility (oldest_program) VALUES (1);

-- Clients that registered themselves (RFC 7591).
CREATE TABLE clients (
    id               TEXT COLLATE "C" PRIMARY KEY NOT NULL,
    name             TEXT,
    redirect_uris    TEXT NOT NULL,               -- JSON: an array of texts
    auth_method      TEXT NOT NULL,
    secret_hash      BYTEA,
    refresh_token    BOOLEAN NOT NULL,
    scope            TEXT NOT NULL,
    application_type TEXT,
    created_at       BIGINT NOT NULL,             -- when it was first known: what clients are told
    address          TEXT COLLATE "C" NOT NULL,   -- whose it counts as when some must go: of those who registered it (IPv6: the /64)
    registered_at    BIGINT NOT NULL,             -- when it registered last: what its expiry counts from
    last_grant_at    BIGINT                       -- NULL: it never led to a grant
);
CREATE INDEX clients_unused_by_address ON clients (address, registered_at) WHERE last_grant_at IS NULL;
CREATE INDEX clients_unused_by_age ON clients (registered_at) WHERE last_grant_at IS NULL;
CREATE INDEX clients_used_by_age ON clients (last_grant_at) WHERE last_grant_at IS NOT NULL;

-- Authorizations, from the answer to the consent form on, a denial included. `client_id` is no foreign key: configured clients
-- have no row.
CREATE TABLE authorizations (
    id                 TEXT COLLATE "C" PRIMARY KEY NOT NULL,
    client_id          TEXT COLLATE "C" NOT NULL,
    request            TEXT NOT NULL,             -- JSON: what the user was asked
    identity           TEXT COLLATE "C" NOT NULL,
    binding_hash       BYTEA NOT NULL,
    round              BIGINT NOT NULL,
    offline            BOOLEAN NOT NULL,
    retried            BOOLEAN NOT NULL,
    stage              TEXT COLLATE "C" NOT NULL,
    created_at         BIGINT NOT NULL,
    expires_at         BIGINT NOT NULL,
    code_hash          BYTEA UNIQUE,
    code_expires_at    BIGINT,
    failures           BIGINT NOT NULL DEFAULT 0,
    subject            TEXT COLLATE "C",
    user_claims        TEXT,                      -- JSON; erased at redemption, the grant has it then
    provider_token     BYTEA,                     -- sealed; erased at redemption, the grant has it then
    provider_offline   BOOLEAN NOT NULL DEFAULT FALSE,
    provider_ends_at   BIGINT,
    provider_renewable BOOLEAN NOT NULL DEFAULT FALSE,
    redeemed_at        BIGINT,
    grant_id           TEXT COLLATE "C"
);
CREATE INDEX authorizations_by_client ON authorizations (client_id, stage);
CREATE INDEX authorizations_unredeemed_by_age ON authorizations (expires_at) WHERE redeemed_at IS NULL;
CREATE INDEX authorizations_redeemed_by_age ON authorizations (redeemed_at) WHERE redeemed_at IS NOT NULL;

CREATE TABLE grants (
    id                 TEXT COLLATE "C" PRIMARY KEY NOT NULL,
    subject            TEXT COLLATE "C" NOT NULL,
    identity           TEXT COLLATE "C" NOT NULL,
    client_id          TEXT COLLATE "C" NOT NULL,
    resource           TEXT COLLATE "C" NOT NULL,
    scope              TEXT NOT NULL,
    user_claims        TEXT NOT NULL,             -- JSON; emptied when the grant ends
    provider_token     BYTEA,                     -- sealed; erased when the grant ends
    provider_offline   BOOLEAN NOT NULL,
    provider_ends_at   BIGINT,
    provider_renewable BOOLEAN NOT NULL,
    created_at         BIGINT NOT NULL,
    expires_at         BIGINT NOT NULL,
    last_used_at       BIGINT NOT NULL,
    ended_at           BIGINT,
    end_reason         TEXT,
    lease_holder       TEXT,
    lease_until        BIGINT
);
CREATE INDEX grants_live_by_subject ON grants (subject, client_id, resource) WHERE ended_at IS NULL;
CREATE INDEX grants_live_by_client ON grants (client_id, expires_at) WHERE ended_at IS NULL;
CREATE INDEX grants_by_end ON grants (ended_at) WHERE ended_at IS NOT NULL;
CREATE INDEX grants_live_by_expiry ON grants (expires_at) WHERE ended_at IS NULL;

CREATE TABLE refresh_tokens (
    hash            BYTEA PRIMARY KEY NOT NULL,
    grant_id        TEXT COLLATE "C" NOT NULL REFERENCES grants (id),
    expires_at      BIGINT NOT NULL,
    used_at         BIGINT,
    parameters      BYTEA,
    sealed_response BYTEA,                        -- erased after the replay window
    successor_hash  BYTEA
);
CREATE INDEX refresh_tokens_by_grant ON refresh_tokens (grant_id);
CREATE INDEX refresh_tokens_unused_by_expiry ON refresh_tokens (expires_at) WHERE used_at IS NULL;
CREATE INDEX refresh_tokens_with_response ON refresh_tokens (used_at) WHERE sealed_response IS NOT NULL;

CREATE TABLE signing_keys (
    id                 TEXT COLLATE "C" PRIMARY KEY NOT NULL,
    algorithm          TEXT COLLATE "C" NOT NULL,
    generation         BIGINT NOT NULL,           -- counts the keys of an algorithm: two processes cannot both make the first
    sealed_private_key BYTEA NOT NULL,
    created_at         BIGINT NOT NULL,
    UNIQUE (algorithm, generation)
);
