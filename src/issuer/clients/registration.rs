//! Dynamic client registration (RFC 7591).
//!
//! Any program may register, unless the operator gave out initial access tokens. So this is rate limited per address, and the
//! number of clients that never led to a grant is bounded (`storage::Store::insert_client`). Defends against: a flood that fills
//! the database or locks registration for others, and a web page that spends its visitors' allowance.

use std::sync::Arc;

use super::rules::{Issued, MetadataRules, as_spelt};
use crate::audit::{Audit, Event};
use crate::clock::Clock;
use crate::config;
use crate::limits::{Key, Limit, Limited, Limits, Part};
use crate::model::client::{Authentication, Client, SecretMethod};
use crate::oauth::client_metadata::{AuthMethod, ClientMetadata, RegistrationRequest, RegistrationResponse};
use crate::oauth::error::OAuthError;
use crate::oauth::redirect_uri::{RedirectClass, RedirectUri};
use crate::secret::{ClientSecret, Management, SecretText, Sha256, Token};
use crate::storage::{ManagedClient, Store, StoreError};
use crate::telemetry::metrics::{self, RegistrationOutcome};
use crate::wire::{Arrival, ClientAddress};

/// Registers clients.
pub(in crate::issuer) struct Registrations {
    pub(in crate::issuer) settings: config::Registration,
    pub(in crate::issuer) rules: Arc<MetadataRules>,
    pub(in crate::issuer) store: Store,
    pub(in crate::issuer) clock: Clock,
    pub(in crate::issuer) limits: Limits,
    pub(in crate::issuer) metrics: metrics::Grants,
    pub(in crate::issuer) audit: Audit,
}

/// Why a client was not registered, or did not reach its registration.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RegistrationRefusal {
    /// The request is wrong.
    #[error(transparent)]
    Invalid(#[from] OAuthError),
    /// The initial or registration access token is wrong or, when `presented` is false, missing.
    #[error("the access token is {}", if *.presented { "wrong" } else { "missing" })]
    Unauthorized {
        /// Whether there was one.
        presented: bool,
    },
    /// Too many from this address, or of this client.
    #[error(transparent)]
    Limited(#[from] Limited),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The sender of a registration. Browsers and programs have separate limits: any page can make its visitors' browsers
/// register (clients that run in a page must), and must not exhaust the limit of programs behind the same address.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Via {
    /// A browser: there is an `Origin`.
    Browser,
    /// Anything else.
    Program,
}

/// A request to register.
#[derive(Debug)]
pub(crate) struct RegistrationAttempt<'a> {
    /// The JSON body.
    pub body: &'a [u8],
    /// The bearer token, if there is one.
    pub token: Option<SecretText>,
    /// What sent it.
    pub via: Via,
}

/// A client that is about to be registered, and its secrets, which only the response contains.
struct New {
    client: Client,
    secret: Option<Token<ClientSecret>>,
    /// Public clients share their ids, so none of them manages one.
    management: Option<Token<Management>>,
}

/// A registration as the client and the metrics see it.
struct Registered {
    response: RegistrationResponse,
    outcome: RegistrationOutcome,
}

/// How a client authenticates.
pub(super) struct ChosenAuthentication {
    pub(super) authentication: Authentication,
    /// The secret that was made for it, if one was.
    pub(super) secret: Option<Token<ClientSecret>>,
}

impl Registrations {
    /// Registers a client.
    ///
    /// # Errors
    /// See [`RegistrationRefusal`].
    pub(in crate::issuer) async fn register(
        &self,
        attempt: &RegistrationAttempt<'_>,
        arrival: &Arrival,
    ) -> Result<RegistrationResponse, RegistrationRefusal> {
        let registered = self.answer(attempt, arrival).await;
        self.metrics.registered(match &registered {
            Ok(registered) => registered.outcome,
            Err(RegistrationRefusal::Invalid(_) | RegistrationRefusal::Unauthorized { .. }) => {
                RegistrationOutcome::Refused
            }
            Err(RegistrationRefusal::Limited(_)) => RegistrationOutcome::Limited,
            Err(RegistrationRefusal::Store(_)) => RegistrationOutcome::Unavailable,
        });
        registered.map(|registered| registered.response)
    }

