//! Remote key sets: fetched once (single flight), cached, and fetched again when needed.

mod root_keys;

use std::sync::Arc;
use std::time::Duration;

use portcullis::clock::{Clock, Timestamp};
use portcullis::keys::{ReadKeys, RemoteKeys, RemoteKeysError, Unfound};
use portcullis::outbound::Fetcher;
use portcullis::telemetry::metrics::Metrics;
use serde_json::json;

use crate::support::provider::{FakeProvider, TestAlgorithm, TestKey};

const NOW: i64 = 1_800_000_000;

struct Bench {
    provider: FakeProvider,
    clock: Clock,
    keys: Arc<RemoteKeys>,
}

/// The ids of the keys that were read.
fn kids(read: &ReadKeys) -> String {
    format!("{:?}", read.keys)
}

impl Bench {
    async fn new() -> Self {
        let clock = Clock::manual(Timestamp(NOW));
        let provider = FakeProvider::start(&clock).await;
        let keys = Arc::new(RemoteKeys::new(Fetcher::new([]), clock.clone(), Metrics::default().providers.of("test")));
        Self { provider, clock, keys }
    }

    fn url(&self) -> String {
        format!("{}/certs", self.provider.issuer())
    }

    async fn get(&self) -> Result<ReadKeys, RemoteKeysError> {
        self.keys.get(&self.url()).await
    }

    async fn refetch(&self) -> Unfound {
        self.keys.refetch(&self.url()).await
    }

    fn fetches(&self) -> usize {
        self.provider.calls("/certs")
    }
}

#[tokio::test]
async fn concurrent_readers_fetch_a_key_set_once_and_keep_it_for_five_minutes() {
    let bench = Bench::new().await;
    let all = futures_util::future::join_all((0..50).map(|_| bench.get())).await;
    assert!(all.iter().all(|read| kids(read.as_ref().unwrap()) == r#"{"first"}"#));
    bench.clock.advance(Duration::from_secs(299));
    assert_eq!(bench.get().await.unwrap().read_at, Timestamp(NOW));
    assert_eq!(bench.fetches(), 1);
    bench.clock.advance(Duration::from_secs(1));
    assert_eq!(bench.get().await.unwrap().read_at, Timestamp(NOW + 300));
    assert_eq!(bench.fetches(), 2);
}

#[tokio::test]
async fn stale_keys_serve_while_the_provider_is_down() {
    let bench = Bench::new().await;
    bench.get().await.unwrap();
    bench.provider.stop().await;
    bench.clock.advance(Duration::from_hours(24));
    assert_eq!(kids(&bench.get().await.unwrap()), r#"{"first"}"#);
    assert!(matches!(bench.refetch().await, Unfound::Failed(_)));
    bench.provider.restart().await;
    bench.provider.rotate(TestKey::new(TestAlgorithm::Es256, "second"), true);
    bench.clock.advance(Duration::from_secs(1));
    assert_eq!(kids(&bench.get().await.unwrap()), r#"{"second"}"#);
}

#[tokio::test]
async fn a_key_set_that_was_never_read_is_an_error_with_its_url() {
    let bench = Bench::new().await;
    bench.provider.edit_jwks(|document| *document = json!({"keys": 5}));
    let error = bench.get().await.unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("the key set at {} cannot be read: it is not a key set: JSON with a list `keys`", bench.url())
    );
    assert_eq!(bench.get().await.unwrap_err(), error);
    assert_eq!(bench.fetches(), 1, "a second's rest");
    bench.provider.edit_jwks(|_| {});
    bench.clock.advance(Duration::from_secs(1));
    assert!(bench.get().await.is_ok());
}

#[tokio::test]
async fn concurrent_unknown_key_ids_cost_one_fetch_in_ten_seconds() {
    let bench = Bench::new().await;
    bench.get().await.unwrap();
    assert!(matches!(bench.refetch().await, Unfound::TooSoon(read) if read.read_at == Timestamp(NOW)));
    bench.clock.advance(Duration::from_secs(10));
    let storm: Vec<_> = (0..100)
        .map(|_| {
            let (keys, url) = (Arc::clone(&bench.keys), bench.url());
            tokio::spawn(async move { keys.refetch(&url).await })
        })
        .collect();
    for one in storm {
        let read = match one.await.unwrap() {
            Unfound::Reread(read) | Unfound::TooSoon(read) => read,
            Unfound::Failed(error) => panic!("{error}"),
        };
        assert_eq!(read.read_at, Timestamp(NOW + 10));
    }
    assert_eq!(bench.fetches(), 2);
}

#[tokio::test]
async fn a_rotated_key_is_found_by_fetching_again() {
    let bench = Bench::new().await;
    bench.get().await.unwrap();
    bench.provider.rotate(TestKey::new(TestAlgorithm::Rs256, "second"), false);
    bench.clock.advance(Duration::from_secs(10));
    let Unfound::Reread(read) = bench.refetch().await else { panic!("not read again") };
    assert_eq!(kids(&read), r#"{"first", "second"}"#);
}
