//! Our authorization server: rules without HTTP.
//!
//! The way of a sign-in, a file each: `authorize` judges the request, `consent` asks the user, `approval` takes their answer
//! and sends them to the identity provider; `callback`, or `sign_in` for users whom we know ourselves, takes what comes back,
//! from the browser that `bound` has proven to be the same one; `code` makes the code, `authorization_response` carries it to
//! the client, `token/` redeems it. Until then every failure is a `fault`, told on a page.

mod approval;
mod authorization_response;
mod authorize;
mod bound;
mod callback;
mod client_auth;
mod clients;
mod code;
mod configured;
mod consent;
mod expiry;
mod fault;
mod grants;
mod metadata;
mod provider_tokens;
mod registration;
mod sign_in;
mod token;

use std::num::NonZeroU32;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use tokio_util::task::TaskTracker;

use crate::clock::Clock;
use crate::config::{Config, Upstream};
use crate::identity::Identities;
use crate::keys::{KeyRing, Sealer};
use crate::limits::Limiter;
use crate::oauth::resource::ResourceUri;
use crate::revocation::Revocation;
use crate::storage::Store;

pub(crate) use approval::Approval;
pub(crate) use authorization_response::ClientRedirect;
pub use authorization_response::Outcome;
pub(crate) use authorize::{AuthorizeRejection, Validated};
pub(crate) use bound::{Answered, Left};
pub(crate) use callback::ProviderAnswer;
pub use configured::Unfit;
pub(crate) use consent::{AuthorizationCookie, ConsentView, ProviderChoice};
pub(crate) use fault::{Fault, Trouble};
pub(crate) use provider_tokens::Revocations;
pub(crate) use registration::{RegistrationRefusal, Via};
pub use sign_in::SignInProblem;
pub(crate) use sign_in::{SignInAttempt, SignInStep, SignInView};
pub(crate) use token::{TokenRefusal, TokenRequest};

/// What the issuer is made of.
#[derive(Clone)]
pub(crate) struct Parts {
    /// The whole configuration.
    pub config: Arc<Config>,
    /// What is remembered.
    pub store: Store,
    /// Which grants have ended.
    pub revocation: Revocation,
    /// Our signing keys.
    pub ring: KeyRing,
    /// What seals at rest.
    pub sealer: Sealer,
    /// Who signs people in.
    pub identities: Identities,
    /// Time.
    pub clock: Clock,
}

/// How many sign-ins one address may begin in an hour: each costs a row, and a script can press the button, too.
const APPROVALS_PER_HOUR: NonZeroU32 = NonZeroU32::new(600).unwrap();
/// How many registrations of known clients one address has written down in an hour; what comes beyond them gets the same
/// answer, and only its use is not noted.
const AGAIN_PER_HOUR: NonZeroU32 = NonZeroU32::new(600).unwrap();
/// How often the provider is asked about one grant in an hour, at the least: a client asks once per access token, but one in
/// a loop would never stop, and each time leaves a token that must be recognised for as long as the grant lives.
const REFRESHES_PER_HOUR: NonZeroU32 = NonZeroU32::new(60).unwrap();
/// How many wrong secrets of one client one address may send in an hour: enough for a client that still has its old one.
const WRONG_SECRETS_PER_HOUR: NonZeroU32 = NonZeroU32::new(30).unwrap();

/// The authorization server. Cheap to clone.
#[derive(Clone)]
pub struct Issuer(Arc<Inner>);

struct Inner {
    parts: Parts,
    registrations: Limiter,
    again: Limiter,
    approvals: Limiter,
    refreshes: Limiter,
    wrong_secrets: Limiter,
    refreshing: token::SingleFlight,
    metadata: Bytes,
    tasks: TaskTracker,
    departed: OnceLock<configured::Departed>,
}

/// The work of a request panicked.
#[derive(Debug, thiserror::Error)]
#[error("the work of this request panicked: another line of the log says where")]
pub(crate) struct Panicked;

