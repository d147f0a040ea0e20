-- Where the public keys of a client that signs its assertions are (private_key_jwt): JSON, {"jwks": …} or {"jwks_uri": "…"}.
ALTER TABLE clients ADD COLUMN client_keys TEXT;
-- The hash of the registration access token (RFC 7592) of a client that has a secret or keys.
ALTER TABLE clients ADD COLUMN management_hash BLOB;
CREATE UNIQUE INDEX clients_by_management ON clients (management_hash) WHERE management_hash IS NOT NULL;

-- Clients that the operator disabled, however they are known: registered, configured, or by a document.
CREATE TABLE disabled_clients (
    client_id   TEXT PRIMARY KEY NOT NULL,
    disabled_at BIGINT NOT NULL
);
