-- The provider's session (`sid` of its ID token) that a sign-in came from, by the hash of identity, issuer and `sid`. NULL: the provider
-- names none, or the row is older than this column.
ALTER TABLE grants ADD COLUMN provider_session BLOB;
ALTER TABLE authorizations ADD COLUMN provider_session BLOB;
ALTER TABLE account_sessions ADD COLUMN provider_session BLOB;
CREATE INDEX grants_by_provider_session ON grants (provider_session) WHERE ended_at IS NULL;
CREATE INDEX authorizations_with_code_by_provider_session ON authorizations (provider_session) WHERE stage = 'code_issued';
CREATE INDEX account_sessions_by_provider_session ON account_sessions (provider_session);
CREATE INDEX account_sessions_by_subject ON account_sessions (subject);

-- Logout tokens (OpenID Connect Back-Channel Logout 1.0) that were received, each until it can no longer be replayed and no sign-in that
-- was under way can complete any more.
CREATE TABLE provider_logouts (
    hash         BLOB PRIMARY KEY NOT NULL,     -- of identity, issuer and `jti`
    identity     TEXT NOT NULL,
    subject      TEXT,                          -- the user, if the token names one
    session      BLOB,                          -- as `provider_session`, if the token names one; otherwise all of the user
    ends_offline BOOLEAN NOT NULL,              -- whether grants that rest on an offline token end as well
    issued_at    BIGINT NOT NULL,               -- by the provider's clock
    received_at  BIGINT NOT NULL,
    expires_at   BIGINT NOT NULL,
    applied      BOOLEAN NOT NULL DEFAULT FALSE -- whether what it ends has ended
);
CREATE INDEX provider_logouts_by_session ON provider_logouts (session);
CREATE INDEX provider_logouts_by_subject ON provider_logouts (subject);
CREATE INDEX provider_logouts_by_expiry ON provider_logouts (expires_at);
CREATE INDEX provider_logouts_to_apply ON provider_logouts (received_at) WHERE NOT applied;

-- Users whose provider is to be asked whether their offline token still stands.
CREATE TABLE standing_checks (
    subject  TEXT PRIMARY KEY NOT NULL,
    due_at   BIGINT NOT NULL,
    good     BIGINT NOT NULL,                   -- how often the provider said yes since it is asked for
    requests BIGINT NOT NULL                    -- counts up: a check that was asked for once more meanwhile is not over
);
CREATE INDEX standing_checks_by_time ON standing_checks (due_at);
