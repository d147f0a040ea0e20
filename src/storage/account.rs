//! The user's own page: its sessions, and the grants that it lists.
//!
//! Defends against: session fixation and stolen databases (a session is known by the hash of a secret that we made), and reading
//! or ending another user's grants (every statement names the subject).

use super::error::Failure;
use super::exclusive::Exclusive::{Batch, Nothing, SignInFrom};
use super::provider_logouts::{self, Left, Origin};
use super::row::{FromRow, Row};
use super::value::values;
use super::{Priority, Store, StoreError};
use crate::clock::Timestamp;
use crate::model::account::{AccountSession, OwnGrant, SESSION_AGE, SESSION_IDLE};
use crate::model::grant::Holder;
use crate::model::ids::{AuthorizationId, ClientId, GrantId, IdentityId, Subject};
use crate::secret::Sha256;

sql! {
    /// No session is opened by a sign-in that was cancelled or barred, or whose provider another process has replaced.
    SIGN_IN = "
        UPDATE authorizations SET stage = 'redeemed', redeemed_at = $2, subject = $3
        WHERE id = $1 AND stage = 'claimed' AND purpose = 'account'
          AND EXISTS (SELECT 1 FROM identities i WHERE i.id = authorizations.identity AND i.issuer = $4)
          AND NOT EXISTS (
              SELECT 1 FROM barred_sign_ins b WHERE b.authorization_id = authorizations.id AND b.subject = $3)";

    INSERT = "
        INSERT INTO account_sessions (hash, subject, identity, issuer, name, created_at, last_used_at, provider_session)
        VALUES ($1, $2, $3, $4, $5, $6, $6, $7)";

    FIND = "
        SELECT subject, identity, issuer, name, last_used_at FROM account_sessions
        WHERE hash = $1 AND last_used_at > $2 AND created_at > $3";

    TOUCH = "UPDATE account_sessions SET last_used_at = $2 WHERE hash = $1 AND last_used_at < $2";

    END = "DELETE FROM account_sessions WHERE hash = $1";

    /// Of a user, or of all; `$2` stays.
    END_THOSE = "DELETE FROM account_sessions WHERE (CAST($1 AS TEXT) IS NULL OR subject = $1) AND hash <> $2";

    pub(super) DELETE_EXPIRED = "
        DELETE FROM account_sessions WHERE hash IN (
            SELECT hash FROM account_sessions WHERE last_used_at <= $1 ORDER BY last_used_at LIMIT $2)";

    GRANTS = "
        SELECT g.id, g.client_id, COALESCE(c.name, d.name) AS client_name, g.resource, g.scope, g.created_at, g.last_used_at,
            g.receiver, g.address, g.agent,
            EXISTS (SELECT 1 FROM refresh_tokens t WHERE t.grant_id = g.id) AS refresh
        FROM grants g LEFT JOIN clients c ON c.id = g.client_id LEFT JOIN client_documents d ON d.id = g.client_id
        WHERE g.subject = $1 AND g.ended_at IS NULL AND g.expires_at > $2
        ORDER BY g.last_used_at DESC, g.id LIMIT $3";

    IS_OWN = "SELECT EXISTS (SELECT 1 FROM grants WHERE id = $1 AND subject = $2 AND ended_at IS NULL)";

    /// Unredeemed codes.
    REFUSE_CODES = "UPDATE authorizations SET stage = 'refused' WHERE subject = $1 AND stage = 'code_issued'";
}

/// A session to store.
#[derive(Debug, Clone, Copy)]
pub struct NewAccountSession<'a> {
    /// The hash of its secret.
    pub hash: &'a Sha256,
    /// The user.
    pub subject: &'a Subject,
    /// The identity provider.
    pub identity: &'a IdentityId,
    /// The provider's issuer in this process's configuration.
    pub issuer: &'a str,
    /// The name of the user.
    pub name: Option<&'a str>,
    /// The provider's session, as [`crate::model::authorization::ProviderStanding::session`].
    pub provider_session: Option<&'a Sha256>,
    /// When the provider said who signed in, by its own clock.
    pub asserted_at: Option<Timestamp>,
}

