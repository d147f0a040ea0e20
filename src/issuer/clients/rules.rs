//! The rules for the metadata of registered clients, at registration and at updates, and the response to both.

use crate::config::{Config, Registration};
use crate::issuer::resources::{entry_scopes, known_scopes};
use crate::model::client::{Client, ClientKeys};
use crate::oauth::client_metadata::{AuthMethod, ClientMetadata, RegistrationRequest, RegistrationResponse};
use crate::oauth::error::OAuthError;
use crate::oauth::grant_type::DEVICE_CODE;
use crate::oauth::paths;
use crate::oauth::redirect_uri::{RedirectPolicy, RedirectUri};
use crate::oauth::scope::{OFFLINE_ACCESS, ScopeSet};
use crate::secret::{ClientSecret, Management, Token};

/// The rules.
pub(in crate::issuer) struct MetadataRules {
    redirect_policy: RedirectPolicy,
    entry_scopes: ScopeSet,
    known_scopes: ScopeSet,
    /// Whether clients may register themselves for the device grant.
    device: bool,
    /// Whether there is an upstream for clients of bound tokens alone.
    binds_tokens: bool,
    /// The URL below which clients are managed.
    endpoint: String,
}

/// The secrets in a response.
#[derive(Clone, Copy, Default)]
pub(super) struct Issued<'a> {
    /// A secret that was made for this answer.
    pub(super) secret: Option<&'a Token<ClientSecret>>,
    /// The registration access token.
    pub(super) management: Option<&'a Token<Management>>,
}

impl MetadataRules {
    pub(in crate::issuer) fn new(config: &Config) -> Self {
        let Registration { redirect_policy, .. } = &config.registration;
        Self {
            redirect_policy: redirect_policy.clone(),
            entry_scopes: entry_scopes(config),
            known_scopes: known_scopes(config),
            device: config.registers_devices(),
            binds_tokens: config.binds_tokens(),
            endpoint: config.public_url.join(paths::REGISTER),
        }
    }

    /// The metadata of a client, reduced to what may be stored.
    pub(super) fn check(&self, request: RegistrationRequest) -> Result<ClientMetadata, OAuthError> {
        let mut metadata = request.validate(&self.redirect_policy, self.device)?;
        metadata.scope = self.known_scopes(&metadata.scope);
        metadata.dpop_bound &= self.binds_tokens;
        Ok(metadata)
    }

    /// The requested scopes that some upstream here knows; all that they require when none is left.
    fn known_scopes(&self, asked: &ScopeSet) -> ScopeSet {
        let known = asked.intersection(&self.known_scopes.clone().with(OFFLINE_ACCESS));
        if known.is_empty() { self.entry_scopes.clone() } else { known }
    }

    /// The response to a client, with its redirect URIs as it spelt them.
    pub(super) fn response(
        &self,
        client: &Client,
        redirect_uris: Vec<String>,
        issued: Issued<'_>,
    ) -> RegistrationResponse {
        let method = client.authentication.method();
        let has_secret = matches!(method, AuthMethod::ClientSecretBasic | AuthMethod::ClientSecretPost);
        let mut grant_types = Vec::new();
        grant_types.extend((!client.redirect_uris.is_empty()).then_some("authorization_code"));
        grant_types.extend(client.refresh_token.then_some("refresh_token"));
        grant_types.extend((client.device && self.device).then_some(DEVICE_CODE));
        let (jwks, jwks_uri) = match client.authentication.keys() {
            Some(ClientKeys::Set(keys)) => (Some(keys.clone()), None),
            Some(ClientKeys::Url(url)) => (None, Some(url.clone())),
            None => (None, None),
        };
        RegistrationResponse {
            client_id: client.id.to_string(),
            client_id_issued_at: client.created_at.0,
            client_secret: issued.secret.map(|secret| secret.expose().to_owned()),
            client_secret_expires_at: has_secret.then_some(0),
            redirect_uris,
            token_endpoint_auth_method: method.as_str(),
            grant_types,
            response_types: ["code"],
            client_name: client.name.clone(),
            scope: client.scope.clone(),
            application_type: client.application_type.clone(),
            dpop_bound_access_tokens: client.dpop_bound,
            jwks,
            jwks_uri,
            registration_access_token: issued.management.map(|token| token.expose().to_owned()),
            registration_client_uri: issued.management.map(|_| format!("{}/{}", self.endpoint, client.id)),
        }
    }
}

/// Redirect URIs as the client spelt them.
pub(super) fn as_spelt(uris: &[RedirectUri]) -> Vec<String> {
    uris.iter().map(ToString::to_string).collect()
}
