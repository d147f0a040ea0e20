//! Authenticates callers. A token or API key is verified at its first use in this process; later uses are a lookup in memory.
//!
//! Defends against: use of a token after its grant ended or its signing key was withdrawn (a verified token is remembered, but
//! its grant and its key are watched and its times are checked at every use), exhaustion of memory by many tokens, and a
//! stampede of first uses (single flight).

use std::sync::Arc;
use std::time::Duration;

use moka::future::Cache;
use prometheus_client::metrics::counter::Counter;

use super::caller::VerifiedCaller;
use super::credential::Credential;
use super::incidents::Incidents;
use super::refusal::{ENDED, Refusal};
use super::verify::{ApiKeyVerifier, OwnTokens, Unverified, Verified};
use crate::secret::Sha256;
use crate::telemetry::metrics::{self, TokenCheck};
use crate::wire::Arrival;

/// The most memory that remembered tokens take, in bytes: 100,000 tokens of the usual size.
const REMEMBERED: u64 = 64 * 1024 * 1024;
/// What one takes besides its texts: the entry, its key and the cache's own data.
const ENTRY: usize = 512;

/// Authenticates requests.
pub(super) struct Authenticator {
    verifier: OwnTokens,
    api_keys: ApiKeyVerifier,
    remembered: Remembered,
    max_staleness: Option<Duration>,
    checks: Checks,
    incidents: Arc<Incidents>,
}

/// Counters of how tokens were checked, looked up once.
struct Checks {
    cached: Counter,
    verified: Counter,
    refused: Counter,
    unknown: Counter,
}

impl Checks {
    fn new(calls: &metrics::Calls) -> Self {
        let of = |result| calls.token_checks(result);
        Self {
            cached: of(TokenCheck::Cached),
            verified: of(TokenCheck::Verified),
            refused: of(TokenCheck::Refused),
            unknown: of(TokenCheck::Unknown),
        }
    }

    /// A request without a token, or with two, is not counted.
    fn count_refusal(&self, refusal: &Refusal) {
        match refusal {
            Refusal::InvalidToken(_) => self.refused.inc(),
            Refusal::Unavailable(_) => self.unknown.inc(),
            _ => return,
        };
    }
}

/// The tokens that were verified, by their hashes.
struct Remembered(Cache<Sha256, Verified>);

impl Remembered {
    /// A token is forgotten after the time that a new one lives. That only bounds memory: whether the token is still good
    /// is checked at each use, by our own clock.
    fn new(lifetime: Duration) -> Self {
        let cache = Cache::builder().max_capacity(REMEMBERED).time_to_live(lifetime);
        Self(cache.weigher(|_, verified: &Verified| u32::try_from(size(verified)).unwrap_or(u32::MAX)).build())
    }
}

/// About how much memory a remembered token takes, in bytes.
fn size(verified: &Verified) -> usize {
    match verified {
        Verified::Good(caller) => ENTRY + caller.size(),
        Verified::Ended(ended) => {
            ENTRY + ended.grant.as_str().len() + ended.subject.len() + ended.client.as_str().len()
        }
    }
}

impl Authenticator {
    /// `max_staleness`: when the feed of ended grants was not read for this long, every token is refused.
    pub(super) fn new(
        verifier: OwnTokens,
        api_keys: ApiKeyVerifier,
        max_staleness: Option<Duration>,
        calls: &metrics::Calls,
        incidents: Arc<Incidents>,
    ) -> Self {
        let remembered = Remembered::new(verifier.lifetime);
        Self { verifier, api_keys, remembered, max_staleness, checks: Checks::new(calls), incidents }
    }

    /// How many tokens are remembered.
    pub(super) async fn remembered(&self) -> u64 {
        self.remembered.0.run_pending_tasks().await;
        self.remembered.0.entry_count()
    }

