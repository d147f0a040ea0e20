//! Other people's keys: the key set of an issuer (RFC 7517), cached.
//!
//! Defends against denial of service by unknown key ids: anyone can name one, so a set is read again at most once in ten
//! seconds, once for all who ask. While the issuer is down the old keys serve, however old.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use super::public_keys::PublicKeys;
use super::refetch::{Refetch, Refetched};
use crate::clock::{Clock, Timestamp};
use crate::outbound::{Diagnosis, Fetcher};
use crate::telemetry::metrics::{ProviderCall, ProviderCalls};

/// After how long a key set is read again, whatever its cache headers say (Keycloak forbids to keep it at all).
const FRESH_FOR: Duration = Duration::from_mins(5);
/// How long a key set may take to arrive.
const TIMEOUT: Duration = Duration::from_secs(4);
/// Why a key set that was just read is not the wanted one.
const MOVED: &str = "its address changed a moment ago";

/// The keys cannot be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the key set at {url} cannot be read: {cause}")]
pub struct RemoteKeysError {
    /// Where it lies.
    pub url: String,
    /// What happened.
    pub cause: Diagnosis,
}

impl From<RemoteKeysError> for Diagnosis {
    fn from(RemoteKeysError { url, cause }: RemoteKeysError) -> Self {
        cause.in_context(format_args!("the key set at {url} cannot be read"))
    }
}

/// A cached key set.
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
    /// When the reading began, on the monotonic clock.
    age_from: Duration,
}

/// A key set as it was read once.
#[derive(Debug, Clone)]
pub struct ReadKeys {
    /// The keys.
    pub keys: Arc<PublicKeys>,
    /// When the reading began.
    pub read_at: Timestamp,
}

/// What is known after a token named a key that was not in the set.
#[derive(Debug)]
pub enum Unfound {
    /// The set was read again after the question: what it lacks does not exist.
    Reread(ReadKeys),
    /// The set was read a short while ago and the issuer is left alone. A token made before that reading is not the
    /// issuer's; of a later one nothing is known.
    TooSoon(ReadKeys),
    /// The set could not be read: nothing is known.
    Failed(RemoteKeysError),
}

impl RemoteKeys {
    /// An empty cache; nothing is fetched yet.
    #[must_use]
    pub fn new(fetcher: Fetcher, clock: Clock, calls: ProviderCalls) -> Self {
        Self { fetcher, calls, cached: Arc::default(), refetch: Refetch::new(clock.clone()), clock }
    }

    /// The key set: from memory, fetched when there is none or it is older than five minutes.
    ///
    /// # Errors
    /// When it was never read and cannot be read now.
    pub async fn get(&self, url: &str) -> Result<ReadKeys, RemoteKeysError> {
        let cached = self.cached(url);
        if let Some((keys, age_from)) = &cached
            && self.clock.monotonic().saturating_sub(*age_from) < FRESH_FOR
        {
            return Ok(keys.clone());
        }
        let refetched = self.refetch(url).await;
        match (self.cached(url).or(cached).map(|(keys, _)| keys), refetched) {
            (Some(keys), _) => Ok(keys),
            (None, Refetched::Failed(cause)) => Err(RemoteKeysError { url: url.to_owned(), cause }),
            (None, _) => Err(RemoteKeysError { url: url.to_owned(), cause: Diagnosis::new(MOVED) }),
        }
    }

    /// Reads the set again because a token names a key that it does not hold: once for all who ask, and not again within
    /// ten seconds.
    pub async fn get_again(&self, url: &str) -> Unfound {
        let refetched = self.refetch(url).await;
        let failed = |cause| Unfound::Failed(RemoteKeysError { url: url.to_owned(), cause });
        match (self.cached(url).map(|(keys, _)| keys), refetched) {
            (Some(keys), Refetched::Fresh) => Unfound::Reread(keys),
            (Some(keys), Refetched::TooSoon) => Unfound::TooSoon(keys),
            (_, Refetched::Failed(cause)) => failed(cause),
            (None, _) => failed(Diagnosis::new(MOVED)),
        }
    }

    fn cached(&self, url: &str) -> Option<(ReadKeys, Duration)> {
        let cached = self.cached.read().unwrap_or_else(PoisonError::into_inner);
        cached.as_ref().filter(|cached| cached.url == url).map(|cached| (cached.read.clone(), cached.age_from))
    }

    async fn refetch(&self, url: &str) -> Refetched {
        let (fetcher, clock) = (self.fetcher.clone(), self.clock.clone());
        let (cached, url) = (Arc::clone(&self.cached), url.to_owned());
        let calls = self.calls.clone();
        let read = async move {
            let (read_at, age_from) = (clock.now(), clock.monotonic());
            let answer = fetcher.get(&url, TIMEOUT).await?;
            if answer.status != http::StatusCode::OK {
                return Err(Diagnosis::new(format!("it answers {}", answer.status.as_u16())));
            }
            let read = ReadKeys { keys: Arc::new(PublicKeys::parse(&answer.body)?), read_at };
            *cached.write().unwrap_or_else(PoisonError::into_inner) = Some(Cached { url, read, age_from });
            Ok(())
        };
        self.refetch.ask(async move { calls.timed(ProviderCall::Jwks, read).await }).await
    }
}
