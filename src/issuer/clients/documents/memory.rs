//! The cache of this process: documents of clients, and for a short time the fetches that failed.
//!
//! Defends against: exhaustion of memory (untrusted clients can name any number of documents; the least recently used goes),
//! and a dead URL that makes us hammer its host (back-off after a failure).

use std::sync::Arc;
use std::time::Duration;

use moka::future::Cache;
use moka::policy::EvictionPolicy;

use super::known::Known;
use crate::issuer::clients::error::DocumentError;

/// How much the documents may take, in bytes by [`weight`].
const MOST_BYTES: u64 = 32 * 1024 * 1024;
/// What a document takes besides its own bytes and those of the client that was read from it.
const OVERHEAD: usize = 1024;
/// How many failures are remembered.
const MOST_FAILURES: u64 = 10_000;
/// How long a URL is not fetched again after a failure.
const REST: Duration = Duration::from_secs(10);
/// The same while its last good document serves: no request waits for the next one.
const REST_WHILE_SERVED: Duration = Duration::from_mins(1);

/// What this process remembers.
pub(super) struct Memory {
    known: Cache<String, Arc<Known>>,
    failures: Cache<String, Failure>,
}

#[derive(Clone)]
struct Failure {
    /// On the monotonic clock.
    at: Duration,
    error: DocumentError,
}

impl Memory {
    pub(super) fn new() -> Self {
        Self {
            known: Cache::builder()
                .max_capacity(MOST_BYTES)
                .weigher(weight)
                .eviction_policy(EvictionPolicy::lru())
                .build(),
            failures: Cache::builder().max_capacity(MOST_FAILURES).eviction_policy(EvictionPolicy::lru()).build(),
        }
    }

    pub(super) async fn get(&self, id: &str) -> Option<Arc<Known>> {
        self.known.get(id).await
    }

    /// Remembers a good document.
    pub(super) async fn put(&self, known: Arc<Known>) {
        let id = known.client.id.as_str().to_owned();
        self.failures.invalidate(&id).await;
        self.known.insert(id, known).await;
    }

    pub(super) async fn forget(&self, id: &str) {
        self.known.invalidate(id).await;
    }

    /// Starts the back-off of a URL at `now`.
    pub(super) async fn note_failure(&self, id: &str, error: &DocumentError, now: Duration) {
        self.failures.insert(id.to_owned(), Failure { at: now, error: error.clone() }).await;
    }

    /// The failure of a URL during its back-off. `is_served`: whether its last good document serves meanwhile.
    pub(super) async fn rest(&self, id: &str, is_served: bool, now: Duration) -> Option<DocumentError> {
        let Failure { at, error } = self.failures.get(id).await?;
        let rest = if is_served { REST_WHILE_SERVED } else { REST };
        (now.saturating_sub(at) < rest).then_some(error)
    }
}

/// How many bytes a document takes.
#[expect(clippy::ptr_arg, reason = "the cache hands its keys over like this")]
fn weight(id: &String, known: &Arc<Known>) -> u32 {
    let client = &known.client;
    let uris: usize = client.redirect_uris.iter().map(|uri| uri.len() + size_of::<String>()).sum();
    // the keys that were read from the document are at most a few times as long as in it
    let text = known.document.text.len() * 2;
    u32::try_from(OVERHEAD + 2 * id.len() + uris + text).unwrap_or(u32::MAX)
}
