//! The authorization servers of others whose access tokens are accepted: their keys, and what they say of a token that is
//! no JWT.
//!
//! Defends against: tokens of one issuer under the keys of another (each issuer has a key set of its own), keys that were
//! withdrawn (what hangs on a token of one is told), outages (stale keys are served, and what cannot be known is said to be
//! unknown), and floods of unknown `kid`s (see `refetch`).

mod introspection;
mod key_watches;
mod metadata;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::remote::{ReadKeys, RemoteKeys, Unfound};
use super::signed_jwt::{SignedJwt, SignedJwtError, UnverifiedJwt, verify_signed_jwt};
use super::signing_key::KeyWatch;
use crate::clock::{Clock, Timestamp};
use crate::config::{Outbound, TokenIssuer};
use crate::outbound::{Diagnosis, Fetcher};
use crate::secret::random;
use crate::telemetry::metrics::{ProviderCall, ProviderCalls};
use introspection::{Introspection, PROBE, Unanswered};
use key_watches::KeyWatches;
use metadata::Metadata;

pub(crate) use introspection::{Askers, Introspected};

/// How often its keys are looked at while all is well; they are fetched again when they are old.
const EVERY: Duration = Duration::from_mins(1);
/// How often while they cannot be had; give or take a fifth, so that replicas do not come together.
const EVERY_WHILE_FAILING: Duration = Duration::from_secs(5);

/// An authorization server whose access tokens are accepted.
pub(crate) struct IssuerClient {
    settings: Arc<TokenIssuer>,
    calls: ProviderCalls,
    metadata: Metadata,
    keys: RemoteKeys,
    watches: KeyWatches,
    introspection: Introspection,
    /// What was wrong with the last call.
    trouble: Mutex<Option<String>>,
}

/// A token whose signature holds.
pub(crate) struct VerifiedJwt {
    pub(crate) token: SignedJwt,
    /// Whether its key was withdrawn since.
    pub(crate) key: KeyWatch,
}

/// Why a token is not verified.
#[derive(Debug)]
pub(crate) enum Unverified {
    /// It proves nothing. The words are for the log.
    Invalid(&'static str),
    /// That cannot be known now.
    Unavailable(String),
}

impl IssuerClient {
    /// Sends nothing yet.
    #[must_use]
    pub(crate) fn new(settings: Arc<TokenIssuer>, outbound: &Outbound, clock: &Clock, calls: ProviderCalls) -> Self {
        let fetcher = Fetcher::through(outbound.ca_file.iter().chain(&settings.ca_file), &outbound.proxy);
        Self {
            metadata: Metadata::new(Arc::clone(&settings), fetcher.clone(), clock.clone(), calls.clone()),
            keys: RemoteKeys::new(fetcher.clone(), clock.clone(), calls.clone()),
            watches: KeyWatches::default(),
            trouble: Mutex::default(),
            introspection: Introspection::new(Arc::clone(&settings), fetcher),
            settings,
            calls,
        }
    }

    /// What is configured for it.
    pub(crate) fn settings(&self) -> &TokenIssuer {
        &self.settings
    }

    /// What was wrong with the last call, if something was.
    pub(crate) fn trouble(&self) -> Option<String> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Verifies the signature of a token. A key that is not known leads to one more reading of the keys.
    ///
    /// # Errors
    /// When no key of the issuer signed it, or when that cannot be known now.
    pub(crate) async fn verify(&self, token: &str, unverified: &UnverifiedJwt) -> Result<VerifiedJwt, Unverified> {
        let url = self.jwks_uri().await.map_err(|cause| self.unavailable(&cause))?;
        let read = self.keys.get(&url).await.map_err(|cause| self.unavailable(&cause.into()))?;
        match self.check(token, &read) {
            Err(SignedJwtError::UnknownKey) => self.verify_again(&url, token, unverified).await,
            verified => verified.map_err(|error| invalid(&error)),
        }
    }

    async fn verify_again(
        &self,
        url: &str,
        token: &str,
        unverified: &UnverifiedJwt,
    ) -> Result<VerifiedJwt, Unverified> {
        match self.keys.refetch(url).await {
            Unfound::Reread(read) => self.check(token, &read).map_err(|error| invalid(&error)),
            Unfound::TooSoon(read) => match self.check(token, &read) {
                Err(SignedJwtError::UnknownKey) if is_newer(unverified, read.read_at) => {
                    let words = "a token names a key that its issuer did not publish a moment ago";
                    Err(Unverified::Unavailable(format!("issuer {}: {words}", self.settings.id)))
                }
                verified => verified.map_err(|error| invalid(&error)),
            },
            Unfound::Failed(cause) => Err(self.unavailable(&cause.into())),
        }
    }

