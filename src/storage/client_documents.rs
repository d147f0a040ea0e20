//! The documents of clients whose id is a URL, as long as a grant or a sign-in may need them.
//!
//! Defends against: a flood of documents. Nothing is written before a user has signed in for the client, and how many are kept
//! is bounded.

use super::engine::Transaction;
use super::error::Failure;
use super::exclusive::Exclusive;
use super::row::{FromRow, Row};
use super::value::values;
use super::{Priority, Store, StoreError};
use crate::clock::Timestamp;
use crate::model::client_document::KeptDocument;
use crate::model::ids::ClientId;

/// How many documents are kept. Those that a live grant needs are kept beyond it.
const MOST: i64 = 10_000;
/// How many one write may evict: see `clients::MAX_EVICTIONS`.
const MAX_EVICTIONS: i64 = 16;

sql! {
    FIND = "SELECT document, fetched_at, fresh_until FROM client_documents WHERE id = $1";

    /// A document that another process fetched later stays.
    KEEP = "
        INSERT INTO client_documents (id, name, document, fetched_at, fresh_until)
        VALUES ($1, $2, $3, $4, $5)
        ON CONFLICT (id) DO UPDATE SET name = excluded.name, document = excluded.document,
            fetched_at = excluded.fetched_at, fresh_until = excluded.fresh_until
        WHERE excluded.fetched_at >= client_documents.fetched_at";

    RENEW = "
        UPDATE client_documents SET name = $2, document = $3, fetched_at = $4, fresh_until = $5
        WHERE id = $1 AND fetched_at <= $4";

    /// Changes nothing: locks the row until the commit.
    HOLD = "UPDATE client_documents SET id = id WHERE id = $1";

    FORGET = "DELETE FROM client_documents WHERE id = $1";

    COUNT = "SELECT count(*) FROM client_documents";

    /// The oldest document that no grant and no sign-in needs.
    EVICT_ONE = "
        DELETE FROM client_documents WHERE id = (
            SELECT c.id FROM client_documents c
            WHERE c.id <> $1
              AND NOT EXISTS (
                SELECT 1 FROM authorizations a
                WHERE a.client_id = c.id AND a.stage IN ('pending', 'claimed', 'code_issued')
                  AND COALESCE(a.code_expires_at, a.expires_at) > $2)
              AND NOT EXISTS (
                SELECT 1 FROM grants g WHERE g.client_id = c.id AND g.ended_at IS NULL AND g.expires_at > $2)
            ORDER BY c.fetched_at, c.id LIMIT 1)";

    pub(super) DELETE_OLD = "
        DELETE FROM client_documents WHERE id IN (
            SELECT id FROM client_documents WHERE fetched_at <= $1 ORDER BY fetched_at LIMIT $2)";
}

impl FromRow for KeptDocument {
    fn from_row(row: &Row) -> Result<Self, Failure> {
        let row = row.of("client_documents");
        Ok(Self {
            text: row.text("document")?,
            fetched_at: row.time("fetched_at")?,
            fresh_until: row.time("fresh_until")?,
        })
    }
}

impl Store {
    /// Finds the document of a client.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn client_document(&self, id: &ClientId) -> Result<Option<KeptDocument>, StoreError> {
        self.find(FIND, values![id.as_str()]).await
    }

    /// Keeps the document of a client for which a user has just signed in, and returns whether it is new here or differs from
    /// the one before. When there are too many, the oldest that nothing needs goes.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn keep_client_document(
        &self,
        id: &ClientId,
        name: Option<&str>,
        document: &KeptDocument,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let KeptDocument { text, fetched_at, fresh_until } = document;
        self.write(Priority::Claimed, Exclusive::Clients, async |tx| {
            let before: Option<KeptDocument> = tx.optional(FIND, values![id.as_str()]).await?;
            tx.execute(KEEP, values![id.as_str(), name, text, *fetched_at, *fresh_until]).await?;
            if before.is_none() {
                let surplus = tx.one::<i64>(COUNT, values![]).await?.saturating_sub(MOST);
                for _ in 0..surplus.min(MAX_EVICTIONS) {
                    tx.execute(EVICT_ONE, values![id.as_str(), now]).await?;
                }
            }
            Ok(before.is_none_or(|before| before.text != *text))
        })
        .await
    }

    /// Replaces a document that is kept by one that was fetched later; one that is not kept stays so. `false` when there was
    /// nothing to replace.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn renew_client_document(
        &self,
        id: &ClientId,
        name: Option<&str>,
        document: &KeptDocument,
    ) -> Result<bool, StoreError> {
        let KeptDocument { text, fetched_at, fresh_until } = document;
        let renewed = values![id.as_str(), name, text, *fetched_at, *fresh_until];
        Ok(self.execute(Priority::Upkeep, Exclusive::Nothing, RENEW, renewed).await? == 1)
    }

    /// Forgets the document of a client that its publisher took back; `false` when none was kept.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn forget_client_document(&self, id: &ClientId) -> Result<bool, StoreError> {
        Ok(self.execute(Priority::Upkeep, Exclusive::Nothing, FORGET, values![id.as_str()]).await? == 1)
    }
}

/// Holds the document of a client until the commit, so that a deletion waits, and ends the grant that it then finds. `false`
/// when there is none.
pub(super) async fn hold(tx: &mut Transaction, id: &ClientId) -> Result<bool, Failure> {
    Ok(tx.execute(HOLD, values![id.as_str()]).await? == 1)
}
