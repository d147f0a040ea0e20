-- Sign-ins that were under way when an operator ended the grants of a user: none of them may bring that user a code. Which user
-- signs in shows only when the code is issued, and no clock decides which of the two came first.
CREATE TABLE barred_sign_ins (
    authorization_id TEXT COLLATE "C" NOT NULL REFERENCES authorizations (id) ON DELETE CASCADE,
    subject          TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (authorization_id, subject)
);
