-- The thumbprint of the key that a grant's tokens are bound to (RFC 9449). NULL: they are bearer tokens.
ALTER TABLE grants ADD COLUMN dpop_jkt BLOB;
-- Whether a client registered for bound access tokens alone (RFC 9449 5.2).
ALTER TABLE clients ADD COLUMN dpop_bound BOOLEAN NOT NULL DEFAULT FALSE;
