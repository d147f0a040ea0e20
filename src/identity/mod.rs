//! The identity providers that sign users in.
//!
//! Defends against: another provider that answers in place of the chosen one (mix-up), a token for another client (confused
//! deputy), a token of another sign-in (replay), forged tokens (algorithm confusion), and brute force on local passwords.
//!
//! | file | what |
//! |---|---|
//! | `oidc` | one OpenID Connect provider, from the authorization URL to the renewal |
//! | `exchange` | what goes to a provider and what comes back |
//! | `examination` | what a provider answers to the questions of `portcullis doctor` |
//! | `metadata` | what a provider says of itself, checked |
//! | `discovery` | the metadata, fetched and kept fresh |
//! | `token_endpoint` | asking its token endpoint, and what a refusal means for a sign-in and for a grant |
//! | `id_token` | the rules of an ID token, and the user whom it names |
//! | `id_tokens` | the same with keys that are fetched when they are needed |
//! | `logout_token` | the rules of a logout token, and whom it signs out |
//! | `user_claims`, `userinfo` | what a document says of a user, and the endpoint that says the rest |
//! | `id_jag` | the rules of an identity assertion, and the user whom it names |
//! | `assertion_issuers` | who may make one, and their keys |
//! | `delegated` | tokens of a provider's for a server behind us |
//! | `health` | its state, for `/ready` |
//! | `client_authentication` | how we prove who we are there |
//! | `flavour` | what differs between products, and which file knows it |
//! | `generic`, `keycloak`, `entra` | those files: the standard, and where a product departs from it |
//! | `local` | users of our own |

mod assertion_issuers;
mod client_authentication;
mod delegated;
mod discovery;
mod entra;
mod examination;
mod exchange;
mod flavour;
mod generic;
mod health;
mod id_jag;
mod id_token;
mod id_tokens;
mod keycloak;
mod local;
mod logout_token;
mod metadata;
mod oidc;
mod token_endpoint;
mod user_claims;
mod userinfo;

pub(crate) use assertion_issuers::{AssertionIssuers, Unproven};
pub use delegated::DelegatedToken;
pub(crate) use delegated::{DelegateError, NoSubjectToken, SubjectTokens};
pub(crate) use examination::{Beyond, EntraNumber, Examination, Head, NoKeys, TokenAnswer, Visit, VisitEnd};
pub use exchange::{
    Begin, Exchange, ExchangeError, Explanation, ProviderSession, ProviderToken, RedirectError, RedirectRefusal,
    RenewError, Renewed, SignedIn, Verdict,
};
pub use generic::Meaning;
pub(crate) use id_jag::Assertion;
#[cfg(any(test, fuzzing))]
pub(crate) use id_jag::{Expected, verify as verify_assertion};
pub(crate) use local::PasswordCheck;
pub use local::{Local, hash_password, random_password};
pub(crate) use logout_token::{LogoutToken, NotBelieved};
pub use oidc::Oidc;

use std::sync::Arc;

use futures_util::future::join_all;

use crate::clock::Clock;
use crate::config::{Admission, Config, IdentityKind, ProviderGrant};
use crate::model::ids::{ClientId, IdentityId};
use crate::model::user::User;
use crate::oauth::scope::ScopeSet;
use crate::outbound::Diagnosis;
use crate::secret::SecretText;
use crate::telemetry::metrics;

/// All providers. Cheap to clone.
#[derive(Clone)]
pub struct Identities(Arc<Vec<Provider>>);

/// One provider.
pub struct Provider {
    id: IdentityId,
    name: String,
    kind: Kind,
    admission: Admission,
}

