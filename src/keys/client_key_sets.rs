//! The key sets that clients publish (`jwks_uri`, RFC 7591 2), cached. Anyone may register such a URL and make us fetch it,
//! before any sign-in.
//!
//! Defends against: SSRF (`outbound::untrusted` makes the calls), floods of unknown `kid`s and of URLs (single flight and a
//! minimum interval for each URL, a bounded number of fetches at once and of sets in memory), and large documents. Who may
//! cause how many fetches is the caller's to limit, between [`ClientKeySets::known`] and [`ClientKeySets::fetch`].

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use http::HeaderMap;
use http::header::{AGE, CACHE_CONTROL};
use moka::future::Cache;
use tokio::sync::Semaphore;

use super::public_keys::PublicKeys;
use super::refetch::{Refetch, Refetched};
use super::remote::ReadKeys;
use crate::clock::Clock;
use crate::oauth::client_keys::ClientKeys;
use crate::outbound::{Diagnosis, Document, UntrustedFetcher};

/// The largest key set, in bytes.
const MAX_DOCUMENT: usize = 64 * 1024;
/// How many sets are kept. An attacker's URLs displace each other rather than one that is in use, because the cache counts uses.
const MAX_SETS: u64 = 1000;
/// How many fetches may run at once, in this process.
const MAX_FETCHES: usize = 16;
/// How long a set is fresh: what its cache headers say, within these bounds. A key that was withdrawn must not be accepted for
/// much longer.
const FRESH_AT_LEAST: Duration = Duration::from_mins(5);
const FRESH_AT_MOST: Duration = Duration::from_hours(1);
/// How long a set is fresh whose headers say nothing.
const FRESH_BY_DEFAULT: Duration = Duration::from_mins(15);
/// How long a set that is no longer fresh still serves while its host is down.
const STALE: Duration = Duration::from_hours(24);

/// The cached sets. Cheap to clone; clones share them.
#[derive(Clone)]
pub(crate) struct ClientKeySets(Arc<Inner>);

struct Inner {
    untrusted: UntrustedFetcher,
    clock: Clock,
    sets: Cache<String, Arc<KeySet>>,
    fetches: Arc<Semaphore>,
}

struct KeySet {
    cached: Arc<RwLock<Option<Cached>>>,
    refetch: Refetch,
}

#[derive(Clone)]
struct Cached {
    read: ReadKeys,
    fresh_for: Duration,
}

/// What is known of a set without a fetch.
#[derive(Debug)]
pub(crate) enum KnownKeys {
    /// It is fresh.
    Fresh(ReadKeys),
    /// It should be fetched again, and serves while that is not possible.
    Stale(ReadKeys),
    /// Nothing.
    Unknown,
}

/// The result of a fetch.
#[derive(Debug)]
pub(crate) enum FetchedKeys {
    /// The set was fetched after the question: a key that it lacks does not exist.
    Now(ReadKeys),
    /// The set was fetched a moment ago, and is not fetched again.
    TooSoon(ReadKeys),
    /// There is no usable set.
    Failed(Diagnosis),
}

impl ClientKeySets {
    /// An empty cache.
    #[must_use]
    pub(crate) fn new(untrusted: UntrustedFetcher, clock: Clock) -> Self {
        let fetches = Arc::new(Semaphore::new(MAX_FETCHES));
        Self(Arc::new(Inner { untrusted, clock, sets: Cache::new(MAX_SETS), fetches }))
    }

    /// What is known of the set at a URL.
    pub(crate) async fn known(&self, url: &str) -> KnownKeys {
        let Some(set) = self.0.sets.get(url).await else { return KnownKeys::Unknown };
        let Some(cached) = set.cached() else { return KnownKeys::Unknown };
        let age = self.0.clock.monotonic().saturating_sub(cached.read.age_from);
        match age.checked_sub(cached.fresh_for) {
            None => KnownKeys::Fresh(cached.read),
            Some(stale) if stale < STALE => KnownKeys::Stale(cached.read),
            Some(_) => KnownKeys::Unknown,
        }
    }

    /// Fetches the set at a URL. Concurrent callers share one fetch, and fetches of one URL are at least ten seconds apart, a
    /// second after a failure.
    pub(crate) async fn fetch(&self, url: &str) -> FetchedKeys {
        let clock = &self.0.clock;
        let new = async { Arc::new(KeySet { cached: Arc::default(), refetch: Refetch::new(clock.clone()) }) };
        let set = self.0.sets.get_with_by_ref(url, new).await;
        let refetched = set.refetch.ask(self.read(url.to_owned(), Arc::clone(&set.cached))).await;
        match (set.cached().map(|cached| cached.read), refetched) {
            (Some(keys), Refetched::Fresh) => FetchedKeys::Now(keys),
            (Some(keys), Refetched::TooSoon) => FetchedKeys::TooSoon(keys),
            (_, Refetched::Failed(cause)) => FetchedKeys::Failed(cause),
            (None, _) => FetchedKeys::Failed(Diagnosis::new("the key set was withdrawn a moment ago")),
        }
    }

