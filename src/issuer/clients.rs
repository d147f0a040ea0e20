//! Who a client id names (the operator's own clients first, then those that registered), and where their codes may go.

use super::Issuer;
use super::authorize::Validated;
use super::fault::{Fault, Trouble};
use crate::clock::Timestamp;
use crate::model::authorization::AuthorizationRequest;
use crate::model::client::{Client, ClientOrigin};
use crate::model::ids::ClientId;
use crate::oauth::redirect_uri::RedirectUri;
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

    /// Whether codes of this client may be sent there: asked at `/authorize`, at consent and at the callback.
    pub(super) fn allowed_redirect(&self, client: &Client, requested: &str) -> Result<RedirectUri, Fault> {
        let refused = |why: String| Fault::new(Trouble::RedirectUri, format!("client {}: {why}", client.id));
        let policy = &self.config().registration.redirect_policy;
        let uri = policy.parse(requested).map_err(|why| refused(format!("the redirect URI {why}")))?;
        if client.allows(&uri) { Ok(uri) } else { Err(refused("the redirect URI is not registered".to_owned())) }
    }

    /// Whether the URI of a token request is that of its authorization request (RFC 6749 4.1.3): some libraries write one
    /// URI with a slash behind the host in one of them, and without it in the other.
    pub(super) fn is_one_redirect_uri(&self, sent: &str, authorized: &str) -> bool {
        let policy = &self.config().registration.redirect_policy;
        sent == authorized
            || matches!((policy.parse(sent), policy.parse(authorized)), (Ok(one), Ok(other)) if one.is_same(&other))
    }

    /// Looks the client up again: it may have gone, or lost the redirect URI, while the user was reading.
    pub(super) async fn still_allowed(&self, request: &AuthorizationRequest) -> Result<Validated, Fault> {
        let client = self.find_client(request.client_id.as_str()).await?;
        let client = client.ok_or_else(|| {
            let trouble = Trouble::UnknownClient {
                client_id: request.client_id.to_string(),
                redirect_uri: Some(request.redirect_uri.clone()),
            };
            Fault::new(trouble, format!("client {} went while it was being used", request.client_id))
        })?;
        let redirect_uri = self.allowed_redirect(&client, &request.redirect_uri)?;
        Ok(Validated { request: request.clone(), client, redirect_uri })
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
