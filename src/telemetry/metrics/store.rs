//! The store: reads and writes, how long, whether they failed.

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use super::seconds::seconds;

words! {
    /// What was asked of the store.
    pub enum StoreCall {
        /// A read.
        Read = "read",
        /// A transaction that writes, from the moment that its turn came.
        Write = "write",
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Call {
    call: StoreCall,
}

/// Reads and writes of the store.
#[derive(Clone)]
pub struct Store {
    durations: Family<Call, Histogram>,
    failures: Family<Call, Counter>,
}

impl Store {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let store = Self { durations: Family::new_with_constructor(seconds), failures: Family::default() };
        let help = "Time that a read or a write of the store took";
        registry.register_with_unit("store_call_duration", help, Unit::Seconds, store.durations.clone());
        let help = "Reads and writes of the store that failed";
        registry.register("store_failures", help, store.failures.clone());
        store
    }

    /// A call came to its end.
    pub fn called(&self, call: StoreCall, succeeded: bool, took: Duration) {
        self.durations.get_or_create(&Call { call }).observe(took.as_secs_f64());
        if !succeeded {
            self.failures.get_or_create(&Call { call }).inc();
        }
    }
}
