//! Signing keys.

use super::{Store, StoreError, Turn};
use crate::clock::Timestamp;
use crate::model::ids::KeyId;
use crate::model::signing_key::StoredSigningKey;

sql! {
    /// The `WHERE` keeps a first key from being made after the first was retired; the conflict decides between processes
    /// that see none at the same time.
    INSERT_FIRST = "
        INSERT INTO signing_keys (id, algorithm, generation, sealed_private_key, created_at)
        SELECT $1, $2, 1, $3, $4 WHERE NOT EXISTS (SELECT 1 FROM signing_keys WHERE algorithm = $2)
        ON CONFLICT (algorithm, generation) DO NOTHING";

    ALL = "SELECT id, algorithm, sealed_private_key, created_at FROM signing_keys ORDER BY created_at, id";
}

#[derive(sqlx::FromRow)]
struct SigningKeyRow {
    id: String,
    algorithm: String,
    sealed_private_key: Vec<u8>,
    created_at: i64,
}

impl From<SigningKeyRow> for StoredSigningKey {
    fn from(row: SigningKeyRow) -> Self {
        Self {
            id: KeyId::from(row.id),
            algorithm: row.algorithm,
            sealed_private_key: row.sealed_private_key,
            created_at: Timestamp(row.created_at),
        }
    }
}

impl Store {
    /// Inserts a key if there is none of its algorithm yet: several processes may start at once, one wins.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn insert_first_signing_key(&self, key: &StoredSigningKey) -> Result<(), StoreError> {
        self.execute(
            Turn::Upkeep,
            sqlx::query(INSERT_FIRST)
                .bind(key.id.as_str())
                .bind(&key.algorithm)
                .bind(key.sealed_private_key.as_slice())
                .bind(key.created_at.0),
        )
        .await?;
        Ok(())
    }

    /// All keys, the oldest first.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn signing_keys(&self) -> Result<Vec<StoredSigningKey>, StoreError> {
        self.read(async {
            let rows: Vec<SigningKeyRow> = sqlx::query_as(ALL).fetch_all(self.readers()).await?;
            Ok(rows.into_iter().map(StoredSigningKey::from).collect())
        })
        .await
    }
}
