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
use super::routes::Served;
use super::verify::{ApiKeyVerifier, Chosen, ForeignTokens, OwnTokens, Question, Unverified, Verified};
use crate::clock::Clock;
use crate::secret::Sha256;
use crate::telemetry::metrics::{self, TokenCheck};
use crate::wire::Arrival;

/// The most memory that remembered tokens take, in bytes: 100,000 tokens of the usual size.
const REMEMBERED: u64 = 64 * 1024 * 1024;
/// What one takes besides its texts: the entry, its key and the cache's own data.
const ENTRY: usize = 512;

/// Authenticates requests.
pub(super) struct Authenticator {
    /// `None` where no upstream accepts our own credentials.
    own: Option<OwnCredentials>,
    foreign: ForeignTokens,
    remembered: Remembered,
    checks: Checks,
    clock: Clock,
    incidents: Arc<Incidents>,
}

/// Verifiers of what we issue.
pub(super) struct OwnCredentials {
    pub(super) tokens: OwnTokens,
    pub(super) api_keys: ApiKeyVerifier,
    /// When the feed of ended grants was not read for so long, nothing under a grant is good any more.
    pub(super) max_staleness: Option<Duration>,
}

impl OwnCredentials {
    fn check_feed(&self) -> Result<(), Refusal> {
        let stale = self.max_staleness.is_some_and(|max| self.tokens.revocation.staleness() > max);
        if stale {
            return Err(Refusal::Unavailable("the feed of ended grants is older than revocation_staleness".to_owned()));
        }
        Ok(())
    }
}

/// How tokens were checked: counters that are found once.
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

    const fn of(&self, result: TokenCheck) -> &Counter {
        match result {
            TokenCheck::Cached => &self.cached,
            TokenCheck::Verified => &self.verified,
            TokenCheck::Refused => &self.refused,
            TokenCheck::Unknown => &self.unknown,
        }
    }

    fn count_refusal(&self, refusal: &Refusal) {
        if let Some(result) = result_of(refusal) {
            self.of(result).inc();
        }
    }
}