impl Issuer {
    /// Builds the issuer.
    #[must_use]
    pub(crate) fn new(parts: Parts) -> Self {
        let per_hour = NonZeroU32::new(parts.config.registration.per_address_per_hour);
        let registrations = Limiter::per_hour(per_hour.unwrap_or(NonZeroU32::MIN), &parts.clock);
        let refreshes = Limiter::per_hour(refreshes_per_hour(parts.config.lifetimes.access_token), &parts.clock);
        let approvals = Limiter::per_hour(APPROVALS_PER_HOUR, &parts.clock);
        let metadata = metadata::document(&parts.config);
        Self(Arc::new(Inner {
            registrations,
            again: Limiter::per_hour(AGAIN_PER_HOUR, &parts.clock),
            wrong_secrets: Limiter::per_hour(WRONG_SECRETS_PER_HOUR, &parts.clock),
            parts,
            approvals,
            refreshes,
            refreshing: token::SingleFlight::default(),
            metadata,
            tasks: TaskTracker::new(),
            departed: OnceLock::new(),
        }))
    }

    /// The issuer string, byte for byte.
    #[must_use]
    pub(crate) fn issuer(&self) -> &str {
        self.config().public_url.as_str()
    }

    /// Authorization server metadata (RFC 8414), ready to send.
    #[must_use]
    pub(crate) fn metadata(&self) -> Bytes {
        self.0.metadata.clone()
    }

    /// Our public keys (RFC 7517), ready to send, and for how many seconds they may be cached.
    #[must_use]
    pub(crate) fn jwks(&self) -> (Bytes, u64) {
        (self.0.parts.ring.jwks(), self.config().lifetimes.jwks_max_age.as_secs())
    }

    /// Runs what claims something single-use or asks the provider as a task of its own: a client that goes away does not
    /// stop it half-way, and drain waits for it.
    ///
    /// # Errors
    /// When the task panicked.
    pub(crate) async fn complete<F>(&self, work: F) -> Result<F::Output, Panicked>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        // what a panic says may hold a secret
        self.0.tasks.spawn(work).await.or(Err(Panicked))
    }

    /// Waits until every task that runs by itself has ended: calls of [`Self::complete`], revocations at a provider.
    pub async fn settle(&self) {
        self.0.tasks.close();
        self.0.tasks.wait().await;
        self.0.tasks.reopen();
    }

    fn config(&self) -> &Config {
        &self.0.parts.config
    }

    fn store(&self) -> &Store {
        &self.0.parts.store
    }

    /// The current second.
    #[must_use]
    pub(crate) fn now(&self) -> crate::clock::Timestamp {
        self.0.parts.clock.now()
    }

    /// The upstream that a resource names, in any spelling.
    fn upstream(&self, resource: &ResourceUri) -> Option<&Upstream> {
        self.config().upstreams.iter().find(|upstream| upstream.is_named_by(resource))
    }

    /// The upstream of an audience that we stored.
    fn upstream_of(&self, audience: &str) -> Option<&Upstream> {
        self.config().upstreams.iter().find(|upstream| upstream.audience() == audience)
    }
}

/// Short access tokens are refreshed more often: four times as often as needed is still no loop.
fn refreshes_per_hour(access_token: Duration) -> NonZeroU32 {
    let needed = 3600 / access_token.as_secs().max(1);
    let allowed = u32::try_from(needed.saturating_mul(4)).unwrap_or(u32::MAX);
    NonZeroU32::new(allowed).map_or(REFRESHES_PER_HOUR, |allowed| allowed.max(REFRESHES_PER_HOUR))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::refreshes_per_hour;

    #[test]
    fn a_client_may_refresh_four_times_as_often_as_its_access_tokens_end() {
        for (access_token, allowed) in [(3600, 60), (240, 60), (60, 240), (1, 14400), (2_592_000, 60)] {
            assert_eq!(refreshes_per_hour(Duration::from_secs(access_token)).get(), allowed, "{access_token} s");
        }
    }
}
