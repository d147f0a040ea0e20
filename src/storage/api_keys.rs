//! API keys: what is stored besides their grants.
//!
//! Defends against: a stolen database (only the SHA-256 of a key is stored; keys have 256 random bits, so a fast hash is
//! safe), and brute force that starves others of connections (lookups of keys run one at a time).

use super::error::Failure;
use super::exclusive::Exclusive;
use super::grants;
use super::row::{FromRow, Row};
use super::value::values;
use super::{Priority, Store, StoreError};
use crate::clock::Timestamp;
use crate::model::api_key::NewApiKey;
use crate::model::grant::{Basis, Grant};
use crate::model::ids::GrantId;
use crate::oauth::scope::ScopeSet;
use crate::secret::Sha256;

sql! {
    INSERT = "INSERT INTO api_keys (grant_id, hash, name, owner) VALUES ($1, $2, $3, $4)";

    FIND = "
        SELECT k.grant_id, g.last_used_at FROM api_keys k JOIN grants g ON g.id = k.grant_id WHERE k.hash = $1";

    LIST = "
        SELECT k.grant_id, k.name, k.owner, g.resource, g.scope, g.created_at, g.last_used_at, g.expires_at
        FROM api_keys k JOIN grants g ON g.id = k.grant_id
        WHERE g.basis = 'api_key' AND g.id > $1 AND g.ended_at IS NULL AND g.expires_at > $2
          AND (CAST($3 AS TEXT) IS NULL OR g.resource = $3)
        ORDER BY g.id LIMIT $4";

    NOTE_USE = "UPDATE grants SET last_used_at = $2 WHERE id = $1 AND ended_at IS NULL AND last_used_at < $2";
}

/// A stored key, ended or not.
#[derive(Debug, Clone)]
pub struct FoundApiKey {
    /// Its id, which is that of its grant.
    pub id: GrantId,
    /// When it was made or, to within an hour, used last.
    pub last_used_at: Timestamp,
}

/// A live key as an operator sees it.
#[derive(Debug, Clone)]
pub struct ListedApiKey {
    /// Its id.
    pub id: GrantId,
    /// Its purpose.
    pub name: String,
    /// The contact for it.
    pub owner: Option<String>,
    /// The audience that it opens.
    pub resource: String,
    /// What it allows there.
    pub scope: ScopeSet,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was used last, to within an hour; `created_at` when it never was.
    pub last_used_at: Timestamp,
    /// When it expires.
    pub expires_at: Timestamp,
}

impl FromRow for FoundApiKey {
    fn from_row(row: &Row) -> Result<Self, Failure> {
        let id = GrantId::from(row.of("api_keys").text("grant_id")?);
        Ok(Self { id, last_used_at: row.of("grants").time("last_used_at")? })
    }
}

impl FromRow for ListedApiKey {
    fn from_row(row: &Row) -> Result<Self, Failure> {
        let (key, grant) = (row.of("api_keys"), row.of("grants"));
        Ok(Self {
            id: GrantId::from(key.text("grant_id")?),
            name: key.text("name")?,
            owner: key.get("owner")?,
            resource: grant.text("resource")?,
            scope: grant.scope("scope")?,
            created_at: grant.time("created_at")?,
            last_used_at: grant.time("last_used_at")?,
            expires_at: grant.time("expires_at")?,
        })
    }
}

impl Store {
    /// Stores a new key by its hash and returns its grant.
    ///
    /// # Errors
    /// When the store fails; then there is no key.
    pub async fn insert_api_key(&self, key: &NewApiKey, hash: &Sha256, now: Timestamp) -> Result<Grant, StoreError> {
        let grant = key.grant(now);
        self.write(Priority::Token, Exclusive::Nothing, async |tx| {
            grants::insert_on(tx, &grant, Basis::ApiKey).await?;
            tx.execute(INSERT, values![grant.id.as_str(), hash, &key.name, key.owner.as_deref()]).await?;
            Ok(())
        })
        .await?;
        Ok(grant)
    }

    /// Finds a presented key. Anyone can present one, so these reads run one at a time, and few may wait.
    ///
    /// # Errors
    /// When the store fails, or too many keys are being looked up.
    pub async fn api_key(&self, hash: &Sha256) -> Result<Option<FoundApiKey>, StoreError> {
        let taken = tokio::time::timeout(self.0.limit, self.0.key_lookups.take(Priority::Registration));
        let taken = taken.await.or(Err(StoreError::Busy))??;
        let found = self.find(FIND, values![hash]).await;
        drop(taken);
        found
    }

    /// At most `count` live keys with ids after `after`, in the order of their ids; those of one audience, if it is named.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn list_api_keys(
        &self,
        resource: Option<&str>,
        after: Option<&GrantId>,
        now: Timestamp,
        count: i64,
    ) -> Result<Vec<ListedApiKey>, StoreError> {
        self.list(LIST, values![after.map_or("", GrantId::as_str), now, resource, count]).await
    }

    /// Notes that a key was used.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn note_api_key_use(&self, id: &GrantId, now: Timestamp) -> Result<(), StoreError> {
        self.execute(Priority::Upkeep, Exclusive::Nothing, NOTE_USE, values![id.as_str(), now]).await?;
        Ok(())
    }
}
