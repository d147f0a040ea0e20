//! The clients that are known by a document kept here, for an operator, page by page.

use super::error::Failure;
use super::listed_clients::ClientUse;
use super::row::{FromRow, Row};
use super::value::values;
use super::{Store, StoreError};
use crate::clock::Timestamp;
use crate::model::ids::ClientId;

/// A client that is known by a document, and how it is used (`$2` is now).
macro_rules! document_columns {
    () => {
        "c.id, c.document, count(g.id) AS grants, max(g.last_used_at) AS last_used_at, d.client_id IS NOT NULL AS disabled
        FROM client_documents c LEFT JOIN disabled_clients d ON d.client_id = c.id
            LEFT JOIN grants g ON g.client_id = c.id AND g.ended_at IS NULL AND g.expires_at > $2"
    };
}

sql! {
    DOCUMENTS = concat!("
        SELECT ", document_columns!(), "
        WHERE c.id > $1 GROUP BY c.id, d.client_id ORDER BY c.id LIMIT $3");

    DOCUMENT = concat!("SELECT ", document_columns!(), " WHERE c.id = $1 GROUP BY c.id, d.client_id");
}

/// A client that is known by its document, as an operator sees it.
#[derive(Debug, Clone)]
pub struct ListedDocument {
    /// Its id: the URL of the document.
    pub id: ClientId,
    /// The document as it was fetched.
    pub document: String,
    /// Whether the operator disabled it.
    pub disabled: bool,
    /// How it is used.
    pub use_of: ClientUse,
}

impl FromRow for ListedDocument {
    fn from_row(row: &Row) -> Result<Self, Failure> {
        let columns = row.of("client_documents");
        Ok(Self {
            id: ClientId::from(columns.text("id")?),
            document: columns.text("document")?,
            disabled: columns.get("disabled")?,
            use_of: ClientUse::from_row(row)?,
        })
    }
}

impl Store {
    /// At most `count` clients whose documents are kept, with ids after `after`, in the order of their ids; `None` starts at the
    /// first.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn list_documents(
        &self,
        after: Option<&ClientId>,
        now: Timestamp,
        count: i64,
    ) -> Result<Vec<ListedDocument>, StoreError> {
        self.list(DOCUMENTS, values![after.map_or("", ClientId::as_str), now, count]).await
    }

    /// A client whose document is kept.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn listed_document(&self, id: &ClientId, now: Timestamp) -> Result<Option<ListedDocument>, StoreError> {
        self.find(DOCUMENT, values![id.as_str(), now]).await
    }
}