    /// Authenticates a request.
    ///
    /// # Errors
    /// 401 when there is no valid token, 503 when that cannot be determined now, 400 when the request is ambiguous.
    pub(super) async fn authenticate(
        &self,
        credential: Result<Credential<'_>, Refusal>,
        arrival: &Arrival,
    ) -> Result<Arc<VerifiedCaller>, Refusal> {
        let checked = match credential {
            Ok(credential) => self.check(&credential, arrival).await,
            Err(refusal) => Err(refusal),
        };
        match &checked {
            Ok((_, counter)) => drop(counter.inc()),
            Err(refusal) => self.checks.count_refusal(refusal),
        }
        checked.map(|(caller, _)| caller)
    }

    /// The caller, and the counter that the check counts in.
    async fn check(
        &self,
        credential: &Credential<'_>,
        arrival: &Arrival,
    ) -> Result<(Arc<VerifiedCaller>, &Counter), Refusal> {
        if let Some(max) = self.max_staleness
            && self.verifier.revocation.staleness() > max
        {
            return Err(Refusal::Unavailable("the feed of ended grants is older than revocation_staleness".to_owned()));
        }
        let key = credential.sha256();
        let (verified, counter) = if let Some(verified) = self.remembered.0.get(&key).await {
            (verified, &self.checks.cached)
        } else {
            // boxed: the future of a verification is large, and every call's future would have to hold it
            let verified = Box::pin(self.remembered.0.try_get_with(key, self.verify(credential, arrival)));
            let verified = verified.await.map_err(|why| match &*why {
                Unverified::Invalid(why) => Refusal::InvalidToken(why),
                Unverified::Unavailable(why) => Refusal::Unavailable(why.clone()),
                Unverified::Limited(retry_after) => Refusal::TooManyKeys(*retry_after),
            })?;
            (verified, &self.checks.verified)
        };
        let caller = match verified {
            Verified::Good(caller) => caller,
            Verified::Ended(ended) => {
                self.incidents.ended_grant_used(ended.acting(), arrival);
                return Err(Refusal::InvalidToken(ENDED));
            }
        };
        if !caller.grant_stands() {
            self.incidents.ended_grant_used(caller.acting(), arrival);
        }
        caller.check_now(self.verifier.clock.now())?;
        Ok((caller, counter))
    }

    async fn verify(&self, credential: &Credential<'_>, arrival: &Arrival) -> Result<Verified, Unverified> {
        match credential {
            Credential::AccessToken(token) => self.verifier.verify(token.text).await,
            Credential::ApiKey(key) => self.api_keys.verify(key, arrival.address).await,
        }
    }

    /// How long the caller's right to call lasts if nothing ends it earlier.
    pub(super) fn time_left(&self, caller: &VerifiedCaller) -> Duration {
        caller.expires_at.since(self.verifier.clock.now())
    }

    /// The hash of a credential, when it is remembered.
    pub(super) fn known(&self, credential: &Credential<'_>) -> Option<Sha256> {
        let key = credential.sha256();
        self.remembered.0.contains_key(&key).then_some(key)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::{ENTRY, REMEMBERED, Remembered, Verified, size};
    use crate::gateway::caller::VerifiedCaller;
    use crate::secret::Sha256;

    #[tokio::test]
    async fn remembered_tokens_take_a_bounded_memory_and_are_forgotten_in_time() {
        let lifetime = Duration::from_millis(50);
        let (remembered, key) = (Remembered::new(lifetime), |number: u64| Sha256::of(&number.to_be_bytes()));
        let large = 1024 * 1024;
        for number in 0..200 {
            let mut token = VerifiedCaller::of_grant("g");
            token.audience = "x".repeat(large);
            assert!(size(&Verified::Good(Arc::new(VerifiedCaller::of_grant("g")))) >= ENTRY);
            remembered.0.insert(key(number), Verified::Good(Arc::new(token))).await;
        }
        remembered.0.run_pending_tasks().await;
        assert!(remembered.0.weighted_size() <= REMEMBERED, "{}", remembered.0.weighted_size());
        remembered.0.insert(key(1000), Verified::Good(Arc::new(VerifiedCaller::of_grant("g")))).await;
        tokio::time::sleep(lifetime * 2).await;
        assert!(!remembered.0.contains_key(&key(1000)));
        remembered.0.run_pending_tasks().await;
        assert_eq!(remembered.0.entry_count(), 0);
    }
}
