//! The store: reads and writes, how long, whether they failed.

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use super::limits::Limits;
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
    read: Counted,
    write: Counted,
    limits: Limits,
}

#[derive(Clone)]
struct Counted {
    duration: Histogram,
    failures: Counter,
}

impl Store {
    pub(super) fn register(registry: &mut Registry, limits: &Limits) -> Self {
        let durations = Family::<Call, Histogram>::new_with_constructor(seconds);
        let failures = Family::<Call, Counter>::default();
        let help = "Time that a read or a write of the store took";
        registry.register_with_unit("store_call_duration", help, Unit::Seconds, durations.clone());
        let help = "Reads and writes of the store that failed";
        registry.register("store_failures", help, failures.clone());
        let of = |call| Counted {
            duration: durations.get_or_create_owned(&Call { call }),
            failures: failures.get_or_create_owned(&Call { call }),
        };
        Self { read: of(StoreCall::Read), write: of(StoreCall::Write), limits: limits.clone() }
    }

    /// A write was refused because too many waited already (`limits.waiting_writes`).
    pub fn refused(&self) {
        self.limits.refused("waiting_writes");
    }

    /// A call came to its end.
    pub fn called(&self, call: StoreCall, succeeded: bool, took: Duration) {
        let Counted { duration, failures } = match call {
            StoreCall::Read => &self.read,
            StoreCall::Write => &self.write,
        };
        duration.observe(took.as_secs_f64());
        if !succeeded {
            failures.inc();
        }
    }
}
