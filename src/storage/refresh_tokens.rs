//! Refresh tokens: families under a grant, rotated on every use.

use super::error::Failure;
use super::rows::Column;
use super::{Store, StoreError, Transaction, Turn, grants};
use crate::clock::Timestamp;
use crate::model::authorization::ProviderStanding;
use crate::model::grant::{RefreshUse, StoredRefreshToken};
use crate::model::ids::GrantId;
use crate::model::user::User;
use crate::secret::Sha256;

sql! {
    INSERT = "INSERT INTO refresh_tokens (hash, grant_id, expires_at) VALUES ($1, $2, $3)";

    FIND = "
        SELECT t.hash, t.grant_id, t.expires_at, t.used_at, t.parameters, t.sealed_response,
            s.used_at AS successor_used_at
        FROM refresh_tokens t LEFT JOIN refresh_tokens s ON s.hash = t.successor_hash
        WHERE t.hash = $1";

    SUPERSEDE = "
        UPDATE refresh_tokens SET used_at = $3, parameters = $4, sealed_response = $5, successor_hash = $6
        WHERE hash = $1 AND grant_id = $2 AND used_at IS NULL";

    pub(super) ERASE_RESPONSES = "
        UPDATE refresh_tokens SET sealed_response = NULL WHERE hash IN (
            SELECT hash FROM refresh_tokens WHERE sealed_response IS NOT NULL AND used_at <= $1 LIMIT $2)";

    /// A used one stays as long as its grant, however late it comes again.
    pub(super) DELETE_OF_DEAD_GRANTS = "
        DELETE FROM refresh_tokens WHERE hash IN (
            SELECT t.hash FROM refresh_tokens t
            WHERE t.grant_id IN (SELECT id FROM grants WHERE ended_at <= $1)
            LIMIT $2)";
}

/// A refresh token to remember.
#[derive(Debug, Clone)]
pub struct NewRefreshToken {
    /// What we remember of it.
    pub hash: Sha256,
    /// Until when it is good if nobody uses it.
    pub expires_at: Timestamp,
}

/// One use of a refresh token: everything that becomes true at once.
#[derive(Debug)]
pub struct Rotation<'a> {
    /// The family.
    pub grant: &'a GrantId,
    /// Who holds the lease; the rotation fails when the lease is somebody else's by now.
    pub lease: &'a str,
    /// The token that was presented.
    pub used: &'a Sha256,
    /// A hash of the parameters that came with it.
    pub parameters: &'a Sha256,
    /// The answer, sealed for the holder of the presented token.
    pub sealed_response: &'a [u8],
    /// Its successor.
    pub successor: &'a NewRefreshToken,
    /// How the grant stands with the provider now.
    pub standing: &'a ProviderStanding,
    /// What the provider told of the user, if it did.
    pub user: Option<&'a User>,
    /// Now.
    pub now: Timestamp,
}

#[derive(sqlx::FromRow)]
struct RefreshTokenRow {
    hash: Vec<u8>,
    grant_id: String,
    expires_at: i64,
    used_at: Option<i64>,
    parameters: Option<Vec<u8>>,
    sealed_response: Option<Vec<u8>>,
    successor_used_at: Option<i64>,
}

impl TryFrom<RefreshTokenRow> for StoredRefreshToken {
    type Error = StoreError;

    fn try_from(row: RefreshTokenRow) -> Result<Self, StoreError> {
        let column = |name| Column("refresh_tokens", name);
        let used = match (row.used_at, row.parameters) {
            (None, None) => None,
            (Some(at), Some(parameters)) => Some(RefreshUse {
                at: Timestamp(at),
                parameters: column("parameters").sha256(&parameters)?,
                sealed_response: row.sealed_response,
                successor_used: row.successor_used_at.is_some(),
            }),
            _ => return Err(column("used_at").corrupt()),
        };
        Ok(Self {
            hash: column("hash").sha256(&row.hash)?,
            grant_id: GrantId::from(row.grant_id),
            expires_at: Timestamp(row.expires_at),
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
        self.read(async {
            let row: Option<RefreshTokenRow> =
                sqlx::query_as(FIND).bind(hash.as_bytes().as_slice()).fetch_optional(self.readers()).await?;
            Ok(row.map(StoredRefreshToken::try_from).transpose()?)
        })
        .await
    }

    /// Supersedes a refresh token, inserts its successor, keeps the provider's new token and the answer, updates the
    /// grant's last use and gives the lease back, in one transaction. `false`, and nothing happened, when the lease is not
    /// ours any more, the token was used already, or the grant has ended.
    ///
    /// # Errors
    /// When the store fails; then nothing happened.
    pub async fn rotate_refresh_token(&self, rotation: &Rotation<'_>) -> Result<bool, StoreError> {
        self.write(Turn::Token, async {
            let mut tx = self.begin().await?;
            let rotated = grants::renew(&mut tx, rotation).await? && supersede(&mut tx, rotation).await?;
            if !rotated {
                tx.rollback().await?;
                return Ok(false);
            }
            insert(&mut tx, rotation.grant, rotation.successor).await?;
            tx.commit().await?;
            Ok(true)
        })
        .await
    }
}

async fn supersede(tx: &mut Transaction, rotation: &Rotation<'_>) -> Result<bool, Failure> {
    let superseded = sqlx::query(SUPERSEDE)
        .bind(rotation.used.as_bytes().as_slice())
        .bind(rotation.grant.as_str())
        .bind(rotation.now.0)
        .bind(rotation.parameters.as_bytes().as_slice())
        .bind(rotation.sealed_response)
        .bind(rotation.successor.hash.as_bytes().as_slice())
        .execute(&mut **tx)
        .await?;
    Ok(superseded.rows_affected() == 1)
}

/// Inserts a new token into the grant's family.
pub(super) async fn insert(tx: &mut Transaction, grant: &GrantId, token: &NewRefreshToken) -> Result<(), Failure> {
    sqlx::query(INSERT)
        .bind(token.hash.as_bytes().as_slice())
        .bind(grant.as_str())
        .bind(token.expires_at.0)
        .execute(&mut **tx)
        .await?;
    Ok(())
}
