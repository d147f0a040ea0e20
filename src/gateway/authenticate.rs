//! Is this bearer good, and who is it? One verification and one read of the grant at its first use in this process; from
//! then on a look into memory.
//!
//! Defends against: a token that is used after its grant ended, by a cache that forgets or by a clock that is set.

use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;
use http::header::AUTHORIZATION;
use moka::future::Cache;

use super::refusal::Refusal;
use crate::clock::{Clock, Timestamp};
use crate::delegation::{Delegation, IdentityHeaders};
use crate::keys::{Expected, KeyRing, MAX_ACCESS_TOKEN, Validity, VerifyError, verify_access_token};
use crate::model::ids::{ClientId, GrantId};
use crate::oauth::scope::ScopeSet;
use crate::revocation::{GrantWatch, Revocation};
use crate::secret::Sha256;
use crate::storage::Store;

/// How much memory the tokens take that are remembered, in bytes: 100,000 of the usual size.
const REMEMBERED: u64 = 64 * 1024 * 1024;
/// What one takes besides its texts: the entry and its key, and what the cache keeps of them.
const ENTRY: usize = 512;
/// Why a token is refused whose grant has ended. The words are for the log.
pub(super) const ENDED: &str = "the token's grant has ended";

/// A token that was verified, and what follows from it.
pub(super) struct VerifiedToken {
    pub(super) subject: Arc<str>,
    /// The client that acts for the subject.
    pub(super) client: ClientId,
    pub(super) audience: String,
    pub(super) scope: ScopeSet,
    pub(super) identity: IdentityHeaders,
    /// When the grant ends by itself, and what is open under it.
    pub(super) grant_ends_at: Timestamp,
    validity: Validity,
    grant: Arc<GrantWatch>,
}

impl VerifiedToken {
    /// Whether its grant has not ended: one atomic read.
    pub(super) fn stands(&self) -> bool {
        !self.grant.has_ended()
    }

    /// Completes when its grant has ended.
    pub(super) async fn ended(&self) {
        self.grant.ended().await;
    }

    /// A token of this grant, for tests of what lives under it.
    #[cfg(test)]
    pub(super) fn under(grant: Arc<GrantWatch>) -> Self {
        Self {
            grant,
            subject: "".into(),
            client: ClientId::from(""),
            audience: String::new(),
            scope: ScopeSet::empty(),
            identity: IdentityHeaders::default(),
            grant_ends_at: Timestamp(i64::MAX),
            validity: Validity::ALWAYS,
        }
    }

    /// The same, of a grant that nothing ends.
    #[cfg(test)]
    pub(super) fn of_grant(id: &str) -> Self {
        Self::under(Revocation::new(Clock::system()).watch(&id.into()))
    }
}

/// Verifies bearers.
pub(super) struct Authenticator {
    pub(super) issuer: String,
    /// How long an access token lives today.
    pub(super) lifetime: Duration,
    pub(super) ring: KeyRing,
    pub(super) store: Store,
    pub(super) revocation: Revocation,
    pub(super) clock: Clock,
    pub(super) delegation: Delegation,
    pub(super) max_staleness: Option<Duration>,
    pub(super) verified: Verified,
}

/// The tokens that were verified.
pub(super) struct Verified(Cache<Sha256, Known>);

/// What is remembered of one.
#[derive(Clone)]
enum Known {
    Good(Arc<VerifiedToken>),
    /// Its grant had ended before it came here first: it is refused for ever, without asking the store again.
    Ended,
}

impl Verified {
    /// A token is forgotten after the time that a new one lives. Whether it is still good decides the clock, at each use.
    pub(super) fn new(lifetime: Duration) -> Self {
        let cache = Cache::builder().max_capacity(REMEMBERED).time_to_live(lifetime);
        Self(cache.weigher(|_, known: &Known| u32::try_from(known.size()).unwrap_or(u32::MAX)).build())
    }
}

impl Known {
    /// About how much memory it takes, in bytes.
    fn size(&self) -> usize {
        let Self::Good(token) = self else { return ENTRY };
        let texts = token.subject.len() + token.client.as_str().len() + token.audience.len();
        ENTRY + texts + token.scope.to_string().len() + token.identity.size()
    }
}

