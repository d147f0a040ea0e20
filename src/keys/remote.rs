//! The cached JSON Web Key Set (RFC 7517) of another issuer.
//!
//! Defends against: outages of the issuer (stale keys are served), and floods of unknown `kid`s (see `refetch`).

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use super::public_keys::PublicKeys;
use super::refetch::{INTERVAL, Refetch, Refetched};
use crate::clock::{Clock, Timestamp};
use crate::outbound::{Diagnosis, Fetcher};
use crate::telemetry::metrics::{ProviderCall, ProviderCalls};

/// How long a key set is fresh, regardless of its cache headers: Keycloak forbids caching altogether.
const FRESH_FOR: Duration = Duration::from_mins(5);
/// The time-out of a fetch.
const TIMEOUT: Duration = Duration::from_secs(4);
/// The cause when a concurrent fetch read a key set from another URL.
const MOVED: &str = "its address changed a moment ago";

/// The key set is not available.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the key set at {url} cannot be read: {cause}")]
pub struct RemoteKeysError {
    /// Its URL.
    pub url: String,
    /// The cause.
    pub cause: Diagnosis,
}

impl From<RemoteKeysError> for Diagnosis {
    fn from(RemoteKeysError { url, cause }: RemoteKeysError) -> Self {
        cause.in_context(format_args!("the key set at {url} cannot be read"))
    }
}

/// A cached key set. Stale keys are served while the issuer is down.
pub struct RemoteKeys {
    fetcher: Fetcher,
    clock: Clock,
    calls: ProviderCalls,
    cached: Arc<RwLock<Option<Cached>>>,
    refetch: Refetch,
}

struct Cached {
    url: String,
    read: ReadKeys,
}

/// A key set, and the time of its fetch.
#[derive(Debug, Clone)]
pub struct ReadKeys {
    /// The keys.
    pub keys: Arc<PublicKeys>,
    /// When the fetch began.
    pub read_at: Timestamp,
    /// The same on the monotonic clock: of two sets, the one with the later time is newer.
    pub age_from: Duration,
}

/// The result of a fetch for a key that was not in the set.
#[derive(Debug)]
pub enum Unfound {
    /// The set was fetched after the question: a key that it lacks does not exist.
    Reread(ReadKeys),
    /// The set was fetched recently and is not fetched again. A token with an unknown key is forged if it was issued before
    /// that fetch; nothing is known about a later one.
    TooSoon(ReadKeys),
    /// The fetch failed: nothing is known.
    Failed(RemoteKeysError),
}

impl RemoteKeys {
    /// An empty cache.
    #[must_use]
    pub fn new(fetcher: Fetcher, clock: Clock, calls: ProviderCalls) -> Self {
        Self { fetcher, calls, cached: Arc::default(), refetch: Refetch::new(clock.clone()), clock }
    }

    /// The key set, fetched if it is missing or older than five minutes.
    ///
    /// # Errors
    /// When it was never fetched and cannot be fetched now.
    pub async fn get(&self, url: &str) -> Result<ReadKeys, RemoteKeysError> {
        let cached = self.cached(url);
        if let Some(read) = &cached
            && self.clock.monotonic().saturating_sub(read.age_from) < FRESH_FOR
        {
            return Ok(read.clone());
        }
        let refetched = self.refetch.ask(self.fetch(url)).await;
        match (self.cached(url).or(cached), refetched) {
            (Some(keys), _) => Ok(keys),
            (None, Refetched::Failed(cause)) => Err(RemoteKeysError { url: url.to_owned(), cause }),
            (None, _) => Err(RemoteKeysError { url: url.to_owned(), cause: Diagnosis::new(MOVED) }),
        }
    }

    /// Fetches the set again for an unknown key: concurrent callers share one fetch (single flight), and fetches are at least
    /// ten seconds apart.
    pub async fn refetch(&self, url: &str) -> Unfound {
        let refetched = self.refetch.ask(self.fetch(url)).await;
        self.unfound(url, refetched)
    }

    /// The same for a token that cannot come a second time and that only the issuer can have sent: within ten seconds of the
    /// last fetch the caller waits for the next one, so that the answer is never [`Unfound::TooSoon`].
    pub async fn refetch_patiently(&self, url: &str) -> Unfound {
        let refetched = self.refetch.ask_next(INTERVAL, self.fetch(url)).await;
        self.unfound(url, refetched)
    }

    fn unfound(&self, url: &str, refetched: Refetched) -> Unfound {
        let failed = |cause| Unfound::Failed(RemoteKeysError { url: url.to_owned(), cause });
        match (self.cached(url), refetched) {
            (Some(keys), Refetched::Fresh) => Unfound::Reread(keys),
            (Some(keys), Refetched::TooSoon) => Unfound::TooSoon(keys),
            (_, Refetched::Failed(cause)) => failed(cause),
            (None, _) => failed(Diagnosis::new(MOVED)),
        }
    }

    fn cached(&self, url: &str) -> Option<ReadKeys> {
        let cached = self.cached.read().unwrap_or_else(PoisonError::into_inner);
        cached.as_ref().filter(|cached| cached.url == url).map(|cached| cached.read.clone())
    }

    fn fetch(&self, url: &str) -> impl Future<Output = Result<(), Diagnosis>> + Send + use<> {
        let (fetcher, clock) = (self.fetcher.clone(), self.clock.clone());
        let (cached, url) = (Arc::clone(&self.cached), url.to_owned());
        let calls = self.calls.clone();
        let read = async move {
            let (read_at, age_from) = (clock.now(), clock.monotonic());
            let answer = fetcher.get(&url, TIMEOUT).await?;
            if answer.status != http::StatusCode::OK {
                return Err(Diagnosis::new(format!("it answers {}", answer.status.as_u16())));
            }
            let read = ReadKeys { keys: Arc::new(PublicKeys::parse(&answer.body)?), read_at, age_from };
            *cached.write().unwrap_or_else(PoisonError::into_inner) = Some(Cached { url, read });
            Ok(())
        };
        async move { calls.timed(ProviderCall::Jwks, read).await }
    }
}
