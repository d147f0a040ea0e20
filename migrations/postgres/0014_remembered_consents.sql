-- What users asked to be remembered of their consent. A row lets the consent page be skipped in one browser; it gives nothing to
-- anyone: the user signs in each time, and must be the one of the row.
CREATE TABLE remembered_consents (
    id           TEXT COLLATE "C" PRIMARY KEY NOT NULL,
    subject      TEXT COLLATE "C" NOT NULL,
    identity     TEXT COLLATE "C" NOT NULL,
    issuer       TEXT NOT NULL,         -- of the identity's provider: another one under this id has other users
    browser_hash BYTEA NOT NULL,
    client_id    TEXT COLLATE "C" NOT NULL,
    client_hash  BYTEA NOT NULL,         -- of all that was known of the client
    redirect_uri TEXT COLLATE "C" NOT NULL,
    resource     TEXT COLLATE "C" NOT NULL,
    scope        TEXT NOT NULL,         -- as the page showed it, with what it implies
    refresh      BOOLEAN NOT NULL,
    created_at   BIGINT NOT NULL,
    last_used_at BIGINT NOT NULL
);
CREATE UNIQUE INDEX remembered_consents_by_user ON remembered_consents (subject, browser_hash, client_id, redirect_uri, resource);
CREATE INDEX remembered_consents_by_browser ON remembered_consents (browser_hash, client_id);
CREATE INDEX remembered_consents_by_client ON remembered_consents (client_id);
CREATE INDEX remembered_consents_by_age ON remembered_consents (created_at);

-- The browser whose user asked to be remembered; or, with the purpose 'remembered', in which the consent was found. A program
-- that does not know that purpose refuses such a sign-in: it would not compare the user who comes back.
ALTER TABLE authorizations ADD COLUMN consent_browser BYTEA;

-- Whether a device polled for the grant (RFC 8628): for lists. Those of earlier releases are not told apart from others.
ALTER TABLE grants ADD COLUMN device BOOLEAN NOT NULL DEFAULT FALSE;