impl FromRow for AccountSession {
    fn from_row(row: &Row) -> Result<Self, Failure> {
        let row = row.of("account_sessions");
        Ok(Self {
            subject: Subject::stored(row.text("subject")?),
            identity: IdentityId::from(row.text("identity")?),
            issuer: row.text("issuer")?,
            name: row.get("name")?,
            last_used_at: row.time("last_used_at")?,
        })
    }
}

impl FromRow for OwnGrant {
    fn from_row(row: &Row) -> Result<Self, Failure> {
        let row = row.of("grants");
        Ok(Self {
            id: GrantId::from(row.text("id")?),
            client_id: ClientId::from(row.text("client_id")?),
            client_name: row.get("client_name")?,
            resource: row.text("resource")?,
            scope: row.scope("scope")?,
            refresh: row.get("refresh")?,
            holder: Holder { receiver: row.get("receiver")?, address: row.get("address")?, agent: row.get("agent")? },
            created_at: row.time("created_at")?,
            last_used_at: row.time("last_used_at")?,
        })
    }
}

impl Store {
    /// `Claimed` → `Redeemed`, and the session that the sign-in opens. `false` when the authorization is not claimed (any
    /// more), is for another purpose, another issuer is behind the identity, or the user signed out at the provider.
    ///
    /// # Errors
    /// When the store fails; then nothing happened.
    pub async fn open_account_session(
        &self,
        id: &AuthorizationId,
        session: &NewAccountSession<'_>,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let NewAccountSession { hash, subject, identity, issuer, name, provider_session, asserted_at } = *session;
        self.write(Priority::Claimed, SignInFrom(subject, provider_session), async |tx| {
            let origin = Origin { subject, session: provider_session, asserted_at };
            if provider_logouts::left(tx, origin).await? != Left::All {
                return Ok(false);
            }
            if tx.execute(SIGN_IN, values![id.as_str(), now, subject.as_str(), issuer]).await? == 0 {
                return Ok(false);
            }
            let (subject, identity) = (subject.as_str(), identity.as_str());
            tx.execute(INSERT, values![hash, subject, identity, issuer, name, now, provider_session]).await?;
            Ok(true)
        })
        .await
    }

    /// Finds a session that has not ended.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn account_session(&self, hash: &Sha256, now: Timestamp) -> Result<Option<AccountSession>, StoreError> {
        self.find(FIND, values![hash, now.before(SESSION_IDLE), now.before(SESSION_AGE)]).await
    }

    /// Notes the use of a session.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn touch_account_session(&self, hash: &Sha256, now: Timestamp) -> Result<(), StoreError> {
        self.execute(Priority::SignIn, Nothing, TOUCH, values![hash, now]).await?;
        Ok(())
    }

    /// Ends a session; does nothing when it has ended.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn end_account_session(&self, hash: &Sha256) -> Result<(), StoreError> {
        self.execute(Priority::SignIn, Nothing, END, values![hash]).await?;
        Ok(())
    }

    /// Ends the sessions of a user, or of all users if none is named, except one that goes on; answers how many.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn end_account_sessions(
        &self,
        subject: Option<&str>,
        except: Option<&Sha256>,
    ) -> Result<u64, StoreError> {
        // no hash is empty
        let except = except.map_or(&[][..], |hash| hash.as_bytes());
        self.execute(Priority::Token, Batch, END_THOSE, values![subject, except]).await
    }

    /// At most `count` live grants of a user, the last used one first.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn own_grants(&self, subject: &Subject, now: Timestamp, count: i64) -> Result<Vec<OwnGrant>, StoreError> {
        self.list(GRANTS, values![subject.as_str(), now, count]).await
    }

    /// Whether a grant is this user's, and has not ended.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn is_own_grant(&self, id: &GrantId, subject: &Subject) -> Result<bool, StoreError> {
        self.holds(IS_OWN, values![id.as_str(), subject.as_str()]).await
    }

    /// Cancels a user's unredeemed codes and returns how many.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn refuse_codes_of(&self, subject: &Subject) -> Result<u64, StoreError> {
        self.execute(Priority::Token, Batch, REFUSE_CODES, values![subject.as_str()]).await
    }
}
