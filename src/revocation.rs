//! Which grants have ended: known to every holder of a token within a second.
//!
//! Defends against: use of an access token after its grant ended, also by open calls and streams (token revocation).
//!
//! All holders of a verified token in this process (cache entries, open calls) share the [`GrantWatch`] of its grant. An end
//! sets a flag there that is never cleared, so no holder can miss it or forget it, whatever the clock does and however long
//! tokens live. A check costs one atomic read.
//!
//! Ends come from the issuer, after the commit, and from the feed, which reports what other processes and the command line
//! ended. A holder takes the watch *before* it first reads the grant: that read finds an end that was committed earlier, and
//! the watch learns of a later one.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::time::MissedTickBehavior;

use crate::clock::Clock;
use crate::model::ids::GrantId;
use crate::signal::Signal;
use crate::storage::{Feed, FeedPosition, Store, StoreError};
use crate::telemetry::metrics::TaskRuns;

/// How often the feed is read.
const INTERVAL: Duration = Duration::from_millis(500);
/// Below this many watches, dropped ones are not looked for.
const FEW: usize = 1024;

/// Whether a grant has ended, shared by all its holders in this process.
#[derive(Debug, Default)]
pub struct GrantWatch(Signal);

impl GrantWatch {
    /// Whether the grant has ended. Once true it stays true.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.0.is_set()
    }

    /// Completes when the grant has ended.
    pub async fn ended(&self) {
        self.0.wait().await;
    }
}

/// The watches of this process, and the feed. Cheap to clone.
#[derive(Clone)]
pub struct Revocation(Arc<Inner>);

struct Inner {
    clock: Clock,
    watched: Mutex<Watched>,
    reader: Mutex<Reader>,
}

struct Watched {
    grants: HashMap<GrantId, Weak<GrantWatch>>,
    /// The number of entries at which those without holders are removed.
    sweep_at: usize,
}

/// How far the feed was read.
struct Reader {
    /// `None` before the first read.
    position: Option<FeedPosition>,
    /// When the last successful read began, or this process if there was none. Monotonic.
    read_at: Duration,
    failing: bool,
}

impl Revocation {
    /// Watches no grants yet.
    #[must_use]
    pub fn new(clock: Clock) -> Self {
        let reader = Mutex::new(Reader { position: None, read_at: clock.monotonic(), failing: false });
        let watched = Mutex::new(Watched { grants: HashMap::new(), sweep_at: FEW });
        Self(Arc::new(Inner { clock, watched, reader }))
    }

    /// The watch of a grant, the same for all holders. Take it before reading the grant.
    #[must_use]
    pub fn watch(&self, grant: &GrantId) -> Arc<GrantWatch> {
        let mut watched = self.watched();
        if let Some(watch) = watched.grants.get(grant).and_then(Weak::upgrade) {
            return watch;
        }
        if watched.grants.len() >= watched.sweep_at {
            watched.grants.retain(|_, watch| watch.strong_count() > 0);
            watched.sweep_at = FEW.max(2 * watched.grants.len());
        }
        let watch = Arc::<GrantWatch>::default();
        watched.grants.insert(grant.clone(), Arc::downgrade(&watch));
        watch
    }

    /// Tells the holders that a grant has ended. Call it after the commit.
    pub fn note_ended(&self, grant: &GrantId) {
        let watch = self.watched().grants.get(grant).and_then(Weak::upgrade);
        if let Some(watch) = watch {
            watch.0.set();
        }
    }

    /// How long the feed could not be read; zero while it works.
    #[must_use]
    pub fn staleness(&self) -> Duration {
        let reader = self.reader();
        if reader.failing { self.0.clock.monotonic().saturating_sub(reader.read_at) } else { Duration::ZERO }
    }

    /// Reads the feed once. Logs when reading begins to fail and when it works again.
    ///
    /// # Errors
    /// When the store fails; [`Self::staleness`] then grows until a read succeeds.
    pub async fn read_feed(&self, store: &Store) -> Result<(), StoreError> {
        let (began, position) = (self.0.clock.monotonic(), self.reader().position);
        match self.read_from(store, position).await {
            Ok(position) => {
                self.note_success(began, position);
                Ok(())
            }
            Err(error) => {
                self.note_failure(&error);
                Err(error)
            }
        }
    }

