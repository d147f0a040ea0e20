//! The issuers whose assertions are trusted, and their keys.

use std::sync::Arc;

use futures_util::future::join_all;

use super::id_jag::{self, Assertion, AssertionError, Expected};
use crate::clock::Clock;
use crate::config::{AssertionIssuer, Config};
use crate::keys::{PublicKeys, RemoteKeys, Unfound, UnverifiedJwt};
use crate::outbound::Fetcher;
use crate::telemetry::metrics;

/// All of them; none where the grant is off. Cheap to clone.
#[derive(Clone)]
pub(crate) struct AssertionIssuers {
    issuers: Arc<[Trusted]>,
    clock: Clock,
}

struct Trusted {
    settings: AssertionIssuer,
    keys: RemoteKeys,
}

/// Why an assertion proves nothing.
#[derive(Debug)]
pub(crate) enum Unproven {
    /// It must not be believed. The words are ours.
    Untrue(&'static str),
    /// The keys of its issuer cannot be had now.
    NoKeys(String),
}

impl AssertionIssuers {
    /// Those of the configuration; sends nothing yet.
    #[must_use]
    pub(crate) fn new(config: &Config, clock: &Clock, metrics: &metrics::Providers) -> Self {
        let trusted = |settings: &AssertionIssuer| {
            let outbound = &config.outbound;
            let fetcher = Fetcher::through(outbound.ca_file.iter().chain(&settings.ca_file), &outbound.proxy);
            let keys = RemoteKeys::new(fetcher, clock.clone(), metrics.of(&settings.id));
            Trusted { settings: settings.clone(), keys }
        };
        Self { issuers: config.assertion_issuers.iter().map(trusted).collect(), clock: clock.clone() }
    }

    /// Whether there is none.
    #[must_use]
    pub(crate) fn is_empty(&self) -> bool {
        self.issuers.is_empty()
    }

    /// Reads the keys of each issuer, for a check of the configuration: why they cannot be had, in the order of the configuration.
    pub(crate) async fn try_out(&self) -> Vec<Option<String>> {
        let tried = self.issuers.iter().map(async |Trusted { settings, keys }| {
            keys.get(settings.jwks_uri.as_str()).await.err().map(|failed| failed.to_string())
        });
        join_all(tried).await
    }

    /// Verifies an assertion, and answers whose it is. `audience` is our own issuer.
    ///
    /// # Errors
    /// See [`Unproven`].
    pub(crate) async fn verify(
        &self,
        assertion: &str,
        audience: &str,
    ) -> Result<(&AssertionIssuer, Assertion), Unproven> {
        // unverified: it only chooses whose keys must have signed it
        let unverified = UnverifiedJwt::read(assertion).ok_or(Unproven::Untrue("it is no signed JWT"))?;
        let issuer = unverified.claims.text("iss").ok().flatten();
        let trusted = self.issuers.iter().find(|trusted| issuer == Some(&trusted.settings.issuer));
        let trusted = trusted.ok_or(Unproven::Untrue("its issuer is not trusted here"))?;
        let expected = Expected { issuer: &trusted.settings.issuer, audience, now: self.clock.now() };
        Ok((&trusted.settings, trusted.verify(assertion, &expected).await?))
    }
}

impl Trusted {
    /// A key that is not known leads to one more reading of the keys.
    async fn verify(&self, assertion: &str, expected: &Expected<'_>) -> Result<Assertion, Unproven> {
        let no_keys =
            |cause: &dyn std::fmt::Display| Unproven::NoKeys(format!("assertion issuer {}: {cause}", self.settings.id));
        let url = self.settings.jwks_uri.as_str();
        let verify = |keys: &PublicKeys| id_jag::verify(assertion, keys, expected);
        let read = self.keys.get(url).await.map_err(|cause| no_keys(&cause))?;
        let mut verified = verify(&read.keys);
        if verified == Err(AssertionError::UnknownKey) {
            match self.keys.refetch(url).await {
                Unfound::Reread(read) => verified = verify(&read.keys),
                Unfound::TooSoon(read) => match verify(&read.keys) {
                    Err(AssertionError::UnknownKey) => {
                        return Err(no_keys(&"an assertion names a key that it did not publish a moment ago"));
                    }
                    newer => verified = newer,
                },
                Unfound::Failed(cause) => return Err(no_keys(&cause)),
            }
        }
        verified.map_err(|error| match error {
            AssertionError::UnknownKey => Unproven::Untrue("no key of its issuer signed it"),
            AssertionError::Untrue(why) => Unproven::Untrue(why),
        })
    }
}
