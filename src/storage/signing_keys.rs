//! Signing keys.

use super::error::Failure;
use super::exclusive::Exclusive;
use super::row::{FromRow, Row};
use super::value::values;
use super::{Store, StoreError, Turn};
use crate::model::ids::KeyId;
use crate::model::signing_key::StoredSigningKey;

sql! {
    /// The `WHERE` prevents another first key after the first was retired; the unique key decides between processes that see
    /// none at the same time.
    INSERT_FIRST = "
        INSERT INTO signing_keys (id, algorithm, generation, sealed_private_key, created_at)
        SELECT $1, $2, 1, $3, $4 WHERE NOT EXISTS (SELECT 1 FROM signing_keys WHERE algorithm = $2)
        ON CONFLICT (algorithm, generation) DO NOTHING";

    ALL = "SELECT id, algorithm, sealed_private_key, created_at FROM signing_keys ORDER BY created_at, id";
}

impl FromRow for StoredSigningKey {
    fn from_row(row: &Row) -> Result<Self, Failure> {
        let row = row.of("signing_keys");
        Ok(Self {
            id: KeyId::from(row.text("id")?),
            algorithm: row.text("algorithm")?,
            sealed_private_key: row.get("sealed_private_key")?,
            created_at: row.time("created_at")?,
        })
    }
}

impl Store {
    /// Inserts a key if there is none of its algorithm yet: several processes may start at once, one wins.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn insert_first_signing_key(&self, key: &StoredSigningKey) -> Result<(), StoreError> {
        let first = values![key.id.as_str(), &key.algorithm, key.sealed_private_key.as_slice(), key.created_at];
        self.execute(Turn::Upkeep, Exclusive::Nothing, INSERT_FIRST, first).await?;
        Ok(())
    }

    /// All keys, the oldest first.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn signing_keys(&self) -> Result<Vec<StoredSigningKey>, StoreError> {
        self.list(ALL, values![]).await
    }
}
