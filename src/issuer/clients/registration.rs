//! Dynamic client registration (RFC 7591).
//!
//! Any program may register, so this is rate limited per address, and the number of clients that never led to a grant is
//! bounded (`storage::Store::insert_client`). Defends against: a flood that fills the database or locks registration for
//! others, and a web page that spends its visitors' allowance.

use crate::audit::{Audit, Event};
use crate::clock::Clock;
use crate::config;
use crate::limits::{Key, Limit, Limited, Limits, Part};
use crate::model::client::{Client, SecretMethod};
use crate::oauth::client_metadata::{AuthMethod, ClientMetadata, RegistrationRequest, RegistrationResponse};
use crate::oauth::error::OAuthError;
use crate::oauth::redirect_uri::{RedirectClass, RedirectUri};
use crate::oauth::scope::{OFFLINE_ACCESS, ScopeSet};
use crate::secret::{ClientSecret, Token};
use crate::storage::{Store, StoreError};
use crate::telemetry::metrics::{self, RegistrationOutcome};
use crate::wire::{Arrival, ClientAddress};

/// Registers clients.
pub(in crate::issuer) struct Registrations {
    pub(in crate::issuer) settings: config::Registration,
    pub(in crate::issuer) entry_scopes: ScopeSet,
    pub(in crate::issuer) known_scopes: ScopeSet,
    pub(in crate::issuer) store: Store,
    pub(in crate::issuer) clock: Clock,
    pub(in crate::issuer) limits: Limits,
    pub(in crate::issuer) counted: metrics::Grants,
    pub(in crate::issuer) audit: Audit,
}

/// Why a client was not registered.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RegistrationRefusal {
    /// The request is wrong.
    #[error(transparent)]
    Invalid(#[from] OAuthError),
    /// Too many from this address.
    #[error(transparent)]
    Limited(#[from] Limited),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What sends a registration. Browsers are counted apart from programs: any page may have its visitors' browsers register
/// (clients that run in a page must), and must not use up what programs behind the same address need.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Via {
    /// A browser: there is an `Origin`.
    Browser,
    /// Anything else.
    Program,
}

impl Registrations {
    /// Registers a client from the JSON body of its request.
    ///
    /// # Errors
    /// See [`RegistrationRefusal`].
    pub(in crate::issuer) async fn register(
        &self,
        body: &[u8],
        arrival: &Arrival,
        via: Via,
    ) -> Result<RegistrationResponse, RegistrationRefusal> {
        let registered = self.answer(body, arrival, via).await;
        self.counted.registered(match &registered {
            Ok((_, outcome)) => *outcome,
            Err(RegistrationRefusal::Invalid(_)) => RegistrationOutcome::Refused,
            Err(RegistrationRefusal::Limited(_)) => RegistrationOutcome::Limited,
            Err(RegistrationRefusal::Store(_)) => RegistrationOutcome::Unavailable,
        });
        registered.map(|(response, _)| response)
    }

    async fn answer(
        &self,
        body: &[u8],
        arrival: &Arrival,
        via: Via,
    ) -> Result<(RegistrationResponse, RegistrationOutcome), RegistrationRefusal> {
        let mut metadata = RegistrationRequest::parse(body)?.validate(&self.settings.redirect_policy)?;
        metadata.scope = self.known_scopes(&metadata.scope);
        let method = secret_method(metadata.token_endpoint_auth_method);
        let secret = method.map(|method| (Token::<ClientSecret>::generate(), method));
        let hash = secret.as_ref().map(|(secret, method)| (secret.sha256(), *method));
        let now = self.clock.now();
        let client = Client::registered(&metadata, hash, now);
        let known = if secret.is_none() { self.store.known_client(&client.id).await? } else { None };
        if self.is_recorded(known.is_some(), &metadata, arrival.address, via).await? {
            self.store.insert_client(&client, &arrival.address.key(), self.settings.max_unused, now).await?;
            let event = Event::Registered { client: &client.id, name: client.name.as_deref() };
            self.audit.record(&event, arrival);
        }
        let outcome = if known.is_some() { RegistrationOutcome::Known } else { RegistrationOutcome::Created };
        let secret = secret.map(|(secret, _)| secret);
        Ok((response(known.as_ref().unwrap_or(&client), metadata, secret.as_ref()), outcome))
    }

    /// Counts a registration and says whether it is written down. A known client is answered however often it comes:
    /// several register at every start.
    async fn is_recorded(
        &self,
        is_known: bool,
        metadata: &ClientMetadata,
        address: ClientAddress,
        via: Via,
    ) -> Result<bool, Limited> {
        let mut parts = vec![Part::Address(address)];
        parts.extend(matches!(via, Via::Browser).then_some(Part::Browsers));
        let key = Key::of(&parts);
        if is_known {
            return Ok(self.limits.check(Limit::KnownRegistrations, &key).await.is_ok());
        }
        let host = metadata.redirect_uris.iter().find(|uri| uri.class() == RedirectClass::Https);
        let host = host.map(RedirectUri::receiver).unwrap_or_default();
        parts.push(Part::Host(&host));
        self.limits.check(Limit::Registrations, &Key::of(&parts)).await?;
        self.limits.check(Limit::RegistrationsOfAllHosts, &key).await.map(|()| true)
    }

    /// The requested scopes that some upstream here knows; all that they require when none is left.
    fn known_scopes(&self, asked: &ScopeSet) -> ScopeSet {
        let known = asked.intersection(&self.known_scopes.clone().with(OFFLINE_ACCESS));
        if known.is_empty() { self.entry_scopes.clone() } else { known }
    }
}

const fn secret_method(method: AuthMethod) -> Option<SecretMethod> {
    match method {
        AuthMethod::None => None,
        AuthMethod::ClientSecretBasic => Some(SecretMethod::Basic),
        AuthMethod::ClientSecretPost => Some(SecretMethod::Post),
    }
}

fn response(client: &Client, metadata: ClientMetadata, secret: Option<&Token<ClientSecret>>) -> RegistrationResponse {
    let mut grant_types = vec!["authorization_code"];
    grant_types.extend(client.refresh_token.then_some("refresh_token"));
    RegistrationResponse {
        client_id: client.id.to_string(),
        client_id_issued_at: client.created_at.0,
        client_secret: secret.map(|secret| secret.expose().to_owned()),
        client_secret_expires_at: secret.map(|_| 0),
        redirect_uris: metadata.redirect_uris.iter().map(ToString::to_string).collect(),
        token_endpoint_auth_method: metadata.token_endpoint_auth_method.as_str(),
        grant_types,
        response_types: ["code"],
        client_name: metadata.client_name,
        scope: metadata.scope,
        application_type: metadata.application_type,
    }
}
