//! Who a client id names: the operator's own clients first, then those that registered.

use super::Issuer;
use crate::clock::Timestamp;
use crate::model::client::{Client, ClientOrigin};
use crate::model::ids::ClientId;
use crate::oauth::scope::ScopeSet;
use crate::secret::Sha256;
use crate::storage::StoreError;

impl Issuer {
    /// Finds a client.
    pub(super) async fn find_client(&self, id: &str) -> Result<Option<Client>, StoreError> {
        if let Some(client) = self.configured_client(id) {
            return Ok(Some(client));
        }
        // ids of ours are short; anything else was never registered here
        if id.len() > 64 {
            return Ok(None);
        }
        self.store().client(&ClientId::from(id)).await
    }

    fn configured_client(&self, id: &str) -> Option<Client> {
        let client = self.config().clients.iter().find(|client| client.client_id == id)?;
        Some(Client {
            id: ClientId::from(id),
            origin: ClientOrigin::Configured,
            name: client.name.clone(),
            redirect_uris: client.redirect_uris.clone(),
            auth_method: client.auth_method,
            secret_hash: client.client_secret.as_ref().map(|secret| Sha256::of(secret.expose().as_bytes())),
            refresh_token: true,
            scope: ScopeSet::empty(),
            application_type: None,
            created_at: Timestamp(0),
        })
    }
}
