//! The registered clients for an operator, page by page, and how often each is used: no call takes long however many there are.

use super::error::Failure;
use super::row::{FromRow, Row};
use super::value::values;
use super::{Store, StoreError};
use crate::clock::Timestamp;
use crate::model::ids::ClientId;

/// A registered client, and how it is used (`$2` is now).
macro_rules! client_columns {
    () => {
        "c.id, c.name, c.redirect_uris, c.auth_method, c.created_at, count(g.id) AS grants,
            COALESCE(max(g.last_used_at), c.last_grant_at) AS last_used_at,
            d.client_id IS NOT NULL AS disabled
        FROM clients c LEFT JOIN disabled_clients d ON d.client_id = c.id
            LEFT JOIN grants g ON g.client_id = c.id AND g.ended_at IS NULL AND g.expires_at > $2"
    };
}

sql! {
    CLIENTS = concat!("
        SELECT ", client_columns!(), "
        WHERE c.id > $1 GROUP BY c.id, d.client_id ORDER BY c.id LIMIT $3");

    CLIENT = concat!("SELECT ", client_columns!(), " WHERE c.id = $1 GROUP BY c.id, d.client_id");

    /// Disabled clients of which only the id is stored: no registration, and no document that is kept.
    DISABLED_ONLY = "
        SELECT d.client_id FROM disabled_clients d
        WHERE d.client_id > $1 AND NOT EXISTS (SELECT 1 FROM clients c WHERE c.id = d.client_id)
          AND NOT EXISTS (SELECT 1 FROM client_documents m WHERE m.id = d.client_id)
        ORDER BY d.client_id LIMIT $2";

    USE_OF_CLIENT = "
        SELECT count(*) AS grants, max(last_used_at) AS last_used_at FROM grants WHERE client_id = $1 AND ended_at IS NULL AND expires_at > $2";
}

/// A registered client as an operator sees it.
#[derive(Debug, Clone)]
pub struct ListedClient {
    /// Its id.
    pub id: ClientId,
    /// Its own name.
    pub name: Option<String>,
    /// Its redirect URIs.
    pub redirect_uris: Vec<String>,
    /// Its `token_endpoint_auth_method`.
    pub auth_method: String,
    /// Whether the operator disabled it.
    pub disabled: bool,
    /// When it registered first.
    pub created_at: Timestamp,
    /// How it is used.
    pub use_of: ClientUse,
}

/// How a client is used.
#[derive(Debug, Clone, Copy, Default)]
pub struct ClientUse {
    /// How many live grants it has.
    pub grants: i64,
    /// When one of them began or was last refreshed.
    pub last_used_at: Option<Timestamp>,
}

impl FromRow for ListedClient {
    fn from_row(row: &Row) -> Result<Self, Failure> {
        let columns = row.of("clients");
        Ok(Self {
            id: ClientId::from(columns.text("id")?),
            name: columns.get("name")?,
            redirect_uris: columns.json("redirect_uris")?,
            auth_method: columns.text("auth_method")?,
            disabled: columns.get("disabled")?,
            created_at: columns.time("created_at")?,
            use_of: ClientUse::from_row(row)?,
        })
    }
}

impl FromRow for ClientUse {
    fn from_row(row: &Row) -> Result<Self, Failure> {
        let row = row.of("grants");
        Ok(Self { grants: row.get("grants")?, last_used_at: row.optional_time("last_used_at")? })
    }
}

impl Store {
    /// At most `count` registered clients with ids after `after`, in the order of their ids; `None` starts at the first.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn list_clients(
        &self,
        after: Option<&ClientId>,
        now: Timestamp,
        count: i64,
    ) -> Result<Vec<ListedClient>, StoreError> {
        self.list(CLIENTS, values![after.map_or("", ClientId::as_str), now, count]).await
    }

    /// A registered client.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn listed_client(&self, id: &ClientId, now: Timestamp) -> Result<Option<ListedClient>, StoreError> {
        self.find(CLIENT, values![id.as_str(), now]).await
    }

    /// At most `count` disabled clients of which only the id is stored, after `after`, in the order of their ids.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn list_disabled_only(&self, after: Option<&ClientId>, count: i64) -> Result<Vec<ClientId>, StoreError> {
        let ids: Vec<String> = self.list(DISABLED_ONLY, values![after.map_or("", ClientId::as_str), count]).await?;
        Ok(ids.into_iter().map(ClientId::from).collect())
    }

    /// How a client is used, whether it is registered or not.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn use_of_client(&self, id: &ClientId, now: Timestamp) -> Result<ClientUse, StoreError> {
        Ok(self.find(USE_OF_CLIENT, values![id.as_str(), now]).await?.unwrap_or_default())
    }
}
