//! Dynamic client registration (RFC 7591).

use super::Issuer;
use super::metadata::entry_scopes;
use crate::audit::{self, Event};
use crate::limits::ClientAddress;
use crate::model::client::Client;
use crate::oauth::client_metadata::{AuthMethod, ClientMetadata, RegistrationRequest, RegistrationResponse};
use crate::oauth::error::OAuthError;
use crate::oauth::scope::{OFFLINE_ACCESS, ScopeSet};
use crate::secret::{ClientSecret, Token};
use crate::storage::StoreError;

/// Why a client was not registered.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RegistrationRefusal {
    /// The request is wrong.
    #[error(transparent)]
    Invalid(#[from] OAuthError),
    /// Too many from this address.
    #[error("too many registrations from one address")]
    TooMany {
        /// Seconds until the next may come.
        retry_after: u64,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What carries a registration. Any page may have its visitors' browsers register (clients that live in a page must), so
/// that what their address may is counted apart: no page uses up what the programs behind that address need.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Via {
    /// A browser: there is an `Origin`.
    Browser,
    /// Anything else.
    Program,
}

impl Issuer {
    /// Registers a client from the JSON body of its request.
    ///
    /// # Errors
    /// See [`RegistrationRefusal`].
    pub(crate) async fn register(
        &self,
        body: &[u8],
        address: ClientAddress,
        via: Via,
    ) -> Result<RegistrationResponse, RegistrationRefusal> {
        let address = address.key();
        let counted_as = match via {
            Via::Browser => format!("{address} browser"),
            Via::Program => address.clone(),
        };
        let request = RegistrationRequest::parse(body)?;
        let registration = &self.config().registration;
        let mut metadata = request.validate(&registration.redirect_policy)?;
        metadata.scope = self.known_scopes(&metadata.scope);
        let secret = (metadata.token_endpoint_auth_method != AuthMethod::None).then(Token::<ClientSecret>::generate);
        let client = Client::registered(&metadata, secret.as_ref().map(Token::sha256), self.now());
        let known = if secret.is_none() { self.store().known_client(&client.id).await? } else { None };
        if known.is_none() {
            self.0
                .registrations
                .check(&counted_as)
                .map_err(|retry_after| RegistrationRefusal::TooMany { retry_after })?;
        }
        // a client that is known gets its answer however often it comes: several register at every start
        if known.is_none() || self.0.again.check(&counted_as).is_ok() {
            self.store().insert_client(&client, &address, registration.max_unused, self.now()).await?;
            audit::record(&Event::Registered { client: &client.id, name: client.name.as_deref() });
        }
        Ok(answer(known.as_ref().unwrap_or(&client), metadata, secret.as_ref()))
    }

    /// What some upstream here knows; all of it when nothing is left.
    fn known_scopes(&self, asked: &ScopeSet) -> ScopeSet {
        let entry = entry_scopes(self.config());
        let known = asked.intersection(&entry.clone().with(OFFLINE_ACCESS));
        if known.is_empty() { entry } else { known }
    }
}

fn answer(client: &Client, metadata: ClientMetadata, secret: Option<&Token<ClientSecret>>) -> RegistrationResponse {
    let mut grant_types = vec!["authorization_code"];
    grant_types.extend(client.refresh_token.then_some("refresh_token"));
    RegistrationResponse {
        client_id: client.id.to_string(),
        client_id_issued_at: client.created_at.0,
        client_secret: secret.map(|secret| secret.expose().to_owned()),
        client_secret_expires_at: secret.map(|_| 0),
        redirect_uris: metadata.redirect_uris.iter().map(ToString::to_string).collect(),
        token_endpoint_auth_method: client.auth_method.as_str(),
        grant_types,
        response_types: ["code"],
        client_name: metadata.client_name,
        scope: metadata.scope,
        application_type: metadata.application_type,
    }
}
