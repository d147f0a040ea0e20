-- What a grant rests on when no user consented to it here: 'client_credentials', 'assertion' or 'api_key'. NULL: a user's consent.
ALTER TABLE grants ADD COLUMN basis TEXT COLLATE "C";
CREATE INDEX grants_live_by_basis ON grants (basis, id) WHERE basis IS NOT NULL AND ended_at IS NULL;

-- API keys. A key is a grant without tokens: the grant has its subject, resource, scope, expiry and end.
CREATE TABLE api_keys (
    grant_id TEXT COLLATE "C" PRIMARY KEY NOT NULL REFERENCES grants (id) ON DELETE CASCADE,
    hash     BYTEA NOT NULL UNIQUE,
    name     TEXT COLLATE "C" NOT NULL,
    owner    TEXT COLLATE "C"                       -- whom to ask about it: free text
);
