//! Limits: which one refused, and how often.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Limit {
    limit: &'static str,
}

/// Limits.
#[derive(Clone, Default)]
pub struct Limits {
    refusals: Family<Limit, Counter>,
}

impl Limits {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let limits = Self::default();
        registry.register("limited", "What a limit refused, by limit", limits.refusals.clone());
        limits
    }

    /// A limit refused something; its name is that of the setting.
    pub fn refused(&self, limit: &'static str) {
        self.refusals.get_or_create(&Limit { limit }).inc();
    }

    /// How often it refused something.
    #[cfg(test)]
    pub(crate) fn refused_so_far(&self, limit: &'static str) -> u64 {
        self.refusals.get_or_create(&Limit { limit }).get()
    }
}