/// Why a first use failed, shared by all who asked at the same time.
#[derive(Debug, Clone)]
enum FirstUse {
    Invalid(&'static str),
    Unavailable(String),
}

impl Authenticator {
    /// Finds out whose request this is.
    ///
    /// # Errors
    /// 401 when there is no good token, 503 when that cannot be known now, 400 when it is ambiguous.
    pub(super) async fn authenticate(&self, headers: &HeaderMap) -> Result<Arc<VerifiedToken>, Refusal> {
        let token = bearer(headers)?;
        if let Some(max) = self.max_staleness
            && self.revocation.staleness() > max
        {
            return Err(Refusal::Unavailable("the feed of ended grants is older than revocation_staleness".to_owned()));
        }
        let key = Sha256::of(token.as_bytes());
        let known = match self.verified.0.get(&key).await {
            Some(known) => known,
            // boxed: rare and large, while the future of every call would have to hold it
            None => {
                Box::pin(self.verified.0.try_get_with(key, self.first_use(token))).await.map_err(|why| match &*why {
                    FirstUse::Invalid(why) => Refusal::InvalidToken(why),
                    FirstUse::Unavailable(why) => Refusal::Unavailable(why.clone()),
                })?
            }
        };
        let Known::Good(token) = known else { return Err(Refusal::InvalidToken(ENDED)) };
        token.validity.judge(self.clock.now()).map_err(Refusal::InvalidToken)?;
        if token.stands() { Ok(token) } else { Err(Refusal::InvalidToken(ENDED)) }
    }

    /// The hash of the bearer, when it is remembered.
    pub(super) fn known(&self, headers: &HeaderMap) -> Option<Sha256> {
        let key = Sha256::of(bearer(headers).ok()?.as_bytes());
        self.verified.0.contains_key(&key).then_some(key)
    }

    async fn first_use(&self, token: &str) -> Result<Known, FirstUse> {
        let now = self.clock.now();
        let expected = Expected { issuer: &self.issuer, lifetime: self.lifetime, now };
        let verified = verify_access_token(&self.ring, token, &expected).await;
        let (claims, validity) = verified.map_err(|error| match error {
            VerifyError::Invalid(why) => FirstUse::Invalid(why),
            VerifyError::Unknown => FirstUse::Unavailable(error.to_string()),
        })?;
        let id = GrantId::from(claims.sid);
        // taken before the grant is read: what ends after the read reaches the watch
        let watch = self.revocation.watch(&id);
        let grant = self.store.grant(&id).await.map_err(|error| FirstUse::Unavailable(error.to_string()))?;
        let grant = grant.ok_or(FirstUse::Invalid("the token's grant is gone"))?;
        if grant.ended_at.is_some() {
            return Ok(Known::Ended);
        }
        if !grant.is_live(now) {
            // not remembered: a refresh that is under way may move this end
            return Err(FirstUse::Invalid(ENDED));
        }
        Ok(Known::Good(Arc::new(VerifiedToken {
            identity: self.delegation.headers(&grant, &claims.scope, &claims.aud),
            grant: watch,
            subject: claims.sub.into(),
            client: grant.client_id,
            audience: claims.aud,
            scope: claims.scope,
            grant_ends_at: grant.expires_at,
            validity,
        })))
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

    use super::{ENTRY, Known, REMEMBERED, Verified, VerifiedToken, bearer};
    use crate::gateway::refusal::Refusal;
    use crate::secret::Sha256;

    fn headers(values: &[&str]) -> HeaderMap {
        values.iter().map(|value| (AUTHORIZATION, HeaderValue::from_str(value).unwrap())).collect()
    }

    #[tokio::test]
    async fn remembered_tokens_take_a_bounded_memory_and_are_forgotten_in_time() {
        let lifetime = Duration::from_millis(50);
        let (verified, key) = (Verified::new(lifetime), |number: u64| Sha256::of(&number.to_be_bytes()));
        let large = 1024 * 1024;
        for number in 0..200 {
            let mut token = VerifiedToken::of_grant("g");
            token.audience = "x".repeat(large);
            assert!(Known::Good(Arc::new(VerifiedToken::of_grant("g"))).size() >= ENTRY);
            verified.0.insert(key(number), Known::Good(Arc::new(token))).await;
        }
        verified.0.run_pending_tasks().await;
        assert!(verified.0.weighted_size() <= REMEMBERED, "{}", verified.0.weighted_size());
        verified.0.insert(key(1000), Known::Ended).await;
        tokio::time::sleep(lifetime * 2).await;
        assert!(!verified.0.contains_key(&key(1000)));
        verified.0.run_pending_tasks().await;
        assert_eq!(verified.0.entry_count(), 0);
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
