//! Which grants have ended: known to every holder of a token within a second.
//!
//! Not an eviction but a set with an epoch: a holder remembers the epoch at which it last looked, and looks again only
//! when the epoch has moved. The epoch is read *before* the set or the grant is, and that value is remembered: what is
//! added in between then only costs one look more.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::MissedTickBehavior;

use crate::clock::{Clock, Timestamp};
use crate::model::ids::GrantId;
use crate::storage::{Store, StoreError};

/// How often the feed is read.
const INTERVAL: Duration = Duration::from_millis(500);
/// How far before its last successful read the feed reads again. A grant's end is stamped before it is committed, by at
/// most the time that the store gives a call; clocks of two processes may differ by the rest.
const OVERLAP: Duration = Duration::from_secs(10);
/// How much longer than an access token lives its grant's end is remembered: a token may be signed just after the end.
const MARGIN: Duration = Duration::from_mins(1);
/// How often what need not be remembered is looked for.
const SWEEP: Duration = Duration::from_mins(1);

/// The set. Cheap to clone.
#[derive(Clone)]
pub struct Revocation(Arc<Inner>);

struct Inner {
    clock: Clock,
    remembered: Duration,
    ended: RwLock<Ended>,
    epoch: AtomicU64,
    moved: watch::Sender<u64>,
    feed: Mutex<Feed>,
}

struct Ended {
    grants: HashMap<GrantId, Timestamp>,
    swept_at: Timestamp,
}

struct Feed {
    /// When the last successful read began; the start while there was none.
    read_at: Timestamp,
    /// From when the next one reads.
    since: Timestamp,
    failing: bool,
}

impl Revocation {
    /// An empty set. Ended grants are forgotten `access_token` (and a minute) after their end: their tokens are dead by
    /// then.
    #[must_use]
    pub fn new(clock: Clock, access_token: Duration) -> Self {
        let now = clock.now();
        let remembered = access_token.saturating_add(MARGIN);
        Self(Arc::new(Inner {
            remembered,
            ended: RwLock::new(Ended { grants: HashMap::new(), swept_at: now }),
            epoch: AtomicU64::new(0),
            moved: watch::Sender::new(0),
            feed: Mutex::new(Feed { read_at: now, since: now.before(remembered), failing: false }),
            clock,
        }))
    }

