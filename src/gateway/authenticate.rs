//! Is this bearer good, and who is it? A token is verified at its first use in this process; from then on it is a look into
//! memory.
//!
//! Defends against: use of a token after its grant ended or its signing key was withdrawn (a verified token is remembered, but
//! its grant and its key are watched and its times are judged at every use), exhaustion of memory by many tokens, and a stampede of first uses (single flight).

use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;
use http::header::AUTHORIZATION;
use moka::future::Cache;
use prometheus_client::metrics::counter::Counter;

use super::caller::VerifiedCaller;
use super::incidents::Incidents;
use super::refusal::{ENDED, Refusal};
use super::verify::{OwnTokens, Unverified, Verified};
use crate::keys::MAX_ACCESS_TOKEN;
use crate::secret::Sha256;
use crate::telemetry::metrics::{self, TokenCheck};
use crate::wire::Arrival;

/// The most memory that remembered tokens take, in bytes: 100,000 tokens of the usual size.
const REMEMBERED: u64 = 64 * 1024 * 1024;
/// What one takes besides its texts: the entry, its key, and what the cache keeps of them.
const ENTRY: usize = 512;

/// Finds out who makes a request.
pub(super) struct Authenticator {
    verifier: OwnTokens,
    remembered: Remembered,
    max_staleness: Option<Duration>,
    checks: Checks,
    incidents: Arc<Incidents>,
}

/// How tokens were judged: counters that are found once.
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

    /// A request without a token, or with two, is no check of one.
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
    /// is judged at each use, by our own clock.
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
    /// `max_staleness`: when the feed of ended grants was not read for so long, nothing is good any more.
    pub(super) fn new(
        verifier: OwnTokens,
        max_staleness: Option<Duration>,
        calls: &metrics::Calls,
        incidents: Arc<Incidents>,
    ) -> Self {
        let remembered = Remembered::new(verifier.lifetime);
        Self { verifier, remembered, max_staleness, checks: Checks::new(calls), incidents }
    }

    /// How many tokens are remembered.
    pub(super) async fn remembered(&self) -> u64 {
        self.remembered.0.run_pending_tasks().await;
        self.remembered.0.entry_count()
    }

    /// Finds out whose request this is.
    ///
    /// # Errors
    /// 401 when there is no good token, 503 when that cannot be known now, 400 when it is ambiguous.
    pub(super) async fn authenticate(
        &self,
        headers: &HeaderMap,
        arrival: &Arrival,
    ) -> Result<Arc<VerifiedCaller>, Refusal> {
        let judged = self.judge(headers, arrival).await;
        match &judged {
            Ok((_, counter)) => drop(counter.inc()),
            Err(refusal) => self.checks.count_refusal(refusal),
        }
        judged.map(|(caller, _)| caller)
    }

    /// The caller, and the counter that the check counts in.
    async fn judge(&self, headers: &HeaderMap, arrival: &Arrival) -> Result<(Arc<VerifiedCaller>, &Counter), Refusal> {
        let token = bearer(headers)?;
        if let Some(max) = self.max_staleness
            && self.verifier.revocation.staleness() > max
        {
            return Err(Refusal::Unavailable("the feed of ended grants is older than revocation_staleness".to_owned()));
        }
        let key = Sha256::of(token.as_bytes());
        let (verified, counter) = if let Some(verified) = self.remembered.0.get(&key).await {
            (verified, &self.checks.cached)
        } else {
            // boxed: verifying takes much room, which every call would have to hold
            let verified =
                Box::pin(self.remembered.0.try_get_with(key, self.verifier.verify(token))).await.map_err(|why| {
                    match &*why {
                        Unverified::Invalid(why) => Refusal::InvalidToken(why),
                        Unverified::Unavailable(why) => Refusal::Unavailable(why.clone()),
                    }
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

    /// How long a caller may go on calling if nothing ends that earlier.
    pub(super) fn time_left(&self, caller: &VerifiedCaller) -> Duration {
        caller.expires_at.since(self.verifier.clock.now())
    }

    /// The hash of the bearer, when it is remembered.
    pub(super) fn known(&self, headers: &HeaderMap) -> Option<Sha256> {
        let key = Sha256::of(bearer(headers).ok()?.as_bytes());
        self.remembered.0.contains_key(&key).then_some(key)
    }
}

/// The one bearer of a request (RFC 6750 2.1).
fn bearer(headers: &HeaderMap) -> Result<&str, Refusal> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let Some(value) = values.next() else { return Err(Refusal::NoToken) };
    if values.next().is_some() {
        return Err(Refusal::Malformed("more than one Authorization header"));
    }
    let text = value.to_str().map_err(|_not_text| Refusal::InvalidToken("the Authorization header is not text"))?;
    let (scheme, token) = text.split_once(' ').unwrap_or((text, ""));
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(Refusal::InvalidToken("the Authorization header is not Bearer"));
    }
    let token = token.trim();
    if token.is_empty() || token.len() > MAX_ACCESS_TOKEN || token.bytes().filter(|byte| *byte == b'.').count() != 2 {
        return Err(Refusal::InvalidToken("not an access token of ours"));
    }
    Ok(token)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use http::header::AUTHORIZATION;
    use http::{HeaderMap, HeaderValue};

    use super::{ENTRY, REMEMBERED, Remembered, Verified, bearer, size};
    use crate::gateway::caller::VerifiedCaller;
    use crate::gateway::refusal::Refusal;
    use crate::secret::Sha256;

    fn headers(values: &[&str]) -> HeaderMap {
        values.iter().map(|value| (AUTHORIZATION, HeaderValue::from_str(value).unwrap())).collect()
    }

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

    #[test]
    fn one_bearer_is_read_whatever_the_case_of_its_scheme() {
        assert_eq!(bearer(&headers(&["Bearer a.b.c"])).unwrap(), "a.b.c");
        assert_eq!(bearer(&headers(&["bearer  a.b.c "])).unwrap(), "a.b.c");
        assert!(matches!(bearer(&headers(&[])), Err(Refusal::NoToken)));
        assert!(matches!(bearer(&headers(&["Bearer a.b.c", "Bearer a.b.c"])), Err(Refusal::Malformed(_))));
        let long = format!("Bearer a.b.{}", "x".repeat(9000));
        for bad in ["Basic a.b.c", "Bearer", "Bearer ", "Bearer abc", "Bearer a.b", "Bearer a.b.c.d.e", &long] {
            assert!(matches!(bearer(&headers(&[bad])), Err(Refusal::InvalidToken(_))), "{bad}");
        }
    }
}
