-- Every end of a grant, in the order in which the ends were committed: the feed that tells other processes. Nothing in it
-- depends on a clock: a reader goes on behind the number that it read last. The newest row always stays, so that a reader
-- sees whether rows are missing between its own and the next; the first row is there for that alone.
CREATE TABLE grant_ends (
    sequence INTEGER PRIMARY KEY NOT NULL,
    grant_id TEXT NOT NULL,
    ended_at BIGINT NOT NULL           -- for the deletion of old rows alone
);
CREATE INDEX grant_ends_by_age ON grant_ends (ended_at);
INSERT INTO grant_ends (sequence, grant_id, ended_at) VALUES (1, '', 0);

-- A trigger, so that no statement can end a grant silently; the previous release, which does not know this table, included.
CREATE TRIGGER grants_tell_their_end AFTER UPDATE OF ended_at ON grants
WHEN OLD.ended_at IS NULL AND NEW.ended_at IS NOT NULL
BEGIN
    INSERT INTO grant_ends (grant_id, ended_at) VALUES (NEW.id, NEW.ended_at);
END;

-- Which provider stands behind the id of an identity. The users' subjects begin with the id: under another issuer, equal
-- `sub`s would be two people with one subject.
CREATE TABLE identities (
    id        TEXT PRIMARY KEY NOT NULL,
    issuer    TEXT NOT NULL,           -- 'local' for users of our own
    client_id TEXT NOT NULL            -- ours at the provider, when this program last started; '' for users of our own
);
CREATE INDEX grants_live_by_identity ON grants (identity) WHERE ended_at IS NULL;
