//! Clients that the operator disabled. They are kept apart from registered clients, because configured ones, and those that are
//! known by their document, have no row there; and because a disabled client that registers again stays disabled.
//!
//! Defends against: a race with a redemption (TOCTOU). On PostgreSQL a redemption that began before the flag was committed
//! does not see it. So the flag is set first; then the sign-ins are cancelled, which waits for the row that such a redemption
//! has changed; the grants end last. A grant without a code (`machine_grants`) is begun under a lock that setting the flag
//! waits for.

use super::value::values;
use super::{Exclusive, Priority, Store, StoreError};
use crate::clock::Timestamp;
use crate::model::ids::ClientId;

sql! {
    DISABLE = "INSERT INTO disabled_clients (client_id, disabled_at) VALUES ($1, $2) ON CONFLICT (client_id) DO NOTHING";

    ENABLE = "DELETE FROM disabled_clients WHERE client_id = $1";

    IS_DISABLED = "SELECT EXISTS (SELECT 1 FROM disabled_clients WHERE client_id = $1)";
}

impl Store {
    /// Disables a client: it gets no more codes and tokens. `false` when it was disabled before. Its grants do not end here.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn disable_client(&self, id: &ClientId, now: Timestamp) -> Result<bool, StoreError> {
        Ok(self.execute(Priority::Token, Exclusive::Client(id), DISABLE, values![id.as_str(), now]).await? == 1)
    }

    /// Enables a client again; `false` when it was not disabled.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn enable_client(&self, id: &ClientId) -> Result<bool, StoreError> {
        Ok(self.execute(Priority::Token, Exclusive::Nothing, ENABLE, values![id.as_str()]).await? == 1)
    }

    /// Whether a client is disabled. For a registered client [`Store::known_by_id`] answers it along with the client.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn is_client_disabled(&self, id: &ClientId) -> Result<bool, StoreError> {
        self.holds(IS_DISABLED, values![id.as_str()]).await
    }
}