    /// The current epoch: one atomic read.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.0.epoch.load(Ordering::SeqCst)
    }

    /// Whether this grant has ended.
    #[must_use]
    pub fn has_ended(&self, grant: &GrantId) -> bool {
        self.ended().grants.contains_key(grant)
    }

    /// Adds a grant that ended, after the end was committed. One that is known, or so old that its tokens are dead,
    /// changes nothing.
    pub fn add(&self, grant: GrantId, ended_at: Timestamp) {
        self.add_all([(grant, ended_at)]);
    }

    /// Changes with every epoch, for open streams.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.0.moved.subscribe()
    }

    /// How long the feed has not been read; zero while it works.
    #[must_use]
    pub fn staleness(&self) -> Duration {
        let feed = self.feed();
        if feed.failing { self.0.clock.now().since(feed.read_at) } else { Duration::ZERO }
    }

    /// Reads what other processes ended: once. Logs when it begins to fail, and when it works again.
    ///
    /// # Errors
    /// When the store fails; the staleness grows then.
    pub async fn read_feed(&self, store: &Store) -> Result<(), StoreError> {
        let (began, since) = (self.0.clock.now(), self.feed().since);
        let answer = store.grants_ended_since(since).await;
        match answer {
            Ok(ended) => {
                self.add_all(ended);
                self.sweep(began);
                self.note_success(began);
                Ok(())
            }
            Err(error) => {
                self.note_failure(&error);
                Err(error)
            }
        }
    }

    /// Reads the feed every 500 ms, for ever.
    pub async fn run(self, store: Store) {
        let mut interval = tokio::time::interval(INTERVAL);
        interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            interval.tick().await;
            // what went wrong is logged, and counted in the staleness; the next read starts from the same moment
            drop(self.read_feed(&store).await);
        }
    }

    /// Adds, and then moves the epoch if anything was new: whoever reads the new epoch finds the new entries.
    fn add_all(&self, ended: impl IntoIterator<Item = (GrantId, Timestamp)>) {
        let forgotten = self.0.clock.now().before(self.0.remembered);
        let mut set = self.ended_mut();
        let before = set.grants.len();
        for (grant, ended_at) in ended {
            if ended_at > forgotten {
                set.grants.entry(grant).or_insert(ended_at);
            }
        }
        if set.grants.len() > before {
            let epoch = self.0.epoch.fetch_add(1, Ordering::SeqCst).wrapping_add(1);
            self.0.moved.send_replace(epoch);
        }
    }

    fn sweep(&self, now: Timestamp) {
        if now < self.ended().swept_at + SWEEP {
            return;
        }
        let forgotten = now.before(self.0.remembered);
        let mut set = self.ended_mut();
        set.grants.retain(|_, ended_at| *ended_at > forgotten);
        set.swept_at = now;
    }

    fn note_success(&self, began: Timestamp) {
        let mut feed = self.feed();
        if std::mem::replace(&mut feed.failing, false) {
            let outage_seconds = began.since(feed.read_at).as_secs();
            tracing::info!(outage_seconds, "grants that other processes end are known again");
        }
        feed.read_at = began;
        feed.since = began.before(OVERLAP);
    }

    fn note_failure(&self, error: &StoreError) {
        if !std::mem::replace(&mut self.feed().failing, true) {
            tracing::error!(%error, "grants that other processes end are not known now; their tokens stay good until they expire");
        }
    }

    // A panic while a lock is held leaves nothing half done here: what it guards stays usable.

    fn ended(&self) -> RwLockReadGuard<'_, Ended> {
        self.0.ended.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn ended_mut(&self) -> RwLockWriteGuard<'_, Ended> {
        self.0.ended.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn feed(&self) -> std::sync::MutexGuard<'_, Feed> {
        self.0.feed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Revocation;
    use crate::clock::{Clock, Timestamp};

    const HOUR: Duration = Duration::from_hours(1);

    #[test]
    fn the_epoch_moves_when_something_new_is_known_and_only_then() {
        let revocation = Revocation::new(Clock::manual(Timestamp(1000)), HOUR);
        let mut moved = revocation.subscribe();
        assert!(!revocation.has_ended(&"g_1".into()));
        revocation.add("g_1".into(), Timestamp(1000));
        assert!(revocation.has_ended(&"g_1".into()));
        assert_eq!((revocation.epoch(), *moved.borrow_and_update()), (1, 1));
        revocation.add("g_1".into(), Timestamp(1001));
        assert_eq!(revocation.epoch(), 1);
        assert!(!moved.has_changed().unwrap());
        revocation.add("g_2".into(), Timestamp(1001));
        assert_eq!((revocation.epoch(), *moved.borrow_and_update()), (2, 2));
    }

    #[test]
    fn an_end_so_long_ago_that_no_token_lives_moves_nothing() {
        let revocation = Revocation::new(Clock::manual(Timestamp(100_000)), HOUR);
        revocation.add("g_1".into(), Timestamp(100_000 - 3660));
        assert!(!revocation.has_ended(&"g_1".into()));
        assert_eq!(revocation.epoch(), 0);
        revocation.add("g_1".into(), Timestamp(100_000 - 3659));
        assert!(revocation.has_ended(&"g_1".into()));
    }

    #[test]
    fn whoever_reads_the_new_epoch_finds_the_new_entry() {
        let revocation = Revocation::new(Clock::system(), HOUR);
        let now = Clock::system().now();
        std::thread::scope(|scope| {
            scope.spawn(|| (1..=2000).for_each(|n| revocation.add(format!("g_{n}").as_str().into(), now)));
            scope.spawn(|| {
                let mut epoch = 0;
                while epoch < 2000 {
                    epoch = revocation.epoch();
                    assert!(epoch == 0 || revocation.has_ended(&format!("g_{epoch}").as_str().into()));
                }
            });
        });
    }
}
