//! Signing keys: the first, the next, retirement and withdrawal. They are ordered by generation, not by time: a wrong clock
//! cannot put a key in front of a later one.
//!
//! Defends against: two replicas that rotate at the same time (one of them makes the next key), and tokens of a key that was
//! withdrawn (it leaves the list in the same transaction that adds its replacement, so that no reader sees neither or both).

use std::time::Duration;

use super::error::Failure;
use super::exclusive::Exclusive;
use super::row::{FromRow, Row};
use super::value::values;
use super::{Priority, Store, StoreError};
use crate::clock::Timestamp;
use crate::model::ids::KeyId;
use crate::model::signing_key::{StoredSigningKey, WithdrawnKey};

/// How long a withdrawn key is remembered: longer than any access token lives.
const KEPT: Duration = Duration::from_hours(32 * 24);

sql! {
    /// The `WHERE` prevents another first key after the first was retired; the unique key decides between processes that see
    /// none at the same time.
    INSERT_FIRST = "
        INSERT INTO signing_keys (id, algorithm, generation, sealed_private_key, created_at)
        SELECT $1, $2, 1 + COALESCE((SELECT max(generation) FROM signing_keys), 0), $3, $4
        WHERE NOT EXISTS (SELECT 1 FROM signing_keys WHERE algorithm = $2)
        ON CONFLICT (algorithm, generation) DO NOTHING";

    /// Not while another key waits for its time. A time beyond `$7` was set by a wrong clock: it must not put off every
    /// rotation until then.
    INSERT_NEXT = "
        INSERT INTO signing_keys (id, algorithm, generation, sealed_private_key, created_at, active_from)
        SELECT $1, $2, 1 + COALESCE((SELECT max(generation) FROM signing_keys), 0), $3, $4, $5
        WHERE NOT EXISTS (
            SELECT 1 FROM signing_keys WHERE COALESCE(active_from, created_at) > $6 AND COALESCE(active_from, created_at) <= $7)";

    INSERT_REPLACEMENT = "
        INSERT INTO signing_keys (id, algorithm, generation, sealed_private_key, created_at)
        SELECT $1, $2, 1 + COALESCE((SELECT max(generation) FROM signing_keys), 0), $3, $4";

    WITHDRAW_OTHERS = "
        INSERT INTO withdrawn_keys (id, algorithm, withdrawn_at)
        SELECT id, algorithm, $2 FROM signing_keys WHERE id <> $1
        ON CONFLICT (id) DO NOTHING";

    DELETE_OTHERS = "DELETE FROM signing_keys WHERE id <> $1 RETURNING id";

    /// Those that a later key replaced so long ago that their last token has expired.
    DELETE_RETIRED = "
        DELETE FROM signing_keys WHERE id IN (
            SELECT k.id FROM signing_keys k JOIN signing_keys s
                ON (s.generation, s.created_at, s.id) > (k.generation, k.created_at, k.id)
            WHERE COALESCE(s.active_from, s.created_at) <= $1)
        RETURNING id";

    ALL = "
        SELECT id, algorithm, sealed_private_key, created_at, COALESCE(active_from, created_at) AS active_from
        FROM signing_keys ORDER BY generation, created_at, id";

    WITHDRAWN = "SELECT id, algorithm, withdrawn_at FROM withdrawn_keys ORDER BY withdrawn_at, id";

    FORGET_WITHDRAWN = "DELETE FROM withdrawn_keys WHERE withdrawn_at <= $1";
}

impl FromRow for StoredSigningKey {
    fn from_row(row: &Row) -> Result<Self, Failure> {
        let row = row.of("signing_keys");
        Ok(Self {
            id: KeyId::from(row.text("id")?),
            algorithm: row.text("algorithm")?,
            sealed_private_key: row.get("sealed_private_key")?,
            created_at: row.time("created_at")?,
            active_from: row.time("active_from")?,
        })
    }
}

impl FromRow for WithdrawnKey {
    fn from_row(row: &Row) -> Result<Self, Failure> {
        let row = row.of("withdrawn_keys");
        Ok(Self {
            id: KeyId::from(row.text("id")?),
            algorithm: row.text("algorithm")?,
            withdrawn_at: row.time("withdrawn_at")?,
        })
    }
}

impl Store {
    /// Inserts a key that signs from now on, if there is none of its algorithm yet: several processes may start at once, one
    /// wins.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn insert_first_signing_key(&self, key: &StoredSigningKey) -> Result<(), StoreError> {
        let first = values![key.id.as_str(), &key.algorithm, key.sealed_private_key.as_slice(), key.created_at];
        self.execute(Priority::Upkeep, Exclusive::SigningKeys, INSERT_FIRST, first).await?;
        Ok(())
    }

    /// Inserts the key that takes over at its time; `false`, and nothing happened, while another one waits for its own within
    /// `horizon`.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn insert_next_signing_key(&self, key: &StoredSigningKey, horizon: Duration) -> Result<bool, StoreError> {
        let next = values![
            key.id.as_str(),
            &key.algorithm,
            key.sealed_private_key.as_slice(),
            key.created_at,
            key.active_from,
            key.created_at,
            key.created_at + horizon,
        ];
        Ok(self.execute(Priority::Upkeep, Exclusive::SigningKeys, INSERT_NEXT, next).await? == 1)
    }

    /// Withdraws all keys, pending ones included, and replaces them by one that signs at once. Returns which were withdrawn.
    ///
    /// # Errors
    /// When the store fails; then nothing happened.
    pub async fn replace_signing_keys(&self, key: &StoredSigningKey) -> Result<Vec<KeyId>, StoreError> {
        self.write(Priority::Token, Exclusive::SigningKeys, async |tx| {
            let (id, sealed) = (key.id.as_str(), key.sealed_private_key.as_slice());
            tx.execute(INSERT_REPLACEMENT, values![id, &key.algorithm, sealed, key.created_at]).await?;
            tx.execute(WITHDRAW_OTHERS, values![id, key.created_at]).await?;
            let withdrawn: Vec<String> = tx.all(DELETE_OTHERS, values![id]).await?;
            Ok(withdrawn.into_iter().map(KeyId::from).collect())
        })
        .await
    }

    /// Deletes the keys whose successor has signed since `cutoff` or longer, and returns which. The newest always stays.
    ///
    /// # Errors
    /// When the store fails; then nothing happened.
    pub async fn delete_retired_signing_keys(&self, cutoff: Timestamp) -> Result<Vec<KeyId>, StoreError> {
        self.write(Priority::Upkeep, Exclusive::SigningKeys, async |tx| {
            let retired: Vec<String> = tx.all(DELETE_RETIRED, values![cutoff]).await?;
            Ok(retired.into_iter().map(KeyId::from).collect())
        })
        .await
    }

    /// All keys, in the order in which they take over from each other.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn signing_keys(&self) -> Result<Vec<StoredSigningKey>, StoreError> {
        self.list(ALL, values![]).await
    }

    /// The keys that were withdrawn, the first one first. Read after [`Self::signing_keys`]: a key that is missing there, because
    /// it was withdrawn, is then here.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn withdrawn_keys(&self) -> Result<Vec<WithdrawnKey>, StoreError> {
        self.list(WITHDRAWN, values![]).await
    }

    /// Forgets the keys that were withdrawn so long ago that none of their tokens can be valid.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn forget_withdrawn_keys(&self, now: Timestamp) -> Result<u64, StoreError> {
        self.execute(Priority::Upkeep, Exclusive::SigningKeys, FORGET_WITHDRAWN, values![now.before(KEPT)]).await
    }
}