    fn check(&self, token: &str, read: &ReadKeys) -> Result<VerifiedJwt, SignedJwtError> {
        self.note_success(read);
        let token = verify_signed_jwt(token, &read.keys)?;
        Ok(VerifiedJwt { key: self.watches.watch(&token.key), token })
    }

    /// Where its keys are.
    async fn jwks_uri(&self) -> Result<String, Diagnosis> {
        match &self.settings.jwks_uri {
            Some(url) => Ok(url.as_str().to_owned()),
            None => self.metadata.get().await?.jwks_uri(),
        }
    }

    /// Asks the issuer what our check of the configuration can ask without a token.
    ///
    /// # Errors
    /// What is wrong.
    pub(crate) async fn try_out(&self) -> Result<(), Diagnosis> {
        if self.settings.introspects() {
            return self.ask(PROBE, Askers::Unknown).await.map(drop).map_err(Unanswered::into_diagnosis);
        }
        let url = self.jwks_uri().await?;
        let read = self.keys.get(&url).await.map_err(Diagnosis::from)?;
        self.note_success(&read);
        Ok(())
    }

    /// Keeps metadata and keys at hand, so that an outage finds them here, and a withdrawn key is noticed without a call.
    pub(crate) async fn keep(&self) {
        let mut failed = false;
        loop {
            let kept = if self.settings.introspects() {
                self.introspection.endpoint(&self.metadata).await.map(drop)
            } else {
                self.try_out().await
            };
            if let Err(cause) = &kept {
                let words = self.note_failure(cause);
                if !failed {
                    tracing::warn!("{words}");
                }
            } else if failed {
                self.clear_trouble();
                tracing::info!(issuer = self.settings.id, "the issuer is back");
            }
            failed = kept.is_err();
            tokio::time::sleep(pause(failed)).await;
        }
    }

    /// Asks about a token (RFC 7662).
    ///
    /// # Errors
    /// When there is no usable answer: nothing is known then. The words are for the log.
    pub(crate) async fn introspect(&self, token: &str, askers: Askers) -> Result<Introspected, String> {
        match self.ask(token, askers).await {
            Ok(introspected) => {
                self.clear_trouble();
                Ok(introspected)
            }
            Err(Unanswered::Refused(cause)) => Err(self.words(&cause)),
            Err(Unanswered::Failed(cause)) => Err(self.note_failure(&cause)),
        }
    }

    async fn ask(&self, token: &str, askers: Askers) -> Result<Introspected, Unanswered> {
        self.calls.timed(ProviderCall::Introspection, self.introspection.ask(&self.metadata, token, askers)).await
    }

    fn note_success(&self, read: &ReadKeys) {
        self.watches.reread(read);
        self.clear_trouble();
    }

    fn clear_trouble(&self) {
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn note_failure(&self, cause: &Diagnosis) -> String {
        let words = self.words(cause);
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = Some(words.clone());
        words
    }

    fn words(&self, cause: &Diagnosis) -> String {
        format!("issuer {}: {cause}", self.settings.id)
    }

    fn unavailable(&self, cause: &Diagnosis) -> Unverified {
        Unverified::Unavailable(self.note_failure(cause))
    }
}

fn invalid(error: &SignedJwtError) -> Unverified {
    Unverified::Invalid(match error {
        SignedJwtError::UnknownKey => "no key of its issuer signed it",
        SignedJwtError::Invalid(why) => why,
    })
}

/// Whether a token says that it was made after the keys were read: a newer key may have signed it.
fn is_newer(unverified: &UnverifiedJwt, read_at: Timestamp) -> bool {
    matches!(unverified.claims.time("iat"), Ok(Some(issued_at)) if issued_at > read_at)
}

fn pause(failing: bool) -> Duration {
    let [random] = random();
    if failing { EVERY_WHILE_FAILING.mul_f64(0.8 + 0.4 * f64::from(random) / 255.0) } else { EVERY }
}
