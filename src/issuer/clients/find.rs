//! Finds the client of an id, and checks where its codes may go.
//!
//! Defends against: an open redirector and stolen codes (RFC 9700 4.1). A code or an error goes only to a redirect URI that
//! the client registered, checked anew at `/authorize`, at consent and at the callback.

use std::sync::Arc;

use super::documents::{Documents, Need};
use super::error::{FindError, shown};
use crate::clock::Timestamp;
use crate::config::{Config, ConfiguredClient};
use crate::model::client::{Authentication, Client, ClientOrigin};
use crate::model::ids::ClientId;
use crate::oauth::client_id_url::is_url;
use crate::oauth::redirect_uri::{RedirectPolicy, RedirectUri};
use crate::oauth::scope::ScopeSet;
use crate::secret::Sha256;
use crate::storage::{Store, StoreError, StoredClient};
use crate::wire::{Arrival, ClientAddress};

/// The longest id that the store can have: those that we make are shorter.
const LONGEST_STORED_ID: usize = 64;

/// Finds clients: the operator's own, those that publish a document, then those that registered. Cheap to clone.
#[derive(Clone)]
pub(in crate::issuer) struct Clients {
    store: Store,
    documents: Documents,
    configured: Arc<[Client]>,
    redirect_policy: RedirectPolicy,
    /// Whether clients that registered may use the device grant.
    registered_devices: bool,
}

/// Why no response may be sent to a redirect URI.
#[derive(Debug, thiserror::Error)]
#[error("client {client}: {why}")]
pub(in crate::issuer) struct RedirectRefused {
    client: ClientId,
    why: String,
}

impl Clients {
    pub(in crate::issuer) fn new(config: &Config, store: Store, documents: Documents) -> Self {
        let configured = config.clients.iter().filter_map(configured).collect();
        let redirect_policy = config.registration.redirect_policy.clone();
        Self { store, documents, configured, redirect_policy, registered_devices: config.registers_devices() }
    }

    /// Finds a client by the id that a request names. `from` is the address of the request.
    pub(in crate::issuer) async fn find(&self, id: &str, from: ClientAddress) -> Result<Client, FindError> {
        self.look_up(id, from, Need::Kept).await
    }

    /// The same for a client that asks for a new authorization: what it publishes about itself must be current.
    pub(in crate::issuer) async fn find_current(&self, id: &str, from: ClientAddress) -> Result<Client, FindError> {
        self.look_up(id, from, Need::Current).await
    }

    async fn look_up(&self, id: &str, from: ClientAddress, need: Need) -> Result<Client, FindError> {
        if let Some(client) = self.configured.iter().find(|client| client.id.as_str() == id) {
            self.check_enabled(&client.id).await?;
            return Ok(client.clone());
        }
        if is_url(id) {
            // first: nothing is fetched for a disabled client
            self.check_enabled(&ClientId::from(id)).await?;
            return self.documents.find(id, from, need).await;
        }
        if id.len() > LONGEST_STORED_ID {
            return Err(FindError::Unknown(shown(id)));
        }
        match self.store.known_by_id(&ClientId::from(id)).await {
            // by today's settings: it may have registered while the operator allowed the device grant
            Ok(Some(StoredClient { client, disabled: false })) => {
                Ok(Client { device: client.device && self.registered_devices, ..client })
            }
            Ok(Some(StoredClient { disabled: true, .. })) => Err(FindError::Disabled(shown(id))),
            Ok(None) => Err(FindError::Unknown(shown(id))),
            Err(cause) => Err(FindError::Unavailable { client: shown(id), cause }),
        }
    }

    /// The client of the configuration with this id.
    pub(in crate::issuer) fn configured(&self, id: &ClientId) -> Option<&Client> {
        self.configured.iter().find(|client| client.id == *id)
    }

    /// Stores the document of a client for which a user has just signed in: a later request must find it.
    pub(in crate::issuer) async fn keep(&self, client: &Client, arrival: &Arrival) -> Result<(), StoreError> {
        match client.origin {
            ClientOrigin::Document => self.documents.keep(client, arrival).await,
            ClientOrigin::Configured | ClientOrigin::Registered => Ok(()),
        }
    }

    /// Refuses a client that has no row of its own, if the operator disabled it.
    async fn check_enabled(&self, id: &ClientId) -> Result<(), FindError> {
        match self.store.is_client_disabled(id).await {
            Ok(false) => Ok(()),
            Ok(true) => Err(FindError::Disabled(shown(id.as_str()))),
            Err(cause) => Err(FindError::Unavailable { client: shown(id.as_str()), cause }),
        }
    }

    /// Checks whether the client may be answered at this redirect URI.
    pub(in crate::issuer) fn redirect_uri(
        &self,
        client: &Client,
        requested: &str,
    ) -> Result<RedirectUri, RedirectRefused> {
        let refused = |why: String| RedirectRefused { client: client.id.clone(), why };
        let uri = self.redirect_policy.parse(requested).map_err(|why| refused(format!("the redirect URI {why}")))?;
        if client.allows(&uri) { Ok(uri) } else { Err(refused("the redirect URI is not registered".to_owned())) }
    }

    /// Whether the redirect URI of a token request is that of its authorization request (RFC 6749 4.1.3). Some libraries
    /// send a trailing slash in one of the two and omit it in the other.
    pub(in crate::issuer) fn is_same_redirect_uri(&self, sent: &str, authorized: &str) -> bool {
        let parsed = (self.redirect_policy.parse(sent), self.redirect_policy.parse(authorized));
        sent == authorized || matches!(parsed, (Ok(one), Ok(other)) if one.is_same(&other))
    }

    /// Whether a configured client has this redirect URI: the operator knows who receives codes there.
    pub(in crate::issuer) fn is_configured_redirect_uri(&self, uri: &RedirectUri) -> bool {
        let mut configured = self.configured.iter().flat_map(|client| &client.redirect_uris);
        configured.any(|known| self.redirect_policy.parse(known).is_ok_and(|known| known.is_same(uri)))
    }
}

/// A client of the configuration; `None` when its method contradicts its secret or keys, which `config` refuses.
fn configured(client: &ConfiguredClient) -> Option<Client> {
    let secret_hash = client.client_secret.as_ref().map(|secret| Sha256::of(secret.expose().as_bytes()));
    Some(Client {
        id: ClientId::from(client.client_id.as_str()),
        origin: ClientOrigin::Configured,
        name: client.name.clone(),
        redirect_uris: client.redirect_uris.clone(),
        authentication: Authentication::new(client.auth_method, secret_hash, client.keys.clone())?,
        refresh_token: true,
        device: client.device,
        dpop_bound: client.dpop_bound,
        scope: ScopeSet::empty(),
        application_type: None,
        created_at: Timestamp(0),
    })
}
