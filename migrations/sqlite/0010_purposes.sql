-- What a sign-in is for: 'client', 'account' (the user's own page) or 'device' (RFC 8628). A program that does not know the column
-- began sign-ins for clients only; and it cannot take another one for a client's, whose requests have members that these lack.
ALTER TABLE authorizations ADD COLUMN purpose TEXT NOT NULL DEFAULT 'client';
CREATE INDEX authorizations_with_code_by_subject ON authorizations (subject) WHERE stage = 'code_issued';

-- Where a grant's tokens are, as far as the redemption of its code showed: for the user's own page alone. Erased when the grant
-- ends. NULL: not known.
ALTER TABLE grants ADD COLUMN receiver TEXT;
ALTER TABLE grants ADD COLUMN address TEXT;
ALTER TABLE grants ADD COLUMN agent TEXT;

-- Whether a client registered for the device grant (RFC 8628).
ALTER TABLE clients ADD COLUMN device BOOLEAN NOT NULL DEFAULT FALSE;

-- Users who are signed in at their own page. The cookie is known by its hash only.
CREATE TABLE account_sessions (
    hash         BLOB PRIMARY KEY NOT NULL,
    subject      TEXT NOT NULL,
    identity     TEXT NOT NULL,
    issuer       TEXT NOT NULL,         -- of the identity's provider: another one under this id has other users
    name         TEXT,                  -- what the user is called
    created_at   BIGINT NOT NULL,
    last_used_at BIGINT NOT NULL
);
CREATE INDEX account_sessions_by_use ON account_sessions (last_used_at);

-- Device codes (RFC 8628 3.2), each until a while after its end. `authorization_id` is the one answer that a user gave to it; how
-- far that has come is in its row, which may be deleted before this one.
CREATE TABLE device_codes (
    hash             BLOB PRIMARY KEY NOT NULL,
    user_code        BLOB UNIQUE NOT NULL, -- a MAC: a user code is too short for a mere hash
    request          TEXT NOT NULL,     -- JSON: what the user is asked
    address          TEXT NOT NULL,     -- of the device
    agent            TEXT,
    poll_interval    BIGINT NOT NULL,   -- seconds
    created_at       BIGINT NOT NULL,
    expires_at       BIGINT NOT NULL,
    authorization_id TEXT
);
CREATE INDEX device_codes_by_expiry ON device_codes (expires_at);
