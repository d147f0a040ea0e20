-- Whether a refresh token was given to a client that proved a key (RFC 9449 5). One that was not is a bearer token, also when its
-- grant is bound by now: whoever presents it a second time ends the grant.
ALTER TABLE refresh_tokens ADD COLUMN bound BOOLEAN NOT NULL DEFAULT FALSE;