    async fn answer(
        &self,
        attempt: &RegistrationAttempt<'_>,
        arrival: &Arrival,
    ) -> Result<Registered, RegistrationRefusal> {
        self.admit(attempt.token.as_ref(), arrival.address).await?;
        let metadata = self.rules.check(RegistrationRequest::parse(attempt.body)?)?;
        let redirect_uris = as_spelt(&metadata.redirect_uris);
        let new = self.new_client(&metadata);
        let is_public = new.management.is_none();
        let known = if is_public { self.store.known_client(&new.client.id).await? } else { None };
        if self.is_recorded(known.is_some(), &metadata, arrival.address, attempt.via).await? {
            let Client { id, name, .. } = &new.client;
            // a public client that registers at each start of its program is one client
            if self.insert(&new, arrival.address).await? {
                self.audit.record(&Event::Registered { client: id, name: name.as_deref() }, arrival);
            }
        }
        let outcome = if known.is_some() { RegistrationOutcome::Known } else { RegistrationOutcome::Created };
        let issued = Issued { secret: new.secret.as_ref(), management: new.management.as_ref() };
        let response = self.rules.response(known.as_ref().unwrap_or(&new.client), redirect_uris, issued);
        Ok(Registered { response, outcome })
    }

    /// Checks the initial access token, where the operator requires one (RFC 7591 3).
    async fn admit(&self, token: Option<&SecretText>, address: ClientAddress) -> Result<(), RegistrationRefusal> {
        let accepted = &self.settings.initial_access_tokens;
        if accepted.is_empty() {
            return Ok(());
        }
        let Some(token) = token else { return Err(RegistrationRefusal::Unauthorized { presented: false }) };
        let hash = Sha256::of(token.expose().as_bytes());
        // all are compared, so that the time does not tell which one is close
        if accepted.iter().fold(false, |found, accepted| accepted.same(&hash) | found) {
            return Ok(());
        }
        self.limits.check(Limit::RegistrationTokens, &Key::of(&[Part::Address(address)])).await?;
        Err(RegistrationRefusal::Unauthorized { presented: true })
    }

    fn new_client(&self, metadata: &ClientMetadata) -> New {
        let ChosenAuthentication { authentication, secret } = authentication(metadata, None);
        let management = (authentication != Authentication::None).then(Token::generate);
        New { client: Client::registered(metadata, authentication, self.clock.now()), secret, management }
    }

    /// Keeps a client; `false` when it was known.
    async fn insert(&self, new: &New, address: ClientAddress) -> Result<bool, StoreError> {
        let (address, most, now) = (address.key(), self.settings.max_unused, self.clock.now());
        match new.management.as_ref().map(Token::sha256) {
            None => self.store.insert_client(&new.client, &address, most, now).await,
            Some(token) => {
                let managed = ManagedClient { client: &new.client, token: &token };
                self.store.insert_managed_client(managed, &address, most, now).await.map(|()| true)
            }
        }
    }

    /// Counts a registration and returns whether it is recorded. A known client is answered however often it comes: several
    /// register at every start.
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
}

/// How a client with this metadata authenticates. `kept` is the hash of a secret that it has already and keeps.
pub(super) fn authentication(metadata: &ClientMetadata, kept: Option<Sha256>) -> ChosenAuthentication {
    let method = match metadata.token_endpoint_auth_method {
        AuthMethod::ClientSecretBasic => SecretMethod::Basic,
        AuthMethod::ClientSecretPost => SecretMethod::Post,
        AuthMethod::None | AuthMethod::PrivateKeyJwt => {
            // validated metadata have keys with that method, and with no other
            let authentication = metadata.keys.clone().map_or(Authentication::None, Authentication::Keys);
            return ChosenAuthentication { authentication, secret: None };
        }
    };
    if let Some(hash) = kept {
        return ChosenAuthentication { authentication: Authentication::Secret(hash, method), secret: None };
    }
    let secret = Token::<ClientSecret>::generate();
    ChosenAuthentication { authentication: Authentication::Secret(secret.sha256(), method), secret: Some(secret) }
}
