-- Sign-ins that were under way when an operator ended the grants of a user: none of them may bring that user a code. Whose a
-- sign-in is shows only when its code is issued, and no clock decides which of the two came first.
CREATE TABLE barred_sign_ins (
    authorization_id TEXT NOT NULL REFERENCES authorizations (id) ON DELETE CASCADE,
    subject          TEXT NOT NULL,
    PRIMARY KEY (authorization_id, subject)
);
