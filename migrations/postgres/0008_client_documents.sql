-- The documents of clients whose id is a URL (Client ID Metadata Documents), as they were fetched last: for a restart, for other
-- replicas, and while a host does not answer. A row is written when a user has signed in for the client.
CREATE TABLE client_documents (
    id          TEXT COLLATE "C" PRIMARY KEY NOT NULL, -- the URL
    name        TEXT,                      -- what the client calls itself: for lists
    document    TEXT NOT NULL,             -- as it came
    fetched_at  BIGINT NOT NULL,
    fresh_until BIGINT NOT NULL
);
CREATE INDEX client_documents_by_age ON client_documents (fetched_at);
