-- Which of a user's sign-ins brought the provider's token, counted up; 0 for a token that is not shared. Some providers keep one
-- offline token per user and client of theirs, so the newest one is copied to all of the user's grants that rest on one.
ALTER TABLE grants ADD COLUMN provider_line BIGINT NOT NULL DEFAULT 0;
ALTER TABLE authorizations ADD COLUMN provider_line BIGINT NOT NULL DEFAULT 0;
