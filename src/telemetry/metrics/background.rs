//! What runs beside the requests: when each task last succeeded, and what this process depends on.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

use crate::clock::Timestamp;

words! {
    /// A task that runs again and again.
    pub enum Task {
        /// Reads which grants other processes have ended.
        RevocationFeed = "revocation_feed",
        /// Deletes what has expired.
        Expiry = "expiry",
        /// Seals under the first root key what older ones sealed.
        Resealing = "resealing",
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
        background
    }

    /// A task ran.
    pub fn ran(&self, task: Task, succeeded: bool, now: Timestamp) {
        let outcome = if succeeded { "succeeded" } else { "failed" };
        self.runs.get_or_create(&Run { task, outcome }).inc();
        if succeeded {
            self.succeeded.get_or_create(&Last { task }).set(now.0);
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
}