    fn read(
        &self,
        url: String,
        cached: Arc<RwLock<Option<Cached>>>,
    ) -> impl Future<Output = Result<(), Diagnosis>> + Send + use<> {
        let inner = Arc::clone(&self.0);
        async move {
            let Ok(_permit) = inner.fetches.try_acquire() else {
                return Err(Diagnosis::new(format!("{MAX_FETCHES} key sets of clients are being fetched already")));
            };
            let (read_at, age_from) = (inner.clock.now(), inner.clock.monotonic());
            let fetched = match inner.untrusted.get(&url, MAX_DOCUMENT).await {
                Ok(document) => Ok(document),
                Err(error) if error.is_refused() => {
                    // the host answers, and has no such document any more: its keys are withdrawn
                    put(&cached, None);
                    Err(error.diagnosis().clone())
                }
                Err(error) => Err(error.diagnosis().clone()),
            };
            let document = fetched?;
            let fresh_for = fresh_for(&document.headers);
            let read = ReadKeys { keys: Arc::new(parse(&document)?), read_at, age_from };
            put(&cached, Some(Cached { read, fresh_for }));
            Ok(())
        }
    }
}

impl KeySet {
    fn cached(&self) -> Option<Cached> {
        self.cached.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn put(place: &RwLock<Option<Cached>>, cached: Option<Cached>) {
    *place.write().unwrap_or_else(PoisonError::into_inner) = cached;
}

fn parse(document: &Document) -> Result<PublicKeys, Diagnosis> {
    let text = std::str::from_utf8(&document.body).map_err(|_not_text| Diagnosis::new("the key set is no text"))?;
    match ClientKeys::read(Some(text), None).map_err(|error| Diagnosis::new(error.to_string()))? {
        Some(ClientKeys::Set(keys)) => PublicKeys::of_client(&keys).map_err(Diagnosis::new),
        _ => Err(Diagnosis::new("the document has no keys")),
    }
}

/// How long an answer is fresh (RFC 9111 4.2), within our bounds.
fn fresh_for(headers: &HeaderMap) -> Duration {
    let text = |name| headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    let directives: Vec<String> = text(CACHE_CONTROL)
        .flat_map(|value| value.split(','))
        .map(|directive| directive.trim().to_ascii_lowercase())
        .collect();
    if directives.iter().any(|directive| matches!(directive.as_str(), "no-store" | "no-cache")) {
        return FRESH_AT_LEAST;
    }
    let seconds = |text: &str| text.trim().trim_matches('"').parse().ok().map(Duration::from_secs);
    let max_age = directives.iter().find_map(|directive| seconds(directive.strip_prefix("max-age=")?));
    let age = text(AGE).find_map(seconds).unwrap_or_default();
    let fresh_for = max_age.map_or(FRESH_BY_DEFAULT, |max_age| max_age.saturating_sub(age));
    fresh_for.clamp(FRESH_AT_LEAST, FRESH_AT_MOST)
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;
    use http::header::{AGE, CACHE_CONTROL};

    use super::fresh_for;

    #[test]
    fn a_set_is_fresh_as_long_as_its_headers_say_within_bounds() {
        for (cache_control, age, minutes) in [
            (None, None, 15),
            (Some("max-age=1800"), None, 30),
            (Some("public, Max-Age=1800"), Some("600"), 20),
            (Some("max-age=\"1800\""), None, 30),
            (Some("max-age=0"), None, 5),
            (Some("max-age=1800"), Some("4000"), 5),
            (Some("max-age=99999999999"), None, 60),
            (Some("no-store"), None, 5),
            (Some("no-cache, max-age=1800"), None, 5),
            (Some("max-age=-1"), None, 15),
            (Some("s-maxage=1800"), None, 15),
        ] {
            let mut headers = HeaderMap::new();
            headers.extend(cache_control.map(|value| (CACHE_CONTROL, value.parse().unwrap())));
            headers.extend(age.map(|value| (AGE, value.parse().unwrap())));
            assert_eq!(fresh_for(&headers).as_secs(), minutes * 60, "{cache_control:?} {age:?}");
        }
    }
}