    /// Reads the feed every 500 ms, for ever.
    pub async fn run(self, store: Store, runs: TaskRuns) {
        let mut interval = tokio::time::interval(INTERVAL);
        interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            interval.tick().await;
            // a failure is logged and counts as staleness; the next read continues at the same position
            runs.ran(self.read_feed(&store).await.is_ok());
        }
    }

    async fn read_from(&self, store: &Store, position: Option<FeedPosition>) -> Result<FeedPosition, StoreError> {
        if let Some(position) = position {
            match store.grants_ended_after(position).await? {
                Feed::Ended(grants, newest) => {
                    for grant in &grants {
                        self.note_ended(grant);
                    }
                    return Ok(newest);
                }
                Feed::Gap => tracing::warn!("the revocation feed has a gap: all grants in use are read again"),
            }
        }
        // taken before the grants are read: later ends come after this position
        let newest = store.newest_grant_end().await?;
        self.read_watched(store).await?;
        Ok(newest)
    }

    /// Reads every watched grant again.
    async fn read_watched(&self, store: &Store) -> Result<(), StoreError> {
        let grants: Vec<GrantId> = {
            let watched = self.watched();
            let held = watched.grants.iter().filter(|(_, watch)| watch.strong_count() > 0);
            held.map(|(grant, _)| grant.clone()).collect()
        };
        for grant in &grants {
            if !store.is_grant_unended(grant).await? {
                self.note_ended(grant);
            }
        }
        Ok(())
    }

    fn note_success(&self, began: Duration, position: FeedPosition) {
        let mut reader = self.reader();
        if std::mem::replace(&mut reader.failing, false) {
            let outage_seconds = began.saturating_sub(reader.read_at).as_secs();
            tracing::info!(outage_seconds, "the revocation feed works again");
        }
        reader.read_at = began;
        reader.position = Some(position);
    }

    fn note_failure(&self, error: &StoreError) {
        if !std::mem::replace(&mut self.reader().failing, true) {
            tracing::error!(%error, "the revocation feed cannot be read: tokens of grants that other processes end stay valid");
        }
    }

    // No panic can leave these values half changed, so poisoning is ignored.

    fn watched(&self) -> MutexGuard<'_, Watched> {
        self.0.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn reader(&self) -> MutexGuard<'_, Reader> {
        self.0.reader.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::{FEW, Revocation};
    use crate::clock::{Clock, Timestamp};

    fn revocation() -> Revocation {
        Revocation::new(Clock::manual(Timestamp(1000)))
    }

    #[test]
    fn every_holder_of_a_grant_sees_its_end_and_holders_of_others_do_not() {
        let revocation = revocation();
        let (one, other) = (revocation.watch(&"g_1".into()), revocation.watch(&"g_1".into()));
        let elsewhere = revocation.watch(&"g_2".into());
        assert!(Arc::ptr_eq(&one, &other));
        revocation.note_ended(&"g_1".into());
        assert!(one.has_ended() && other.has_ended() && !elsewhere.has_ended());
        assert!(revocation.watch(&"g_1".into()).has_ended(), "sticky while it is held");
    }

    #[tokio::test]
    async fn waits_that_begin_before_and_after_the_end_of_a_grant_complete() {
        let revocation = revocation();
        let watch = revocation.watch(&"g_1".into());
        let waiting: Vec<_> = (0..3)
            .map(|_| {
                let watch = Arc::clone(&watch);
                tokio::spawn(async move { watch.ended().await })
            })
            .collect();
        tokio::task::yield_now().await;
        revocation.note_ended(&"g_1".into());
        for waiting in waiting {
            waiting.await.unwrap();
        }
        watch.ended().await;
    }

    #[test]
    fn watches_without_holders_are_removed() {
        let revocation = revocation();
        let held = revocation.watch(&"g_held".into());
        for n in 0..10 * FEW {
            drop(revocation.watch(&format!("g_{n}").as_str().into()));
        }
        assert!(revocation.watched().grants.len() <= FEW);
        revocation.note_ended(&"g_held".into());
        assert!(held.has_ended());
    }

    #[test]
    fn an_end_is_not_lost_to_a_holder_that_joins_concurrently() {
        let revocation = revocation();
        for n in 0..2000 {
            let grant = format!("g_{n}").as_str().into();
            let early = revocation.watch(&grant);
            std::thread::scope(|scope| {
                scope.spawn(|| revocation.note_ended(&grant));
                scope.spawn(|| drop(revocation.watch(&grant)));
            });
            assert!(early.has_ended() && revocation.watch(&grant).has_ended());
        }
    }
}
