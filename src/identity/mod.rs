//! The second door: the identity providers that sign people in.
//!
//! | file | what |
//! |---|---|
//! | `oidc` | one OpenID Connect provider, from the authorization URL to the renewal |
//! | `exchange` | what goes to a provider and what comes back |
//! | `metadata` | what a provider says of itself, checked |
//! | `discovery` | the metadata, fetched and kept fresh |
//! | `token_endpoint` | asking its token endpoint, and what a refusal means for a sign-in and for a grant |
//! | `id_token` | the rules of an ID token, and the user whom it names |
//! | `id_tokens` | the same with keys that are fetched when they are needed |
//! | `excerpt` | what others said, as it may stand in our log |
//! | `health` | how it fared, for `/ready` |
//! | `keycloak` | where Keycloak departs from the standard |
//! | `local` | people whom we know by ourselves |

mod discovery;
mod excerpt;
mod exchange;
mod health;
mod id_token;
mod id_tokens;
mod keycloak;
mod local;
mod metadata;
mod oidc;
mod token_endpoint;

pub(crate) use excerpt::excerpt;
pub use exchange::{Begin, Exchange, ExchangeError, ProviderToken, RenewError, Renewed, SignedIn};
pub use local::{Local, PasswordCheck, hash_password, random_password};

use std::sync::Arc;

use futures_util::future::join_all;

use crate::clock::Clock;
use crate::config::{Config, IdentityKind};
use crate::model::ids::IdentityId;
use crate::oauth::scope::ScopeSet;
use crate::outbound::Diagnosis;
use crate::secret::SecretText;

/// All providers. Cheap to clone.
#[derive(Clone)]
pub struct Identities(Arc<Vec<Provider>>);

/// One provider.
pub struct Provider {
    id: IdentityId,
    name: String,
    kind: Kind,
}

enum Kind {
    Oidc(Box<oidc::Oidc>),
    Local(Box<Local>),
}

impl Identities {
    /// Builds all providers of the configuration; sends nothing yet.
    #[must_use]
    pub fn new(config: &Config, clock: &Clock) -> Self {
        let providers = config.identities.iter().map(|identity| {
            let kind = match &identity.kind {
                IdentityKind::Oidc(settings) => {
                    Kind::Oidc(Box::new(oidc::Oidc::new(&identity.id, settings, &config.outbound, clock)))
                }
                IdentityKind::Local(users) => Kind::Local(Box::new(Local::new(users, clock))),
            };
            Provider { id: IdentityId::from(identity.id.as_str()), name: identity.name.clone(), kind }
        });
        Self(Arc::new(providers.collect()))
    }

    /// Finds a provider.
    #[must_use]
    pub fn get(&self, id: &str) -> Option<&Provider> {
        self.0.iter().find(|provider| provider.id.as_str() == id)
    }

    /// All, in the order of the configuration.
    pub fn iter(&self) -> impl Iterator<Item = &Provider> {
        self.0.iter()
    }

    /// Keeps the providers' metadata and keys fresh, for ever: every 60 s, every 5 s with jitter while it fails.
    pub async fn run(self) {
        let remote = self.0.iter().filter_map(|provider| match &provider.kind {
            Kind::Oidc(oidc) => Some(oidc.run()),
            Kind::Local(_) => None,
        });
        join_all(remote).await;
        // With local users alone there is nothing to keep fresh, and still no end: a background task that ends is a fault.
        std::future::pending::<()>().await;
    }
}

impl Provider {
    /// Its id in the configuration.
    #[must_use]
    pub const fn id(&self) -> &IdentityId {
        &self.id
    }

    /// What people call it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its issuer, byte for byte; `local` for users of our own, which no provider can be called.
    #[must_use]
    pub fn issuer(&self) -> &str {
        match &self.kind {
            Kind::Oidc(oidc) => &oidc.settings().issuer,
            Kind::Local(_) => "local",
        }
    }

    /// Who we are there; empty for users of our own.
    #[must_use]
    pub fn client_id(&self) -> &str {
        match &self.kind {
            Kind::Oidc(oidc) => &oidc.settings().client_id,
            Kind::Local(_) => "",
        }
    }

    /// The issuer whose place it takes under its id, if the operator says that it does.
    #[must_use]
    pub fn replaces_issuer(&self) -> Option<&str> {
        match &self.kind {
            Kind::Oidc(oidc) => oidc.settings().replaces_issuer.as_deref(),
            Kind::Local(_) => None,
        }
    }

    /// The users whom we know by ourselves, if that is what this provider is.
    #[must_use]
    pub const fn local(&self) -> Option<&Local> {
        match &self.kind {
            Kind::Local(local) => Some(local),
            Kind::Oidc(_) => None,
        }
    }