/// How people sign in.
pub enum SignInMethod<'a> {
    /// The browser goes to the provider and comes back with its answer.
    Redirect(&'a Oidc),
    /// They type their password on a page of ours.
    Password(&'a Local),
}

enum Kind {
    Oidc(Box<Oidc>),
    Local(Box<Local>),
}

impl Identities {
    /// Builds all providers of the configuration; sends nothing yet.
    #[must_use]
    pub fn new(config: &Config, clock: &Clock, metrics: &metrics::Providers) -> Self {
        let providers = config.identities.iter().map(|identity| {
            let id = IdentityId::from(identity.id.as_str());
            let kind = match &identity.kind {
                IdentityKind::Oidc(settings) => {
                    let calls = metrics.of(&identity.id);
                    Kind::Oidc(Box::new(Oidc::new(&identity.id, settings, &config.outbound, clock, calls)))
                }
                IdentityKind::Local(users) => Kind::Local(Box::new(Local::new(&id, users))),
            };
            Provider { id, name: identity.name.clone(), kind, admission: identity.admission.clone() }
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

    /// Refreshes the providers' metadata and keys, for ever: every 60 s, every 5 s with jitter while that fails.
    pub async fn run(self) {
        let remote = self.0.iter().filter_map(|provider| match &provider.kind {
            Kind::Oidc(oidc) => Some(oidc.run()),
            Kind::Local(_) => None,
        });
        join_all(remote).await;
        // local users need no refresh, but a background task that ends is a fault
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

    /// Which of its users may sign in, and whom the others may ask.
    #[must_use]
    pub const fn admission(&self) -> &Admission {
        &self.admission
    }

    /// Its issuer, byte for byte; `local` for users of our own, a name that no provider can have.
    #[must_use]
    pub fn issuer(&self) -> &str {
        match &self.kind {
            Kind::Oidc(oidc) => &oidc.settings().issuer,
            Kind::Local(_) => "local",
        }
    }

    /// Our client id there; empty for users of our own.
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

    /// How people sign in with it.
    #[must_use]
    pub fn sign_in_method(&self) -> SignInMethod<'_> {
        match &self.kind {
            Kind::Oidc(oidc) => SignInMethod::Redirect(oidc),
            Kind::Local(local) => SignInMethod::Password(local),
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

    /// Reads the provider's metadata if it was never read, so that what follows has an answer: to be called before
    /// [`Self::asks_offline`], [`Oidc::authorization_url`] and [`Oidc::check_iss`]. From then on it costs nothing.
    ///
    /// # Errors
    /// When it cannot be read: a 503 page.
    pub async fn prepare(&self) -> Result<(), ExchangeError> {
        match &self.kind {
            Kind::Oidc(oidc) => oidc.prepare().await.map_err(|failure| ExchangeError::unavailable(&failure)),
            Kind::Local(_) => Ok(()),
        }
    }

    /// Whether people can be sent to it now; [`Self::prepare`] included.
    ///
    /// # Errors
    /// When its metadata was never read, or could not be read the last time: a 503 page.
    pub async fn is_reachable(&self) -> Result<(), ExchangeError> {
        match &self.kind {
            Kind::Oidc(oidc) => oidc.is_reachable().await.map_err(|failure| ExchangeError::unavailable(&failure)),
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

    /// Asks whether the user is still good, at every refresh. `key` is the subject's key; `known` what we know of the user;
    /// `token` what we hold, if any. At most 8 seconds.
    ///
    /// # Errors
    /// See [`RenewError`].
    pub async fn renew(&self, key: &str, known: &User, token: Option<&SecretText>) -> Result<Renewed, RenewError> {
        match &self.kind {
            Kind::Oidc(oidc) => oidc.renew(key, known, token).await,
            Kind::Local(local) => local.renew(key),
        }
    }

    /// Exchanges the user's access token for one that is meant for a server behind us.
    ///
    /// # Errors
    /// See [`DelegateError`].
    pub(crate) async fn delegate(
        &self,
        subject: &DelegatedToken,
        by: &ProviderGrant,
    ) -> Result<DelegatedToken, DelegateError> {
        match &self.kind {
            Kind::Oidc(oidc) => oidc.delegate(subject, by).await,
            Kind::Local(_) => Err(DelegateError::Refused(format!("identity {} issues no tokens", self.id))),
        }
    }

    /// Keeps what the provider wants to be asked with when a user signs in again through a client: see
    /// [`RenewError::SignInAgain`].
    pub fn challenged(&self, client: &ClientId, claims: &str) {
        match &self.kind {
            Kind::Oidc(oidc) => oidc.challenged(client, claims),
            Kind::Local(_) => {}
        }
    }

    /// Tries what a sign-in needs: metadata, keys, and our credentials. No user is signed in; the provider may log a wrong
    /// code.
    ///
    /// # Errors
    /// What is wrong, for the operator.
    pub async fn try_out(&self, redirect_uri: &str) -> Result<(), Diagnosis> {
        match &self.kind {
            Kind::Oidc(oidc) => oidc.try_out(redirect_uri).await,
            Kind::Local(_) => Ok(()),
        }
    }

    /// Asks all that a sign-in needs, and draws no conclusion; `None` for users of our own. No user is signed in, and nothing changes.
    pub(crate) async fn examine(&self, redirect_uri: &str) -> Option<Examination> {
        match &self.kind {
            Kind::Oidc(oidc) => Some(oidc.examine(redirect_uri).await),
            Kind::Local(_) => None,
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
}
