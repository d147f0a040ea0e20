//! Calls to upstreams: how long they take, what became of their bearer tokens, which streams are open.

use std::sync::Arc;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use super::seconds::seconds;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Upstream {
    upstream: Arc<str>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Refused {
    upstream: Arc<str>,
    reason: &'static str,
}

words! {
    /// How a bearer token was checked.
    pub enum TokenCheck {
        /// It was in the cache.
        Cached = "cached",
        /// Its signature was verified and its grant read.
        Verified = "verified",
        /// It was refused.
        Refused = "refused",
        /// It could not be checked: the store or the keys were out of reach.
        Unknown = "unknown",
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Checked {
    result: TokenCheck,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CheckedOf {
    issuer: Arc<str>,
    result: TokenCheck,
}

/// Calls to upstreams.
#[derive(Clone)]
pub struct Calls {
    durations: Family<Upstream, Histogram>,
    failures: Family<Upstream, Counter>,
    refusals: Family<Refused, Counter>,
    streams: Family<Upstream, Gauge>,
    checks: Family<Checked, Counter>,
    checks_of: Family<CheckedOf, Counter>,
    cached_tokens: Gauge,
}

impl Calls {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let calls = Self {
            durations: Family::new_with_constructor(seconds),
            failures: Family::default(),
            refusals: Family::default(),
            streams: Family::default(),
            checks: Family::default(),
            checks_of: Family::default(),
            cached_tokens: Gauge::default(),
        };
        let help = "Time from sending a request to an upstream to the head of its answer";
        registry.register_with_unit("upstream_duration", help, Unit::Seconds, calls.durations.clone());
        let help = "Calls that an upstream did not answer, by upstream";
        registry.register("upstream_failures", help, calls.failures.clone());
        let help = "Calls that were not forwarded, by upstream and reason";
        registry.register("refusals", help, calls.refusals.clone());
        registry.register("open_streams", "Event streams that are open", calls.streams.clone());
        let help = "Bearer tokens that were checked, by result";
        registry.register("token_checks", help, calls.checks.clone());
        let help = "Access tokens of other issuers that were checked, by issuer and result";
        registry.register("issuer_token_checks", help, calls.checks_of.clone());
        registry.register("cached_tokens", "Verified tokens in memory", calls.cached_tokens.clone());
        calls
    }

    /// The counters of one upstream, by its id.
    #[must_use]
    pub fn upstream(&self, id: &Arc<str>) -> UpstreamCalls {
        let upstream = Arc::clone(id);
        let labels = Upstream { upstream: Arc::clone(id) };
        UpstreamCalls {
            upstream,
            durations: self.durations.get_or_create_owned(&labels),
            failures: self.failures.get_or_create_owned(&labels),
            streams: self.streams.get_or_create_owned(&labels),
            refusals: self.refusals.clone(),
        }
    }

    /// A counter of tokens that were checked so: found once, counted often.
    #[must_use]
    pub fn token_checks(&self, result: TokenCheck) -> Counter {
        self.checks.get_or_create_owned(&Checked { result })
    }

    /// The same for the tokens of another issuer.
    #[must_use]
    pub fn issuer_checks(&self, issuer: &str, result: TokenCheck) -> Counter {
        self.checks_of.get_or_create_owned(&CheckedOf { issuer: issuer.into(), result })
    }

    /// How many verified tokens are in memory now.
    pub fn set_cached_tokens(&self, count: u64) {
        self.cached_tokens.set(i64::try_from(count).unwrap_or(i64::MAX));
    }
}

/// The calls to one upstream.
#[derive(Clone)]
pub struct UpstreamCalls {
    upstream: Arc<str>,
    durations: Histogram,
    failures: Counter,
    streams: Gauge,
    refusals: Family<Refused, Counter>,
}

impl UpstreamCalls {
    /// The head of its answer came.
    pub fn answered(&self, after: Duration) {
        self.durations.observe(after.as_secs_f64());
    }

    /// No answer came.
    pub fn failed(&self) {
        self.failures.inc();
    }

    /// A call was not forwarded.
    pub fn refused(&self, reason: &'static str) {
        self.refusals.get_or_create(&Refused { upstream: Arc::clone(&self.upstream), reason }).inc();
    }

    /// An event stream opens.
    #[must_use]
    pub fn stream(&self) -> OpenStream {
        self.streams.inc();
        OpenStream(self.streams.clone())
    }
}

/// An event stream that is open. It counts until it is dropped.
pub struct OpenStream(Gauge);

impl Drop for OpenStream {
    fn drop(&mut self) {
        self.0.dec();
    }
}
