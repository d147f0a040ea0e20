//! Refresh tokens: families under a grant, rotated on every use.
//!
//! Defends against: replay of a stolen refresh token. A used one stays, so that it is recognised; it is rotated once, even
//! under concurrent requests.

use super::engine::Transaction;
use super::error::Failure;
use super::exclusive::Exclusive;
use super::row::{FromRow, Row};
use super::value::{json, values};
use super::{Priority, Store, StoreError, shared_tokens};
use crate::clock::Timestamp;
use crate::model::authorization::ProviderStanding;
use crate::model::grant::{RefreshUse, StoredRefreshToken};
use crate::model::ids::GrantId;
use crate::model::user::User;
use crate::oauth::dpop::Thumbprint;
use crate::secret::Sha256;

sql! {
    INSERT = "INSERT INTO refresh_tokens (hash, grant_id, expires_at, bound) VALUES ($1, $2, $3, $4)";

    FIND = "
        SELECT t.hash, t.grant_id, t.expires_at, t.bound, t.used_at, t.parameters, t.sealed_response,
            s.used_at AS successor_used_at
        FROM refresh_tokens t LEFT JOIN refresh_tokens s ON s.hash = t.successor_hash
        WHERE t.hash = $1";

    SUPERSEDE = "
        UPDATE refresh_tokens SET used_at = $3, parameters = $4, sealed_response = $5, successor_hash = $6
        WHERE hash = $1 AND grant_id = $2 AND used_at IS NULL";

    /// The grant's part of a rotation: notes its use, and releases the lease.
    RENEW = "
        UPDATE grants SET user_claims = COALESCE($3, user_claims), dpop_jkt = COALESCE(dpop_jkt, $5), last_used_at = $4,
            lease_holder = NULL, lease_until = NULL
        WHERE id = $1 AND lease_holder = $2 AND ended_at IS NULL AND expires_at > $4";

    pub(super) ERASE_RESPONSES = "
        UPDATE refresh_tokens SET sealed_response = NULL WHERE hash IN (
            SELECT hash FROM refresh_tokens WHERE sealed_response IS NOT NULL AND used_at <= $1 LIMIT $2)";

    /// A used one stays as long as its grant: it is recognised however late it is presented again.
    pub(super) DELETE_OF_DEAD_GRANTS = "
        DELETE FROM refresh_tokens WHERE hash IN (
            SELECT t.hash FROM refresh_tokens t
            WHERE t.grant_id IN (SELECT id FROM grants WHERE ended_at <= $1)
            LIMIT $2)";
}

/// A refresh token to store.
#[derive(Debug, Clone)]
pub struct NewRefreshToken {
    /// Its hash.
    pub hash: Sha256,
    /// When it expires unless it is used.
    pub expires_at: Timestamp,
    /// See [`StoredRefreshToken::bound`].
    pub bound: bool,
}

/// One use of a refresh token: everything that becomes true at once.
#[derive(Debug)]
pub struct Rotation<'a> {
    /// The family.
    pub grant: &'a GrantId,
    /// The holder of the lease; the rotation fails when another one has taken it since.
    pub lease: &'a str,
    /// The token that was presented.
    pub used: &'a Sha256,
    /// A hash of the parameters that came with it.
    pub parameters: &'a Sha256,
    /// The answer, sealed for the holder of the presented token.
    pub sealed_response: &'a [u8],
    /// Its successor.
    pub successor: &'a NewRefreshToken,
    /// The grant's standing with the provider; `None` when nothing has changed.
    pub standing: Option<&'a ProviderStanding>,
    /// The provider's new claims about the user, if any.
    pub user: Option<&'a User>,
    /// The key that the new tokens are bound to. A grant that was bound before stays bound to that key.
    pub bound_to: Option<&'a Thumbprint>,
    /// Now.
    pub now: Timestamp,
}

impl FromRow for StoredRefreshToken {
    fn from_row(row: &Row) -> Result<Self, Failure> {
        let row = row.of("refresh_tokens");
        let used = match (row.optional_time("used_at")?, row.optional_sha256("parameters")?) {
            (None, None) => None,
            (Some(at), Some(parameters)) => Some(RefreshUse {
                at,
                parameters,
                sealed_response: row.get("sealed_response")?,
                successor_used: row.optional_time("successor_used_at")?.is_some(),
            }),
            _ => return Err(row.corrupt("used_at")),
        };
        Ok(Self {
            hash: row.sha256("hash")?,
            grant_id: GrantId::from(row.text("grant_id")?),
            expires_at: row.time("expires_at")?,
            bound: row.get("bound")?,
            used,
        })
    }
}

impl Store {
    /// Finds a refresh token, used or not. Expired ones are found until they are deleted.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn refresh_token(&self, hash: &Sha256) -> Result<Option<StoredRefreshToken>, StoreError> {
        self.find(FIND, values![hash]).await
    }

    /// Supersedes a refresh token, inserts its successor, keeps the provider's new token and the answer, updates the grant's
    /// last use and releases the lease, in one transaction. `false`, and nothing happened, when the lease is not ours any
    /// more, the token was used already, or the grant has ended.
    ///
    /// # Errors
    /// When the store fails; then nothing happened.
    pub async fn rotate_refresh_token(&self, rotation: &Rotation<'_>) -> Result<bool, StoreError> {
        self.write(Priority::Token, Exclusive::UserOf(rotation.used), async |tx| {
            // takes the grant's row, and with it every other rotation of this family waits
            let rotated = renew(tx, rotation).await? && supersede(tx, rotation).await?;
            if rotated {
                insert(tx, rotation.grant, rotation.successor).await?;
                if let Some(standing) = rotation.standing {
                    shared_tokens::renew(tx, rotation.grant, standing).await?;
                }
            } else {
                tx.undo();
            }
            Ok(rotated)
        })
        .await
    }
}

/// Notes a rotation and releases the lease; `false` when the lease is not ours or the grant is not live.
async fn renew(tx: &mut Transaction, rotation: &Rotation<'_>) -> Result<bool, Failure> {
    let renewed = values![
        rotation.grant.as_str(),
        rotation.lease,
        rotation.user.map(json).transpose()?,
        rotation.now,
        rotation.bound_to.map(Thumbprint::sha256),
    ];
    Ok(tx.execute(RENEW, renewed).await? == 1)
}

async fn supersede(tx: &mut Transaction, rotation: &Rotation<'_>) -> Result<bool, Failure> {
    let superseded = values![
        rotation.used,
        rotation.grant.as_str(),
        rotation.now,
        rotation.parameters,
        rotation.sealed_response,
        &rotation.successor.hash,
    ];
    Ok(tx.execute(SUPERSEDE, superseded).await? == 1)
}

/// Inserts a new token into the grant's family.
pub(super) async fn insert(tx: &mut Transaction, grant: &GrantId, token: &NewRefreshToken) -> Result<(), Failure> {
    tx.execute(INSERT, values![&token.hash, grant.as_str(), token.expires_at, token.bound]).await?;
    Ok(())
}