    /// What is wrong with it now, in words for `/ready`; `None` when its last real call succeeded.
    #[must_use]
    pub fn trouble(&self) -> Option<String> {
        match &self.kind {
            Kind::Oidc(oidc) => oidc.trouble(),
            Kind::Local(_) => None,
        }
    }

    /// Reads the provider's metadata when they were never read, so that what follows has an answer: to be called before
    /// [`Self::asks_offline`], [`Self::authorization_url`] and [`Self::check_iss`]. From then on it costs nothing.
    ///
    /// # Errors
    /// When they cannot be read: a 503 page.
    pub async fn prepare(&self) -> Result<(), ExchangeError> {
        match &self.kind {
            Kind::Oidc(oidc) => oidc.prepare().await.map_err(|failure| unavailable(&failure)),
            Kind::Local(_) => Ok(()),
        }
    }

    /// Whether people can be sent to it now; [`Self::prepare`] included.
    ///
    /// # Errors
    /// When its metadata were never read, or could not be read the last time: a 503 page.
    pub async fn is_reachable(&self) -> Result<(), ExchangeError> {
        match &self.kind {
            Kind::Oidc(oidc) => oidc.is_reachable().await.map_err(|failure| unavailable(&failure)),
            Kind::Local(_) => Ok(()),
        }
    }

    /// Whether the first round asks for `offline_access`: the standing wants it, and discovery or the configured scopes
    /// list it.
    #[must_use]
    pub fn asks_offline(&self) -> bool {
        match &self.kind {
            Kind::Oidc(oidc) => oidc.asks_offline(),
            Kind::Local(_) => false,
        }
    }

    /// What is asked of it, for the consent page.
    #[must_use]
    pub fn requested_scopes(&self, offline: bool) -> ScopeSet {
        match &self.kind {
            Kind::Oidc(oidc) => oidc.requested_scopes(offline),
            Kind::Local(_) => ScopeSet::empty(),
        }
    }

    /// Where the browser goes. For a local provider the caller uses its own sign-in page instead.
    ///
    /// # Errors
    /// When the provider's metadata were never read: a 503 page.
    pub fn authorization_url(&self, begin: &Begin<'_>) -> Result<String, ExchangeError> {
        match &self.kind {
            Kind::Oidc(oidc) => oidc.authorization_url(begin),
            Kind::Local(_) => Err(self.is_local()),
        }
    }

    /// Checks `iss` of the provider's answer (RFC 9207 2.4): demanded where announced, compared wherever sent. While it is
    /// not known whether the provider announces it, an answer without is refused.
    ///
    /// # Errors
    /// Words for the operator.
    pub fn check_iss(&self, iss: Option<&str>) -> Result<(), String> {
        match &self.kind {
            Kind::Oidc(oidc) => oidc.check_iss(iss),
            Kind::Local(_) => Err(self.is_local().to_string()),
        }
    }

    /// Exchanges the provider's code and verifies the ID token.
    ///
    /// # Errors
    /// See [`ExchangeError`].
    pub async fn exchange(&self, exchange: &Exchange<'_>) -> Result<SignedIn, ExchangeError> {
        match &self.kind {
            Kind::Oidc(oidc) => oidc.exchange(exchange).await,
            Kind::Local(_) => Err(self.is_local()),
        }
    }

    /// Asks whether the user is still good, at every refresh. `key` is the subject's key; `token` what we hold, if any.
    /// At most 8 seconds.
    ///
    /// # Errors
    /// See [`RenewError`].
    pub async fn renew(&self, key: &str, token: Option<&SecretText>) -> Result<Renewed, RenewError> {
        match &self.kind {
            Kind::Oidc(oidc) => oidc.renew(key, token).await,
            Kind::Local(local) => local.renew(key),
        }
    }

    /// Asks the provider what a sign-in asks: its metadata, its keys, and whether it knows us. No one is signed in; the
    /// provider may log a wrong code.
    ///
    /// # Errors
    /// What is wrong, for the operator.
    pub async fn try_out(&self, redirect_uri: &str) -> Result<(), Diagnosis> {
        match &self.kind {
            Kind::Oidc(oidc) => oidc.try_out(redirect_uri).await,
            Kind::Local(_) => Ok(()),
        }
    }

    /// Revokes a token at the provider (RFC 7009); `false` when the provider has no endpoint for that.
    ///
    /// # Errors
    /// What is wrong, for the operator.
    pub async fn revoke(&self, token: &SecretText) -> Result<bool, Diagnosis> {
        match &self.kind {
            Kind::Oidc(oidc) => oidc.revoke(token).await,
            Kind::Local(_) => Ok(false),
        }
    }

    fn is_local(&self) -> ExchangeError {
        ExchangeError::Refused(format!("identity {} has a sign-in page of ours, not of a provider", self.id))
    }
}

fn unavailable(failure: &Diagnosis) -> ExchangeError {
    ExchangeError::Unavailable(failure.to_string())
}
