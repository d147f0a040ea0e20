//! Is this bearer good, and who is it? One verification and one read of the grant at its first use in this process; from
//! then on a look into memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::HeaderMap;
use http::header::AUTHORIZATION;
use moka::future::Cache;

use super::refusal::Refusal;
use crate::clock::{Clock, Timestamp};
use crate::delegation::IdentityHeaders;
use crate::keys::{KeyRing, VerifyError, verify_access_token};
use crate::model::ids::GrantId;
use crate::oauth::scope::ScopeSet;
use crate::revocation::Revocation;
use crate::secret::Sha256;
use crate::storage::Store;

/// How many tokens are remembered.
const REMEMBERED: u64 = 100_000;
/// No token of ours is longer, in bytes.
const MAX_TOKEN: usize = 8 * 1024;
/// Why a token is refused whose grant has ended. The words are for the log.
pub(super) const ENDED: &str = "the token's grant has ended";

/// A token that was verified, and what follows from it.
pub(super) struct VerifiedToken {
    pub(super) subject: String,
    pub(super) audience: String,
    pub(super) scope: ScopeSet,
    pub(super) identity: IdentityHeaders,
    /// When the grant ends by itself, and what is open under it.
    pub(super) grant_ends_at: Timestamp,
    grant: GrantId,
    expires_at: Timestamp,
    /// The revocation epoch at which the grant was last known to live.
    epoch: AtomicU64,
}

impl VerifiedToken {
    /// Whether its grant has not ended: one atomic, and a look into the set of ended grants when that has grown.
    pub(super) fn stands(&self, revocation: &Revocation) -> bool {
        // read before the set: what ends in between is noticed at the next look
        let epoch = revocation.epoch();
        if self.epoch.load(Ordering::Acquire) == epoch {
            return true;
        }
        let stands = !revocation.has_ended(&self.grant);
        if stands {
            self.epoch.fetch_max(epoch, Ordering::AcqRel);
        }
        stands
    }

    /// A token of this grant, for tests of what lives under it.
    #[cfg(test)]
    pub(super) fn of_grant(id: &str) -> Self {
        Self {
            grant: id.into(),
            subject: String::new(),
            audience: String::new(),
            scope: ScopeSet::empty(),
            identity: IdentityHeaders::default(),
            grant_ends_at: Timestamp(i64::MAX),
            expires_at: Timestamp(i64::MAX),
            epoch: AtomicU64::new(0),
        }
    }
}

/// Verifies bearers.
pub(super) struct Authenticator {
    pub(super) issuer: String,
    pub(super) ring: KeyRing,
    pub(super) store: Store,
    pub(super) revocation: Revocation,
    pub(super) clock: Clock,
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

impl Default for Verified {
    fn default() -> Self {
        Self(Cache::builder().max_capacity(REMEMBERED).build())
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
    /// 401 when there is no good token, 503 when that cannot be known now, 400 when nobody can say what was meant.
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
            None => self.verified.0.try_get_with(key, self.first_use(token)).await.map_err(|why| match &*why {
                FirstUse::Invalid(why) => Refusal::InvalidToken(why),
                FirstUse::Unavailable(why) => Refusal::Unavailable(why.clone()),
            })?,
        };
        let Known::Good(token) = known else { return Err(Refusal::InvalidToken(ENDED)) };
        if self.clock.now() >= token.expires_at {
            return Err(Refusal::InvalidToken("the token has expired"));
        }
        if token.stands(&self.revocation) { Ok(token) } else { Err(Refusal::InvalidToken(ENDED)) }
    }

    async fn first_use(&self, token: &str) -> Result<Known, FirstUse> {
        // read before the grant: an end that happens between the two is noticed at the next look
        let epoch = self.revocation.epoch();
        let now = self.clock.now();
        let claims = verify_access_token(&self.ring, &self.issuer, token, now).await.map_err(|error| match error {
            VerifyError::Invalid(why) => FirstUse::Invalid(why),
            VerifyError::Unknown => FirstUse::Unavailable(error.to_string()),
        })?;
        let id = GrantId::from(claims.sid);
        if self.revocation.has_ended(&id) {
            return Ok(Known::Ended);
        }
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
            identity: IdentityHeaders::new(&grant, &claims.scope),
            grant: id,
            subject: claims.sub,
            audience: claims.aud,
            scope: claims.scope,
            grant_ends_at: grant.expires_at,
            expires_at: Timestamp(claims.exp),
            epoch: AtomicU64::new(epoch),
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
    if token.is_empty() || token.len() > MAX_TOKEN || token.bytes().filter(|byte| *byte == b'.').count() != 2 {
        return Err(Refusal::InvalidToken("not an access token of ours"));
    }
    Ok(token)
}

#[cfg(test)]
mod tests {
    use http::header::AUTHORIZATION;
    use http::{HeaderMap, HeaderValue};

    use super::bearer;
    use crate::gateway::refusal::Refusal;

    fn headers(values: &[&str]) -> HeaderMap {
        values.iter().map(|value| (AUTHORIZATION, HeaderValue::from_str(value).unwrap())).collect()
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
