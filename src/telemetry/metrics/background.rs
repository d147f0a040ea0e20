//! What runs beside the requests: when each task last succeeded, and what this process depends on.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

use crate::clock::Clock;

words! {
    /// A task that runs again and again.
    pub enum Task {
        /// Reads which grants other processes have ended.
        RevocationFeed = "revocation_feed",
        /// Deletes what has expired.
        Expiry = "expiry",
        /// Seals under the first root key what older ones sealed.
        Resealing = "resealing",
        /// Applies logouts, and asks providers what still stands.
        Standing = "standing",
        /// Reads the signing keys again, and rotates them.
        SigningKeys = "signing_keys",
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Run {
    task: Task,
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Last {
    task: Task,
}

/// What runs beside the requests.
#[derive(Clone, Default)]
pub struct Background {
    runs: Family<Run, Counter>,
    succeeded: Family<Last, Gauge>,
    ready: Gauge,
    degraded: Gauge,
    feed_age: Gauge,
    key_age: Gauge,
    keys: Gauge,
}

impl Background {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let background = Self::default();
        let help = "Runs of what this process does beside requests, by task and outcome";
        registry.register("background_runs", help, background.runs.clone());
        let help = "When a task last succeeded, in Unix time";
        registry.register_with_unit("background_success_time", help, Unit::Seconds, background.succeeded.clone());
        registry.register("ready", "Whether this process wants requests", background.ready.clone());
        let help = "How many of the things that this process depends on fail; /ready names them";
        registry.register("degraded", help, background.degraded.clone());
        let help = "Since when the grants that other processes end are not known here";
        registry.register_with_unit("revocation_feed_age", help, Unit::Seconds, background.feed_age.clone());
        let help = "Since when the signing key that is in use has signed";
        registry.register_with_unit("signing_key_age", help, Unit::Seconds, background.key_age.clone());
        registry.register("signing_keys", "How many signing keys are published", background.keys.clone());
        background
    }

    /// The counters of one task.
    #[must_use]
    pub fn task(&self, task: Task, clock: &Clock) -> TaskRuns {
        let runs = |outcome| self.runs.get_or_create_owned(&Run { task, outcome });
        TaskRuns {
            succeeded: runs("succeeded"),
            failed: runs("failed"),
            last: self.succeeded.clone(),
            task,
            clock: clock.clone(),
        }
    }

    /// What `/ready` says.
    pub fn set_ready(&self, ready: bool, degraded: usize) {
        self.ready.set(ready.into());
        self.degraded.set(i64::try_from(degraded).unwrap_or(i64::MAX));
    }

    /// How many seconds ago the feed of ended grants was last read, when it fails.
    pub fn set_feed_age(&self, seconds: u64) {
        self.feed_age.set(i64::try_from(seconds).unwrap_or(i64::MAX));
    }

    /// How many seconds ago the signing key that is in use began to sign, and how many keys are published.
    pub fn set_signing_keys(&self, age: u64, published: usize) {
        self.key_age.set(i64::try_from(age).unwrap_or(i64::MAX));
        self.keys.set(i64::try_from(published).unwrap_or(i64::MAX));
    }
}

/// The runs of one task.
#[derive(Clone)]
pub struct TaskRuns {
    succeeded: Counter,
    failed: Counter,
    last: Family<Last, Gauge>,
    task: Task,
    clock: Clock,
}

impl TaskRuns {
    /// It ran.
    pub fn ran(&self, succeeded: bool) {
        if succeeded {
            self.succeeded.inc();
            // only now: before the first success, a time of 0 would read as a task that has failed since 1970
            self.last.get_or_create(&Last { task: self.task }).set(self.clock.now().0);
        } else {
            self.failed.inc();
        }
    }
}