/// How a refused token was checked. A request without a token, or with two, is no check of one.
const fn result_of(refusal: &Refusal) -> Option<TokenCheck> {
    match refusal {
        Refusal::InvalidToken(_) | Refusal::Unfit(..) => Some(TokenCheck::Refused),
        Refusal::Unavailable(_) => Some(TokenCheck::Unknown),
        _ => None,
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
    /// `lifetime` is that of our access tokens.
    pub(super) fn new(
        own: Option<OwnCredentials>,
        foreign: ForeignTokens,
        lifetime: Duration,
        (calls, clock): (&metrics::Calls, Clock),
        incidents: Arc<Incidents>,
    ) -> Self {
        let (remembered, checks) = (Remembered::new(lifetime), Checks::new(calls));
        Self { own, foreign, remembered, checks, clock, incidents }
    }

    /// How many tokens are remembered.
    pub(super) async fn remembered(&self) -> u64 {
        self.remembered.0.run_pending_tasks().await;
        self.remembered.0.entry_count() + self.foreign.opaque().remembered().await
    }

    /// The other issuers whose tokens are accepted.
    pub(super) const fn foreign(&self) -> &ForeignTokens {
        &self.foreign
    }

    /// Finds out whose request to an upstream this is.
    ///
    /// # Errors
    /// 401 when there is no valid token, 503 when that cannot be determined now, 400 when the request is ambiguous.
    pub(super) async fn authenticate(
        &self,
        credential: Result<Credential<'_>, Refusal>,
        served: &Arc<Served>,
        arrival: &Arrival,
    ) -> Result<Arc<VerifiedCaller>, Refusal> {
        let checked = match credential {
            Ok(credential) => self.check(&credential, served, arrival).await,
            Err(refusal) => Err(refusal),
        };
        match &checked {
            Ok((caller, result)) => {
                self.checks.of(*result).inc();
                if let Some(issuer) = caller.issuer() {
                    self.foreign.count(issuer, *result);
                }
            }
            Err(refusal) => self.checks.count_refusal(refusal),
        }
        checked.map(|(caller, _)| caller)
    }

    /// The caller, and how the token was checked.
    async fn check(
        &self,
        credential: &Credential<'_>,
        served: &Arc<Served>,
        arrival: &Arrival,
    ) -> Result<(Arc<VerifiedCaller>, TokenCheck), Refusal> {
        let key = remembered_as(credential, served);
        let (verified, result) = if let Some(verified) = self.recall(&key, served).await {
            (verified, TokenCheck::Cached)
        } else {
            // boxed: verifying takes much room, which every call would have to hold
            Box::pin(self.find_out(credential, key, (served, arrival))).await?
        };
        let caller = match verified {
            Verified::Good(caller) => caller,
            Verified::Ended(ended) => {
                self.incidents.ended_grant_used(ended.acting(), arrival);
                return Err(Refusal::InvalidToken(ENDED));
            }
        };
        if caller.has_ended_grant() {
            self.incidents.ended_grant_used(caller.acting(), arrival);
        }
        if let Some(own) = self.own.as_ref().filter(|_| caller.is_under_grant()) {
            own.check_feed()?;
        }
        caller.check_now(self.clock.now())?;
        Ok((caller, result))
    }

    /// What is known of a credential.
    async fn recall(&self, key: &Sha256, served: &Served) -> Option<Verified> {
        if let Some(verified) = self.remembered.0.get(key).await {
            return Some(verified);
        }
        served.config.settings.accepts.introspecting()?;
        self.foreign.opaque().known_caller(key).await.map(Verified::Good)
    }

    /// Verifies a credential at its first use in this process. Of an opaque token its issuer's answer is remembered elsewhere,
    /// for as long as it counts.
    async fn find_out(
        &self,
        credential: &Credential<'_>,
        key: Sha256,
        (served, arrival): (&Arc<Served>, &Arrival),
    ) -> Result<(Verified, TokenCheck), Refusal> {
        let Credential::AccessToken(token) = credential else {
            return self.remember(key, self.verify_key(credential, arrival)).await;
        };
        let chosen = self.foreign.choose(token.text, &served.config).map_err(|why| Refusal::from(&why))?;
        match chosen {
            Chosen::Own => self.remember(key, self.verify_own(token.text)).await,
            Chosen::Jwt(accepted, jwt) => {
                let verifying = self.foreign.verify((token.text, &jwt), accepted, &served.config);
                let verified = Box::pin(self.remember(key, verifying)).await;
                verified.inspect_err(|refusal| self.count_foreign(&accepted.issuer.id, refusal))
            }
            Chosen::Opaque(accepted) => {
                let issuer = &accepted.issuer.id;
                let question = Question { served, issuer, token: token.text, key };
                let found = self.foreign.opaque().caller(question, Some(arrival.address)).await;
                let (caller, cached) = found
                    .map_err(|why| Refusal::from(&why))
                    .inspect_err(|refusal| self.count_foreign(issuer, refusal))?;
                let result = if cached { TokenCheck::Cached } else { TokenCheck::Verified };
                Ok((Verified::Good(caller), result))
            }
        }
    }

    fn count_foreign(&self, issuer: &str, refusal: &Refusal) {
        if let Some(result) = result_of(refusal) {
            self.foreign.count(issuer, result);
        }
    }

    /// Concurrent first uses wait for one verification.
    async fn remember(
        &self,
        key: Sha256,
        verifying: impl Future<Output = Result<Verified, Unverified>>,
    ) -> Result<(Verified, TokenCheck), Refusal> {
        let verified = self.remembered.0.try_get_with(key, verifying).await;
        verified.map(|verified| (verified, TokenCheck::Verified)).map_err(|why| Refusal::from(&*why))
    }

    async fn verify_own(&self, token: &str) -> Result<Verified, Unverified> {
        match &self.own {
            Some(own) => own.tokens.verify(token).await,
            None => Err(Unverified::Invalid("no upstream accepts tokens of ours")),
        }
    }

    async fn verify_key(&self, credential: &Credential<'_>, arrival: &Arrival) -> Result<Verified, Unverified> {
        match (credential, &self.own) {
            (Credential::ApiKey(key), Some(own)) => own.api_keys.verify(key, arrival.address).await,
            _ => Err(Unverified::Invalid("no upstream accepts API keys")),
        }
    }

    /// How long the caller's right to call lasts if nothing ends it earlier.
    pub(super) fn time_left(&self, caller: &VerifiedCaller) -> Duration {
        caller.expires_at.since(self.clock.now())
    }

    /// The hash of a credential, when it is remembered as good.
    pub(super) fn known(&self, credential: &Credential<'_>, served: &Served) -> Option<Sha256> {
        let key = remembered_as(credential, served);
        (self.remembered.0.contains_key(&key) || self.foreign.opaque().knows(&key)).then_some(key)
    }
}

impl From<&Unverified> for Refusal {
    fn from(why: &Unverified) -> Self {
        match why {
            Unverified::Invalid(why) => Self::InvalidToken(why),
            Unverified::Unfit(fault, why) => Self::Unfit(*fault, why),
            Unverified::Unavailable(why) => Self::Unavailable(why.clone()),
            Unverified::Limited(retry_after) => Self::TooManyKeys(*retry_after),
        }
    }
}

/// What a credential is remembered by. What a token of another issuer opens depends on the upstream, so there the upstream is a
/// part of it.
fn remembered_as(credential: &Credential<'_>, served: &Served) -> Sha256 {
    match credential.access_token() {
        // no token has a NUL in it, so this is the hash of no other
        Some(token) if !served.config.settings.accepts.foreign.is_empty() => {
            Sha256::of_parts([served.id.as_bytes(), b"\0", token.text.as_bytes()])
        }
        _ => credential.sha256(),
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
